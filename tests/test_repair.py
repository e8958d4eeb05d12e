"""The repair conversation between two replicas: it makes them equal, at a cost that follows what differs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.virtual import WALL_START
from scenarios.at_size import Mass
from scenarios.trials import converse
from smeg import repair
from smeg.annexes import MAX_ANNEXES
from smeg.errors import RemoteError
from smeg.ledger import Ledger
from smeg.range_digest import DIGEST_BYTES, EMPTY, FAN_OUT
from smeg.repair import MAX_LISTED, MAX_RANGES
from smeg.wire import Word, pack, unpack
from tests.builders import NOTARY, QUICK, WALL, MadeMesh

MESH = MadeMesh("repair")
NODES = [MESH.founder(f"node {number}") for number in range(40)]


def knowing(counters: dict[int, int]) -> Ledger:
    """Of somebody who knows these nodes, each by its record with a counter."""
    made = Ledger(MESH.id, NOTARY)
    for number, counter in counters.items():
        made.take(NODES[number].documents(counter), WALL)
    return made


COUNTERS = st.dictionaries(st.integers(0, len(NODES) - 1), st.integers(1, 3), max_size=len(NODES))


@QUICK
@given(COUNTERS, COUNTERS)
def test_after_it_both_know_what_either_knew(left: dict[int, int], right: dict[int, int]) -> None:
    one, other = knowing(left), knowing(right)
    for _ in range(3):
        # A conversation asks for a bounded number of nodes; the next one goes on.
        converse(one, other)
    assert one.replica == other.replica
    wanted = {number: max(left.get(number, 0), right.get(number, 0)) for number in {*left, *right}}
    assert one.replica.clock() == {NODES[number].key: counter for number, counter in wanted.items()}


@QUICK
@given(COUNTERS, COUNTERS)
def test_keys_that_begin_alike_hide_nobody(left: dict[int, int], right: dict[int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repair, "_BEGINNING", 0)
        patch.setattr(repair, "_ENTRY", DIGEST_BYTES)
        one, other = knowing(left), knowing(right)
        for _ in range(3):
            converse(one, other)
    assert one.replica == other.replica


def test_a_newer_record_of_somebody_known_comes_without_its_certificates() -> None:
    known = {number: 1 for number in range(len(NODES))}
    one, other = knowing(known), knowing({**known, 7: 2})
    _, documents, _ = converse(one, other)
    assert one.replica == other.replica
    both = sum(len(NODES[7].record(counter).raw) for counter in (1, 2))
    assert documents <= both + 20, "the two records, and a few bytes of form"


def test_somebody_unknown_comes_with_its_certificates() -> None:
    known = {number: 1 for number in range(20)}
    one, other = knowing(known), knowing({**known, 30: 1})
    converse(one, other)
    assert NODES[30].key in one.roster.members


def test_equal_replicas_say_one_word() -> None:
    known = {number: 1 for number in range(20)}
    said, documents, messages = converse(knowing(known), knowing(known))
    assert (documents, messages) == (0, 1)
    assert said < 16


# What it costs.


def conversation(mass: Mass, differ: int) -> tuple[int, int, int]:
    """Between two who know all of a mesh but for so many of its newest records."""
    one, other = mass.ledger(mass.mesh), mass.ledger(mass.mesh)
    changed = mass.nodes[:: len(mass.nodes) // differ][:differ]
    one.take([mass.next_record(node, one.replica.records[node.key]) for node in changed], WALL_START)
    cost = converse(one, other)
    assert one.replica == other.replica
    return cost


def test_what_it_costs_follows_what_differs_and_not_the_size_of_the_mesh() -> None:
    small, large = Mass(1, 60), Mass(1, 600)
    said, _, messages = conversation(large, 1)
    assert said < 2 * conversation(small, 1)[0], "one level of ranges more"
    assert messages <= 7
    for differ in (4, 16):
        assert conversation(large, differ)[0] < differ * said


def test_without_ranges_it_would_follow_the_size_of_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "LEAF", 10_000)
    monkeypatch.setattr(repair, "MAX_LISTED", 10_000)
    assert conversation(Mass(1, 600), 1)[0] > 600 * (8 + DIGEST_BYTES)


def test_ranges_that_differ_are_told_of_together() -> None:
    for most in (MAX_RANGES, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(repair, "MAX_RANGES", most)
            _, _, messages = conversation(Mass(1, 600), 60)
        assert (messages < 30) == (most > 1)


@pytest.mark.parametrize(
    "items",
    [
        [b""],
        [b"", bytes(FAN_OUT * DIGEST_BYTES - 1)],
        [b"g", bytes(FAN_OUT * DIGEST_BYTES)],
        [b"0" * 64, bytes(FAN_OUT * DIGEST_BYTES)],
        [b"", bytes(FAN_OUT * DIGEST_BYTES)] * (MAX_RANGES + 1),
    ],
)
def test_malformed_parts_are_refused(items: list[bytes]) -> None:
    with pytest.raises(RemoteError):
        knowing({1: 1}).repair.answer(Word.PARTS, items)


@pytest.mark.parametrize("items", [[b""], [b"", bytes(15)], [b"", bytes(16 * MAX_LISTED + 16)], [b"", b""] * 17])
def test_a_malformed_listing_is_refused(items: list[bytes]) -> None:
    with pytest.raises(RemoteError):
        knowing({1: 1}).repair.answer(Word.LISTING, items)


def test_who_has_nothing_in_a_range_is_sent_all_of_it_unasked() -> None:
    ledger = knowing({1: 1, 2: 1})
    answers = ledger.repair.answer(Word.PARTS, [b"", EMPTY * FAN_OUT])
    assert answers == ledger.repair.documents(ledger.replica.digest)


def test_a_node_is_asked_for_by_the_beginning_of_its_key_and_a_short_one_names_nobody() -> None:
    ledger, key = knowing({1: 1, 2: 1}), NODES[1].key
    for name in (key, key[:8]):
        assert ledger.repair.answer(Word.NEED, [name]) == ledger.repair.documents([key])
    for nobody in (key[:7], key + b"0", b"", bytes(8)):
        assert ledger.repair.answer(Word.NEED, [nobody]) == []
    assert ledger.repair.need([key]) == pack(Word.NEED, [key])


# Annexes.

SAYING = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 30), st.integers(1, 3)), max_size=40)
"""Whose annex, under which label, with which counter."""


def saying(known: dict[int, int], annexes: set[tuple[int, int, int]]) -> Ledger:
    made = knowing(known)
    said = (NODES[number].annex(f"label {label}", counter).raw for number, label, counter in annexes)
    made.take(said, WALL)
    return made


@QUICK
@given(COUNTERS, COUNTERS, SAYING, SAYING)
def test_annexes_are_repaired_with_what_they_stand_beside(
    left: dict[int, int], right: dict[int, int], ours: set[tuple[int, int, int]], theirs: set[tuple[int, int, int]]
) -> None:
    one, other = saying(left, ours), saying(right, theirs)
    both = knowing(left)
    both.replica.merge(one.replica)
    both.replica.merge(other.replica)
    for _ in range(3):
        converse(one, other)
    assert one.replica == other.replica == both.replica


def test_one_lost_annex_of_many_is_found_and_comes_alone() -> None:
    known = {number: 1 for number in range(len(NODES))}
    annexes = {(number, label, 2) for number in range(5) for label in range(100)}
    one, other = saying(known, annexes), saying(known, annexes - {(3, 42, 2)})
    for speaker, hearer in ((one, other), (other, one)):
        speaker, hearer = speaker.fork(), hearer.fork()
        said, documents, _ = converse(speaker, hearer)
        assert speaker.replica == hearer.replica
        assert documents < 3 * len(NODES[3].annex("label 42", 2).raw + NODES[3].record().raw)
        assert said < 3000


def test_who_knows_nothing_hears_of_annexes_after_everything_else() -> None:
    told = [
        raw
        for payload in saying({0: 1, 1: 1}, {(0, 1, 2), (1, 1, 2)}).repair.everything()
        for raw in unpack(payload)[1]
    ]
    said = {NODES[number].annex("label 1", 2).raw for number in (0, 1)}
    assert set(told[-2:]) == said


@pytest.mark.parametrize("word", [Word.HELD, Word.LACK])
@pytest.mark.parametrize(
    "items",
    [[], [b""], [bytes(32)], [bytes(31), b""], [bytes(32), b"1234567"], [bytes(32), bytes(8 * MAX_ANNEXES + 8)]],
)
def test_a_malformed_list_of_annexes_is_refused(word: Word, items: list[bytes]) -> None:
    with pytest.raises(RemoteError):
        knowing({1: 1}).repair.answer(word, items)


def test_who_says_it_holds_annexes_that_nobody_else_does_is_asked_once_and_answered_finitely() -> None:
    ledger = saying({1: 1}, {(1, 1, 2)})
    answers = ledger.repair.answer(Word.HELD, [NODES[1].key, bytes(8 * 5)])
    assert [unpack(answer)[0] for answer in answers] == [Word.DOCUMENTS, Word.LACK]
    assert ledger.repair.answer(Word.LACK, [NODES[1].key, NODES[1].annex("label 1", 2).hash[:8]]) == []
