"""The members of a mesh at one moment: an immutable table in key order, with what everybody derives from it.

One such table is shared by all actors of a node, and by thousands of simulated nodes: what changes shares the rest with
what was there before. Lists and rings that are equal are one object in a process.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from ipaddress import IPv6Address
from typing import ClassVar, TypeVar
from weakref import WeakValueDictionary

from immutables import Map

from smeg.certificates import Role
from smeg.keys import NodeKey
from smeg.records import Member
from smeg.rings import Rings

FEW = 16
"""changes of a sorted list that are made one by one."""
V = TypeVar("V")


class Moves:
    """How the ranks of one list become those of another: from which places keys went, and to which they came."""

    __slots__ = ("come", "gone")

    def __init__(self, before: Ranks, after: Ranks) -> None:
        new, old = set(after.keys), set(before.keys)
        self.gone = array("I", sorted(rank for key in old - new if (rank := before.rank(key)) is not None)[::-1])
        """Ranks in the list before, highest first."""
        self.come = array("I", sorted(rank for key in new - old if (rank := after.rank(key)) is not None))
        """Ranks in the list after, lowest first."""

    def translate(self, bits: int) -> int:
        """A set of ranks of the list before, as one of the list after: who is in both."""
        if not bits:
            return 0
        for rank in self.gone:
            bits = bits & ((1 << rank) - 1) | bits >> rank + 1 << rank
        for rank in self.come:
            bits = bits & ((1 << rank) - 1) | bits >> rank << rank + 1
        return bits


class Ranks:
    """A sorted list of keys: what gives a bitmap its meaning. Made by `of`, which gives equal lists one object."""

    _known: ClassVar[WeakValueDictionary[tuple[bytes, int], Ranks]] = WeakValueDictionary()

    def __init__(self, keys: tuple[NodeKey, ...], tag: bytes) -> None:
        self.keys = keys
        self.tag = tag
        """8 bytes that name the list."""
        self.size = (len(keys) + 7) // 8
        """bytes of a bitmap over it."""
        self.everybody = (1 << len(keys)) - 1
        """The bitmap of all."""
        self._moves: tuple[bytes, Moves] | None = None
        """From which list, by its tag, somebody last came to this one."""

    @classmethod
    def of(cls, keys: tuple[NodeKey, ...]) -> Ranks:
        """`keys` are sorted."""
        tag = blake2b(b"".join(keys), digest_size=8).digest()
        known = cls._known.get((tag, len(keys)))
        if known is None:
            known = cls._known[tag, len(keys)] = cls(keys, tag)
        return known

    def change(self, come: Collection[NodeKey], gone: Collection[NodeKey]) -> Ranks:
        """With some keys more that were not in the list, and without some that were."""
        if not come and not gone:
            return self
        if len(come) + len(gone) > FEW:
            return Ranks.of(tuple(sorted({*self.keys, *come} - {*gone})))
        keys = list(self.keys)
        for key in gone:
            del keys[bisect_left(keys, key)]
        for key in come:
            insort(keys, key)
        return Ranks.of(tuple(keys))

    def since(self, before: Ranks) -> Moves:
        """What has changed since that list."""
        if self._moves is None or self._moves[0] != before.tag:
            self._moves = (before.tag, Moves(before, self))
        return self._moves[1]

    def rank(self, key: NodeKey) -> int | None:
        """Where a key stands; None if it is not in the list."""
        at = bisect_left(self.keys, key)
        return at if at < len(self.keys) and self.keys[at] == key else None

    def bits(self, keys: Iterable[NodeKey]) -> int:
        """The bitmap of these, so far as they are in the list."""
        return sum(1 << rank for rank in map(self.rank, keys) if rank is not None)

    def __len__(self) -> int:
        return len(self.keys)


class Members(Mapping[NodeKey, Member]):
    """`Members()` is nobody; `of` and `change` make the others."""

    __slots__ = ("_by_address", "_by_curve", "_rings", "_rings_are_these", "_table", "ranks")

    def __init__(self) -> None:
        self._table: Map[NodeKey, Member] = Map()
        self._by_curve: Map[bytes, NodeKey] = Map()
        self._by_address: Map[IPv6Address, NodeKey] = Map()
        self._rings: Rings | None = None
        self._rings_are_these = False
        """Else they are of some that were nearly these, from which these are made when they are asked for."""
        self.ranks = Ranks.of(())
        """All keys, sorted."""

    @classmethod
    def of(cls, members: Mapping[NodeKey, Member]) -> Members:
        return cls().change(members)

    def change(self, changed: Mapping[NodeKey, Member | None]) -> Members:
        """With these members new or different, or gone where the value is None."""
        made = Members()
        table = self._table.mutate()
        come: list[NodeKey] = []
        gone: set[NodeKey] = set()
        same_roles = True
        for key, member in changed.items():
            before = self._table.get(key)
            if before is None and member is not None:
                come.append(key)
            elif before is not None and member is None:
                gone.add(key)
                del table[key]
            same_roles &= before is not None and member is not None and before.role is member.role
            if member is not None:
                table[key] = member
        made._table = table.finish()
        made._by_curve = _reindex(self._by_curve, _curve, changed, self._table, made._table)
        made._by_address = _reindex(self._by_address, _address, changed, self._table, made._table)
        made.ranks = self.ranks.change(come, gone)
        made._rings = self._rings
        made._rings_are_these = self._rings_are_these and made.ranks is self.ranks and same_roles
        return made

    def holder(self, curve: bytes) -> NodeKey | None:
        """The member whose CURVE key this is; of two who claim one the lower."""
        return self._by_curve.get(curve)

    def at(self, address: IPv6Address) -> NodeKey | None:
        """The member at an address of the overlay; of two the lower."""
        return self._by_address.get(address)

    @property
    def table(self) -> Mapping[NodeKey, Member]:
        """The same members, quicker to look up, in no order."""
        return self._table

    @property
    def addresses_differ(self) -> bool:
        """Whether no two are at one address."""
        return len(self._by_address) == len(self._table)

    @property
    def curves(self) -> Mapping[bytes, NodeKey]:
        """CURVE key → member."""
        return self._by_curve

    @property
    def rings(self) -> Rings:
        if self._rings is None or not self._rings_are_these:
            keys = self.ranks.keys
            clients = tuple(key for key in keys if self._table[key].role is not Role.PEER)
            peers = tuple(key for key in keys if self._table[key].role is Role.PEER) if clients else keys
            self._rings = Rings.of(peers, clients, self._rings)
            self._rings_are_these = True
        return self._rings

    def prepare(self) -> None:
        """Make the rings before others hear of these: else several threads, who ask at once, would each make them."""
        _ = self.rings

    def __getitem__(self, key: NodeKey) -> Member:
        return self._table[key]

    def __iter__(self) -> Iterator[NodeKey]:
        return iter(self.ranks.keys)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, key: object) -> bool:
        return key in self._table


def _curve(member: Member) -> bytes:
    return member.standing.curve


def _address(member: Member) -> IPv6Address:
    return member.address


def _reindex(
    index: Map[V, NodeKey],
    value: Callable[[Member], V],
    changed: Mapping[NodeKey, Member | None],
    before: Map[NodeKey, Member],
    after: Map[NodeKey, Member],
) -> Map[V, NodeKey]:
    """Value → the lowest key that has it, after a change."""
    made = index.mutate()
    for key in changed:
        old = before.get(key)
        if old is not None and made.get(value(old)) == key:
            del made[value(old)]
    for key, member in changed.items():
        if member is not None:
            made[value(member)] = min(key, made.get(value(member), key))
    found = made.finish()
    if len(found) == len(after):
        return found
    # Two claim one value: whoever went may have left it to one who did not change.
    holders: dict[V, NodeKey] = {}
    for key, member in after.items():
        holders[value(member)] = min(key, holders.get(value(member), key))
    return Map(holders)
