"""With whom a node speaks of who lives: a client whose peers fall silent is seen to live by those in their place."""

from __future__ import annotations

from random import Random

from smeg.circle import Circle
from smeg.doubt import Doubt
from smeg.verdicts import Verdicts
from smeg.watch import Watch
from tests.liveness_bench import CLIENT, EVERYBODY, MESH


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
