"""That what a script does and expects means something: an action is about somebody, a check can fail and hold."""

from __future__ import annotations

from collections.abc import Callable

from scenarios import actions as a
from scenarios.actions import (
    WORDS,
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
from scenarios.expectations import OF_ALL_TIME, RATED, Bounded, Check, KnownByAll, Outage, SharesWithin
from scenarios.expectations import WORDS as CHECK_WORDS
from scenarios.script import Begins, Group, Script, When
from scenarios.script_names import Findings, check_event, check_names
from scenarios.script_values import MOST
from scenarios.selectors import EVERYONE, Named, Part, Rest, Selection, Some

NEWS_TO_NOBODY = (
    a.Loss, a.Delay, a.Duplicate, a.Reorder, a.Roam, a.NatRebind, a.DiskFull, a.CorruptState, a.CopyState, a.Invite,
    a.Advertise, a.Withdraw, a.Traffic,
)  # fmt: skip
"""By which nobody is gone, or back, or new, or no member any more."""
GONE_OR_BACK = "an event by which somebody is gone, or back, or new"
SHORTEST = 0.05
"""seconds of what happens again and again."""


def check_timeline(script: Script, found: Findings) -> None:
    before: list[str] = []
    last = 0.0
    for place, (event, (begins, _)) in enumerate(zip(script.timeline, script.schedule(), strict=True)):
        verb = WORDS[type(event.action)]
        if event.at is not None and event.at < last:
            found.wrong(event.line, verb, f"is at {event.at:g} s, after one at {last:g} s", "events in order")
        last = begins
        check_names(script, found, event.line, verb, event.action, before)
        if event.after is not None:
            check_names(script, found, event.line, "after", event.after, before)
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


def check_expectations(script: Script, found: Findings) -> None:
    events = [event.name for event in script.timeline]
    for one in script.expect:
        place = CHECK_WORDS[type(one.check)]
        if one.after:
            check_event(script, found, one.line, place, one.after, events)
        if (one.when is When.EVENTUALLY or isinstance(one.check, KnownByAll)) and not events:
            found.wrong(one.line, place, "has no event from which it counts", "a timeline with one")
        _can_fail(script, found, one.line, place, one.check)
        if one.when is When.EVENTUALLY and isinstance(one.check, OF_ALL_TIME):
            found.wrong(one.line, place, "comes about at once, whatever follows", "it under `always` or `at-end`")
        if isinstance(one.check, KnownByAll) and events:
            _is_known(script, found, one.line, one.check, script.place(one.check.event or one.after))
        check_names(script, found, one.line, place, one.check, events)


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
