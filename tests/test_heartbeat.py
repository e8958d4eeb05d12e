"""Liveness by hand: one core, and every refresh put into its hands; no actor and no network in between."""

from __future__ import annotations

import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg.heartbeat import Detection
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.refresh import FIRST_EPOCH, GRACE, MAX_JUMP, SILENT_EPOCHS
from smeg.verdicts import Claim, Kind
from smeg.watch import BEAT_BYTES, Beat
from smeg.wire import Word, pack
from tests.liveness_bench import (
    CLIENT,
    EVERYBODY,
    FIRST,
    HB,
    LAST,
    PEERS,
    SECOND,
    SLOW,
    THIRD,
    Bench,
    Watcher,
    all_but,
    changed,
    members,
    only,
    refresh,
    run_epochs,
    tag_of,
)


def test_the_leader_is_the_lowest_key_among_the_peers_and_never_a_client() -> None:
    assert Watcher(LAST).leader == FIRST
    assert Watcher(LAST, only(CLIENT, LAST)).leader == LAST
    assert Watcher(CLIENT, only(CLIENT)).leader is None


def test_the_leader_starts_an_epoch_each_interval_and_others_start_none() -> None:
    leader, other = Watcher(FIRST, only(FIRST)), Watcher(LAST)
    leader.pass_time(10 * HB)
    other.pass_time(2.9 * HB)
    assert leader.epochs == list(range(1, 12))
    assert other.epochs == []


def test_a_member_is_pruned_at_the_third_seen_epoch_without_its_answer_and_not_before() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5), THIRD)
    assert watcher.pruned == frozenset()
    watcher.hear(refresh(6, {6: all_but(THIRD)}))
    watcher.pass_time(GRACE - 0.1)
    assert watcher.pruned == frozenset(), "an answer may still come"
    watcher.pass_time(0.2)
    assert watcher.pruned == {THIRD}


def test_an_answer_in_the_grace_of_the_third_epoch_is_in_time() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5), THIRD)
    watcher.hear(refresh(6, {6: all_but(THIRD)}))
    watcher.pass_time(GRACE - 0.1)
    watcher.hear(refresh(6, {6: [THIRD]}), LAST)
    watcher.pass_time(HB)
    assert watcher.pruned == frozenset()


def test_a_jump_of_epochs_starts_the_count_anew() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    # One epoch in the middle was never seen here, so nobody can be blamed for it.
    run_epochs(watcher, (4, 5, 7, 8), THIRD)
    assert watcher.pruned == frozenset()
    run_epochs(watcher, (9,), THIRD)
    assert watcher.pruned == {THIRD}


def test_a_great_jump_prunes_nobody() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (1_000_000,), *[key for key in EVERYBODY if key != SECOND])
    assert watcher.pruned == frozenset()


def test_a_silent_leader_is_followed_by_the_next_and_the_next() -> None:
    watcher = Watcher(THIRD)
    run_epochs(watcher, (1, 2))
    watcher.pass_time((SILENT_EPOCHS - 1) * HB - 0.1)
    assert watcher.leader == FIRST, "three intervals have not passed since the last epoch"
    watcher.pass_time(0.2)
    assert (watcher.leader, watcher.pruned) == (SECOND, frozenset({FIRST}))
    watcher.pass_time(SILENT_EPOCHS * HB)
    assert (watcher.leader, watcher.pruned) == (THIRD, frozenset({FIRST, SECOND}))
    assert watcher.epochs == [1, 2]
    watcher.pass_time(HB)
    assert watcher.epochs == [1, 2, 3], "who finds itself next starts the next epoch within an interval"


def test_when_the_leader_dies_nobody_else_is_pruned() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    watcher.pass_time(SILENT_EPOCHS * HB)
    for _ in range(8):
        # All the others answer what this one starts now.
        watcher.pass_time(HB)
        watcher.hear(refresh(watcher.epochs[-1], {watcher.epochs[-1]: all_but(FIRST)}), THIRD)
        assert watcher.pruned == {FIRST}
    assert watcher.epochs[-1] > 8


def test_an_answer_to_a_later_epoch_clears_the_pruning_and_an_earlier_one_does_not() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), THIRD)
    assert watcher.pruned == {THIRD}
    watcher.hear(refresh(6, {4: [THIRD], 5: [THIRD], 6: [THIRD]}), LAST)
    assert watcher.pruned == {THIRD}
    watcher.hear(refresh(7, {7: [THIRD]}), LAST)
    assert watcher.pruned == frozenset()


def test_a_pruned_leader_that_answers_again_leads_again() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1,))
    watcher.pass_time(4 * HB)
    assert watcher.leader == SECOND
    epoch = watcher.epochs[-1] + 1
    watcher.hear(refresh(epoch, {epoch: [FIRST]}))
    assert (watcher.leader, watcher.pruned) == (FIRST, frozenset())
    before = len(watcher.epochs)
    watcher.pass_time(2 * HB)
    assert len(watcher.epochs) == before, "who leads no more starts nothing"


def test_nobody_takes_over_what_others_think_of_a_member() -> None:
    """A refresh holds answers only; there is no way to say in it that somebody is dead."""
    believer, doubter = Watcher(SECOND), Watcher(THIRD)
    run_epochs(believer, (1, 2, 3))
    run_epochs(doubter, (1, 2, 3), LAST)
    run_epochs(doubter, (4, 5, 6), LAST)
    assert doubter.pruned == {LAST}
    run_epochs(believer, (4, 5, 6))
    for _, payload in doubter.sent():
        believer.hear(payload, THIRD)
    assert believer.pruned == frozenset()


def test_a_new_member_counts_as_having_answered_the_epoch_in_which_it_became_known() -> None:
    without = {key: member for key, member in EVERYBODY.items() if key != THIRD}
    watcher = Watcher(SECOND, without)
    for epoch in (1, 2, 3, 4, 5):
        watcher.hear(refresh(epoch, {epoch: without}, without))
        watcher.pass_time(HB)
    watcher.tell(changed(EVERYBODY))
    run_epochs(watcher, (6, 7), THIRD)
    assert watcher.pruned == frozenset(), "it has had two epochs, and three are what it takes"
    run_epochs(watcher, (8,), THIRD)
    assert watcher.pruned == {THIRD}


def test_who_needed_long_to_join_gives_the_leader_its_full_time() -> None:
    watcher = Watcher(LAST, {})
    watcher.pass_time(20 * HB)
    watcher.tell(changed(EVERYBODY))
    watcher.pass_time(SILENT_EPOCHS * HB - 0.1)
    assert (watcher.leader, watcher.pruned) == (FIRST, frozenset())


def test_a_member_that_is_removed_is_forgotten_and_comes_back_unblamed() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), THIRD)
    watcher.tell(changed({key: member for key, member in EVERYBODY.items() if key != THIRD}))
    assert watcher.pruned == frozenset()
    watcher.tell(changed(EVERYBODY))
    assert watcher.pruned == frozenset()


def test_answers_by_a_list_one_change_behind_count_and_by_an_unknown_list_do_not() -> None:
    older = {key: member for key, member in EVERYBODY.items() if key != CLIENT}
    watcher = Watcher(SECOND, older)
    watcher.tell(changed(EVERYBODY))
    strange = [*older, NodeKey(bytes(32))]
    for epoch in (1, 2, 3):
        watcher.hear(refresh(epoch, {epoch: all_but(CLIENT, LAST)}, older), THIRD)
        watcher.hear(refresh(epoch, {epoch: [LAST]}, strange), THIRD)
        watcher.pass_time(HB)
    # The client's first epoch was that in which it became known, before any: it has missed three by now.
    assert watcher.pruned == {LAST, CLIENT}


def test_equal_epochs_of_two_leaders_merge_into_one() -> None:
    watcher = Watcher(LAST)
    watcher.hear(refresh(1, {1: [FIRST, SECOND]}), FIRST)
    watcher.hear(refresh(1, {1: [THIRD]}), SECOND)
    watcher.said.clear()
    watcher.pass_time(0.3)
    told = {payload for _, payload in watcher.sent()}
    assert told == {refresh(1, {1: [FIRST, SECOND, THIRD, LAST]})}


def test_what_is_not_new_is_not_passed_on() -> None:
    watcher = Watcher(LAST)
    watcher.hear(refresh(1, {1: [FIRST, SECOND]}))
    watcher.pass_time(0.3)
    watcher.said.clear()
    for _ in range(5):
        watcher.hear(refresh(1, {1: [FIRST, SECOND]}), SECOND)
    watcher.pass_time(0.3)
    assert not watcher.said


def test_who_is_behind_gets_the_newest_and_nobody_else_is_troubled() -> None:
    watcher = Watcher(LAST)
    run_epochs(watcher, (1, 2, 3))
    watcher.said.clear()
    watcher.hear(refresh(1, {1: [SECOND]}), SECOND)
    assert [to for to, _ in watcher.sent()] == [SECOND]
    assert watcher.epochs == []


def test_the_pruned_are_told_the_newest_for_ever() -> None:
    """Two halves that have pruned each other come together by this alone."""
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), THIRD)
    for epoch in range(7, 12):
        watcher.said.clear()
        run_epochs(watcher, (epoch,), THIRD)
        assert THIRD in watcher.sent_to()


def test_a_pruned_client_is_not_written_to_because_nobody_can_dial_it() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), CLIENT)
    assert watcher.pruned == {CLIENT}
    watcher.said.clear()
    run_epochs(watcher, range(7, 12), CLIENT)
    assert CLIENT not in watcher.sent_to()


TAG = tag_of(EVERYBODY)
HEAD = struct.pack(">Q", 9)
ANSWERS = struct.pack(">QB", 9, 0)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"?",
        Word.REFRESH.value,
        pack(Word.ROOT, [bytes(8)]),
        pack(Word.REFRESH, [b""]),
        pack(Word.REFRESH, [HEAD]),
        pack(Word.REFRESH, [HEAD + TAG + b"more"]),
        pack(Word.REFRESH, [HEAD + TAG, b""]),
        pack(Word.REFRESH, [HEAD + TAG, b"short"]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD]),
        pack(Word.REFRESH, [HEAD + TAG, ANSWERS]),
        pack(Word.REFRESH, [HEAD + TAG, ANSWERS + bytes(500)]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD + b"\x01" + bytes(2)]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD + b"\x01\xff\xff\xff"]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD + b"\x02" + bytes(300)]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD + b"\x03\xff"]),
        pack(Word.REFRESH, [HEAD + TAG] + [ANSWERS + b"\xff"] * 50),
        pack(Word.REFRESH, [struct.pack(">Q", FIRST_EPOCH + 1) + TAG]),
        pack(Word.REFRESH, [HEAD + TAG, ANSWERS + b"\xff"])[:-1],
    ],
)
def test_a_malformed_refresh_breaks_nothing(payload: bytes) -> None:
    watcher = Watcher(SECOND)
    watcher.hear(payload)
    watcher.pass_time(HB)
    run_epochs(watcher, (10, 11, 12, 13))
    assert watcher.pruned == frozenset()


def test_no_member_can_use_up_the_numbers_of_the_epochs() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2))
    for leap in (MAX_JUMP + 3, FIRST_EPOCH, 2**62, 2**64 - 1):
        watcher.hear(refresh(leap, {}), sender=LAST)
    run_epochs(watcher, (3, 4))
    assert watcher.epochs == [1, 2, 3, 4]


def test_bits_beyond_the_list_of_members_mean_nothing() -> None:
    watcher = Watcher(SECOND)
    watcher.hear(pack(Word.REFRESH, [HEAD + TAG, ANSWERS + b"\xff"]))
    assert watcher.pruned == frozenset()
    assert watcher.epochs == [9]


WORDS = st.sampled_from([Word.REFRESH, Word.CLAIMS, Word.ACCUSE, Word.PING, Word.PONG])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.lists(st.binary(max_size=60), max_size=9), WORDS, st.sampled_from(PEERS))
def test_no_bytes_of_a_member_make_the_core_raise(raw: bytes, items: list[bytes], word: Word, sender: NodeKey) -> None:
    for detection in (Detection(HB), Detection(HB, fast=False)):
        watcher = Watcher(SECOND, detection=detection)
        beat = Word.BEAT.value + raw
        payloads = (raw, pack(word, items), pack(Word.REFRESH, [HEAD + TAG, *items]))
        for payload in (*payloads, beat, beat.ljust(BEAT_BYTES, b"\xff")[:BEAT_BYTES]):
            watcher.hear(payload, sender)
        watcher.pass_time(1.0)


@pytest.mark.parametrize("interval", [0.2, 5.0])
def test_fast_and_slow_hearts_both_prune_who_is_silent_and_only_them(interval: float) -> None:
    bench = Bench(EVERYBODY, Detection(interval, fast=False), latency=interval / 50)
    bench.run(interval)
    bench.kill(LAST)
    bench.run(6 * interval)
    assert bench.agree(LAST)
    assert bench.wrongly() == set()
    assert {view.leader for key, view in bench.views.items() if key != LAST} == {FIRST}


def test_a_beat_is_24_bytes_and_its_word() -> None:
    watcher = Watcher(SECOND, detection=Detection(HB))
    watcher.pass_time(1.0)
    beats = {payload for _, payload in watcher.sent(Word.BEAT)}
    assert {len(beat) for beat in beats} == {BEAT_BYTES} == {24 + 1}


@given(st.integers(0, 2**63), st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.integers(0, 10**6))
def test_a_beat_reads_as_it_was_written(epoch: int, root: bytes, claims: int, stall: int) -> None:
    beat = Beat(epoch, root, claims, stall / 1000)
    packed = beat.pack(Word.BEAT.value)
    assert Beat.unpack(packed) == beat
    assert Beat.stall_in(packed) == beat.stall


def test_a_beat_that_tells_a_later_epoch_begins_it() -> None:
    watcher = Watcher(SECOND, detection=Detection(HB))
    watcher.hear(Beat(4, bytes(8), 0, 0.0).pack(Word.BEAT.value), LAST)
    assert watcher.epochs == [4]


@pytest.mark.parametrize("detection", [Detection(HB), SLOW])
def test_a_leader_that_stalls_is_replaced_condemns_nobody_and_leads_again(detection: Detection) -> None:
    bench = Bench(members(12), detection)
    bench.run(22.0)
    leader, second = list(bench.known)[:2]
    awake = bench.now + 30.0
    bench.stop(leader, 30.0)
    assert bench.run(25.0, lambda: {bench.views[key].leader for key in bench.known if key != leader} == {second})
    bench.run(awake - bench.now)
    assert bench.run(HB + 3.0, bench.agree)
    assert {view.leader for view in bench.views.values()} == {leader}
    assert {subject for _, subject in bench.condemned} == {leader}


@pytest.mark.parametrize("detection", [Detection(HB), SLOW])
def test_while_many_join_at_once_nobody_is_condemned(detection: Detection) -> None:
    """Twenty in two seconds; each hears of each within a second, so that hardly two lists are ever equal."""
    known, random = members(24), Random(5)
    keys = list(known)
    random.shuffle(keys)
    bench = Bench(known, detection, late=keys)
    lists = {key: set(keys[:4]) for key in keys}
    for key in keys[:4]:
        bench.start(key, Members.of({other: known[other] for other in lists[key]}))
    bench.run(20.0)
    events = [
        (bench.now + number / 10 + random.random(), observer, joiner)
        for number, joiner in enumerate(keys[4:])
        for observer in keys
    ]
    for at, observer, joiner in sorted(events):
        bench.run(max(0.0, at - bench.now))
        lists[observer].add(joiner)
        seen = Members.of({key: known[key] for key in lists[observer]})
        if observer == joiner:
            bench.start(joiner, seen)
        elif observer in bench.cores:
            bench.tell(observer, changed(seen))
    bench.run(40.0)
    assert bench.condemned == {}


def remembered(thing: object) -> int:
    """How many entries the tables of a core and of its parts have."""
    found = 0
    for value in vars(thing).values():
        if isinstance(value, dict | list | set):
            found += len(value)
        elif type(value).__name__ in ("Refresh", "Verdicts", "Watch", "Doubt"):
            found += remembered(value)
    return found


def test_members_that_came_and_went_leave_nothing_behind() -> None:
    watcher = Watcher(SECOND, detection=Detection(HB))
    sizes = []
    for epoch in range(1, 30):
        watcher.hear(refresh(epoch, {epoch: EVERYBODY}), THIRD)
        gone = Claim(THIRD, epoch, epoch, Kind.GONE)
        watcher.hear(pack(Word.CLAIMS, [gone.raw]), LAST)
        watcher.hear(pack(Word.ACCUSE, [THIRD, b"\x02"]), LAST)
        watcher.hear(Beat(epoch, bytes(8), 1, 0.0).pack(Word.BEAT.value), THIRD)
        watcher.pass_time(HB / 2)
        watcher.tell(changed(only(*all_but(THIRD))))
        watcher.hear(pack(Word.PING, []), THIRD)
        watcher.hear(Beat(0, bytes(8), 1, 0.0).pack(Word.BEAT.value), THIRD)
        watcher.pass_time(HB / 2)
        sizes.append(remembered(watcher.core))
        watcher.tell(changed(EVERYBODY))
    assert max(sizes[10:]) <= max(sizes[:10])
