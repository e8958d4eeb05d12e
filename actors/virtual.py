"""The deterministic runtime: every actor of every host on one thread, in virtual time, in an order drawn from a seed.

Equal seeds give equal traces, in any process and under any hash seed. A failure of an actor fails the run, unless the
run is about failures. The trick that keeps pykka's own replies, failures and stops: an inbox hands out one message and
then raises past pykka's loop, which ends after exactly that message.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from random import Random
from typing import Any

from pykka._envelope import Envelope

from actors.base import Actor, Address
from actors.runtime import INBOX_BOUND, urgent
from smeg.messages import Tick

WALL_START = 1_800_000_000
"""Seconds since 1970 at virtual time 0."""


ZENO = 10_000
"""Rounds at one instant after which a run is given up."""


class _Drained(BaseException):
    """The one message was handled. Not an Exception: nothing in between may take it for a failure."""


class VirtualInbox:
    """One actor's messages, and its timer. See `runtime.Inbox`."""

    __slots__ = ("_armed", "_granted", "_scheduled", "_waiting", "actor", "dropped", "host", "runtime")

    def __init__(self, runtime: VirtualRuntime, host: VirtualHost) -> None:
        self.runtime = runtime
        self.host = host
        self.actor: Actor | None = None
        self.dropped = 0
        self._armed: float | None = None
        self._granted = False
        self._scheduled = False
        self._waiting: deque[Envelope[Any]] = deque()

    def put(self, envelope: Envelope[Any]) -> None:
        if len(self._waiting) >= INBOX_BOUND and not urgent(envelope):
            self.dropped += 1
            return
        self._waiting.append(envelope)
        if not self._scheduled:
            self._scheduled = True
            self.runtime._ready.append(self)

    def empty(self) -> bool:
        return not self._waiting

    def get(self) -> Envelope[Any]:
        if self.actor is not None and self.actor.actor_stopped.is_set() and self._waiting:
            return self._waiting.popleft()
        if not self._granted:
            raise _Drained
        self._granted = False
        return self._waiting.popleft()

    def arm(self, deadline: float | None) -> None:
        if deadline is not None and (self._armed is None or deadline < self._armed):
            self._armed = deadline
            at = deadline + self.host.offset
            while at - self.host.offset < deadline:
                # Rounded down, the timer would ring before its time, for ever.
                at = math.nextafter(at, math.inf)
            self.runtime.at(at, lambda: self._ring(deadline))
        elif deadline is None:
            self._armed = None

    def _ring(self, deadline: float) -> None:
        if self._armed == deadline and self.actor is not None and not self.actor.actor_stopped.is_set():
            self._armed = None
            self.put(Envelope(Tick()))

    def watch(self, sockets: tuple[Any, ...]) -> None:
        raise AssertionError("no real sockets in virtual time")

    def step(self) -> None:
        """Let the actor handle one message."""
        actor = self.actor
        if actor is None:
            self._waiting.clear()
            return
        if self.runtime.tracing and self._waiting:
            self.runtime._note(self.host.name, actor.name, self._waiting[0].message)
        self._granted = True
        try:
            actor._actor_loop_running()
        except _Drained:
            pass
        else:
            actor._actor_loop_teardown()


class VirtualHost:
    """One simulated machine's view of the runtime. See `runtime.Runtime`."""

    def __init__(self, runtime: VirtualRuntime, name: str) -> None:
        self.runtime = runtime
        self.name = name
        self.offset = 0.0
        """Virtual time at which this host's monotonic clock was 0."""
        self.wall_error = 0
        """Seconds by which its wall clock is ahead."""
        self._inboxes: list[VirtualInbox] = []
        self._entropy = Random(f"{runtime.seed}/{name}/entropy")
        self._born = 0

    def now(self) -> float:
        return self.runtime.time - self.offset

    def wall(self) -> int:
        return WALL_START + int(self.runtime.time) + self.wall_error

    def random(self, name: str) -> Random:
        self._born += 1
        return Random(f"{self.runtime.seed}/{self.name}/{name}/{self._born}")

    def entropy(self, size: int) -> bytes:
        return self._entropy.randbytes(size)

    def inbox(self, actor: Actor) -> VirtualInbox:
        inbox = VirtualInbox(self.runtime, self)
        inbox.actor = actor
        self._inboxes.append(inbox)
        return inbox

    def begin(self, actor: Actor) -> None:
        actor._actor_loop_setup()

    def spawn(self, make: Callable[[], Actor]) -> Address:
        actor = make()
        actor._start_actor_loop()
        return Address(actor)

    def failed(self, name: str, failure: BaseException) -> None:
        if not self.runtime.tolerant:
            self.runtime.failures.append((f"{name} on {self.name}", failure))

    def log(self, level: str, event: str, **fields: object) -> None:
        pass

    def crash(self) -> None:
        """All its actors are gone at once: no hook runs, nothing is sent."""
        for inbox in self._inboxes:
            if inbox.actor is not None:
                inbox.actor.actor_stopped.set()
                inbox.actor = None
        self._inboxes.clear()


class VirtualRuntime:
    """Time, order and chance of a whole run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.time = 0.0
        self.tracing = True
        """Whether every delivery goes into `trace`; off for speed."""
        self.tolerant = False
        """Whether actors may fail: in runs about supervision."""
        self.failures: list[tuple[str, BaseException]] = []
        self.delivered = 0
        self._order = Random(f"{seed}/order")
        self._ready: list[VirtualInbox] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._trace = blake2b(digest_size=16)

    def host(self, name: str) -> VirtualHost:
        return VirtualHost(self, name)

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Call `event` at that virtual time; what is due at one time runs in the order it was asked for."""
        self._sequence += 1
        heapq.heappush(self._events, (max(time, self.time), self._sequence, event))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Run to virtual time `until`, or until `stop()` holds between two instants; whether it held.

        Raises the first failure of an actor, and when timers keep ringing without time passing.
        """
        instants, last = 0, self.time
        while True:
            self._drain()
            instants = instants + 1 if self.time == last else 0
            last = self.time
            if instants > ZENO:
                raise RuntimeError(
                    f"time stands still at {self.time:.3f} s, seed {self.seed}: a deadline lies in the past"
                )
            if stop is not None and stop():
                return True
            if not self._events or self._events[0][0] > until:
                self.time = max(self.time, until)
                return stop is not None and stop()
            self.time = self._events[0][0]
            while self._events and self._events[0][0] <= self.time:
                heapq.heappop(self._events)[2]()

    def _drain(self) -> None:
        ready = self._ready
        while ready:
            at = self._order.randrange(len(ready)) if len(ready) > 1 else 0
            inbox = ready[at]
            inbox.step()
            self.delivered += 1
            if inbox.empty():
                inbox._scheduled = False
                ready[at] = ready[-1]
                ready.pop()
            if self.failures:
                name, failure = self.failures.pop()
                raise RuntimeError(f"{name} failed at {self.time:.3f} s, seed {self.seed}") from failure

    def _note(self, host: str, actor: str, message: object) -> None:
        self._trace.update(f"{self.time:.9f} {host} {actor} {describe(message)}\n".encode())

    @property
    def trace(self) -> str:
        """The digest of everything delivered so far, to whom and when."""
        return self._trace.hexdigest()


def describe(message: object) -> str:
    """A message as text that does not depend on the process: sets and maps sorted, secrets left out."""
    if is_dataclass(message) and not isinstance(message, type):
        parts = ",".join(describe(getattr(message, item.name)) for item in fields(message) if item.repr)
        return f"{type(message).__name__}({parts})"
    if isinstance(message, (set, frozenset)):
        return "{" + ",".join(sorted(map(describe, message))) + "}"
    if isinstance(message, (tuple, list)):
        return "[" + ",".join(map(describe, message)) + "]"
    if hasattr(message, "items"):
        return "{" + ",".join(sorted(f"{describe(key)}:{describe(value)}" for key, value in message.items())) + "}"
    return repr(message)
