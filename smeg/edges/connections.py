"""The TCP connections that others made to us, and the end of those that misuse them.

libzmq bounds a frame and counts whole messages, so one message of endless frames grows without bound in its memory and
is never seen by a reader. The kernel knows what arrived on each connection: who has sent much more than was delivered
is cut. So are those who stay without being a member, and the evicted. Nothing here reads a message.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from smeg.edges.routers import Limits

SWEEP = 0.25
"""seconds between looks at connections that proved no member's key; every eighth time all are looked at."""

_TCP_INFO = 11
"""Linux's number; elsewhere the option is unknown, which reads as a descriptor that is no TCP connection."""
_BYTES_RECEIVED = struct.Struct("=Q")
_BYTES_RECEIVED_AT = 128
"""Offset of tcpi_bytes_received in Linux's struct tcp_info (linux/tcp.h, since 4.1)."""
_HEARTBEATS = 64.0
"""bytes a second that are forgiven: pings and pongs are never delivered."""
_LARGEST = 64 * 1024


@dataclass(slots=True)
class _Connection:
    since: float
    delivered: int = 0
    member: bytes = b""
    """The member's key that it proved."""


class Connections:
    """By descriptor, as the socket monitor and the messages name it.

    A descriptor may be closed by libzmq and opened anew as something else before its end is heard of. What is then cut
    is at worst a connection that is made again: only sockets can be shut down.
    """

    def __init__(self, limits: Limits) -> None:
        self._open: dict[int, _Connection] = {}
        self._hoard = limits.hoard + limits.receive_queue * _LARGEST
        self._silent = min(limits.silent, limits.guest_seconds)
        self._guest_seconds = limits.guest_seconds
        self._next_sweep = 0.0
        self._sweeps = 0
        self.cuts = 0

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, descriptor: int, now: float) -> None:
        self._open[descriptor] = _Connection(now)

    def closed(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)

    def delivered(self, descriptor: int, size: int) -> None:
        """`size` bytes of a message were read from it."""
        if connection := self._open.get(descriptor):
            connection.delivered += size

    def proved_member(self, descriptor: int, curve: bytes) -> None:
        if connection := self._open.get(descriptor):
            connection.member = curve

    def only_members(self, members: frozenset[bytes]) -> None:
        """Nobody else is a member any more: whose membership ended is a guest from now on, and has a guest's time."""
        for connection in self._open.values():
            if connection.member and connection.member not in members:
                connection.member = b""
                connection.since = self._next_sweep

    def next_deadline(self) -> float | None:
        return self._next_sweep if self._open else None

    def sweep(self, now: float) -> None:
        """Cut what hoards or stays without being a member, when it is time to look."""
        if not self._open or now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP
        self._sweeps += 1
        everyone = self._sweeps % 8 == 0
        for descriptor, connection in list(self._open.items()):
            if connection.member and not everyone:
                continue
            age = now - connection.since
            if not connection.member and age > (self._guest_seconds if connection.delivered else self._silent):
                self.cut(descriptor)
                continue
            received = _received(descriptor)
            if received is None:
                self.closed(descriptor)
            elif received - connection.delivered - age * _HEARTBEATS > self._hoard:
                self.cut(descriptor)

    def cut(self, descriptor: int) -> None:
        """End a connection. libzmq sees it as closed by the other side."""
        if descriptor not in self._open:
            return
        self.closed(descriptor)
        self.cuts += 1
        with contextlib.suppress(OSError), _borrowed(descriptor) as connection:
            connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """libzmq's descriptor as a socket of ours, left open. Raises `OSError` if it is no socket (any more)."""
    connection = socket.socket(fileno=descriptor)
    try:
        yield connection
    finally:
        connection.detach()


def _received(descriptor: int) -> int | None:
    """Bytes that the kernel took in for a TCP connection, 0 where it doesn't say, None if it is none (any more)."""
    try:
        with _borrowed(descriptor) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_RECEIVED_AT + _BYTES_RECEIVED.size)
    except OSError:
        return None
    if len(info) < _BYTES_RECEIVED_AT + _BYTES_RECEIVED.size:
        return 0
    (received,) = _BYTES_RECEIVED.unpack_from(info, _BYTES_RECEIVED_AT)
    return int(received)
