"""The membership CRDT: an add set, a remove set, and the vector clock that orders them.

*Add set*: node → its newest record. *Remove set*: node → its newest evict and its newest leave, kept apart so that
nothing an evicted node signs displaces the evict. The clock maps a node to the counter of its
record. Merging takes the newest element-wise under total orders (`Record.order`, `Remove.order`), so it is commutative,
associative and idempotent, and replicas that have seen the same statements are equal, whatever the order.

A node is present if it is in the add set and no remove covers its record. Nothing here verifies, and death is not
removal: liveness is somebody else's.

All maps are persistent: a fork shares them until one side changes, at a cost that hardly grows with their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from hashlib import blake2b

from immutables import Map

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
    __slots__ = ("digest", "evicts", "leaves", "records")

    def __init__(self) -> None:
        self.records: Map[NodeKey, Record] = Map()
        """The add set. Like the two others in no particular order: whoever goes through it sorts."""
        self.evicts: Map[NodeKey, Remove] = Map()
        self.leaves: Map[NodeKey, Remove] = Map()
        self.digest = RangeDigest()
        """Over every node's record and removes; equal exactly when replicas are (up to a hash collision)."""

    def fork(self) -> Replica:
        """Another with the same content, which changes on its own."""
        made = Replica()
        made.records, made.evicts, made.leaves = self.records, self.evicts, self.leaves
        made.digest = self.digest.fork()
        return made

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
        self._update_digest(record.node)
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
        self._update_digest(remove.node)
        return Outcome.NEWER

    def merge(self, other: Replica) -> None:
        """Take over whatever is newer in another replica."""
        for record in other.records.values():
            self.add(record)
        for remove in (*other.evicts.values(), *other.leaves.values()):
            self.remove(remove)

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

    def __iter__(self) -> Iterator[NodeKey]:
        """Every node of which anything is known, in key order."""
        return iter(self.digest)

    def __len__(self) -> int:
        return len(self.digest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Replica):
            return NotImplemented
        pairs = ((self.records, other.records), (self.evicts, other.evicts), (self.leaves, other.leaves))
        return all(_hashes(mine) == _hashes(theirs) for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    def _update_digest(self, node: NodeKey) -> None:
        hashes = b"".join(statement.hash for statement in self.statements(node))
        marks = bytes([node in self.records, node in self.evicts, node in self.leaves])
        self.digest.set(node, blake2b(marks + hashes, digest_size=8).digest())


def _hashes(statements: Mapping[NodeKey, Record | Remove]) -> dict[NodeKey, bytes]:
    return {node: statement.hash for node, statement in statements.items()}
