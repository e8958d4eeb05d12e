"""The actor of one mesh's member list: owns `smeg.membership.Membership`."""

from __future__ import annotations

from actors.base import CoreActor
from actors.wiring import Role


class MembershipActor(CoreActor):
    role = Role.MEMBERSHIP
