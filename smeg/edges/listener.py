"""The bound socket: where other nodes connect to, as CURVE clients whose keys ZAP decides about.

It binds, follows its connections by the socket monitor, and stops accepting for a moment when descriptors run out,
where libzmq would spin. It never looks into a message.
"""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from ipaddress import IPv4Address, ip_address

import zmq

from smeg.device import Endpoint
from smeg.edges.connections import Connections
from smeg.edges.routers import Limits, happenings, make_server, open_monitor
from smeg.errors import LocalError, Problem
from smeg.keys import Secret

ANY = "*"
_WATCHED = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_ACCEPT_FAILED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL, errno.EPROTONOSUPPORT})


class Listener:
    """Bound on construction. `address` is a literal or `*` for all of both families; `port` 0 takes a free one.

    Raises `LocalError` with code `port-in-use`, `address-not-here`, `port-forbidden` or `cannot-listen`.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], curve: Secret, address: str, port: int, limits: Limits
    ) -> None:
        self._limits = limits
        self.connections = Connections(limits)
        self.counts: Counter[str] = Counter()
        self.socket = make_server(context, curve, limits)
        self.monitor = open_monitor(context, self.socket, "listener", _WATCHED)
        self._bound = self._bind(address, port)
        self._deaf_until: float | None = None
        self.port = int(self._bound.rpartition(":")[2])

    def _bind(self, address: str, port: int) -> str:
        """Bind, and give libzmq's name for it, by which it is unbound and bound again."""
        hosts = ["::", "0.0.0.0"] if address == ANY else [_literal(address)]
        for host in hosts:
            self.socket.setsockopt(zmq.IPV6, int(":" in host))
            try:
                self.socket.bind(f"tcp://{Endpoint(host, port)}")
            except zmq.ZMQError as error:
                if host == "::" and error.errno in _NO_IPV6:
                    continue
                raise _explained(error, address, port) from error
            return self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        raise AssertionError("the last host either binds or raises")

    def watch(self, now: float) -> Problem | None:
        """Read what the monitor says. A problem if nothing is accepted from now on."""
        problem = None
        for happening in happenings(self.monitor, self._limits.batch * 4):
            match happening.event:
                case zmq.EVENT_ACCEPTED:
                    self.connections.opened(happening.value, now)
                case zmq.EVENT_DISCONNECTED:
                    self.connections.closed(happening.value)
                case zmq.EVENT_ACCEPT_FAILED:
                    self.counts["accept-failed"] += 1
                    problem = self._stop_accepting(now, happening.value) or problem
                case _:
                    self.counts["handshake-failed"] += 1
        return problem

    def _stop_accepting(self, now: float, number: int) -> Problem | None:
        if self._deaf_until is not None:
            return None
        self._deaf_until = now + self._limits.deaf
        with contextlib.suppress(zmq.ZMQError):
            self.socket.unbind(self._bound)
        return Problem(
            "accept-failed",
            f"no connection can be accepted on port {self.port}: {zmq.strerror(number)}",
            "raise the limit of open files; listening is tried again by itself",
        )

    @property
    def deaf(self) -> bool:
        """Whether no connection is accepted for the time being."""
        return self._deaf_until is not None

    def tick(self, now: float) -> Problem | None:
        """Accept again when the pause is over, and cut connections that misuse us. A problem if binding fails."""
        self.connections.sweep(now)
        if self._deaf_until is None or now < self._deaf_until:
            return None
        try:
            self.socket.bind(self._bound)
        except zmq.ZMQError as error:
            self._deaf_until = now + self._limits.deaf
            return _explained(error, self._bound, self.port).problem
        self._deaf_until = None
        return None

    def next_deadline(self) -> float | None:
        return min((at for at in (self._deaf_until, self.connections.next_deadline()) if at is not None), default=None)


def _literal(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError as error:
        raise LocalError(
            "cannot-listen", f"{address!r} is not an address", "give an IPv4 or IPv6 address, or * for all"
        ) from error
    return str(IPv4Address(parsed)) if parsed.version == 4 else str(parsed)


def _explained(error: zmq.ZMQError, address: str, port: int) -> LocalError:
    match error.errno:
        case errno.EADDRINUSE:
            return LocalError(
                "port-in-use",
                f"port {port} at {address} is in use by another program",
                f"stop what listens there (ss -ltnp sport = :{port}), or choose another gossipPort",
            )
        case errno.EADDRNOTAVAIL | errno.ENODEV:
            return LocalError(
                "address-not-here", f"{address} is no address of this machine", "give one of its own, or * for all"
            )
        case errno.EACCES:
            return LocalError(
                "port-forbidden", f"port {port} at {address} may not be used by this user", "choose one above 1023"
            )
        case _:
            return LocalError(
                "cannot-listen", f"cannot listen on port {port} at {address}: {error}", "check address and port"
            )
