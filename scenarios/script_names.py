"""That whatever a script names is there: groups, hosts, meshes and events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from scenarios.actions import VERBS, Action
from scenarios.expectations import Check
from scenarios.script import REST, Script
from scenarios.script_tables import specs
from scenarios.script_values import KINDS, MeshName
from scenarios.script_writing import selections
from scenarios.selectors import BridgeBetween, Leader, Named, Next, Of, Part, PeerOf, Rest, Selector, Some
from smeg.errors import LocalError

ALONE = ("everyone", "running", "down", "leader")
"""Words that mean hosts without any other."""
NAMED = 3
"""lines that a mistake names."""


@dataclass(frozen=True, slots=True)
class Findings:
    lines: Mapping[str, int]
    """Where meshes and bridges stand: `meshes.demo`, …"""
    wrong: Callable[[int, str, str, str], None]
    near: Callable[[str, Collection[str]], str]
    """What to expect instead of a name that is none of these."""

    def missing(self, line: int, place: str, kind: str, name: str, known: Collection[str]) -> None:
        self.wrong(line, place, f"there is no {kind} {name}", self.near(name, known))


def check_names(
    script: Script, found: Findings, line: int, place: str, said: Action | Check, events: Collection[str]
) -> None:
    """Whatever an action or a check names is there."""
    for spec in specs(type(said)):
        value = getattr(said, spec.field)
        if spec.kind is KINDS[MeshName] and value and value not in script.meshes:
            found.missing(line, place, "mesh", value, script.meshes)
        elif spec.key == "event" and value:
            check_event(script, found, line, place, value, events)
        elif spec.sides or spec.hosts:
            for selection in value if spec.sides else [value]:
                for selector in selection:
                    if isinstance(selector, Rest) and not spec.sides:
                        found.wrong(line, place, "says `rest`", "that only among the sides of a partition")
                    if isinstance(selector, Of):
                        check_event(script, found, line, place, selector.event, events)
                    for kind, name, known in _named(script, selector):
                        found.missing(line, place, kind, name, known)


def check_event(script: Script, found: Findings, line: int, place: str, name: str, events: Collection[str]) -> None:
    """That `name` is one of these events, and of one only."""
    alike = [event.line for event in script.timeline if event.name == name]
    # One whose verb is a mistake has no name but that which it was given, and may be what a verb means here.
    named = [event for event in events if event]
    if name not in named and name in VERBS and "" in events:
        return
    if not named:
        found.wrong(line, place, f"there is no event {name}", "one that comes before it")
    elif name not in named:
        found.missing(line, place, "event", name, named)
    elif len(alike) > 1:
        lines = ", ".join(str(one) for one in alike[:NAMED])
        found.wrong(
            line,
            place,
            f"{name} may be any of the events in lines {lines}",
            "the one that is meant to be named by `as`",
        )


def _named(script: Script, selector: Selector) -> Iterator[tuple[str, str, Collection[str]]]:
    """Names in a selector that nothing has: what they should name, and what there is."""
    groups = [group.name for group in script.hosts]
    match selector:
        case Named(name) if name not in groups and not is_host(script, name):
            yield "group or host", name, [*groups, *(f"{group}-1" for group in groups), *ALONE]
        case Part(_, name) | Some(_, name) if name and name not in groups:
            yield "group", name, groups
        case Leader(mesh) | Next(_, mesh) if mesh and mesh not in script.meshes:
            yield "mesh", mesh, script.meshes
        case PeerOf(name) if not is_host(script, name, "client"):
            yield "client", name, [f"{group.name}-1" for group in script.hosts if group.role == "client"]
        case BridgeBetween(one, other):
            for mesh in (one, other):
                if mesh not in script.meshes:
                    yield "mesh", mesh, script.meshes


def is_host(script: Script, name: str, role: str = "") -> bool:
    """Whether a name is that of a host: which numbers there are depends on the size of the run."""
    group, _, number = name.rpartition("-")
    found = next((one for one in script.hosts if one.name == group), None)
    if found is None or role not in ("", found.role) or not number.isdecimal() or number.startswith("0"):
        return False
    return found.count == REST or not isinstance(found.count, int) or int(number) <= found.count


def check_hosts(script: Script, nodes: int) -> None:
    """That a script means something with so many hosts in all. Raises `LocalError` if it does not."""
    counts, wrong = script.counts(nodes), []
    said: list[tuple[int, Action | Check | None]] = [(one.line, one.check) for one in script.expect]
    said += [(event.line, one) for event in script.timeline for one in (event.action, event.after)]
    for line, one in said:
        for name in _hosts_named(one) if one is not None else ():
            group, _, number = name.rpartition("-")
            if name not in counts and int(number) > counts[group]:
                wrong.append((line, f"there is no {name} among {counts[group]} {group} of {nodes} hosts"))
    if wrong:
        message = "\n".join(f"{script.source}:{line}: {words}" for line, words in sorted(set(wrong)))
        raise LocalError("too-few-nodes", message, "more --nodes, or another host")


def _hosts_named(said: Action | Check) -> Iterator[str]:
    """Hosts and groups."""
    for selection in selections(said):
        for one in selection:
            match one:
                case Named(name) | PeerOf(name):
                    yield name
