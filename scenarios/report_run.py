"""A run's record as the report sees it: values with names, their form checked once, and the script read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scenarios import actions as a
from scenarios.script import Event, Script
from scenarios.script_reading import parse
from smeg.errors import LocalError


@dataclass(frozen=True, slots=True)
class Judged:
    line: int
    about: str
    held: bool
    at: float
    what: str
    since: float
    within: float
    """seconds that it might take, with what patience adds; 0 where nothing was said."""

    @property
    def when(self) -> str:
        """`always`, `eventually`, `at-end`; `run` where it could not go on; nothing for an event that could not be."""
        word, colon, _ = self.about.partition(": ")
        return word if colon and word in ("always", "eventually", "at-end", "run") else ""


@dataclass(frozen=True, slots=True)
class Happened:
    at: float
    until: float
    """When the last of it was done or undone; its beginning for what is over at once."""
    name: str
    verb: str
    hosts: tuple[str, ...]
    ends: bool
    """Whether it only ends others of its kind."""


@dataclass(frozen=True, slots=True)
class Led:
    """One mesh in a sample."""

    leader: str | None
    votes: int
    members: int
    running: int
    least: int
    middle: int
    most: int
    """How many members are thought alive, by those who are up."""


@dataclass(frozen=True, slots=True)
class Sample:
    at: float
    messages: int
    """Since the sample before."""
    volume: int
    """bytes, likewise."""
    busiest: int
    """bytes a second of the host that sent most."""
    meshes: tuple[Led, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """A host in a topology."""

    name: str
    group: str
    role: str
    state: str
    meshes: tuple[int, ...]
    via: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """All that a report tells of."""

    script: Script
    text: str
    source: str
    world: str
    nodes: int
    seed: int
    patience: float
    seconds: float
    trace: str
    verdicts: tuple[Judged, ...]
    events: tuple[Happened, ...]
    limits: tuple[tuple[int, str, str], ...]
    noticed: Mapping[str, int]
    meshes: tuple[str, ...]
    hosts: tuple[str, ...]
    before: tuple[Site, ...]
    after: tuple[Site, ...]
    turns: tuple[tuple[float, str, str], ...]
    changes: tuple[tuple[float, str, str, tuple[str, ...], tuple[str, ...]], ...]
    left_out: int
    samples: tuple[Sample, ...]

    @property
    def span(self) -> float:
        """seconds, more than none."""
        return max(self.seconds, 1.0)


def told(record: Mapping[str, Any]) -> Told:
    """Raises `LocalError` for what is no record of a run, or one of a version that told no story."""
    try:
        return _told(record)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise LocalError("bad-record", f"no report can be made of it: {error!r}", "replay it with --report") from error


def _told(record: Mapping[str, Any]) -> Told:
    script = parse(record["script"], record["source"])
    story, seen = record["story"], record["seen"]
    hosts = tuple(record["hosts"])
    groups = {name: (group.name, group.role) for name, group in script.names(record["nodes"])}
    return Told(
        script=script,
        text=record["script"],
        source=record["source"],
        world=record["world"],
        nodes=int(record["nodes"]),
        seed=int(record["seed"]),
        patience=float(record["patience"]),
        seconds=float(record["seconds"]),
        trace=record["trace"],
        verdicts=tuple(_judged(one, script, float(record["patience"])) for one in record["verdicts"]),
        events=_events(record, script),
        limits=tuple((limit["line"], limit["what"], limit["why"]) for limit in record["limits"]),
        noticed={str(what): int(count) for what, count in seen["noticed"].items()},
        meshes=tuple(story["meshes"]),
        hosts=hosts,
        before=tuple(_site(host, row, groups) for host, row in zip(hosts, story["before"], strict=True)),
        after=tuple(_site(host, row, groups) for host, row in zip(hosts, story["after"], strict=True)),
        turns=tuple((float(at), host, state) for at, host, state in story["turns"]),
        changes=tuple((at, by, mesh, tuple(gone), tuple(back)) for at, by, mesh, gone, back in seen["changes"]),
        left_out=int(seen["left_out"]),
        samples=tuple(
            Sample(at, messages, volume, busiest, tuple(Led(*row) for row in rows))
            for at, messages, volume, busiest, rows in story["samples"]
        ),
    )


def _site(host: str, row: Any, groups: Mapping[str, tuple[str, str]]) -> Site:
    state, meshes, via = row
    return Site(host, *groups[host], state, tuple(meshes), via)


def _judged(one: Mapping[str, Any], script: Script, patience: float) -> Judged:
    said = (e.within * patience for e in script.expect if e.about == one["about"])
    return Judged(
        one["line"], one["about"], one["held"], one["at"], one["what"], one["since"], next(said, 0.0)
    )  # fmt: skip


def _events(record: Mapping[str, Any], script: Script) -> tuple[Happened, ...]:
    last: dict[int, float] = {}
    for at, place, _ in record["story"]["deeds"]:
        last[place] = float(at)
    found = []
    for one in record["events"]:
        event = script.timeline[one["place"]]
        until = max(float(one["at"]), last.get(one["place"], 0.0))
        ends = a.only_ends(event.action)
        endless = isinstance(event.action, _UNTIL_UNDONE) and not getattr(event.action, "lasts", 0.0) and not ends
        if endless or isinstance(event.action, a.Partition | a.Isolate):
            until = _undone(one, record, script.timeline)
        verb = a.WORDS[type(event.action)]
        found.append(Happened(float(one["at"]), until, one["name"], verb, tuple(one["hosts"]), ends))
    return tuple(found)


_UNTIL_UNDONE = (a.Pause, a.Loss, a.Delay, a.Duplicate, a.Reorder, a.DiskFull, a.Traffic)


def _undone(begun: Mapping[str, Any], record: Mapping[str, Any], timeline: Sequence[Event]) -> float:
    """When the next event of the kind that ends this one happened; else the end of the run."""
    action = timeline[begun["place"]].action
    ends: tuple[type[a.Action], ...] = (a.Heal,) if isinstance(action, a.Partition | a.Isolate) else (type(action),)
    if isinstance(action, a.Pause):
        ends = (a.Resume, a.Kill, a.PowerOff)
    elif isinstance(action, a.DiskFull | a.Traffic):
        ends = ()
    later = (float(one["at"]) for one in record["events"] if one["place"] > begun["place"]
             and isinstance(timeline[one["place"]].action, ends))  # fmt: skip
    return next(later, float(record["seconds"]))
