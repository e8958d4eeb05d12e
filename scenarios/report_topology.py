"""The meshes as a picture, before and after: peers within, clients around them with whom they hang on, bridges between.

Where everybody stands follows from the script alone, so that both pictures can be laid side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import atan2, cos, pi, sin, sqrt

from scenarios.markup import tag, words
from scenarios.report_run import Site, Told

WIDE, HIGH = 540, 400
MOST_NAMED = 400
"""Hosts that are elements of their own, which tell their names; of more, those who are well are one path."""
RING = 30
"""Peers that stand on a ring; more fill the disc, by the golden angle."""
MOST_CHORDS = 24
GOLDEN = pi * (3 - sqrt(5))
Spot = tuple[float, float]
WELL, ENDED = ("up", "outside"), ("off", "daemon down")


class Layout:
    def __init__(self, told: Told) -> None:
        self.told = told
        self.spots: dict[str, Spot] = {}
        self.discs: dict[int, tuple[float, float, float]] = {}
        """By mesh: where its middle is, and its radius."""
        homes: dict[int, list[Site]] = defaultdict(list)
        bridges: list[Site] = []
        nowhere: list[Site] = []
        for before, after in zip(told.before, told.after, strict=True):
            meshes = before.meshes or after.meshes
            if len(meshes) > 1:
                bridges.append(before)
            elif meshes:
                homes[meshes[0]].append(
                    Site(before.name, before.group, before.role, "", meshes, before.via or after.via)
                )
            else:
                nowhere.append(before)
        self.dot = max(1.1, min(9.0, 105 / sqrt(max(1, len(told.hosts)))))
        self._place_discs({mesh: len(homes[mesh]) for mesh in range(len(told.meshes))})
        for mesh, sites in homes.items():
            self._fill(self.discs[mesh], sites)
        self._place_bridges(bridges)
        for number, site in enumerate(nowhere):
            self.spots[site.name] = (18 + number % 60 * 8.5, HIGH - 12 - number // 60 * 8)

    def _place_discs(self, sizes: Mapping[int, int]) -> None:
        count, middle = len(sizes), (WIDE / 2, HIGH / 2)
        far = 0.0 if count == 1 else 132.0 if count == 2 else 112.0
        room = 172.0 if count == 1 else min(118.0, far * sin(pi / count) * 0.86)
        largest = max(1, *sizes.values()) if sizes else 1
        for mesh, size in sizes.items():
            # Two lie side by side, more in a circle.
            angle = pi + 2 * pi * mesh / count if count == 2 else -pi / 2 + 2 * pi * mesh / count
            radius = room * max(0.55, sqrt(size / largest))
            wider = 1.25 if count > 2 else 1.0
            self.discs[mesh] = (middle[0] + far * wider * cos(angle), middle[1] + far * sin(angle), radius)

    def _fill(self, disc: tuple[float, float, float], sites: Sequence[Site]) -> None:
        x, y, radius = disc
        peers = [site for site in sites if site.role != "client"]
        clients = [site for site in sites if site.role == "client"]
        inner = radius * (0.66 if clients else 0.8)
        for number, site in enumerate(peers):
            if len(peers) <= RING:
                angle, far = -pi / 2 + 2 * pi * number / len(peers), inner if len(peers) > 1 else 0.0
            else:
                angle, far = GOLDEN * number, (inner + radius * 0.08) * sqrt((number + 0.5) / len(peers))
            self.spots[site.name] = (x + far * cos(angle), y + far * sin(angle))

        def turn(site: Site) -> float:
            spot = self.spots.get(site.via or "")
            return atan2(spot[1] - y, spot[0] - x) if spot is not None else pi

        rings = 1 + len(clients) // 160
        ordered = sorted(clients, key=turn)
        # As near to its peer as there is room.
        free = -10.0
        gap = 2.1 * self.dot / radius * 0.8
        for number, site in enumerate(ordered):
            even = -pi + 2 * pi * (number + 0.5) / len(ordered)
            free = angle = even if len(ordered) > 40 else max(free + gap, turn(site))
            far = radius * (0.9 + 0.06 * (number % rings) / rings)
            self.spots[site.name] = (x + far * cos(angle), y + far * sin(angle))

    def _place_bridges(self, bridges: Iterable[Site]) -> None:
        between: dict[tuple[int, ...], list[Site]] = defaultdict(list)
        for site in bridges:
            between[site.meshes].append(site)
        for meshes, sites in between.items():
            discs = [self.discs[mesh] for mesh in meshes]
            weights = [1 / disc[2] for disc in discs]
            x = sum(disc[0] * weight for disc, weight in zip(discs, weights, strict=True)) / sum(weights)
            y = sum(disc[1] * weight for disc, weight in zip(discs, weights, strict=True)) / sum(weights)
            along = atan2(discs[1][1] - discs[0][1], discs[1][0] - discs[0][0]) + pi / 2
            step = min(26.0, 240 / len(sites))
            for number, site in enumerate(sites):
                aside = (number - (len(sites) - 1) / 2) * step
                self.spots[site.name] = (x + aside * cos(along), y + aside * sin(along))


def worst(told: Told) -> tuple[float, list[Site]] | None:
    """When most were down, just before the first of them was back, and what all were then. None where that is how it
    began or ended. Which peer a client hung on is taken from the beginning, and from nowhere if that peer was down."""
    state = {site.name: site.state for site in told.before}

    def down() -> int:
        return sum(one in ENDED for one in state.values())

    most = max(down(), sum(site.state in ENDED for site in told.after))
    found: tuple[float, dict[str, str]] | None = None
    lasts = False
    for at, host, becomes in told.turns:
        if lasts and state[host] in ENDED and becomes not in ENDED:
            found, lasts = (at, dict(state)), False
        state[host] = becomes
        if becomes in ENDED and down() > most:
            most, lasts = down(), True
    if lasts:
        found = (told.seconds, dict(state))
    if found is None:
        return None
    at, then = found
    return at, [
        replace(
            before,
            state=then[before.name],
            meshes=() if then[before.name] == "outside" else before.meshes or after.meshes,
            via=before.via if then.get(before.via or "") not in ENDED else None,
        )
        for before, after in zip(told.before, told.after, strict=True)
    ]


def topology(layout: Layout, sites: Sequence[Site], leaders: Iterable[str | None], title: str) -> str:
    inside = "".join(_disc(layout, mesh, sites) for mesh in layout.discs)
    inside += _links(layout, sites)
    leading = {leader for leader in leaders if leader is not None}
    special = [site for site in sites if site.state not in WELL or len(site.meshes) > 1 or site.name in leading]
    plain = [site for site in sites if site.state in WELL and len(site.meshes) < 2 and site.name not in leading]
    if len(sites) <= MOST_NAMED:
        special = plain + special
    else:
        for role, kind in (("peer", "peer"), ("client", "client")):
            spots = "".join("M{:.1f} {:.1f}h0".format(*layout.spots[site.name]) for site in plain if site.role == role)
            wide = layout.dot * (2 if role == "peer" else 1.5)
            inside += tag("path", d=spots, class_=f"many {kind}", stroke_width=wide) if spots else ""
    inside += "".join(_host(layout, site, site.name in leading) for site in special)
    return tag("svg", tag("title", words(title)) + inside, viewBox=f"0 0 {WIDE} {HIGH}", role="img", class_="topology")


def _disc(layout: Layout, mesh: int, sites: Sequence[Site]) -> str:
    x, y, radius = layout.discs[mesh]
    members = sum(mesh in site.meshes for site in sites)
    found = tag("circle", cx=x, cy=y, r=radius, class_="disc")
    peers = [site for site in sites if site.meshes == (mesh,) and site.role != "client" and site.state == "up"]
    if len(peers) <= MOST_CHORDS:
        spots = [layout.spots[site.name] for site in peers]
        chords = "".join(
            f"M{one[0]:.1f} {one[1]:.1f}L{other[0]:.1f} {other[1]:.1f}"
            for place, one in enumerate(spots) for other in spots[:place]
        )  # fmt: skip
        found += tag("path", d=chords, class_="chords") if chords else ""
    return found + tag("text", words(f"{layout.told.meshes[mesh]} · {members}"), x=x, y=y - radius - 8, class_="mesh")


def _links(layout: Layout, sites: Sequence[Site]) -> str:
    spots = layout.spots
    hung = "".join(
        "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*spots[site.name], *spots[site.via])
        for site in sites if site.via in spots and site.state == "up"
    )  # fmt: skip
    spans = ""
    for site in sites:
        if len(site.meshes) > 1 and site.state == "up":
            x, y = spots[site.name]
            for mesh in site.meshes:
                to_x, to_y, radius = layout.discs[mesh]
                far = max(1.0, sqrt((to_x - x) ** 2 + (to_y - y) ** 2))
                part = max(0.0, (far - radius * 0.82) / far) if far > radius else 0.35
                spans += f"M{x:.1f} {y:.1f}L{x + (to_x - x) * part:.1f} {y + (to_y - y) * part:.1f}"
    return (tag("path", d=hung, class_="hung") if hung else "") + (
        tag("path", d=spans, class_="spans") if spans else ""
    )


def _host(layout: Layout, site: Site, leads: bool) -> str:
    x, y = layout.spots[site.name]
    bridges, ended = len(site.meshes) > 1, site.state in ENDED
    size = max(layout.dot * (0.75 if site.role == "client" else 1.0), 3.4 if ended or bridges or leads else 0.0)
    kind = "bridge" if bridges else "outside" if not site.meshes else site.role
    state = "dead" if ended else "paused" if site.state == "paused" else "well"
    said = f"{site.name}: {site.role}, {'a bridge, ' if bridges else ''}{site.state}{', leads' if leads else ''}"
    inside = tag("title", words(f"{said}{f', on {site.via}' if site.via else ''}"))
    if leads:
        inside += tag("circle", cx=x, cy=y, r=size + 4, class_="crown")
    if bridges:
        wide = size * 1.35
        edge = f"l{wide:.1f} {wide:.1f}l{-wide:.1f} {wide:.1f}l{-wide:.1f} {-wide:.1f}z"
        inside += tag("path", d=f"M{x:.1f} {y - wide:.1f}{edge}", class_=f"host {kind} {state}")
    elif site.role == "client":
        inside += tag("rect", x=x - size, y=y - size, width=2 * size, height=2 * size, rx=size * 0.35,
                      class_=f"host {kind} {state}")  # fmt: skip
    else:
        inside += tag("circle", cx=x, cy=y, r=size, class_=f"host {kind} {state}")
    if ended:
        arm = size * 0.62
        inside += tag("path", d=f"M{x - arm:.1f} {y - arm:.1f}l{2 * arm:.1f} {2 * arm:.1f}m0 {-2 * arm:.1f}"
                      f"l{-2 * arm:.1f} {2 * arm:.1f}", class_="cross")  # fmt: skip
    return tag("g", inside)
