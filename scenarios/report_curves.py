"""What a report counts over time: who leads and how many are thought alive, what is sent, and how fast news spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor

from scenarios.markup import number, seconds, tag, volume, words
from scenarios.report_minds import delays
from scenarios.report_run import Led, Told
from scenarios.report_strips import LEFT, LONG, WIDE, place, steps, strip

RIBBON = 24
PLOT = 96
MOST_MESHES = 6
MOST_CURVES = 6
Point = tuple[float, float]


def leaders(told: Told) -> str:
    """A ribbon for each mesh, as long as one leads."""
    ribbons = "".join(
        _ribbon(told, mesh, row) for row, mesh in enumerate(told.meshes[:MOST_MESHES])
    )  # fmt: skip
    height = RIBBON * min(MOST_MESHES, len(told.meshes)) + 4
    return strip(told, "leaders", height, ribbons, "Whom most members follow, mesh by mesh")


def _ribbon(told: Told, mesh: str, row: int) -> str:
    colours: dict[str, int] = {}
    found = tag("text", words(mesh), x=LEFT - 8, y=RIBBON * row + 17, class_="tick end")
    for leader, begin, end in _reigns(told, row):
        left, right = place(told, begin), place(told, end)
        name = leader or "nobody"
        kind = f"reign r{colours.setdefault(name, len(colours)) % 6}" if leader else "reign none"
        inside = tag("title", words(f"{mesh}: {name} from {seconds(begin)} to {seconds(end)}"))
        inside += tag("rect", x=left, y=RIBBON * row + 3, width=max(1.0, right - left), height=RIBBON - 5, rx=4,
                      class_=kind)  # fmt: skip
        if right - left > 7 * len(name) + 8:
            inside += tag("text", words(name), x=left + 8, y=RIBBON * row + 17.5, class_="reigns")
        found += tag("g", inside)
    return found


def _reigns(told: Told, mesh: int) -> Iterable[tuple[str | None, float, float]]:
    since, leader = 0.0, told.samples[0].meshes[mesh].leader
    for sample in told.samples[1:]:
        if sample.meshes[mesh].leader != leader:
            yield leader, since, sample.at
            since, leader = sample.at, sample.meshes[mesh].leader
    yield leader, since, told.span


def alive(told: Told) -> str:
    """How many are up, and thought alive by those who are."""

    def total(of: Callable[[Led], int]) -> list[Point]:
        return [(sample.at, float(sum(map(of, sample.meshes)))) for sample in told.samples]

    up, least, most = total(lambda led: led.running), total(lambda led: led.least), total(lambda led: led.most)
    values = [value for line in (up, least, most) for _, value in line]
    low, high = min(values), max(values)
    # A mesh that loses one of a thousand shows it.
    bottom = max(0.0, low - max(1.0, (high - low) * 0.25)) if low > high / 2 else 0.0
    scale = _Scale(told, bottom, high + max(0.5, (high - bottom) * 0.06))
    band = scale.path(most) + "L" + scale.path(list(reversed(least)))[1:] + "Z"
    inside = scale.rules(lambda value: number(value))
    inside += tag("path", d=band, class_="band") + tag(
        "path", d=scale.path(total(lambda led: led.middle)), class_="thought"
    )
    inside += tag("path", d=scale.stairs(up), class_="up")
    return strip(told, "alive", PLOT, inside, "How many members were up, and how many were thought alive")


def traffic(told: Told) -> str:
    """Bytes and messages a second, of all hosts and of one."""
    lasted = [(one.at - before.at, one) for before, one in zip(told.samples, told.samples[1:], strict=False)]
    lasted = [(took, one) for took, one in lasted if took > 0]
    if not lasted:
        return ""
    hosts = max(1, len(told.hosts))
    volumes = [(one.at, one.volume / took) for took, one in lasted]
    counts = [(one.at, one.messages / took) for took, one in lasted]
    busiest = [(one.at, float(one.busiest)) for _, one in lasted]
    return "".join((
        _amounts(told, "volume", volumes, volume, f"bytes a second of all {hosts} hosts"),
        _amounts(told, "each", [(at, value / hosts) for at, value in volumes], volume,
                 "bytes a second of one host, and of the one that sent most", busiest),
        _amounts(told, "count", counts, lambda value: f"{value:,.0f}", "messages a second of all hosts"),
    ))  # fmt: skip


def _amounts(
    told: Told, name: str, line: Sequence[Point], say: Callable[[float], str], what: str, other: Sequence[Point] = ()
) -> str:
    most = max(value for _, value in (*line, *other))
    scale = _Scale(told, 0.0, max(1.0, most * 1.08))
    area = f"M{place(told, line[0][0]):.1f} {PLOT}L{scale.path(line)[1:]}V{PLOT}Z"
    inside = scale.rules(say) + tag("path", d=area, class_="area") + tag("path", d=scale.path(line), class_="sent")
    if other:
        inside += tag("path", d=scale.path(other), class_="busiest")
    return tag("figcaption", words(what)) + strip(told, name, PLOT, inside, what)


class _Scale:
    """Values against time."""

    def __init__(self, told: Told, low: float, high: float) -> None:
        self._told, self._low, self._high = told, low, high

    def y(self, value: float) -> float:
        return PLOT * (1 - (value - self._low) / (self._high - self._low))

    def path(self, points: Iterable[Point]) -> str:
        return "M" + "L".join(f"{place(self._told, at):.1f} {self.y(value):.1f}" for at, value in points)

    def stairs(self, points: Sequence[Point]) -> str:
        first, *rest = points
        begun = f"M{place(self._told, first[0]):.1f} {self.y(first[1]):.1f}"
        return begun + "".join(f"H{place(self._told, at):.1f}V{self.y(value):.1f}" for at, value in rest)

    def rules(self, say: Callable[[float], str]) -> str:
        step = steps(self._high - self._low, 4)[1]
        begin = ceil(self._low / step)
        values = [step * k for k in range(begin, floor(self._high / step) + 1) if self.y(step * k) > 6]
        return "".join(
            tag("line", x1=LEFT, x2=LEFT + LONG, y1=self.y(value), y2=self.y(value), class_="rule")
            + tag("text", words(say(value)), x=LEFT - 8, y=self.y(value) + 4, class_="tick end")
            for value in values
        )


def spread(told: Told) -> str:
    """Of each death: the share of those who should know that do, by seconds since."""
    found = delays(told)[:MOST_CURVES]
    if not found:
        return ""
    longest = max(curve[-1][0] for _, _, curve in found) * 1.08
    high = 170

    def x(at: float) -> float:
        return LEFT + (LONG - 150) * at / longest

    def y(share: float) -> float:
        return high * (1 - share) + 8

    inside = "".join(
        tag("line", x1=LEFT, x2=LEFT + LONG - 150, y1=y(share), y2=y(share), class_="rule")
        + tag("text", f"{share:.0%}", x=LEFT - 8, y=y(share) + 4, class_="tick end")
        for share in (0.0, 0.5, 1.0)
    )
    inside += "".join(
        tag("text", f"{number(at)} s", x=x(at), y=high + 26, class_="tick middle") for at in steps(longest, 8)
    )
    for place_, (name, pairs, curve) in enumerate(found):
        stairs = f"M{x(0):.1f} {y(0):.1f}" + "".join(f"H{x(at):.1f}V{y(share):.1f}" for at, share in curve)
        whole = curve[-1][0] if curve[-1][1] >= 1 else None
        half = next((at for at, share in curve if share >= 0.5), None)
        said = f"{name}: half knew after {number(half)} s" if half is not None else f"{name}: half never knew"
        said += f", all after {number(whole)} s" if whole is not None else f", {curve[-1][1]:.0%} in the end"
        inside += tag(
            "path", tag("title", words(f"{said} ({pairs} had to learn of it)")), d=stairs, class_=f"curve c{place_}"
        )
        inside += tag("text", words(name), x=LEFT + LONG - 138, y=22 + 18 * place_, class_=f"key c{place_}")
    return tag(
        "svg", tag("title", "How fast it was known who is gone") + inside,
        viewBox=f"0 0 {WIDE} {high + 34}", role="img", class_="spread",
    )  # fmt: skip


def spread_words(told: Told) -> list[str]:
    said = []
    for name, pairs, curve in delays(told)[:MOST_CURVES]:
        half = next((at for at, share in curve if share >= 0.5), None)
        last = f"the last after {number(curve[-1][0])} s" if curve[-1][1] >= 1 else f"{curve[-1][1]:.0%} in the end"
        middle = f"half of those who had to know did after {number(half)} s, " if half is not None else ""
        said.append(f"{name}: {middle}{last}" + (f" ({pairs:,} had to)" if pairs > 1 else ""))
    return said
