"""Who knew what when, as a raster: a row a host, a column a moment, and in it whether the host was up and how many of
those who should know thought it dead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scenarios.report_run import Told
from scenarios.truth import Standing

COLUMNS = 960
MOST_ROWS = 440
"""Beyond it, neighbouring hosts share a row, which shows the worst of them."""
MOST_NAMED = 40
"""Hosts that all have rows; of more, only those of which there is something to tell."""
SHADES = 8
OUTSIDE, ALIVE, KNOWN, UNKNOWN = 0, 1, 2, 2 + SHADES
"""What a raster holds: no member; up and thought so; down, and by so many eighths known; down, and known to nobody."""
WRONG = UNKNOWN + 1
"""Up, and by so many eighths thought dead."""
VALUES = WRONG + SHADES


@dataclass(frozen=True, slots=True)
class Raster:
    rows: tuple[bytes, ...]
    hosts: tuple[tuple[str, ...], ...]
    """Of each row."""
    quiet: int
    """Hosts that were up all the time, and thought so by all; they have no rows if there are many."""


def raster(told: Told, columns: int = COLUMNS) -> Raster:
    minds = _Minds(told, columns)
    rows = minds.rows()
    few = len(rows) <= MOST_NAMED
    shown = {host: row for host, row in rows.items() if few or row.count(ALIVE) < columns}
    quiet = len(rows) - len(shown)
    together = -(-len(shown) // MOST_ROWS) or 1
    names = list(shown)
    parts = [names[at : at + together] for at in range(0, len(names), together)]
    merged = [bytes(map(max, zip(*(shown[name] for name in part), strict=True))) for part in parts]
    return Raster(tuple(merged), tuple(map(tuple, parts)), quiet)


class _Minds:
    """What all think, moved through time."""

    def __init__(self, told: Told, columns: int) -> None:
        self._told = told
        self._columns = columns
        self._state = {site.name: site.state for site in told.before}
        self._meshes = {
            one.name: [told.meshes[place] for place in sorted({*one.meshes, *other.meshes})]
            for one, other in zip(told.before, told.after, strict=True)
        }
        self._running: Counter[str] = Counter()
        """By mesh: how many think."""
        self._thinks: dict[str, set[tuple[str, str]]] = defaultdict(set)
        """By host: whom it thinks dead, in which mesh."""
        self._dead: Counter[str] = Counter()
        """By host: how many who are up think it dead, in each of its meshes."""
        self._drawn: dict[str, bytearray] = {}
        self._since: dict[str, tuple[int, int]] = {}
        """By host: what it has been shown as, and since which column."""
        for host in self._state:
            if self._up(host):
                self._running.update(self._meshes[host])
        off = [host for host, state in self._state.items() if state == Standing.OFF.value]
        for host in self._state if off else ():
            if self._up(host):
                self._believe(host, {(one, mesh) for one in off for mesh in self._shared(host, one)}, set())

    def rows(self) -> dict[str, bytes]:
        """By host, in order."""
        told = self._told
        moments = sorted(
            [(at, 0, place) for place, (at, *_) in enumerate(told.turns)]
            + [(at, 1, place) for place, (at, *_) in enumerate(told.changes)]
        )
        for host in told.hosts:
            self._drawn[host] = bytearray(self._columns)
            self._since[host] = (self._value(host), 0)
        column, touched = 0, set[str]()
        for at, kind, place in moments:
            now = min(self._columns - 1, int(at / told.span * self._columns))
            if now > column:
                self._draw(touched, column)
                touched.clear()
                column = now
            touched.update(self._turn(place) if kind == 0 else self._change(place))
        self._draw(touched, column)
        for host, (value, since) in self._since.items():
            self._drawn[host][since:] = bytes([value]) * (self._columns - since)
        return {host: bytes(row) for host, row in self._drawn.items()}

    def _up(self, host: str) -> bool:
        return self._state[host] == Standing.UP.value

    def _shared(self, one: str, other: str) -> list[str]:
        return [mesh for mesh in self._meshes[one] if mesh in self._meshes[other]]

    def _believe(self, host: str, gone: set[tuple[str, str]], back: set[tuple[str, str]]) -> None:
        known = self._thinks[host]
        for one in gone - known:
            self._dead[one[0]] += self._up(host)
        for one in back & known:
            self._dead[one[0]] -= self._up(host)
        known |= gone
        known -= back

    def _change(self, place: int) -> set[str]:
        _, host, mesh, gone, back = self._told.changes[place]
        self._believe(host, {(one, mesh) for one in gone}, {(one, mesh) for one in back})
        return {*gone, *back}

    def _turn(self, place: int) -> set[str]:
        _, host, state = self._told.turns[place]
        was_up = self._up(host)
        known = self._thinks[host]
        if was_up:
            self._dead.subtract(one for one, _ in known)
            self._running.subtract(self._meshes[host])
        if self._state[host] in (Standing.DOWN.value, Standing.OFF.value):
            known.clear()  # Whoever starts anew has yet to think anything.
        self._state[host] = state
        if self._up(host):
            self._dead.update(one for one, _ in known)
            self._running.update(self._meshes[host])
        return {host, *(one for one, count in self._dead.items() if count > 0), *(one for one, _ in known)}

    def _value(self, host: str) -> int:
        state = self._state[host]
        if state not in (kind.value for kind in Standing):
            return OUTSIDE
        able = sum(self._running[mesh] for mesh in self._meshes[host]) - self._up(host) * len(self._meshes[host])
        count = self._dead[host]
        shade = min(SHADES - 1, count * SHADES // (able + 1)) if able > 0 else 0
        if count >= able > 0:
            shade = SHADES - 1
        if self._up(host):
            return WRONG + shade if count > 0 else ALIVE
        return KNOWN + shade if count > 0 else UNKNOWN

    def _draw(self, hosts: set[str], column: int) -> None:
        for host in hosts:
            value, since = self._since[host]
            new = self._value(host)
            if new != value:
                self._drawn[host][since:column] = bytes([value]) * (column - since)
                self._since[host] = (new, column)


def delays(told: Told) -> list[tuple[str, int, Sequence[tuple[float, float]]]]:
    """How fast it was known that somebody is gone, event by event: its name, how many have to learn of how many in
    all, and the curve of seconds and shares of these."""
    found: list[tuple[str, int, Sequence[tuple[float, float]]]] = []
    for event in told.events:
        if event.verb not in ("stop", "kill", "power-off") or not event.hosts:
            continue
        states = _states_at(told, event.until)
        subjects = {host for host in event.hosts if states[host] in (Standing.DOWN.value, Standing.OFF.value)}
        end = min((other.at for other in told.events if other.at > event.until and other.verb == "start"
                   and subjects & set(other.hosts)), default=told.seconds)  # fmt: skip
        meshes = {site.name: {told.meshes[place] for place in site.meshes} for site in told.before}
        up = Counter(mesh for host in told.hosts if states[host] == Standing.UP.value for mesh in meshes[host])
        pairs = sum(up[mesh] for host in subjects for mesh in meshes[host])
        times: dict[tuple[str, str, str], float] = {}
        for at, by, mesh, gone, _ in told.changes:
            if event.at <= at < end and states[by] == Standing.UP.value:
                for host in subjects.intersection(gone):
                    times.setdefault((host, by, mesh), at - event.at)
        if pairs and times:
            found.append((event.name, pairs, _curve(sorted(times.values()), pairs)))
    return found


def _curve(times: Sequence[float], pairs: int, points: int = 200) -> list[tuple[float, float]]:
    step = max(1, len(times) // points)
    places = [*range(0, len(times), step), len(times) - 1]
    return [(times[place], min(1.0, (place + 1) / pairs)) for place in places]


def _states_at(told: Told, at: float) -> Mapping[str, str]:
    states = {site.name: site.state for site in told.before}
    states.update((host, state) for when, host, state in told.turns if when <= at)
    return states
