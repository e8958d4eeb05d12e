"""Who may connect: the ZeroMQ authentication protocol (ZAP, RFC 27), answered on the thread that owns the sockets.

Fails closed: what is malformed, unknown or raises is never let in, and no request can stop the next from being served.
It decides about connections only; a connection outlives what is decided later, so each message is judged again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from enum import Enum

import zmq

from smeg.allowance import Allowance
from smeg.edges.routers import readable
from smeg.keys import KEY_BYTES

ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"


class Verdict(Enum):
    """A ZAP status. After LATER the client's handshake times out and it tries again; after DENY libzmq never does."""

    ALLOW = b"200"
    LATER = b"300"
    DENY = b"400"
    BROKEN = b"500"


Decide = Callable[[bytes, float], Verdict]
"""From a CURVE public key (32 bytes) and the time (monotonic seconds)."""


class Door:
    """The policy: the evicted never, members while there is room, guests at a rate and while there is much room."""

    def __init__(self, guests: Allowance, room: int, guest_room: int) -> None:
        self.members: Container[bytes] = frozenset()
        self.evicted: frozenset[bytes] = frozenset()
        self.guests_welcome = True
        self.crowd = 0
        """How many connections are open now; kept up to date by the owner."""
        self._guests = guests
        self._room = room
        self._guest_room = guest_room

    def decide(self, curve: bytes, now: float) -> Verdict:
        if curve in self.evicted:
            return Verdict.DENY
        if curve in self.members:
            return Verdict.ALLOW if self.crowd <= self._room else Verdict.LATER
        if self.guests_welcome and self.crowd <= self._guest_room and self._guests.take(now):
            return Verdict.ALLOW
        return Verdict.LATER


def answer(request: Sequence[bytes], domain: bytes, decide: Decide, now: float) -> tuple[Verdict, list[bytes]]:
    """The verdict on a request and the reply's frames. Never raises; the frames are empty if nothing can be replied.

    The User-Id that every message of the connection will carry is the client's key in hexadecimal.
    """
    verdict, curve = Verdict.DENY, b""
    match request:
        case [version, ticket, wanted, _address, _routing_id, b"CURVE", key] if (
            version == VERSION and wanted == domain and len(key) == KEY_BYTES
        ):
            curve = key
            try:
                verdict = decide(curve, now)
            except Exception:
                # One handshake is denied and counted; what raised may well work for the next.
                verdict = Verdict.BROKEN
        case [_, ticket, *_]:
            pass
        case _:
            return Verdict.DENY, []
    user = curve.hex().encode() if verdict is Verdict.ALLOW else b""
    return verdict, [VERSION, ticket, verdict.value, verdict.name.encode(), user, b""]


class ZapHandler:
    """Serves the requests of one context. Used from one thread; `serve` never waits."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], domain: bytes, decide: Decide) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(ENDPOINT)
        self.counts: Counter[Verdict] = Counter()
        self._domain = domain
        self._decide = decide

    def serve(self, now: float, most: int) -> None:
        """Answer at most `most` requests that are waiting."""
        for _ in range(most):
            if not readable(self.socket):
                return
            routing_id, *request = self.socket.recv_multipart(zmq.NOBLOCK)
            # The empty frame is the envelope of a REQ; only the owner of the context can leave it out.
            verdict, reply = answer(request[1:], self._domain, self._decide, now)
            self.counts[verdict] += 1
            if reply:
                self.socket.send_multipart([routing_id, b"", *reply], zmq.NOBLOCK)
