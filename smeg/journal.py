"""What has happened, as a list of events: the differences between each snapshot and the one before it.

It hears what the dashboard hears, just before the dashboard does, and keeps the last `KEPT` events, each with a number
that only grows. Who asks names the first number that it has not seen, so that the daemon knows of nobody who asks.
What was so when a mesh started is no event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smeg import messages as m
from smeg.addresses import node_id
from smeg.core import Message
from smeg.errors import Problem
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.mesh_view import MeshView
from smeg.records import Member, Route

KEPT = 4096
"""events."""
MOST_ROUTES = MOST_JOINED = 32
"""of one change that are events of their own; the rest is counted in one. Who joins a mesh of thousands learns of them
by the hundred, and what happened before shall still be there to read."""

_GONE: Mapping[str, str] = {
    "leave": "left",
    "evict": "evicted",
    "expired": "expired",
    "orphaned": "orphaned",
    "quarantined": "quarantined",
}
"""By why a member went, what has happened."""


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    mesh: str = ""
    """The name of the mesh; empty for what concerns the daemon."""
    node: str = ""
    """The id of the node that it is about."""
    name: str = ""
    text: str = ""
    """In words, what kind and name do not say."""
    code: str = ""
    """Of a problem; else empty."""


class Journal:
    """`run` names the time for which the numbers hold: it is another after each start."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._events: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        """With the wall clock's time, in seconds since 1970."""
        self._next = 1
        self._problems: dict[object, frozenset[Problem]] = {}
        """By who said them last."""

    def hear(
        self, message: Message, view: MeshView | None, wall: int, alarms: Collection[tuple[str, str]] = ()
    ) -> list[Event]:
        """What has happened. `view` is the message's mesh, and `alarms` what stands, by mesh and code, before that."""
        happened = list(self._happened(message, view))
        if isinstance(message, m.AlarmOver) and (message.mesh, message.code) in alarms:
            text = f"{message.code} is over"
            happened.append(Event("solved", view.name if view is not None else "", text=text, code=message.code))
        self._events.extend((wall, event) for event in happened)
        self._next += len(happened)
        return happened

    def since(self, run: str, number: int | None, last: int, mesh: str) -> dict[str, Any]:
        """The events from a number on, of one mesh's name or of all; of another run all; with no number the `last`."""
        first = self._next - len(self._events)
        start = self._next - last if number is None else number if run == self._run else 1
        rows = [
            {"number": number, "time": wall, "kind": event.kind, "mesh": event.mesh, "node": event.node,
             "name": event.name, "text": event.text, "code": event.code}
            for number, (wall, event) in enumerate(self._events, first)
            if number >= start and (not mesh or event.mesh in ("", mesh))
        ]  # fmt: skip
        missed = max(0, first - start) if number is not None else 0
        return {"run": self._run, "next": self._next, "missed": missed, "events": rows}

    def _happened(self, message: Message, view: MeshView | None) -> Iterator[Event]:
        match message:
            case m.MeshKnown() if view is None:
                yield Event("mesh-known", message.name, text=f"the mesh is {message.state}")
            case m.MeshStarted():
                yield Event("mesh-works", message.name, text=f"this node has the address {message.address}")
            case m.MeshStopped() if view is not None:
                self._problems = {said: found for said, found in self._problems.items() if said != message.mesh}
                yield Event("mesh-ended", view.name, text=message.problem.message if message.problem else "")
            case m.Alarm():
                yield self._problem(message.problem, view)
            case m.DeviceFailed() if view is not None and view.device_problem != message.problem:
                yield self._problem(message.problem, view)
            case m.DeviceApplied() if view is not None and view.device_problem is not None:
                yield Event("solved", view.name, text=view.device_problem.message, code=view.device_problem.code)
            case m.RouteProblems() if view is not None:
                for problem in sorted(set(view.route_problems) - set(message.problems), key=str):
                    yield Event("solved", view.name, text=problem.message, code=problem.code)
            case m.DeviceWarned() if view is not None:
                yield from self._changed_problems(message.mesh, message.problems, view)
            case m.Supervised():
                down = [Problem("actor-down", f"{actor.name} is {actor.state}: {actor.last_error}")
                        for actor in message.actors if actor.state != "running"]  # fmt: skip
                yield from self._changed_problems("", (*message.problems, *down), None)
            case m.UplinkChanged():
                words = "is reached" if message.reached else "is not reached: what is behind this node is not offered"
                yield Event("uplink", text=f"what exitProbe names {words}")
            case m.MembersChanged() if view is not None and view.members is not None:
                yield from _members(message, view.members, view)
            case m.LivenessChanged() if view is not None and view.liveness is not None:
                yield from _liveness(message, view.liveness, view)
            case m.RoutesChanged() if view is not None and view.routes is not None:
                yield from _routes(message.routes, view.routes.routes, view)

    def _problem(self, problem: Problem, view: MeshView | None) -> Event:
        return Event("problem", view.name if view is not None else "", text=problem.message, code=problem.code)

    def _changed_problems(self, said: object, problems: Iterable[Problem], view: MeshView | None) -> Iterator[Event]:
        before, now = self._problems.get(said, frozenset()), frozenset(problems)
        self._problems[said] = now
        mesh = view.name if view is not None else ""
        for problem in sorted(now - before, key=str):
            yield self._problem(problem, view)
        for problem in sorted(before - now, key=str):
            yield Event("solved", mesh, text=problem.message, code=problem.code)


def _members(now: m.MembersChanged, before: m.MembersChanged, view: MeshView) -> Iterator[Event]:
    if now.members.ranks is not before.members.ranks:
        moves = now.members.ranks.since(before.members.ranks)
        why = dict(now.gone)
        for rank in reversed(moves.gone):
            key = before.members.ranks.keys[rank]
            kind = "quarantined" if key in now.quarantined else _GONE.get(why.get(key, ""), "gone")
            yield _of(kind, before.members[key], view)
        for rank in moves.come[:MOST_JOINED]:
            member = now.members[now.members.ranks.keys[rank]]
            yield _of("joined", member, view, f"as {member.role.value}, {member.address}")
        if len(moves.come) > MOST_JOINED:
            yield Event("joined", view.name, text=f"{len(moves.come) - MOST_JOINED} more members")


def _liveness(now: m.LivenessChanged, before: m.LivenessChanged, view: MeshView) -> Iterator[Event]:
    table = view.table
    changes = (
        ("pruned", now.pruned - before.pruned),
        ("daemon-down", now.down - before.down),
        ("back", (before.pruned | before.down) - now.pruned - now.down),
    )
    for kind, keys in changes:
        for key in sorted(keys):
            if key in table:
                yield _of(kind, table[key], view)
    if now.leader != before.leader:
        yield _leads(now.leader, table, view)


def _leads(leader: NodeKey | None, table: Members, view: MeshView) -> Event:
    if leader is None:
        return Event("leader", view.name, text="nobody leads")
    member = table.get(leader)
    return _of("leader", member, view) if member is not None else Event("leader", view.name, node_id(leader))


def _of(kind: str, member: Member, view: MeshView, text: str = "") -> Event:
    return Event(kind, view.name, node_id(member.key), member.record.name, text)


def _routes(now: tuple[Route, ...], before: tuple[Route, ...], view: MeshView) -> Iterator[Event]:
    """By prefix: through whom it goes now."""
    then, after = _by_prefix(before), _by_prefix(now)
    changed = [prefix for prefix in sorted({*then, *after}) if then.get(prefix) != after.get(prefix)]
    for prefix in changed[:MOST_ROUTES]:
        via = after.get(prefix, ())
        names = " and ".join(view.called(key) for key in via)
        words = f"{prefix} through {names}" if via else f"{prefix} is not reached any more"
        yield Event("route", view.name, node_id(via[0]) if via else "", view.called(via[0]) if via else "", words)
    if len(changed) > MOST_ROUTES:
        yield Event("route", view.name, text=f"{len(changed) - MOST_ROUTES} more prefixes go other ways")


def _by_prefix(routes: Iterable[Route]) -> dict[Any, tuple[NodeKey, ...]]:
    found: dict[Any, tuple[NodeKey, ...]] = {}
    for route in routes:
        found[route.prefix] = (*found.get(route.prefix, ()), route.via)
    return found
