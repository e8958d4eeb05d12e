"""From what a WireGuard device is to what it should be: the fewest operations, in an order that never does harm.

WireGuard gives a prefix to one peer only, and takes it silently from its holder when another peer is given it. So
whoever loses a prefix is set before whoever gains it, and no operation here ever takes one away unsaid. Routes go
before the peers that carry them and come after them; but one that others take the place of, wider or narrower, goes
when these have come, so that what stays reachable always has a route. Nothing here touches a device, and nothing
depends on the order of a map.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Network
from itertools import groupby

from smeg.device import (
    AddAddress,
    AddRoute,
    DeviceState,
    Endpoint,
    Operation,
    RemoveAddress,
    RemovePeer,
    RemoveRoute,
    SetInterface,
    SetPeer,
    Table,
    WgPeer,
)
from smeg.errors import LocalError
from smeg.simulated import Simulated, in_order


def difference(now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]) -> tuple[Operation, ...]:
    """The operations that turn `now` into `wanted`: see `plan`."""
    return plan(Simulated(now), wanted, learned)


def plan(now: Simulated, wanted: DeviceState, learned: Mapping[bytes, Endpoint]) -> tuple[Operation, ...]:
    """The operations that turn `now` into `wanted`, in the order to apply them; none for what is equal.

    `learned` maps a public key to the endpoint that was last configured for it. A wanted endpoint equal to that one is
    old news: if the device has another, WireGuard learned it by roaming, and it stays. After applying, the caller keeps
    the endpoint of every wanted peer as the new `learned`.

    A wanted listen port of 0 accepts any port. The interface is only ever set up, never down. A public key that differs
    asks for `SetInterface`, by which a backend sets its own key again.

    Raises `LocalError` with code `plan-conflict` when `wanted` gives one prefix to two peers.
    """
    held = now.without_peers()
    operations: list[Operation] = []
    if _interface_differs(held, wanted):
        operations.append(SetInterface(wanted.listen_port, wanted.mtu))
    going, replaced = _leaving(held, wanted)
    operations += going
    operations += [RemovePeer(key) for key in sorted(now.peers.keys() - wanted.peers.keys())]
    operations += _set_peers(now, wanted, learned)
    # An address is known to the kernel without its prefix length: the old one must go before the new one can come.
    operations += [RemoveAddress(address) for address in sorted(set(held.addresses) - set(wanted.addresses))]
    operations += [AddAddress(address) for address in sorted(set(wanted.addresses) - set(held.addresses))]
    operations += [AddRoute(prefix, table) for table in Table for prefix in _beyond(wanted, held, table)]
    operations += replaced
    return tuple(operations)


def batches(operations: tuple[Operation, ...]) -> Iterator[tuple[Operation, ...]]:
    """`operations` in runs, in order: neighbours that set or remove peers together, every other one alone."""
    for about_peers, run in groupby(operations, key=lambda operation: isinstance(operation, SetPeer | RemovePeer)):
        if about_peers:
            yield tuple(run)
        else:
            yield from ((operation,) for operation in run)


def _check_owners(now: Simulated, wanted: DeviceState, goals: Mapping[bytes, SetPeer]) -> None:
    """Raise if two are to have one prefix. Whoever stays as it is holds its own, so one of the two is among `goals`."""
    owners: dict[IPv6Network, bytes] = {}
    for key in goals:
        for prefix in wanted.peers[key].allowed_ips:
            holder = now.owner(prefix)
            stays = holder is not None and holder in wanted.peers and holder not in goals
            if owners.setdefault(prefix, key) != key or stays:
                raise LocalError("plan-conflict", f"{prefix} is planned for two WireGuard peers at once")


def _beyond(one: DeviceState, other: DeviceState, table: Table) -> list[IPv6Network]:
    """The routes of a table that only the one has."""
    return sorted(set(one.routes_in(table)) - set(other.routes_in(table)))


def _leaving(held: DeviceState, wanted: DeviceState) -> tuple[list[RemoveRoute], list[RemoveRoute]]:
    """Routes that go and leave nothing behind, and those whose place in their table new ones take."""
    going: list[RemoveRoute] = []
    replaced: list[RemoveRoute] = []
    for table in Table:
        coming = _beyond(wanted, held, table)
        wider, lengths = set(coming), sorted({prefix.prefixlen for prefix in coming})
        for prefix in _beyond(held, wanted, table):
            # Sorted as they are, what a prefix holds follows it at once.
            at = bisect_left(coming, prefix)
            holds_one = at < len(coming) and coming[at].subnet_of(prefix)
            held_by_one = any(
                prefix.supernet(new_prefix=length) in wider for length in lengths if length < prefix.prefixlen
            )
            (replaced if holds_one or held_by_one else going).append(RemoveRoute(prefix, table))
    return going, replaced


def _interface_differs(now: DeviceState, wanted: DeviceState) -> bool:
    return (
        now.public_key != wanted.public_key
        or wanted.listen_port not in (0, now.listen_port)
        or now.mtu != wanted.mtu
        or now.fwmark != wanted.fwmark
        or (wanted.up and not now.up)
    )


def _set_peers(now: Simulated, wanted: DeviceState, learned: Mapping[bytes, Endpoint]) -> list[Operation]:
    """What adds and changes peers. `blocked` are those that must wait for holders of what they get."""
    held = now.peers
    changed = [key for key, peer in wanted.peers.items() if held.get(key) is not peer]
    goals: dict[bytes, SetPeer] = {}
    for key in sorted(changed):
        goal = _goal(held.get(key), wanted.peers[key], learned.get(key))
        if goal is not None:
            goals[key] = goal
    _check_owners(now, wanted, goals)
    # Who keeps all that it has holds nothing that another may get.
    blocked: dict[bytes, set[bytes]] = {}
    for key, goal in goals.items():
        holders = {holder for prefix in goal.peer.allowed_ips if (holder := now.owner(prefix)) in goals}
        if blockers := {holder for holder in holders if holder is not None and holder != key}:
            blocked[key] = blockers
    waiters: dict[bytes, list[bytes]] = {}
    for key, blockers in blocked.items():
        for blocker in blockers:
            waiters.setdefault(blocker, []).append(key)

    operations: list[Operation] = []

    def release(holder: bytes) -> list[bytes]:
        freed = []
        for key in waiters.pop(holder, ()):
            blocked[key].discard(holder)
            if not blocked[key]:
                del blocked[key]
                freed.append(key)
        return freed

    ready = [key for key in goals if key not in blocked]
    while ready or blocked:
        # Waves keep the order deterministic and by key; the last of a wave may free the first of the next.
        while ready:
            following: list[bytes] = []
            for key in ready:
                operations.append(goals[key])
                following += release(key)
            ready = sorted(following)
        if blocked:
            # Peers swap prefixes in a ring: one of them lets go first, and gets its new ones when its turn comes.
            key = _in_a_ring(blocked)
            goal_peer, has = goals[key].peer, set(held[key].allowed_ips)
            kept = tuple(prefix for prefix in goal_peer.allowed_ips if prefix in has)
            operations.append(SetPeer(replace(goal_peer, allowed_ips=kept, endpoint=None)))
            ready = sorted(release(key))
    return operations


def _in_a_ring(blocked: Mapping[bytes, set[bytes]]) -> bytes:
    """A peer that, by way of others, waits for itself: where the walk from waiter to holder comes back."""
    seen: set[bytes] = set()
    key = min(blocked)
    while key not in seen:
        seen.add(key)
        key = min(blocked[key])
    return key


def _goal(now: WgPeer | None, wanted: WgPeer, last: Endpoint | None) -> SetPeer | None:
    """The `SetPeer` that makes `now` into `wanted`, or None when they are equal but for roaming."""
    if now is None:
        return SetPeer(in_order(wanted))
    roamed = wanted.endpoint == last and now.endpoint is not None
    endpoint = None if roamed or wanted.endpoint == now.endpoint else wanted.endpoint
    same = now.allowed_ips == wanted.allowed_ips or set(now.allowed_ips) == set(wanted.allowed_ips)
    if same and now.keepalive == wanted.keepalive and endpoint is None:
        return None
    return SetPeer(replace(in_order(wanted), endpoint=endpoint))
