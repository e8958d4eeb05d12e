"""From what trials found to the rows of the report: each figure, over all seeds, beside what it must reach.

Of several seeds the worst counts. A mesh of up to 3,000 has the targets of 3,000, a larger one those of 10,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import log

from scenarios.figures import Result
from scenarios.outcomes import Outcome
from scenarios.trials import BITMAPS

Pair = tuple[float, float]
"""For up to 3,000 members, for more."""

CRASH: tuple[Pair, Pair] = ((4.0, 4.2), (4.5, 5.0))
KNOWN: Mapping[tuple[str, str], tuple[Pair, Pair]] = {
    ("faults", "one update"): ((0.35, 0.4), (0.5, 0.6)),
    ("faults", "one crash"): CRASH,
    ("faults", "1 % crash at once"): CRASH,
    ("faults", "10 % crash at once"): CRASH,
    ("faults", "the leader and the next two crash"): CRASH,
    ("third", "30 % crash at once"): ((4.5, 5.0), (8.0, 10.0)),
    ("size", "one update"): ((0.35, 0.4), (0.5, 0.6)),
    ("size", "one crash"): CRASH,
}
"""Trial and event → the most seconds for 99 % of all pairs, and for all."""
ALONE: Pair = (17.5, 33.0)
"""seconds until all know, by the refresh alone: every 5 s, and every 10 s."""
LEADERLESS = "longest without one leader, seconds"
"""Looked at every second: so a second more than it may be."""
COUNTS: Mapping[str, Pair] = {
    "false deaths": (0, 0),
    "removed members": (0, 0),
    "invariants broken, node seconds": (0, 0),
    "different replicas": (0, 0),
    "leaders that differ": (0, 0),
    "another leads than the next in line": (0, 0),
    "stalling nodes that did not recover": (0, 0),
    "bytes a second a node, mean": (5000, 8000),
    "bytes a second a node": (5000, 8000),
    "cpu seconds for a virtual minute": (180, 600),
    "seconds from healing until all know all alive": (5, 5),
    "pairs that were not as they should be": (0, 0),
    "pairs that were not as they should be, after the start": (0, 0),
    "pairs that were not as they should be, after a death": (0, 0),
    "forwarding loops": (0, 0),
    "seconds from noticing a death to the last new route": (3, 3),
    "seconds from noticing a bridge's death to the last new route": (3, 3),
    "smaller side: who follows another": (0, 0),
    "smaller side: who thinks others dead": (0, 0),
    "larger side: who follows another": (0, 0),
    "larger side: who thinks others dead": (0, 0),
    LEADERLESS: (5, 5),
}
GROWN = 100
"""Members from which on everybody has as many neighbours as anybody ever has."""
WATCHED = "virtual seconds"
HIDDEN = frozenset({"cpu seconds", WATCHED})


def rows(outcomes: Iterable[Outcome]) -> Result:
    """All figures, in a fixed order."""
    result = Result()
    ordered = sorted(outcomes, key=lambda outcome: (*_group(outcome), outcome.seed))
    for (trial, members, loss), found in groupby(ordered, _group):
        _add(result, trial, members, loss, list(found))
    _growth(result, [outcome for outcome in ordered if outcome.trial == "size" and outcome.members >= GROWN])
    return result


def _growth(result: Result, found: Sequence[Outcome]) -> None:
    """Whether idle traffic grows as it may: the bitmaps have a bit for every member, all else grows no faster than the
    logarithm of their number, and so does how many bitmaps a node sends."""
    if len({outcome.members for outcome in found}) < 2:
        return
    small, large = found[0], found[-1]
    may = log(large.members) / log(small.members)
    about = f"growth, {small.members:,} to {large.members:,} members, by that of the logarithm"
    for name, of in (("bytes beside the bitmaps", _beside), ("bitmaps", _bitmaps)):
        result.add(f"{about}: {name}", of(large) / of(small) / may, "", 1.0)


def _beside(outcome: Outcome) -> float:
    return outcome.counts["bytes a second a node"] - outcome.counts[BITMAPS]


def _bitmaps(outcome: Outcome) -> float:
    return outcome.counts[BITMAPS] / (outcome.members / 8)


def _group(outcome: Outcome) -> tuple[str, int, float]:
    """What is told together. How long a trial watched belongs to it: fewer minutes prove less."""
    seconds = outcome.counts.get(WATCHED)
    trial = outcome.trial if seconds is None else f"{outcome.trial} for {seconds:g} s"
    return trial, outcome.members, outcome.loss


def _add(result: Result, trial: str, members: int, loss: float, found: Sequence[Outcome]) -> None:
    large = members > 3000
    whom = f"up to {members:,} hosts" if trial == "topologies" else f"{members:,} members"
    about = f"{trial}, {whom}, loss {loss:.0%}"
    # Not every outcome has every figure.
    for event in dict.fromkeys(event for outcome in found for event in outcome.known):
        having = [outcome for outcome in found if event in outcome.known]
        known, seeds = [outcome.known[event] for outcome in having], _seeds(having)
        p99, most = _targets(trial, event)
        result.add(f"{about}: {event}, p50", max(k.p50 for k in known), "s", None, seeds)
        result.add(f"{about}: {event}, p99", max(k.p99 for k in known), "s", p99 and p99[large], seeds)
        result.add(f"{about}: {event}, max", max(k.max for k in known), "s", most and most[large], seeds)
    for name in dict.fromkeys(name for outcome in found for name in outcome.counts):
        if name not in HIDDEN:
            having = [outcome for outcome in found if name in outcome.counts]
            value = max(outcome.counts[name] for outcome in having)
            target = ALONE if name == LEADERLESS and _by_refresh(trial) else COUNTS.get(name)
            result.add(f"{about}: {name}", value, "", target and target[large], _seeds(having))


def _seeds(found: Sequence[Outcome]) -> str:
    return f"seed {found[0].seed}" if len(found) == 1 else f"worst of {len(found)} seeds"


def _targets(trial: str, event: str) -> tuple[Pair | None, Pair | None]:
    if _by_refresh(trial):
        return None, ALONE
    return KNOWN.get((trial, event), (None, None))


def _by_refresh(trial: str) -> bool:
    """Whether only the refresh may find what there is to find: of a small side all whom it hears are few."""
    return trial.startswith(("refresh alone", "partition"))
