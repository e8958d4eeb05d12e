"""Who knew what when: what daemons come to think of each other, kept for checks and for the record of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from scenarios.stage import Stage
from scenarios.truth import Truth

MOST_CHANGES = 200_000
"""names in the record of who changed its mind; later ones are only counted."""
MOST_NOTES = 1000


@dataclass(frozen=True, slots=True)
class FalseDeath:
    at: float
    mesh: str
    subject: str
    by: str

    def __str__(self) -> str:
        return f"{self.by} thought {self.subject} dead at {self.at:.2f} s in {self.mesh}"


class Witnesses:
    """An `Observer`."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.stage: Stage | None = None
        """There is one as soon as anything can be seen."""
        self.false: list[FalseDeath] = []
        self.circles: list[tuple[float, tuple[str, ...]]] = []
        self.changes: list[tuple[float, str, str, tuple[str, ...], tuple[str, ...]]] = []
        """When, who, in which mesh; whom it thinks dead from now on, whom alive."""
        self.left_out = 0
        """Names beyond `MOST_CHANGES`."""
        self.notes: list[tuple[float, str, str]] = []
        self.counted: Counter[str] = Counter()
        """All notes, by what they say."""
        self.told: set[tuple[str, str]] = set()
        """Likewise: who noticed what."""
        self._names = 0

    @property
    def _now(self) -> float:
        return self.stage.now if self.stage is not None else 0.0

    def changed_mind(
        self, host: str, mesh: str, gone: tuple[str, ...], back: tuple[str, ...], pruned: tuple[str, ...]
    ) -> None:
        now = self._now
        if now < 0:
            return
        # A client takes peers that it hears nothing of for down until it hears otherwise, and condemns nobody by it.
        # Who is no member any more hears nobody, and is heard by nobody.
        for subject in pruned if host in self._truth.members[mesh] else ():
            if not self._truth.may_be_thought_dead(subject, host, now):
                self.false.append(FalseDeath(now, mesh, subject, host))
        self._names += len(gone) + len(back)
        if not gone and not back:
            return
        if self._names > MOST_CHANGES:
            self.left_out += len(gone) + len(back)
        else:
            self.changes.append((round(now, 6), host, mesh, gone, back))

    def went_around(self, path: tuple[str, ...]) -> None:
        if self._now >= 0:
            self.circles.append((self._now, path))

    def noticed(self, host: str, what: str) -> None:
        self.counted[what] += 1
        if len(self.told) < MOST_CHANGES:
            self.told.add((host, what))
        if len(self.notes) < MOST_NOTES:
            # What is noticed before the world is at rest counts as noticed then.
            self.notes.append((round(max(0.0, self._now), 6), host, what))

    def record(self) -> dict[str, Any]:
        """For the record of a run, as JSON values."""
        return {
            "changes": self.changes,
            "left_out": self.left_out,
            "false_deaths": [str(one) for one in self.false[:MOST_NOTES]],
            "circles": [[round(at, 6), *path] for at, path in self.circles[:MOST_NOTES]],
            "notes": self.notes,
            "noticed": dict(sorted(self.counted.items())),
        }
