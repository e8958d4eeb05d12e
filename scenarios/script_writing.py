"""From a script to YAML text that reads as the same script: for what was drawn or shrunk, and is to be read by people.

The inverse of `script_reading`; both follow the tables in `script_tables`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from enum import Enum
from ipaddress import IPv6Network
from typing import Any

import yaml

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.script import LASTS, Event, Expectation, Group, Script, When
from scenarios.script_tables import GROUP, Spec, specs
from scenarios.script_values import KINDS, Factor, MeshName, Offset, Seconds, Share
from scenarios.selectors import (
    BridgeBetween,
    Down,
    Everyone,
    Leader,
    Named,
    Next,
    Of,
    OfRole,
    Part,
    PeerOf,
    Rest,
    Running,
    Selection,
    Selector,
    Some,
)

WIDTH = 120
_LATENCIES = (KINDS[Seconds], KINDS[Offset])


def write(script: Script, comment: Iterable[str] = ()) -> str:
    """YAML text; before it the lines of a comment."""
    said: dict[str, Any] = {"name": script.name, "about": script.about, "nodes": script.nodes}
    said["hosts"] = {group.name: _group(group) for group in script.hosts}
    said["meshes"] = {mesh: list(groups) for mesh, groups in script.meshes.items()}
    if script.bridges:
        said["bridges"] = {group: list(meshes) for group, meshes in script.bridges.items()}
    if script.settings:
        said["settings"] = {key: duration(value) for key, value in script.settings.items()}
    if script.timeline:
        said["timeline"] = [_event(event) for event in script.timeline]
    if script.expect:
        said["expect"] = {
            when.value: [_expectation(one) for one in script.expect if one.when is when]
            for when in When
            if any(one.when is when for one in script.expect)
        }
    if script.lasts != LASTS:
        said["lasts"] = duration(script.lasts)
    text = yaml.safe_dump(said, sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True)
    return "".join(f"# {line}\n" for line in comment) + text


def _group(group: Group) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for spec in GROUP:
        value = getattr(group, spec.field)
        if spec.key == "count":
            said["count"] = _percentage(value) if isinstance(value, float) else value
        elif value != spec.default:
            said[spec.key] = _value(spec, value)
    return said


def _event(event: Event) -> dict[str, Any]:
    verb = a.WORDS[type(event.action)]
    said: dict[str, Any] = {}
    if event.at is not None:
        said["at"] = duration(event.at)
    if event.after is not None:
        said["after"] = _checked(event.after)
    if event.wait:
        said["wait"] = duration(event.wait)
    said[verb] = _fields(event.action)
    if event.name != verb:
        said["as"] = event.name
    return said


def _expectation(one: Expectation) -> Any:
    if one.when is not When.EVENTUALLY:
        return _checked(one.check)
    said = {e.WORDS[type(one.check)]: _fields(one.check), "within": duration(one.within)}
    return {**said, "after": one.after} if one.after else said


def _checked(check: e.Check) -> Any:
    word, said = e.WORDS[type(check)], _fields(check)
    return word if said is None else {word: said}


def _fields(said: a.Action | e.Check) -> Any:
    """What is said of a verb or a check: its first field alone, if the others are as they are anyway."""
    table = specs(type(said))
    values = {spec.key: _value(spec, getattr(said, spec.field)) for spec in table if _differs(said, spec)}
    first = table[0].key if table else ""
    if not values:
        return None
    return values[first] if set(values) == {first} else values


def _differs(said: object, spec: Spec) -> bool:
    return spec.required or getattr(said, spec.field) != spec.default


def _value(spec: Spec, value: Any) -> Any:
    if spec.sides:
        return [[selector(one) for one in side] for side in value]
    if spec.hosts:
        names = [selector(one) for one in value]
        return names[0] if len(names) == 1 else names
    if spec.kind in _LATENCIES:
        return duration(value)
    if spec.kind is KINDS[Share]:
        return _percentage(value)
    if spec.kind is KINDS[Factor]:
        return float(value)
    match value:
        case Enum():
            return value.value
        case tuple():
            return [str(one) if isinstance(one, IPv6Network) else one for one in value]
        case IPv6Network():
            return str(value)
    return value


def number(value: float) -> str:
    """Without an exponent, and without zeros at its end."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return text or "0"


def duration(value: float) -> str:
    """In the largest unit in which it is a whole number; of what is shorter than a microsecond nothing is left."""
    sign, whole = ("-" if value < 0 else ""), abs(value)
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= seconds and whole % seconds == 0:
            return f"{sign}{int(whole // seconds)} {unit}"
    return f"{sign}{number(whole)} s"


def _percentage(share: float) -> str:
    return f"{number(share * 100)} %"


def selector(one: Selector) -> str:
    """As a script says it."""
    match one:
        case Everyone():
            return "everyone"
        case Rest():
            return "rest"
        case Running():
            return "running"
        case Down():
            return "down"
        case Named(name):
            return name
        case Of(event):
            return f"of {event}"
        case OfRole(role):
            return f"role {role}"
        case Leader(mesh):
            return f"leader of {mesh}" if mesh else "leader"
        case Next(count, mesh):
            return f"next {count} of {mesh}" if mesh else f"next {count}"
        case Part(share, group):
            return f"{_percentage(share)} of {group}" if group else _percentage(share)
        case Some(count, group):
            return f"{count} of {group}"
        case PeerOf(client):
            return f"peer of {client}"
        case BridgeBetween(mesh, other):
            return f"bridge between {mesh} and {other}"


def selections(said: a.Action | e.Check) -> list[Selection]:
    """All that mean hosts in a verb or a check."""
    found: list[Selection] = []
    for spec in specs(type(said)):
        value = getattr(said, spec.field)
        if spec.sides:
            found += value
        elif spec.hosts:
            found.append(value)
    return found


def meshes(said: a.Action | e.Check) -> set[str]:
    """All that a verb or a check names."""
    named = {getattr(said, spec.field) for spec in specs(type(said)) if spec.kind is KINDS[MeshName]}
    for selection in selections(said):
        for one in selection:
            named.update(str(getattr(one, item.name)) for item in fields(one) if item.name in ("mesh", "one", "other"))
    return named - {""}
