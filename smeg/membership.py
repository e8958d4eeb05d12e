"""The core of one mesh's membership: takes documents in, spreads what is new, repairs what differs, tells the members.

What is new here goes to the neighbours on the rings at once, and only while it is new. `repair` compares with somebody
at intervals, and with whoever turns out to know something else, for what a rumour missed. Guests come in through
`admission`. It never judges who is alive, and sends nothing that it did not verify.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from random import Random

from immutables import Map

from smeg import messages as m
from smeg.admission import Admission
from smeg.allowance import Allowances
from smeg.annexes import Annex
from smeg.certificates import Role
from smeg.core import Message
from smeg.documents import document_hash
from smeg.errors import RemoteError
from smeg.intake import Taken
from smeg.keys import NodeKey, Secret
from smeg.ledger import Ledger
from smeg.members import Members
from smeg.range_digest import DIGEST_BYTES, EMPTY
from smeg.records import Action, Member, Record, Remove
from smeg.wire import MAX_PAYLOAD, Word, chunks, pack, unpack

READ_AT_ONCE = 512
"""documents from disk: while some are read, they take several times the room that they take afterwards."""
RUMOUR_WINDOW = 0.05
"""seconds between two messages with news; the first goes at once."""
MAX_PRESENTED = 256
"""documents that somebody may present itself with."""
ANSWER_RATE = 64 * 1024.0
ANSWER_BURST = 32 * 1024 * 1024.0
MAX_ASKERS = 1024
"""bytes a second, and at once, that one member's repairs may draw; for so many members that is remembered."""
LEARNED_AT_ONCE = 512
"""documents that are handed to the store, at the latest: a joiner learns tens of thousands before it comes to rest."""
PRUNED_SHARE = 0.25
"""How often a repair tries somebody who is thought dead: partitions heal by it, and who lost all that it knew."""
PRUNED_TRIED = 8
"""How many of all try each of them in an interval, at most, on average."""


@dataclass(slots=True)
class News:
    """What is to be pushed on, and who needs no telling."""

    certificates: dict[bytes, None] = field(default_factory=dict)
    """Raw, issuers before what they issued."""
    statements: dict[tuple[NodeKey, type[Record | Remove | Annex], str], bytes] = field(default_factory=dict)
    """Raw; a newer one of its kind about the same node, and under the same label, displaces an older one."""
    heard_from: set[NodeKey] = field(default_factory=set)


class Membership:
    """`identity` and `curve` are this node's secrets, `wall` gives seconds since 1970, `documents` were on disk.

    `ledger` is where they go, and whatever comes; nobody else may change it.
    """

    def __init__(
        self,
        mesh: str,
        own: NodeKey,
        identity: Secret,
        curve: Secret,
        ledger: Ledger,
        random: Random,
        wall: Callable[[], int],
        repair_interval: float,
        documents: Iterable[bytes] = (),
    ) -> None:
        self._mesh = mesh
        self._own = own
        self._random = random
        self._wall = wall
        self._interval = repair_interval
        self._from_disk = list(documents)
        self.ledger = ledger
        self._replica, self._chain, self._roster = ledger.replica, ledger.chain, ledger.roster
        self._repair = ledger.repair
        self._admission = Admission(ledger.chain, ledger.replica, ledger.roster, ledger.notary, identity, curve, wall)
        self._answers = Allowances(ANSWER_RATE, ANSWER_BURST, None, MAX_ASKERS)
        self._news = News()
        self._members = Members()
        self._silent: frozenset[NodeKey] = frozenset()
        """Those of whom no gossip is expected: pruned, or their daemons are down."""
        self._learned: list[bytes] = []
        self._obsolete: list[bytes] = []
        self._told_version = -1
        self._told_root = EMPTY
        self._told_annexes: Map[NodeKey, Map[str, Annex]] = Map()
        self._annexes_version = 0
        self._flush_at: float | None = None
        self._flushed_at = -RUMOUR_WINDOW
        self._repair_at: float | None = None

    # The contract of a core.

    def begin(self, now: float) -> list[Message]:
        """Take back what was on disk: verified again, spread to nobody."""
        waiting: list[bytes] = []
        while self._from_disk:
            some = self._from_disk[:READ_AT_ONCE]
            # What is read makes room for what it says.
            del self._from_disk[:READ_AT_ONCE]
            waiting = self.ledger.take([*waiting, *some], self._wall()).waiting
        self._repair_at = now + self._random.uniform(0.05, 0.5) * min(1.0, self._interval)
        return list(self.settle(now))

    def handle(self, message: Message, now: float) -> list[Message]:
        match message:
            case m.Received():
                try:
                    return self._receive(message, now)
                except RemoteError as error:
                    self.ledger.intake.refused[error.problem.code] += 1
                    return []
            case m.Publish(_, documents):
                return self._spread(self.ledger.take(documents, self._wall()), None, now)
            case m.RootDiffers(_, member) if member in self._members:
                return self._send(member, self._repair.opening())
            case m.Countersign(_, credential):
                self._admission.credential = credential
            case m.LivenessChanged():
                self._silent = message.silent
            case m.Tick():
                return self._tick(now)
        return []

    def settle(self, now: float) -> list[Message]:
        out: list[Message] = []
        if self._learned or self._obsolete:
            out.append(self._hand_over())
        # Before the members: routes are chosen when those are heard, and a restart should not begin with none.
        annexes = self._replica.annexes
        if annexes is not self._told_annexes and (annexes or self._told_annexes):
            self._told_annexes = annexes
            self._annexes_version += 1
            out.append(m.AnnexesChanged(self._mesh, self._annexes_version, annexes))
        if self._told_version != self._roster.version:
            self._told_version = self._roster.version
            before, self._members = self._members, self._roster.members
            self._members.prepare()
            verdict = self._roster.verdict(self._own, self._wall()).value
            quarantined = self._roster.quarantined
            gone = self._roster.gone(before, self._wall())
            version = self._roster.version
            expired = self._roster.expired
            out.append(m.MembersChanged(self._mesh, version, self._members, quarantined, verdict, gone, expired))
        root = self._replica.digest.of()
        if root != self._told_root:
            self._told_root = root
            out.append(m.RootChanged(self._mesh, root))
        return out

    def next_deadline(self) -> float | None:
        return min((at for at in (self._flush_at, self._repair_at) if at is not None), default=None)

    # Incoming.

    def _receive(self, message: m.Received, now: float) -> list[Message]:
        word, items = unpack(message.payload)
        if message.channel is m.Channel.JOIN:
            return self._receive_guest(message, word, items, now)
        if word in (Word.DOCUMENTS, Word.STATE):
            # From anybody: documents speak for themselves, and a joiner does not know yet who is a member.
            taken = self.ledger.take(items, self._wall(), now)
            out = self._count(taken, message.sender) if word is Word.STATE else self._spread(taken, message.sender, now)
            return out + self._first_company(now)
        if message.sender is None:
            raise RemoteError("not-a-member", "a repair with somebody who is not a member")
        answer = self._repair.answer(word, items)
        self._spend(message.sender, answer, now)
        return self._send(message.sender, *answer)

    def _first_company(self, now: float) -> list[Message]:
        """Who was alone says at once that it is not: a joiner would else wait until thousands are read, and meanwhile
        ask for all of them again."""
        return self.settle(now) if len(self._members) < 2 <= len(self._roster.members) else []

    def _receive_guest(self, message: m.Received, word: Word, items: list[bytes], now: float) -> list[Message]:
        if word is Word.PRESENT and items:
            digest, documents = items[0], items[1:MAX_PRESENTED]
            out = self._spread(self.ledger.take(documents, self._wall(), now), message.sender, now)
            known = any(member.standing.curve == message.curve for member in self._presented(documents))
            out += self._tell_removed(message.curve, documents)
            if known and digest != self._replica.digest.of():
                blank = digest == EMPTY
                everything = self._repair.everything() if blank else self._repair.documents(self._replica)
                self._spend(message.curve, everything, now)
                for payload in everything:
                    out.append(m.SendGuest(self._mesh, m.Channel.MEMBERSHIP, message.curve, payload))
            return out
        if word is not Word.ASK:
            raise RemoteError("malformed", f"{word.name} is not for guests")
        try:
            if len(items) < 2:
                raise RemoteError("malformed", "a request to join without certificates and proof")
            standing = self._admission.countersign(items[:-1], items[-1], message.curve)
        except RemoteError as error:
            self.ledger.intake.refused[error.problem.code] += 1
            answer = [text.encode() for text in (error.problem.code, error.problem.message, error.problem.hint)]
            return [m.SendGuest(self._mesh, m.Channel.WELCOME, message.curve, pack(Word.REFUSED, answer))]
        self._learned += self._chain.lineage(standing.credential)
        # What is known of it from an earlier stay goes with it: its counter has to continue above.
        said = (*self._replica.statements(standing.node), *self._replica.said(standing.node)[-1:])
        earlier = [statement.raw for statement in said]
        payloads = chunks(Word.ADMITTED, [*earlier, *self._chain.ancestry([standing.credential])])
        return [m.SendGuest(self._mesh, m.Channel.WELCOME, message.curve, payload) for payload in payloads]

    def _spend(self, asker: bytes, answer: list[bytes], now: float) -> None:
        """Raise `RemoteError` (`answer-rate`) when somebody draws more than it can have any use for."""
        if not self._answers.take(asker, now, sum(map(len, answer))):
            raise RemoteError("answer-rate", "somebody asks for the whole state again and again")

    def _tell_removed(self, curve: bytes, documents: list[bytes]) -> list[Message]:
        """Somebody who presents itself may not know yet that its membership has ended."""
        presented = frozenset(map(document_hash, documents))
        records, out = self._replica.records, list[Message]()
        for node, remove in self._replica.evicts.items():
            if self._roster.get(node) is None and node in records and records[node].hash in presented:
                out += [message for message in self._tell_evicted(remove) if message.to == curve]
        return out

    def _tell_evicted(self, remove: Remove) -> list[m.SendGuest]:
        """Bring an evict to whom it is about, over a connection that is still there: nobody else will."""
        record = self._replica.records.get(remove.node)
        standing = self._chain.standing(record.credential) if record is not None else None
        if standing is None or remove.node == self._own or remove.action is not Action.EVICT:
            return []
        payload = pack(Word.DOCUMENTS, self._with_issuer(remove))
        return [m.SendGuest(self._mesh, m.Channel.MEMBERSHIP, standing.curve, payload)]

    def _presented(self, documents: list[bytes]) -> list[Member]:
        """Members among those whose records these are."""
        found: list[Member] = []
        for raw in documents:
            with contextlib.suppress(RemoteError):
                statement = self.ledger.notary.read(raw)
                member = self._roster.get(statement.node) if isinstance(statement, Record) else None
                if member is not None and member.record == statement:
                    found.append(member)
        return found

    def _count(self, taken: Taken, sender: NodeKey | None) -> list[Message]:
        """Draw the consequences of what was taken in, for this node and whom it is about."""
        out: list[Message] = [m.Alarm(self._mesh, problem) for problem in taken.alarms]
        if taken.incomplete and sender is not None:
            out += self._send(sender, self._repair.need(sorted(taken.incomplete)))
        self._learned += taken.certificates
        self._obsolete += taken.obsolete
        for statement in chain.from_iterable(taken.changed.values()):
            self._learned.append(statement.raw)
            if isinstance(statement, Remove):
                out += self._tell_evicted(statement)
        self._learned += [annex.raw for annex in taken.annexes]
        return [*out, self._hand_over()] if len(self._learned) >= LEARNED_AT_ONCE else out

    def _hand_over(self) -> m.Learned:
        learned = m.Learned(self._mesh, tuple(self._learned), tuple(self._obsolete))
        self._learned, self._obsolete = [], []
        return learned

    def _spread(self, taken: Taken, sender: NodeKey | None, now: float) -> list[Message]:
        """Likewise, and for the neighbours, to whom it is news too."""
        for node, statements in taken.changed.items():
            if node in taken.first_seen:
                credential = self._replica.records[node].credential
                self._news.certificates.update(dict.fromkeys(self._chain.lineage(credential)))
            for statement in statements:
                *issuers, raw = self._with_issuer(statement)
                self._news.certificates.update(dict.fromkeys(issuers))
                self._news.statements[node, type(statement), ""] = raw
        for annex in taken.annexes:
            self._news.statements[annex.node, Annex, annex.label] = annex.raw
        if taken.changed or taken.annexes:
            if sender is not None:
                self._news.heard_from.add(sender)
            if self._flush_at is None:
                self._flush_at = max(now, self._flushed_at + RUMOUR_WINDOW)
        return self._count(taken, sender) + self._flush_if_due(now)

    def _with_issuer(self, statement: Record | Remove) -> list[bytes]:
        raw = statement.raw
        if isinstance(statement, Remove) and statement.by:
            return [*self._chain.lineage_of_certificate(statement.by), raw]
        return [raw]

    # Outgoing.

    def _tick(self, now: float) -> list[Message]:
        out = self._flush_if_due(now)
        if self._repair_at is not None and now >= self._repair_at:
            out += self._begin_repair(now)
        return out

    def _flush_if_due(self, now: float) -> list[Message]:
        """Push the news to the neighbours who did not bring it."""
        if self._flush_at is None or now < self._flush_at:
            return []
        news, self._news, self._flush_at, self._flushed_at = self._news, News(), None, now
        only_source = news.heard_from if len(news.heard_from) == 1 else set()
        payloads = chunks(Word.DOCUMENTS, [*news.certificates, *news.statements.values()])
        to = tuple(key for key in self._neighbours() if key not in only_source)
        return [m.Spread(self._mesh, m.Channel.MEMBERSHIP, to, payload) for payload in payloads] if to else []

    def _neighbours(self) -> list[NodeKey]:
        return self._members.rings.neighbours(self._own, self._silent)

    def _begin_repair(self, now: float) -> list[Message]:
        """Compare with one neighbour, or now and then with somebody who is thought dead."""
        self._roster.expire(self._wall())
        self._repair_at = now + self._interval * self._random.uniform(0.75, 1.25)
        own = self._roster.get(self._own)
        neighbours = self._neighbours()
        dialable = [key for key in sorted(self._silent) if self._is_peer(key)]
        share = min(PRUNED_SHARE, PRUNED_TRIED * len(dialable) / max(1, len(self._members) - len(self._silent)))
        if dialable and (not neighbours or self._random.random() < share):
            neighbours = dialable
        if not neighbours:
            return []
        target = self._random.choice(neighbours)
        out = self._send(target, self._repair.opening())
        if own is not None and (self._random.random() < PRUNED_SHARE or target in self._silent):
            # Should they have lost us (a database gone, a record that never came), this brings us back. The dead may
            # have lost everybody, and nobody else would tell them.
            out.append(m.SendMember(self._mesh, m.Channel.JOIN, target, self.presentation(own.record)))
        return out

    def presentation(self, own: Record) -> bytes:
        """What makes this node known to somebody who has never heard of it."""
        return presentation(self._replica.digest.of(), self._chain.ancestry([own.credential]), own)

    def _is_peer(self, key: NodeKey) -> bool:
        member = self._roster.get(key)
        return member is not None and member.role is Role.PEER

    def _send(self, to: NodeKey, *payloads: bytes) -> list[Message]:
        return [m.SendMember(self._mesh, m.Channel.MEMBERSHIP, to, payload) for payload in payloads]


def presentation(digest: bytes, certificates: list[bytes], own: Record) -> bytes:
    """A `PRESENT` payload; of a very long chain of countersigners only the end, the rest is asked for."""
    size = len(own.raw) + DIGEST_BYTES
    fitting: list[bytes] = []
    for raw in reversed(certificates):
        size += len(raw) + 2
        if size > MAX_PAYLOAD:
            break
        fitting.append(raw)
    return pack(Word.PRESENT, [digest, *reversed(fitting), own.raw])
