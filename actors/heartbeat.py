"""The actor of one mesh's liveness: owns `smeg.heartbeat.Heartbeat`."""

from __future__ import annotations

from actors.base import CoreActor
from actors.wiring import Role


class HeartbeatActor(CoreActor):
    role = Role.HEARTBEAT
