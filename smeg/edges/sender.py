"""The way out: over which connection a message reaches a key, and how much one key may draw.

A connection that we made goes before one that was made to us. Nothing waits: what cannot be handed over is dropped and
counted by reason.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

import zmq

from smeg.allowance import Allowances
from smeg.edges.frames import kind_of, pack
from smeg.edges.links import Links
from smeg.edges.routers import Limits
from smeg.errors import RemoteError

_MORE_FOLLOWS = zmq.NOBLOCK | zmq.SNDMORE


class Sender:
    """`bound` is the socket that others connect to. Counts go to `counts`; times are monotonic seconds."""

    def __init__(self, bound: zmq.Socket[bytes], links: Links, limits: Limits, counts: Counter[str]) -> None:
        self._bound = bound
        self._links = links
        self._limits = limits
        self._counts = counts
        self._inbound: OrderedDict[bytes, bytes] = OrderedDict()
        """By key the routing id of the newest connection that its holder made to us."""
        # As much as the other end takes in: whoever asks little for much draws no more than this either.
        self._allowances = Allowances(limits.member_bytes_rate, limits.member_bytes_burst, None, limits.links)

    def reaches(self, curve: bytes) -> bool:
        """Whether there is a connection to try."""
        return curve in self._inbound or self._links.link(curve) is not None

    def remember(self, curve: bytes, routing_id: bytes) -> None:
        """The newest connection of a key is the one to send over."""
        if self._inbound.get(curve) == routing_id:
            return
        self._inbound[curve] = routing_id
        self._inbound.move_to_end(curve)
        if len(self._inbound) > self._limits.links:
            self._inbound.popitem(last=False)

    def forget(self, curve: bytes, routing_id: bytes) -> None:
        """This connection is over."""
        if self._inbound.get(curve) == routing_id:
            del self._inbound[curve]

    def deny(self, curve: bytes) -> None:
        """Nothing more goes to this key over a connection that its holder made."""
        self._inbound.pop(curve, None)

    def spread(self, curves: Iterable[bytes], mesh: str, channel: bytes, payload: bytes, now: float) -> int:
        """Hand the same message to the connections that reach these keys; to how many it was handed."""
        try:
            parts = pack(mesh, channel, payload)
        except RemoteError as error:
            self._counts[f"dropped-unsendable-{error.problem.code}"] += sum(1 for _ in curves)
            return 0
        sent = 0
        for curve in curves:
            if reason := self._send(curve, parts, len(payload), now):
                self._counts[f"dropped-{reason}"] += 1
            else:
                sent += 1
        kind = kind_of(channel)
        self._counts["messages-out"] += sent
        self._counts["bytes-out"] += sent * len(payload)
        self._counts[f"messages-out:{kind}"] += sent
        self._counts[f"bytes-out:{kind}"] += sent * len(payload)
        return sent

    def answer(self, routing_id: bytes, parts: Sequence[bytes]) -> None:
        """Answer on the very connection that was asked over; whose asker is gone gets no answer."""
        _put(self._bound, routing_id, parts)

    def _send(self, curve: bytes, parts: list[bytes], size: int, now: float) -> str:
        """Why a message was not handed over, or nothing."""
        if not self._allowances.take(curve, now, size + self._limits.member_message_bytes):
            return "receiver-rate"
        if (link := self._links.link(curve)) is not None:
            self._links.used(link, now)
            return _put(self._links.socket, link, parts)
        routing_id = self._inbound.get(curve)
        if routing_id is None:
            return "no-connection"
        outcome = _put(self._bound, routing_id, parts)
        if outcome == "no-connection":
            del self._inbound[curve]
        return outcome


def _put(socket: zmq.Socket[bytes], routing_id: bytes, parts: Sequence[bytes]) -> str:
    """Why the socket did not take the message, or nothing."""
    mesh, channel, payload = parts
    try:
        # A ROUTER refuses a message by its first frame or not at all.
        socket.send(routing_id, _MORE_FOLLOWS)
        socket.send(mesh, _MORE_FOLLOWS)
        socket.send(channel, _MORE_FOLLOWS)
        socket.send(payload, zmq.NOBLOCK)
    except zmq.Again:
        return "queue-full"
    except zmq.ZMQError:
        # EHOSTUNREACH: the connection behind this routing id is gone.
        return "no-connection"
    return ""
