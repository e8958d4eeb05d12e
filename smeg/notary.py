"""Reading and verifying signed documents, once each: results are kept by the hash of the exact bytes.

A verification costs 0.06 ms, a look-up next to nothing. What counts is kept elsewhere, by chain and replica: this is
only for what comes again soon, so that a daemon needs little of it. In a simulation all nodes share one notary that
holds everything. Forgetting only costs time.
"""

from __future__ import annotations

from collections import OrderedDict

from smeg.certificates import Certificate, read_certificate
from smeg.documents import Document, Fields, Kind, document_hash, parse
from smeg.errors import RemoteError
from smeg.records import Record, Remove, read_record, read_remove

Statement = Certificate | Record | Remove
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
            self._bytes += len(raw)
            # By bytes too: nothing is verified yet, and anybody may have sent it.
            while self._bytes > self._bound_bytes or len(self._read) > self._bound:
                _, oldest = self._read.popitem(last=False)
                self._bytes -= len(oldest.document.raw)
        return found

    def signed(self, document: Document, key: bytes) -> bool:
        """Whether `key` signed this document."""
        known = self._signed.get((document.hash, key))
        if known is None:
            self.verified += 1
            known = self._signed[document.hash, key] = document.signed_by(key)
            if len(self._signed) > self._bound:
                self._signed.popitem(last=False)
        return known


def _state(document: Document, fields: Fields) -> Statement:
    match document.kind:
        case Kind.RECORD:
            return read_record(document, fields)
        case Kind.REMOVE:
            return read_remove(document, fields)
        case _:
            return read_certificate(document, fields)


def check_mesh(document: Document, mesh: str) -> None:
    """Raise `RemoteError` (`wrong-mesh`) when the document belongs to another mesh."""
    if document.mesh != mesh:
        raise RemoteError("wrong-mesh", f"a {document.kind.value} of mesh {document.mesh[:12]} in mesh {mesh[:12]}")
