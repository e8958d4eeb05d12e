"""The keys that a configuration file may hold, as one table: name, type, unit, default, meaning, check.

Also the keys of the predecessor, with what replaced each. A check is handed what YAML made of a value and says in words
what is wrong with it; nothing here reads text or knows of lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path

MAX_SOCKET_PATH = 107
"""bytes; Linux `sun_path` less the terminating zero, see unix(7)."""
MAX_PUBLIC_ENDPOINTS = 8
_CONTROL_SOCKET = "control.sock"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ENDPOINT = re.compile(r"\[(?P<v6>[^\[\]]*)\](:(?P<port6>[0-9]{1,5}))?|(?P<host>[^:\[\]]+)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class PublicEndpoint:
    """Where others dial this node: an address (no brackets) or a DNS name, and a port when it is not `gossipPort`."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def control_socket(runtime_dir: Path) -> Path:
    """The control socket in a `runtimeDir`."""
    return runtime_dir / _CONTROL_SOCKET


def public_endpoint(text: str) -> PublicEndpoint:
    """`2001:db8::1`, `[2001:db8::1]:51800`, `192.0.2.1`, `host.example:51800`, …

    Raises `ValueError` with what is wrong.
    """
    if text.count(":") > 1 and not text.startswith("["):
        return PublicEndpoint(_dialled(text))
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is not an endpoint")
    port = found["port6"] or found["port"]
    if port is not None and not 1 <= int(port) <= 65535:
        raise ValueError(f"{shown(text)} has a port out of range")
    if found["v6"] is not None:
        if ":" not in found["v6"]:
            raise ValueError(f"{shown(text)} has brackets around what is not an IPv6 address")
        return PublicEndpoint(_dialled(found["v6"]), int(port) if port else None)
    host = found["host"]
    if re.fullmatch(r"[0-9.]+", host):
        host = _dialled(host)
    elif len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.lower().split(".")):
        raise ValueError(f"{shown(text)} names neither an address nor a host")
    return PublicEndpoint(host.lower(), int(port) if port else None)


def _dialled(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not an IP address") from None
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise ValueError(f"{shown(text)} is not an address that others could dial")
    return str(address)


def shown(value: object) -> str:
    """A value of the file as one short line."""
    # Digits beyond the limit of `sys.set_int_max_str_digits` have no repr.
    text = hex(value) if isinstance(value, int) and value.bit_length() > 256 else ascii(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


# What a value must be. Each check takes what YAML made of it and raises `ValueError` with what is wrong.

Check = Callable[[object], object]


def _kind(value: object) -> str:
    match value:
        case None:
            return "is empty"
        case bool():
            return f"is a truth value, {'true' if value else 'false'}"
        case int() | float():
            return f"is a number, {shown(value)}"
        case _:
            return f"is text, {shown(value)}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_kind(value)} (quotes make it text)" if value is not None else _kind(value))
    if not value:
        raise ValueError("is empty")
    if not value.isprintable():
        raise ValueError(f"holds a character that cannot be printed, {shown(value)}")
    return value


def _folder(value: object) -> Path:
    text = _text(value)
    if not text.startswith("/"):
        raise ValueError(f"is {shown(text)}")
    return Path(text)


def _runtime_folder(value: object) -> Path:
    folder = _folder(value)
    length = len(str(control_socket(folder)).encode())
    if length > MAX_SOCKET_PATH:
        raise ValueError(f"makes a socket path of {length} bytes, {length - MAX_SOCKET_PATH} too many")
    return folder


def _label(value: object) -> str:
    text = _text(value)
    if not _LABEL.fullmatch(text):
        raise ValueError(f"is {shown(text)}")
    return text


def _program(value: object) -> str:
    text = _text(value)
    if "/" in text and not text.startswith("/"):
        raise ValueError(f"is {shown(text)}")
    return text


def _bind_address(value: object) -> str:
    text = _text(value)
    try:
        return "*" if text == "*" else str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"is {shown(text)}") from None


def _endpoint(value: object) -> PublicEndpoint:
    return public_endpoint(_text(value))


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(_kind(value))
    return value


def _whole(low: int, high: int) -> Check:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(_kind(value))
        if not low <= value <= high:
            raise ValueError(f"is out of range, {shown(value)}")
        return value

    return check


def _seconds(low: float, high: float) -> Check:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(_kind(value))
        if not low <= value <= high:
            raise ValueError(f"is out of range, {shown(value)}")
        return float(value)

    return check


def _one_of(*words: str) -> Check:
    def check(value: object) -> str:
        text = _text(value)
        if text not in words:
            near = get_close_matches(text.lower(), words, 1)
            raise ValueError(f"is {shown(text)}" + (f" (did you mean {near[0]}?)" if near else ""))
        return text

    return check


@dataclass(frozen=True, slots=True)
class Key:
    """One key that a configuration file may hold."""

    name: str
    field: str
    """Of `Config`."""
    expected: str
    """The type and range, in words."""
    meaning: str
    check: Check
    unit: str = ""
    default: str = ""
    """In words, where it depends on the machine; empty where `Config` says it."""
    many: bool = False
    """Whether a list is taken too."""


_LABEL_WORDS = "a DNS label: 1 to 63 of a-z, 0-9 and -, no - at either end"
_ENDPOINT_WORDS = "an IP address or DNS name, without or with a port ([address]:port for IPv6), or a list of them"

KEYS: tuple[Key, ...] = (
    Key("stateDir", "state_dir", "an absolute path", "Where keys and state are kept (mode 0700).", _folder,
        default="/var/lib/smegmesh for root, else $XDG_STATE_HOME/smegmesh"),
    Key("runtimeDir", "runtime_dir", f"an absolute path short enough for a socket in it ({MAX_SOCKET_PATH} bytes)",
        "Where the control socket is made (mode 0700). Not the same folder as stateDir.", _runtime_folder,
        default="/run/smegmesh for root, else $XDG_RUNTIME_DIR/smegmesh"),
    Key("name", "name", _LABEL_WORDS, "The node's name, as the other members see it.", _label, default="the host name"),
    Key("role", "role", "peer or client",
        "A peer can be dialled and carries clients' traffic; a client dials out and sends all through its peer.",
        _one_of("peer", "client")),
    Key("publicEndpoint", "public_endpoint", _ENDPOINT_WORDS,
        f"Where others dial this node; at most {MAX_PUBLIC_ENDPOINTS}. Without a port it is gossipPort.", _endpoint,
        many=True),
    Key("gossipPort", "gossip_port", "a whole number from 0 to 65535",
        "The TCP port that nodes talk to each other on; 0 takes any free one.", _whole(0, 65535)),
    Key("gossipAddress", "gossip_address", 'an IP address, or "*" (in quotes) for all of both families',
        "The address that gossip listens on.", _bind_address),
    Key("backend", "backend", "auto, kernel, userspace or dry-run",
        "What makes the WireGuard interfaces; auto takes the first that works, dry-run makes none.",
        _one_of("auto", "kernel", "userspace", "dry-run")),
    Key("wireguardProgram", "wireguard_program", "a program's name, or its absolute path",
        "What the userspace backend starts.", _program),
    Key("wireguardPort", "wireguard_port", "a whole number from 1 to 65535",
        "The first UDP port that is tried; each mesh takes the next one that is free.", _whole(1, 65535)),
    Key("mtu", "mtu", "a whole number from 1280 to 9000", "The MTU of the WireGuard interfaces.", _whole(1280, 9000),
        unit="bytes"),
    Key("keepAliveWg", "keep_alive_wg", "a whole number from 0 to 65535",
        "How often a client keeps its NAT mapping open; 0 is never. Peers ignore it.", _whole(0, 65535),
        unit="seconds"),
    Key("heartBeatInterval", "heart_beat_interval", "a number from 0.2 to 3600",
        "How often the leader asks who is alive; who misses three is pruned until it answers again.",
        _seconds(0.2, 3600), unit="seconds"),
    Key("suspectAfter", "suspect_after", "a number from 1 to 12",
        "How long a neighbour may be silent before it is accused; 5 suits hosts that often stand still.",
        _seconds(1, 12), unit="seconds"),
    Key("restartGrace", "restart_grace", "a number from 0 to 3600",
        "How long a member whose daemon is down while its host lives keeps its tunnels.", _seconds(0, 3600),
        unit="seconds"),
    Key("repairInterval", "repair_interval", "a number from 0.1 to 3600",
        "How often the state is compared with another node's.", _seconds(0.1, 3600), unit="seconds"),
    Key("advertiseRoutes", "advertise_routes", "true or false",
        "Whether to offer each mesh the way into this node's other meshes.", _truth),
    Key("advertiseDefaults", "advertise_defaults", "true or false",
        "Whether to offer the default route ::/0, as an exit.", _truth),
    Key("logLevel", "log_level", "debug, info, warning or error", "The least urgent log entries that are written.",
        _one_of("debug", "info", "warning", "error")),
    Key("logFormat", "log_format", "text or json", "How a log entry is written.", _one_of("text", "json")),
)  # fmt: skip

_OWN_KEYS = "a node makes its own keys, and members are admitted by `smeg-cli invite` and `join-mesh`"
_SELF_PACED = "gossip paces itself; repairInterval sets how often nodes compare their state"
_LIVENESS = "use heartBeatInterval: who misses three is pruned, nobody is forgotten"

NO_LONGER_USED: Mapping[str, str] = {
    "certificatePath": _OWN_KEYS,
    "privateKeyPath": _OWN_KEYS,
    "caCertificatePath": _OWN_KEYS,
    "skipCertVerification": f"{_OWN_KEYS}; checks cannot be skipped",
    "gRPCPort": "use gossipPort",
    "ipDiscovery": "use publicEndpoint",
    "clusterSize": _SELF_PACED,
    "syncRate": "use repairInterval",
    "interClusterChance": _SELF_PACED,
    "branchRate": _SELF_PACED,
    "infectionCount": _SELF_PACED,
    "keepAliveTime": "use heartBeatInterval",
    "timeout": "use the --timeout of smeg-cli",
    "pruneTime": _LIVENESS,
    "deadTime": _LIVENESS,
    "profile": "nothing replaced it, remove the line",
    "stubWg": "use `backend: dry-run`",
}
"""Keys of the predecessor, and what replaced each."""
