"""What this node's device in one mesh should look like: a pure function of members, liveness and routes.

With whom this node has tunnels, and which of them leads to whom, `carriers` says; prefixes behind a member go where its
address goes, by the chosen routes. Prefixes of different peers never overlap but by being longer: WireGuard gives each
prefix to one peer and each packet to the longest match. Where a route for what is forwarded and one for what this node
sends itself give a prefix to two of them, the first counts: for a moment, while news is on its way, both kinds go
there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Interface, IPv6Network

from smeg.addresses import host_prefix, overlay_prefix
from smeg.carriers import Hops, hops
from smeg.certificates import Role
from smeg.device import DeviceState, Endpoint, Table, WgPeer
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import Member, Route
from smeg.swallowed import places, table_for

ChooseEndpoint = Callable[[Member], Endpoint | None]
"""Which of a member's endpoints to use: a literal address that this host has a route to, or None."""


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


def wanted(view: View, choose: ChooseEndpoint) -> DeviceState | None:
    """The device as it should be; None while this node is not a member."""
    own = view.members.get(view.own)
    if own is None:
        return None
    prefix = overlay_prefix(view.mesh)
    ways = hops(own, view.members, view.pruned)
    neighbours = [view.members[key] for key in sorted(ways.neighbours)]
    # Key order here too: of two members who claim one WireGuard key the lower keeps it, and nobody has ours.
    first: dict[bytes, Member] = {own.standing.wireguard: own}
    for member in neighbours:
        first.setdefault(member.standing.wireguard, member)
    neighbours = [member for member in neighbours if first[member.standing.wireguard] is member]
    allowed: dict[NodeKey, list[IPv6Network]] = {member.key: [] for member in neighbours}
    taken = {own.address}
    for key in sorted(ways.to):
        # Key order: of two members at one address the lower key keeps it.
        address = view.members[key].address
        if ways.to[key] in allowed and address not in taken:
            taken.add(address)
            allowed[ways.to[key]].append(host_prefix(address))
    if ways.default in allowed:
        allowed[ways.default].append(prefix)
    tables = _route(view, prefix, ways, allowed)
    keepalive = view.keepalive if own.role is Role.CLIENT else 0
    peers = {
        member.standing.wireguard: WgPeer(
            member.standing.wireguard, tuple(sorted(allowed[member.key])), choose(member), keepalive
        )
        for member in neighbours
    }
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


def _route(
    view: View, overlay: IPv6Network, ways: Hops, allowed: dict[NodeKey, list[IPv6Network]]
) -> dict[Table, set[IPv6Network]]:
    """The kernel routes, by table; gives each prefix to the neighbour that gets what goes there."""
    tables: dict[Table, set[IPv6Network]] = {Table.MAIN: {overlay}, Table.UNMARKED: set(), Table.OWN: set()}
    if not view.routes and not view.own_routes:
        return tables
    found = places(endpoint for key in allowed for endpoint in view.members[key].record.wireguard)
    given: set[IPv6Network] = set()
    for routes, own in ((view.routes, False), (view.own_routes, True)):
        for prefix, via in ((route.prefix, route.via) for route in routes):
            lives = via in view.members and via not in view.pruned and via != view.own
            hop = ways.via(via) if lives else None
            if hop not in allowed or prefix.subnet_of(overlay):
                continue
            if prefix not in given:
                given.add(prefix)
                allowed[hop].append(prefix)
            tables[Table.OWN if own else table_for(prefix, found)].add(prefix)
    return tables
