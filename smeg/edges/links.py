"""The dialling socket: connections to servers whose CURVE keys we know, tried until a hello is answered.

One attempt is one `connect` under a routing id that is never used again; libzmq's own reconnecting is put off for ever,
because it has no jitter and no other endpoint to go on to. What is said over a connection is not looked at here, and
nothing is sent before the other end has answered.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Collection, Iterator
from itertools import count

import zmq

from smeg.device import Endpoint
from smeg.edges.connections import own_address
from smeg.edges.events import Connected, Event, Idle, Lost, Reason, Refused, Unanswered
from smeg.edges.frames import HELLO_FRAMES
from smeg.edges.routers import Happening, Limits, happenings, make_router, open_monitor
from smeg.edges.targets import Attempt, Target, literal
from smeg.errors import RemoteError
from smeg.keys import Secret

_NEVER = 24 * 3600 * 1000
"""milliseconds; libzmq adds up to as much again at random, in 32 bits."""
_WATCHED = (
    zmq.EVENT_CONNECT_DELAYED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
)


class Links:
    """All connections that we made. Events gather in `events`, which the owner empties."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], curve: Secret, limits: Limits, rng: random.Random
    ) -> None:
        self._limits = limits
        self._rng = rng
        self._targets: dict[bytes, Target] = {}
        self._by_link: dict[bytes, Target] = {}
        self._by_address: dict[str, Target] = {}
        self._numbers = count(1)
        self._soonest: float | None = None
        """Before this nothing is due: kept low enough whenever something changes, made exact by `tick`."""
        self.events: list[Event] = []
        self.socket = make_router(context, curve, limits)
        self.socket.setsockopt(zmq.RECONNECT_IVL, _NEVER)
        # Its monitor tells no errno, but so it tells ECONNREFUSED from all others: after those it says that it retries.
        self.socket.setsockopt(zmq.RECONNECT_STOP, zmq.RECONNECT_STOP_CONN_REFUSED)
        self.monitor = open_monitor(context, self.socket, "links", _WATCHED)

    def __len__(self) -> int:
        return len(self._targets)

    def __contains__(self, curve: object) -> bool:
        return curve in self._targets

    def __iter__(self) -> Iterator[bytes]:
        """The keys that are dialled."""
        return iter(self._targets)

    def connected(self) -> int:
        """How many have answered and stand."""
        return sum(1 for target in self._targets.values() if target.attempt and target.attempt.answered is not None)

    def dial(self, curve: bytes, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """Keep a connection to `curve` from now on. Again with other endpoints: they are used from the next attempt."""
        known = curve in self._targets
        target = self._target(curve, endpoints, now)
        if target is not None and not known:
            self._try_next(target, now)

    def redial(
        self, curve: bytes, endpoints: tuple[Endpoint, ...], place: Endpoint | None, now: float
    ) -> tuple[Endpoint, ...]:
        """Try at once, whatever failed before: at `place` first, or else the next of `endpoints`; then go on as always.

        While an attempt is under way, or a connection stands, that is left alone. Gives the endpoints that are used.
        """
        target = self._target(curve, endpoints, now)
        if target is None:
            return ()
        if target.attempt is None:
            if place is None:
                self._try_next(target, now)
            else:
                attempt = self._attempt(place, now)
                attempt.aside = True
                self._try(target, attempt, now)
        return target.endpoints

    def follow(self, curve: bytes, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """`curve` is at these endpoints now: a connection to another place is given up, and made anew."""
        target = self._target(curve, endpoints, now)
        if target is None or target.attempt is None or target.attempt.endpoint in target.endpoints:
            return
        if target.attempt.answered is not None:
            target.position = 0
            self._lost(target, target.attempt, now)

    def lose(self, addresses: Collection[str], now: float) -> None:
        """This host has these addresses no more: connections from them are dead, and are made anew at once."""
        for target in self._targets.values():
            attempt = target.attempt
            if attempt is None or attempt.descriptor is None or own_address(attempt.descriptor) not in addresses:
                continue
            if attempt.answered is None:
                self._unanswered(target, attempt, Reason.CLOSED, now)
            else:
                self._lost(target, attempt, now)

    def hang_up(self, curve: bytes) -> None:
        """Close the connection to `curve`, and try no more."""
        if target := self._targets.pop(curve, None):
            self._end(target)
        if not self._targets:
            self._soonest = None

    def _target(self, curve: bytes, endpoints: tuple[Endpoint, ...], now: float) -> Target | None:
        """The one for `curve`, with these endpoints as far as they can be used, made if need be; None if it cannot."""
        usable = []
        for endpoint in endpoints[: self._limits.endpoints]:
            if place := literal(endpoint):
                usable.append(place)
            else:
                self.events.append(Unanswered(curve, endpoint, Reason.BAD_ENDPOINT))
        distinct = tuple(dict.fromkeys(usable))
        target = self._targets.get(curve)
        if target is not None:
            target.wanted = now
            if distinct and distinct != target.endpoints:
                target.endpoints = distinct
                target.position = -1 if target.attempt and not target.attempt.aside else 0
                target.again = min(target.again, now + self._jittered(self._limits.retry_first))
                self._wake(target.again)
        elif distinct and len(self._targets) >= self._limits.dialled:
            self.events.append(Unanswered(curve, distinct[0], Reason.TOO_MANY))
        elif distinct:
            target = self._targets[curve] = Target(curve, distinct, again=now, wanted=now)
        return target

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
            target.answered(target.attempt, now)
            self._wake(target.due(self._limits))
            self.events.append(Connected(target.curve, target.attempt.endpoint))

    def used(self, link: bytes, now: float) -> None:
        if (target := self._by_link.get(link)) and target.attempt:
            target.attempt.used = now

    def watch(self, now: float) -> None:
        """Read what the monitor says of our attempts."""
        for happening in happenings(self.monitor, self._limits.batch * 4):
            target = self._by_address.get(happening.endpoint)
            if target and target.attempt:
                self._happened(target, target.attempt, happening, now)

    def _happened(self, target: Target, attempt: Attempt, happening: Happening, now: float) -> None:
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
                attempt.ended = now
                self._wake(attempt.due(self._limits))
            case zmq.EVENT_CONNECT_RETRIED if attempt.ended is not None:
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
        if self._soonest is None or now < self._soonest:
            return
        # Who comes here late may have been answered long ago.
        self.watch(now)
        for target in list(self._targets.values()):
            if now >= target.due(self._limits):
                self._act(target, now)
        self._soonest = min((target.due(self._limits) for target in self._targets.values()), default=None)

    def _act(self, target: Target, now: float) -> None:
        attempt = target.attempt
        if attempt is not None and attempt.answered is not None:
            self.events.append(Idle(target.curve, attempt.endpoint))
            self.hang_up(target.curve)
        elif attempt is not None and attempt.ended is not None:
            self._failed(target, attempt, Refused(target.curve, attempt.endpoint), now)
        elif attempt is not None:
            self._unanswered(target, attempt, attempt.silence(), now)
        elif now >= target.wanted + self._limits.idle:
            self.hang_up(target.curve)
        else:
            self._try_next(target, now)

    def next_deadline(self) -> float | None:
        """Never later than when `tick` has something to do; sometimes earlier."""
        return self._soonest

    def _wake(self, at: float) -> None:
        self._soonest = at if self._soonest is None else min(self._soonest, at)

    def _try_next(self, target: Target, now: float) -> None:
        self._try(target, self._attempt(target.next_endpoint, now), now)

    def _attempt(self, endpoint: Endpoint, now: float) -> Attempt:
        return Attempt(b"\x01" + next(self._numbers).to_bytes(8, "big"), endpoint, f"tcp://{endpoint}", now)

    def _try(self, target: Target, attempt: Attempt, now: float) -> None:
        if attempt.address in self._by_address:
            # `disconnect` goes by address, and would end the other key's connection too.
            self._unanswered(target, attempt, Reason.ENDPOINT_IN_USE, now)
            return
        self.socket.setsockopt(zmq.CURVE_SERVERKEY, target.curve)
        self.socket.setsockopt(zmq.CONNECT_ROUTING_ID, attempt.link)
        self.socket.setsockopt(zmq.IPV6, int(":" in attempt.endpoint.host))
        try:
            self.socket.connect(attempt.address)
        except zmq.ZMQError:
            self._unanswered(target, attempt, Reason.BAD_ENDPOINT, now)
            return
        target.attempt = attempt
        self._wake(target.due(self._limits))
        self._by_link[attempt.link] = self._by_address[attempt.address] = target
        with contextlib.suppress(zmq.ZMQError):
            self.socket.send_multipart([attempt.link, *HELLO_FRAMES], zmq.NOBLOCK)

    def _unanswered(self, target: Target, attempt: Attempt, reason: Reason, now: float) -> None:
        self._failed(target, attempt, Unanswered(target.curve, attempt.endpoint, reason), now)

    def _failed(self, target: Target, attempt: Attempt, event: Event, now: float) -> None:
        """End the attempt and go on to the next endpoint, or wait when all of them have been tried."""
        self.events.append(event)
        self._end(target)
        if attempt.aside:
            target.again = max(target.again, now + self._jittered(self._limits.retry_first))
            self._wake(target.again)
            return
        target.position += 1
        target.failures += 1
        rounds, within = divmod(target.failures, len(target.endpoints))
        wait = self._limits.retry_first
        if within == 0:
            most = self._limits.retry_most_heard if target.heard else self._limits.retry_most
            wait = min(most, wait * 2.0 ** min(rounds, 32))
            target.heard = False
        target.again = now + self._jittered(wait)
        self._wake(target.again)

    def _lost(self, target: Target, attempt: Attempt, now: float) -> None:
        """Try the same endpoint again, soon if the connection had stood for long."""
        stood = now - (attempt.answered or now)
        if stood >= self._limits.stable:
            target.failures = 0
        target.wanted = now
        target.position -= not attempt.aside
        self._failed(target, attempt, Lost(target.curve, attempt.endpoint), now)

    def _end(self, target: Target) -> None:
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
