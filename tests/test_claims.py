"""Claims on their way: to whom they are flooded and how many go together; each rule alone, and what happens without it."""

from __future__ import annotations

from random import Random

import pytest

from smeg import claims, rings
from smeg.circle import Circle
from smeg.keys import NodeKey
from smeg.verdicts import Claim, Kind
from smeg.wire import Word, pack, unpack
from tests.liveness_bench import FIRST, SECOND, Bench, Watcher, members

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
    """One is found dead by its observers: claims that each of the living sends, and seconds from the first of them until
    all know."""
    bench = Bench(members(peers), latency=0.05)
    bench.run(22.0)
    victim = list(bench.known)[5]
    bench.kill(victim)
    assert bench.run(5.0, lambda: any(bench.silent(key) for key in bench.living))
    assert bench.run(5.0, lambda: bench.agree(victim))
    bench.run(1.0)
    known = [bench.condemned[key, victim] for key in bench.living]
    return bench.sent[Word.CLAIMS.value] / len(bench.living), max(known) - min(known)
for n in (20,40): print(n, flood(n))
import smeg.claims
o=Circle.near
Circle.near=everybody
for n in (20,40): print(n, flood(n))
Circle.near=o
rings.FLOOD_RINGS=1
for n in (20,40): print(n, flood(n))
