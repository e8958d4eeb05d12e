"""What a node says beside its record: signed statements of its own, one for each label, of which the newest counts.

A record is small and everybody needs it; annexes carry what only some read: ways to other meshes, and the certificates
that prove a bridge to strangers. An annex without a body withdraws what stood under its label. The counter is the one
of the node's records, and a record's `floor` voids all annexes below it. Nothing here knows what a body means.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from immutables import Map

from smeg.documents import MAX_DOCUMENT, Document, Fields, Kind, encode, seal
from smeg.errors import LocalError, RemoteError
from smeg.keys import NodeKey, Secret
from smeg.records import MAX_COUNTER

MAX_LABEL = 160
"""bytes."""
MAX_ANNEXES = 1024
"""labels of one node; withdrawn ones count."""
MAX_AHEAD = 2**31
"""How far the counter of an annex may be above the record that is known; so its node can still go on above it by one
step of its record."""


@dataclass(frozen=True, slots=True)
class Annex:
    """What a node says under one label."""

    mesh: str
    hash: bytes
    """Of the document."""
    raw: bytes = field(repr=False)
    node: NodeKey
    label: str
    counter: int
    body: bytes = field(repr=False)
    """Empty: nothing stands there any more."""

    @property
    def order(self) -> tuple[int, bytes]:
        """Bigger is newer; at one counter the lower hash wins, everywhere."""
        return self.counter, bytes(255 - octet for octet in self.hash)

    @property
    def document(self) -> Document:
        return Document(Kind.ANNEX, self.mesh, self.raw, self.hash)


def seal_annex(mesh: str, node: NodeKey, label: str, counter: int, body: bytes, seed: Secret) -> Document:
    """Raises `LocalError` (`annex-label`, `annex-too-large`) for what nobody would read."""
    if not label or len(label.encode()) > MAX_LABEL or not label.isprintable():
        raise LocalError("annex-label", f"{label[:60]!r} labels nothing", f"1 to {MAX_LABEL} bytes of printable text")
    fields = {"node": encode(node), "label": label, "counter": counter, "body": encode(body)}
    document = seal(Kind.ANNEX, mesh, fields, seed)
    if len(document.raw) > MAX_DOCUMENT:
        message = f"what is to be said under {label} takes {len(document.raw)} bytes, {MAX_DOCUMENT} at most fit"
        raise LocalError("annex-too-large", message, "advertise fewer ways or prefixes")
    return document


def read_annex(document: Document, fields: Fields | None = None) -> Annex:
    """`fields` are the document's, if they were read already. Raises `RemoteError`."""
    fields = fields or document.fields()
    label = fields.text("label", MAX_LABEL)
    if not label:
        raise RemoteError("malformed", "an annex without a label")
    return Annex(
        document.mesh,
        document.hash,
        document.raw,
        fields.signer("node"),
        label,
        fields.integer("counter", 1, MAX_COUNTER),
        fields.blob("body", MAX_DOCUMENT),
    )


def oldest(held: Map[str, Annex]) -> Annex:
    """The one that goes first when there are too many."""
    # In two steps, because a node that floods its mesh has this asked at every annex.
    lowest = min(annex.counter for annex in held.values())
    return max((annex for annex in held.values() if annex.counter == lowest), key=lambda annex: annex.hash)
