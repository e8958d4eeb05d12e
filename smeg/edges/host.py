"""What this host is like, for `smeg.checkup`: read from the kernel and from the packet filters' own programs.

Nothing is changed, nothing is sent but questions to the system's resolver, and every port that is tried is let go at
once. What cannot be found out is left open.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from smeg import __file__ as installed
from smeg import __version__
from smeg.checkup import Daemon, Facts
from smeg.config import Config
from smeg.edges.underlay import local_addresses, resolve
from smeg.errors import LocalError
from smeg.firewall import Chains, read_iptables, read_nftables
from smeg.zone import SERVER

MAX_NAMES = 16
"""Host names that are looked up."""
RESOLVE_SECONDS = 2.0
SERVER_NAME = ".".join(SERVER)
_PROGRAM_SECONDS = 5.0
_NET_ADMIN = 12
"""Of linux/capability.h."""
_TIME_ERROR = 5
"""What adjtimex(2) returns while nothing steers the clock."""
_SYSCTL = Path("/proc/sys/net/ipv6/conf")
_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"
"""Users often lack the folders of root's programs."""


def facts(config: Config, daemon: Daemon | None, silent: tuple[str, str], names: Iterable[str]) -> Facts:
    """`names` of the members' endpoints are looked up with those of the configuration, at most `MAX_NAMES`."""
    own = [endpoint.host for endpoint in config.public_endpoint]
    filters, unreadable = _filters()
    return Facts(
        version=__version__,
        release=os.uname().release,
        root=os.geteuid() == 0,
        net_admin=_has_capability(_NET_ADMIN),
        module=_module("wireguard"),
        program=shutil.which(config.wireguard_program, path=os.environ.get("PATH", "") + _SBIN),
        tun=_tun(),
        ipv6=Path("/proc/net/if_inet6").exists(),
        ipv6_disabled=any(_read(_SYSCTL / name / "disable_ipv6") == "1" for name in ("all", "default")),
        forwarding=_read(_SYSCTL / "all" / "forwarding") == "1",
        forced=(_SYSCTL / "default" / "force_forwarding").exists(),
        listening=_listening(config),
        synchronised=_synchronised(),
        wall=time.time(),
        installed=Path(installed).stat().st_mtime,
        link=_default_link(),
        addresses=local_addresses(),
        filters=filters,
        unreadable=unreadable,
        names=_resolved([*own, *names]),
        unasked=_unasked(daemon.serves) if daemon is not None and daemon.serves else None,
        daemon=daemon,
        silent=silent,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _has_capability(number: int) -> bool:
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _module(name: str) -> str | None:
    if Path("/sys/module", name).exists():
        return "loaded"
    folder = Path("/lib/modules", os.uname().release)
    listed = _read(folder / "modules.dep") + _read(folder / "modules.builtin")
    return "there" if f"/{name}.ko" in listed else None


def _tun() -> str | None:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror
    return ""


def _listening(config: Config) -> dict[tuple[str, int], str]:
    found = {("udp", config.wireguard_port): _bindable(socket.SOCK_DGRAM, "*", config.wireguard_port)}
    if config.gossip_port:
        tcp = {("tcp", config.gossip_port): _bindable(socket.SOCK_STREAM, config.gossip_address, config.gossip_port)}
        found = {**tcp, **found}
    return found


def _bindable(kind: socket.SocketKind, address: str, port: int) -> str:
    family = socket.AF_INET if "." in address else socket.AF_INET6
    try:
        with socket.socket(family, kind) as trial:
            if kind is socket.SOCK_STREAM:
                # As ZeroMQ binds: connections that have ended are in nobody's way.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            trial.bind(("::" if address == "*" else address, port))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _synchronised() -> bool | None:
    """Asked without setting anything: `modes` of struct timex is its first field, and stays 0."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _default_link() -> tuple[str, int] | None:
    """Of the default route with the least metric, IPv4 first, as WireGuard's packets mostly take it."""
    found: list[tuple[int, int, str]] = []
    for line in _read(Path("/proc/net/route")).splitlines()[1:]:
        fields = line.split()
        if fields[1] == fields[7] == "00000000":
            found.append((0, int(fields[6]), fields[0]))
    for line in _read(Path("/proc/net/ipv6_route")).splitlines():
        fields = line.split()
        if fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            found.append((1, int(fields[5], 16), fields[9]))
    for _, _, name in sorted(found):
        mtu = _read(Path("/sys/class/net", name, "mtu"))
        if mtu.isdecimal():
            return name, int(mtu)
    return None


def _filters() -> tuple[Mapping[str, Chains], tuple[str, ...]]:
    """The packet filters that tell their rules, and the programs that are there and tell nothing."""
    filters: dict[str, Chains] = {}
    unreadable: list[str] = []
    for program, arguments in (("nft", ["-j", "list", "ruleset"]), ("iptables-save", []), ("ip6tables-save", [])):
        path = shutil.which(program, path=os.environ.get("PATH", "") + _SBIN)
        if path is None:
            continue
        said = _say([path, *arguments])
        if said is None:
            unreadable.append(program)
        elif program == "nft":
            filters["nft"] = read_nftables(_json(said))
        # What iptables keeps in nftables was in what nft said.
        elif "nft" not in filters or "-legacy" in os.path.realpath(path):
            filters[program.removesuffix("-save")] = read_iptables(said)
    return filters, tuple(unreadable)


def _say(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROGRAM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _json(text: str) -> Any:
    with suppress(ValueError):
        return orjson.loads(text)
    return {}


def _resolved(hosts: Iterable[str]) -> dict[str, str]:
    names = [host for host in dict.fromkeys(hosts) if any(letter.isalpha() for letter in host) and ":" not in host]
    return {name: _unresolvable(name) for name in names[:MAX_NAMES]}


def _unasked(serves: Iterable[str]) -> str:
    """The server's own name is asked for, which tells nobody else anything."""
    try:
        found = {endpoint.host for endpoint in resolve(SERVER_NAME, 1, RESOLVE_SECONDS)}
    except LocalError as error:
        return error.problem.message
    known = {place.rpartition(":")[0].strip("[]") for place in serves}
    return "" if found & known else f"{SERVER_NAME} is {' and '.join(sorted(found))} there"


def _unresolvable(name: str) -> str:
    try:
        resolve(name, 1, RESOLVE_SECONDS)
    except LocalError as error:
        return error.problem.message.rpartition(": ")[2]
    return ""
