"""The keys that a configuration file may hold, as one table: name, type, unit, default, meaning, check.

Also the keys of the predecessor, with what replaced each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smeg.config_values import (
    MAX_SOCKET_PATH,
    Check,
    bind_address,
    endpoint,
    folder,
    group,
    hook,
    inside,
    label,
    listen,
    one_of,
    power_of_two,
    program,
    route,
    rule,
    runtime_folder,
    seconds,
    target,
    truth,
    whole,
)
from smeg.hooks import MAX_COMMANDS
from smeg.shares import MAX_WEIGHT

MAX_PUBLIC_ENDPOINTS = 8
MAX_ADVERTISED = 64
MAX_RULES = 256
MAX_TARGETS = 4
MAX_SHARDS = 256
MAX_MESHES = 256


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
    many: int = 0
    """The most values of a list, which is taken too; 0: a single one."""
    each_mesh: bool = False
    """Whether `meshes` may set it for one mesh."""

    @property
    def restart(self) -> bool:
        """Whether it counts from the next start on alone."""
        return self.name in NEEDS_RESTART


NEEDS_RESTART = frozenset(
    ("stateDir", "runtimeDir", "role", "gossipPort", "gossipAddress", "backend", "wireguardProgram", "wireguardPort",
     "heartBeatInterval", "suspectAfter", "restartGrace", "repairInterval")
)  # fmt: skip
"""All others count at once when the file is read again."""

_LABEL_WORDS = "a DNS label: 1 to 63 of a-z, 0-9 and -, no - at either end"
_ENDPOINT_WORDS = "an IP address or DNS name, without or with a port ([address]:port for IPv6), or a list of them"
_COMMANDS = "a command line that begins with a program's absolute path, or a list of them"
_RULES = "an IPv6 prefix, with ! before it to keep out what it holds, or a list of them"

KEYS: tuple[Key, ...] = (
    Key("stateDir", "state_dir", "an absolute path", "Where keys and state are kept (mode 0700).", folder,
        default="/var/lib/smegmesh for root, else $XDG_STATE_HOME/smegmesh"),
    Key("runtimeDir", "runtime_dir", f"an absolute path short enough for a socket in it ({MAX_SOCKET_PATH} bytes)",
        "Where the control socket is made (mode 0700). Not the same folder as stateDir.", runtime_folder,
        default="/run/smegmesh for root, else $XDG_RUNTIME_DIR/smegmesh"),
    Key("controlGroup", "control_group", "the name of a group",
        "Whose members may use the control socket too: whoever may, rules over the node's meshes.", group,
        default="none"),
    Key("name", "name", _LABEL_WORDS, "The node's name, as the other members see it.", label, default="the host name"),
    Key("role", "role", "peer or client",
        "A peer can be dialled and carries clients' traffic; a client is never dialled and sends all through a peer.",
        one_of("peer", "client")),
    Key("publicEndpoint", "public_endpoint", _ENDPOINT_WORDS,
        f"Where others dial this node; at most {MAX_PUBLIC_ENDPOINTS}. Without a port it is gossipPort.", endpoint,
        many=MAX_PUBLIC_ENDPOINTS),
    Key("ipDiscovery", "ip_discovery", "outgoing or peers",
        "Without publicEndpoint, where others dial this node: its address on the way to the outside, or first the one "
        "that at least two peers see.", one_of("outgoing", "peers")),
    Key("gossipPort", "gossip_port", "a whole number from 0 to 65535",
        "The TCP port that nodes talk to each other on; 0 takes any free one.", whole(0, 65535)),
    Key("gossipAddress", "gossip_address", 'an IP address, or "*" (in quotes) for all of both families',
        "The address that gossip listens on. A client listens on loopback only.", bind_address),
    Key("backend", "backend", "auto, kernel, userspace or dry-run",
        "What makes the WireGuard interfaces; auto takes the first that works, dry-run makes none.",
        one_of("auto", "kernel", "userspace", "dry-run")),
    Key("wireguardProgram", "wireguard_program", "a program's name, or its absolute path",
        "What the userspace backend starts.", program),
    Key("wireguardPort", "wireguard_port", "a whole number from 1 to 65535",
        "The first UDP port that is tried; each mesh takes the next one that is free.", whole(1, 65535)),
    Key("mtu", "mtu", "a whole number from 1280 to 9000", "The MTU of the WireGuard interfaces.", whole(1280, 9000),
        unit="bytes"),
    Key("forwarding", "forwarding", "mesh, host or none",
        "What a peer may turn on to pass packets on for others: its meshes' interfaces (Linux 6.17), the whole host, "
        "nothing.", one_of("mesh", "host", "none")),
    Key("keepAliveWg", "keep_alive_wg", "a whole number from 0 to 65535",
        "How often a client keeps its NAT mapping open; 0 is never. Peers ignore it.", whole(0, 65535),
        unit="seconds"),
    Key("heartBeatInterval", "heart_beat_interval", "a number from 0.2 to 3600",
        "How often the leader asks who is alive; who misses three is pruned until it answers again.",
        seconds(0.2, 3600), unit="seconds"),
    Key("suspectAfter", "suspect_after", "a number from 1 to 12",
        "How long a neighbour may be silent before it is accused; 5 suits hosts that often stand still.",
        seconds(1, 12), unit="seconds"),
    Key("restartGrace", "restart_grace", "a number from 0 to 3600",
        "How long a member whose daemon is down while its host lives keeps its tunnels.", seconds(0, 3600),
        unit="seconds"),
    Key("repairInterval", "repair_interval", "a number from 0.1 to 3600",
        "How often the state is compared with another node's.", seconds(0.1, 3600), unit="seconds"),
    Key("advertiseRoutes", "advertise_routes", "true or false",
        "Whether to bridge: to offer each mesh the way into this node's other meshes.", truth, each_mesh=True),
    Key("advertise", "advertise", "an IPv6 prefix, or a list of them",
        f"What is behind this node, and offered to its meshes; at most {MAX_ADVERTISED}. Its token must allow it.",
        route, many=MAX_ADVERTISED),
    Key("advertiseDefaults", "advertise_defaults", "true or false",
        "Whether to offer the default route ::/0, as an exit. Its token must allow it.", truth),
    Key("acceptDefaults", "accept_defaults", "true or false",
        "Whether to send what is for nowhere else through an exit of the mesh.", truth, each_mesh=True),
    Key("importRoutes", "import_routes", _RULES,
        f"Which routes of others are taken: the first rule that holds a route decides; at most {MAX_RULES}.", rule,
        many=MAX_RULES, each_mesh=True),
    Key("exportRoutes", "export_routes", _RULES, "Likewise which routes are offered.", rule, many=MAX_RULES,
        each_mesh=True),
    Key("weight", "weight", f"a whole number from 1 to {MAX_WEIGHT}",
        "This node's share of the traffic, against others that lead to the same.", whole(1, MAX_WEIGHT)),
    Key("shards", "shards", f"a power of two from 1 to {MAX_SHARDS}",
        "Into how many parts a prefix with several exits is split, so that one host's traffic takes several.",
        power_of_two(MAX_SHARDS)),
    Key("exitProbe", "exit_probe", "[IPv6 address]:port, or a list of them",
        f"Nothing behind this node is offered but while one of these, at most {MAX_TARGETS}, accepts TCP connections.",
        target, many=MAX_TARGETS),
    Key("dnsAddress", "dns_address", "a loopback or unique local IP address, or a list of them",
        f"Where names are answered by DNS, at most {MAX_TARGETS}; none: nowhere. ::1 serves this host.", inside,
        many=MAX_TARGETS),
    Key("dnsPort", "dns_port", "a whole number from 0 to 65535",
        "The UDP and TCP port of that; 0 takes any free one, 53 needs a capability.", whole(0, 65535)),
    Key("dnsResolved", "dns_resolved", "true or false",
        "Whether systemd-resolved, where it runs, is told to ask this node for the names.", truth),
    Key("preUp", "pre_up", _COMMANDS, f"What is run before an interface comes; at most {MAX_COMMANDS}.", hook,
        many=MAX_COMMANDS, each_mesh=True),
    Key("postUp", "post_up", _COMMANDS, "Likewise when it is there.", hook, many=MAX_COMMANDS, each_mesh=True),
    Key("preDown", "pre_down", _COMMANDS, "Likewise before it goes, for at most 3 seconds.", hook, many=MAX_COMMANDS,
        each_mesh=True),
    Key("postDown", "post_down", _COMMANDS, "Likewise when it is gone.", hook, many=MAX_COMMANDS, each_mesh=True),
    Key("hookTimeout", "hook_timeout", "a number from 0.1 to 300", "How long the commands of one of these may take.",
        seconds(0.1, 300), unit="seconds"),
    Key("metricsListen", "metrics_listen", "a port, or an IP address and a port ([address]:port for IPv6)",
        "Where metrics are served for Prometheus, at /metrics; none: nowhere. A port alone is 127.0.0.1's, 0 any free "
        "one.", listen, many=1),
    Key("logLevel", "log_level", "debug, info, warning or error", "The least urgent log entries that are written.",
        one_of("debug", "info", "warning", "error")),
    Key("logFormat", "log_format", "text or json", "How a log entry is written.", one_of("text", "json")),
)  # fmt: skip

MESHES = "meshes"
"""The key under which each mesh may have `FOR_ONE_MESH` of its own."""
FOR_ONE_MESH: tuple[Key, ...] = tuple(key for key in KEYS if key.each_mesh)

_OWN_KEYS = "a node makes its own keys, and members are admitted by `smeg-cli invite` and `join-mesh`"
_SELF_PACED = "gossip paces itself; repairInterval sets how often nodes compare their state"
_LIVENESS = "use heartBeatInterval: who misses three is pruned, nobody is forgotten"

NO_LONGER_USED: Mapping[str, str] = {
    "certificatePath": _OWN_KEYS,
    "privateKeyPath": _OWN_KEYS,
    "caCertificatePath": _OWN_KEYS,
    "skipCertVerification": f"{_OWN_KEYS}; checks cannot be skipped",
    "gRPCPort": "use gossipPort",
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
    "baseConfiguration": "its keys stand by themselves now, not within it",
    "branch": _SELF_PACED,
    "heartBeatTime": "use heartBeatInterval",
    "pullInterval": "use repairInterval",
    "syncInterval": _SELF_PACED,
}
"""Keys of the predecessor, and what replaced each."""
