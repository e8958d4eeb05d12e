"""From a run that fails to the smallest that fails in the same way: delta debugging of the timeline (Zeller and
Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), then of groups, meshes, hosts and durations.

It plays nothing itself: it is handed what does, and stops after so many runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scenarios import reductions as r
from scenarios.again import again
from scenarios.attempt import Case, Outcome
from scenarios.script import SMALLEST, Script
from scenarios.script_reading import parse
from scenarios.script_writing import write
from smeg.errors import LocalError

OTHER_SEEDS = 8
"""With so many seeds beside its own a smaller number of hosts is tried: chance falls otherwise then."""
SHORTEST = 0.5
"""seconds of a duration below which it is not made shorter."""
Play = Callable[[Case, Collection[str]], Outcome]
"""Plays a case until one of these checks has failed."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Shrunk:
    case: Case
    outcome: Outcome
    """Of the smallest run, which fails by what failed first in the first one."""
    runs: int
    exhausted: bool
    """Whether it might have become smaller with more runs."""
    interrupted: bool


class Shrinking:
    def __init__(self, case: Case, outcome: Outcome, play: Play, tries: int, tell: Tell = lambda words: None) -> None:
        self._play = play
        self._tries = tries
        self._tell = tell
        self._runs = 0
        self._kinds = frozenset([*outcome.failures][:1])
        """What failed first, to which this keeps: what follows from it, or came beside it, is another failure."""
        self._before = frozenset(outcome.failures)
        # Names and chance stay as they are when the numbers of hosts are said instead of shares.
        self._best = replace(case, script=r.counted(case.script, case.nodes))
        self._outcome = outcome
        self._known: set[tuple[str, int]] = set()
        """Texts and seeds that were tried."""

    def shrink(self) -> Shrunk:
        """Until nothing smaller fails, there are no more runs, or somebody presses Ctrl-C."""
        interrupted = False
        try:
            self._look()
        except KeyboardInterrupt:
            interrupted = True
        return Shrunk(self._best, self._outcome, self._runs, self._runs >= self._tries, interrupted)

    def _look(self) -> None:
        self._try(r.only(self._best.script, self._kinds, self._outcome.lines))
        smaller = True
        # First what makes each run cheaper, and what takes none of the time in which it has to fail.
        self._fewer_hosts(OTHER_SEEDS)
        while smaller and self._runs < self._tries:
            before = self._best
            self._fewer_events()
            self._fewer_parts()
            self._fewer_hosts(OTHER_SEEDS)
            self._shorter()
            smaller = self._best != before
        self._smaller_seed()

    # Trying.

    def _fails(self, script: Script, seed: int) -> bool:
        """Whether this fails as the first one did; then it is the best so far."""
        try:
            text = write(script)
            if (text, seed) in self._known or self._runs >= self._tries:
                return False
            self._known.add((text, seed))
            read = parse(text, f"{script.name}.yaml")
            if not r.keeps_promises(self._best.script, read):
                return False
            case = replace(self._best, script=read, nodes=read.nodes, seed=seed)
            read.counts(case.nodes)
            self._runs += 1
            outcome = self._play(case, self._kinds)
        except LocalError:
            # What cannot be read or played is no smaller version.
            return False
        new = outcome.failures.keys() - self._before
        if not self._kinds & outcome.failures.keys() or any(kind.endswith("cannot be done") for kind in new):
            return False
        self._best, self._outcome = case, outcome
        self._tell(
            f"{self._runs} runs: {case.nodes} hosts, {len(read.timeline)} events, seed {seed}: "
            f"{next(iter(outcome.failures))}"
        )
        return True

    def _try(self, script: Script | None, others: int = 0) -> bool:
        if script is None:
            return False
        seeds = dict.fromkeys([self._best.seed, *range(1, others + 1)])
        return any(self._fails(script, seed) for seed in seeds)

    # Ways to be smaller.

    def _fewer_events(self) -> None:
        """ddmin: without ever smaller parts of the timeline."""
        parts = 2
        while (count := len(self._best.script.timeline)) and self._runs < self._tries:
            parts = min(parts, count)
            if any(self._try(r.without_events(self._best.script, set(part))) for part in _parts(count, parts)):
                parts = max(2, parts - 1)
            elif parts >= count:
                return
            else:
                parts *= 2

    def _fewer_parts(self) -> None:
        for mesh in reversed(list(self._best.script.meshes)):
            self._try(r.without_mesh(self._best.script, mesh))
        for group in reversed(self._best.script.hosts):
            if any(group.name == one.name for one in self._best.script.hosts):
                self._try(r.without_group(self._best.script, group.name))

    def _fewer_hosts(self, others: int) -> None:
        for group in sorted(self._best.script.hosts, key=lambda group: -_count(group.count)):
            size = _count(group.count)
            for fewer in _fewer(size):
                script = r.sized(self._best.script, {group.name: fewer})
                if script.nodes >= SMALLEST and self._try(script, others):
                    break

    def _shorter(self) -> None:
        for place, _ in list(r.durations(self._best.script)):
            now = dict(r.durations(self._best.script))
            while (value := now.get(place, 0.0)) > SHORTEST:
                # A fault that lasts for no time lasts for ever.
                shorter = round(value / 2, 1) if value > 2 * SHORTEST or place.field == "lasts" else 0.0
                if not self._try(r.lasting(self._best.script, place, shorter)):
                    break
                now = dict(r.durations(self._best.script))

    def _smaller_seed(self) -> None:
        for seed in range(1, min(self._best.seed, OTHER_SEEDS + 1)):
            if self._fails(self._best.script, seed):
                return


def _count(count: object) -> int:
    return count if isinstance(count, int) else 0


def _fewer(size: int) -> Iterator[int]:
    """Smaller sizes, the smallest first; each at least halves the distance."""
    step = size - 1
    while step > 0:
        yield size - step
        step //= 2


def _parts(count: int, parts: int) -> Iterator[range]:
    """`range(count)` in so many parts, the last first: what comes late is needed least."""
    edges = [count * number // parts for number in range(parts + 1)]
    for number in reversed(range(parts)):
        yield range(edges[number], edges[number + 1])


def story(shrunk: Shrunk, first: Case, path: Path) -> list[str]:
    """What a reader of the shrunk script in a file should know, as lines of a comment."""
    case = shrunk.case
    before = f"{first.nodes} hosts, {len(first.script.timeline)} events, seed {first.seed}"
    ended = " (interrupted)" if shrunk.interrupted else " (all that were allowed)" if shrunk.exhausted else ""
    lines = [
        f"Shrunk from {before}, in {shrunk.runs} runs{ended}.",
        "It fails:",
        *(f"  {words}"[:110] for words in shrunk.outcome.failures.values()),
        f"Again: {again(path, case.nodes, case.seed, patience=case.patience)}",
    ]
    return [line.replace("\n", " ") for line in lines]
