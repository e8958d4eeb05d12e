"""What the routing table makes of what is known now, or would if some nodes were gone: computed anew for who asks.

The daemon's own table remembers what was before, and holds a lost way down for a second; this one does not. Else the
two agree, for they are the same code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from smeg import messages as m
from smeg.core import Message
from smeg.keys import NodeKey
from smeg.mesh_view import MeshView
from smeg.route_policy import RoutePolicy
from smeg.routing import RoutingTable


@dataclass(frozen=True, slots=True)
class Forecast:
    table: RoutingTable
    routes: Mapping[str, m.RoutesChanged]
    """By mesh."""


def forecast(
    own: NodeKey, policy: RoutePolicy, views: Mapping[str, MeshView], without: Collection[NodeKey], wall: int
) -> Forecast:
    """`wall` is in seconds since 1970."""
    table = RoutingTable(own, policy, lambda: wall)
    for view in views.values():
        for message in _snapshots(view, frozenset(without)):
            table.handle(message, 0.0)
    routes = {said.mesh: said for said in table.settle(0.0) if isinstance(said, m.RoutesChanged)}
    return Forecast(table, routes)


def _snapshots(view: MeshView, without: frozenset[NodeKey]) -> list[Message]:
    liveness = view.liveness or m.LivenessChanged(view.id, 0, 0, None, frozenset())
    liveness = replace(liveness, pruned=liveness.pruned | without)
    said = (view.started, view.members, view.annexes, view.admitted)
    return [liveness, *(message for message in said if message is not None)]
