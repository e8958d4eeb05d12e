"""From what a WireGuard device is to what it should be: the fewest operations, in an order that never does harm.

WireGuard gives a prefix to one peer only, and takes it silently from its holder when another peer is given it. So
whoever loses a prefix is set before whoever gains it, and no operation here ever takes one away unsaid. Routes go
before the peers that carry them and come after them. Nothing here touches a device, and nothing depends on the order
of a map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Network
from itertools import groupby

from smeg.device import (
    MARK,
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


def difference(now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]) -> tuple[Operation, ...]:
    """The operations that turn `now` into `wanted`, in the order to apply them; none for what is equal.

    `learned` maps a public key to the endpoint that was last configured for it. A wanted endpoint equal to that one is
    old news: if the device has another, WireGuard learned it by roaming, and it stays. After applying, the caller keeps
    the endpoint of every wanted peer as the new `learned`.

    A wanted listen port of 0 accepts any port. The interface is only ever set up, never down. A public key that differs
    asks for `SetInterface`, by which a backend sets its own key again.

    Raises `LocalError` with code `plan-conflict` when `wanted` gives one prefix to two peers.
    """
    _check_owners(wanted)
    operations: list[Operation] = []
    if _interface_differs(now, wanted):
        operations.append(SetInterface(wanted.listen_port, wanted.mtu))
    operations += [RemoveRoute(prefix, table) for table in Table for prefix in _beyond(now, wanted, table)]
    operations += [RemovePeer(key) for key in sorted(set(now.peers) - set(wanted.peers))]
    operations += _set_peers(now, wanted, learned)
    # An address is known to the kernel without its prefix length: the old one must go before the new one can come.
    operations += [RemoveAddress(address) for address in sorted(set(now.addresses) - set(wanted.addresses))]
    operations += [AddAddress(address) for address in sorted(set(wanted.addresses) - set(now.addresses))]
    operations += [AddRoute(prefix, table) for table in Table for prefix in _beyond(wanted, now, table)]
    return tuple(operations)


def reuse(wanted: DeviceState, now: DeviceState) -> DeviceState:
    """`wanted`, made of the peers of `now` where they are equal: of thousands nearly all stay as they are."""
    peers = {key: now.peers[key] if now.peers.get(key) == peer else peer for key, peer in wanted.peers.items()}
    return replace(wanted, peers=peers)


def simulate(now: DeviceState, operations: Iterable[Operation]) -> DeviceState:
    """What the device is after `operations`, as a kernel would have it: a prefix given to one peer leaves any other."""
    simulated = Simulated(now)
    simulated.apply(operations)
    return simulated.state()


class Simulated:
    """A device that changes as a kernel's would, at the cost of what changes."""

    def __init__(self, state: DeviceState) -> None:
        self._state = state
        self._addresses, self._peers = set(state.addresses), dict(state.peers)
        self._routes = {table: set(state.routes_in(table)) for table in Table}
        self._owners = {prefix: key for key, peer in self._peers.items() for prefix in peer.allowed_ips}

    def state(self) -> DeviceState:
        main, unmarked, own = (tuple(sorted(self._routes[table])) for table in (Table.MAIN, Table.UNMARKED, Table.OWN))
        return replace(
            self._state,
            addresses=tuple(sorted(self._addresses)),
            routes=main,
            unmarked_routes=unmarked,
            own_routes=own,
            peers=dict(self._peers),
        )

    def apply(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            match operation:
                case SetInterface(listen_port, mtu):
                    listen_port = listen_port or self._state.listen_port
                    self._state = replace(self._state, listen_port=listen_port, mtu=mtu, up=True, fwmark=MARK)
                case AddAddress(address):
                    self._addresses.add(address)
                case RemoveAddress(address):
                    self._addresses.discard(address)
                case AddRoute(prefix, table):
                    self._routes[table].add(prefix)
                case RemoveRoute(prefix, table):
                    self._routes[table].discard(prefix)
                case RemovePeer(key):
                    self._take_away(key)
                case SetPeer(peer):
                    self._give(peer)

    def _take_away(self, key: bytes) -> None:
        gone = self._peers.pop(key, None)
        for prefix in gone.allowed_ips if gone else ():
            del self._owners[prefix]

    def _give(self, peer: WgPeer) -> None:
        peers, owners = self._peers, self._owners
        before = peers.get(peer.public_key)
        for prefix in before.allowed_ips if before else ():
            del owners[prefix]
        for prefix in peer.allowed_ips:
            robbed = owners.get(prefix)
            if robbed is not None:
                left = tuple(other for other in peers[robbed].allowed_ips if other != prefix)
                peers[robbed] = replace(peers[robbed], allowed_ips=left)
            owners[prefix] = peer.public_key
        peer = _in_order(peer)
        if peer.endpoint is None and before is not None and before.endpoint is not None:
            peer = replace(peer, endpoint=before.endpoint)
        peers[peer.public_key] = peer


def _in_order(peer: WgPeer) -> WgPeer:
    """With its prefixes sorted; the same one if they are, for there are thousands of them in several states."""
    ordered = tuple(sorted(peer.allowed_ips))
    return peer if peer.allowed_ips == ordered else replace(peer, allowed_ips=ordered)


def batches(operations: tuple[Operation, ...]) -> Iterator[tuple[Operation, ...]]:
    """`operations` in runs, in order: neighbours that set or remove peers together, every other one alone."""
    for about_peers, run in groupby(operations, key=lambda operation: isinstance(operation, SetPeer | RemovePeer)):
        if about_peers:
            yield tuple(run)
        else:
            yield from ((operation,) for operation in run)


def _check_owners(wanted: DeviceState) -> None:
    owners: dict[IPv6Network, bytes] = {}
    for key in sorted(wanted.peers):
        for prefix in wanted.peers[key].allowed_ips:
            if owners.setdefault(prefix, key) != key:
                raise LocalError("plan-conflict", f"{prefix} is planned for two WireGuard peers at once")


def _beyond(one: DeviceState, other: DeviceState, table: Table) -> list[IPv6Network]:
    """The routes of a table that only the one has."""
    return sorted(set(one.routes_in(table)) - set(other.routes_in(table)))


def _interface_differs(now: DeviceState, wanted: DeviceState) -> bool:
    return (
        now.public_key != wanted.public_key
        or wanted.listen_port not in (0, now.listen_port)
        or now.mtu != wanted.mtu
        or now.fwmark != wanted.fwmark
        or (wanted.up and not now.up)
    )


def _set_peers(now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]) -> list[Operation]:
    """What adds and changes peers. `blocked` are those that must wait for holders of what they get."""
    goals: dict[bytes, SetPeer] = {}
    for key in sorted(wanted.peers):
        goal = _goal(now.peers.get(key), wanted.peers[key], learned.get(key))
        if goal is not None:
            goals[key] = goal
    # Who keeps all that it has holds nothing that another may get.
    holders = {prefix: key for key in goals if key in now.peers for prefix in now.peers[key].allowed_ips}
    blocked = {
        key: blockers
        for key, goal in goals.items()
        if (blockers := {holders[prefix] for prefix in goal.peer.allowed_ips if holders.get(prefix, key) != key})
    }
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
            held, goal_peer = now.peers[key].allowed_ips, goals[key].peer
            kept = tuple(prefix for prefix in goal_peer.allowed_ips if prefix in set(held))
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
    if now is wanted:
        return None
    if now is None:
        return SetPeer(_in_order(wanted))
    roamed = wanted.endpoint == last and now.endpoint is not None
    endpoint = None if roamed or wanted.endpoint == now.endpoint else wanted.endpoint
    same = set(now.allowed_ips) == set(wanted.allowed_ips) and now.keepalive == wanted.keepalive
    if same and endpoint is None:
        return None
    return SetPeer(replace(wanted, allowed_ips=tuple(sorted(wanted.allowed_ips)), endpoint=endpoint))
