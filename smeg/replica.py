"""The membership CRDT: an add set, a remove set, what nodes say beside it, and the vector clock that orders them.

*Add set*: node → its newest record. *Remove set*: node → its newest evict and its newest leave, kept apart so that
nothing an evicted node signs displaces the evict. The clock maps a node to the counter of its
record. Merging takes the newest element-wise under total orders (`Record.order`, `Remove.order`), so it is commutative,
associative and idempotent, and replicas that have seen the same statements are equal, whatever the order.

*Annexes*: node → label → the newest annex, of all labels of a node the `MAX_ANNEXES` newest, and none below the floor
of its record. What goes for want of room has so many newer ones before it that it cannot come back, and would be below
every floor that voids one of those; so merging annexes is commutative, associative and idempotent too, for a node whose
floor never sinks. Of one that breaks this, replicas become equal by repairing each other; likewise about those who were
removed, of whom whoever takes statements in forgets the annexes.

A node is present if it is in the add set and no remove covers its record. Nothing here verifies, and death is not
removal: liveness is somebody else's.

All maps are persistent: a fork shares them until one side changes, at a cost that hardly grows with their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from hashlib import blake2b

from immutables import Map

from smeg.annexes import MAX_AHEAD, MAX_ANNEXES, Annex, oldest
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.range_digest import RangeDigest
from smeg.records import MAX_STEP, Action, Record, Remove

SerialOf = Callable[[Record], int]
"""The serial of the certificate under which a record was written."""


class Outcome(Enum):
    """What became of a statement that was offered."""

    NEWER = "newer"
    """It counts now."""
    KNOWN = "known"
    """It already counted."""
    OLDER = "older"
    """A newer one counts."""
    CONFLICT_TAKEN = "conflict-taken"
    """One writer gave two statements one counter; this one has the lower hash and counts now."""
    CONFLICT_REFUSED = "conflict-refused"
    """Likewise, and the other one counts."""


class Replica:
    __slots__ = ("_digest", "_dropped", "_stale", "annexes", "evicts", "leaves", "records")

    def __init__(self) -> None:
        self.records: Map[NodeKey, Record] = Map()
        """The add set. Like the two others in no particular order: whoever goes through it sorts."""
        self.evicts: Map[NodeKey, Remove] = Map()
        self.leaves: Map[NodeKey, Remove] = Map()
        self.annexes: Map[NodeKey, Map[str, Annex]] = Map()
        """By label; of nodes that have none there is no entry."""
        self._digest = RangeDigest()
        self._stale: dict[NodeKey, None] = {}
        """Of whom something changed that is not in the digest yet."""
        self._dropped: list[bytes] = []

    def fork(self) -> Replica:
        """Another with the same content, which changes on its own."""
        made = Replica()
        made.records, made.evicts, made.leaves = self.records, self.evicts, self.leaves
        made.annexes = self.annexes
        made._digest = self.digest.fork()
        return made

    @property
    def digest(self) -> RangeDigest:
        """Over all that is known of every node; equal exactly when replicas are (up to a hash collision)."""
        if self._stale:
            # Only now: a message may bring many annexes of one node.
            for node in self._stale:
                self._digest.set(node, self._digest_of(node))
            self._stale.clear()
        return self._digest

    def clock(self) -> dict[NodeKey, int]:
        """The vector clock."""
        return {node: record.counter for node, record in self.records.items()}

    def add(self, record: Record) -> Outcome:
        """Offer a record to the add set. Raises `RemoteError` (`counter-step`) for a step no honest node makes."""
        known = self.records.get(record.node)
        if record.counter > (known.counter if known else 0) + MAX_STEP:
            raise RemoteError("counter-step", f"a record whose counter jumps to {record.counter}")
        if known is not None:
            if record.hash == known.hash:
                return Outcome.KNOWN
            if record.counter < known.counter:
                return Outcome.OLDER
            if record.counter == known.counter and record.order < known.order:
                return Outcome.CONFLICT_REFUSED
        self.records = self.records.set(record.node, record)
        self._stale[record.node] = None
        if record.floor > (known.floor if known else 0):
            self._void(record)
        conflict = known is not None and known.counter == record.counter
        return Outcome.CONFLICT_TAKEN if conflict else Outcome.NEWER

    def remove(self, remove: Remove) -> Outcome:
        """Offer a remove to the remove set."""
        evict = remove.action is Action.EVICT
        known = (self.evicts if evict else self.leaves).get(remove.node)
        if known is not None:
            if remove.hash == known.hash:
                return Outcome.KNOWN
            if remove.order < known.order:
                return Outcome.OLDER
        if evict:
            self.evicts = self.evicts.set(remove.node, remove)
        else:
            self.leaves = self.leaves.set(remove.node, remove)
        self._stale[remove.node] = None
        return Outcome.NEWER

    def judge(self, annex: Annex) -> Outcome:
        """What would become of an annex. Raises `RemoteError` (`counter-step`) for a step no honest node makes."""
        record = self.records.get(annex.node)
        if annex.counter > (record.counter if record else 0) + MAX_AHEAD:
            raise RemoteError("counter-step", f"an annex whose counter jumps to {annex.counter}")
        held = self.annexes.get(annex.node, Map())
        known = held.get(annex.label)
        if known is not None and known.hash == annex.hash:
            return Outcome.KNOWN
        if record is not None and annex.counter < record.floor:
            return Outcome.OLDER
        if known is None:
            full = len(held) >= MAX_ANNEXES
            return Outcome.OLDER if full and annex.order < oldest(held).order else Outcome.NEWER
        if annex.counter == known.counter:
            return Outcome.CONFLICT_TAKEN if annex.order > known.order else Outcome.CONFLICT_REFUSED
        return Outcome.NEWER if annex.counter > known.counter else Outcome.OLDER

    def attach(self, annex: Annex) -> Outcome:
        """Offer an annex. Raises as `judge`."""
        outcome = self.judge(annex)
        if outcome in (Outcome.NEWER, Outcome.CONFLICT_TAKEN):
            held: Map[str, Annex] = self.annexes.get(annex.node, Map())
            replaced = held.get(annex.label)
            if replaced is None and len(held) >= MAX_ANNEXES:
                replaced = oldest(held)
                held = held.delete(replaced.label)
            if replaced is not None:
                self._dropped.append(replaced.hash)
            self.annexes = self.annexes.set(annex.node, held.set(annex.label, annex))
            self._stale[annex.node] = None
        return outcome

    def forget(self, node: NodeKey) -> None:
        """Drop all annexes of a node: its membership has ended."""
        held: Map[str, Annex] = self.annexes.get(node, Map())
        if held:
            self._dropped += sorted(annex.hash for annex in held.values())
            self.annexes = self.annexes.delete(node)
            self._stale[node] = None

    def holds(self, annex: Annex) -> bool:
        """Whether this very annex counts now."""
        return self.annexes.get(annex.node, Map()).get(annex.label) is annex

    def drain(self) -> list[bytes]:
        """Hashes of the annexes that count no more since this was asked last."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def _void(self, record: Record) -> None:
        """Drop the annexes below a new floor."""
        held: Map[str, Annex] = self.annexes.get(record.node, Map())
        void = [annex for annex in held.values() if annex.counter < record.floor]
        self._dropped += sorted(annex.hash for annex in void)
        if not void:
            return
        with held.mutate() as left:
            for annex in void:
                del left[annex.label]
            kept = left.finish()
        self.annexes = self.annexes.set(record.node, kept) if kept else self.annexes.delete(record.node)

    def merge(self, other: Replica) -> None:
        """Take over whatever is newer in another replica."""
        for record in other.records.values():
            self.add(record)
        for remove in (*other.evicts.values(), *other.leaves.values()):
            self.remove(remove)
        for node in other.annexes:
            for annex in other.said(node):
                self.attach(annex)

    def present(self, node: NodeKey, serial_of: SerialOf) -> bool:
        """Whether the node is in the add set and no remove covers its record."""
        record = self.records.get(node)
        if record is None:
            return False
        removes = (held[node] for held in (self.evicts, self.leaves) if node in held)
        return not any(remove.covers(serial_of(record), record.counter) for remove in removes)

    def statements(self, node: NodeKey) -> list[Record | Remove]:
        """What is known of a node: its record, its evict, its leave."""
        kinds: tuple[Mapping[NodeKey, Record | Remove], ...] = (self.records, self.evicts, self.leaves)
        return [held[node] for held in kinds if node in held]

    def said(self, node: NodeKey) -> list[Annex]:
        """The annexes of a node, in the order in which it wrote them."""
        return sorted(self.annexes.get(node, Map()).values(), key=lambda annex: (annex.counter, annex.label))

    def __iter__(self) -> Iterator[NodeKey]:
        """Every node of which anything is known, in key order."""
        return iter(self.digest)

    def __len__(self) -> int:
        return len(self.digest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Replica):
            return NotImplemented
        pairs = ((self.records, other.records), (self.evicts, other.evicts), (self.leaves, other.leaves))
        same = all(_hashes(mine) == _hashes(theirs) for mine, theirs in pairs)
        return same and _all_hashes(self.annexes) == _all_hashes(other.annexes)

    __hash__ = None  # type: ignore[assignment]

    def _digest_of(self, node: NodeKey) -> bytes:
        hashes = b"".join(statement.hash for statement in self.statements(node))
        marks = bytes([node in self.records, node in self.evicts, node in self.leaves])
        annexes = self.annexes.get(node)
        if annexes:
            hashes += blake2b(b"".join(sorted(annex.hash for annex in annexes.values())), digest_size=32).digest()
        return blake2b(marks + hashes, digest_size=8).digest()


def _all_hashes(annexes: Mapping[NodeKey, Mapping[str, Annex]]) -> dict[NodeKey, frozenset[bytes]]:
    return {node: frozenset(annex.hash for annex in held.values()) for node, held in annexes.items()}


def _hashes(statements: Mapping[NodeKey, Record | Remove]) -> dict[NodeKey, bytes]:
    return {node: statement.hash for node, statement in statements.items()}
