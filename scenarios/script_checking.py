"""What no single line of a script shows: that whatever it names is there, and that it means something."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from scenarios.actions import WORDS, Action, Join, NatRebind, Partition
from scenarios.expectations import WORDS as CHECK_WORDS
from scenarios.expectations import Check, KnownByAll
from scenarios.script import REST, Begins, Script, When
from scenarios.script_tables import specs
from scenarios.script_values import KINDS, MeshName
from scenarios.selectors import (
    RESERVED,
    BridgeBetween,
    Leader,
    Named,
    Next,
    Of,
    Part,
    PeerOf,
    Rest,
    Selection,
    Selector,
    Some,
)

ALONE = ("everyone", "running", "down", "leader")
"""Words that mean hosts without any other."""


@dataclass(frozen=True, slots=True)
class Findings:
    lines: Mapping[str, int]
    """Where groups, meshes and bridges stand: `hosts.peers`, …"""
    wrong: Callable[[int, str, str, str], None]
    near: Callable[[str, Collection[str]], str]
    """What to expect instead of a name that is none of these."""

    def missing(self, line: int, place: str, kind: str, name: str, known: Collection[str]) -> None:
        self.wrong(line, place, f"there is no {kind} {name}", self.near(name, known))


def check(script: Script, found: Findings) -> None:
    groups = {group.name: group for group in script.hosts}
    for name in groups:
        if name in RESERVED:
            found.wrong(found.lines[f"hosts.{name}"], f"hosts.{name}", "means something else", "another name")
    for mesh, said in script.meshes.items():
        line = found.lines.get(f"meshes.{mesh}", 1)
        for name in said:
            if name not in groups:
                found.missing(line, f"meshes.{mesh}", "group", name, groups)
        founders = [*said, *(name for name, meshes in script.bridges.items() if mesh in meshes)]
        able = [name for name in founders if name in groups and _may_found(script, name)]
        if groups and not able:
            found.wrong(line, f"meshes.{mesh}", "has no peer that is a member from the start", "one who founds it")
    for name, meshes in script.bridges.items():
        line = found.lines.get(f"bridges.{name}", 1)
        if name not in groups:
            found.missing(line, f"bridges.{name}", "group", name, groups)
        elif groups[name].role == "client":
            found.wrong(line, f"bridges.{name}", "is a client", "peers: a client forwards nothing")
        if len(set(meshes)) < 2:
            found.wrong(line, f"bridges.{name}", f"is in {len(set(meshes))} meshes", "at least two")
        for mesh in meshes:
            if mesh not in script.meshes:
                found.missing(line, f"bridges.{name}", "mesh", mesh, script.meshes)
    _timeline(script, found)
    _expectations(script, found)


def _may_found(script: Script, name: str) -> bool:
    group = script.group(name)
    return group.role == "peer" and group.begins is Begins.MEMBER


def _timeline(script: Script, found: Findings) -> None:
    before: list[str] = []
    last = -1.0
    for event in script.timeline:
        place = WORDS[type(event.action)]
        if event.at is not None:
            if event.at < last:
                found.wrong(event.line, place, f"is at {event.at:g} s, after one at {last:g} s", "events in order")
            last = max(last, event.at)
        _names(script, found, event.line, place, event.action, before)
        if event.after is not None:
            _names(script, found, event.line, "after", event.after, before)
        match event.action:
            case Partition(sides) if len(sides) < 2:
                found.wrong(event.line, place, f"has {len(sides)} sides", "at least two")
            case Partition(sides) if sum(Rest() in side for side in sides) > 1:
                found.wrong(event.line, place, "has `rest` twice", "it once")
            case NatRebind(hosts):
                for name in _without_nat(script, hosts):
                    found.wrong(event.line, place, f"{name} has no NAT", "hosts of a group with `nat: yes`")
            case Join(hosts) if not _outsiders(script, hosts):
                expected = "hosts of a group with `begins: outside`, or some that left"
                if not any(WORDS[type(other.action)] in ("leave", "evict") for other in script.timeline):
                    found.wrong(event.line, place, "has nobody who is outside", expected)
        before.append(event.name)


def _without_nat(script: Script, hosts: Selection) -> Iterator[str]:
    """What of this surely means hosts that are behind no NAT."""
    for one in hosts:
        name = one.name if isinstance(one, Named) else one.group if isinstance(one, (Part, Some)) else ""
        for group in script.hosts:
            if group.name in (name, name.rpartition("-")[0]) and not group.nat:
                yield name


def _outsiders(script: Script, hosts: Selection) -> bool:
    """Whether one of these may mean a host that is no member at the start."""
    outside = [group.name for group in script.hosts if group.begins is Begins.OUTSIDE]
    for one in hosts:
        name = one.name if isinstance(one, Named) else one.group if isinstance(one, (Part, Some)) else ""
        if outside and (not name or name in outside or name.rpartition("-")[0] in outside):
            return True
    return False


def _expectations(script: Script, found: Findings) -> None:
    events = [event.name for event in script.timeline]
    for one in script.expect:
        place = CHECK_WORDS[type(one.check)]
        if one.after and one.after not in events:
            found.missing(one.line, place, "event", one.after, events)
        if (one.when is When.EVENTUALLY or isinstance(one.check, KnownByAll)) and not events:
            found.wrong(one.line, place, "has no event from which it counts", "a timeline with one")
        _names(script, found, one.line, place, one.check, events)


def _names(
    script: Script, found: Findings, line: int, place: str, said: Action | Check, events: Collection[str]
) -> None:
    """Whatever an action or a check names is there."""
    for spec in specs(type(said)):
        value = getattr(said, spec.field)
        if spec.kind is KINDS[MeshName] and value and value not in script.meshes:
            found.missing(line, place, "mesh", value, script.meshes)
        elif spec.key == "event" and value and value not in events:
            found.missing(line, place, "event", value, events)
        elif spec.sides or spec.hosts:
            for selection in value if spec.sides else [value]:
                for selector in selection:
                    if isinstance(selector, Rest) and not spec.sides:
                        found.wrong(line, place, "says `rest`", "that only among the sides of a partition")
                    for kind, name, known in _named(script, selector, events):
                        found.missing(line, place, kind, name, known)


def _named(script: Script, selector: Selector, events: Collection[str]) -> Iterator[tuple[str, str, Collection[str]]]:
    """Names in a selector that nothing has: what they should name, and what there is."""
    groups = [group.name for group in script.hosts]
    match selector:
        case Named(name) if name not in groups and not _is_host(script, name):
            yield "group or host", name, [*groups, *(f"{group}-1" for group in groups), *ALONE]
        case Part(_, name) | Some(_, name) if name and name not in groups:
            yield "group", name, groups
        case Leader(mesh) | Next(_, mesh) if mesh and mesh not in script.meshes:
            yield "mesh", mesh, script.meshes
        case PeerOf(name) if not _is_host(script, name):
            yield "host", name, [f"{group}-1" for group in groups]
        case BridgeBetween(one, other):
            for mesh in (one, other):
                if mesh not in script.meshes:
                    yield "mesh", mesh, script.meshes
        case Of(event) if event not in events:
            yield "event", event, events


def _is_host(script: Script, name: str) -> bool:
    """Whether a name is that of a host: which numbers there are depends on the size of the run."""
    group, _, number = name.rpartition("-")
    found = next((one for one in script.hosts if one.name == group), None)
    if found is None or not number.isdecimal() or number.startswith("0"):
        return False
    return found.count == REST or not isinstance(found.count, int) or int(number) <= found.count
