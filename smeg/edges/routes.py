"""The IPv6 routes of mesh interfaces, and the rules by which the kernel goes from one table of routes to the next.

Ours are the routes and rules that bear this project's protocol number; no others are read or changed. Besides the main
table there is one for all meshes, which WireGuard's marked packets pass by, and one for each interface, for packets
from its own addresses. Rules are there exactly while a table that they lead to holds routes, so they are never
anybody's: `settle` looks, adds what is missing and removes what nobody needs, also after a daemon that was killed. A
route whose rules are missing counts as not there, so whoever compares and adds it again gets the rules back.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from socket import AF_INET6, IPPROTO_TCP
from threading import Lock
from typing import Any

from smeg.device import MARK, AddRoute, RemoveRoute, Table
from smeg.edges.netlink_errors import explained, ipv6_disabled
from smeg.errors import LocalError

PROTOCOL = 0x53
"""Marks what smegmesh made (`proto` in `ip -6 route` and `ip -6 rule`); see rtnetlink(7)."""
METRIC = 512
"""After routes to networks that the host is part of (256), before default routes from router advertisements (1024)."""
MAIN_TABLE = 254
UNMARKED_TABLE = MARK
"""Of all meshes together, so that among their routes the longest match counts."""
OWN_RULE, HOST_RULE, GOSSIP_RULE, UNMARKED_RULE = 21247, 21248, 21249, 21250
"""Priorities, in this order: what one's own address needs; the host's routes but its default; how nodes find each
other; the meshes' routes. The main table, whole, comes long after (32766)."""

_INVERT = 2
_ALL_BITS = 0xFFFFFFFF
_settling = Lock()
"""Of several devices that settle at once, one would remove what another needs."""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One of ours."""

    priority: int
    table: int
    source: str = ""
    """An address that packets come from."""
    suppress: bool = False
    """Whether a default route that the table holds does not count."""
    unmarked: bool = False
    """Whether marked packets pass it by."""
    source_port: int = 0
    """TCP; 0 is any."""
    destination_port: int = 0

    def attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "family": AF_INET6,
            "priority": self.priority,
            "table": self.table,
            "protocol": PROTOCOL,
        }
        if self.source:
            found |= {"src": self.source, "src_len": 128}
        if self.suppress:
            found["suppress_prefixlen"] = 0
        if self.unmarked:
            found |= {"fwmark": MARK, "fwmask": _ALL_BITS, "flags": _INVERT}
        for name, port in (("sport_range", self.source_port), ("dport_range", self.destination_port)):
            if port:
                found |= {name: f"{port}:{port}", "ip_proto": IPPROTO_TCP}
        return found

    @classmethod
    def read(cls, message: Any) -> Rule:
        ports = (str(message.get_attr(name) or "0:0") for name in ("FRA_SPORT_RANGE", "FRA_DPORT_RANGE"))
        source_port, destination_port = (int(port.partition(":")[0]) for port in ports)
        return cls(
            int(message.get_attr("FRA_PRIORITY") or 0),
            int(message.get_attr("FRA_TABLE") or message["table"]),
            str(message.get_attr("FRA_SRC") or ""),
            message.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0,
            message.get_attr("FRA_FWMARK") == MARK and bool(message["flags"] & _INVERT),
            source_port,
            destination_port,
        )


def own_table(index: int) -> int:
    """The table for packets from an interface's addresses."""
    return MARK + index % (1 << 24)


def shared_rules(gossip_ports: Iterable[int]) -> set[Rule]:
    """Those that lead to `UNMARKED_TABLE`. Gossip goes beside the meshes: ZeroMQ cannot mark its connections."""
    rules = {
        Rule(HOST_RULE, MAIN_TABLE, suppress=True),
        Rule(UNMARKED_RULE, UNMARKED_TABLE, unmarked=True),
    }
    for port in gossip_ports:
        rules |= {Rule(GOSSIP_RULE, MAIN_TABLE, source_port=port), Rule(GOSSIP_RULE, MAIN_TABLE, destination_port=port)}
    return rules


def own_rules(index: int, addresses: Iterable[IPv6Interface]) -> set[Rule]:
    return {Rule(OWN_RULE, own_table(index), source=str(address.ip)) for address in addresses}


class Routes:
    """`ip` is a netlink socket of pyroute2, used from one thread."""

    def __init__(self, ip: Any) -> None:
        self._ip = ip
        self._has_tables: bool | None = None

    def read(
        self, index: int, addresses: tuple[IPv6Interface, ...], gossip_ports: tuple[int, ...]
    ) -> dict[Table, tuple[IPv6Network, ...]]:
        """Our routes out of an interface, sorted; those that no rule leads to are left out."""
        ours = [message for message in self._dump() if message.get_attr("RTA_OIF") == index]
        found: dict[Table, tuple[IPv6Network, ...]] = {}
        rules: set[Rule] | None = None
        needed = {
            Table.MAIN: set[Rule](),
            Table.UNMARKED: shared_rules(gossip_ports),
            Table.OWN: own_rules(index, addresses),
        }
        for table in Table:
            number = _number(table, index)
            routes = sorted(_destination(message) for message in ours if message.get_attr("RTA_TABLE") == number)
            if routes and needed[table]:
                rules = set(self._rules()) if rules is None else rules
                routes = routes if needed[table] <= rules else []
            found[table] = tuple(routes)
        return found

    def apply(self, name: str, index: int, operation: AddRoute | RemoveRoute) -> None:
        """What is already as wanted is left so. `settle` has to follow where it is not about the main table."""
        prefix, number = operation.prefix, _number(operation.table, index)
        place = {
            "family": AF_INET6,
            "dst": str(prefix),
            "oif": index,
            "proto": PROTOCOL,
            "priority": METRIC,
            "table": number,
        }
        match operation:
            case AddRoute():
                check_ipv6(name)
                if operation.table is not Table.MAIN:
                    self._check_tables(name)
                with explained(f"add the route {prefix}", name, ignored=(errno.EEXIST,)):
                    self._ip.route("append", **place)
            case RemoveRoute():
                with explained(f"remove the route {prefix}", name, ignored=(errno.ESRCH,)):
                    self._ip.route("del", **place)

    def settle(self, index: int, addresses: tuple[IPv6Interface, ...], gossip_ports: tuple[int, ...]) -> None:
        """Have the rules that the tables need by now, of an interface with these addresses and of all together."""
        with _settling:
            used = {message.get_attr("RTA_TABLE") for message in self._dump()}
            there = self._rules()
            wanted = shared_rules(gossip_ports) if UNMARKED_TABLE in used else set()
            if own_table(index) in used:
                wanted |= own_rules(index, addresses)
            kept: set[Rule] = set()
            for rule in sorted(there, reverse=True):
                if rule in kept or not (rule in wanted or _is_anothers(rule, index, used)):
                    with explained(f"remove the rule {rule.priority}", "policy routing", ignored=(errno.ENOENT,)):
                        self._ip.rule("del", **rule.attributes())
                kept.add(rule)
            for rule in sorted(wanted - kept):
                with explained(f"add the rule {rule.priority}", "policy routing", ignored=(errno.EEXIST,)):
                    self._ip.rule("add", **rule.attributes())

    def _dump(self) -> list[Any]:
        with explained("read the routes", "the kernel"):
            return [each for each in self._ip.route("dump", family=AF_INET6) if each["proto"] == PROTOCOL]

    def _rules(self) -> list[Rule]:
        """Ours; none where the kernel has no policy routing."""
        without = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)
        with explained("read the rules", "the kernel", ignored=without):
            messages = list(self._ip.rule("dump", family=AF_INET6))
            self._has_tables = True
            return [Rule.read(each) for each in messages if each.get_attr("FRA_PROTOCOL") == PROTOCOL]
        self._has_tables = False
        return []

    def _check_tables(self, name: str) -> None:
        """A kernel without them would put the route into the main table."""
        if self._has_tables is None:
            self._rules()
        if not self._has_tables:
            message = f"this kernel has no policy routing, which {name} needs for routes that lead out of the mesh"
            raise LocalError("no-policy-routing", message, "use a kernel with CONFIG_IPV6_MULTIPLE_TABLES")


def check_ipv6(name: str) -> None:
    """Raises `LocalError` with code `ipv6-disabled`."""
    path = Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6")
    try:
        disabled = path.read_text().strip() != "0"
    except FileNotFoundError:
        disabled = not Path("/proc/sys/net/ipv6").exists()
    if disabled:
        raise ipv6_disabled(name)


def _is_anothers(rule: Rule, index: int, used: set[int]) -> bool:
    """Whether another interface, or another daemon with its own port, needs it."""
    if rule.priority == GOSSIP_RULE:
        return UNMARKED_TABLE in used
    return rule.priority == OWN_RULE and rule.table != own_table(index) and rule.table in used


def _number(table: Table, index: int) -> int:
    match table:
        case Table.MAIN:
            return MAIN_TABLE
        case Table.UNMARKED:
            return UNMARKED_TABLE
        case Table.OWN:
            return own_table(index)


def _destination(message: Any) -> IPv6Network:
    return IPv6Network((IPv6Address(message.get_attr("RTA_DST") or "::"), message["dst_len"]))
