"""Claims on their way: to whom they go and how many together; each rule alone, and what happens without it."""

from __future__ import annotations

import pytest

from smeg import circle, claims
from smeg.circle import Circle
from smeg.claims import Claims
from smeg.core import Message
from smeg.heartbeat import Parts
from smeg.keys import NodeKey
from smeg.verdicts import Claim, Kind
from smeg.watch import Beat
from smeg.wire import Word, pack, unpack
from tests.liveness_bench import FAST, SECOND, Bench, Watcher, members

FORTY = members(40)
NEAR = FORTY.rings.neighbours(SECOND)


def gone(*dead: NodeKey) -> bytes:
    return pack(Word.CLAIMS, [Claim(key, 0, 0, Kind.GONE).raw for key in dead])


def everybody(around: Circle) -> list[NodeKey]:
    return [key for key in around.members if key != around._own]


# To whom.


def test_a_claim_is_flooded_to_those_beside_a_node_on_three_rings_and_to_nobody_else() -> None:
    dead = next(key for key in FORTY if key not in {*NEAR, SECOND})
    watcher = Watcher(SECOND, FORTY)
    watcher.hear(gone(dead), NEAR[0])
    watcher.pass_time(0.2)
    assert sorted(watcher.sent(Word.CLAIMS)) == sorted((key, gone(dead)) for key in NEAR[1:])
    assert len(NEAR) == 6


def claims_of_a_death(peers: int) -> float:
    """How many each of the living sends, of the death of one."""
    bench = Bench(members(peers))
    bench.run(12.0)
    victim = list(bench.known)[5]
    bench.kill(victim)
    assert bench.run(5.0, lambda: bench.agree(victim))
    bench.run(0.5)
    return bench.sent[Word.CLAIMS.value] / len(bench.living)


def test_a_death_costs_each_seven_messages_in_a_mesh_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [claims_of_a_death(peers) <= 7 for peers in (12, 24)] == [True, True]
    monkeypatch.setattr(Circle, "near", everybody)
    assert [claims_of_a_death(peers) >= peers - 1 for peers in (12, 24)] == [True, True]


# How many together.


def told_within(seconds: float) -> list[int]:
    """Eight claims come within 40 ms; how many at a time a neighbour is told in so many seconds from the first."""
    watcher = Watcher(SECOND, FORTY)
    began = watcher.now
    for key in [key for key in FORTY if key not in {*NEAR, SECOND}][:8]:
        watcher.hear(gone(key), NEAR[0])
        watcher.pass_time(0.005)
    watcher.pass_time(began + seconds - watcher.now)
    return [len(unpack(payload)[1]) for to, payload in watcher.sent(Word.CLAIMS) if to == NEAR[1]]


def test_the_first_claim_goes_at_once_and_those_of_the_next_twentieth_of_a_second_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert told_within(0.049) == [1]
    assert told_within(0.051) == [1, 7]
    monkeypatch.setattr(claims, "CLAIMS_WINDOW", 0.0)
    assert told_within(0.049) == [1] * 8, "a message for each of those that die at once"


# To whom that is heard though it is thought dead.


class NeverWarns(Claims):
    def warn(self, member: NodeKey, now: float) -> list[Message]:
        return []


def seconds_until_back(kind: type[Claims], seed: int) -> float:
    """Of one of twelve whose line was cut until all thought it dead: from when the line is good again."""
    bench = Bench(members(12), seed=seed, parts=Parts(claims=kind))
    bench.run(12.0 + seed / 2)
    cut = list(bench.known)[5]
    bench.cut_off(cut)
    assert bench.run(6.0, lambda: all(bench.silent(key) == {cut} for key in bench.living if key != cut))
    bench.heal()
    began = bench.now
    assert bench.run(10.0, bench.agree)
    return bench.now - began


@pytest.mark.parametrize("seed", [1, 2])
def test_who_is_heard_is_told_that_it_is_thought_dead_and_says_otherwise_at_once(seed: int) -> None:
    assert seconds_until_back(Claims, seed) < 1.0
    assert seconds_until_back(NeverWarns, seed) > 2.0


def warned(seconds: float) -> int:
    """How often one is in so many seconds that is thought dead and beats again and again."""
    watcher = Watcher(SECOND, FORTY, FAST)
    watcher.hear(gone(NEAR[1]), NEAR[0])
    watcher.pass_time(0.1)
    watcher.said.clear()
    for _ in range(round(seconds / 0.2)):
        watcher.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), NEAR[1])
        watcher.pass_time(0.2)
    return watcher.sent(Word.CLAIMS).count((NEAR[1], gone(NEAR[1])))


def test_it_is_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warned(3.0) == 3
    monkeypatch.setattr(circle, "TELL_AGAIN", 0.0)
    assert warned(3.0) == 15
