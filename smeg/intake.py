"""From raw documents to the replica: every check that a statement passes before it counts, in one place and one order.

Size and form, mesh, signature, certificate chain, then the order of the CRDT. What fails raises nothing here: it is
counted by its code and goes no further, and the rest of the same message still counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from immutables import Map

from smeg.allowance import Allowances
from smeg.annexes import Annex
from smeg.certificates import AdminCertificate, Certificate, Countersignature, NodeCertificate
from smeg.chain import Chain, MissingDocuments
from smeg.documents import MAX_DOCUMENT
from smeg.errors import Problem, RemoteError
from smeg.keys import NodeKey
from smeg.notary import Notary, check_mesh
from smeg.records import Action, Record, Remove, Standing, unite
from smeg.replica import Outcome, Replica

RECORDS_RATE = 2.0
RECORDS_BURST = 10.0
"""Records of one author that count: in a second, and at once after a rest."""
ANNEXES_RATE = 64.0
ANNEXES_BURST = 1024.0
"""Likewise annexes: all that one may have come at once to who lacks them."""
ANNEX_BYTES_RATE = 32 * 1024.0
ANNEX_BYTES_BURST = ANNEXES_BURST * MAX_DOCUMENT
"""And bytes of them: a connection carries eight times as much, and everybody passes all of it on to several others."""
LATER = frozenset({"missing-documents", "no-credential", "unknown-node"})
"""What documents are refused for that may count once others are known."""
LATELY = 5.0
MAX_LATELY = 256
"""seconds for which annexes are known by their bytes, and how many: a flood brings each some six times in a second."""
MAX_PACES = 1024
"""authors of whom it is remembered how much they sent lately."""


@dataclass(slots=True)
class Taken:
    """What became of one message's documents."""

    changed: dict[NodeKey, list[Record | Remove]] = field(default_factory=dict)
    """Statements that count now, by node."""
    annexes: list[Annex] = field(default_factory=list)
    """Annexes that count now."""
    first_seen: set[NodeKey] = field(default_factory=set)
    """Nodes whose certificates others may not have yet."""
    obsolete: list[bytes] = field(default_factory=list)
    """Hashes of statements that count no more."""
    certificates: list[bytes] = field(default_factory=list)
    """Raw certificates that are new in the pool, ancestors before descendants; those of an admission come with what is
    taken in next."""
    incomplete: set[NodeKey] = field(default_factory=set)
    """Nodes whose certificates are missing: to be asked for."""
    waiting: list[bytes] = field(default_factory=list)
    """Raw documents that may count once others are known."""
    alarms: list[Problem] = field(default_factory=list)


class Intake:
    __slots__ = (
        "_alarmed",
        "_annex_bytes",
        "_annex_paces",
        "_chain",
        "_lately",
        "_lately_until",
        "_mesh",
        "_notary",
        "_now",
        "_paces",
        "_replica",
        "refused",
    )

    def __init__(self, mesh: str, replica: Replica, chain: Chain, notary: Notary) -> None:
        self._mesh = mesh
        self._replica = replica
        self._chain = chain
        self._notary = notary
        self.refused: Counter[str] = Counter()
        """Documents that did not count, by code."""
        self._alarmed: Map[NodeKey, int] = Map()
        """The highest counter of each node that was reported as given twice: who repeats it reports nothing."""
        self._paces = Allowances(RECORDS_RATE, RECORDS_BURST, None, MAX_PACES)
        """By author; an honest one writes at most one record a second."""
        self._annex_paces = Allowances(ANNEXES_RATE, ANNEXES_BURST, None, MAX_PACES)
        self._annex_bytes = Allowances(ANNEX_BYTES_RATE, ANNEX_BYTES_BURST, None, MAX_PACES)
        self._now: float | None = None
        self._lately: set[bytes] = set()
        """Annexes that count, or did until a newer one came."""
        self._lately_until = 0.0

    def fork(self, replica: Replica, chain: Chain) -> Intake:
        """Another for forks of its replica and chain. What was refused and who sent much is its own from now on."""
        made = Intake(self._mesh, replica, chain, self._notary)
        made._alarmed = self._alarmed
        return made

    def take(self, documents: Iterable[bytes], now: float | None = None) -> Taken:
        """Let every document count that may. With `now`, monotonic seconds, no author's statements count too fast.

        What came too fast is left to a later repair, so that replicas are equal once the author has calmed down.
        """
        self._now = now
        if now is None or now >= self._lately_until:
            self._lately.clear()
            self._lately_until = (now or 0.0) + LATELY
        taken = Taken()
        offered: dict[bytes, Certificate] = {}
        records: list[Record] = []
        removes: list[Remove] = []
        annexes: list[Annex] = []
        for raw in documents:
            if raw in self._lately:
                continue
            try:
                statement = self._notary.read(raw)
                check_mesh(statement, self._mesh)
            except RemoteError as error:
                self.refused[error.problem.code] += 1
                continue
            match statement:
                case Record():
                    records.append(statement)
                case Remove():
                    removes.append(statement)
                case Annex():
                    annexes.append(statement)
                case _:
                    offered[statement.document.hash] = statement
        self._take_credentials(offered, taken)
        # The newest first: what it supersedes is then neither verified nor passed on.
        for record in sorted(records, key=lambda record: record.counter, reverse=True):
            self._guard(self._take_record, record, offered, taken)
        # After the records: a leave counts only for a node that is known.
        for remove in removes:
            self._guard(self._take_remove, remove, offered, taken)
        for annex in sorted(annexes, key=lambda annex: annex.counter, reverse=True):
            self._guard(self._take_annex, annex, offered, taken)
        # Passed on in the order in which they were written.
        taken.annexes.reverse()
        taken.certificates = self._chain.drain()
        dropped = self._replica.drain()
        if dropped:
            taken.obsolete += dropped
            # Some may have come and gone in one message.
            taken.annexes = [annex for annex in taken.annexes if self._replica.holds(annex)]
        return taken

    def _take_credentials(self, offered: Mapping[bytes, Certificate], taken: Taken) -> None:
        # A node certificate enters with its countersignature; alone it would be verified, and forgotten again.
        later = [key for key, certificate in offered.items() if isinstance(certificate, NodeCertificate)]
        for key, certificate in offered.items():
            if isinstance(certificate, Countersignature):
                self._count(self._chain.establish, key, offered, taken)
            elif isinstance(certificate, AdminCertificate):
                self._count(self._chain.establish_issuer, key, offered, taken)
        for key in later:
            if key not in self._chain:
                self._count(self._chain.establish, key, offered, taken)

    def _count(
        self,
        establish: Callable[[bytes, Mapping[bytes, Certificate]], object],
        key: bytes,
        offered: Mapping[bytes, Certificate],
        taken: Taken,
    ) -> None:
        try:
            establish(key, offered)
        except RemoteError as error:
            if error.problem.code in LATER:
                taken.waiting.append(offered[key].document.raw)
            else:
                self.refused[error.problem.code] += 1

    def _guard(
        self, take: object, statement: Record | Remove | Annex, offered: Mapping[bytes, Certificate], taken: Taken
    ) -> None:
        assert callable(take)
        try:
            take(statement, offered, taken)
        except RemoteError as error:
            if error.problem.code in LATER:
                taken.waiting.append(statement.raw)
            if isinstance(error, MissingDocuments):
                taken.incomplete.add(statement.node)
            else:
                self.refused[error.problem.code] += 1

    def _take_record(self, record: Record, offered: Mapping[bytes, Certificate], taken: Taken) -> None:
        known = self._replica.records.get(record.node)
        if known is not None and (known.hash == record.hash or record.counter < known.counter):
            return
        if known is not None and self._now is not None and not self._paces.holds(record.node, self._now):
            raise RemoteError("author-rate", "more records of one author than anybody honest writes")
        if not self._notary.signed(record, record.node):
            raise RemoteError("bad-signature", "a record that its node did not sign")
        standing = self._chain.establish(record.credential, offered)
        if standing.node != record.node:
            raise RemoteError("wrong-credential", "a record under another node's credential")
        unite(record, standing)
        outcome = self._replica.add(record)
        if known is not None and self._now is not None:
            # Only now: what others forge in an author's name must not use its allowance up.
            self._paces.take(record.node, self._now)
        message = f"{record.name} published two records with counter {record.counter}"
        self._watch_counter(outcome, record, message, taken)
        if outcome in (Outcome.NEWER, Outcome.CONFLICT_TAKEN):
            self._note(taken, record, known)
            if known is None or known.credential != record.credential:
                taken.first_seen.add(record.node)

    def _watch_counter(self, outcome: Outcome, said: Record | Annex, message: str, taken: Taken) -> None:
        """Report a writer that gave one counter to two statements."""
        conflict = outcome in (Outcome.CONFLICT_TAKEN, Outcome.CONFLICT_REFUSED)
        if conflict and self._alarmed.get(said.node, 0) < said.counter:
            self._alarmed = self._alarmed.set(said.node, said.counter)
            hint = "two daemons may run with a copy of the same state; stop one and evict the node if it goes on"
            taken.alarms.append(Problem("double-counter", message, hint))

    def _take_annex(self, annex: Annex, offered: Mapping[bytes, Certificate], taken: Taken) -> None:
        record = self._replica.records.get(annex.node)
        if record is None:
            raise RemoteError("unknown-node", "an annex of a node that is not known")
        outcome = self._replica.judge(annex)
        if outcome in (Outcome.KNOWN, Outcome.OLDER):
            if outcome is Outcome.KNOWN:
                self._remember(annex)
            return
        size = len(annex.raw)
        paces = ((self._annex_paces, 1), (self._annex_bytes, size))
        if self._now is not None and not all(pace.holds(annex.node, self._now, many) for pace, many in paces):
            raise RemoteError("author-rate", "more annexes of one author than anybody honest writes")
        if not self._notary.signed(annex, annex.node):
            raise RemoteError("bad-signature", "an annex that its node did not sign")
        if self._has_ended(record, self._chain.establish(record.credential, offered)):
            raise RemoteError("removed", "an annex of a node whose membership has ended")
        outcome = self._replica.attach(annex)
        if self._now is not None:
            for pace, many in paces:
                pace.take(annex.node, self._now, many)
        message = f"{record.name} published two annexes {annex.label} with counter {annex.counter}"
        self._watch_counter(outcome, annex, message, taken)
        if outcome in (Outcome.NEWER, Outcome.CONFLICT_TAKEN):
            taken.annexes.append(annex)
            self._remember(annex)

    def _remember(self, annex: Annex) -> None:
        if self._now is None:
            return
        if len(self._lately) >= MAX_LATELY:
            self._lately.clear()
        self._lately.add(annex.raw)

    def _take_remove(self, remove: Remove, offered: Mapping[bytes, Certificate], taken: Taken) -> None:
        evict = remove.action is Action.EVICT
        known = (self._replica.evicts if evict else self._replica.leaves).get(remove.node)
        if known is not None and known.hash == remove.hash:
            return
        if evict:
            admin = self._chain.establish_issuer(remove.by, offered)
            signer: bytes = admin.key
        else:
            if remove.node not in self._replica.records:
                raise RemoteError("unknown-node", "a leave of a node that is not known")
            signer = remove.node
        if not self._notary.signed(remove, signer):
            raise RemoteError("bad-signature", "a remove that its author did not sign")
        if self._replica.remove(remove) is Outcome.NEWER:
            self._note(taken, remove, known)
            record = self._replica.records.get(remove.node)
            standing = self._chain.standing(record.credential) if record is not None else None
            if record is not None and standing is not None and self._has_ended(record, standing):
                # Who filled all the room that it had must not keep it.
                self._replica.forget(remove.node)
                self._lately.clear()

    def _has_ended(self, record: Record, standing: Standing) -> bool:
        """Whether this stay of a node was ended by itself or by an admin."""
        removes = (held.get(record.node) for held in (self._replica.evicts, self._replica.leaves))
        return any(
            remove is not None
            and (remove.covers(standing.serial, record.counter) or remove.ends_invite(standing.invite))
            for remove in removes
        )

    def _note(self, taken: Taken, statement: Record | Remove, replaced: Record | Remove | None) -> None:
        taken.changed.setdefault(statement.node, []).append(statement)
        if replaced is not None:
            taken.obsolete.append(replaced.hash)
