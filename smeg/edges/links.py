"""The dialling socket: connections to servers whose CURVE keys we know, tried until a hello is answered.

One attempt is one `connect` under a routing id that is never used again; libzmq's own reconnecting is put off for ever,
because it has no jitter and no other endpoint to go on to. What is said over a connection is not looked at here, and
nothing is sent before the other end has answered.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import count

import zmq

from smeg.device import Endpoint
from smeg.edges.events import Connected, Event, Idle, Lost, Reason, Refused, Unanswered
from smeg.edges.frames import HELLO_FRAMES
from smeg.edges.routers import Happening, Limits, happenings, make_router, open_monitor
from smeg.errors import RemoteError
from smeg.keys import Secret

_NEVER = 24 * 3600 * 1000
"""milliseconds; libzmq adds up to as much again at random, in 32 bits."""
_PROMPT = 1.0
"""seconds; a connection that ends later than this after it was begun was not refused, but given up by a router."""
_WATCHED = (
    zmq.EVENT_CONNECT_DELAYED
    | zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
)


@dataclass(slots=True)
class _Attempt:
    """One connect, until it fails or is closed."""

    link: bytes
    """The routing id that we gave it."""
    endpoint: Endpoint
    address: str
    since: float
    begun: bool = False
    descriptor: int | None = None
    connected: float = 0.0
    shaken: bool = False
    answered: float | None = None
    used: float = 0.0
    sent: bool = False
    """Whether something was sent since `used`."""


@dataclass(slots=True)
class _Target:
    """A key that is to be reached."""

    curve: bytes
    endpoints: tuple[Endpoint, ...]
    again: float
    """When the next attempt may start."""
    attempt: _Attempt | None = None
    position: int = 0
    failures: int = 0
    heard: bool = False
    """Whether a host has accepted a connection in this round of endpoints."""


class Links:
    """All connections that we made. Events gather in `events`, which the owner empties."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], curve: Secret, limits: Limits, rng: random.Random
    ) -> None:
        self._limits = limits
        self._rng = rng
        self._targets: dict[bytes, _Target] = {}
        self._by_link: dict[bytes, _Target] = {}
        self._by_address: dict[str, _Target] = {}
        self._numbers = count(1)
        self.events: list[Event] = []
        self.socket = make_router(context, curve, limits)
        self.socket.setsockopt(zmq.RECONNECT_IVL, _NEVER)
        self.monitor = open_monitor(context, self.socket, "links", _WATCHED)

    def __len__(self) -> int:
        return len(self._targets)

    def connected(self) -> int:
        """How many have answered and stand."""
        return sum(1 for target in self._targets.values() if target.attempt and target.attempt.answered is not None)

    def dial(self, curve: bytes, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """Keep a connection to `curve` from now on. Again with other endpoints: they are used from the next attempt."""
        usable = []
        for endpoint in endpoints[: self._limits.endpoints]:
            if literal := _literal(endpoint):
                usable.append(literal)
            else:
                self.events.append(Unanswered(curve, endpoint, Reason.BAD_ENDPOINT))
        target = self._targets.get(curve)
        if target is not None:
            if usable and tuple(usable) != target.endpoints:
                target.endpoints = tuple(usable)
                target.position = -1 if target.attempt else 0
                target.again = min(target.again, now + self._jittered(self._limits.retry_first))
        elif usable and len(self._targets) >= self._limits.dialled:
            self.events.append(Unanswered(curve, usable[0], Reason.TOO_MANY))
        elif usable:
            target = self._targets[curve] = _Target(curve, tuple(usable), again=now)
            self._try(target, now)

    def hang_up(self, curve: bytes) -> None:
        """Close the connection to `curve`, and try no more."""
        if target := self._targets.pop(curve, None):
            self._end(target)

    def link(self, curve: bytes) -> bytes | None:
        """The routing id by which `curve` is reached, if it has answered."""
        target = self._targets.get(curve)
        if target is None or target.attempt is None or target.attempt.answered is None:
            return None
        return target.attempt.link

    def owner(self, link: bytes) -> bytes:
        """The server's key, proved by its handshake. Raises `RemoteError` if the connection was given up."""
        if target := self._by_link.get(link):
            return target.curve
        raise RemoteError("late", "its connection was given up")

    def answered(self, link: bytes, now: float) -> None:
        """A hello was answered on this link: the other end is there and lets us in."""
        target = self._by_link.get(link)
        if target and target.attempt and target.attempt.answered is None:
            target.attempt.answered = target.attempt.used = now
            self.events.append(Connected(target.curve, target.attempt.endpoint))

    def used(self, link: bytes, now: float) -> None:
        if (target := self._by_link.get(link)) and target.attempt:
            target.attempt.used = now

    def sent(self, link: bytes) -> None:
        if (target := self._by_link.get(link)) and target.attempt:
            target.attempt.sent = True

    def watch(self, now: float) -> None:
        """Read what the monitor says of our attempts."""
        for happening in happenings(self.monitor, self._limits.batch * 4):
            target = self._by_address.get(happening.endpoint)
            if target and target.attempt:
                self._happened(target, target.attempt, happening, now)

    def _happened(self, target: _Target, attempt: _Attempt, happening: Happening, now: float) -> None:
        # An end counts only after this attempt's own beginning: that of the attempt before may be heard of late.
        match happening.event:
            case zmq.EVENT_CONNECT_DELAYED:
                attempt.begun = True
            case zmq.EVENT_CONNECTED:
                attempt.begun = True
                attempt.descriptor, attempt.connected = happening.value, now
                target.heard = True
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                attempt.shaken = True
            case zmq.EVENT_CLOSED if attempt.begun and attempt.descriptor is None:
                if now - attempt.since <= _PROMPT:
                    self._failed(target, Refused(target.curve, attempt.endpoint), now)
                else:
                    self._unanswered(target, attempt, Reason.UNREACHABLE, now)
            case zmq.EVENT_DISCONNECTED if attempt.descriptor == happening.value:
                if attempt.answered is None:
                    self._unanswered(target, attempt, Reason.CLOSED, now)
                else:
                    self._lost(target, attempt, now)
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH if attempt.descriptor is not None:
                self._unanswered(target, attempt, Reason.DENIED, now)
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL if attempt.descriptor is not None:
                self._unanswered(target, attempt, Reason.NO_HANDSHAKE, now)
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL if attempt.descriptor is not None:
                # Whichever side's handshake runs out of time first, the errno differs and the time does not.
                silent = now - attempt.connected >= self._limits.handshake / 2
                self._unanswered(target, attempt, Reason.PUT_OFF if silent else Reason.NO_HANDSHAKE, now)

    def tick(self, now: float) -> None:
        """Start what is due, give up what did not answer, close what is idle."""
        for target in list(self._targets.values()):
            attempt = target.attempt
            if attempt is None:
                if now >= target.again:
                    self._try(target, now)
            elif attempt.answered is None:
                if now >= attempt.since + self._limits.answer:
                    self._unanswered(target, attempt, _silence(attempt), now)
            elif attempt.sent:
                attempt.used, attempt.sent = now, False
            elif now >= attempt.used + self._limits.idle:
                self.events.append(Idle(target.curve, attempt.endpoint))
                self.hang_up(target.curve)

    def next_deadline(self) -> float | None:
        return min((self._due(target) for target in self._targets.values()), default=None)

    def _due(self, target: _Target) -> float:
        if target.attempt is None:
            return target.again
        if target.attempt.answered is None:
            return target.attempt.since + self._limits.answer
        return target.attempt.used + self._limits.idle

    def _try(self, target: _Target, now: float) -> None:
        endpoint = target.endpoints[target.position % len(target.endpoints)]
        link = b"\x01" + next(self._numbers).to_bytes(8, "big")
        attempt = _Attempt(link, endpoint, f"tcp://{endpoint}", now)
        if attempt.address in self._by_address:
            # `disconnect` goes by address, and would end the other key's connection too.
            self._unanswered(target, attempt, Reason.ENDPOINT_IN_USE, now)
            return
        self.socket.setsockopt(zmq.CURVE_SERVERKEY, target.curve)
        self.socket.setsockopt(zmq.CONNECT_ROUTING_ID, link)
        self.socket.setsockopt(zmq.IPV6, int(":" in endpoint.host))
        try:
            self.socket.connect(attempt.address)
        except zmq.ZMQError:
            self._unanswered(target, attempt, Reason.BAD_ENDPOINT, now)
            return
        target.attempt = attempt
        self._by_link[link] = self._by_address[attempt.address] = target
        with contextlib.suppress(zmq.ZMQError):
            self.socket.send_multipart([link, *HELLO_FRAMES], zmq.NOBLOCK)

    def _unanswered(self, target: _Target, attempt: _Attempt, reason: Reason, now: float) -> None:
        self._failed(target, Unanswered(target.curve, attempt.endpoint, reason), now)

    def _failed(self, target: _Target, event: Event, now: float) -> None:
        """End the attempt and go on to the next endpoint, or wait when all of them have been tried."""
        self.events.append(event)
        self._end(target)
        target.position += 1
        target.failures += 1
        rounds, within = divmod(target.failures, len(target.endpoints))
        wait = self._limits.retry_first
        if within == 0:
            most = self._limits.retry_most_heard if target.heard else self._limits.retry_most
            wait = min(most, wait * 2.0 ** min(rounds, 32))
            target.heard = False
        target.again = now + self._jittered(wait)

    def _lost(self, target: _Target, attempt: _Attempt, now: float) -> None:
        """Try the same endpoint again, soon if the connection had stood for long."""
        stood = now - (attempt.answered or now)
        if stood >= self._limits.stable:
            target.failures = 0
        self._failed(target, Lost(target.curve, attempt.endpoint), now)
        target.position -= 1

    def _end(self, target: _Target) -> None:
        attempt, target.attempt = target.attempt, None
        if attempt is None:
            return
        self._by_link.pop(attempt.link, None)
        self._by_address.pop(attempt.address, None)
        # After a denial libzmq has closed it already and knows the address no more.
        with contextlib.suppress(zmq.ZMQError):
            self.socket.disconnect(attempt.address)

    def _jittered(self, wait: float) -> float:
        return wait * self._rng.uniform(0.5, 1.0)


def _silence(attempt: _Attempt) -> Reason:
    if attempt.descriptor is None:
        return Reason.UNREACHABLE
    return Reason.NO_ANSWER if attempt.shaken else Reason.PUT_OFF


def _literal(endpoint: Endpoint) -> Endpoint | None:
    """The endpoint in the one spelling that libzmq's events use, or None if it is no address to connect to.

    Names are refused because libzmq would look them up on its I/O thread, for all connections; zones because libzmq
    reports them differently.
    """
    try:
        address = ip_address(endpoint.host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    if address.is_unspecified or address.is_multicast or not 0 < endpoint.port < 65536:
        return None
    return Endpoint(str(address), endpoint.port)
