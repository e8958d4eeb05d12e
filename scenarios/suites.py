"""Which trials the figures come from: each mesh, seed and rate of loss that is measured, by part."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.outcomes import Outcome
from scenarios.trials import TRIALS

SIZES = (10, 30, 100, 300, 1000, 3000, 10000)


@dataclass(frozen=True, slots=True)
class Job:
    """One trial, to be run in a process of its own."""

    trial: str
    members: int
    seed: int
    loss: float
    options: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        options = [f"{value:g}" for _, value in self.options]
        return "-".join([self.trial, str(self.members), str(self.seed), f"{self.loss:g}", *options])

    def run(self) -> Outcome:
        return TRIALS[self.trial](self.members, self.seed, self.loss, **dict(self.options))


def full(seeds: int) -> dict[str, list[Job]]:
    """Every row that is promised, by part."""
    every = range(1, seeds + 1)
    return {
        "faults": [Job("faults", 3000, seed, loss) for seed in every for loss in (0.05, 0.0)],
        "third": [Job("third", 3000, seed, loss) for seed in every for loss in (0.05, 0.0)],
        "quiet": [Job("quiet", 3000, seed, 0.05) for seed in every],
        "slow": [Job("slow", 3000, 1, 0.05)],
        "partition": [
            Job("partition", 3000, 1, loss, (("share", share),)) for share in (0.1, 0.4) for loss in (0.05, 0.0)
        ],
        "refresh": [Job("refresh", 3000, seed, loss) for seed in every for loss in (0.05, 0.0)],
        "size": [Job("size", members, 1, 0.0) for members in SIZES],
        "repair": [Job("repair", members, 1, 0.0) for members in (3000, 10000)],
        "topologies": [Job("topologies", 300, seed, 0.05 * (seed % 2)) for seed in range(20)],
        "hundred": [
            Job("hundred", 10000, 1, 0.0, (("backbone", 2),)),
            Job("hundred", 4000, 1, 0.0, (("meshes", 40), ("bridges", 60))),
        ],
        "large": [
            # To start 1,200 again is to read twelve million records.
            *(Job("faults", 10000, 1, loss, (("again", 0.0),)) for loss in (0.05, 0.0)),
            *(Job("third", 10000, 1, loss) for loss in (0.05, 0.0)),
            Job("quiet", 10000, 1, 0.05, (("seconds", 60.0),)),
            Job("refresh", 10000, 1, 0.05, (("interval", 10.0),)),
        ],
    }


def quick() -> dict[str, list[Job]]:
    """The same trials at a size that takes seconds each."""
    return {
        "faults": [Job("faults", 200, 1, 0.05)],
        "third": [Job("third", 200, 1, 0.05)],
        "quiet": [Job("quiet", 100, 1, 0.05, (("seconds", 60.0),))],
        "slow": [Job("slow", 60, 1, 0.05)],
        "partition": [Job("partition", 100, 1, 0.05, (("share", share), ("seconds", 30.0))) for share in (0.1, 0.4)],
        "refresh": [Job("refresh", 200, 1, 0.05)],
        "size": [Job("size", members, 1, 0.0) for members in SIZES[:4]],
        "repair": [Job("repair", 1000, 1, 0.0)],
        "topologies": [Job("topologies", 40, 1, 0.05, (("count", 3.0),))],
    }
