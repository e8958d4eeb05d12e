"""What `status`, `members` and `list-meshes` answer: the newest snapshots of everybody, as JSON values.

It listens and answers; it never asks another actor, so a stuck one cannot keep a person waiting.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from smeg import __version__
from smeg import messages as m
from smeg.addresses import node_id, overlay_prefix
from smeg.carriers import tunnels
from smeg.certificates import Role
from smeg.convergence import convergence
from smeg.core import Message
from smeg.device import Handshake
from smeg.errors import LocalError, Problem
from smeg.forecast import forecast
from smeg.journal import KEPT, Event, Journal
from smeg.keys import NodeKey, wireguard_text
from smeg.mesh_view import MeshView, find_mesh, find_places
from smeg.metrics import Metrics, Process, Queue
from smeg.plan_reports import changes, describe
from smeg.records import Member
from smeg.route_policy import RoutePolicy
from smeg.route_reports import Reports
from smeg.static_clients import static_clients
from smeg.zone import APEX, reverse_zone

KEPT_ALARMS = 20
STANDING = frozenset({"route-refused", "bridged-around", "name-doubled", "advertise-refused"})
"""Codes of alarms that `RouteProblems` has too."""
STATES = ("alive", "daemon-down", "pruned", "quarantined")
"""Of a member."""
_WHICH_STATES = f"states of members: {', '.join(STATES)}"


_UPLINK_LOST = Problem(
    "uplink-lost",
    "nothing that exitProbe names accepts a connection: what is behind this node is offered to nobody",
    "see to this node's way to it; the offers return by themselves",
)


class Dashboard:
    """`Node` says by `MeshKnown` which meshes there are; the rest comes from their actors."""

    def __init__(
        self, node: NodeKey, name: str, started: float, policy: RoutePolicy, keepalive: int, run: str = ""
    ) -> None:
        """`keepalive` in seconds, as in the configuration; `run` is another for each start."""
        self._node = node
        self._keepalive = keepalive
        self._policy = policy
        self._name = name
        self._started = started
        self._meshes: dict[str, MeshView] = {}
        self._supervised = m.Supervised(0, ())
        self._gossip: dict[str, int] = {}
        self._uplink: m.UplinkChanged | None = None
        self._names: m.NamesServed | None = None
        self._metrics_served: m.MetricsServed | None = None
        self._port = 0
        self._alarms: OrderedDict[tuple[str, str], Problem] = OrderedDict()
        self._journal = Journal(run)
        self._metrics = Metrics()

    def knows(self, mesh: str) -> bool:
        """Whether this id is one of this node's meshes."""
        return mesh in self._meshes

    def hear(self, message: Message, wall: int = 0) -> Sequence[Event]:
        """Take in a snapshot or an event; what has happened by it. `wall` is in seconds since 1970, and only shown."""
        known = self._meshes.get(getattr(message, "mesh", ""))
        happened = self._journal.hear(message, known, wall, self._alarms.keys())
        self._metrics.hear(message, known)
        match message:
            case m.MeshKnown():
                self._meshes.setdefault(message.mesh, MeshView(message.mesh, message.name)).state = message.state
            case m.MeshStopped():
                self._meshes.pop(message.mesh, None)
                for place in [place for place in self._alarms if place[0] == message.mesh]:
                    del self._alarms[place]
            case m.Supervised():
                before, self._supervised = self._supervised, message
                ended = {actor.name for actor in before.actors} - {actor.name for actor in message.actors}
                self._forget(ended)
            case m.Reconfigured():
                self._name, self._keepalive, self._policy = message.name, message.keepalive, message.routes
            case m.GossipReady():
                self._port = message.port
            case m.UplinkChanged():
                self._uplink = message
            case m.NamesServed():
                self._names = message
            case m.MetricsServed():
                self._metrics_served = message
            case m.GossipCounted():
                self._gossip = dict(message.counters)
            case m.Alarm(_, problem) if problem.code in STANDING:
                # Whoever raises it says by a snapshot for how long it stands.
                pass
            case m.AlarmOver():
                self._alarms.pop((message.mesh, message.code), None)
            case m.Alarm():
                self._alarms[message.mesh, message.problem.code] = message.problem
                while len(self._alarms) > KEPT_ALARMS:
                    self._alarms.popitem(last=False)
            case _:
                view = self._meshes.get(getattr(message, "mesh", ""))
                if view is not None:
                    view.hear(message, self._node)
        return happened

    def _forget(self, ended: Collection[str]) -> None:
        """What was said by actors that the daemon has no longer."""
        self._names = None if "dns" in ended else self._names
        self._metrics_served = None if "metrics" in ended else self._metrics_served
        self._uplink = None if "prober" in ended else self._uplink

    def find(self, text: str) -> MeshView:
        """The mesh of this name, id, or unique beginning of one. Raises `LocalError`."""
        return find_mesh({view.id: view.name for view in self._meshes.values()}, text, self._meshes)

    def list_meshes(self) -> dict[str, Any]:
        return {"meshes": [self._brief(view) for view in self._meshes.values()]}

    def members(self, text: str, states: object = None, wall: int = 0) -> dict[str, Any]:
        """All, or those in one of these `STATES`. Raises `LocalError` for anything but a list of some."""
        view, wanted = self.find(text), _states(states)
        members = view.table
        quarantined = view.members.quarantined if view.members is not None else {}
        found = [(member, _state(view.liveness, member.key)) for member in members.values()]
        found += [(member, "quarantined") for member in quarantined.values()]
        rows = [self._member(view, member, state) for member, state in found if state in wanted]
        answer = {"mesh": {"name": view.name, "id": view.id}, "members": rows}
        statics = [row for row in self._statics(view, wall) if row["state"] in wanted]
        return {**answer, "statics": statics} if statics else answer

    def _statics(self, view: MeshView, wall: int) -> list[dict[str, Any]]:
        """Devices without a daemon, each as its peer is."""
        annexes = view.annexes.annexes if view.annexes is not None else {}
        return [
            {
                "name": client.name,
                "address": str(address),
                "state": _state(view.liveness, via),
                "via": view.called(via),
                "wireguard": wireguard_text(client.wireguard),
                "expires": client.expires,
                **_seen(view.handshakes.get(client.wireguard)),
            }
            for address, (via, client) in static_clients(view.id, view.table, annexes, wall).items()
        ]

    def converge(self, text: str) -> dict[str, Any]:
        """Who is known to hold all that this node holds. Raises `LocalError`."""
        return convergence(self.find(text), self._node)

    def events(self, text: str | None, run: object, since: object, last: object) -> dict[str, Any]:
        """What has happened, in all meshes or in one: since the event of that number of this run, or the last ones."""
        number = since if isinstance(since, int) else None
        newest = min(max(last, 0), KEPT) if isinstance(last, int) else 0
        return self._journal.since(str(run or ""), number, newest, self.find(text).name if text else "")

    def routes(self, text: str | None, wall: int) -> dict[str, Any]:
        """Which ways are known and taken, in all meshes or in one. `wall` is in seconds since 1970."""
        return self._reports(wall).routes(self.find(text) if text else None)

    def why(self, destination: str, wall: int) -> dict[str, Any]:
        """By which steps a packet gets to an address or a member, and by which rules. Raises `LocalError`."""
        return self._reports(wall).why(destination)

    def _reports(self, wall: int) -> Reports:
        expected = forecast(self._node, self._policy_now(), self._meshes, (), wall)
        return Reports(self._node, self._meshes, expected, wall)

    def _policy_now(self) -> RoutePolicy:
        """What this node leads to at this moment, if that is probed."""
        if not self._policy.probed:
            return self._policy
        reached = self._uplink is not None and self._uplink.reached
        return replace(self._policy, probed=False, behind=self._policy.behind if reached else frozenset())

    def plan(self, text: str, without: object, wall: int) -> dict[str, Any]:
        """How the interface of a mesh is set and what would change: now, or if some nodes were gone. Raises
        `LocalError`."""
        view, gone = self.find(text), self._nodes(without)
        routes = view.routes
        if gone:
            routes = forecast(self._node, self._policy_now(), self._meshes, gone, wall).routes.get(view.id)
        return {**describe(view), "changes": changes(view, self._node, routes, gone, self._keepalive)}

    def _nodes(self, named: object) -> frozenset[NodeKey]:
        """Other members of any mesh, by what people call them."""
        if named is None:
            return frozenset()
        if not isinstance(named, list):
            raise LocalError("bad-argument", "the nodes to do without are not a list", "give names or ids")
        found = {find_places(self._meshes, str(text))[0][1] for text in named}
        if self._node in found:
            raise LocalError("bad-argument", "this is the node itself", "name others to do without")
        return frozenset(found)

    def status(self, text: str | None, now: float) -> dict[str, Any]:
        views = [self.find(text)] if text else list(self._meshes.values())
        problems = [*self._supervised.problems, *self._alarms.values()]
        problems += [view.device_problem for view in views if view.device_problem is not None]
        problems += [warning for view in views for warning in (*view.warnings, *view.route_problems)]
        problems += [problem for view in views for problem in view.name_problems(self._node)]
        if self._uplink is not None and not self._uplink.reached:
            problems.append(_UPLINK_LOST)
        problems += self._names.problems if self._names is not None else ()
        if self._metrics_served is not None and self._metrics_served.problem is not None:
            problems.append(self._metrics_served.problem)
        actors = self._supervised.actors
        problems += [
            Problem("actor-down", f"{actor.name} is {actor.state}: {actor.last_error}", "it is started again by itself")
            for actor in actors
            if actor.state != "running"
        ]
        dropped = {
            name.removeprefix("dropped-"): n for name, n in self._gossip.items() if n and name.startswith("dropped-")
        }
        return {
            "version": __version__,
            "node": node_id(self._node),
            "name": self._name,
            "healthy": not problems,
            "uptime": round(now - self._started, 1),
            "problems": [{"code": p.code, "message": p.message, "hint": p.hint} for p in problems],
            "meshes": [self._brief(view) for view in views],
            "actors": [
                {"name": a.name, "state": a.state, "restarts": a.restarts, "last_error": a.last_error} for a in actors
            ],
            "gossip": {"port": self._port, "connections": self._gossip.get("connections", 0), "dropped": dropped},
            **({"names": _served(self._names, self._meshes)} if self._names is not None else {}),
            **({"uplink": {"reached": self._uplink.reached}} if self._uplink is not None else {}),
            **({"metrics": self._metrics_served.place} if self._metrics_served is not None else {}),
        }

    def metrics(self, now: float, queues: Mapping[str, Queue], process: Process) -> str:
        """Everything that is measured, as text for Prometheus."""
        status = self.status(None, now)
        return self._metrics.page(self._node, status, self._meshes.values(), self._gossip, queues, process)

    def _brief(self, view: MeshView) -> dict[str, Any]:
        members = view.table
        own = members.get(self._node)
        silent = view.liveness.silent if view.liveness is not None else frozenset()
        leader = view.liveness.leader if view.liveness is not None else None
        return {
            "name": view.name,
            "id": view.id,
            "interface": view.interface,
            "backend": view.backend,
            "address": view.address,
            "via": _tunnels(view, own)[0] if own is not None else [],
            "members": len(members),
            "alive": len(members) - len(silent),
            "leader": node_id(leader) if leader is not None else None,
            "epoch": view.epoch,
            "state": view.state,
        }

    def _member(self, view: MeshView, member: Member, state: str) -> dict[str, Any]:
        leader = view.liveness.leader if view.liveness is not None else None
        seen = view.handshakes.get(member.standing.wireguard)
        via, warm = _tunnels(view, member)
        return {
            "node": node_id(member.key),
            "name": member.record.name,
            **member.record.card.json(),
            "address": str(member.address),
            "role": member.role.value,
            "state": state,
            "leader": member.key == leader,
            "self": member.key == self._node,
            "wireguard": wireguard_text(member.standing.wireguard),
            "via": via,
            "warm": warm,
            "endpoints": [str(endpoint) for endpoint in member.record.wireguard],
            **_seen(seen),
        }


def _seen(handshake: Handshake | None) -> dict[str, Any]:
    if handshake is None:
        return {"handshake_age": None, "received": 0, "sent": 0}
    return {"handshake_age": handshake.age, "received": handshake.received, "sent": handshake.sent}


def _states(asked: object) -> Collection[str]:
    if asked is None:
        return STATES
    if not isinstance(asked, list) or not asked:
        raise LocalError("bad-argument", "the states of members are not a list of some", _WHICH_STATES)
    for state in asked:
        if state not in STATES:
            raise LocalError("bad-argument", f"no member is ever {str(state)[:40]!r}", _WHICH_STATES)
    return asked


def _served(names: m.NamesServed, meshes: Iterable[str]) -> dict[str, Any]:
    zones = [APEX, *(reverse_zone(overlay_prefix(mesh)) for mesh in meshes)]
    return {
        "served": list(names.places),
        "zones": [".".join(zone) for zone in zones],
        "queries": names.asked,
        "dropped": names.dropped,
    }


def _state(liveness: m.LivenessChanged | None, key: NodeKey) -> str:
    if liveness is None:
        return "alive"
    return "pruned" if key in liveness.pruned else "daemon-down" if key in liveness.down else "alive"


def _tunnels(view: MeshView, member: Member) -> tuple[list[dict[str, str]], dict[str, str] | None]:
    """Of a client: its carrier and those with which it has direct tunnels; the peer that would be the next carrier."""
    members = view.table
    found = tunnels(member, members, view.pruned) if member.key in members and member.role is Role.CLIENT else None
    if found is None:
        return [], None
    names = {key: {"node": node_id(key), "name": members[key].record.name} for key in found.all()}
    via = [names[key] for key in (found.carrier, *sorted(found.direct))]
    return via, names[found.warm] if found.warm is not None else None
