"""One node's watch by hand: it hears what a test lets it hear of those it watches, and says whom it accuses.

Virtual time, and keys whose rings are known. Nothing here checks anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from smeg.keys import NodeKey
from smeg.rings import RINGS, Rings
from smeg.verdicts import Claim, Kind, Verdicts
from smeg.watch import Accusation, Watch

T = 3.0
"""seconds: the least patience."""
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

    def __init__(
        self,
        watch: type[Watch] = Watch,
        dead: Iterable[NodeKey] = (),
        new: Iterable[NodeKey] = (),
        verdicts: type[Verdicts] = Verdicts,
    ) -> None:
        self.now = 100.0
        self.verdicts = verdicts(30.0)
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
