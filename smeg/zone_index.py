"""Who is meant by a label within one mesh, and who offers a service there.

Three kinds of labels lead to a member: its id, its alias, its name. An id is one node's alone, by its key. An alias is
the lowest key's of those who claim it, dead or alive, so that nobody can take it over. A name is chosen freely: it
leads to all who have it, unless it is also an alias. Of several the living are meant; if none lives, all are.

Only what has changed is indexed anew. Devices without a daemon come after all members (`device_names`). Nothing here
knows of DNS messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv6Address
from typing import Any

from smeg.addresses import node_id
from smeg.card import LABEL, Service
from smeg.device_names import DeviceNames
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import Member

MOST = 16
"""How many are answered of those who share a name or offer a service: the lowest keys."""
Place = tuple[str, str]
"""Name and protocol of a service."""


class MeshNames:
    """The labels of one mesh."""

    def __init__(self) -> None:
        self.members = Members()
        self.devices = DeviceNames()
        """Those that the members above vouch for."""
        self._pruned: frozenset[NodeKey] = frozenset()
        self._ids: dict[str, NodeKey] = {}
        self._aliases: dict[str, set[NodeKey]] = {}
        self._names: dict[str, set[NodeKey]] = {}
        self._offering: dict[Place, set[NodeKey]] = {}

    def take(self, members: Members) -> bool:
        """These are the members now; whether that makes a difference."""
        old, new = self.members.table, members.table
        gone = [member for key, member in old.items() if new.get(key) is not member]
        come = [member for key, member in new.items() if old.get(key) is not member]
        for member in gone:
            self._forget(member)
        for member in come:
            self._index(member)
        self.members = members
        return bool(gone or come)

    def prune(self, pruned: frozenset[NodeKey]) -> bool:
        """These are dead now; whether that makes a difference."""
        before, self._pruned = self._pruned, pruned
        return pruned != before

    def called(self, label: str) -> tuple[NodeKey, ...]:
        """Whom a label means, lowest key first."""
        key = self._ids.get(label)
        if key is not None:
            return (key,)
        claimed = self._aliases.get(label)
        return (min(claimed),) if claimed else self._living(self._names.get(label, frozenset()))

    def offering(self, place: Place) -> tuple[NodeKey, ...]:
        return self._living(self._offering.get(place, frozenset()))

    def protocols(self) -> set[str]:
        """Of all services that anybody offers."""
        return {protocol for _, protocol in self._offering}

    def canonical(self, key: NodeKey) -> str:
        """The best label that means this member alone."""
        record = self.members[key].record
        if record.card.alias and self.called(record.card.alias) == (key,):
            return record.card.alias
        alone = self._names.get(record.name) == {key} and record.name not in self._aliases
        return record.name if alone and self.called(record.name) == (key,) else node_id(key)

    def devices_called(self, label: str) -> tuple[IPv6Address, ...]:
        """The devices that a label means, where it means no member."""
        if self.called(label):
            return ()
        found = self.devices.called(label)
        return tuple(found[peer] for peer in self._living(found))

    def devices_of(self, label: str, peers: Collection[NodeKey]) -> tuple[IPv6Address, ...]:
        """Those of this name of some peers."""
        found = self.devices.called(label)
        return tuple(found[peer] for peer in peers if peer in found)

    def device_labels(self, address: IPv6Address) -> tuple[str, ...]:
        """The best labels that mean this device alone; none if there is no device."""
        found = self.devices.at(address)
        if found is None:
            return ()
        peer, name = found
        alone = len(self.devices.called(name)) == 1 and not self.called(name)
        return (name,) if alone else (name, self.canonical(peer))

    def services(self, key: NodeKey) -> tuple[Service, ...]:
        return self.members[key].record.card.services

    def labels(self) -> Iterator[str]:
        """All that mean somebody."""
        yield from self._ids
        yield from self._aliases
        yield from (name for name in self._names if name not in self._aliases)

    def _living(self, keys: Collection[NodeKey]) -> tuple[NodeKey, ...]:
        living = [key for key in keys if key not in self._pruned]
        return tuple(sorted(living or keys)[:MOST])

    def _index(self, member: Member) -> None:
        self._ids[node_id(member.key)] = member.key
        for table, label in self._places(member):
            table.setdefault(label, set()).add(member.key)

    def _forget(self, member: Member) -> None:
        del self._ids[node_id(member.key)]
        for table, label in self._places(member):
            table[label].discard(member.key)
            if not table[label]:
                del table[label]

    def _places(self, member: Member) -> Iterator[tuple[dict[Any, set[NodeKey]], Any]]:
        """Where a member stands, beside its id."""
        record = member.record
        if record.card.alias:
            yield self._aliases, record.card.alias
        # What others call themselves is any text.
        if LABEL.fullmatch(record.name):
            yield self._names, record.name
        for service in record.card.services:
            yield self._offering, service.place
