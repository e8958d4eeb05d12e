"""A page for who collects metrics, by HTTP/1.1 at one address: `GET /metrics`, one request a connection, no more.

It never waits. What it serves is made by whoever owns it, when `serve` says that somebody wants it. At a loopback
address only requests to a loopback name are answered, so that no web page makes a browser read it (DNS rebinding).
"""

from __future__ import annotations

import re
import select
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from smeg.errors import LocalError
from smeg.exposition import CONTENT_TYPE

MAX_CONNECTIONS = 16
"""One more ends the oldest."""
PATIENCE = 10.0
"""seconds that a connection may take in all."""
MAX_REQUEST = 8 * 1024
"""bytes."""
_BACKLOG = 64
_HOST = re.compile(r"\[(?P<v6>[0-9a-fA-F:.]+)\](:[0-9]*)?|(?P<name>[^:\[\]]+)(:[0-9]*)?")
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
            503: "Service Unavailable"}  # fmt: skip


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    since: float
    unread: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    waits: bool = False
    """Whether its request is read and the page is still to come."""
    head: bool = False
    """Whether it was asked for without its content."""


class MetricsServer:
    """Listens from construction to `close`. `port` 0 takes a free one. Raises `LocalError`: `metrics-unusable`."""

    def __init__(self, address: IPv4Address | IPv6Address, port: int) -> None:
        self._loopback = address.is_loopback
        self._connections: dict[int, _Connection] = {}
        self._listener = _listen(address, port)
        self.port: int = self._listener.getsockname()[1]
        self.place = f"[{address}]:{self.port}" if address.version == 6 else f"{address}:{self.port}"
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)

    @property
    def descriptor(self) -> int:
        """Can be read when `serve` has something to do."""
        return self._epoll.fileno()

    def serve(self, now: float) -> bool:
        """Read and write what can be; whether somebody waits for the page."""
        for descriptor, events in self._epoll.poll(0):
            connection = self._connections.get(descriptor)
            if descriptor == self._listener.fileno():
                self._accept(now)
            elif connection is not None:
                if events & ~select.EPOLLOUT:
                    self._read(connection)
                if connection.unsent:
                    self._write(connection)
        return any(connection.waits for connection in self._connections.values())

    def answer(self, page: str | None) -> None:
        """Give the page to all who wait for it; None when there is none."""
        for connection in [each for each in self._connections.values() if each.waits]:
            if page is None:
                self._reply(connection, 503, "the daemon is not ready\n")
            else:
                self._reply(connection, 200, page)

    def next_deadline(self) -> float | None:
        return min((connection.since + PATIENCE for connection in self._connections.values()), default=None)

    def tick(self, now: float) -> None:
        """End connections that take too long."""
        for connection in [each for each in self._connections.values() if now >= each.since + PATIENCE]:
            self._end(connection)

    def close(self) -> None:
        for connection in list(self._connections.values()):
            self._end(connection)
        self._listener.close()
        self._epoll.close()

    def _accept(self, now: float) -> None:
        try:
            one, _ = self._listener.accept()
        except OSError:
            # It has gone again, or there is no descriptor for it: then one of the old ones goes.
            if self._connections:
                self._end(min(self._connections.values(), key=lambda each: each.since))
            return
        one.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._end(min(self._connections.values(), key=lambda each: each.since))
        self._connections[one.fileno()] = _Connection(one, now)
        self._epoll.register(one, select.EPOLLIN)

    def _read(self, connection: _Connection) -> None:
        try:
            found = connection.socket.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            found = b""
        if not found or connection.waits or connection.unsent:
            # Nobody is there any more, or says more than one request.
            self._end(connection)
            return
        connection.unread += found
        if b"\r\n\r\n" in connection.unread:
            self._ask(connection, bytes(connection.unread))
        elif len(connection.unread) > MAX_REQUEST:
            self._reply(connection, 400, "the request is too long\n")

    def _ask(self, connection: _Connection, request: bytes) -> None:
        first, *fields = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._reply(connection, 400, "this is no request of HTTP/1.1\n")
        elif words[0] not in ("GET", "HEAD"):
            self._reply(connection, 405, "only GET\n")
        elif self._loopback and not _is_loopback(fields):
            self._reply(connection, 403, "use the name localhost, or the address itself\n")
        elif words[1].partition("?")[0] != "/metrics":
            self._reply(connection, 404, "there is only /metrics\n")
        else:
            connection.waits, connection.head = True, words[0] == "HEAD"

    def _reply(self, connection: _Connection, status: int, text: str) -> None:
        connection.waits = False
        content = text.encode()
        kind = CONTENT_TYPE if status == 200 else "text/plain; charset=utf-8"
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
        extra = "Allow: GET, HEAD\r\n" if status == 405 else ""
        connection.unsent += f"{head}{extra}Connection: close\r\n\r\n".encode()
        connection.unsent += b"" if connection.head else content
        self._epoll.modify(connection.socket, select.EPOLLOUT)
        self._write(connection)

    def _write(self, connection: _Connection) -> None:
        try:
            del connection.unsent[: connection.socket.send(connection.unsent)]
        except BlockingIOError:
            return
        except OSError:
            connection.unsent.clear()
        if not connection.unsent:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        del self._connections[connection.socket.fileno()]
        connection.socket.close()


def _is_loopback(fields: list[str]) -> bool:
    """Whether every `Host` of a request, and there is one, names this host as only itself can."""
    hosts = [value.strip() for name, _, value in (each.partition(":") for each in fields) if name.lower() == "host"]
    return bool(hosts) and all(map(_names_loopback, hosts))


def _names_loopback(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["v6"] or found["name"]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _listen(address: IPv4Address | IPv6Address, port: int) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((str(address), port))
        one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        message = f"metrics cannot be served at {address} port {port}: {error.strerror}"
        raise LocalError("metrics-unusable", message, "choose another metricsListen") from error
    return one
