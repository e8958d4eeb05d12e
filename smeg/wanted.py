"""What this node's device in one mesh should look like: a pure function of members, liveness and routes.

With whom this node has tunnels, and which of them leads to whom, `carriers` says; prefixes behind a member go where its
address goes, by the chosen routes. Prefixes of different peers never overlap but by being longer: WireGuard gives each
prefix to one peer and each packet to the longest match. Where a route for what is forwarded and one for what this node
sends itself give a prefix to two of them, the first counts: for a moment, while news is on its way, both kinds go
there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from smeg.addresses import host_prefix, overlay_address, overlay_prefix
from smeg.carriers import Hops, hops
from smeg.certificates import Role
from smeg.device import DeviceState, Endpoint, Table, WgPeer
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.prefixes import prefix as prefix_of
from smeg.records import Member, Route
from smeg.shares import OVERLAY_BITS
from smeg.static_clients import StaticClient
from smeg.swallowed import places, table_for

ChooseEndpoints = Callable[[Sequence[Member]], Sequence[Endpoint | None]]
"""Which of its endpoints to use for each of these: a literal address that this host has a route to, or None."""


HOST = 128
Tables = Mapping[Table, set[IPv6Network]]
"""Kernel routes."""


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the device of one mesh depends on."""

    mesh: str
    own: NodeKey
    members: Members
    pruned: frozenset[NodeKey]
    routes: tuple[Route, ...]
    listen_port: int
    mtu: int
    keepalive: int
    """seconds; what a client keeps its NAT mapping open with."""
    own_routes: tuple[Route, ...] = ()
    """For packets from this node's own address, where they go another way."""
    statics: tuple[StaticClient, ...] = ()
    """Devices without a daemon that have their tunnel with this node."""


def wanted(view: View, choose: ChooseEndpoints) -> DeviceState | None:
    """The device as it should be; None while this node is not a member."""
    own = view.members.get(view.own)
    if own is None:
        return None
    table, ways = view.members.table, hops(own, view.members, view.pruned)
    # Key order: of two members who claim one WireGuard key the lower keeps it, and nobody has ours.
    neighbours = [table[key] for key in view.members.ranks.keys if key in ways.neighbours]
    first: dict[bytes, Member] = {own.standing.wireguard: own}
    for member in neighbours:
        first.setdefault(member.standing.wireguard, member)
    neighbours = [member for member in neighbours if first[member.standing.wireguard] is member]
    allowed: dict[NodeKey, list[IPv6Network]] = {member.key: [] for member in neighbours}
    for member in _at_their_addresses([table[key] for key in sorted(ways.to)], own, view.members):
        hop = ways.to[member.key]
        if hop in allowed:
            allowed[hop].append(host_prefix(member.address))
    tables, behind = beyond(view, ways, allowed.keys())
    for key, prefixes in behind.items():
        allowed[key] += prefixes
    keepalive = keepalive_of(own, view)
    peers = {
        member.standing.wireguard: wg_peer(member, allowed[member.key], endpoint, keepalive)
        for member, endpoint in zip(neighbours, choose(neighbours), strict=True)
    }
    return device(own, view, tables, peers)


def device(own: Member, view: View, tables: Tables, peers: dict[bytes, WgPeer]) -> DeviceState:
    taken = {own.standing.wireguard, *peers}
    statics = {
        client.wireguard: WgPeer(client.wireguard, (prefix,), None, 0)
        for client in view.statics
        if client.wireguard not in taken
        and _is_free(prefix := host_prefix(overlay_address(view.mesh, client.wireguard)), view)
    }
    peers = {**peers, **statics} if statics else peers
    return DeviceState(
        own.standing.wireguard,
        view.listen_port,
        view.mtu,
        True,
        (IPv6Interface((own.address, 128)),),
        tuple(sorted(tables[Table.MAIN])),
        peers,
        tuple(sorted(tables[Table.UNMARKED])),
        tuple(sorted(tables[Table.OWN])),
    )


def _is_free(prefix: IPv6Network, view: View) -> bool:
    """Whether the address of a device is no member's."""
    return view.members.at(prefix.network_address) is None


def wg_peer(member: Member, allowed: Sequence[IPv6Network], endpoint: Endpoint | None, keepalive: int) -> WgPeer:
    ordered = allowed if len(allowed) < 2 else sorted(allowed)
    return WgPeer(member.standing.wireguard, tuple(ordered), endpoint, keepalive)


def keepalive_of(own: Member, view: View) -> int:
    """seconds; only clients keep a mapping open."""
    return view.keepalive if own.role is Role.CLIENT else 0


def _at_their_addresses(members: list[Member], own: Member, all_of_them: Members) -> Iterable[Member]:
    """In key order: of several at one address the lower keeps it, and nobody has one's own."""
    if all_of_them.addresses_differ:
        return members
    holders: dict[IPv6Address, Member] = {own.address: own}
    for member in members:
        holders.setdefault(member.address, member)
    return [member for member in members if holders[member.address] is member]


def beyond(view: View, ways: Hops, neighbours: Collection[NodeKey]) -> tuple[Tables, dict[NodeKey, list[IPv6Network]]]:
    """The kernel routes, by table; and the prefixes that a neighbour gets beside the addresses of members."""
    overlay = overlay_prefix(view.mesh)
    tables: Tables = {Table.MAIN: {overlay}, Table.UNMARKED: set(), Table.OWN: set()}
    behind: dict[NodeKey, list[IPv6Network]] = {}
    if ways.default is not None and ways.default in neighbours:
        behind[ways.default] = [overlay]
    if not view.routes and not view.own_routes:
        return tables, behind
    found = places(endpoint for key in neighbours for endpoint in view.members.table[key].record.wireguard)
    given: set[IPv6Network] = set()
    for routes, own in ((view.routes, False), (view.own_routes, True)):
        for route in routes:
            prefix, via = route.prefix, route.via
            lives = via in view.members and via not in view.pruned and via != view.own
            hop = ways.via(via) if lives else None
            if hop is None or hop not in neighbours:
                continue
            if prefix.subnet_of(overlay):
                # A device behind a peer. All of the overlay leads to the interface already.
                if prefix.prefixlen == HOST and prefix not in given and _is_free(prefix, view):
                    given.add(prefix)
                    behind.setdefault(hop, []).append(prefix)
                continue
            if prefix not in given:
                given.add(prefix)
                behind.setdefault(hop, []).append(prefix)
            tables[Table.OWN if own else table_for(route, found)].add(prefix)
    return {table: joined(prefixes) for table, prefixes in tables.items()}, behind


def joined(prefixes: set[IPv6Network]) -> set[IPv6Network]:
    """Two halves of one prefix as that one, down from the length of a mesh's. So the kernel has one route to another
    mesh where all of it lies beyond one interface, and none has to change when bridges there share it otherwise."""
    parts: dict[int, set[int]] = {}
    for prefix in prefixes:
        if prefix.prefixlen > OVERLAY_BITS:
            parts.setdefault(prefix.prefixlen, set()).add(int(prefix.network_address))
    if not parts:
        return prefixes
    found = set(prefixes)
    for length in range(max(parts), OVERLAY_BITS, -1):
        half = 1 << 128 - length
        halves = {low for low in parts.get(length, ()) if not low & half and low | half in parts[length]}
        for low in halves:
            found -= {prefix_of(low, length), prefix_of(low | half, length)}
            found.add(prefix_of(low, length - 1))
        parts.setdefault(length - 1, set()).update(halves)
    return found
