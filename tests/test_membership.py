"""The membership core alone: what it pushes on, and how much anybody can draw from it."""

from __future__ import annotations

from random import Random

import pytest

from smeg import membership
from smeg import messages as m
from smeg.keys import x25519_public
from smeg.ledger import Ledger
from smeg.membership import RUMOUR_WINDOW, Membership, presentation
from smeg.range_digest import EMPTY
from smeg.records import OwnRecord, read_record
from smeg.wire import Word, pack, unpack
from tests.builders import NOTARY, WALL, MadeMesh, Node

MESH = MadeMesh("membership")
ROOT = Word.ROOT.value
OWN, TALKER, *OTHERS = (MESH.founder(f"member {number}") for number in range(12))


def core(reverse: bool = False) -> Membership:
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
