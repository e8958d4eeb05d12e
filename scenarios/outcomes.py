"""What a trial found: how long who took to know of each event, and what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scenarios.figures import percentile

CURVE = 200
"""points of a cumulative curve that are kept."""


@dataclass
class Known:
    """How long it took to know of one event, over all pairs of who should know and of whom."""

    p50: float
    p99: float
    max: float
    pairs: int
    curve: list[float]
    """Seconds, at equal steps of the share of pairs that know by then."""

    @classmethod
    def of(cls, samples: Sequence[float]) -> Known:
        ordered = sorted(samples)
        curve = [ordered[min(len(ordered) - 1, k * len(ordered) // CURVE)] for k in range(CURVE + 1)]
        p50, p99 = percentile(ordered, 0.5), percentile(ordered, 0.99)
        return cls(p50, p99, ordered[-1], len(ordered), curve)


@dataclass
class Outcome:
    """What one trial found."""

    trial: str
    members: int
    seed: int
    loss: float
    known: dict[str, Known] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
