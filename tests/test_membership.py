"""The membership core: what it pushes on and to whom, whom it compares with, and how much anybody can draw from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

import pytest

from smeg import membership
from smeg import messages as m
from smeg.annexes import seal_annex
from smeg.core import Message
from smeg.documents import Document
from smeg.keys import NodeKey, x25519_public
from smeg.ledger import Ledger
from smeg.membership import RUMOUR_WINDOW, Membership, presentation
from smeg.range_digest import EMPTY
from smeg.records import OwnRecord, read_record
from smeg.wire import Word, pack, unpack
from tests.builders import NOTARY, WALL, MadeMesh, Node, grant

A = TypeVar("A")
MESH = MadeMesh("membership")
ROOT = Word.ROOT.value
OWN, TALKER, *OTHERS = (MESH.founder(f"member {number}") for number in range(12))


def core(
    reverse: bool = False,
    own: Node = OWN,
    known: Iterable[Node] = (OWN, TALKER, *OTHERS),
    kind: type[Membership] = Membership,
    interval: float = 1e6,
) -> Membership:
    documents = [raw for node in known for raw in node.documents()]
    made = kind(
        MESH.id,
        own.key,
        own.identity,
        own.curve,
        Ledger(MESH.id, NOTARY),
        Random(own.label),
        lambda: WALL,
        interval,
        tuple(dict.fromkeys(documents[::-1] if reverse else documents)),
    )
    made.begin(0.0)
    return made


def heard(sender: Node, payload: bytes) -> m.Received:
    return m.Received(MESH.id, m.Channel.MEMBERSHIP, sender.key, b"", payload)


def test_of_many_records_of_one_author_in_a_window_only_the_newest_is_pushed_on() -> None:
    made = core()
    for counter in range(2, 9):
        record = TALKER.record(counter, OwnRecord(f"name-{counter}"))
        made.handle(heard(TALKER, pack(Word.DOCUMENTS, [record.raw])), 1.0)
        made.settle(1.0)
    out = made.handle(m.Tick(), 1.0 + RUMOUR_WINDOW)
    said = [unpack(message.payload) for message in out if isinstance(message, m.Spread)]
    pushed = [items for word, items in said if word is Word.DOCUMENTS]
    newest = TALKER.record(8, OwnRecord("name-8")).raw
    assert pushed
    assert all(items == [newest] for items in pushed)


def test_what_one_is_told_who_knew_nothing_is_kept_but_pushed_on_to_nobody() -> None:
    made = core()
    newest = TALKER.record(2, OwnRecord("newest"))
    out = made.handle(heard(TALKER, pack(Word.STATE, [newest.raw])), 1.0)
    out += [*made.settle(1.0), *made.handle(m.Tick(), 1.0 + RUMOUR_WINDOW)]
    assert [message.documents for message in out if isinstance(message, m.Learned)] == [(newest.raw,)]
    assert not [message for message in out if isinstance(message, m.Spread)]


def test_who_presents_itself_and_knows_nothing_is_told_all_as_no_news() -> None:
    made, asker = core(), OTHERS[0]
    payload = presentation(EMPTY, [document.raw for document in asker.papers], read_record(asker.record(1)))
    guest = m.Received(MESH.id, m.Channel.JOIN, None, x25519_public(asker.curve), payload)
    said = [unpack(message.payload) for message in made.handle(guest, 1.0) if isinstance(message, m.SendGuest)]
    assert {word for word, _ in said} == {Word.STATE}
    told = [raw for _, items in said for raw in items]
    for node in (OWN, TALKER):
        # So it has company as soon as it has read anything.
        assert told.index(node.record(1).raw) == told.index(node.papers[-1].raw) + 1


def test_whoever_hears_of_a_record_that_has_expired_says_so_and_has_no_member_more() -> None:
    late = MESH.founder("late", given=grant(expires=WALL))
    made = core()
    made.settle(0.0)
    made.handle(heard(TALKER, pack(Word.DOCUMENTS, late.documents())), 1.0)
    (told,) = (message for message in made.settle(1.0) if isinstance(message, m.MembersChanged))
    assert set(told.members) == {node.key for node in (OWN, TALKER, *OTHERS)}
    assert told.expired == {late.key}


@pytest.mark.parametrize("at_once", [1, 7, 512])
def test_what_was_on_disk_counts_in_whatever_order_and_pieces_it_is_read(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "READ_AT_ONCE", at_once)
    whole = core(reverse=False)
    assert core(reverse=True).ledger.replica == whole.ledger.replica
    assert len(whole.ledger.roster.members) == 12


def test_what_one_member_draws_by_asking_again_and_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "ANSWER_BURST", 20_000.0)
    monkeypatch.setattr(membership, "ANSWER_RATE", 100.0)
    made = core()
    ask = pack(Word.NEED, [node.key for node in OTHERS])

    def drawn(sender: Node, now: float) -> int:
        return sum(len(message.payload) for message in made.handle(heard(sender, ask), now))

    total = sum(drawn(TALKER, 1.0) for _ in range(100))
    assert 0 < total <= 20_000
    assert drawn(OTHERS[0], 1.0) > 0, "others are served as before"
    assert drawn(TALKER, 500.0) > 0, "and so is who asked too much, later"


def test_one_whose_daemon_was_down_is_compared_with_too_for_it_may_be_back_and_know_nobody() -> None:
    made = core()
    others = frozenset(node.key for node in (TALKER, *OTHERS))
    made.handle(m.LivenessChanged(MESH.id, 1, 1, OWN.key, frozenset(), others), 0.0)
    out = made.handle(m.Tick(), 1.0)
    (opening,) = [message for message in out if isinstance(message, m.SendMember) and message.payload[:1] == ROOT]
    assert opening.to in others


# Rumours.

TWENTY = tuple(MESH.founder(f"member {number}") for number in range(20))
MOST = 2000
"""messages that are heard in one `Gossip`, so that what never ends is seen."""


class Gossip:
    """Cores that hear each other at once, or not at all."""

    def __init__(self, cores: dict[Node, Membership]) -> None:
        self.cores = cores
        self.now = 1.0
        self.deaf: set[Node] = set()
        self.said = 0
        """How many messages."""
        self._on_the_way: deque[tuple[Node, Node, m.Channel, bytes]] = deque()

    def hear(self, node: Node, message: Message) -> None:
        """One hears this, and all hear what follows from it."""
        self._take(node, message)
        while self._on_the_way and self.said < MOST:
            sender, to, channel, payload = self._on_the_way.popleft()
            known = sender.key if sender.key in self.cores[to].ledger.roster.members else None
            self._take(to, m.Received(MESH.id, channel, known, x25519_public(sender.curve), payload))

    def think_dead(self, dead: Node, *others: Node) -> None:
        for node in others:
            self.hear(node, m.LivenessChanged(MESH.id, 1, 1, OWN.key, frozenset({dead.key}), frozenset()))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            for node in self.cores:
                self.hear(node, m.Tick())
            self.now += 1.0

    def _take(self, node: Node, message: Message) -> None:
        made = self.cores[node]
        for said in [*made.handle(message, self.now), *made.settle(self.now)]:
            match said:
                case m.SendMember():
                    self._send(node, [said.to], said)
                case m.Spread():
                    self._send(node, said.to, said)
                case m.SendGuest():
                    to = [other.key for other in self.cores if x25519_public(other.curve) == said.to]
                    self._send(node, to, said)

    def _send(self, sender: Node, to: Iterable[NodeKey], said: m.SendMember | m.Spread | m.SendGuest) -> None:
        self.said += len(tuple(to))
        for node in self.cores:
            if node.key in to and node not in self.deaf:
                self._on_the_way.append((sender, node, said.channel, said.payload))

    def who_know(self, document: Document) -> set[Node]:
        return {node for node, made in self.cores.items() if document.raw in statements(made)}


def statements(made: Membership) -> set[bytes]:
    replica = made.ledger.replica
    return {statement.document.raw for node in replica for statement in replica.statements(node)}


class TellsEverybody(Membership):
    def _neighbours(self) -> list[NodeKey]:
        return [key for key in self._members if key != self._own]


class PassesOnWhatItKnows(Membership):
    def _receive(self, message: m.Received, now: float) -> list[Message]:
        return [
            *super()._receive(message, now),
            m.Spread(self._mesh, m.Channel.MEMBERSHIP, tuple(self._neighbours()), message.payload),
        ]


def rumour(nodes: Sequence[Node], kind: type[Membership] = Membership) -> int:
    """How many messages go around until all of these know what one says anew, and nobody says anything more."""
    gossip = Gossip({node: core(own=node, known=nodes, kind=kind) for node in nodes})
    newest = nodes[0].record(2)
    gossip.hear(nodes[0], m.Publish(MESH.id, (newest.raw,)))
    assert gossip.who_know(newest) == set(nodes)
    return gossip.said


def test_what_is_new_is_pushed_on_to_those_beside_a_node_on_three_rings_and_to_nobody_else() -> None:
    made = core(known=TWENTY)
    near = made.ledger.roster.members.rings.neighbours(OWN.key)
    (pushed,) = spread(made, next(node for node in TWENTY if node.key == near[0]), TWENTY[-1].record(2))
    assert sorted(pushed.to) == sorted(near[1:])
    assert len(near) <= 6


def test_a_rumour_costs_each_six_messages_however_many_there_are_and_ends_by_itself() -> None:
    for nodes in (TWENTY[:10], TWENTY):
        assert rumour(nodes) <= 6 * len(nodes)
        assert rumour(nodes, TellsEverybody) > (len(nodes) - 2) * len(nodes)
    assert rumour(TWENTY[:10], PassesOnWhatItKnows) >= MOST, "it never ends"


# Repairs with those who are thought dead.


def targets(count: int, *silent: Node) -> list[NodeKey]:
    """With whom so many repairs begin, while these are thought dead."""
    made, found = core(), list[NodeKey]()
    made.handle(m.LivenessChanged(MESH.id, 1, 1, OWN.key, frozenset(node.key for node in silent), frozenset()), 0.0)
    while len(found) < count:
        out = made.handle(m.Tick(), made.next_deadline() or 0.0)
        found += [said.to for said in out if isinstance(said, m.SendMember) and said.payload[:1] == ROOT]
    return found


def test_one_repair_in_four_is_with_somebody_who_is_thought_dead() -> None:
    dead = {node.key for node in OTHERS[:3]}
    found = targets(400, *OTHERS[:3])
    assert 80 < sum(key in dead for key in found) < 120
    assert dead <= set(found)


def test_one_who_is_dead_is_tried_by_a_few_and_not_by_a_quarter_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "PRUNED_TRIED", 1)
    tried = targets(400, OTHERS[0]).count(OTHERS[0].key)
    assert 20 < tried < 55, "by each of eleven in one of eleven intervals"


def comes_to_know_all(share: float, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether one that has lost all it knew and is thought dead does, in five minutes."""
    monkeypatch.setattr(membership, "PRUNED_SHARE", share)
    nodes = (lost, *living) = (OWN, TALKER, *OTHERS[:3])
    gossip = Gossip({node: core(own=node, known=[lost] if node is lost else nodes, interval=10.0) for node in nodes})
    gossip.think_dead(lost, *living)
    gossip.run(300.0)
    return len(gossip.cores[lost].ledger.roster.members) == len(nodes)


def is_repaired_beside_the_dead(share: float, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether one of five hears in five minutes what it has missed, when one is dead for good."""
    monkeypatch.setattr(membership, "PRUNED_SHARE", share)
    nodes = (dead, missed, writer, *others) = (OWN, TALKER, *OTHERS[:3])
    gossip = Gossip({node: core(own=node, known=nodes, interval=10.0) for node in nodes})
    gossip.think_dead(dead, missed, writer, *others)
    gossip.deaf = {dead, missed}
    newest = writer.record(2)
    gossip.hear(writer, m.Publish(MESH.id, (newest.raw,)))
    gossip.deaf = {dead}
    del gossip.cores[dead]
    gossip.run(300.0)
    return missed in gossip.who_know(newest)


def test_the_dead_are_tried_for_one_may_live_and_know_nobody_and_the_living_are_not_forgotten_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert comes_to_know_all(0.25, monkeypatch)
    assert not comes_to_know_all(0.0, monkeypatch)
    assert is_repaired_beside_the_dead(0.25, monkeypatch)
    assert not is_repaired_beside_the_dead(1.0, monkeypatch)


# Annexes.


def spread(made: Membership, sender: Node, *documents: Document, now: float = 1.0) -> list[m.Spread]:
    """What is pushed on of these, in one window of news."""
    out = made.handle(heard(sender, pack(Word.DOCUMENTS, [document.raw for document in documents])), now)
    return [message for message in out if isinstance(message, m.Spread)]


def settled(made: Membership, kind: type[A]) -> list[A]:
    return [message for message in made.settle(2.0) if isinstance(message, kind)]


def test_an_annex_is_pushed_on_at_once_kept_and_told() -> None:
    made = core()
    annex = TALKER.annex("offer", 2)
    (pushed,) = spread(made, TALKER, annex)
    assert TALKER.key not in pushed.to
    assert unpack(pushed.payload) == (Word.DOCUMENTS, [annex.raw])
    out = list(made.settle(1.0))
    (learned,) = [message for message in out if isinstance(message, m.Learned)]
    (changed,) = [message for message in out if isinstance(message, m.AnnexesChanged)]
    assert learned.documents == (annex.raw,)
    assert {label: said.raw for label, said in changed.annexes[TALKER.key].items()} == {"offer": annex.raw}
    assert [message for message in out if isinstance(message, m.RootChanged)]
    assert not [message for message in out if isinstance(message, m.MembersChanged)]


def test_what_is_known_already_is_neither_pushed_on_nor_told_again() -> None:
    made = core()
    annex = TALKER.annex("offer", 2)
    spread(made, TALKER, annex)
    made.settle(1.0)
    assert spread(made, OTHERS[0], annex, now=2.0) == []
    assert list(made.settle(2.0)) == []


def test_annexes_of_one_author_are_pushed_on_together_each_label_by_its_newest() -> None:
    made = core()
    spread(made, TALKER, TALKER.record(2))
    said = [TALKER.annex("a", 3), TALKER.annex("b", 4), TALKER.annex("a", 5), TALKER.record(6)]
    for document in said:
        assert spread(made, TALKER, document) == []
    out = made.handle(m.Tick(), 1.0 + RUMOUR_WINDOW)
    (pushed,) = [message for message in out if isinstance(message, m.Spread)]
    assert set(unpack(pushed.payload)[1]) == {document.raw for document in said[1:]}


def test_a_snapshot_of_annexes_shares_what_did_not_change() -> None:
    made = core()
    spread(made, TALKER, TALKER.annex("a", 2), OTHERS[0].annex("a", 2))
    (first,) = settled(made, m.AnnexesChanged)
    spread(made, TALKER, TALKER.annex("b", 3), now=2.0)
    (second,) = settled(made, m.AnnexesChanged)
    assert second.version > first.version
    assert set(first.annexes[TALKER.key]) == {"a"}
    assert set(second.annexes[TALKER.key]) == {"a", "b"}
    assert second.annexes[OTHERS[0].key] is first.annexes[OTHERS[0].key]


def test_what_an_annex_replaces_and_what_a_floor_voids_goes_from_the_disk() -> None:
    made = core()
    first, second, third = TALKER.annex("a", 2), TALKER.annex("a", 3), TALKER.annex("b", 4)
    spread(made, TALKER, first, third)
    made.settle(1.0)
    spread(made, TALKER, second)
    (learned,) = settled(made, m.Learned)
    assert (learned.documents, learned.obsolete) == ((second.raw,), (first.hash,))
    spread(made, TALKER, TALKER.record(5, OwnRecord("talker", floor=5)))
    (learned,) = settled(made, m.Learned)
    assert {second.hash, third.hash} < set(learned.obsolete)


def test_annexes_that_were_on_disk_are_told_at_the_start() -> None:
    annex = TALKER.annex("a", 2)
    made = Membership(
        MESH.id,
        OWN.key,
        OWN.identity,
        OWN.curve,
        Ledger(MESH.id, NOTARY),
        Random(1),
        lambda: WALL,
        1e6,
        (annex.raw, *OWN.documents(), *TALKER.documents()),
    )
    (told,) = [message for message in made.begin(0.0) if isinstance(message, m.AnnexesChanged)]
    assert told.annexes[TALKER.key]["a"].raw == annex.raw


def test_a_mesh_in_which_nobody_says_anything_is_told_of_no_annexes() -> None:
    made = core()
    spread(made, TALKER, TALKER.record(2))
    assert settled(made, m.AnnexesChanged) == []


def test_an_annex_that_is_refused_is_counted_and_told_to_nobody() -> None:
    made = core()
    forged = seal_annex(MESH.id, TALKER.key, "a", 2, b"said", OTHERS[0].identity)
    assert spread(made, OTHERS[0], forged) == []
    assert list(made.settle(1.0)) == []
    assert made.ledger.intake.refused == {"bad-signature": 1}
