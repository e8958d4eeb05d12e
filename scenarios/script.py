"""A scenario as values: hosts, meshes, what befalls them and when, and what must hold. No world, no text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Network
from math import floor
from typing import Literal

from scenarios.actions import Action, Flap
from scenarios.expectations import Check
from scenarios.script_values import Seconds, Share
from smeg.errors import LocalError

REST = "rest"
NO_TIME, LASTS = Seconds(0.0), Seconds(10.0)
NO_LOSS = Share(0.0)
SETTINGS = {
    "heartBeatInterval": "heartbeat_interval",
    "suspectAfter": "suspect_after",
    "restartGrace": "restart_grace",
    "repairInterval": "repair_interval",
}
"""Keys of the configuration that a script may set for all daemons, in seconds; and what the actors call them."""
SMALLEST = 2
LARGEST = 20_000
"""hosts of a run."""


class Begins(Enum):
    """What a group's hosts are when the timeline begins."""

    MEMBER = "member"
    OUTSIDE = "outside"
    """The daemon runs and is in no mesh."""
    OFF = "off"
    """Members whose hosts are off."""


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts of one kind, called `NAME-1`, `NAME-2` and so on."""

    name: str
    count: int | Share | Literal["rest"]
    role: Literal["peer", "client"] = "peer"
    nat: bool = False
    latency: Seconds = NO_TIME
    """Added one way by their links."""
    loss: Share = NO_LOSS
    families: Literal["both", "ipv4", "ipv6"] = "both"
    begins: Begins = Begins.MEMBER
    advertises: tuple[IPv6Network, ...] = ()
    """What is behind each of them."""
    certified: Seconds = NO_TIME
    """For how long their certificates live, since the world came to rest; 0 for as long as their mesh's."""
    speaks: Literal["this", "later"] = "this"
    """The version: a later one has fields and words that this one does not know."""
    line: int = field(default=1, compare=False)
    """Of the script."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is done, at a time or after something."""

    line: int
    action: Action
    name: str
    """Its `as`, or its verb."""
    at: Seconds | None = None
    """Since the world came to rest."""
    after: Check | None = None
    """It waits for the event before it, and then until this holds."""
    wait: Seconds = NO_TIME
    """And then so long; with neither `at` nor `after`, since the event before it."""


class When(Enum):
    ALWAYS = "always"
    EVENTUALLY = "eventually"
    AT_END = "at-end"


@dataclass(frozen=True, slots=True)
class Expectation:
    line: int
    when: When
    check: Check
    text: str
    """As the script says it."""
    within: Seconds = NO_TIME
    """Of one that comes about eventually."""
    after: str = ""
    """The event from which that counts; empty for the last one."""

    @property
    def about(self) -> str:
        """As a verdict names it."""
        return f"{self.when.value}: {self.text}"


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    about: str
    nodes: int
    hosts: tuple[Group, ...]
    meshes: dict[str, tuple[str, ...]]
    """The groups of each mesh; the first host of the first group founds it."""
    bridges: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Which meshes a group bridges."""
    settings: dict[str, Seconds] = field(default_factory=dict)
    timeline: tuple[Event, ...] = ()
    expect: tuple[Expectation, ...] = ()
    lasts: Seconds = LASTS
    """How long the world is watched after the last event, at least."""
    source: str = field(default="", compare=False)
    """The file that it was read from."""

    def group(self, name: str) -> Group:
        return next(group for group in self.hosts if group.name == name)

    def place(self, event: str) -> int:
        """Where in the timeline the event of this name stands, of which there is one if something refers to it; the
        last one if it has none. -1 if there is no such event."""
        if not event:
            return len(self.timeline) - 1
        return next((place for place, one in enumerate(self.timeline) if one.name == event), -1)

    def schedule(self) -> list[tuple[float, float]]:
        """When each event begins and when the last of it is over, at the earliest, in seconds."""
        found: list[tuple[float, float]] = []
        end = 0.0
        for event in self.timeline:
            begins = float(event.at) if event.at is not None else end + float(event.wait)
            begins = max(begins, found[-1][0] if found else 0.0)
            end = begins + float(getattr(event.action, "away", 0.0))
            lasts = float(getattr(event.action, "lasts", 0.0))
            if isinstance(event.action, Flap):
                end += lasts
            found.append((begins, max(end, begins + lasts)))
        return found

    def founders(self, nodes: int) -> dict[str, str]:
        """By mesh: its first peer that is a member and up from the start."""
        found: dict[str, str] = {}
        for name, group in self.names(nodes):
            able = group.role == "peer" and group.begins is Begins.MEMBER
            for mesh in self.meshes_of(group) if able else ():
                found.setdefault(mesh, name)
        return found

    def meshes_of(self, group: Group) -> tuple[str, ...]:
        """Those that its hosts are in at the start."""
        if group.begins is Begins.OUTSIDE:
            return ()
        bridged = self.bridges.get(group.name, ())
        return tuple(mesh for mesh, groups in self.meshes.items() if group.name in groups or mesh in bridged)

    @property
    def fixed(self) -> int:
        """How many hosts there are, if the groups say it whatever `nodes` is; else 0."""
        sizes = [group.count for group in self.hosts if isinstance(group.count, int)]
        return sum(sizes) if len(sizes) == len(self.hosts) else 0

    def counts(self, nodes: int) -> dict[str, int]:
        """How many hosts each group has when there are so many in all. Raises `LocalError` if that cannot be."""
        given = {group.name: _counted(group, nodes) for group in self.hosts if group.count != REST}
        left = nodes - sum(given.values())
        rest = [group.name for group in self.hosts if group.count == REST]
        where = f"{self.source or self.name}:{min(group.line for group in self.hosts)}: hosts"
        if left < len(rest):
            least = sum(given.values()) + len(rest)
            hint = f"at least --nodes {least}, or `nodes: {least}` in the script"
            raise LocalError("too-few-nodes", f"{where}: need more than {nodes} in all", hint)
        # Percentages are rounded down.
        if not rest and left >= (1 if self.fixed else len(self.hosts)):
            hint = (f"--nodes {self.fixed}, or " if self.fixed else "") + "a group with `count: rest`"
            raise LocalError("too-many-nodes", f"{where}: are {nodes - left} by their counts, not {nodes}", hint)
        given.update((name, left // len(rest) + (place < left % len(rest))) for place, name in enumerate(rest))
        return {group.name: given[group.name] for group in self.hosts}

    def names(self, nodes: int) -> Iterator[tuple[str, Group]]:
        """Every host by name, with its group."""
        counts = self.counts(nodes)
        for group in self.hosts:
            for number in range(1, counts[group.name] + 1):
                yield f"{group.name}-{number}", group


def _counted(group: Group, nodes: int) -> int:
    """Of a group whose size does not depend on the others'."""
    if isinstance(group.count, int):
        return group.count
    assert isinstance(group.count, float)
    return max(1, floor(group.count * nodes))
