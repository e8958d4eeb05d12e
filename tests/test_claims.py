"""Claims on their way: to whom they go and how many together; each rule alone, and what happens without it."""

from __future__ import annotations

import pytest

from smeg import claims, rings
from smeg.circle import Circle
from smeg.keys import NodeKey
from smeg.verdicts import Claim, Kind
from smeg.wire import Word, pack, unpack
from tests.liveness_bench import SECOND, Bench, Watcher, members

FORTY = members(40)
NEAR = FORTY.rings.neighbours(SECOND)


def gone(*dead: NodeKey) -> bytes:
    return pack(Word.CLAIMS, [Claim(key, 0, 0, Kind.GONE).pack() for key in dead])


def everybody(circle: Circle) -> list[NodeKey]:
    return [key for key in circle.members if key != circle._own]


# To whom.


def test_a_claim_is_flooded_to_those_beside_a_node_on_three_rings_and_to_nobody_else() -> None:
    dead = next(key for key in FORTY if key not in {*NEAR, SECOND})
    watcher = Watcher(SECOND, FORTY)
    watcher.hear(gone(dead), NEAR[0])
    watcher.pass_time(0.2)
    assert sorted(watcher.sent(Word.CLAIMS)) == sorted((key, gone(dead)) for key in NEAR[1:])
    assert len(NEAR) == 6


def flood(peers: int) -> tuple[float, float]:
    """One is found dead: claims that each of the living sends, and seconds from the first who knows it to the last."""
    bench = Bench(members(peers))
    bench.run(12.0)
    victim = list(bench.known)[5]
    bench.kill(victim)
    assert bench.run(5.0, lambda: bench.agree(victim))
    bench.run(0.5)
    known = [bench.condemned[key, victim] for key in bench.living]
    return bench.sent[Word.CLAIMS.value] / len(known), max(known) - min(known)


def test_a_death_costs_each_seven_messages_in_a_mesh_of_any_size_and_is_all_around_in_a_fifth_of_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for peers in (16, 32):
        messages, seconds = flood(peers)
        assert messages <= 7
        assert seconds <= 0.2
        with monkeypatch.context() as bug:
            bug.setattr(Circle, "near", everybody)
            assert flood(peers)[0] >= peers - 1, "to everybody"
    monkeypatch.setattr(rings, "FLOOD_RINGS", 1)
    assert flood(32)[1] > 0.2, "around one ring alone"


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
