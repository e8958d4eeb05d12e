"""The actor of this node's own part in one mesh: owns `smeg.mesh.Mesh`."""

from __future__ import annotations

from actors.base import CoreActor
from actors.wiring import Role


class MeshActor(CoreActor):
    role = Role.MESH
