"""The TCP connections that others made to us: whose they are, and the end of those that misuse them.

libzmq bounds a frame and counts whole messages, so one message of endless frames grows without bound in its memory and
is never seen by a reader. The kernel knows what arrived on each connection: who has sent much more than was delivered
is cut. So are those who stay without being a member, and the evicted. Nothing here reads a message.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass

from smeg.edges.routers import Limits

SWEEP = 0.25
"""seconds between looks at connections that proved no member's key, while there are any."""
SWEEP_ALL = 8 * SWEEP
"""seconds between looks at all."""

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
    curve: bytes = b""
    """The key that it proved, known from its first message on."""
    link: bytes = b""
    """libzmq's routing id for it, likewise."""
    member: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection that proved a key is over, and not because we cut it."""

    curve: bytes
    link: bytes
    """Its routing id."""


class Connections:
    """By descriptor, as the socket monitor and the messages name it.

    A descriptor may be closed by libzmq and opened anew as something else before its end is heard of, or before its
    last messages are read. What is then cut is at worst a connection that is made again, and what is then believed
    about whose it is lasts until its next message: only sockets can be shut down, and nobody is heard by this belief.
    """

    def __init__(self, limits: Limits) -> None:
        self._open: dict[int, _Connection] = {}
        self._standing: dict[bytes, int] = {}
        """How many connections of each key are open."""
        self._strangers = 0
        """How many belong to no member."""
        self._hoard = limits.hoard + limits.receive_queue * _LARGEST
        self._silent = min(limits.silent, limits.guest_seconds)
        self._guest_seconds = limits.guest_seconds
        self._next_sweep = 0.0
        self._next_of_all = 0.0
        self.cuts = 0
        self.ended: list[Ended] = []
        """Those that ended since the owner emptied this."""

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._open

    def stands(self, curve: bytes) -> bool:
        """Whether a connection is open that proved this key."""
        return curve in self._standing

    def opened(self, descriptor: int, now: float) -> None:
        self.closed(descriptor)
        self._open[descriptor] = _Connection(now)
        self._strangers += 1
        self._next_sweep = min(self._next_sweep, now + SWEEP)

    def closed(self, descriptor: int) -> None:
        connection = self._forget(descriptor)
        if connection is not None and connection.curve:
            self.ended.append(Ended(connection.curve, connection.link))

    def _forget(self, descriptor: int) -> _Connection | None:
        connection = self._open.pop(descriptor, None)
        if connection is not None:
            self._strangers -= not connection.member
            self._count(connection.curve, -1)
        return connection

    def _count(self, curve: bytes, change: int) -> None:
        if curve:
            standing = self._standing.get(curve, 0) + change
            if standing > 0:
                self._standing[curve] = standing
            else:
                self._standing.pop(curve, None)

    def delivered(self, descriptor: int, size: int) -> None:
        """`size` bytes of a message were read from it."""
        if connection := self._open.get(descriptor):
            connection.delivered += size

    def proved(self, descriptor: int, curve: bytes, link: bytes, members: Container[bytes]) -> None:
        """A message on it proved this key, and came under this routing id."""
        connection = self._open.get(descriptor)
        if connection is None:
            return
        if connection.curve != curve or connection.link != link:
            self._count(connection.curve, -1)
            self._count(curve, 1)
            connection.curve, connection.link = curve, link
            self._set_member(connection, curve in members)
        elif not connection.member and curve in members:
            self._set_member(connection, True)

    def _set_member(self, connection: _Connection, member: bool) -> None:
        self._strangers += connection.member - member
        connection.member = member

    def only_members(self, members: Container[bytes]) -> None:
        """Nobody else is a member any more: whose membership ended is a guest from now on, and has a guest's time."""
        for connection in self._open.values():
            if connection.member and connection.curve not in members:
                self._set_member(connection, False)
                connection.since = self._next_sweep

    def next_deadline(self) -> float | None:
        if not self._open:
            return None
        return self._next_sweep if self._strangers else self._next_of_all

    def sweep(self, now: float) -> None:
        """Cut what hoards or stays without being a member, when it is time to look."""
        due = self.next_deadline()
        if due is None or now < due:
            return
        self._next_sweep = now + SWEEP
        everyone = now >= self._next_of_all
        if everyone:
            self._next_of_all = now + SWEEP_ALL
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

    def lose(self, addresses: Collection[str]) -> None:
        """This host has these addresses no more: connections to them are dead, and nobody else says so."""
        for descriptor in [descriptor for descriptor in self._open if own_address(descriptor) in addresses]:
            self.closed(descriptor)
            _shut(descriptor)

    def cut(self, descriptor: int) -> None:
        """End a connection. libzmq sees it as closed by the other side."""
        if self._forget(descriptor) is None:
            return
        self.cuts += 1
        _shut(descriptor)


def own_address(descriptor: int) -> str:
    """This host's address on a connection, IPv4 as such; nothing if it is over."""
    try:
        with _borrowed(descriptor) as connection:
            host = connection.getsockname()[0]
    except OSError:
        return ""
    return str(host).partition("%")[0].removeprefix("::ffff:")


def _shut(descriptor: int) -> None:
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
