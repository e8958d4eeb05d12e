"""The others in a mesh, as this node's own part needs them: where they are reached, whom an evict is about.

All from what `MembersChanged` and `LivenessChanged` said last. It never judges who is a member, or alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from random import Random

from smeg import messages as m
from smeg.addresses import node_id
from smeg.authority import find_member
from smeg.certificates import Role
from smeg.errors import LocalError
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import Member
from smeg.stored import Contact


class Company:
    """`own` is this node, which is in the list but no company."""

    def __init__(self, own: NodeKey) -> None:
        self._own = own
        self._members = Members()
        self._silent: frozenset[NodeKey] = frozenset()
        self._quarantined: Mapping[NodeKey, Member] = {}

    def see(self, message: m.MembersChanged | m.LivenessChanged) -> None:
        match message:
            case m.MembersChanged():
                self._members, self._quarantined = message.members, message.quarantined
            case m.LivenessChanged():
                self._silent = message.silent

    def alone(self) -> bool:
        """Whether nobody else is known here."""
        return all(key == self._own for key in self._members)

    def contacts(self, most: int) -> tuple[Contact, ...]:
        """Where the first peers are reached, at most so many."""
        others = (member for key, member in self._members.items() if key != self._own)
        reached = (member for member in others if member.role is Role.PEER and member.record.gossip)
        # Asked after every change of one member: of thousands only the first few are looked at.
        return tuple(Contact(member.standing.curve, member.record.gossip) for member in islice(reached, most))

    def some_peers(self, most: int, random: Random) -> tuple[NodeKey, ...]:
        """At most so many, of those that are not thought dead."""
        able = [key for key in self._members.rings.peers if key != self._own and key not in self._silent]
        return tuple(random.sample(able, min(most, len(able))))

    def find(self, text: str) -> Member:
        """Who is meant by a name or the beginning of an id, in quarantine or not. Raises `LocalError`."""
        target = find_member(self._everybody(), text)
        if target.key == self._own:
            raise LocalError("evict-self", "this is the node itself", "use `smeg-cli leave-mesh`")
        return target

    def check_alias(self, alias: str) -> None:
        """Raises `LocalError` if somebody else has this one, or is called so: an alias comes before a name."""
        for key, member in self._members.items():
            if alias and key != self._own and alias in (member.record.card.alias, member.record.name):
                kind = "alias" if alias == member.record.card.alias else "name"
                message = f"{alias} is the {kind} of {member.record.name}, {node_id(key)[:12]}"
                raise LocalError("alias-taken", message, "choose another")

    def let_in_by(self, node: NodeKey) -> list[NodeKey]:
        """Everybody whom this node let in and on whom a member rests, in the order of their keys."""
        # Also who has gone since: otherwise the members that rest on it would go too.
        lines = (standing for member in self._everybody().values() for standing in member.standing.line())
        return sorted({standing.node for standing in lines if standing.countersigner == node})

    def _everybody(self) -> dict[NodeKey, Member]:
        return {**self._members, **self._quarantined}
