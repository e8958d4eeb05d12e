"""What `wanted` says, at the cost of what has changed since it was last asked: of thousands nearly all stay the same.

What has not changed is the same object again, so whoever compares with what went before sees it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network

from smeg.addresses import host_prefix
from smeg.carriers import Hops, hops
from smeg.device import DeviceState, WgPeer
from smeg.keys import NodeKey
from smeg.wanted import ChooseEndpoints, View, beyond, device, keepalive_of, wanted, wg_peer


@dataclass(frozen=True, slots=True)
class _Before:
    """How the last device came about, in which no two members claimed one address or one WireGuard key."""

    view: View
    keepalive: int
    ways: Hops
    behind: Mapping[NodeKey, list[IPv6Network]]
    peers: dict[bytes, WgPeer]
    """By WireGuard key, one for each neighbour."""


class Planner:
    """For one device."""

    def __init__(self) -> None:
        self._before: _Before | None = None

    def forget(self) -> None:
        """Begin anew: other endpoints may be chosen than before."""
        self._before = None

    def wanted(self, view: View, choose: ChooseEndpoints) -> DeviceState | None:
        """The device as it should be; None while this node is not a member."""
        own, before, self._before = view.members.get(view.own), self._before, None
        if own is None or not view.members.addresses_differ:
            return wanted(view, choose)
        ways = hops(own, view.members, view.pruned)
        keepalive = keepalive_of(own, view)
        if before is None or before.keepalive != keepalive:
            before = _Before(view, keepalive, Hops(frozenset(), {}, None), {}, {})
        tables, behind = beyond(view, ways, ways.neighbours)
        touched = _touched(before, view, ways, behind)
        peers = dict(before.peers)
        for key in before.ways.neighbours - ways.neighbours | touched & before.ways.neighbours:
            del peers[before.view.members.table[key].standing.wireguard]
        members = [view.members.table[key] for key in sorted(touched)]
        taken = {own.standing.wireguard, *(member.standing.wireguard for member in members)}
        if len(taken) <= len(members) or not taken.isdisjoint(peers):
            return wanted(view, choose)
        allowed = _allowed(view, ways, behind, touched)
        for member, endpoint in zip(members, choose(members), strict=True):
            peer = wg_peer(member, allowed[member.key], endpoint, keepalive)
            known = before.peers.get(peer.public_key)
            peers[peer.public_key] = known if known is not None and known == peer else peer
        self._before = _Before(view, keepalive, ways, behind, peers)
        return device(own, view, tables, peers)


def _touched(before: _Before, view: View, ways: Hops, behind: Iterable[NodeKey]) -> frozenset[NodeKey]:
    """The neighbours that may have to look otherwise than before."""
    was, then, now = before.ways.to, before.view.members.table, view.members.table
    changed = [key for key, hop in ways.to.items() if was.get(key) is not hop]
    if then is not now:
        changed += [key for key in ways.to if then.get(key) is not now[key]]
    touched = {*behind, *before.behind, *(ways.neighbours - before.ways.neighbours)}
    # A client may be a neighbour, and yet be reached through another: the tunnel is warm.
    touched |= {*changed, *(ways.to[key] for key in changed)}
    touched |= {was[key] for key in changed if key in was}
    touched |= {was[key] for key in was.keys() - ways.to.keys()}
    # Those to whom nothing leads are few: the tunnels of a client, and clients that are thought dead.
    touched |= ways.neighbours - ways.to.keys()
    return frozenset(touched & ways.neighbours)


def _allowed(
    view: View, ways: Hops, behind: Mapping[NodeKey, list[IPv6Network]], touched: frozenset[NodeKey]
) -> dict[NodeKey, tuple[IPv6Network, ...]]:
    """Which prefixes these neighbours get: of most their own address, in the very tuple that the plan keeps."""
    table = view.members.table
    carried: dict[NodeKey, list[IPv6Network]] = {}
    for key, hop in ways.to.items():
        if hop in touched and hop != key:
            carried.setdefault(hop, []).append(host_prefix(table[key].address))

    def prefixes(key: NodeKey) -> tuple[IPv6Network, ...]:
        own = (host_prefix(table[key].address),) if ways.to.get(key) == key else ()
        return (*behind.get(key, ()), *own, *carried.get(key, ()))

    return {key: prefixes(key) for key in touched}
