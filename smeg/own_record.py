"""This node's own record in one mesh: the only writer of it, with a counter that never goes back.

`revise` gives the next record when what it should say has changed; whoever publishes it saves it first. It never sends.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from smeg.addresses import MAX_COLLISION
from smeg.card import Card
from smeg.certificates import MAX_SERIAL, Role
from smeg.documents import Document
from smeg.errors import LocalError
from smeg.keys import NodeKey, Secret
from smeg.members import Members
from smeg.records import (
    MAX_COUNTER,
    MAX_RECORD,
    OwnRecord,
    Record,
    Standing,
    read_record,
    seal_leave,
    seal_record,
)

LOST_STEP = 2**20
"""After a loss of the database the counter continues far above anything published before."""


class OwnRecordWriter:
    """`wanted` is what the record should say, `standing` what the node is in this mesh."""

    def __init__(
        self, mesh: str, identity: Secret, wanted: OwnRecord, standing: Standing, provisional: bool = False
    ) -> None:
        """`provisional`: where the record of an earlier start said that this node is dialled counts for more."""
        self._provisional = provisional
        self._mesh = mesh
        self._identity = identity
        # Nobody dials a client, so its record says nothing to dial.
        self._wanted = replace(wanted, gossip=(), wireguard=()) if standing.role is Role.CLIENT else wanted
        self._written: tuple[OwnRecord, bytes] | None = None
        self.standing = standing
        self.record: Record | None = None
        """The newest, on disk or about to be."""
        self.counter = 0
        self._seen = b""
        """The hash of the newest record that was known to others and not written here."""

    @property
    def wanted(self) -> OwnRecord:
        return self._wanted

    def resume(self, record: Record) -> None:
        """Continue after a record that is on disk."""
        self.counter = max(self.counter, record.counter)
        said = OwnRecord(
            record.name,
            record.gossip,
            record.wireguard,
            record.keepalive,
            record.collision,
            record.via,
            record.floor,
            record.card,
        )
        via = record.via if self.standing.role is Role.CLIENT else ()
        self._wanted = replace(self._wanted, collision=record.collision, via=via, floor=record.floor)
        if self._provisional and record.gossip and self.standing.role is not Role.CLIENT:
            port = self._wanted.wireguard[0].port if self._wanted.wireguard else 0
            wireguard = tuple(replace(place, port=port or place.port) for place in record.wireguard)
            self._wanted = replace(self._wanted, gossip=record.gossip, wireguard=wireguard)
        self._written = (said, record.credential)
        self.record = record

    def lost(self, random: Random) -> None:
        """The disk knows no record of ours though there was one."""
        self.counter = LOST_STEP * random.randint(1, 1000)

    @property
    def floor(self) -> int:
        """Annexes of ours with a lower counter are void, or will be with the next record."""
        return self._wanted.floor

    def raise_floor(self, floor: int) -> None:
        self._wanted = replace(self._wanted, floor=max(self.floor, floor))

    def next_counter(self) -> int:
        """A counter for something else that this node says of itself."""
        self.counter += 1
        return self.counter

    def go_on_above(self, counter: int) -> None:
        """Somewhere this node has used this counter."""
        self.counter = max(self.counter, counter)

    def has_news(self) -> bool:
        """Whether the newest record says something else than is wanted."""
        return self._written != (self._wanted, self.standing.credential)

    def has_moved(self) -> bool:
        """Whether the newest record names a carrier that is it no more."""
        return self.record is not None and self.record.via[:1] not in ((), self._wanted.via[:1])

    def revise(self) -> Document | None:
        """The next record, if there is anything new to say."""
        if not self.has_news():
            return None
        credential = self.standing.credential
        self._written = (self._wanted, credential)
        document = seal_record(
            self._mesh, self._wanted, self.next_counter(), credential, self._identity, self.standing.node
        )
        self.record = read_record(document)
        return document

    def see(self, members: Members) -> bool:
        """Learn from what others know: a newer record of ours, or a lower key at our address. Whether there is a newer
        one, that was not seen before."""
        own = members.get(self.standing.node)
        if own is None:
            return False
        newer = self._is_newer(own.record)
        if newer:
            self.go_on_above(own.record.counter)
            self._written = None
        surprised = newer and own.record.hash != self._seen
        if newer:
            self._seen = own.record.hash
        self.raise_floor(own.record.floor)
        if members.at(own.address) != self.standing.node:
            self._wanted = replace(self._wanted, collision=min(own.record.collision + 1, MAX_COLLISION))
        return surprised

    def _is_newer(self, known: Record) -> bool:
        """Whether it counts for more than ours; of two with one counter it does, since others know it."""
        if self.record is None:
            return known.counter > self.counter
        if known.counter == self.record.counter:
            return known.hash != self.record.hash
        return known.counter > self.record.counter

    def identify(self, wanted: OwnRecord, provisional: bool = False) -> None:
        """How it is called and reached, as in this; `provisional` leaves the latter as it is."""
        name, keepalive = wanted.name, wanted.keepalive
        self._wanted = replace(self._wanted, name=name, keepalive=keepalive)
        if self.standing.role is not Role.CLIENT and not provisional:
            self._wanted = replace(self._wanted, gossip=wanted.gossip, wireguard=wanted.wireguard)

    def go_via(self, via: tuple[NodeKey, ...]) -> None:
        """Of a client: with which peers it wants tunnels, its carrier first."""
        self._wanted = replace(self._wanted, via=via)

    def say(self, card: Card) -> None:
        """What the next record says beside all else. Raises `LocalError` when that would not fit."""
        wanted = replace(self._wanted, card=card)
        standing = self.standing
        document = seal_record(self._mesh, wanted, MAX_COUNTER, standing.credential, self._identity, standing.node)
        if len(document.raw) > MAX_RECORD:
            message = f"with this the node's record would have {len(document.raw)} bytes; the bound is {MAX_RECORD}"
            raise LocalError("record-full", message, "say less, or publish fewer endpoints")
        self._wanted = wanted

    def unsay(self, card: Card) -> None:
        """The newest record could not be kept: the next has this in it again."""
        self._wanted = replace(self._wanted, card=card)
        self._written = None

    def leave(self) -> Document:
        """The remove that ends this node's membership by its own will."""
        assert self.standing.serial <= MAX_SERIAL
        return seal_leave(self._mesh, self.standing.node, self.standing.serial, self.next_counter(), self._identity)
