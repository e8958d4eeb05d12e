"""What the disk still knows of this node's own part in a mesh: by what it is a member, what it said last, that it left.

Only reads, and decides nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smeg.annexes import Annex
from smeg.certificates import Certificate
from smeg.chain import Chain
from smeg.errors import RemoteError
from smeg.keys import NodeKey, base64
from smeg.notary import Notary
from smeg.records import Action, Record, Remove, Standing
from smeg.stored import StoredMesh


@dataclass(frozen=True, slots=True)
class Remembered:
    standing: Standing
    record: Record | None
    """The newest own record; None when there is none yet, or the database was lost."""
    annexes: tuple[Annex, ...]
    """The own annexes."""
    left: bool
    """Whether this node has said that it leaves, this stay of it."""


def about(node: NodeKey, documents: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those that name a node, and none that it said itself left out: what `remember` needs, and nothing has to be read
    for it."""
    name = base64(node).encode()
    return tuple(raw for raw in documents if name in raw)


def remember(stored: StoredMesh, node: NodeKey, notary: Notary) -> Remembered:
    """What is on disk of `node` in its mesh. Raises `RemoteError` when its admission proves nothing."""
    standing = _standing(Chain(stored.id, notary), stored.admission, notary)
    own = [
        statement
        for statement in map(notary.read, stored.documents)
        if isinstance(statement, Record | Remove | Annex) and statement.node == node
    ]
    records = [statement for statement in own if isinstance(statement, Record)]
    annexes = tuple(statement for statement in own if isinstance(statement, Annex))
    newest = max(records, key=lambda record: record.order, default=None)
    return Remembered(standing, newest, annexes, _left(own, standing))


def _left(own: Iterable[Record | Remove | Annex], standing: Standing) -> bool:
    ends = (end for end in own if isinstance(end, Remove) and end.serial >= standing.serial)
    first = next(ends, None)
    return first is not None and first.action is Action.LEAVE


def _standing(chain: Chain, admission: Iterable[bytes], notary: Notary) -> Standing:
    """What a stored admission proves: its last document is the credential."""
    offered: dict[bytes, Certificate] = {}
    last = b""
    for raw in admission:
        statement = notary.read(raw)
        if isinstance(statement, (Record, Remove, Annex)):
            raise RemoteError("malformed", "an admission holds certificates only")
        offered[statement.document.hash] = statement
        last = statement.document.hash
    return chain.establish(last, offered)
