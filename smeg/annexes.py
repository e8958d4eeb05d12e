"""What a node says beside its record: signed statements of its own, one for each label, of which the newest counts.

A record is small and everybody needs it; annexes carry what only some read: ways to other meshes, and the certificates
that prove a bridge to strangers. An annex without a body withdraws what stood under its label. The counter is the one
of the node's records, and a record's `floor` voids all annexes below it. Nothing here knows what a body means.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smeg.keys import NodeKey


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
