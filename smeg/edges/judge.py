"""Whether a message that arrived may be handed on: what its connection proved, and what that key may send.

Judges message by message, since a connection outlives the admission or eviction of its key. Reads no payload.
"""

from __future__ import annotations

from collections.abc import Container

import zmq

from smeg.allowance import Allowance, Allowances
from smeg.edges.frames import FROM_GUEST, FROM_STRANGE_SERVER, HELLO, HELLO_ANSWER
from smeg.edges.routers import Limits
from smeg.edges.zap import Door
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES

_OWN_ID_BYTES = 5


def proved_key(head: zmq.Frame) -> bytes:
    """The key that ZAP wrote on the connection of a received routing id. Raises `RemoteError` if there is none.

    A routing id that its owner chose is told from libzmq's by its first byte, and is believed by nobody.
    """
    routing_id = head.bytes
    if len(routing_id) != _OWN_ID_BYTES or routing_id[0] != 0:
        raise RemoteError("claimed-id", "the connection claims a routing id")
    try:
        curve = bytes.fromhex(str(head.get("User-Id")))
    except (zmq.ZMQError, ValueError):
        curve = b""
    if len(curve) != KEY_BYTES:
        raise RemoteError("no-user-id", "the connection proved no key")
    return curve


def peer_address(head: zmq.Frame) -> str:
    """Where the connection of a message comes from, as text; empty when nobody knows."""
    try:
        return str(head.get("Peer-Address"))
    except zmq.ZMQError:
        return ""


class Judge:
    """Everything raises `RemoteError`, whose code is the reason to count. `dialled` are the keys that we dial."""

    def __init__(self, door: Door, dialled: Container[bytes], limits: Limits) -> None:
        self._door = door
        self._dialled = dialled
        self._guests = Allowances(
            limits.guest_messages_rate,
            limits.guest_messages_burst,
            Allowance(limits.all_guests_messages_rate, limits.all_guests_messages_burst),
            limits.guest_links,
        )
        # Each on its own: what one member sends too much must never cost another.
        self._members = Allowances(limits.member_bytes_rate, limits.member_bytes_burst, None, limits.links)
        self._guest_message = limits.guest_message_bytes
        self._member_message = limits.member_message_bytes

    def client(self, curve: bytes, channel: bytes, size: int, now: float) -> None:
        """A message of `size` bytes on a connection that `curve` made to us: much from members, a few J from guests,
        and a join's answer from whom we dial."""
        if channel == HELLO_ANSWER:
            raise RemoteError("bad-channel", "only who is dialled answers a hello")
        # Whom we ask to be let in, or to know us again, answers over a connection that it made, if it has one.
        if curve in self._door.members or (channel in FROM_STRANGE_SERVER and curve in self._dialled):
            self._spend(curve, size, now)
            return
        if channel not in FROM_GUEST and channel != HELLO:
            raise RemoteError("guest-channel", "a guest may only ask to join")
        if not self._guests.take(curve, now, 1 + size // self._guest_message):
            raise RemoteError("guest-rate", "guests ask too much")

    def server(self, curve: bytes, channel: bytes, size: int, now: float) -> None:
        """A message of `size` bytes on a connection that we made: much from members, a join's answer from others."""
        if channel == HELLO:
            raise RemoteError("bad-channel", "only who dials says hello")
        if channel != HELLO_ANSWER and curve not in self._door.members and channel not in FROM_STRANGE_SERVER:
            raise RemoteError("server-channel", "a server that is no member may only answer a join")
        self._spend(curve, size, now)

    def _spend(self, curve: bytes, size: int, now: float) -> None:
        """Both directions draw on one allowance: a member may have connections of both kinds."""
        if not self._members.take(curve, now, size + self._member_message):
            raise RemoteError("member-rate", "a member sends more than anybody can take in")
