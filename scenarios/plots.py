"""Pictures of what was measured: cumulative curves, and cost against the size of a mesh."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes

from scenarios.figures import Result
from scenarios.outcomes import Known, Outcome

STYLE: Any = {
    "backend": "svg",
    "svg.fonttype": "none",
    "svg.hashsalt": "smegmesh",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 9,
}
SHAPE = (7.2, 4.0)
"""inches."""
CLAIMED = ((12.0, 0.99), (20.0, 1.0))
"""What the predecessor claims at 3,000 nodes: seconds, and the share of nodes that know of a failure."""


def draw(outcomes: Sequence[Outcome], real: Result, folder: Path) -> list[Path]:
    """All pictures for which there is something to show; where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    with rc_context(STYLE):
        for name, picture in (
            ("detection", _detection),
            ("dissemination", _dissemination),
            ("traffic", _traffic),
            ("degree", _degree),
        ):
            figure, axes = pyplot.subplots(figsize=SHAPE, layout="constrained")
            if picture(axes, outcomes):
                made.append(folder / f"{name}.svg")
                figure.savefig(made[-1], metadata={"Date": None})
            pyplot.close(figure)
        figure, axes = pyplot.subplots(figsize=SHAPE, layout="constrained")
        if _real(axes, real):
            made.append(folder / "daemons.svg")
            figure.savefig(made[-1], metadata={"Date": None})
        pyplot.close(figure)
    return made


def _cumulative(axes: Axes, known: Iterable[Known], label: str) -> None:
    """The mean of some curves: at each share, how long it took."""
    curves = [k.curve for k in known]
    mean = [sum(points) / len(points) for points in zip(*curves, strict=True)]
    axes.plot(mean, [k / (len(mean) - 1) for k in range(len(mean))], label=label)


def _ends(axes: Axes, title: str, across: str) -> bool:
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.legend()
    return True


def _detection(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = [outcome for outcome in outcomes if outcome.trial in ("faults", "third") and outcome.members <= 3000]
    if not found:
        return False
    members, loss = max((outcome.members, outcome.loss) for outcome in found)
    known: dict[str, list[Known]] = {}
    for outcome in found:
        if (outcome.members, outcome.loss) == (members, loss):
            for event, times in outcome.known.items():
                known.setdefault(event, []).append(times)
    for event, times_of_all in known.items():
        if event not in ("one update", "all are started again"):
            _cumulative(axes, times_of_all, event)
    for seconds, share in CLAIMED:
        axes.plot([seconds], [share], "kx")
    axes.plot([], [], "kx", label="the predecessor's claim")
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20], labels=["0.1", "0.2", "0.5", "1", "2", "3", "5", "10", "20"])
    axes.set_ylabel("share of those who should know")
    return _ends(axes, f"Who knows of a failure, {members:,} members, {loss:.0%} loss", "seconds after it")


def _dissemination(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = {outcome.members: outcome for outcome in outcomes if outcome.trial == "size" and outcome.members >= 100}
    for members in sorted(found):
        _cumulative(axes, [found[members].known["one update"]], f"{members:,} members")
    axes.set_ylabel("share of members that have it")
    return bool(found) and _ends(axes, "One update, from one node to all", "seconds")


def _by_size(outcomes: Sequence[Outcome], count: str) -> tuple[list[int], list[float]]:
    found = {o.members: o.counts[count] for o in outcomes if o.trial == "size" and count in o.counts}
    return sorted(found), [found[members] for members in sorted(found)]


def _traffic(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    members, volumes = _by_size(outcomes, "bytes a second a node")
    if len(members) < 2:
        return False
    axes.plot(members, volumes, "o-", label="sent by one idle node")
    _, messages = _by_size(outcomes, "messages a second a node")
    axes.plot(members, [80 * count for count in messages], "s--", label="of that the heads of messages, 80 bytes each")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("bytes a second")
    return _ends(axes, "What one more node costs", "members")


def _degree(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    members, most = _by_size(outcomes, "connections of a node, max")
    if len(members) < 2:
        return False
    axes.plot(members, most, "o-", label="the node with most")
    axes.plot(*_by_size(outcomes, "connections of a node, mean"), "s--", label="mean")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("connections")
    return _ends(axes, "Connections of one node", "members")


def _real(axes: Axes, real: Result) -> bool:
    """Real daemons, and serf's agents, on one machine."""
    shown = False
    for name, samples in real.samples.items():
        if "killed" in name or "stopped" in name:
            ordered = sorted(value for value in samples if math.isfinite(value))
            axes.step(ordered, [(k + 1) / len(ordered) for k in range(len(ordered))], label=name, where="post")
            shown = True
    axes.set_xscale("log")
    axes.set_ylabel("share of those who should know")
    return shown and _ends(axes, "Real processes on one machine", "seconds after the signal")
