"""Between members and connections: which CURVE key is which member of which mesh, and what may pass from whom.

A connection proves one CURVE key and serves all meshes. Who is a member of mesh A is nobody in mesh B; who is nobody
may ask to be let in, and whom we dialled as guests ourselves may answer. What anybody claims to be is never looked
at.
"""

from __future__ import annotations

from dataclasses import dataclass

from smeg import messages as m
from smeg.addresses import MESH_ID
from smeg.certificates import Role
from smeg.device import Endpoint
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.messages import Channel

FROM_THE_DIALLED = frozenset({Channel.WELCOME, Channel.MEMBERSHIP})
"""What somebody who is no member yet may answer when we dialled it: a joiner knows nobody."""


@dataclass(frozen=True, slots=True)
class Line:
    """How to reach somebody: the CURVE key, and where to dial when there is no connection (nowhere: it is a client)."""

    curve: bytes
    endpoints: tuple[Endpoint, ...]


class Switchboard:
    def __init__(self) -> None:
        self._members: dict[str, Members] = {}
        self._dialled: dict[tuple[str, bytes], tuple[Endpoint, ...]] = {}

    def members_changed(self, message: m.MembersChanged) -> None:
        self._members[message.mesh] = message.members

    def holder(self, mesh: str, curve: bytes) -> NodeKey | None:
        """Whose CURVE key this is in a mesh."""
        return self._members[mesh].holder(curve) if mesh in self._members else None

    def mesh_stopped(self, mesh: str) -> None:
        self._members.pop(mesh, None)
        self._dialled = {place: endpoints for place, endpoints in self._dialled.items() if place[0] != mesh}

    def dialled(self, message: m.Dial) -> None:
        """From now on the owner of this key may answer as a stranger."""
        self._dialled[message.mesh, message.curve] = message.endpoints

    def curves(self) -> frozenset[bytes]:
        """The CURVE keys of all members of all meshes."""
        return frozenset(curve for members in self._members.values() for curve in members.curves)

    def meshes_of(self, curve: bytes) -> list[str]:
        """The meshes for which this key was dialled, or in which it is a member's."""
        dialled = [mesh for mesh, key in self._dialled if key == curve]
        return sorted({*dialled, *(mesh for mesh, members in self._members.items() if curve in members.curves)})

    def line(self, message: m.SendMember | m.SendGuest) -> Line:
        """How to reach whom a message is for. Raises `RemoteError` (`unknown-member`)."""
        if isinstance(message, m.SendGuest):
            return Line(message.to, self._dialled.get((message.mesh, message.to), ()))
        member = self._members.get(message.mesh, Members()).get(message.to)
        if member is None:
            raise RemoteError("unknown-member", "a message for somebody who is no member any more")
        endpoints = member.record.gossip if member.role is Role.PEER else ()
        return Line(member.standing.curve, endpoints)

    def receive(self, curve: bytes, mesh: str, channel: bytes, payload: bytes) -> m.Received:
        """What came over a connection that proved `curve`. Raises `RemoteError` when it may not pass."""
        if not MESH_ID.match(mesh):
            raise RemoteError("malformed", "a gossip message for something that is no mesh")
        try:
            known = Channel(channel)
        except ValueError as error:
            raise RemoteError("malformed", f"a gossip message on the unknown channel {channel!r}") from error
        sender = self.holder(mesh, curve)
        dialled = known in FROM_THE_DIALLED and (mesh, curve) in self._dialled
        if sender is None and known is not Channel.JOIN and not dialled:
            raise RemoteError("not-a-member", "a gossip message from somebody who is not in that mesh")
        return m.Received(mesh, known, sender, curve, payload)
