"""The leader: who follows it when it dies, and how long it is waited for."""

from __future__ import annotations

from functools import partial

import pytest

from smeg.epochs import Epochs
from smeg.heartbeat import ARRANGE_AGAIN, Detection, Parts
from smeg.keys import NodeKey
from smeg.refresh import SILENT_EPOCHS
from smeg.verdicts import Claim, Kind
from smeg.watch import Beat, Watch
from smeg.wire import Word, pack
from tests.liveness_bench import (
    EVERYBODY,
    FAST,
    FIRST,
    HB,
    LAST,
    SECOND,
    SLOW,
    THIRD,
    Bench,
    Watcher,
    all_but,
    members,
    refresh,
    run_epochs,
)


class WaitsForEver(Epochs):
    def _silence_ends(self) -> float:
        return float("inf")


@pytest.mark.parametrize("dead", [1, 2, 3])
def test_dead_leaders_are_followed_by_the_next_however_many_they_are(dead: int) -> None:
    for epochs, goes_on in ((Epochs, True), (WaitsForEver, False)):
        bench = Bench(members(6), SLOW, parts=Parts(epochs=epochs))
        bench.run(12.0)
        gone = list(bench.known)[:dead]
        bench.kill(*gone)
        assert bench.run(dead * (SILENT_EPOCHS + 1) * HB + HB, partial(bench.agree, *gone)) == goes_on
        if goes_on:
            epoch = max(view.epoch for view in bench.views.values())
            bench.run(3 * HB)
            leaders = {bench.views[key].leader for key in bench.living}
            assert leaders == {list(bench.known)[dead]}
            assert all(bench.cores[key]._refresh.epoch > epoch for key in bench.living)
            assert bench.wrongly() == set()


class GivesUpTheReturned(Epochs):
    def _learns(self, leader: NodeKey | None) -> float:
        return 0.0


@pytest.mark.parametrize(("epochs", "kept"), [(Epochs, True), (GivesUpTheReturned, False)])
def test_a_leader_that_has_come_back_has_longer_to_start_an_epoch(epochs: type[Epochs], kept: bool) -> None:
    """It may wait three intervals itself, for one before it that is dead and was never told to be."""
    watcher = Watcher(THIRD, parts=Parts(epochs=epochs))
    run_epochs(watcher, (1,))
    watcher.hear(pack(Word.CLAIMS, [Claim(FIRST, 0, 1, Kind.GONE).raw]))
    assert watcher.leader == SECOND
    watcher.hear(pack(Word.CLAIMS, [Claim(FIRST, 1, 1, Kind.ALIVE).raw]))
    watcher.pass_time(3.5 * HB)
    assert (watcher.leader == FIRST) == kept
    watcher.pass_time(2 * HB)
    assert watcher.leader != FIRST, "not for ever"


@pytest.mark.parametrize("own", [SECOND, THIRD], ids=["the next", "another"])
def test_who_is_next_is_not_given_up_with_the_leader_before_it(own: NodeKey) -> None:
    """Others say that the leader is dead at the moment at which it is to be given up."""
    watcher = Watcher(own)
    run_epochs(watcher, (1,))
    watcher.pass_time((SILENT_EPOCHS - 1) * HB - ARRANGE_AGAIN / 2)
    watcher.hear(pack(Word.CLAIMS, [Claim(LAST, 0, 1, Kind.GONE).raw]))
    watcher.hear(pack(Word.CLAIMS, [Claim(FIRST, 0, 1, Kind.GONE).raw]))
    watcher.pass_time(ARRANGE_AGAIN)
    assert watcher.pruned == {FIRST, LAST}
    assert watcher.leader == SECOND


class HearsNoBeats(Watch):
    def hears(self, key: NodeKey | None, now: float) -> bool:
        return False


def heard_until(seconds: float, watch: type[Watch]) -> NodeKey | None:
    """Who leads by somebody who hears the leader's beats for so long, and no epoch."""
    watcher = Watcher(SECOND, detection=FAST, parts=Parts(watch=watch))
    run_epochs(watcher, (1,))
    while seconds > 0:
        for key in watcher.core._watch.edges:
            watcher.hear(Beat(1, bytes(8), 0, 0.0).pack(Word.BEAT.value), key)
        watcher.pass_time(0.5)
        seconds -= 0.5
    return watcher.leader


@pytest.mark.parametrize(("watch", "kept"), [(Watch, True), (HearsNoBeats, False)])
def test_a_leader_that_beats_has_longer_to_start_an_epoch(watch: type[Watch], kept: bool) -> None:
    """It lives; having started anew it may not know of one before it that is dead."""
    assert (heard_until(3 * HB, watch) == FIRST) == kept
    assert heard_until(5 * HB, watch) != FIRST, "not for ever"


def test_who_has_just_started_gives_a_leader_that_it_never_heard_no_longer() -> None:
    """Others wait for its own epochs meanwhile."""
    watcher = Watcher(SECOND, detection=Detection(interval=2.0))
    watcher.hear(refresh(1, {1: all_but(FIRST)}), THIRD)
    watcher.pass_time(SILENT_EPOCHS * 2.0 + 0.1)
    assert watcher.leader == SECOND


class StartsAtOnce(Epochs):
    def _share(self) -> float:
        return 0.0


def first_epochs(epochs: type[Epochs]) -> set[float]:
    """When each of some who find themselves next starts an epoch, after the silence."""
    found = set()
    for seed in range(8):
        watcher = Watcher(SECOND, parts=Parts(epochs=epochs), seed=seed)
        watcher.hear(refresh(1, {1: EVERYBODY}))
        while watcher.epochs == [1]:
            watcher.pass_time(0.1)
        found.add(round(watcher.now - 100.0, 1))
    return found


def test_who_finds_itself_next_waits_a_random_part_of_the_interval() -> None:
    """Otherwise all who think so start at one moment, and each floods all."""
    assert len(first_epochs(StartsAtOnce)) == 1
    waited = first_epochs(Epochs)
    assert len(waited) > 4
    assert all(SILENT_EPOCHS * HB <= at <= (SILENT_EPOCHS + 1) * HB + 0.2 for at in waited)
