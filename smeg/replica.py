"""The membership CRDT: an add set, a remove set, and the vector clock that orders them.

*Add set*: node → its newest record. *Remove set*: node → its newest evict and its newest leave, kept apart so that
nothing an evicted node signs displaces the evict. The clock maps a node to the counter of its
record. Merging takes the newest element-wise under total orders (`Record.order`, `Remove.order`), so it is commutative,
associative and idempotent, and replicas that have seen the same statements are equal, whatever the order.

A node is present if it is in the add set and no remove covers its record. Nothing here verifies, and death is not
removal: liveness is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from hashlib import blake2b

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
    def __init__(self) -> None:
        self._records: dict[NodeKey, Record] = {}
        self._evicts: dict[NodeKey, Remove] = {}
        self._leaves: dict[NodeKey, Remove] = {}
        self.digest = RangeDigest()
        """Over every node's record and removes; equal exactly when replicas are (up to a hash collision)."""

    @property
    def records(self) -> Mapping[NodeKey, Record]:
        return self._records

    @property
    def evicts(self) -> Mapping[NodeKey, Remove]:
        return self._evicts

    @property
    def leaves(self) -> Mapping[NodeKey, Remove]:
        return self._leaves

    def clock(self) -> dict[NodeKey, int]:
        """The vector clock."""
        return {node: record.counter for node, record in self._records.items()}

    def add(self, record: Record) -> Outcome:
        """Offer a record to the add set. Raises `RemoteError` (`counter-step`) for a step no honest node makes."""
        known = self._records.get(record.node)
        if record.counter > (known.counter if known else 0) + MAX_STEP:
            raise RemoteError("counter-step", f"a record whose counter jumps to {record.counter}")
        if known is not None:
            if record.document.hash == known.document.hash:
                return Outcome.KNOWN
            if record.counter < known.counter:
                return Outcome.OLDER
            if record.counter == known.counter and record.order < known.order:
                return Outcome.CONFLICT_REFUSED
        self._records[record.node] = record
        self._update_digest(record.node)
        conflict = known is not None and known.counter == record.counter
        return Outcome.CONFLICT_TAKEN if conflict else Outcome.NEWER

    def remove(self, remove: Remove) -> Outcome:
        """Offer a remove to the remove set."""
        removes = self._evicts if remove.action is Action.EVICT else self._leaves
        known = removes.get(remove.node)
        if known is not None:
            if remove.document.hash == known.document.hash:
                return Outcome.KNOWN
            if remove.order < known.order:
                return Outcome.OLDER
        removes[remove.node] = remove
        self._update_digest(remove.node)
        return Outcome.NEWER

    def merge(self, other: Replica) -> None:
        """Take over whatever is newer in another replica."""
        for record in other._records.values():
            self.add(record)
        for remove in (*other._evicts.values(), *other._leaves.values()):
            self.remove(remove)

    def present(self, node: NodeKey, serial_of: SerialOf) -> bool:
        """Whether the node is in the add set and no remove covers its record."""
        record = self._records.get(node)
        if record is None:
            return False
        removes = [held[node] for held in (self._evicts, self._leaves) if node in held]
        return not any(remove.covers(serial_of(record), record.counter) for remove in removes)

    def statements(self, node: NodeKey) -> list[Record | Remove]:
        """What is known of a node: its record, its evict, its leave."""
        kinds: tuple[Mapping[NodeKey, Record | Remove], ...] = (self._records, self._evicts, self._leaves)
        return [held[node] for held in kinds if node in held]

    def __iter__(self) -> Iterator[NodeKey]:
        """Every node of which anything is known, in key order."""
        return iter(self.digest)

    def __len__(self) -> int:
        return len(self.digest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Replica):
            return NotImplemented
        return all(
            _hashes(mine) == _hashes(theirs)
            for mine, theirs in (
                (self._records, other._records),
                (self._evicts, other._evicts),
                (self._leaves, other._leaves),
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def _update_digest(self, node: NodeKey) -> None:
        hashes = b"".join(statement.document.hash for statement in self.statements(node))
        marks = bytes([node in self._records, node in self._evicts, node in self._leaves])
        self.digest.set(node, blake2b(marks + hashes, digest_size=8).digest())


def _hashes(statements: Mapping[NodeKey, Record | Remove]) -> dict[NodeKey, bytes]:
    return {node: statement.document.hash for node, statement in statements.items()}
