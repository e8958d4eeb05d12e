"""Who talks to whom: rings that everybody derives from the list of members, so that nobody has to negotiate.

Each ring orders the peers by a hash of its number and their key. On eight of them everybody is watched by the live peer
before it; over the first three, in both directions, news is flooded: the graph of all neighbours is an expander, so
that a flood reaches everybody in about log N hops, and nobody has more than a bounded number of them. A client, which
nobody can dial, hangs on the first live peers after its own place on the first two rings, which watch it.

The dead keep their places and are stepped over, so a death moves nobody but their neighbours.

Who carries a client's traffic is another matter, for that should be even. One place a peer would not do: the busiest of
ten would carry nearly three times the mean. So a client looks from `PROBES` places and takes the peer that is nearest
to any of them (multi-probe consistent hashing: Appleton and O'Reilly, 2015, arXiv:1505.00062). Like rendezvous hashing
that moves only those whose peer went, or who come to a new one, and it need not look at all peers.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Container, Iterable
from hashlib import blake2b
from typing import ClassVar
from weakref import WeakValueDictionary

from smeg.keys import NodeKey

RINGS = 8
FLOOD_RINGS = 3
CLIENT_PEERS = 2
PROBES = 24
FAVOURITES = 3
"""How many are remembered of whom a client would choose."""
_PLACE_BYTES = 8
_CIRCLE = 1 << 8 * _PLACE_BYTES
_FEW = 0.1
"""Up to which share of differences rings are changed rather than made anew."""
NOBODY: frozenset[NodeKey] = frozenset()


def places(key: NodeKey) -> list[int]:
    """Where a key stands on each ring: 64 bits, from one BLAKE2b."""
    digest = _places(key)
    return [int.from_bytes(digest[at : at + _PLACE_BYTES], "big") for at in range(0, len(digest), _PLACE_BYTES)]


def _places(key: NodeKey) -> bytes:
    return blake2b(key, digest_size=RINGS * _PLACE_BYTES, person=b"smeg-rings").digest()


def probes(key: NodeKey) -> list[int]:
    """From which places of the first ring a client looks for who carries its traffic."""
    found: list[int] = []
    for number in range(PROBES // RINGS):
        digest = blake2b(key, digest_size=RINGS * _PLACE_BYTES, salt=bytes([number]), person=b"smeg-probes").digest()
        found += [int.from_bytes(digest[at : at + _PLACE_BYTES], "big") for at in range(0, len(digest), _PLACE_BYTES)]
    return found


class _Ring:
    """Some keys in the order of one ring, and their places; of those at one place the lower is first."""

    __slots__ = ("keys", "places")

    def __init__(self, places: array[int], keys: list[NodeKey]) -> None:
        self.places = places
        self.keys = keys

    @classmethod
    def of(cls, keys: tuple[NodeKey, ...], found: array[int]) -> _Ring:
        """Sorted keys, and where each stands."""
        order = sorted(range(len(keys)), key=found.__getitem__)
        return cls(array("Q", map(found.__getitem__, order)), [keys[index] for index in order])

    def change(self, come: Iterable[tuple[int, NodeKey]], gone: Iterable[tuple[int, NodeKey]]) -> _Ring:
        """With some more, and without some that are there."""
        made = _Ring(self.places[:], self.keys[:])
        for place, key in gone:
            at = made._seat(place, key)
            del made.places[at], made.keys[at]
        for place, key in come:
            at = made._seat(place, key)
            made.places.insert(at, place)
            made.keys.insert(at, key)
        return made

    def _seat(self, place: int, key: NodeKey) -> int:
        at = bisect_left(self.places, place)
        while at < len(self.keys) and self.places[at] == place and self.keys[at] < key:
            at += 1
        return at


_Table = tuple[_Ring, ...]
"""Some keys on all rings, or on the first of them."""


def _table(keys: tuple[NodeKey, ...], width: int, near: tuple[tuple[NodeKey, ...], _Table] | None) -> _Table:
    """These keys on so many rings; quicker near others whose rings are known."""
    before, rings = near or ((), ())
    if keys == before:
        return rings
    if not keys:
        return ()
    come, gone = set(keys).difference(before), set(before).difference(keys)
    if len(come) + len(gone) > len(before) * _FEW:
        # Thousands of lists of numbers would leave room behind that nothing else fills.
        rows = array("Q", b"".join(map(_places, keys)))
        if sys.byteorder == "little":
            rows.byteswap()
        return tuple(_Ring.of(keys, rows[number::RINGS]) for number in range(width))
    more, less = ([(places(key), key) for key in some] for some in (come, gone))
    return tuple(
        ring.change([(at[number], key) for at, key in more], [(at[number], key) for at, key in less])
        for number, ring in enumerate(rings)
    )


class Rings:
    """The rings of one set of members. Immutable; made by `of`, which gives equal sets one object.

    `skip` is always who is to be stepped over: the dead.
    """

    _known: ClassVar[WeakValueDictionary[tuple[bytes, bytes], Rings]] = WeakValueDictionary()

    def __init__(self, peers: tuple[NodeKey, ...], clients: tuple[NodeKey, ...], near: Rings | None = None) -> None:
        self._peers = peers
        self._clients = clients
        self._rings: _Table = _table(peers, RINGS, None if near is None else (near._peers, near._rings))
        self._hanging: _Table = _table(clients, CLIENT_PEERS, None if near is None else (near._clients, near._hanging))
        self._seats: dict[NodeKey, tuple[int, ...]] = {}
        """Of those that were asked about: which peer is at or behind their place on each ring, by number."""
        self._favourites: dict[NodeKey, tuple[NodeKey, ...]] = {}
        """Likewise, if nobody is skipped."""

    @classmethod
    def of(cls, peers: tuple[NodeKey, ...], clients: tuple[NodeKey, ...] = (), near: Rings | None = None) -> Rings:
        """Both are sorted. `near`, those of a set that differs in few, only makes it quicker."""
        tag = (blake2b(b"".join(peers)).digest(), blake2b(b"".join(clients)).digest())
        known = cls._known.get(tag)
        if known is None:
            known = cls._known[tag] = cls(peers, clients, near)
        return known

    @property
    def peers(self) -> tuple[NodeKey, ...]:
        """Sorted."""
        return self._peers

    @property
    def clients(self) -> tuple[NodeKey, ...]:
        """Sorted."""
        return self._clients

    def is_peer(self, key: NodeKey) -> bool:
        return _holds(self._peers, key)

    def _seat(self, key: NodeKey) -> tuple[int, ...]:
        seats = self._seats.get(key)
        if seats is None:
            found = zip(self._rings, places(key), strict=False)
            seats = self._seats[key] = tuple(bisect_left(ring.places, place) for ring, place in found)
        return seats

    def _after(self, ring: int, seat: int, skip: Container[NodeKey], *without: NodeKey) -> NodeKey | None:
        """The first peer behind a place on a ring."""
        return self._walk(ring, seat, 1, skip, without)

    def _before(self, ring: int, seat: int, skip: Container[NodeKey], *without: NodeKey) -> NodeKey | None:
        """The first peer ahead of a place on a ring."""
        return self._walk(ring, seat - 1, -1, skip, without)

    def _walk(
        self, ring: int, at: int, step: int, skip: Container[NodeKey], without: tuple[NodeKey, ...]
    ) -> NodeKey | None:
        keys = self._rings[ring].keys
        count = len(keys)
        for index in range(at, at + step * count, step):
            key = keys[index % count]
            if key not in without and key not in skip:
                return key
        return None

    def subjects(self, key: NodeKey, skip: Container[NodeKey] = NOBODY) -> list[NodeKey]:
        """Whom a node watches: for a peer the one behind it on each ring and its clients, for a client its peers."""
        if not self.is_peer(key):
            return self.upstream(key, skip)
        behind = [self._after(ring, seat, skip, key) for ring, seat in enumerate(self._seat(key))]
        return _distinct([*behind, *self.hanging(key, skip)])

    def observers(self, key: NodeKey, skip: Container[NodeKey] = NOBODY) -> list[NodeKey]:
        """Who watches a node, and judges of its death: for a peer the one ahead of it on each ring, for a client its
        peers."""
        if not self.is_peer(key):
            return self.upstream(key, skip)
        return _distinct([self._before(ring, seat, skip, key) for ring, seat in enumerate(self._seat(key))])

    def neighbours(self, key: NodeKey, skip: Container[NodeKey] = NOBODY) -> list[NodeKey]:
        """Whom a node floods to, in a fixed order, without itself."""
        if not self.is_peer(key):
            return self.upstream(key, skip)
        own = self._seat(key)[:FLOOD_RINGS]
        beside = [walk(ring, seat, skip, key) for ring, seat in enumerate(own) for walk in (self._after, self._before)]
        return _distinct([*beside, *self.hanging(key, skip)])

    def upstream(self, key: NodeKey, skip: Container[NodeKey] = NOBODY) -> list[NodeKey]:
        """The peers that a client dials: the first after its place on each of two rings, distinct."""
        found: list[NodeKey] = []
        for ring, seat in enumerate(self._seat(key)[:CLIENT_PEERS]):
            peer = self._after(ring, seat, skip, key, *found)
            if peer is not None:
                found.append(peer)
        return found

    def favourites(self, client: NodeKey, skip: Container[NodeKey] = NOBODY) -> tuple[NodeKey, ...]:
        """The two peers that should rather than others carry a client's traffic, the better first."""
        known = self._favourites.get(client)
        if known is None:
            known = self._favourites[client] = self._nearest(client, FAVOURITES, NOBODY)
        # How near a peer is depends on no other: who is skipped only leaves a gap.
        found = tuple(key for key in known if key not in skip)[:CLIENT_PEERS]
        if len(found) < CLIENT_PEERS and len(known) < len(self._peers):
            found = self._nearest(client, CLIENT_PEERS, skip)
        return found

    def _nearest(self, client: NodeKey, most: int, skip: Container[NodeKey]) -> tuple[NodeKey, ...]:
        """The peers that are nearest, on the first ring, behind any of the places from which a client looks."""
        found: list[tuple[int, NodeKey]] = []
        for place in probes(client) if self._rings else ():
            ring = self._rings[0]
            seat, count = bisect_left(ring.places, place), len(ring.keys)
            for at in range(seat, seat + count):
                way = (ring.places[at % count] - place) % _CIRCLE
                if len(found) == most and way >= found[-1][0]:
                    break
                key = ring.keys[at % count]
                if key not in skip:
                    others = [near for near in found if near[1] != key]
                    mine = [near for near in found if near[1] == key]
                    found = sorted([*others, min([*mine, (way, key)])])[:most]
        return tuple(key for _, key in found)

    def hanging(self, peer: NodeKey, skip: Container[NodeKey] = NOBODY) -> list[NodeKey]:
        """The clients that dial a peer, sorted."""
        if not self._clients:
            return []
        near: list[NodeKey] = []
        for ring, place in enumerate(places(peer)[:CLIENT_PEERS]):
            # Between the second live peer ahead and this one: a client whose two are the same takes the next.
            first = self._before(ring, self._seat(peer)[ring], skip, peer)
            second = first and self._before(ring, self._seat(first)[ring], skip, peer, first)
            near += self._between(ring, places(second)[ring], place) if second else self._clients
        return sorted(key for key in dict.fromkeys(near) if key not in skip and peer in self.upstream(key, skip))

    def _between(self, ring: int, low: int, high: int) -> list[NodeKey]:
        """The clients with places above `low` up to `high`, around the end of the ring if need be."""
        held, keys = self._hanging[ring].places, self._hanging[ring].keys
        start, end = bisect_left(held, low), bisect_left(held, high + 1)
        return keys[start:end] if low <= high else keys[start:] + keys[:end]


def _distinct(keys: list[NodeKey | None]) -> list[NodeKey]:
    return [key for key in dict.fromkeys(keys) if key is not None]


def _holds(keys: tuple[NodeKey, ...], key: NodeKey) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key
