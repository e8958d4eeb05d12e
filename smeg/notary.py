"""Reading and verifying signed documents, once each: results are kept by the hash of the exact bytes.

A verification costs 0.06 ms, a look-up next to nothing. What counts is kept elsewhere, by chain and replica: this is
only for what comes again soon, so that a daemon needs little of it. In a simulation all nodes share one notary that
holds everything. Forgetting only costs time.
"""

from __future__ import annotations

from collections import OrderedDict

from smeg.annexes import Annex, read_annex
from smeg.certificates import Certificate, read_certificate
from smeg.documents import Document, Fields, Kind, document_hash, parse
from smeg.errors import RemoteError
from smeg.records import Record, Remove, read_record, read_remove

Statement = Certificate | Record | Remove | Annex
"""What a document says, read by its kind."""


class Notary:
    """`bound` documents, and as many verified signatures, are remembered; of documents at most `bound_bytes`."""

    __slots__ = ("_bound", "_bound_bytes", "_bytes", "_read", "_signed", "verified")

    def __init__(self, bound: int = 512, bound_bytes: int = 2**20) -> None:
        self._bound = bound
        self._bound_bytes = bound_bytes
        self._bytes = 0
        self._read: OrderedDict[bytes, Statement] = OrderedDict()
        self._signed: OrderedDict[tuple[bytes, bytes], bool] = OrderedDict()
        self.verified = 0
        """Signatures that were really checked."""

    def read(self, raw: bytes) -> Statement:
        """What these bytes say; nobody's signature is checked. Raises `RemoteError`."""
        key = document_hash(raw)
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = _state(*parse(raw))
            self._bytes += _room(found)
            # By bytes too: nothing is verified yet, and anybody may have sent it.
            while self._bytes > self._bound_bytes or len(self._read) > self._bound:
                _, oldest = self._read.popitem(last=False)
                self._bytes -= _room(oldest)
        return found

    def signed(self, statement: Statement, key: bytes) -> bool:
        """Whether `key` signed this."""
        digest = statement.hash if isinstance(statement, Record | Annex) else statement.document.hash
        known = self._signed.get((digest, key))
        if known is None:
            self.verified += 1
            known = self._signed[digest, key] = statement.document.signed_by(key)
            if len(self._signed) > self._bound:
                self._signed.popitem(last=False)
        return known


def _state(document: Document, fields: Fields) -> Statement:
    match document.kind:
        case Kind.RECORD:
            return read_record(document, fields)
        case Kind.REMOVE:
            return read_remove(document, fields)
        case Kind.ANNEX:
            return read_annex(document, fields)
        case _:
            return read_certificate(document, fields)


def _room(statement: Statement) -> int:
    """bytes of its document, as it is kept."""
    match statement:
        case Record():
            return len(statement.held)
        case Annex():
            return len(statement.raw) + len(statement.body)
        case _:
            return len(statement.document.raw)


def check_mesh(statement: Statement, mesh: str) -> None:
    """Raise `RemoteError` (`wrong-mesh`) when it belongs to another mesh."""
    named = statement.mesh if isinstance(statement, Record | Annex) else statement.document.mesh
    if named != mesh:
        raise RemoteError("wrong-mesh", f"a document of mesh {named[:12]} in mesh {mesh[:12]}")
