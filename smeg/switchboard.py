"""Between members and connections: which CURVE key is which member of which mesh, and what may pass from whom.

A connection proves one CURVE key and serves all meshes. Who is a member of mesh A is nobody in mesh B; who is nobody
may ask to be let in, and whom we dialled as guests ourselves may answer. What anybody claims to be is never looked
at.
"""

from __future__ import annotations

from collections.abc import Container
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


class Curves(Container[bytes]):
    """The CURVE keys of all members of all meshes: a view, asked for one key at a time."""

    def __init__(self, members: dict[str, Members]) -> None:
        self._members = members

    def __contains__(self, curve: object) -> bool:
        return any(curve in members.curves for members in self._members.values())


class Switchboard:
    def __init__(self) -> None:
        self._members: dict[str, Members] = {}
        self._dialled: dict[tuple[str, bytes], tuple[Endpoint, ...]] = {}
        self.curves = Curves(self._members)
        """Shows at every moment who is a member now."""

    def members_changed(self, message: m.MembersChanged) -> None:
        self._members[message.mesh] = message.members

    def mesh_stopped(self, mesh: str) -> None:
        self._members.pop(mesh, None)
        self._dialled = {place: endpoints for place, endpoints in self._dialled.items() if place[0] != mesh}

    def dialled(self, message: m.Dial) -> None:
        """From now on the owner of this key may answer as a stranger."""
        self._dialled[message.mesh, message.curve] = message.endpoints

    def meshes_of(self, curve: bytes) -> list[str]:
        """The meshes for which this key was dialled, or in which it is a member's."""
        dialled = [mesh for mesh, key in self._dialled if key == curve]
        return sorted({*dialled, *(mesh for mesh, _ in self.members_with(curve))})

    def members_with(self, curve: bytes) -> list[tuple[str, NodeKey]]:
        """Whose key this is, mesh by mesh."""
        holders = ((mesh, members.holder(curve)) for mesh, members in sorted(self._members.items()))
        return [(mesh, holder) for mesh, holder in holders if holder is not None]

    def places(self, curve: bytes) -> tuple[Endpoint, ...]:
        """Where the holder of a key can be dialled as a member; nowhere if it is a client everywhere."""
        lines = (self.member(mesh, holder) for mesh, holder in self.members_with(curve))
        return tuple(dict.fromkeys(endpoint for line in lines for endpoint in line.endpoints))

    def member(self, mesh: str, key: NodeKey) -> Line:
        """How to reach a member. Raises `RemoteError` (`unknown-member`)."""
        members = self._members.get(mesh)
        member = members.get(key) if members is not None else None
        if member is None:
            raise RemoteError("unknown-member", "a message for somebody who is no member any more")
        endpoints = member.record.gossip if member.role is Role.PEER else ()
        return Line(member.standing.curve, endpoints)

    def line(self, message: m.SendMember | m.SendGuest) -> Line:
        """How to reach whom a message is for. Raises `RemoteError` (`unknown-member`)."""
        if isinstance(message, m.SendGuest):
            return Line(message.to, self._dialled.get((message.mesh, message.to), ()))
        return self.member(message.mesh, message.to)

    def receive(self, curve: bytes, mesh: str, channel: bytes, payload: bytes) -> m.Received:
        """What came over a connection that proved `curve`. Raises `RemoteError` when it may not pass."""
        if not MESH_ID.match(mesh):
            raise RemoteError("malformed", "a gossip message for something that is no mesh")
        try:
            known = Channel(channel)
        except ValueError as error:
            raise RemoteError("malformed", f"a gossip message on the unknown channel {channel!r}") from error
        members = self._members.get(mesh)
        sender = members.holder(curve) if members is not None else None
        dialled = known in FROM_THE_DIALLED and (mesh, curve) in self._dialled
        if sender is None and known is not Channel.JOIN and not dialled:
            raise RemoteError("not-a-member", "a gossip message from somebody who is not in that mesh")
        return m.Received(mesh, known, sender, curve, payload)
