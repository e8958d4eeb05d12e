"""The members of a mesh at one moment: an immutable table in key order, with what everybody derives from it.

One such table is shared by all actors of a node, and by thousands of simulated nodes: what changes shares the rest with
what was there before. Lists and rings that are equal are one object in a process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import ClassVar
from weakref import WeakValueDictionary

from immutables import Map

from smeg.certificates import Role
from smeg.keys import NodeKey
from smeg.records import Member
from smeg.rings import Rings


class Ranks:
    """A sorted list of keys: what gives a bitmap its meaning. Made by `of`, which gives equal lists one object."""

    _known: ClassVar[WeakValueDictionary[tuple[bytes, int], Ranks]] = WeakValueDictionary()

    def __init__(self, keys: tuple[NodeKey, ...], tag: bytes) -> None:
        self.keys = keys
        self.tag = tag
        """8 bytes that name the list."""
        self.size = (len(keys) + 7) // 8
        """bytes of a bitmap over it."""

    @classmethod
    def of(cls, keys: tuple[NodeKey, ...]) -> Ranks:
        """`keys` are sorted."""
        tag = blake2b(b"".join(keys), digest_size=8).digest()
        known = cls._known.get((tag, len(keys)))
        if known is None:
            known = cls._known[tag, len(keys)] = cls(keys, tag)
        return known

    def rank(self, key: NodeKey) -> int | None:
        """Where a key stands; None if it is not in the list."""
        at = bisect_left(self.keys, key)
        return at if at < len(self.keys) and self.keys[at] == key else None

    def __len__(self) -> int:
        return len(self.keys)


class Members(Mapping[NodeKey, Member]):
    """`Members()` is nobody; `of` and `change` make the others."""

    __slots__ = ("__dict__", "_by_curve", "_rings", "_table", "ranks")

    def __init__(self) -> None:
        self._table: Map[NodeKey, Member] = Map()
        self._by_curve: Map[bytes, NodeKey] = Map()
        self._rings: Rings | None = None
        self.ranks = Ranks.of(())
        """All keys, sorted."""

    @classmethod
    def of(cls, members: Mapping[NodeKey, Member]) -> Members:
        return cls().change(members)

    def change(self, changed: Mapping[NodeKey, Member | None]) -> Members:
        """With these members new or different, or gone where the value is None."""
        made = Members()
        table, curves = self._table.mutate(), self._by_curve.mutate()
        same_keys = same_roles = True
        for key, member in changed.items():
            before = self._table.get(key)
            if before is member:
                continue
            same_keys &= (before is None) == (member is None)
            same_roles &= before is not None and member is not None and before.role is member.role
            if before is not None and curves.get(before.standing.curve) == key:
                del curves[before.standing.curve]
            if member is None:
                if before is not None:
                    del table[key]
            else:
                table[key] = member
        made._table = table.finish()
        for key, member in changed.items():
            if member is not None:
                # Of two members who claim one CURVE key the lower keeps it.
                holder = curves.get(member.standing.curve)
                if holder is None or key < holder:
                    curves[member.standing.curve] = key
        made._by_curve = curves.finish()
        if len(made._by_curve) < len(made._table):
            made._by_curve = _lowest_holders(made._table)
        made.ranks = self.ranks if same_keys else Ranks.of(tuple(sorted(made._table)))
        if same_keys and same_roles:
            made._rings = self._rings
        return made

    def holder(self, curve: bytes) -> NodeKey | None:
        """The member whose CURVE key this is."""
        return self._by_curve.get(curve)

    @property
    def curves(self) -> Mapping[bytes, NodeKey]:
        """CURVE key → member."""
        return self._by_curve

    @property
    def rings(self) -> Rings:
        if self._rings is None:
            peers = tuple(key for key in self.ranks.keys if self._table[key].role is Role.PEER)
            clients = tuple(key for key in self.ranks.keys if self._table[key].role is not Role.PEER)
            self._rings = Rings.of(peers, clients)
        return self._rings

    @cached_property
    def routed(self) -> tuple[Member, ...]:
        """Those that offer prefixes, in key order."""
        return tuple(member for member in self.values() if member.record.routes)

    def __getitem__(self, key: NodeKey) -> Member:
        return self._table[key]

    def __iter__(self) -> Iterator[NodeKey]:
        return iter(self.ranks.keys)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, key: object) -> bool:
        return key in self._table


def _lowest_holders(table: Map[NodeKey, Member]) -> Map[bytes, NodeKey]:
    holders: dict[bytes, NodeKey] = {}
    for key, member in table.items():
        holders[member.standing.curve] = min(key, holders.get(member.standing.curve, key))
    return Map(holders)
