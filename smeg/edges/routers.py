"""How the two ROUTER sockets are made, what bounds them, and what libzmq tells about their connections.

Every limit of the transport stands in `Limits`. No socket is kept here, and what a message says is not looked at.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import zmq

from smeg.edges.frames import MAX_FRAME
from smeg.keys import Secret, x25519_public

ZAP_DOMAIN = b"smegmesh"
_BACKLOG = 256
_READABLE = int(zmq.POLLIN)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one transport. Times in seconds, rates in 1/s, queues in messages a connection, sizes in bytes."""

    links: int = 4096
    """Connections that others made to us; beyond it even members are put off."""
    guest_links: int = 2048
    """Guests are let in only while fewer connections than this are open."""
    dialled: int = 512
    """Keys that we dial at the same time."""
    endpoints: int = 8
    """Endpoints that are tried for one key; the rest are ignored."""
    batch: int = 256
    """Messages that one `receive` takes from each socket."""
    send_queue: int = 512
    receive_queue: int = 128
    guests_rate: float = 20.0
    guests_burst: float = 40.0
    """Handshakes with unknown keys."""
    guest_messages_rate: float = 2.0
    guest_messages_burst: float = 20.0
    """Messages of one guest; a large one counts once more for each `guest_message_bytes`."""
    all_guests_messages_rate: float = 100.0
    all_guests_messages_burst: float = 200.0
    guest_message_bytes: int = 4096
    member_bytes_rate: float = 256 * 1024.0
    member_bytes_burst: float = 16 * 1024 * 1024.0
    """What one member's messages may hold, `member_message_bytes` added to each: the whole state of thousands at once,
    and then more than any churn; repair brings what was dropped."""
    member_message_bytes: int = 4096
    guest_seconds: float = 60.0
    """A connection without any message of a member is cut after this."""
    silent: float = 8.0
    """A connection that never said anything is cut after this; our own begin with a hello."""
    hoard: int = 8 * 1024 * 1024
    """What one connection may have sent beyond what was delivered and what its queue may hold."""
    handshake: float = 3.0
    heartbeat: float = 5.0
    heartbeat_timeout: float = 15.0
    connect: float = 2.0
    """An endpoint whose host did not answer at all by then is silent."""
    answer: float = 5.0
    """An endpoint that did not answer a hello by then is given up for the next."""
    retry_first: float = 0.1
    retry_most: float = 30.0
    retry_most_heard: float = 5.0
    """The longest wait while the host accepts connections: it may let us in soon."""
    stable: float = 10.0
    """A connection that lived this long starts the next waits from the shortest."""
    idle: float = 300.0
    """A dialled connection over which nothing went for this long is closed; who could not be reached and was not asked
    for during it is dialled no more."""
    deaf: float = 1.0
    """How long nothing is accepted after descriptors ran out."""


def make_server(context: zmq.Context[zmq.Socket[bytes]], curve: Secret, limits: Limits) -> zmq.Socket[bytes]:
    """A ROUTER for others to connect to, which lets nobody in whom no ZAP handler of the context allows."""
    socket = make_router(context, curve, limits)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return socket


def make_router(context: zmq.Context[zmq.Socket[bytes]], curve: Secret, limits: Limits) -> zmq.Socket[bytes]:
    """A ROUTER with our CURVE key and every bound set, neither bound nor connected."""
    _make_ids_unpredictable()
    socket = context.socket(zmq.ROUTER)
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.ROUTER_MANDATORY, 1),
        (zmq.ROUTER_HANDOVER, 0),
        (zmq.MAXMSGSIZE, MAX_FRAME),
        (zmq.SNDHWM, limits.send_queue),
        (zmq.RCVHWM, limits.receive_queue),
        (zmq.HANDSHAKE_IVL, milliseconds(limits.handshake)),
        (zmq.HEARTBEAT_IVL, milliseconds(limits.heartbeat)),
        (zmq.HEARTBEAT_TIMEOUT, milliseconds(limits.heartbeat_timeout)),
        (zmq.HEARTBEAT_TTL, milliseconds(limits.heartbeat_timeout)),
        (zmq.BACKLOG, _BACKLOG),
    ):
        socket.setsockopt(option, value)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, x25519_public(curve))
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.reveal())
    return socket


def _make_ids_unpredictable() -> None:
    """Seed the C library's `rand`, from which the next ROUTER takes the first number of its routing ids.

    libzmq does not seed it, so every process would count from the same number. Who claims the next one as its own
    routing id would make libzmq abort this process at the connection after.
    """
    ctypes.CDLL(None).srand(ctypes.c_uint(int.from_bytes(os.urandom(4), "little")))


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether something can be received now: cheaper to ask than to be refused."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & _READABLE)


def take_message(socket: zmq.Socket[bytes]) -> tuple[zmq.Frame, list[bytes]]:
    """The next message of a ROUTER that has one: the frame of the routing id, which knows its connection; the rest."""
    head = frame = socket.recv(zmq.NOBLOCK, copy=False)
    parts: list[bytes] = []
    while frame.more:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        parts.append(frame.bytes)
    return head, parts


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of a socket monitor."""

    event: int
    value: int
    """A descriptor, an errno or a status, as `zmq_socket_monitor` says for the event."""
    endpoint: str


def open_monitor(
    context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes], name: str, events: int
) -> zmq.Socket[bytes]:
    """A PAIR that tells `events` of `socket`.

    Its queue has no mark: libzmq's I/O thread blocks on a full one, and then nothing can be closed any more.
    """
    address = f"inproc://monitor-{name}"
    socket.monitor(address, events)
    monitor = context.socket(zmq.PAIR)
    monitor.linger = 0
    monitor.setsockopt(zmq.RCVHWM, 0)
    monitor.connect(address)
    return monitor


def happenings(monitor: zmq.Socket[bytes], most: int) -> Iterator[Happening]:
    """At most `most` events that are waiting."""
    for _ in range(most):
        if not readable(monitor):
            return
        head, endpoint = monitor.recv_multipart(zmq.NOBLOCK)
        event, value = struct.unpack("=HI", head)
        yield Happening(event, value, endpoint.decode("ascii", "replace"))
