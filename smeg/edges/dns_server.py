"""The sockets of the DNS server at one address: UDP, and TCP by RFC 7766. They never wait, and never read what they
carry.

Who may ask is known by the address: a host answers on all its interfaces for each of its addresses, so that somebody on
the same link could reach what listens on a mesh's address.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from smeg.errors import LocalError

MAX_CONNECTIONS = 64
"""By TCP; one more ends the one that has been quiet for the longest."""
IDLE = 10.0
"""seconds within which a connection has to bring a whole query."""
MAX_QUERY = 4096
"""bytes."""
MAX_UNREAD = 64 * 1024
"""bytes of answers that somebody does not read, after which no more of its queries are read."""
BATCH = 64
"""queries by UDP, and connections, taken at once."""
READ = 1024
"""bytes read of a connection at once: the answers to so many queries are what one may hold beyond `MAX_UNREAD`."""
PAUSE = 1.0
"""seconds without new connections after there was no descriptor for one."""
_BACKLOG = 64
_PORTS_TRIED = 8

Source = IPv4Address | IPv6Address
Answer = Callable[[bytes, bool, float], bytes | None]
"""Of a query, whether it came by TCP, and when."""


@dataclass(slots=True)
class Connection:
    socket: socket.socket
    since: float
    """When the last whole query came."""
    unread: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """Whether the other side has said all that it will."""


class DnsServer:
    """Listens from construction to `close`. `port` 0 takes a free one. Raises `LocalError`: `dns-unusable`."""

    def __init__(self, address: Source, port: int) -> None:
        self.address = address
        self._connections: dict[int, Connection] = {}
        self._paused_until: float | None = None
        self._udp, self._listener = _bind(address, port)
        self.port: int = self._udp.getsockname()[1]
        self._epoll = select.epoll()
        for one in (self._udp, self._listener):
            self._epoll.register(one, select.EPOLLIN)

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"

    @property
    def descriptor(self) -> int:
        """Can be read when `serve` has something to do."""
        return self._epoll.fileno()

    def serve(self, answer: Answer, may_ask: Callable[[Source], bool], now: float) -> None:
        """Answer what has come, as much of it as is good for others."""
        for descriptor, events in self._epoll.poll(0):
            connection = self._connections.get(descriptor)
            if descriptor == self._udp.fileno():
                self._receive(answer, may_ask, now)
            elif descriptor == self._listener.fileno():
                self._accept(may_ask, now)
            elif connection is not None:
                if events & ~select.EPOLLOUT:
                    self._read(connection, answer, now)
                self._write(connection)

    def next_deadline(self) -> float | None:
        quiet = [connection.since + IDLE for connection in self._connections.values()]
        return min([*quiet, *([self._paused_until] if self._paused_until is not None else [])], default=None)

    def tick(self, now: float) -> None:
        """End connections that have been quiet for too long."""
        for connection in [each for each in self._connections.values() if now >= each.since + IDLE]:
            self._end(connection)
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
            self._epoll.register(self._listener, select.EPOLLIN)

    def close(self) -> None:
        for connection in list(self._connections.values()):
            self._end(connection)
        for one in (self._udp, self._listener):
            one.close()
        self._epoll.close()

    # UDP.

    def _receive(self, answer: Answer, may_ask: Callable[[Source], bool], now: float) -> None:
        for _ in range(BATCH):
            try:
                query, source = self._udp.recvfrom(MAX_QUERY)
                made = answer(query, False, now) if may_ask(_address(source)) else None
                if made is not None:
                    self._udp.sendto(made, source)
            except BlockingIOError:
                return
            except OSError:
                # The answer cannot be sent, or an earlier one could not: whoever asked will ask again.
                continue

    # TCP.

    def _accept(self, may_ask: Callable[[Source], bool], now: float) -> None:
        for _ in range(BATCH):
            try:
                one, source = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            except OSError:
                self._paused_until = now + PAUSE
                self._epoll.unregister(self._listener)
                return
            if not may_ask(_address(source)):
                one.close()
                continue
            one.setblocking(False)
            if len(self._connections) >= MAX_CONNECTIONS:
                self._end(min(self._connections.values(), key=lambda each: each.since))
            self._connections[one.fileno()] = Connection(one, now)
            self._epoll.register(one, select.EPOLLIN)

    def _read(self, connection: Connection, answer: Answer, now: float) -> None:
        if connection.ended or len(connection.unsent) > MAX_UNREAD:
            return
        try:
            found = connection.socket.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            connection.ended = True
            connection.unsent.clear()
            return
        connection.ended = not found
        connection.unread += found
        at = 0
        while len(connection.unread) >= at + 2:
            size = int.from_bytes(connection.unread[at : at + 2], "big")
            end = at + 2 + size
            if size <= MAX_QUERY and end > len(connection.unread):
                break
            made = answer(bytes(connection.unread[at + 2 : end]), True, now) if size <= MAX_QUERY else None
            if made is None:
                # What no query is, or one for which there is no time: by TCP, silence would only keep them waiting.
                connection.ended = True
                break
            connection.unsent += len(made).to_bytes(2, "big") + made
            connection.since = now
            at = end
        del connection.unread[:at]

    def _write(self, connection: Connection) -> None:
        try:
            if connection.unsent:
                del connection.unsent[: connection.socket.send(connection.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            connection.ended = True
            connection.unsent.clear()
        if connection.ended and not connection.unsent:
            self._end(connection)
            return
        reading = not connection.ended and len(connection.unsent) <= MAX_UNREAD
        events = (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if connection.unsent else 0)
        self._epoll.modify(connection.socket, events)

    def _end(self, connection: Connection) -> None:
        del self._connections[connection.socket.fileno()]
        connection.socket.close()


def _address(source: Iterable[object]) -> Source:
    text = str(next(iter(source))).partition("%")[0]
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _bind(address: Source, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket at one port."""
    for _ in range(1 if port else _PORTS_TRIED):
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            udp.bind((str(address), port))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((str(address), udp.getsockname()[1]))
            tcp.listen(_BACKLOG)
        except OSError as error:
            failure = error
            udp.close()
            tcp.close()
        else:
            return udp, tcp
    hint = "choose another dnsPort or dnsAddress; ports below 1024 need the capability NET_BIND_SERVICE"
    message = f"names cannot be served at {address} port {port}: {failure.strerror}"
    raise LocalError("dns-unusable", message, hint)
