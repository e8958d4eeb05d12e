"""What the daemon measures of itself: counts of what has happened, and at any moment a page with them and the state.

It hears what the dashboard hears. It keeps counts alone: what is so now it reads from the dashboard's views.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from smeg import __version__
from smeg import messages as m
from smeg.core import Message
from smeg.device import Handshake
from smeg.exposition import Histogram, Page
from smeg.keys import NodeKey
from smeg.mesh_view import MeshView
from smeg.metric_families import FAMILIES

LATENCY_BOUNDS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 30, 60)
"""seconds."""
RECENT = 180.0
"""seconds; WireGuard makes new keys after 120, if anything is sent (its paper, section 6.1)."""
MOST_REASONS = 64
"""values of a label that others have a part in; the rest are counted as `other`."""


@dataclass(frozen=True, slots=True)
class Process:
    """The daemon itself, as its system sees it."""

    memory: int = 0
    """bytes in RAM."""
    cpu: float = 0.0
    """seconds."""


@dataclass(frozen=True, slots=True)
class Queue:
    """An actor's inbox."""

    waiting: int
    dropped: int


@dataclass(slots=True)
class _OfMesh:
    """Counts of one mesh."""

    leaders: int = 0
    routes: int = 0
    failures: int = 0
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCY_BOUNDS))
    operations: Mapping[str, int] = field(default_factory=dict)
    received: int = 0
    sent: int = 0


class Metrics:
    def __init__(self) -> None:
        self._meshes: dict[str, _OfMesh] = {}
        self._alarms: Counter[str] = Counter()

    def hear(self, message: Message, view: MeshView | None) -> None:
        """`view` is the message's mesh as it was before, if it is one of this node's."""
        if isinstance(message, m.Alarm):
            code = message.problem.code
            self._alarms[code if code in self._alarms or len(self._alarms) < MOST_REASONS else "other"] += 1
        if isinstance(message, m.MeshStopped):
            self._meshes.pop(message.mesh, None)
        if view is None:
            return
        match message:
            case m.LivenessChanged() if view.liveness is not None and message.leader != view.liveness.leader:
                self._of(view).leaders += 1
            case m.Detected():
                for seconds in message.after:
                    self._of(view).latency.observe(seconds)
            case m.RoutesChanged() if view.routes is not None and message.routes != view.routes.routes:
                self._of(view).routes += 1
            case m.DeviceApplied():
                self._of(view).operations = message.operations
            case m.DeviceFailed():
                self._of(view).failures += 1
            case m.HandshakesSeen():
                self._carried(self._of(view), message.handshakes, view.handshakes)

    def _of(self, view: MeshView) -> _OfMesh:
        return self._meshes.setdefault(view.id, _OfMesh())

    def _carried(self, mesh: _OfMesh, now: Mapping[bytes, Handshake], before: Mapping[bytes, Handshake]) -> None:
        """WireGuard counts for each peer from zero whenever it is made anew."""
        for key, seen in now.items():
            known = before.get(key)
            same = known is not None and known.received <= seen.received and known.sent <= seen.sent
            mesh.received += seen.received - (known.received if same and known is not None else 0)
            mesh.sent += seen.sent - (known.sent if same and known is not None else 0)

    def page(
        self,
        node: NodeKey,
        status: Mapping[str, Any],
        views: Iterable[MeshView],
        gossip: Mapping[str, int],
        queues: Mapping[str, Queue],
        process: Process,
    ) -> str:
        """All of it as text. `status` is the daemon's own answer of that name; `queues` go by the actors' names."""
        page = Page(FAMILIES)
        _daemon(page, status, process)
        for code, count in sorted(self._alarms.items()):
            page.add("smegmesh_alarms_total", count, code)
        for view in sorted(views, key=lambda view: view.id):
            self._mesh(page, node, view)
        _gossip(page, gossip)
        for actor, queue in sorted(queues.items()):
            page.add("smegmesh_queue_messages", queue.waiting, actor)
            page.add("smegmesh_queue_dropped_total", queue.dropped, actor)
        return page.text()

    def _mesh(self, page: Page, node: NodeKey, view: MeshView) -> None:
        name, counts = label(view.name, view.id), self._of(view)
        page.add("smegmesh_mesh_state", 1, name, view.state)
        for (role, state), count in sorted(_members(view).items()):
            page.add("smegmesh_members", count, name, role, state)
        page.add("smegmesh_leads", int(view.liveness is not None and view.liveness.leader == node), name)
        page.add("smegmesh_leader_changes_total", counts.leaders, name)
        page.add("smegmesh_epoch", view.epoch, name)
        page.add_histogram("smegmesh_detection_latency_seconds", counts.latency, name)
        for operation, count in sorted(counts.operations.items()):
            page.add("smegmesh_device_operations_total", count, name, operation)
        page.add("smegmesh_device_failures_total", counts.failures, name)
        _tunnels(page, name, view.handshakes.values())
        page.add("smegmesh_wireguard_bytes_total", counts.received, name, "received")
        page.add("smegmesh_wireguard_bytes_total", counts.sent, name, "sent")
        prefixes = {route.prefix for route in view.routes.routes} if view.routes is not None else ()
        page.add("smegmesh_routes", len(prefixes), name)
        page.add("smegmesh_route_changes_total", counts.routes, name)


def label(name: str, mesh: str) -> str:
    """How a mesh is called: two of one name are told apart by the beginning of their ids."""
    return f"{name}@{mesh[:8]}"


def _daemon(page: Page, status: Mapping[str, Any], process: Process) -> None:
    page.add("smegmesh_build_info", 1, __version__)
    page.add("smegmesh_uptime_seconds", status["uptime"])
    page.add("smegmesh_resident_memory_bytes", process.memory)
    page.add("smegmesh_cpu_seconds_total", process.cpu)
    page.add("smegmesh_healthy", int(status["healthy"]))
    for code, count in sorted(Counter(problem["code"] for problem in status["problems"]).items()):
        page.add("smegmesh_problems", count, code)
    for actor in status["actors"]:
        page.add("smegmesh_actor_up", int(actor["state"] == "running"), actor["name"])
        page.add("smegmesh_actor_restarts_total", actor["restarts"], actor["name"])
    if (uplink := status.get("uplink")) is not None:
        page.add("smegmesh_uplink_reached", int(uplink["reached"]))
    if (names := status.get("names")) is not None:
        page.add("smegmesh_dns_queries_total", names["queries"])
        page.add("smegmesh_dns_queries_dropped_total", names["dropped"])


def _members(view: MeshView) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    liveness = view.liveness
    for key, member in view.table.table.items():
        pruned = liveness is not None and key in liveness.pruned
        down = liveness is not None and key in liveness.down
        found[member.role.value, "pruned" if pruned else "daemon-down" if down else "alive"] += 1
    for member in view.members.quarantined.values() if view.members is not None else ():
        found[member.role.value, "quarantined"] += 1
    return found


def _gossip(page: Page, counters: Mapping[str, int]) -> None:
    """By the names that the transport gives its counters."""
    reasons = 0
    other = 0
    for name, count in sorted(counters.items()):
        what, _, kind = name.partition(":")
        way, direction = what.partition("-")[::2]
        if kind and way in ("messages", "bytes"):
            family = "smegmesh_messages_total" if way == "messages" else "smegmesh_message_bytes_total"
            page.add(family, count, direction, kind)
        elif way == "dropped" and reasons < MOST_REASONS:
            reasons += 1
            page.add("smegmesh_messages_dropped_total", count, direction)
        elif way == "dropped":
            other += count
        elif way == "handshakes":
            page.add("smegmesh_connection_handshakes_total", count, direction)
        elif what in ("connections-in", "connections-out"):
            page.add("smegmesh_connections", count, direction)
        elif what == "connections-cut":
            page.add("smegmesh_connections_cut_total", count)
    if other:
        page.add("smegmesh_messages_dropped_total", other, "other")


def _tunnels(page: Page, mesh: str, handshakes: Iterable[Handshake]) -> None:
    seen = [handshake.age for handshake in handshakes]
    ages = sorted(age for age in seen if age is not None)
    recent = sum(1 for age in ages if age <= RECENT)
    for state, count in (("recent", recent), ("old", len(ages) - recent), ("never", len(seen) - len(ages))):
        page.add("smegmesh_wireguard_peers", count, mesh, state)
    if ages:
        page.add("smegmesh_wireguard_handshake_age_seconds", ages[len(ages) // 2], mesh, "median")
        page.add("smegmesh_wireguard_handshake_age_seconds", ages[-1], mesh, "oldest")
