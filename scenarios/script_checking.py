"""What no single line of a script shows: that whatever it names is there, and that it means something."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from scenarios import actions as a
from scenarios.actions import (
    WORDS,
    Action,
    Advertise,
    Evict,
    Flap,
    Heal,
    Isolate,
    Join,
    Leave,
    NatRebind,
    Partition,
    Traffic,
    Withdraw,
)
from scenarios.expectations import (
    RATED,
    Bounded,
    Check,
    KnownByAll,
    NoLiveNodePruned,
    NoLoop,
    Outage,
    SharesWithin,
)
from scenarios.expectations import WORDS as CHECK_WORDS
from scenarios.script import REST, Begins, Group, Script, When
from scenarios.script_tables import specs
from scenarios.script_values import KINDS, MOST, MeshName
from scenarios.script_writing import selections
from scenarios.selectors import (
    EVERYONE,
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
from smeg.errors import LocalError

ALONE = ("everyone", "running", "down", "leader")
"""Words that mean hosts without any other."""
NEWS_TO_NOBODY = (
    a.Loss, a.Delay, a.Duplicate, a.Reorder, a.Roam, a.NatRebind, a.DiskFull, a.CorruptState, a.CopyState, a.Invite,
    a.Advertise, a.Withdraw, a.Traffic,
)  # fmt: skip
"""By which nobody is gone, or back, or new, or no member any more."""
OF_ALL_TIME = (NoLiveNodePruned, NoLoop, Bounded, Outage)
"""Checks of what was ever so: once they fail they never hold again."""
GONE_OR_BACK = "an event by which somebody is gone, or back, or new"
SHORTEST = 0.05
"""seconds of what happens again and again."""
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


def check(script: Script, found: Findings) -> None:
    groups = {group.name: group for group in script.hosts}
    for name in groups:
        if name in RESERVED:
            found.wrong(groups[name].line, f"hosts.{name}", "means something else", "another name")
        if _is_host(script, name):
            found.wrong(groups[name].line, f"hosts.{name}", "is a host of another group, too", "another name")
        if groups[name].begins is not Begins.OUTSIDE and not script.meshes_of(groups[name]):
            found.wrong(groups[name].line, f"hosts.{name}", "is in no mesh", "one that has it, or `begins: outside`")
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


def _may_found(script: Script, name: str) -> bool:
    group = script.group(name)
    return group.role == "peer" and group.begins is Begins.MEMBER


def _timeline(script: Script, found: Findings) -> None:
    before: list[str] = []
    last = 0.0
    for place, (event, (begins, _)) in enumerate(zip(script.timeline, script.schedule(), strict=True)):
        verb = WORDS[type(event.action)]
        if event.at is not None and event.at < last:
            found.wrong(event.line, verb, f"is at {event.at:g} s, after one at {last:g} s", "events in order")
        last = begins
        _names(script, found, event.line, verb, event.action, before)
        if event.after is not None:
            _names(script, found, event.line, "after", event.after, before)
            if isinstance(event.after, OF_ALL_TIME):
                said = f"{CHECK_WORDS[type(event.after)]} holds until it fails for ever"
                found.wrong(event.line, "after", said, "what comes about at some time")
            if isinstance(event.after, KnownByAll) and before:
                of = script.place(event.after.event) if event.after.event else place - 1
                _is_known(script, found, event.line, event.after, of)
        match event.action:
            case Partition(sides) if len(sides) < 2:
                found.wrong(event.line, verb, f"has {len(sides)} sides", "at least two")
            case Partition(sides) if sum(Rest() in side for side in sides) > 1:
                found.wrong(event.line, verb, "has `rest` twice", "it once")
            case Flap(_, lasts, down, up) if not lasts or min(down, up) < SHORTEST or lasts > MOST * (down + up):
                said = f"is down {down:g} s and up {up:g} s, for {lasts:g} s"
                found.wrong(event.line, verb, said, f"{SHORTEST:g} s or longer each, at most {MOST} times")
            case Traffic(each=each) if each < SHORTEST:
                found.wrong(event.line, verb, f"has {each:g} s between two packets", f"{SHORTEST:g} s or longer")
            case Heal(hosts) if hosts != EVERYONE:
                found.wrong(event.line, verb, "heals everybody, whoever is named", "`heal:` alone")
            case Advertise(hosts) | Withdraw(hosts) if not _may_mean(
                script, hosts, lambda group: bool(group.advertises)
            ):
                expected = "hosts of a group with `advertises`"
                found.wrong(event.line, verb, "is about hosts behind which nothing is", expected)
            case NatRebind(hosts) if not _may_mean(script, hosts, lambda group: group.nat):
                found.wrong(event.line, verb, "is about hosts behind no NAT", "hosts of a group with `nat: yes`")
            case Join(hosts) if not _may_mean(script, hosts, _begins_outside):
                expected = "hosts of a group with `begins: outside`, or some that left"
                if not any(WORDS[type(other.action)] in ("leave", "evict") for other in script.timeline):
                    found.wrong(event.line, verb, "has nobody who is outside", expected)
        before.append(event.name)


def _begins_outside(group: Group) -> bool:
    return group.begins is Begins.OUTSIDE


def _may_mean(script: Script, hosts: Selection, which: Callable[[Group], bool]) -> bool:
    """Whether one of these may mean a host of such a group."""
    those = [group.name for group in script.hosts if which(group)]
    for one in hosts:
        name = one.name if isinstance(one, Named) else one.group if isinstance(one, (Part, Some)) else ""
        if those and (not name or name in those or name.rpartition("-")[0] in those):
            return True
    return False


def _expectations(script: Script, found: Findings) -> None:
    events = [event.name for event in script.timeline]
    for one in script.expect:
        place = CHECK_WORDS[type(one.check)]
        if one.after:
            _event(script, found, one.line, place, one.after, events)
        if (one.when is When.EVENTUALLY or isinstance(one.check, KnownByAll)) and not events:
            found.wrong(one.line, place, "has no event from which it counts", "a timeline with one")
        _can_fail(script, found, one.line, place, one.check)
        if one.when is When.EVENTUALLY and isinstance(one.check, OF_ALL_TIME):
            found.wrong(one.line, place, "comes about at once, whatever follows", "it under `always` or `at-end`")
        if isinstance(one.check, KnownByAll) and events:
            _is_known(script, found, one.line, one.check, script.place(one.check.event or one.after))
        _names(script, found, one.line, place, one.check, events)


def _can_fail(script: Script, found: Findings, line: int, place: str, check: Check) -> None:
    """That there is something of which it could not hold, and something of which it could."""
    lasts = max([0.0, *(begins for begins, _ in script.schedule())]) + script.lasts
    match check:
        case Outage() if not any(isinstance(event.action, Traffic) for event in script.timeline):
            found.wrong(line, place, "has no packets of which it could count what is lost", "`traffic` before it")
        case Bounded(rate=rate) if rate and lasts < RATED:
            said = f"counts what is sent in {RATED:g} s, and all may be over in {lasts:g} s"
            found.wrong(line, place, said, "a longer `lasts`")
        case SharesWithin(factor=factor) if factor < 1:
            found.wrong(line, place, f"has the factor {factor:g}", "at least 1: the busiest has the mean or more")


def _names(
    script: Script, found: Findings, line: int, place: str, said: Action | Check, events: Collection[str]
) -> None:
    """Whatever an action or a check names is there."""
    for spec in specs(type(said)):
        value = getattr(said, spec.field)
        if spec.kind is KINDS[MeshName] and value and value not in script.meshes:
            found.missing(line, place, "mesh", value, script.meshes)
        elif spec.key == "event" and value:
            _event(script, found, line, place, value, events)
        elif spec.sides or spec.hosts:
            for selection in value if spec.sides else [value]:
                for selector in selection:
                    if isinstance(selector, Rest) and not spec.sides:
                        found.wrong(line, place, "says `rest`", "that only among the sides of a partition")
                    if isinstance(selector, Of):
                        _event(script, found, line, place, selector.event, events)
                    for kind, name, known in _named(script, selector):
                        found.missing(line, place, kind, name, known)


def _event(script: Script, found: Findings, line: int, place: str, name: str, events: Collection[str]) -> None:
    """That `name` is one of these events, and of one only."""
    alike = [event.line for event in script.timeline if event.name == name]
    if not events:
        found.wrong(line, place, f"there is no event {name}", "one that comes before it")
    elif name not in events:
        found.missing(line, place, "event", name, events)
    elif len(alike) > 1:
        lines = ", ".join(str(one) for one in alike[:NAMED])
        found.wrong(
            line,
            place,
            f"{name} may be any of the events in lines {lines}",
            "the one that is meant to be named by `as`",
        )


def _is_known(script: Script, found: Findings, line: int, check: KnownByAll, event: int) -> None:
    """That there is something to be known of an event in the mesh that is meant."""
    if event < 0:
        return
    action, first = script.timeline[event].action, next(iter(script.meshes), "")
    match action:
        case Isolate(receiving=True):
            said = "who hears nobody may be thought dead or alive"
            found.wrong(line, "known-by-all", said, GONE_OR_BACK)
        case Join() | Leave() | Evict() if (action.mesh or first) != (check.mesh or first):
            said = f"is about {check.mesh or first}, and {script.timeline[event].name} about {action.mesh or first}"
            found.wrong(line, "known-by-all", said, f"`mesh: {action.mesh or first}`")
        case _ if isinstance(action, NEWS_TO_NOBODY):
            said = f"by {WORDS[type(action)]} nobody comes or goes"
            found.wrong(line, "known-by-all", said, GONE_OR_BACK)


def _named(script: Script, selector: Selector) -> Iterator[tuple[str, str, Collection[str]]]:
    """Names in a selector that nothing has: what they should name, and what there is."""
    groups = [group.name for group in script.hosts]
    match selector:
        case Named(name) if name not in groups and not _is_host(script, name):
            yield "group or host", name, [*groups, *(f"{group}-1" for group in groups), *ALONE]
        case Part(_, name) | Some(_, name) if name and name not in groups:
            yield "group", name, groups
        case Leader(mesh) | Next(_, mesh) if mesh and mesh not in script.meshes:
            yield "mesh", mesh, script.meshes
        case PeerOf(name) if not _is_host(script, name, "client"):
            yield "client", name, [f"{group.name}-1" for group in script.hosts if group.role == "client"]
        case BridgeBetween(one, other):
            for mesh in (one, other):
                if mesh not in script.meshes:
                    yield "mesh", mesh, script.meshes


def _is_host(script: Script, name: str, role: str = "") -> bool:
    """Whether a name is that of a host: which numbers there are depends on the size of the run."""
    group, _, number = name.rpartition("-")
    found = next((one for one in script.hosts if one.name == group), None)
    if found is None or role not in ("", found.role) or not number.isdecimal() or number.startswith("0"):
        return False
    return found.count == REST or not isinstance(found.count, int) or int(number) <= found.count
