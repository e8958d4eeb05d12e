"""Watching: who is accused, by whom, and when that makes a verdict; each rule alone, and what happens without it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise

import pytest

from smeg import messages as m
from smeg.heartbeat import Detection, Parts
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.rings import RINGS, Rings
from smeg.verdicts import RECENT, Claim, Kind, Verdicts
from smeg.watch import (
    ACCUSATION,
    ACCUSE_AGAIN,
    BEAT_EVERY,
    DIFFERS,
    MOST_PATIENCE,
    NEWCOMER,
    REPAIR_AGAIN,
    STALLED,
    STALLS_KEPT,
    Accusation,
    Beat,
    Watch,
)
from smeg.wire import Word, pack
from tests.liveness_bench import CLIENT, FIRST, HB, LAST, MESH, PEERS, SECOND, SLOW, Bench, Watcher, members

T = 3.0
FAST = Detection(HB)
KEYS = tuple(NodeKey(bytes([number]) * 32) for number in range(1, 31))
RINGS_OF_ALL = Rings.of(KEYS)
OWN = next(key for key in KEYS if len(RINGS_OF_ALL.subjects(key)) == RINGS)
SUBJECT = next(key for key in RINGS_OF_ALL.subjects(OWN) if len(RINGS_OF_ALL.observers(key)) == RINGS)
OTHERS = [key for key in RINGS_OF_ALL.observers(SUBJECT) if key != OWN]
"""The seven who watch it too."""
UNWATCHED = next(key for key in KEYS if key not in {OWN, *RINGS_OF_ALL.subjects(OWN)})
GONE, DOWN = Accusation(SUBJECT, Kind.GONE), Accusation(SUBJECT, Kind.DOWN)


STEP = 0.5
"""seconds between two ticks of an observer, and between what it hears."""


class Observer:
    """`OWN`'s watch, that hears every half second of all its subjects but the silent."""

    def __init__(self, watch: type[Watch] = Watch, dead: Iterable[NodeKey] = (), new: Iterable[NodeKey] = ()) -> None:
        self.now = 100.0
        self.verdicts = Verdicts(30.0)
        self.watch = watch(OWN, T, self.verdicts)
        self.said: list[tuple[float, Accusation]] = []
        self.watch.meet(new, self.now)
        self.watch.arrange(RINGS_OF_ALL, self.now)
        self.watch.begin(self.now)
        self.die(dead)

    def die(self, dead: Iterable[NodeKey]) -> None:
        for key in dead:
            self.verdicts.take(Claim(key, 0, 1, Kind.GONE), self.now, answered=False)
        self.watch.arrange(RINGS_OF_ALL, self.now)

    def run(self, seconds: float, *silent: NodeKey, stall: float = 0.0) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + STEP, 3)
            self.tick()
            for key, edge in self.watch.edges.items():
                if key not in silent:
                    self.watch.heard(edge, key, stall, self.now)

    def tick(self) -> None:
        self.watch.due(self.now)
        self.said += [(self.now - 100.0, accusation) for accusation in self.watch.accuse(self.now)]

    def accused_by(self, *accusers: NodeKey, of: Accusation = GONE) -> None:
        for accuser in accusers:
            self.watch.accused_by(accuser, of, self.now)

    def convicted(self, accusation: Accusation = GONE) -> bool:
        return self.watch.convicted(accusation, self.now)


# Patience.


@pytest.mark.parametrize(("stall", "patience"), [(0.0, T), (1.9, T), (3.0, 4.5), (8.0, 12.0), (600.0, MOST_PATIENCE)])
def test_silence_is_accused_after_a_patience_that_follows_the_stall_it_told(stall: float, patience: float) -> None:
    observer = Observer()
    observer.run(1.0, stall=stall)
    observer.run(20.0, SUBJECT)
    assert {accusation for _, accusation in observer.said} == {GONE}
    assert observer.said[0][0] - 1.0 == pytest.approx(patience, abs=BEAT_EVERY)


class Impatient(Watch):
    def _patience(self, stall: float) -> float:
        return self._suspect_after


@pytest.mark.parametrize(("watch", "condemned"), [(Watch, False), (Impatient, True)])
def test_a_host_that_stalls_and_says_so_is_waited_for(watch: type[Watch], condemned: bool) -> None:
    observer = Observer(watch)
    observer.run(2.0, stall=4.0)
    observer.run(5.0, SUBJECT, stall=4.0)
    observer.accused_by(*OTHERS)
    assert observer.convicted() == condemned


def test_a_stall_is_told_for_a_minute_and_the_worst_of_them() -> None:
    observer = Observer()
    observer.run(1.0)
    for seconds in (5.0, 2.0):
        observer.now += BEAT_EVERY + seconds
        observer.tick()
        assert observer.watch.stall(observer.now) == pytest.approx(5.0, abs=BEAT_EVERY)
    assert observer.watch.stall(observer.now + STALLS_KEPT + 1.0) == 0.0


class NeverStoodStill(Watch):
    def _stood_still(self, late: float) -> bool:
        return False


@pytest.mark.parametrize(("watch", "accused"), [(Watch, 0), (NeverStoodStill, RINGS)])
def test_who_stood_still_itself_accuses_nobody(watch: type[Watch], accused: int) -> None:
    observer = Observer(watch)
    observer.run(2.0)
    observer.now += T + STALLED
    observer.tick()
    assert len({accusation.subject for _, accusation in observer.said}) == accused


class NoGraceForNewcomers(Watch):
    def meet(self, new: Iterable[NodeKey], now: float, time: float = 0.0) -> None:
        return

    def meet_all(self, now: float) -> None:
        return


@pytest.mark.parametrize(("watch", "condemned"), [(Watch, False), (NoGraceForNewcomers, True)])
def test_a_newcomer_has_ten_seconds_until_its_first_beat(watch: type[Watch], condemned: bool) -> None:
    """It became known when it was let in, and has its member list to fetch and its device to make."""
    known = members(12)
    late = list(known)[5]
    bench = Bench(known, parts=Parts(watch=watch), late=(late,))
    bench.run(NEWCOMER - 1.0)
    bench.start(late)
    bench.run(20.0)
    assert ({subject for _, subject in bench.condemned} == {late}) == condemned
    assert bench.agree()


def test_a_newcomer_that_never_beats_is_accused_at_last() -> None:
    observer = Observer(new=(SUBJECT,))
    observer.watch.arrange(RINGS_OF_ALL, observer.now)
    observer.run(30.0, SUBJECT)
    assert GONE in {accusation for _, accusation in observer.said}


# Accusations.


def test_only_the_living_who_watch_it_too_are_told() -> None:
    observer = Observer(dead=OTHERS[:2])
    told = observer.watch.co_observers(SUBJECT)
    assert OWN not in told
    assert not {*OTHERS[:2]} & {*told}
    assert set(OTHERS[2:]) <= set(told)
    assert len(told) <= RINGS


def test_one_is_accused_again_every_second_because_a_message_may_be_lost_and_no_more_once_it_is_heard() -> None:
    observer = Observer()
    observer.run(T + 0.5 + 3.0, SUBJECT)
    times = [at for at, _ in observer.said]
    assert [later - earlier for earlier, later in pairwise(times)] == [ACCUSE_AGAIN] * 3
    observer.run(1.0)
    said = len(observer.said)
    observer.run(5.0)
    assert len(observer.said) == said


def test_an_accusation_counts_for_a_while_and_only_with_ones_own() -> None:
    observer = Observer()
    observer.run(1.0, SUBJECT)
    observer.accused_by(*OTHERS)
    assert not observer.convicted(), "this node has heard it lately"
    observer.run(T, SUBJECT)
    assert not observer.convicted(), "what the others said is old"
    observer.accused_by(*OTHERS)
    assert observer.convicted()
    observer.now += ACCUSATION
    assert not observer.convicted()


class HearsAnybody(Watch):
    def _slots(self, subject: NodeKey, now: float) -> set[NodeKey]:
        return set(KEYS)


@pytest.mark.parametrize(("watch", "convicted"), [(Watch, False), (HearsAnybody, True)])
def test_who_does_not_watch_it_accuses_in_vain(watch: type[Watch], convicted: bool) -> None:
    observer = Observer(watch)
    observer.run(T + 0.5, SUBJECT)
    observer.accused_by(*[key for key in KEYS if key not in {SUBJECT, OWN, *OTHERS}])
    assert observer.convicted() == convicted


# Verdicts.


class OneIsEnough(Watch):
    def _accusers(self) -> int:
        return 1


class NoQuorum(Watch):
    def _quorum(self, places: int) -> int:
        return 1


class ForgetsTheDead(Watch):
    def _dead_places(self, places: list[NodeKey], accusers: set[NodeKey]) -> int:
        return 0


@pytest.mark.parametrize(
    ("watch", "accusers", "dead", "convicted"),
    [
        (Watch, 3, 0, True),
        (Watch, 2, 0, False),
        (NoQuorum, 2, 0, True),
        (Watch, 1, 2, True),
        (Watch, 1, 1, False),
        (ForgetsTheDead, 1, 2, False),
        (Watch, 0, 6, False),
        (OneIsEnough, 0, 6, True),
    ],
)
def test_two_accusers_and_four_of_eight_with_those_that_died_lately(
    watch: type[Watch], accusers: int, dead: int, convicted: bool
) -> None:
    """`accusers` beside this node. Without the quorum a few bad links are a death; without the dead, mass deaths hide
    one another; with one accuser the last of eight condemns by itself."""
    observer = Observer(watch)
    observer.die(OTHERS[:dead])
    observer.run(T + 0.5, SUBJECT)
    observer.accused_by(*OTHERS[dead : dead + accusers])
    assert observer.convicted() == convicted


def test_those_that_died_long_ago_do_not_count() -> None:
    observer = Observer()
    observer.die(OTHERS[:2])
    observer.run(RECENT + 1.0)
    observer.run(T + 0.5, SUBJECT)
    observer.accused_by(OTHERS[2])
    assert not observer.convicted()


def test_a_bad_link_between_two_condemns_nobody() -> None:
    for size in (3, 12):
        bench = Bench(members(size), seed=size)
        bench.run(22.0)
        bench.sever(*list(bench.known)[:2])
        bench.run(30.0)
        assert bench.condemned == {}


class KnowsNotThatItWasCutOff(Watch):
    def was_cut_off(self, now: float) -> None:
        pass


def condemned_after_two_were_cut_off(watch: type[Watch]) -> set[NodeKey]:
    """Of four, in several runs: who is condemned although its own line was good."""
    found: set[NodeKey] = set()
    for seed in range(1, 9):
        bench = Bench(members(4), seed=seed, parts=Parts(watch=watch))
        bench.run(22.0 + seed / 10)
        cut = list(bench.known)[:2]
        bench.cut_off(*cut)
        bench.run(3.6)
        bench.heal()
        bench.run(10.0)
        found |= {subject for _, subject in bench.condemned} - {*cut}
    return found


def test_those_whose_lines_were_cut_at_once_do_not_believe_each_other_when_they_are_back() -> None:
    assert condemned_after_two_were_cut_off(Watch) == set()
    assert condemned_after_two_were_cut_off(KnowsNotThatItWasCutOff)


class MeetsOnlyOnce(Watch):
    def _meet_returned(self, back: set[NodeKey], now: float) -> None:
        pass


@pytest.mark.parametrize(("watch", "accused"), [(Watch, False), (MeetsOnlyOnce, True)])
def test_a_restarted_daemon_has_time_to_learn_who_watches_it_in_place_of_the_dead(
    watch: type[Watch], accused: bool
) -> None:
    """Whom only the refresh has found dead, a daemon learns by three epochs; until then it beats to the dead."""
    observer = Observer(watch)
    observer.run(2.0)
    observer.die([SUBJECT])
    observer.run(2.0, SUBJECT)
    observer.verdicts.take(Claim(SUBJECT, 1, 1, Kind.ALIVE), observer.now, answered=False)
    observer.watch.arrange(RINGS_OF_ALL, observer.now)
    observer.run(T + 1.0, SUBJECT)
    assert bool(observer.said) == accused
    observer.run(NEWCOMER, SUBJECT)
    assert {accusation for _, accusation in observer.said} == {GONE}, "not for ever"


# The daemon is down, and its host says so.


def test_two_refusals_or_one_and_silence_are_a_daemon_that_is_down() -> None:
    observer = Observer()
    assert observer.watch.refused(SUBJECT, observer.now)
    assert not observer.watch.refused(SUBJECT, observer.now), "it was said already"
    assert not observer.convicted(DOWN)
    observer.accused_by(OTHERS[0], of=GONE)
    assert observer.convicted(DOWN)
    assert not observer.convicted(GONE), "the host lives"


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


def test_who_is_down_is_pruned_after_the_grace_or_when_its_host_falls_silent() -> None:
    bench = Bench(members(12), Detection(HB, restart_grace=20.0))
    bench.run(22.0)
    one, other = list(bench.known)[3:5]
    bench.refuse(one)
    bench.refuse(other)
    bench.run(8.0)
    assert {bench.views[key].down for key in bench.living} == {frozenset({one, other})}
    bench.unplug(other)
    bench.run(1.0)
    assert {bench.views[key].pruned for key in bench.living} == {frozenset({other})}
    bench.run(12.0)
    assert {bench.views[key].pruned for key in bench.living} == {frozenset({one, other})}
    for key in (one, other):
        bench.start(key)
    assert bench.run(5.0, bench.agree)


# All together.


@pytest.mark.parametrize(("size", "loss"), [(12, 0.0), (12, 0.05), (24, 0.05)])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_node_is_known_to_all_soon_and_nobody_else_is_ever_condemned(
    size: int, loss: float, seed: int
) -> None:
    bench = Bench(members(size), seed=seed, loss=loss)
    bench.run(40.0)
    assert bench.condemned == {}
    victim = list(bench.known)[seed]
    bench.kill(victim)
    assert bench.run(T + 1.0, lambda: bench.agree(victim))
    bench.run(30.0)
    assert bench.wrongly() == set()


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_small_mesh_finds_its_dead_as_fast(size: int) -> None:
    for victim in members(size):
        bench = Bench(members(size))
        bench.run(22.0)
        bench.kill(victim)
        assert bench.run(T + 1.0, partial(bench.agree, victim))
        bench.run(30.0)
        assert bench.wrongly() == set()


@pytest.mark.parametrize("detection", [FAST, SLOW])
@pytest.mark.parametrize(("size", "dead"), [(2, 1), (3, 1), (3, 2), (4, 3)])
def test_the_refresh_finds_at_the_latest_who_has_too_few_observers_left(
    detection: Detection, size: int, dead: int
) -> None:
    bench = Bench(members(size), detection)
    bench.run(22.0)
    victims = list(bench.known)[:dead]
    bench.kill(*victims)
    assert bench.run(dead * 4 * HB, lambda: bench.agree(*victims))


def test_a_third_that_dies_at_once_is_known_to_all_soon() -> None:
    bench = Bench(members(24), seed=3)
    bench.run(22.0)
    victims = bench.random.sample(list(bench.known), 8)
    bench.kill(*victims)
    assert bench.run(8.0, lambda: bench.agree(*victims))
    assert bench.wrongly() == set()


class NeverRepairs(Watch):
    def differs(self, since: float | None, same: bool, now: float) -> tuple[float | None, bool]:
        return None, False


@pytest.mark.parametrize(("watch", "repaired"), [(Watch, True), (NeverRepairs, False)])
def test_a_subject_that_has_known_other_claims_for_a_while_is_told_ones_own(watch: type[Watch], repaired: bool) -> None:
    watcher = Watcher(SECOND, detection=FAST, parts=Parts(watch=watch))
    claim = Claim(LAST, 0, 0, Kind.GONE)
    watcher.hear(pack(Word.CLAIMS, [claim.pack()]))
    watcher.said.clear()
    for _ in range(4):
        watcher.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), PEERS[2])
        watcher.pass_time(0.5)
    assert ((PEERS[2], pack(Word.CLAIMS, [claim.pack()])) in watcher.sent()) == repaired


def repaired_with(watcher: Watcher, sender: NodeKey, *roots: bytes) -> list[float]:
    """When a repair begins with somebody that is not watched and beats so, every half second."""
    began = []
    for root in roots:
        watcher.said.clear()
        watcher.hear(Beat(watcher.core._refresh.epoch, root, 0, 0.0).pack(Word.BEAT.value), sender)
        began += [watcher.now for message in watcher.said if message == m.RootDiffers(MESH.id, sender)]
        watcher.pass_time(0.5)
    return began


def test_who_beats_to_one_that_does_not_watch_it_and_holds_other_documents_is_compared_with() -> None:
    known = members(30)
    stranger = next(key for key in known if key not in (FIRST, *known.rings.subjects(FIRST)))
    watcher = Watcher(FIRST, known, detection=FAST)
    own, others = bytes(8), b"\1" * 8
    assert repaired_with(watcher, stranger, *[own] * 4) == []
    watcher.tell(m.RootChanged(MESH.id, b"\2" * 8))
    began = watcher.now
    times = repaired_with(watcher, stranger, *[others] * 18)
    assert len(times) == 2
    assert times[0] > began + DIFFERS
    assert times[1] >= times[0] + REPAIR_AGAIN


# Clients.


def test_a_killed_client_is_found_by_the_two_that_it_dials() -> None:
    bench = Bench(members(6, 2))
    bench.run(22.0)
    client = next(key for key in bench.known if not bench.known.rings.is_peer(key))
    bench.kill(client)
    assert bench.run(T + 1.0, lambda: bench.agree(client))
    assert bench.wrongly() == set()


def test_a_client_accuses_nobody_and_goes_to_others_when_its_own_peers_are_silent() -> None:
    watcher = Watcher(CLIENT, detection=FAST)
    known: Members = watcher.core._circle.members
    own = frozenset(known.rings.upstream(CLIENT))
    watcher.pass_time(NEWCOMER + T + 1.0)
    assert watcher.sent(Word.ACCUSE) == []
    assert (watcher.pruned, watcher.down) == (frozenset(), own)
    watcher.said.clear()
    watcher.pass_time(HB)
    assert watcher.sent_to() - own
