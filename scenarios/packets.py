"""Where packets go in a simulated world: through the interfaces exactly as they are set, step by step.

Which host gets what goes to a peer is for others to say (`tunnels`); else it is the one that has the peer's key. A host
takes a packet from a tunnel only if it would send to the packet's source by that same tunnel, as WireGuard does; then
its kernel routes decide, and then the allowed IPs of the interface. Nothing of what the daemons think is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network

from smeg.device import DeviceState, WgPeer

MOST_HOPS = 64
"""Linux's hop limit."""
Find = Callable[[str, WgPeer], str | None]
"""Which host gets what one sends to a peer of its."""


class End(StrEnum):
    """What becomes of a packet."""

    ARRIVED = "arrived"
    NO_ROUTE = "no route"
    NO_TUNNEL = "no tunnel"
    NOBODY_THERE = "nobody is where it is sent"
    DEAD = "dead"
    NOT_TAKEN = "not taken"
    """A host got it from a tunnel from which it takes nothing with such a source."""
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Walk:
    end: End
    hosts: tuple[str, ...]
    """Where it came by, the sender first."""
    keys: tuple[bytes, ...] = ()
    """The WireGuard key of each that passed it on."""


class Longest:
    """Prefix → value; the longest match counts."""

    def __init__(self, entries: Iterable[tuple[IPv6Network, bytes]]) -> None:
        self._by_length: dict[int, dict[int, bytes]] = {}
        for prefix, value in entries:
            self._by_length.setdefault(prefix.prefixlen, {})[int(prefix.network_address)] = value
        self._lengths = sorted(self._by_length, reverse=True)

    def find(self, address: int) -> tuple[int, bytes] | None:
        """The length of the match, and its value."""
        for length in self._lengths:
            value = self._by_length[length].get(address >> 128 - length << 128 - length)
            if value is not None:
                return length, value
        return None


@dataclass(slots=True)
class Interface:
    """One device of a host."""

    state: DeviceState
    allowed: Longest
    """Prefix → the WireGuard key of the peer."""
    main: Longest
    unmarked: Longest
    own: Longest
    """Kernel routes; the values say nothing."""
    addresses: frozenset[int]
    beyond: frozenset[tuple[IPv6Network, bytes]]
    """What leads further than to a member, and by whom."""

    @classmethod
    def of(cls, state: DeviceState) -> Interface:
        peers = [(prefix, key) for key, peer in state.peers.items() for prefix in peer.allowed_ips]
        routes = (state.routes, state.unmarked_routes, state.own_routes)
        main, unmarked, own = (Longest((prefix, b"") for prefix in table) for table in routes)
        beyond = frozenset((prefix, key) for prefix, key in peers if prefix.prefixlen < 128)
        addresses = frozenset(int(address.ip) for address in state.addresses)
        return cls(state, Longest(peers), main, unmarked, own, addresses, beyond)


class Packets:
    """The interfaces of all hosts, by host and mesh."""

    def __init__(self, find: Find | None = None) -> None:
        self._find = find
        self.states: dict[str, dict[str, DeviceState]] = {}
        self.owners: dict[tuple[str, bytes], str] = {}
        """By mesh and WireGuard key: whose it is."""
        self._indexed: dict[tuple[str, str], Interface] = {}

    def put(self, host: str, mesh: str, state: DeviceState) -> None:
        """The interface of a host in a mesh is like this now."""
        self.states.setdefault(host, {})[mesh] = state
        self.owners[mesh, state.public_key] = host

    def moved(self, host: str, mesh: str, state: DeviceState) -> list[IPv6Network]:
        """As `put`; the prefixes that it leads on to otherwise than before."""
        before = self._interface(host, mesh).beyond if mesh in self.states.get(host, {}) else frozenset()
        self.put(host, mesh, state)
        return sorted({prefix for prefix, _ in self._interface(host, mesh).beyond - before})

    def _interface(self, host: str, mesh: str) -> Interface:
        state = self.states[host][mesh]
        known = self._indexed.get((host, mesh))
        if known is None or known.state is not state:
            known = self._indexed[host, mesh] = Interface.of(state)
        return known

    def remove(self, host: str) -> None:
        """A host has no interface any more."""
        self.states.pop(host, None)

    def circle(self, at: str, to: IPv6Address) -> tuple[str, ...]:
        """The hosts by which a packet goes around that comes by here, by what each forwards; nobody if it does not.

        That WireGuard takes a packet only from whom it would send to its source is left out: it ends some of these.
        """
        hosts, target = [at], int(to)
        while len(hosts) <= MOST_HOPS:
            devices = {mesh: self._interface(hosts[-1], mesh) for mesh in self.states.get(hosts[-1], {})}
            if any(target in device.addresses for device in devices.values()):
                break
            mesh = _route(devices, 0, target)
            found = devices[mesh].allowed.find(target) if mesh is not None else None
            following = self.owners.get((mesh, found[1])) if mesh is not None and found is not None else None
            if following is None:
                break
            hosts.append(following)
            if following in hosts[:-1]:
                return tuple(hosts)
        return ()

    def walk(self, sender: str, source: IPv6Address, to: IPv6Address) -> Walk:
        """Where a packet goes that a host sends from one of its addresses."""
        at, hosts, origin, target = sender, [sender], int(source), int(to)
        keys: list[bytes] = []

        def ended(end: End) -> Walk:
            return Walk(end, tuple(hosts), tuple(keys))

        while True:
            devices = {mesh: self._interface(at, mesh) for mesh in self.states.get(at, {})}
            if any(target in device.addresses for device in devices.values()):
                return ended(End.ARRIVED)
            mesh = _route(devices, origin, target)
            if mesh is None:
                return ended(End.NO_ROUTE)
            own, found = devices[mesh].state, devices[mesh].allowed.find(target)
            if found is None:
                return ended(End.NO_TUNNEL)
            peer = own.peers[found[1]]
            following = self._following(at, mesh, peer)
            if following is None:
                return ended(End.NOBODY_THERE)
            hosts.append(following)
            keys.append(own.public_key)
            if following in hosts[:-1] or len(hosts) > MOST_HOPS:
                return ended(End.LOOP)
            state = self.states.get(following, {}).get(mesh)
            if state is None or state.public_key != peer.public_key:
                return ended(End.DEAD)
            expected = self._interface(following, mesh).allowed.find(origin)
            if expected is None or expected[1] != own.public_key:
                return ended(End.NOT_TAKEN)
            at = following

    def _following(self, at: str, mesh: str, peer: WgPeer) -> str | None:
        return self._find(at, peer) if self._find is not None else self.owners.get((mesh, peer.public_key))


def _route(devices: Mapping[str, Interface], origin: int, target: int) -> str | None:
    """The mesh by whose interface the kernel sends. First the rules for one's own addresses, then the main table but
    for its default route, then the table for unmarked packets."""
    for mesh, device in devices.items():
        if origin in device.addresses and device.own.find(target) is not None:
            return mesh
    for tables in ("main", "unmarked"):
        found = [
            (match[0], mesh) for mesh, device in devices.items() if (match := getattr(device, tables).find(target))
        ]
        if found:
            return max(found)[1]
    return None
