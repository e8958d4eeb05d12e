"""With whom a node speaks of who lives, and with whom it does not; each rule alone, and what happens without it."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from smeg import epochs, heartbeat
from smeg.circle import Circle
from smeg.core import Message
from smeg.doubt import Doubt
from smeg.heartbeat import ARRANGE_AGAIN, Heartbeat
from smeg.keys import NodeKey
from smeg.verdicts import Claim, Kind, Verdicts
from smeg.watch import Accusation, Watch
from smeg.wire import Word, pack, unpack
from tests.liveness_bench import CLIENT, EVERYBODY, FAST, MESH, SECOND, Bench, Watcher, members, refresh

KNOWN = members(30)


def test_a_client_beats_to_those_who_watch_it_when_its_peers_are_dead_before_it_hears_that_they_are() -> None:
    verdicts = Verdicts(30.0)
    circle, watch = Circle(MESH.id, CLIENT, verdicts, Doubt(Random(1))), Watch(CLIENT, 3.0, verdicts)
    circle.meet(EVERYBODY)
    circle.arrange(watch, frozenset())
    own = frozenset(circle.observers)
    assert len(own) == 2
    circle.arrange(watch, own)
    # Those who know of the death watch it by now; those who do not yet, still do.
    assert set(EVERYBODY.rings.observers(CLIENT, own)) <= set(circle.observers)
    assert own <= set(circle.observers)
    assert not own & set(circle.links)


# Accusations.


class AccusesBeforeAll(Heartbeat):
    def _say(self, accusation: Accusation) -> list[Message]:
        payload = pack(Word.ACCUSE, [accusation.subject, bytes([accusation.kind])])
        return self._circle.spread([key for key in self._circle.members if key != self._own], payload)


def test_an_accusation_goes_to_the_living_who_watch_the_same_and_to_nobody_else() -> None:
    subject, dead, other = KNOWN.rings.subjects(SECOND)[:3]
    watcher = Watcher(SECOND, KNOWN, FAST)
    watcher.hear(pack(Word.CLAIMS, [Claim(dead, 0, 0, Kind.GONE).raw]))
    for _ in range(30):
        watcher.hear(pack(Word.PING, []), other)
        watcher.pass_time(1.0)
    told = {to for to, payload in watcher.sent(Word.ACCUSE) if unpack(payload)[1][0] == subject}
    assert told == set(KNOWN.rings.observers(subject, {dead})) - {SECOND}
    assert len(told) < 8


def accusations(core: type[Heartbeat]) -> float:
    """How many each of the living sends, where a third of all dies at once."""
    bench = Bench(members(24), FAST, core=core)
    bench.run(12.0)
    victims = list(bench.known)[::3]
    bench.kill(*victims)
    assert bench.run(8.0, lambda: bench.agree(*victims))
    return bench.sent[Word.ACCUSE.value] / len(bench.living)


def test_where_many_die_each_accuses_before_those_who_can_judge_and_not_before_the_whole_mesh() -> None:
    usual = accusations(Heartbeat)
    assert usual < 18
    assert accusations(AccusesBeforeAll) > 3 * usual


# Whose daemon is down.


class SpeaksToTheDown(Circle):
    def arrange(self, watch: Watch, shunned: frozenset[NodeKey]) -> None:
        all_of_them, only_pruned = self._verdicts, Verdicts(0.0)
        for key in all_of_them.pruned:
            only_pruned.prune(key, 0, 0.0)
        self._verdicts = only_pruned
        super().arrange(watch, shunned)
        self._verdicts = all_of_them


BESIDE = next(key for key in KNOWN.rings.neighbours(SECOND) if key in KNOWN.rings.observers(SECOND))
"""Is flooded to, and judges of `SECOND`."""


def said_to_one_that_is_down() -> Counter[bytes]:
    """The words that come in eight seconds to one whose daemon is down, and how often each, from a node beside it."""
    watcher = Watcher(SECOND, KNOWN, FAST)
    other = next(key for key in KNOWN.rings.neighbours(SECOND) if key != BESIDE)
    watcher.hear(pack(Word.CLAIMS, [Claim(BESIDE, 0, 0, Kind.DOWN).raw]), other)
    watcher.pass_time(2 * ARRANGE_AGAIN)
    watcher.said.clear()
    living = [key for key in KNOWN if key != BESIDE]
    for epoch in range(1, 5):
        watcher.hear(refresh(epoch, {epoch: living}, KNOWN), other)
        watcher.hear(pack(Word.CLAIMS, [Claim(other, epoch, epoch, Kind.ALIVE).raw]), other)
        watcher.pass_time(2.0)
    return Counter(payload[:1] for to, payload in watcher.sent() if to == BESIDE)


def test_one_whose_daemon_is_down_is_only_dialled_every_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "REVIVERS", len(KNOWN))
    assert said_to_one_that_is_down() == {Word.REFRESH.value: 4}
    monkeypatch.setattr(heartbeat, "Circle", SpeaksToTheDown)
    said = said_to_one_that_is_down()
    assert (said[Word.CLAIMS.value], said[Word.BEAT.value]) == (4, 11)


def condemned_where_daemons_are_down() -> set[NodeKey]:
    """Who lives and is thought dead, after a third of twelve daemons were killed."""
    bench = Bench(members(12), FAST)
    bench.run(12.0)
    for key in bench.random.sample(list(bench.known), 4):
        bench.refuse(key)
    bench.run(6.0)
    return bench.wrongly()


def test_who_beats_to_those_in_place_of_the_down_is_not_thought_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert condemned_where_daemons_are_down() == set()
    monkeypatch.setattr(heartbeat, "Circle", SpeaksToTheDown)
    assert condemned_where_daemons_are_down(), "they hear nothing of those that beat to the down"
