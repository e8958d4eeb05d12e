"""Epochs as time passes: how answers travel, when their absence counts, for how long they are kept, and what clears a
silence; each rule alone, and what happens without it."""

from __future__ import annotations

from functools import partial

import pytest

from smeg import epochs, refresh
from smeg.core import Message
from smeg.epochs import Epochs
from smeg.heartbeat import Detection, Parts
from smeg.keys import NodeKey
from smeg.refresh import SILENT_EPOCHS
from smeg.verdicts import Verdicts
from smeg.wire import Word, unpack
from tests.liveness_bench import (
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
    members,
    run_epochs,
)
from tests.liveness_bench import refresh as told

NEVER = 2**62
"""As an epoch: later than all."""
QUICK = Detection(0.5, fast=False)
"""Two more epochs begin before one is judged."""

# Three epochs in a row, and two seconds for the answers to the last.


def condemned_for_standing_still(seconds: float) -> bool:
    """Whether one of six that does so is thought dead."""
    bench = Bench(members(6), SLOW)
    bench.run(4 * HB + 2.0)
    sleeper = list(bench.known)[-1]
    bench.stop(sleeper, seconds)
    bench.run(30.0)
    assert {subject for _, subject in bench.condemned} <= {sleeper}
    return bool(bench.condemned)


def test_who_missed_two_epochs_lives_and_who_missed_three_is_thought_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not condemned_for_standing_still(9.0)
    assert condemned_for_standing_still(4 * HB)
    monkeypatch.setattr(refresh, "SILENT_EPOCHS", 1)
    assert condemned_for_standing_still(9.0), "a host that is slow once"


def answers_late(seconds: float) -> Watcher:
    """One member's first answer to the third epoch in a row comes so long after the epoch."""
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5), THIRD)
    watcher.hear(told(6, {6: all_but(THIRD)}))
    watcher.pass_time(seconds)
    return watcher


def test_an_answer_has_two_seconds_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers_late(1.9).pruned == frozenset()
    assert answers_late(2.1).pruned == {THIRD}
    monkeypatch.setattr(refresh, "GRACE", 0.0)
    assert answers_late(0.1).pruned == {THIRD}, "though its answer is on the way"


# For how long answers are kept.


def finds_the_dead(detection: Detection) -> bool:
    bench = Bench(members(6), detection, latency=0.01)
    bench.run(4 * detection.interval)
    victim = list(bench.known)[-1]
    bench.kill(victim)
    return bench.run(8 * detection.interval, partial(bench.agree, victim))


@pytest.mark.parametrize(("kept", "quick", "slow"), [(6, True, True), (4, False, True), (2, False, False)])
def test_so_many_epochs_are_kept_that_three_are_there_when_the_first_of_them_is_judged(
    kept: int, quick: bool, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "KEPT_EPOCHS", kept)
    assert (finds_the_dead(QUICK), finds_the_dead(SLOW)) == (quick, slow)


def told_to_who_was_away() -> int:
    """Of how many epochs it is told the answers, after forty."""
    watcher = Watcher(SECOND)
    run_epochs(watcher, range(1, 41))
    watcher.said.clear()
    watcher.hear(told(1, {}), LAST)
    ((_, payload),) = watcher.sent(Word.REFRESH)
    return len(unpack(payload)[1]) - 1


def test_six_epochs_are_kept_and_older_ones_are_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_to_who_was_away() == 6
    monkeypatch.setattr(refresh, "KEPT_EPOCHS", NEVER)
    assert told_to_who_was_away() == 40, "it grows for ever"


# What clears a silence.


class AnyAnswerRaises(Verdicts):
    def prune(self, key: NodeKey, epoch: int, now: float) -> None:
        super().prune(key, -1, now)


class NoAnswerRaises(Verdicts):
    def prune(self, key: NodeKey, epoch: int, now: float) -> None:
        super().prune(key, NEVER, now)


@pytest.mark.parametrize(
    ("verdicts", "by_the_same", "by_a_later"),
    [(Verdicts, False, True), (AnyAnswerRaises, True, True), (NoAnswerRaises, False, False)],
)
def test_whom_the_refresh_found_silent_is_back_by_an_answer_to_a_later_epoch_only(
    verdicts: type[Verdicts], by_the_same: bool, by_a_later: bool
) -> None:
    """An answer to an epoch that was judged may have been given before a death: it would raise the dead. If none
    counts, who was cut off once is dead for ever."""
    watcher = Watcher(SECOND, parts=Parts(verdicts=verdicts))
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), LAST)
    assert watcher.pruned == {LAST}
    watcher.hear(told(6, {6: [LAST]}), THIRD)
    assert (watcher.pruned == frozenset()) == by_the_same
    watcher.hear(told(7, {7: all_but()}), THIRD)
    assert (watcher.pruned == frozenset()) == by_a_later


# How answers travel.


def passed_on(watcher: Watcher) -> list[tuple[NodeKey, bytes]]:
    """Answers that it tells others, and to whom."""
    return [(to, payload) for to, payload in watcher.sent(Word.REFRESH) if len(unpack(payload)[1]) > 1]


def test_answers_of_a_quarter_of_a_second_are_passed_on_together_and_to_two() -> None:
    known = members(30)
    keys = list(known)
    watcher = Watcher(keys[5], known)
    watcher.hear(told(1, {1: keys[:3]}, known), keys[0])
    watcher.said.clear()
    for sender in keys[6:12]:
        watcher.pass_time(0.04)
        watcher.hear(told(1, {1: [sender]}, known), sender)
    assert passed_on(watcher) == [], "0.24 seconds"
    watcher.pass_time(0.02)
    gathered = told(1, {1: [*keys[:3], *keys[5:12]]}, known)
    assert [payload for _, payload in passed_on(watcher)] == [gathered] * 2
    assert len({to for to, _ in passed_on(watcher)}) == 2


def messages_an_epoch() -> float:
    """How many of the refresh each of thirty sends."""
    bench = Bench(members(30), SLOW)
    bench.run(2 * HB)
    before = bench.sent[Word.REFRESH.value]
    bench.run(4 * HB)
    assert bench.condemned == {}
    return (bench.sent[Word.REFRESH.value] - before) / (30 * 4)


def test_neither_each_answer_by_itself_is_passed_on_nor_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = messages_an_epoch()
    assert usual < 14
    with monkeypatch.context() as bug:
        bug.setattr(refresh, "WINDOW", 0.01)
        assert messages_an_epoch() > 1.5 * usual
    monkeypatch.setattr(epochs, "FAN_OUT", 30)
    assert messages_an_epoch() > 2 * usual


# The pruned.


class GivesUp(Epochs):
    def _revive(self) -> list[Message]:
        return []


@pytest.mark.parametrize("detection", [SLOW, Detection()])
def test_a_partition_of_any_length_heals_because_the_pruned_are_told(detection: Detection) -> None:
    for kind, whole in ((Epochs, True), (GivesUp, False)):
        bench = Bench(members(6), detection, parts=Parts(epochs=kind))
        bench.run(12.0)
        bench.part(list(bench.known)[::2])
        bench.run(60.0)
        assert all(len(view.pruned) == 3 for view in bench.views.values())
        bench.heal()
        assert bench.run(5.0, bench.agree) == whole


class DialsTheFirst(Epochs):
    def _revive(self) -> list[Message]:
        dead = self._verdicts.everybody()
        return [self.everything(dead[0])] if dead else []


@pytest.mark.parametrize(("kind", "back"), [(Epochs, True), (DialsTheFirst, False)])
def test_any_of_the_pruned_is_dialled_so_that_one_who_is_gone_for_good_bars_nobody(
    kind: type[Epochs], back: bool
) -> None:
    bench = Bench(members(8), SLOW, parts=Parts(epochs=kind))
    bench.run(12.0)
    gone, *_, away = bench.known
    bench.kill(gone)
    bench.cut_off(away)
    assert bench.run(9 * SILENT_EPOCHS * HB, lambda: len(bench.silent(away)) == 7)
    bench.heal()
    assert bench.run(40.0, partial(bench.agree, gone)) == back


def tries(number: int) -> float:
    """How many of so many try to reach one of them who is dead, in two seconds."""
    bench = Bench(members(number), SLOW)
    bench.run(12.0)
    (gone, *_) = bench.known
    bench.kill(gone)
    assert bench.run(2 * SILENT_EPOCHS * HB, lambda: bench.agree(gone))
    bench.run(HB)
    bench.said_to.clear()
    bench.run(20.0)
    return bench.said_to[gone] / 10


def test_however_many_there_are_a_few_try_to_reach_one_who_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 5 <= tries(8) <= 7, "all of them"
    assert 4 <= tries(60) <= 12
    monkeypatch.setattr(epochs, "REVIVERS", 60)
    assert tries(60) > 50


def test_all_of_the_pruned_are_dialled_in_no_order_one_every_two_seconds() -> None:
    watcher = Watcher(FIRST)
    watcher.hear(told(1, {1: [FIRST]}))
    dead = frozenset(PEERS) - {FIRST}
    watcher.pass_time(4 * HB)
    assert watcher.pruned >= dead
    watcher.said.clear()
    watcher.pass_time(120.0)
    dialled = [to for to, payload in watcher.sent(Word.REFRESH) if to in dead and len(unpack(payload)[1]) > 2]
    assert set(dialled) == dead
    assert len(dialled) == 60
    turns = [dialled[at : at + len(dead)] for at in range(0, len(dialled), len(dead))]
    assert len({tuple(turn) for turn in turns}) > 3
