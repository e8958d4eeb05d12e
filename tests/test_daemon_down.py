"""A daemon that is down on a host that lives: who says so, and how long its tunnels stay; each rule alone, and what
happens without it."""

from __future__ import annotations

import pytest

from smeg import messages as m
from smeg.heartbeat import Detection, Parts
from smeg.keys import NodeKey
from smeg.verdicts import Claim, Kind, Verdicts
from smeg.watch import Accusation, Watch
from smeg.wire import Word, pack
from tests.liveness_bench import FIRST, HB, LAST, MESH, SECOND, THIRD, Bench, Watcher, all_but, members, refresh
from tests.observing import DOWN, GONE, OTHERS, SUBJECT, UNWATCHED, Observer

# Two refusals.


def test_two_refusals_or_one_and_silence_are_a_daemon_that_is_down() -> None:
    observer = Observer()
    assert observer.watch.refused(SUBJECT, observer.now)
    assert not observer.watch.refused(SUBJECT, observer.now), "it was said already"
    assert not observer.convicted(DOWN)
    observer.accused_by(OTHERS[0], of=GONE)
    assert observer.convicted(DOWN)
    assert not observer.convicted(GONE), "the host lives"


class BelievesOneRefusal(Watch):
    def _accusers(self) -> int:
        return 1


@pytest.mark.parametrize(("watch", "down"), [(Watch, False), (BelievesOneRefusal, True)])
def test_a_firewall_that_refuses_one_node_takes_no_daemon_down(watch: type[Watch], down: bool) -> None:
    bench = Bench(members(12), parts=Parts(watch=watch))
    bench.run(12.0)
    victim = list(bench.known)[3]
    observer = bench.known.rings.observers(victim)[0]
    bench.tell(observer, m.LinkRefused(MESH.id, victim))
    bench.run(1.0)
    assert bool(bench.condemned) == down


def test_one_that_is_heard_after_it_was_refused_is_accused_no_more() -> None:
    observer = Observer()
    observer.watch.refused(SUBJECT, observer.now)
    observer.run(5.0)
    observer.accused_by(*OTHERS, of=DOWN)
    assert not observer.convicted(DOWN)
    assert observer.said == []


def test_nobody_is_refused_who_is_not_watched() -> None:
    assert not Observer().watch.refused(UNWATCHED, 100.0)
    assert not Observer().watch.unreachable(SUBJECT, 100.0)


class NeverForgives(Watch):
    def _stands(self, accusation: Accusation, fresh: set[NodeKey]) -> bool:
        return True


@pytest.mark.parametrize("size", [2, 3, 12])
def test_a_restarted_daemon_is_down_at_once_and_back_at_once_and_stays(size: int) -> None:
    bench = Bench(members(size))
    bench.run(22.0)
    victim = list(bench.known)[1]
    bench.refuse(victim)
    assert bench.run(0.6, lambda: bench.agree(victim))
    assert all(bench.views[key].down == {victim} for key in bench.living)
    bench.start(victim)
    assert bench.run(2.0, bench.agree)
    bench.condemned.clear()
    bench.run(40.0)
    assert bench.condemned == {}


def test_accusations_that_outlive_the_return_condemn_again_and_again() -> None:
    bench = Bench(members(12), parts=Parts(watch=NeverForgives))
    bench.run(22.0)
    victim = list(bench.known)[1]
    bench.refuse(victim)
    bench.run(1.0)
    bench.start(victim)
    bench.run(0.7)
    bench.condemned.clear()
    bench.run(20.0)
    assert victim in bench.wrongly()


# Until when.


def down(member: NodeKey) -> bytes:
    return pack(Word.CLAIMS, [Claim(member, 0, 0, Kind.DOWN).raw])


class NeverLapses(Verdicts):
    def lapse(self, now: float) -> None:
        return

    def next_deadline(self) -> float | None:
        return None


@pytest.mark.parametrize(("verdicts", "lapses"), [(Verdicts, True), (NeverLapses, False)])
def test_down_stays_reachable_until_the_grace_ends_and_is_pruned_then(verdicts: type[Verdicts], lapses: bool) -> None:
    """Its routes would else lead for ever to where nothing may be any more."""
    detection = Detection(HB, restart_grace=10.0, fast=False)
    watcher = Watcher(THIRD, detection=detection, parts=Parts(verdicts=verdicts))
    watcher.hear(down(FIRST), LAST)
    assert (watcher.down, watcher.pruned, watcher.leader) == (frozenset({FIRST}), frozenset(), SECOND)
    watcher.pass_time(9.9)
    assert (watcher.down, watcher.pruned) == (frozenset({FIRST}), frozenset())
    watcher.pass_time(0.2)
    assert (FIRST in watcher.pruned, FIRST in watcher.down) == (lapses, not lapses)


class DownIsDead(Verdicts):
    def is_down(self, key: NodeKey) -> bool:
        return False


@pytest.mark.parametrize(("verdicts", "kept"), [(Verdicts, True), (DownIsDead, False)])
def test_who_is_down_is_not_pruned_by_the_refresh_meanwhile(verdicts: type[Verdicts], kept: bool) -> None:
    watcher = Watcher(SECOND, parts=Parts(verdicts=verdicts))
    watcher.hear(down(LAST))
    for epoch in range(1, 5):
        watcher.hear(refresh(epoch, {epoch: all_but(LAST)}))
        watcher.pass_time(HB)
    assert watcher.leader == FIRST
    assert (LAST in watcher.down, LAST in watcher.pruned) == (kept, not kept)


class LooksAtNoHost(Watch):
    def unreachable(self, key: NodeKey, now: float) -> bool:
        return False


@pytest.mark.parametrize(("watch", "seen"), [(Watch, True), (LooksAtNoHost, False)])
def test_who_is_down_is_pruned_after_the_grace_or_when_its_host_falls_silent(watch: type[Watch], seen: bool) -> None:
    """Until then its routes lead nowhere."""
    bench = Bench(members(12), Detection(HB, restart_grace=20.0), parts=Parts(watch=watch))
    bench.run(12.0)
    one, other = list(bench.known)[3:5]
    bench.refuse(one)
    bench.refuse(other)
    bench.run(8.0)
    assert {bench.views[key].down for key in bench.living} == {frozenset({one, other})}
    bench.unplug(other)
    bench.run(1.0)
    assert {bench.views[key].pruned for key in bench.living} == {frozenset({other} if seen else ())}
    bench.run(12.0)
    assert {bench.views[key].pruned for key in bench.living} == {frozenset({one, other})}
    for key in (one, other):
        bench.start(key)
    assert bench.run(5.0, bench.agree)
