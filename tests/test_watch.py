"""Watching: who is accused, by whom, and when that makes a verdict; each rule alone, and what happens without it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from itertools import pairwise

import pytest

from smeg import messages as m
from smeg import watch as watching
from smeg.core import Message
from smeg.heartbeat import Detection, Heartbeat, Parts
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.rings import RINGS
from smeg.verdicts import Claim, Kind, Verdicts
from smeg.watch import (
    ACCUSATION,
    ACCUSE_AGAIN,
    BEAT_EVERY,
    NEWCOMER,
    STALLED,
    Accusation,
    Beat,
    Watch,
)
from smeg.wire import Word, pack
from tests.liveness_bench import CLIENT, FAST, HB, MESH, SLOW, Bench, Watcher, members
from tests.observing import GONE, KEYS, OTHERS, OWN, RINGS_OF_ALL, SUBJECT, Observer, T

# Patience.


def patience(stall: float) -> float:
    """For how many seconds one is waited for that told of such a stall."""
    observer = Observer()
    observer.run(1.0, stall=stall)
    observer.run(40.0, SUBJECT)
    assert {accusation for _, accusation in observer.said} == {GONE}
    return observer.said[0][0] - 1.0


@pytest.mark.parametrize(("stall", "seconds"), [(0.0, T), (1.9, T), (3.0, 4.5), (8.0, 12.0), (20.0, 12.0)])
def test_silence_is_accused_after_a_patience_that_follows_the_stall_it_told(stall: float, seconds: float) -> None:
    assert patience(stall) == pytest.approx(seconds, abs=BEAT_EVERY)


def test_who_stood_still_for_long_is_not_waited_for_as_long_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience(20.0) < 13.0
    monkeypatch.setattr(watching, "MOST_PATIENCE", float("inf"))
    assert patience(20.0) >= 30.0, "its death would be found later than by the refresh"


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


def test_a_stall_is_told_for_a_minute_and_the_worst_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = Observer()
    observer.run(1.0)
    for seconds in (5.0, 2.0):
        observer.now += BEAT_EVERY + seconds
        observer.tick()
        assert observer.watch.stall(observer.now) == pytest.approx(5.0, abs=BEAT_EVERY)
    assert observer.watch.stall(observer.now + 50.0) > 4.0
    assert observer.watch.stall(observer.now + 61.0) == 0.0
    monkeypatch.setattr(watching, "STALLS_KEPT", 1.0)
    assert observer.watch.stall(observer.now + 2.0) == 0.0, "nobody would wait for it when it stands still again"


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

    def meet_all(self, now: float, is_client: bool) -> None:
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


def test_of_thousands_that_were_new_once_nothing_is_kept() -> None:
    watch = Watch(OWN, T, Verdicts(60.0))
    watch.begin(0.0)
    watch.meet(KEYS, 0.0)
    assert watch.due(NEWCOMER)
    assert len(watch._met) == len(KEYS)
    assert watch.due(NEWCOMER + BEAT_EVERY)
    assert not watch._met


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


def test_one_is_accused_again_every_second_because_a_message_may_be_lost_and_no_more_once_it_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observer = Observer()
    observer.run(T + 0.5 + 3.0, SUBJECT)
    times = [at for at, _ in observer.said]
    assert [later - earlier for earlier, later in pairwise(times)] == [ACCUSE_AGAIN] * 3
    observer.run(1.0)
    said = len(observer.said)
    observer.run(5.0)
    assert len(observer.said) == said
    monkeypatch.setattr(watching, "ACCUSE_AGAIN", 60.0)
    observer.run(T + 10.0, SUBJECT)
    assert len(observer.said) == said + 1, "one that is lost would not be made good"


def test_an_accusation_counts_for_a_while_and_only_with_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = Observer()
    observer.run(1.0, SUBJECT)
    observer.accused_by(*OTHERS)
    assert not observer.convicted(), "this node has heard it lately"
    observer.run(T, SUBJECT)
    assert not observer.convicted(), "what the others said is old"
    with monkeypatch.context() as bug:
        bug.setattr(watching, "ACCUSATION", float("inf"))
        assert observer.convicted(), "of what may have been over long before"
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


class ForgottenAtOnce(Verdicts):
    def settled(self, now: float) -> Collection[NodeKey]:
        return self.dead


class CountsForEver(Verdicts):
    def settled(self, now: float) -> Collection[NodeKey]:
        return ()


@pytest.mark.parametrize(
    ("verdicts", "lately", "long_ago"),
    [(Verdicts, True, False), (ForgottenAtOnce, False, False), (CountsForEver, True, True)],
)
def test_observers_that_died_count_as_accusers_for_half_a_minute(
    verdicts: type[Verdicts], lately: bool, long_ago: bool
) -> None:
    """Without them many that die at once hide one another; if they counted for ever, two bad lines would be a death
    where many have died once."""
    for seconds, convicted in ((29.0, lately), (31.0, long_ago)):
        observer = Observer(verdicts=verdicts)
        observer.die(OTHERS[:2])
        observer.run(seconds - T - 0.5)
        observer.run(T + 0.5, SUBJECT)
        observer.accused_by(OTHERS[2])
        assert observer.convicted() == convicted


def test_a_bad_link_between_two_condemns_nobody() -> None:
    for size in (3, 12):
        bench = Bench(members(size), seed=size)
        bench.run(22.0)
        bench.sever(*list(bench.known)[:2])
        bench.run(30.0)
        assert bench.condemned == {}


def condemned_by_loss() -> bool:
    """Whether any of twelve is thought dead where one message in five is lost."""
    bench = Bench(members(12), loss=0.2)
    bench.run(20.0)
    return bool(bench.condemned)


def test_beats_come_so_often_that_several_have_to_be_lost_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not condemned_by_loss()
    monkeypatch.setattr(watching, "BEAT_EVERY", 1.5)
    assert condemned_by_loss()


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


class JudgesWhenCutOff(Heartbeat):
    def _is_cut_off(self, now: float) -> bool:
        return False


def cut_off(known: Members, core: type[Heartbeat]) -> Watcher:
    """The first peer, who has heard all others until it hears nobody."""
    own, *others = known
    watcher = Watcher(own, known, detection=Detection(interval=60.0), core=core)
    for _ in range(30):
        for key in others:
            watcher.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), key)
        watcher.pass_time(0.5)
    watcher.pass_time(FAST.suspect_after + 2.0)
    return watcher


@pytest.mark.parametrize(("core", "judged"), [(Heartbeat, False), (JudgesWhenCutOff, True)])
def test_one_of_two_peers_that_hears_nobody_does_not_judge_the_other(core: type[Heartbeat], judged: bool) -> None:
    """It hears no client either: what is cut is its own line, and nobody else watches the other."""
    known = members(2, 2)
    watcher = cut_off(known, core)
    assert (known.rings.peers[1] in watcher.pruned) == judged


@pytest.mark.parametrize(("core", "accuses"), [(Heartbeat, False), (JudgesWhenCutOff, True)])
def test_who_hears_nobody_of_several_accuses_nobody(core: type[Heartbeat], accuses: bool) -> None:
    """One more whose beats are lost would be enough."""
    assert bool(cut_off(members(6), core).sent(Word.ACCUSE)) == accuses


def test_who_hears_nobody_but_is_refused_accuses_whom_it_dialled() -> None:
    """Of three the other two are killed: their hosts say so."""
    known = members(3)
    watcher = cut_off(known, Heartbeat)
    _, *others = known
    watcher.tell(*(m.LinkRefused(MESH.id, key) for key in others))
    said = {payload for _, payload in watcher.sent(Word.ACCUSE)}
    assert said == {pack(Word.ACCUSE, [key, bytes([Kind.DOWN])]) for key in others}


def test_a_third_that_dies_at_once_is_known_to_all_soon() -> None:
    bench = Bench(members(24), seed=3)
    bench.run(22.0)
    victims = bench.random.sample(list(bench.known), 8)
    bench.kill(*victims)
    assert bench.run(8.0, lambda: bench.agree(*victims))
    assert bench.wrongly() == set()


# Clients.


def test_a_killed_client_is_found_by_the_two_that_it_dials() -> None:
    bench = Bench(members(6, 2))
    bench.run(22.0)
    client = next(key for key in bench.known if not bench.known.rings.is_peer(key))
    bench.kill(client)
    assert bench.run(T + 1.0, lambda: bench.agree(client))
    assert bench.wrongly() == set()


class JudgesThoughAClient(Heartbeat):
    def _say(self, accusation: Accusation) -> list[Message]:
        self._circle.is_peer = True
        return super()._say(accusation)


@pytest.mark.parametrize("core", [Heartbeat, JudgesThoughAClient])
def test_a_client_accuses_nobody_and_goes_to_others_when_its_own_peers_are_silent(core: type[Heartbeat]) -> None:
    """Its own line may be bad, and nobody counts what it says."""
    watcher = Watcher(CLIENT, detection=FAST, core=core)
    known: Members = watcher.core._circle.members
    own = frozenset(known.rings.upstream(CLIENT))
    other = next(key for key in known.rings.peers if key not in own)
    for _ in range(round(NEWCOMER + T) + 1):
        watcher.hear(pack(Word.PING, []), other)
        watcher.pass_time(1.0)
    assert (watcher.sent(Word.ACCUSE) == []) == (core is Heartbeat)
    if core is Heartbeat:
        assert (watcher.pruned, watcher.down) == (frozenset(), own)
        watcher.said.clear()
        watcher.pass_time(HB)
        assert watcher.sent_to() - own
