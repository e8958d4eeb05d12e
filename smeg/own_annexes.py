"""This node's own annexes in one mesh: what of them is to be written anew so that they say what they should.

The counter is the one of the own record. What is withdrawn stays as an empty annex, until there are so many that the
record's floor is raised above them all, and what still stands is written anew above it. It never sends or saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smeg.annexes import MAX_ANNEXES, Annex, read_annex, seal_annex
from smeg.errors import LocalError, Problem
from smeg.keys import Secret
from smeg.own_record import OwnRecordWriter
from smeg.records import MAX_COUNTER

MAX_WITHDRAWN = 64
"""Withdrawn labels that are kept before the floor is raised above them."""
MOST = MAX_ANNEXES - MAX_WITHDRAWN
"""Labels under which something stands: with those that are withdrawn no more than there is room for elsewhere."""


class OwnAnnexes:
    """`record` has the counter, and the floor. `known` were on disk."""

    def __init__(self, mesh: str, identity: Secret, record: OwnRecordWriter, known: Iterable[Annex] = ()) -> None:
        self._mesh = mesh
        self._identity = identity
        self._record = record
        self._held: dict[str, Annex] = {}
        """The newest of each label, on disk or about to be; withdrawn ones too."""
        self._refused: set[str] = set()
        self.problems: list[Problem] = []
        """Of what could not be said since they were last taken."""
        for annex in known:
            self._see(annex)

    @property
    def empty(self) -> bool:
        """Whether nothing stands, as far as is known here."""
        return not any(annex.body for annex in self._held.values())

    def body(self, label: str) -> bytes:
        """What stands under a label; empty where nothing does."""
        held = self._held.get(label)
        return held.body if held is not None else b""

    def see(self, annexes: Iterable[Annex]) -> bool:
        """Learn from what others know; whether anything of it is newer than what is known here."""
        # Of all of them, not until the first that is.
        return any([self._see(annex) for annex in annexes])

    def _see(self, annex: Annex) -> bool:
        known = self._held.get(annex.label)
        if annex.counter < self._record.floor or (known is not None and annex.order <= known.order):
            return False
        self._held[annex.label] = annex
        self._record.go_on_above(annex.counter)
        return True

    def want(self, bodies: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """The documents that make these, at most `MOST`, what stands, in the order in which they are to be told; empty
        when it does."""
        assert len(bodies) <= MOST, "what there is room for was chosen before"
        wanted = self._fitting(bodies)
        withdrawn = {label for label, annex in self._held.items() if label not in wanted and not annex.body}
        gone = [label for label, annex in self._held.items() if label not in wanted and annex.body]
        documents = [self._write(label, b"") for label in sorted(gone)]
        anew = len(withdrawn) + len(gone) > MAX_WITHDRAWN
        if anew:
            # Nobody drops what is below the floor before the record says so, and it follows what is written here.
            self._record.raise_floor(self._record.counter + 1)
            for label in (*withdrawn, *gone):
                del self._held[label]
        for label, body in wanted.items():
            known = self._held.get(label)
            if anew or known is None or known.body != body:
                documents.append(self._write(label, body))
        return tuple(documents)

    def _write(self, label: str, body: bytes) -> bytes:
        node, counter = self._record.standing.node, self._record.next_counter()
        document = seal_annex(self._mesh, node, label, counter, body, self._identity)
        self._held[label] = read_annex(document)
        return document.raw

    def _fitting(self, bodies: Mapping[str, bytes]) -> dict[str, bytes]:
        """What of these can be said; what cannot is a problem once."""
        wanted: dict[str, bytes] = {}
        refused: set[str] = set()
        for label, body in bodies.items():
            try:
                self._check(label, body)
            except LocalError as error:
                refused.add(label)
                if label not in self._refused:
                    self.problems.append(error.problem)
            else:
                wanted[label] = body
        self._refused = refused
        return wanted

    def _check(self, label: str, body: bytes) -> None:
        """Raise `LocalError` when it cannot be said."""
        known = self._held.get(label)
        if known is None or known.body != body:
            seal_annex(self._mesh, self._record.standing.node, label, MAX_COUNTER, body, self._identity)
