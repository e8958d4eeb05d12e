"""The actor of the routes of all meshes: owns `smeg.routing.RoutingTable`."""

from __future__ import annotations

from actors.base import CoreActor
from actors.wiring import Role


class RoutingTableActor(CoreActor):
    role = Role.ROUTING
