"""The membership core alone: what it pushes on, and how much anybody can draw from it."""

from __future__ import annotations

from random import Random

import pytest

from smeg import membership
from smeg import messages as m
from smeg.ledger import Ledger
from smeg.membership import RUMOUR_WINDOW, Membership
from smeg.records import OwnRecord
from smeg.wire import Word, pack, unpack
from tests.builders import NOTARY, WALL, MadeMesh, Node

MESH = MadeMesh("membership")
ROOT = Word.ROOT.value
OWN, TALKER, *OTHERS = (MESH.founder(f"member {number}") for number in range(12))


def core() -> Membership:
    documents = [raw for node in (OWN, TALKER, *OTHERS) for raw in node.documents()]
    made = Membership(
        MESH.id,
        OWN.key,
        OWN.identity,
        OWN.curve,
        Ledger(MESH.id, NOTARY),
        Random(1),
        lambda: WALL,
        1e6,
        tuple(dict.fromkeys(documents)),
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
