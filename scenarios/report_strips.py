"""Pictures along one axis of time, all with the same one, so that they read as one: what was done, what had to hold,
and who knew of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log10

from scenarios import report_minds as minds
from scenarios.markup import Colour, picture, seconds, tag, words
from scenarios.report_run import Happened, Judged, Told

WIDE, LEFT, LONG = 1100, 122, 960
"""Of every picture, in its own units: the whole, where time begins, and how long all of it is."""
LANE = 22
MOST_LANES = 24
KINDS = {
    "start": "mend", "resume": "mend", "heal": "mend", "join": "mend", "advertise": "mend",
    "invite": "else", "traffic": "else", "leave": "else",
}  # fmt: skip
"""Of verbs; all others are faults."""
LIGHT: tuple[Colour, ...] = (
    (0, 0, 0, 0), (226, 236, 233, 255),
    *((round(158 - 150 * k / 7), round(202 - 154 * k / 7), round(235 - 120 * k / 7), 255) for k in range(8)),
    (204, 121, 167, 255),
    *((round(250 - 55 * k / 7), round(205 - 143 * k / 7), round(120 - 115 * k / 7), 255) for k in range(8)),
)  # fmt: skip
DARK: tuple[Colour, ...] = (
    (0, 0, 0, 0), (29, 49, 50, 255),
    *((round(38 + 103 * k / 7), round(78 + 126 * k / 7), round(118 + 132 * k / 7), 255) for k in range(8)),
    (226, 121, 178, 255),
    *((round(110 + 145 * k / 7), round(62 + 100 * k / 7), round(24 + 30 * k / 7), 255) for k in range(8)),
)  # fmt: skip


def place(told: Told, at: float) -> float:
    return LEFT + LONG * min(1.0, max(0.0, at / told.span))


def strip(told: Told, name: str, height: float, inside: str, title: str) -> str:
    """A picture with its axis of time below, and the moments at which something was done."""
    lines = "".join(
        tag("line", x1=place(told, at), x2=place(told, at), y1=0, y2=height, class_="moment")
        for at in sorted({event.at for event in told.events})[:200]
    )
    return tag(
        "svg",
        tag("title", words(title)) + lines + inside + _axis(told, height),
        viewBox=f"0 0 {WIDE} {height + 22:g}", role="img", class_=f"strip {name}", tabindex=0,
    )  # fmt: skip


def steps(largest: float, wanted: int) -> list[float]:
    """Round numbers from 0 to the largest, about so many."""
    rough = max(largest, 1e-9) / wanted
    power = 10 ** floor(log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.99)
    return [step * k for k in range(int(largest / step + 1e-6) + 1)]


def _axis(told: Told, height: float) -> str:
    ticks = [at for at in _times(told.span)]
    return tag("line", x1=LEFT, x2=LEFT + LONG, y1=height, y2=height, class_="axis") + "".join(
        tag("line", x1=place(told, at), x2=place(told, at), y1=height, y2=height + 4, class_="axis")
        + tag("text", words(seconds(at)), x=place(told, at), y=height + 16, class_="tick middle")
        for at in ticks
    )


def _times(span: float) -> list[float]:
    if span <= 300:
        return steps(span, 9)
    step = next(k for k in (60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800) if span / k <= 10 or k == 604800)
    return [step * k for k in range(int(span / step) + 1)]


# What was done.


def faults(told: Told) -> str:
    lanes: list[float] = []
    drawn = []
    left_out = 0
    for event in told.events:
        text = _said(event, len(told.hosts))
        begin, end = place(told, event.at), place(told, event.until)
        wide = 14 + 6.7 * len(text)
        free = end + wide if end + wide < WIDE else max(end, begin + 8)
        lane = next(
            (number for number, taken in enumerate(lanes) if taken + 14 < _starts(begin, end, wide)), len(lanes)
        )
        if lane >= MOST_LANES:
            left_out += 1
            continue
        lanes[lane : lane + 1] = [free]
        drawn.append(_event(event, begin, end, wide, lane, text))
    more = tag("text", f"and {left_out} more", x=LEFT, y=LANE * len(lanes) + 14, class_="tick") if left_out else ""
    height = LANE * max(1, len(lanes)) + (LANE if left_out else 4)
    return strip(told, "faults", height, "".join(drawn) + more, "What was done, and when")


def _starts(begin: float, end: float, wide: float) -> float:
    return begin - 8 if end + wide < WIDE else begin - wide


def _said(event: Happened, all_hosts: int) -> str:
    count = len(event.hosts)
    some = f"{count} hosts" if count < all_hosts else "everyone"
    whom = event.hosts[0] if count == 1 else some if count else ""
    if event.ends:
        whom = f"ends for {whom}" if whom else "ends"
    named = f"{event.name}: " if event.name != event.verb and not event.name.startswith(f"{event.verb}-") else ""
    return f"{named}{event.verb} {whom}".strip() if event.verb != "heal" else f"{named}heal"


def _event(event: Happened, begin: float, end: float, wide: float, lane: int, text: str) -> str:
    middle = lane * LANE + LANE / 2 + 2
    kind = "mend" if event.ends else KINDS.get(event.verb, "fault")
    bar = (
        tag("rect", x=begin, y=middle - 4, width=end - begin, height=8, rx=4, class_=f"bar {kind}")
        if end > begin + 1
        else ""
    )
    shape = (
        tag("circle", cx=begin, cy=middle, r=5.5, class_=f"mark {kind}")
        if kind == "mend"
        else tag("path", d=f"M{begin:.1f} {middle - 7:g}l7 7l-7 7l-7-7z", class_=f"mark {kind}")
    )
    right = end + wide < WIDE
    label = tag(
        "text", words(text), x=(max(end, begin + 4) + 8) if right else begin - 11, y=middle + 4.2,
        class_="label" if right else "label end",
    )  # fmt: skip
    named = ", ".join(event.hosts[:12]) + (f" and {len(event.hosts) - 12} more" if len(event.hosts) > 12 else "")
    return tag("g", tag("title", words(f"{seconds(event.at)}: {text}; {named}")) + bar + shape + label)


# What had to hold.


def waits(told: Told) -> str:
    """Of what should come about: how long it might take, and how long it took."""
    shown = [one for one in told.verdicts if one.when == "eventually"][:MOST_LANES]
    if not shown:
        return ""
    rows = "".join(_wait(told, one, number) for number, one in enumerate(shown))
    return strip(told, "waits", LANE * len(shown) + 4, rows, "What had to come about: how long it might take, and took")


def _wait(told: Told, one: Judged, lane: int) -> str:
    middle = lane * LANE + LANE / 2 + 2
    begin, end, limit = place(told, one.since), place(told, one.at), place(told, one.since + one.within)
    kind = "good" if one.held else "bad"
    text = one.about.removeprefix("eventually: ").partition(", within")[0]
    took = f"{seconds(max(0.0, one.at - one.since))} of {seconds(one.within)}"
    inside = tag("title", words(f"{one.about}: {one.what}"))
    inside += tag("rect", x=begin, y=middle - 4, width=max(2.0, limit - begin), height=8, rx=4, class_="window")
    inside += tag("rect", x=begin, y=middle - 4, width=max(4.0, end - begin), height=8, rx=4, class_=f"bar {kind}")
    sign, label = "✓" if one.held else "✗", f"{text}: {took}"
    after = max(end, limit) + 10
    right = after + 7 * len(label) + 16 < WIDE
    said = tag("tspan", sign, class_=f"sign {kind}") + words(f" {label}")
    x, side = (after, "label") if right else (begin - 8, "label end")
    return tag("g", inside + tag("text", said, x=x, y=middle + 4.2, class_=side))


# Who knew what.


def knowledge(told: Told) -> str:
    seen = minds.raster(told)
    if not seen.rows:
        return ""
    least = 14.0 if len(seen.rows) <= minds.MOST_NAMED else 1.0
    high = max(least, min(18.0, 420 / len(seen.rows)))
    height = high * len(seen.rows)
    images = "".join(
        tag("image", href=picture(seen.rows, palette), x=LEFT, y=0, width=LONG, height=height,
            preserveAspectRatio="none", class_=f"raster {scheme}")
        for scheme, palette in (("light", LIGHT), ("dark", DARK))
    )  # fmt: skip
    seams = "".join(
        tag("line", x1=LEFT, x2=LEFT + LONG, y1=high * row, y2=high * row, class_="seam")
        for row in range(1, len(seen.rows))
        if high >= 6
    )
    if high >= 9:
        names = "".join(
            tag("text", words(row[0]), x=LEFT - 8, y=high * (number + 0.5) + 4, class_="tick end")
            for number, row in enumerate(seen.hosts)
        )
    else:
        names = _groups(told, seen.hosts, high)
    title = "Who was up, and who was thought dead, by how many of those who should know"
    return strip(told, "minds", height, images + seams + names, title)


def _groups(told: Told, rows: Sequence[Iterable[str]], high: float) -> str:
    """A bracket beside the rows of each group, with its name where there is room."""
    groups = {site.name: site.group for site in told.before}
    named = [groups[next(iter(row))] for row in rows]
    found, begin = "", 0
    for number in range(1, len(named) + 1):
        if number == len(named) or named[number] != named[begin]:
            top, bottom = high * begin + 1, high * number - 1
            found += tag("path", d=f"M{LEFT - 4} {top:.1f}h-5V{bottom:.1f}h5", class_="bracket")
            if bottom - top >= 9:
                found += tag("text", words(named[begin]), x=LEFT - 15, y=(top + bottom) / 2 + 4, class_="tick end")
            begin = number
    return found


def quiet_hosts(told: Told) -> int:
    return minds.raster(told, 240).quiet
