"""What keeps this host from being a good node, and what to do: judged from facts that were gathered elsewhere.

Every check says something, also when all is well, so that a person sees what was looked at. A fact that could not be
found out is said to be unknown, and is nobody's fault. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address

from smeg.config import Config
from smeg.firewall import ACCEPT, DROP, Chains, Packet, fate

OVERHEAD = 80
"""bytes that WireGuard adds to a packet over IPv6: 40 IPv6, 8 UDP, 32 its own. Over IPv4 it is 60."""


class State(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    """It works, or may; worth a look."""
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """It could not be found out here."""


@dataclass(frozen=True, slots=True)
class Finding:
    topic: str
    state: State
    message: str
    hint: str = ""
    """What to do; of what is wrong always."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What a daemon that runs says of itself."""

    version: str
    gossip_port: int
    problems: tuple[tuple[str, str], ...] = ()
    """Message and hint."""
    backends: frozenset[str] = frozenset()
    """By which its interfaces are made: that works, whatever this process can see."""
    serves: tuple[str, ...] = ()
    """Where it answers for names."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a host. None and empty where something could not be found out."""

    version: str
    """Of this program."""
    release: str
    """Of the kernel."""
    root: bool
    net_admin: bool
    """Whether this process may set up interfaces."""
    module: str | None
    """`loaded`, `there` when it can be loaded, None."""
    program: str | None
    """Where wireguard-go is."""
    tun: str | None
    """What keeps /dev/net/tun from being used; empty when nothing does; None when it is not there."""
    ipv6: bool
    ipv6_disabled: bool
    forwarding: bool
    forced: bool
    """Whether the kernel can pass packets on for one interface alone."""
    listening: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """By protocol and port, what keeps it from being bound; empty when nothing does."""
    synchronised: bool | None = None
    """Whether the kernel's clock is steered."""
    wall: float = 0.0
    """seconds since 1970."""
    installed: float = 0.0
    """When this program was installed, likewise."""
    link: tuple[str, int] | None = None
    """The interface of the default route, and its MTU in bytes."""
    addresses: tuple[str, ...] = ()
    """By which others may reach this host."""
    filters: Mapping[str, Chains] = field(default_factory=dict)
    """Packet filters by the program that tells them."""
    unreadable: tuple[str, ...] = ()
    """Of the filters: programs that tell nothing, mostly for want of permission."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Host names of endpoints, and why one cannot be found; empty when it can."""
    unasked: str | None = None
    """What keeps this host's resolver from asking the daemon for names; empty if it asks; None if none is served."""
    daemon: Daemon | None = None
    silent: tuple[str, str] = ("smeg-node does not run", "start smeg-node")
    """Why no daemon answers, and what to do about it."""


Check = Callable[[Facts, Config], Iterable[Finding]]


def findings(facts: Facts, config: Config) -> list[Finding]:
    """All checks, in the order in which one would mend what is wrong."""
    return [finding for check in CHECKS for finding in check(facts, config)]


def _version(facts: Facts, config: Config) -> Iterable[Finding]:
    if facts.daemon is None:
        yield Finding("daemon", State.WARNING, facts.silent[0], facts.silent[1])
    elif facts.daemon.version != facts.version:
        message = f"smeg-node is of version {facts.daemon.version}, smeg-cli of {facts.version}"
        yield Finding("version", State.WARNING, message, "restart smeg-node after an upgrade; use both of one release")
    else:
        yield Finding("version", State.GOOD, f"smeg-node and smeg-cli are of version {facts.version}")
    for message, hint in facts.daemon.problems if facts.daemon is not None else ():
        yield Finding("daemon", State.WRONG, message, hint or "see `smeg-cli status` and the log of smeg-node")


def _wireguard(facts: Facts, config: Config) -> Iterable[Finding]:
    if config.backend == "dry-run":
        yield Finding("wireguard", State.WARNING, "backend is dry-run: no interface is made, and nothing carried",
                      "set `backend: auto` to have interfaces")  # fmt: skip
        return
    kernel = facts.module is not None
    userspace = facts.program is not None and facts.tun is not None
    if config.backend in ("auto", "kernel") and kernel:
        words = "has WireGuard" if facts.module == "loaded" else "loads WireGuard when it is needed"
        yield Finding("wireguard", State.GOOD, f"the kernel {facts.release} {words}")
    elif config.backend in ("auto", "userspace") and userspace:
        slow = config.backend == "auto"
        words = "the kernel has no WireGuard; " if slow else ""
        yield Finding("wireguard", State.GOOD, f"{words}{facts.program} does it in user space")
        if facts.tun and facts.daemon is None:
            yield Finding("wireguard", State.WARNING, f"/dev/net/tun cannot be used by this user: {facts.tun}",
                          "start smeg-node as root, or give it the device")  # fmt: skip
    elif facts.daemon is not None and facts.daemon.backends & {"kernel", "userspace"}:
        words = " and ".join(sorted(facts.daemon.backends))
        yield Finding("wireguard", State.GOOD, f"smeg-node has interfaces by the backend {words}")
    else:
        missing = [] if kernel else [f"the kernel {facts.release} has no WireGuard"]
        missing += [] if facts.program else [f"{config.wireguard_program} is not installed"]
        missing += [] if facts.tun is not None else ["there is no /dev/net/tun"]
        hint = "load the module: modprobe wireguard; or install wireguard-go, and modprobe tun"
        yield Finding("wireguard", State.WRONG, "; ".join(missing), hint)
    if facts.daemon is None and not facts.net_admin:
        yield Finding("permission", State.WARNING, "this user may not set up interfaces",
                      "start smeg-node as root, or with the capability NET_ADMIN")  # fmt: skip


def _ipv6(facts: Facts, config: Config) -> Iterable[Finding]:
    if not facts.ipv6:
        yield Finding("ipv6", State.WRONG, "the kernel has no IPv6, which the addresses of meshes are",
                      "boot without ipv6.disable=1, or load the module ipv6")  # fmt: skip
    elif facts.ipv6_disabled:
        yield Finding("ipv6", State.WRONG, "IPv6 is switched off for new interfaces",
                      "sysctl net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0")  # fmt: skip
    else:
        yield Finding("ipv6", State.GOOD, "IPv6 is on")


def _forwarding(facts: Facts, config: Config) -> Iterable[Finding]:
    beyond = bool(config.advertise) or config.advertise_defaults
    if config.role == "client":
        yield Finding("forwarding", State.GOOD, "a client passes nothing on")
    elif facts.forwarding:
        yield Finding("forwarding", State.GOOD, "this host passes IPv6 packets on")
    elif config.forwarding == "host" or (config.forwarding == "mesh" and facts.forced and not beyond):
        yield Finding("forwarding", State.GOOD, "smeg-node turns it on when somebody relies on it")
    else:
        bridge = config.advertise_routes or any(each.get("advertise_routes") for each in config.meshes.values())
        needed = beyond or bridge
        hint = "set `forwarding: host` in the configuration, or: sysctl net.ipv6.conf.all.forwarding=1"
        words = "offers what is behind it" if beyond else "is a bridge" if bridge else "may have to carry clients"
        message = f"this host does not pass IPv6 packets on, and {words}"
        yield Finding("forwarding", State.WRONG if needed else State.WARNING, message, hint)


def _ports(facts: Facts, config: Config) -> Iterable[Finding]:
    if config.role == "client":
        yield Finding("ports", State.GOOD, "a client needs no open port")
        return
    for (protocol, port), why in facts.listening.items():
        place = f"{protocol.upper()} port {port}"
        if not why:
            yield Finding("ports", State.GOOD, f"{place} is free")
        elif facts.daemon is not None:
            yield Finding("ports", State.GOOD, f"{place} is in use while smeg-node runs")
        elif protocol == "udp":
            yield Finding("ports", State.WARNING, f"{place} cannot be used: {why}; the next one that is free is taken",
                          "let the firewall pass that one, or set wireguardPort")  # fmt: skip
        else:
            yield Finding("ports", State.WRONG, f"{place} cannot be used: {why}",
                          f"see who has it (ss -lpn sport = :{port}), or set gossipPort")  # fmt: skip


def _reachable(facts: Facts, config: Config) -> Iterable[Finding]:
    if config.role == "client" or config.public_endpoint:
        return
    if not facts.addresses:
        yield Finding("endpoint", State.WRONG, "this host has no address by which others could reach it",
                      "connect it to a network, or set publicEndpoint")  # fmt: skip
    elif all(ip_address(address).is_private for address in facts.addresses):
        message = f"others are told {' and '.join(facts.addresses)}, which lead here only from the same network"
        hint = "for others set publicEndpoint and forward both ports, or `role: client`"
        yield Finding("endpoint", State.WARNING, message, hint)
    else:
        yield Finding("endpoint", State.GOOD, f"others are told {' and '.join(facts.addresses)}")


def _clock(facts: Facts, config: Config) -> Iterable[Finding]:
    hint = "have NTP set it: timedatectl set-ntp true"
    if facts.wall < facts.installed:
        yield Finding("clock", State.WRONG, "the clock is behind: it is earlier than when smeg-cli was installed", hint)
    elif facts.synchronised is False:
        words = "nothing keeps the clock right; certificates and tokens expire by it"
        yield Finding("clock", State.WARNING, words, hint)
    elif facts.synchronised is None:
        yield Finding("clock", State.UNKNOWN, "the kernel does not tell whether its clock is synchronised")
    else:
        yield Finding("clock", State.GOOD, "the clock is synchronised")


def _mtu(facts: Facts, config: Config) -> Iterable[Finding]:
    if facts.link is None:
        yield Finding("mtu", State.UNKNOWN, "there is no default route whose MTU could be compared")
        return
    name, mtu = facts.link
    if config.mtu + OVERHEAD > mtu:
        message = f"packets of mtu {config.mtu} become {config.mtu + OVERHEAD} bytes, and {name} carries {mtu}"
        lower = mtu - OVERHEAD
        hint = f"set `mtu: {lower}`" if lower >= 1280 else f"raise the MTU of {name}: IPv6 needs 1280 within the tunnel"
        yield Finding("mtu", State.WARNING if lower >= 1280 else State.WRONG, message, hint)
    else:
        yield Finding("mtu", State.GOOD, f"packets of mtu {config.mtu} fit through {name} ({mtu} bytes)")


def _firewall(facts: Facts, config: Config) -> Iterable[Finding]:
    if config.role == "client":
        return
    gossip = facts.daemon.gossip_port if facts.daemon is not None else config.gossip_port
    packets = [Packet("tcp", gossip)] if gossip else []
    clean = True
    for packet in (*packets, Packet("udp", config.wireguard_port)):
        place = f"{packet.protocol.upper()} port {packet.port}"
        for program, chains in facts.filters.items():
            fates = fate(chains, packet)
            if DROP not in fates:
                continue
            clean = False
            state = State.WARNING if ACCEPT in fates else State.WRONG
            words = "may drop, for reasons that are not read here," if ACCEPT in fates else "drops"
            hint = f"let it in: {_opening(program, packet)}"
            yield Finding("firewall", state, f"the packet filter ({program}) {words} what comes to {place}", hint)
    if clean and facts.filters:
        yield Finding("firewall", State.GOOD, "the packet filter of this host lets the ports in")
    elif clean and facts.unreadable:
        words = f"{' and '.join(facts.unreadable)} told nothing"
        yield Finding("firewall", State.UNKNOWN, f"the packet filter cannot be read: {words}", "run this as root")
    elif clean:
        yield Finding("firewall", State.GOOD, "this host has no packet filter")


def _opening(program: str, packet: Packet) -> str:
    if program == "nft":
        return f"nft add rule inet TABLE CHAIN {packet.protocol} dport {packet.port} accept"
    return f"{program} -I INPUT -p {packet.protocol} --dport {packet.port} -j ACCEPT"


def _names(facts: Facts, config: Config) -> Iterable[Finding]:
    for name, why in facts.names.items():
        if why:
            hint = "correct the name where it is given, or the resolver: /etc/resolv.conf"
            yield Finding("dns", State.WRONG, f"the address of {name} cannot be found: {why}", hint)
    if facts.names and not any(facts.names.values()):
        yield Finding("dns", State.GOOD, f"the names of endpoints are found: {', '.join(sorted(facts.names))}")
    served = " and ".join(facts.daemon.serves) if facts.daemon is not None else ""
    if facts.unasked:
        message = f"smeg-node answers for names at {served}, and this host's resolver does not ask it: {facts.unasked}"
        hint = "docs/dns.md has what systemd-resolved, dnsmasq and unbound need for that"
        yield Finding("dns", State.WARNING, message, hint)
    elif facts.unasked is not None:
        yield Finding("dns", State.GOOD, f"this host's resolver asks smeg-node at {served} for the names of meshes")


CHECKS: tuple[Check, ...] = (
    _version, _wireguard, _ipv6, _forwarding, _ports, _reachable, _clock, _mtu, _firewall, _names
)  # fmt: skip
