"""A WireGuard device that changes as a kernel's would: what it is after operations, without a device.

WireGuard gives a prefix to one peer only, and takes it silently from its holder when another peer is given it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv6Network

from smeg.device import (
    MARK,
    AddAddress,
    AddRoute,
    DeviceState,
    Operation,
    RemoveAddress,
    RemovePeer,
    RemoveRoute,
    SetInterface,
    SetPeer,
    Table,
    WgPeer,
)


def simulate(now: DeviceState, operations: Iterable[Operation]) -> DeviceState:
    """What the device is after `operations`."""
    simulated = Simulated(now)
    simulated.apply(operations)
    return simulated.state()


class Simulated:
    """It is changed at the cost of what changes, however many peers there are."""

    def __init__(self, state: DeviceState) -> None:
        self._state = replace(state, peers={})
        self._addresses = set(state.addresses)
        self._peers: Mapping[bytes, WgPeer] = state.peers
        """Somebody else's, too, until they change."""
        self._own: dict[bytes, WgPeer] | None = None
        """The same, once they are nobody else's."""
        self._routes = {table: set(state.routes_in(table)) for table in Table}
        self._owners = {prefix: key for key, peer in self._peers.items() for prefix in peer.allowed_ips}

    @property
    def peers(self) -> Mapping[bytes, WgPeer]:
        return self._peers

    def owner(self, prefix: IPv6Network) -> bytes | None:
        """The peer that has it."""
        return self._owners.get(prefix)

    def state(self) -> DeviceState:
        self._own = None
        return replace(self.without_peers(), peers=self._peers)

    def without_peers(self) -> DeviceState:
        """All but the thousands."""
        return replace(
            self._state,
            addresses=tuple(sorted(self._addresses)),
            routes=tuple(sorted(self._routes[Table.MAIN])),
            unmarked_routes=tuple(sorted(self._routes[Table.UNMARKED])),
            own_routes=tuple(sorted(self._routes[Table.OWN])),
            peers={},
        )

    def share(self, peers: Mapping[bytes, WgPeer]) -> None:
        """Be made of these where they are equal, so that who looks next sees it at once. All after a device was read;
        `apply_towards` does it for what it changes."""
        for key, peer in peers.items():
            held = self._peers.get(key)
            if held is not peer and held == peer:
                self._changing()[key] = peer

    def apply_towards(self, wanted: DeviceState, operations: Iterable[Operation]) -> None:
        """Apply what leads to `wanted`."""
        operations = tuple(operations)
        self.apply(operations)
        changed = {operation.peer.public_key for operation in operations if isinstance(operation, SetPeer)}
        self.share({key: wanted.peers[key] for key in changed if key in wanted.peers})
        if self._peers == wanted.peers:
            self._peers, self._own = wanted.peers, None

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

    def _changing(self) -> dict[bytes, WgPeer]:
        """The peers, to be changed."""
        if self._own is None:
            self._peers = self._own = dict(self._peers)
        return self._own

    def _take_away(self, key: bytes) -> None:
        gone = self._changing().pop(key, None)
        for prefix in gone.allowed_ips if gone else ():
            del self._owners[prefix]

    def _give(self, peer: WgPeer) -> None:
        peers, owners = self._changing(), self._owners
        before = peers.get(peer.public_key)
        for prefix in before.allowed_ips if before else ():
            del owners[prefix]
        for prefix in peer.allowed_ips:
            robbed = owners.get(prefix)
            if robbed is not None:
                left = tuple(other for other in peers[robbed].allowed_ips if other != prefix)
                peers[robbed] = replace(peers[robbed], allowed_ips=left)
            owners[prefix] = peer.public_key
        peer = in_order(peer)
        if peer.endpoint is None and before is not None and before.endpoint is not None:
            peer = replace(peer, endpoint=before.endpoint)
        peers[peer.public_key] = peer


def in_order(peer: WgPeer) -> WgPeer:
    """With its prefixes sorted; the same one if they are, for there are thousands of them in several states."""
    if len(peer.allowed_ips) < 2:
        return peer
    ordered = tuple(sorted(peer.allowed_ips))
    return peer if peer.allowed_ips == ordered else replace(peer, allowed_ips=ordered)
