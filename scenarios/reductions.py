"""Smaller versions of a script: without some events, groups or meshes, with fewer hosts, or sooner over.

What hangs on something that goes, goes with it. A smaller script must promise the same: what undoes a fault stays with
it, and no trouble lasts into the time for which something is expected, if it did not before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.script import SMALLEST, Event, Group, Script, When
from scenarios.script_values import Seconds
from scenarios.script_writing import meshes, selections
from scenarios.selectors import EVERYONE, Named, Of, Part, PeerOf, Selection, Some

AFTER_ALL = ""
"""Stands for the end of the run."""


def only(script: Script, kinds: Collection[str], lines: Collection[int] = ()) -> Script:
    """With no expectations but of these checks, and on these lines if any are said."""
    expect = (one for one in script.expect if e.WORDS[type(one.check)] in kinds)
    return replace(script, expect=tuple(one for one in expect if not lines or one.line in lines))


def without_events(script: Script, places: Collection[int]) -> Script | None:
    """None if nothing that is expected would be left, though something was."""
    gone = {event.name for place, event in enumerate(script.timeline) if place in places}
    left: list[Event] = []
    for place, event in enumerate(script.timeline):
        if place in places:
            continue
        if _named_events(event.action) & gone or (event.after is not None and _named_events(event.after) & gone):
            gone.add(event.name)
        else:
            left.append(event)
    expect = [one for one in script.expect if one.after not in gone and not _named_events(one.check) & gone]
    if not left:
        expect = [one for one in expect if one.when is not When.EVENTUALLY]
    return _unless_empty(script, replace(script, timeline=tuple(left), expect=tuple(expect)))


def without_group(script: Script, name: str) -> Script | None:
    """None if too few hosts would be left."""
    hosts = tuple(group for group in script.hosts if group.name != name)
    gone = script.group(name).count
    nodes = script.nodes - gone if isinstance(gone, int) else script.nodes
    if not hosts or nodes < SMALLEST:
        return None
    named = {mesh: tuple(one for one in groups if one != name) for mesh, groups in script.meshes.items()}
    bridges = {group: said for group, said in script.bridges.items() if group != name}
    smaller = replace(script, nodes=nodes, hosts=hosts, meshes=named, bridges=bridges)
    return _without_words(script, smaller, lambda said: name in _named_groups(said))


def without_mesh(script: Script, name: str) -> Script | None:
    """None if it is the last one; bridges that are left with one mesh are ordinary members of it."""
    named = {mesh: groups for mesh, groups in script.meshes.items() if mesh != name}
    if not named:
        return None
    bridges = {}
    for group, said in script.bridges.items():
        rest = tuple(mesh for mesh in said if mesh != name)
        if len(rest) > 1:
            bridges[group] = rest
        elif rest:
            named[rest[0]] = (*named[rest[0]], group)
    smaller = replace(script, meshes=named, bridges=bridges)
    homeless = [group.name for group in script.hosts if not _is_somewhere(smaller, group)]
    found: Script | None = _without_words(script, smaller, lambda said: name in meshes(said))
    for group in homeless:
        found = without_group(found, group) if found is not None else None
    return found


def _is_somewhere(script: Script, group: Group) -> bool:
    return group.name in script.bridges or any(group.name in groups for groups in script.meshes.values())


def _without_words(before: Script, script: Script, meant: Callable[[a.Action | e.Check], bool]) -> Script | None:
    """Without events and expectations of which this holds."""
    expect = tuple(one for one in script.expect if not meant(one.check))
    places = {
        place
        for place, event in enumerate(script.timeline)
        if meant(event.action) or (event.after is not None and meant(event.after))
    }
    found = without_events(replace(script, expect=expect), places) if expect or not before.expect else None
    return _unless_empty(before, found) if found is not None else None


def _unless_empty(before: Script, after: Script) -> Script | None:
    return after if after.expect or not before.expect else None


def _named_events(said: a.Action | e.Check) -> set[str]:
    named = {one.event for selection in selections(said) for one in selection if isinstance(one, Of)}
    return named | ({said.event} - {""} if isinstance(said, e.KnownByAll) else set())


def _named_groups(said: a.Action | e.Check) -> set[str]:
    found: set[str] = set()
    for selection in selections(said):
        for one in selection:
            match one:
                case Named(name) | PeerOf(name):
                    found |= {name, _group_of(name)}
                case Part(_, group) | Some(_, group):
                    found.add(group)
    return found


# Sizes.


def counted(script: Script, nodes: int) -> Script:
    """The same with the number of hosts said for each group, as it is with so many in all."""
    counts = script.counts(nodes)
    hosts = tuple(replace(group, count=counts[group.name]) for group in script.hosts)
    return replace(script, hosts=hosts, nodes=nodes)


def sized(script: Script, sizes: dict[str, int]) -> Script:
    """With other numbers of hosts in some groups, each of which is `counted`."""
    hosts = tuple(replace(group, count=sizes.get(group.name, group.count)) for group in script.hosts)
    return replace(script, hosts=hosts, nodes=sum(int(group.count) for group in hosts))


# Times.


@dataclass(frozen=True, slots=True)
class Place:
    """A duration in a script: of an event by its place, or of all."""

    event: int
    field: str


def durations(script: Script) -> Iterator[tuple[Place, float]]:
    """Those that may be shorter, with how long they are in seconds."""
    for place, event in enumerate(script.timeline):
        for name in ("lasts", "every", "away"):
            if value := float(getattr(event.action, name, 0.0)):
                yield Place(place, name), value
        if event.wait:
            yield Place(place, "wait"), float(event.wait)
        if event.at:
            yield Place(place, "at"), float(event.at)
    if script.lasts:
        yield Place(len(script.timeline), "lasts"), float(script.lasts)


def lasting(script: Script, place: Place, value: float) -> Script:
    """With another duration; what comes later at a stated time comes as much earlier."""
    if place.event == len(script.timeline):
        return replace(script, lasts=Seconds(value))
    timeline = list(script.timeline)
    event = timeline[place.event]
    if place.field == "at":
        sooner = float(event.at or 0.0) - value
        for number in range(place.event, len(timeline)):
            at = timeline[number].at
            if at is not None:
                timeline[number] = replace(timeline[number], at=Seconds(max(0.0, round(at - sooner, 3))))
    elif place.field == "wait":
        timeline[place.event] = replace(event, wait=Seconds(value))
    else:
        action: Any = event.action
        timeline[place.event] = replace(event, action=replace(action, **{place.field: Seconds(value)}))
    return replace(script, timeline=tuple(timeline))


# Promises.


def keeps_promises(before: Script, after: Script) -> bool:
    """Whether what `after` expects is not more than what `before` did."""
    if not _left_alone(after) <= _left_alone(before):
        return False
    if any(one.when is When.AT_END for one in after.expect) and after.lasts < before.lasts:
        return False
    return _troubles(after) <= _troubles(before) and _undone_in_time(after) <= _undone_in_time(before)


def _undone_in_time(script: Script) -> set[tuple[str, str]]:
    """Events that undo another one before the time is over in which all must know it."""
    times = script.schedule()
    found: set[tuple[str, str]] = set()
    for one in script.expect:
        if not isinstance(one.check, e.KnownByAll):
            continue
        place = script.place(one.check.event or one.after)
        known, anchor = script.timeline[place], script.place(one.after)
        # It counts from the beginning of what lasts.
        since = times[anchor][0] + float(getattr(script.timeline[anchor].action, "away", 0.0))
        until = since + one.within if one.when is When.EVENTUALLY else inf
        later = zip(script.timeline[place + 1 :], times[place + 1 :], strict=True)
        found |= {
            (known.name, event.name)
            for event, (begins, _) in later
            if begins < until and _is_opposite(known.action, event.action) and _may_share(known.action, event.action)
        }
        lasts = float(getattr(known.action, "lasts", 0.0))
        if lasts and times[place][0] + lasts < until:
            found.add((known.name, known.name))
    return found


def _is_opposite(action: a.Action, later: a.Action) -> bool:
    """Whether what is known of one is so no more after the other."""
    gone, back = isinstance(action, a.GONE), isinstance(action, a.BACK)
    return (gone and isinstance(later, a.BACK)) or (back and isinstance(later, a.GONE)) or _undoes(later, action)


def _left_alone(script: Script) -> Counter[tuple[object, ...]]:
    """The faults that neither end by themselves nor are undone: their kinds, of whom they are, how a clock jumps."""
    actions = [event.action for event in script.timeline]
    return Counter(
        (type(fault), getattr(fault, "hosts", EVERYONE), getattr(fault, "jump", 0.0))
        for place, fault in enumerate(actions)
        if isinstance(fault, _LASTING)
        and not getattr(fault, "lasts", 0.0)
        and not a.only_ends(fault)
        and not any(_undoes(later, fault) and _may_share(later, fault) for later in actions[place + 1 :])
    )


_LASTING = (
    a.Isolate, a.Partition, a.Pause, a.Loss, a.Delay, a.Duplicate, a.Reorder, a.Clock, a.DiskFull, a.Withdraw,
    a.Traffic,
)  # fmt: skip


def _undoes(later: a.Action, fault: a.Action) -> bool:
    match fault, later:
        case (a.Isolate() | a.Partition(), a.Heal()) | (a.Pause(), a.Resume()) | (a.Withdraw(), a.Advertise()):
            return True
        case a.Clock(jump=jump, drift=drift), a.Clock(jump=back, drift=rate):
            return (drift == a.NO_DRIFT or rate == a.NO_DRIFT) and (jump * back < 0 or jump == a.NO_JUMP)
    return type(fault) is type(later) and a.only_ends(later)


def _may_share(one: a.Action, other: a.Action) -> bool:
    """Whether both may befall the same host: not if each names groups or hosts, and none of the other's."""
    mine, theirs = (_names(action) for action in (one, other))
    if mine is None or theirs is None:
        return True
    return any(name in (host, _group_of(host)) or host == _group_of(name) for name in mine for host in theirs)


def _names(action: a.Action) -> list[str] | None:
    """Those of its hosts; None if it says otherwise who they are."""
    selection: Selection = getattr(action, "hosts", EVERYONE)
    names = [one.name for one in selection if isinstance(one, Named)]
    return names if len(names) == len(selection) else None


def _group_of(host: str) -> str:
    return host.rpartition("-")[0]


def _troubles(script: Script) -> set[tuple[str, str]]:
    """Events of which something lasts on when the time begins from which an expectation counts."""
    times = script.schedule()
    found: set[tuple[str, str]] = set()
    for one in script.expect if times else ():
        if one.when is When.ALWAYS:
            continue
        anchor, name, at = len(times), AFTER_ALL, times[-1][0] + float(script.lasts)
        if one.when is When.EVENTUALLY:
            anchor = script.place(one.after)
            name, at = script.timeline[anchor].name, times[anchor][0]
        found |= {
            (script.timeline[place].name, name)
            for place, (begins, end) in enumerate(times)
            if begins <= at < end and place != anchor
        }
    return found
