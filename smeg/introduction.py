"""How a node that knows nobody becomes known: it asks its contacts for all there is, few at a time.

One that lives is enough, and each answers with the whole mesh. So the first is asked alone, after two seconds two
others, then four, and so on around the list, until somebody is known. Where many lost their disks at once the first to
answer may know no more than this node. Who knows the mesh knows most of the contacts; until then all are asked once.
"""

from __future__ import annotations

from smeg import messages as m
from smeg.core import Message
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.membership import presentation
from smeg.range_digest import EMPTY
from smeg.records import Record
from smeg.stored import Contact, StoredMesh

AGAIN = 2.0
"""seconds between two attempts."""


class Introduction:
    """`own` spreads over the contacts those that begin with none that is known to live."""

    def __init__(self, own: NodeKey) -> None:
        self._start = int.from_bytes(own[:4], "big")
        self._attempts = 0
        self._welcomed = False
        self._at: float | None = None

    def begin(self, now: float, welcomed: bool) -> None:
        """`welcomed`: the first contact has just let this node in."""
        self._at, self._attempts, self._welcomed = now, 0, welcomed
        if welcomed:
            self._start = 0

    def hear(self, members: Members, contacts: tuple[Contact, ...]) -> None:
        """Somebody is known, and these are all."""
        known = sum(members.holder(contact.curve) is not None for contact in contacts)
        if self._welcomed or 2 * known >= len(contacts) or 2**self._attempts > len(contacts):
            self._at = None

    def next_deadline(self) -> float | None:
        return self._at

    def tick(self, stored: StoredMesh, own: Record, now: float) -> list[Message]:
        """Make this node known to those whose turn it is."""
        if self._at is None or now < self._at:
            return []
        self._at = now + AGAIN
        payload = presentation(EMPTY, list(stored.admission), own)
        out: list[Message] = []
        for contact in self._next(stored.contacts):
            out.append(m.Dial(stored.id, contact.curve, contact.endpoints))
            out.append(m.SendGuest(stored.id, m.Channel.JOIN, contact.curve, payload))
        return out

    def _next(self, contacts: tuple[Contact, ...]) -> list[Contact]:
        count = min(2**self._attempts, len(contacts))
        at = self._start + 2**self._attempts - 1
        self._attempts = min(self._attempts + 1, len(contacts).bit_length())
        return [contacts[(at + step) % len(contacts)] for step in range(count)]
