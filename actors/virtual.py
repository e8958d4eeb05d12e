"""The deterministic runtime: every actor of every host on one thread, in virtual time, in an order drawn from a seed.

Equal seeds give equal traces, in any process and under any hash seed. A failure of an actor fails the run, unless the
run is about failures. The trick that keeps pykka's own replies, failures and stops: an inbox hands out one message and
then raises past pykka's loop, which ends after exactly that message.
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from random import Random
from typing import Any

from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.base import Actor, Address
from actors.calendar_queue import CalendarQueue
from actors.runtime import INBOX_BOUND, urgent
from smeg.messages import Tick

WALL_START = 1_800_000_000
"""Seconds since 1970 at virtual time 0."""


ZENO = 1_000_000
"""Events at one instant after which a run is given up: ten thousand nodes may well start at once."""

_TICK = Tick()


class _Drained(BaseException):
    """The one message was handled. Not an Exception: nothing in between may take it for a failure."""


class VirtualInbox:
    """One actor's messages, and its timer. See `runtime.Inbox`."""

    __slots__ = (
        "_deadline",
        "_granted",
        "_scheduled",
        "_timer",
        "_waiting",
        "actor",
        "dropped",
        "high",
        "host",
        "runtime",
    )

    def __init__(self, runtime: VirtualRuntime, host: VirtualHost) -> None:
        self.runtime = runtime
        self.host = host
        self.actor: Actor | None = None
        self.dropped = 0
        self.high = 0
        """The most messages that ever waited."""
        self._deadline: float | None = None
        """When a `Tick` is wanted, by the host's clock."""
        self._timer: float | None = None
        """For when the earliest event of the runtime's is asked for, by the same clock."""
        self._granted = False
        self._scheduled = False
        self._waiting: deque[Envelope[Any]] = deque()

    def put(self, envelope: Envelope[Any]) -> None:
        waiting = self._waiting
        count = len(waiting)
        if count >= self.high:
            if count >= INBOX_BOUND and not urgent(envelope):
                self.dropped += 1
                return
            self.high = count + 1
        waiting.append(envelope)
        if not self._scheduled and not self.host.stopped:
            self._scheduled = True
            self.runtime._ready.append(self)

    def empty(self) -> bool:
        return not self._waiting

    def waiting(self) -> int:
        return len(self._waiting)

    def get(self) -> Envelope[Any]:
        if self._granted:
            self._granted = False
            return self._waiting.popleft()
        if self.actor is not None and self.actor.actor_stopped.is_set() and self._waiting:
            return self._waiting.popleft()
        raise _Drained

    def arm(self, deadline: float | None) -> None:
        # A deadline that moves away leaves its timer, which looks again when it rings.
        if deadline == self._deadline:
            return
        self._deadline = deadline
        if deadline is not None and (self._timer is None or deadline < self._timer):
            self._wind(deadline)

    def _wind(self, deadline: float) -> None:
        self._timer = deadline
        self.runtime._calendar.add(max(self.host.when(deadline), self.runtime.time), self._ring, deadline)

    def _ring(self, timer: float) -> None:
        if self._timer != timer:
            return
        self._timer = None
        deadline, actor = self._deadline, self.actor
        if deadline is None or actor is None or actor.actor_stopped.is_set():
            return
        if deadline > self.host.now():
            self._wind(deadline)
            return
        self._deadline = None
        self.put(Envelope(_TICK))

    def rewind(self) -> None:
        """The host's clock goes at another rate: ask for the timer anew."""
        if self._deadline is not None:
            self._wind(self._deadline)

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
        envelope = self._waiting[0] if self._waiting else None
        plain = envelope is not None and envelope.reply_to is None and not isinstance(envelope.message, _ActorStop)
        if envelope is None or not plain or actor.actor_stopped.is_set():
            self._run_loop(actor)
            return
        # What pykka's loop comes to for a message that nobody waits for an answer to, at half the price.
        self._waiting.popleft()
        try:
            actor.on_receive(envelope.message)
        except Exception as failure:
            self._fail(actor, envelope, failure)

    def _run_loop(self, actor: Actor) -> None:
        self._granted = True
        try:
            actor._actor_loop_running()
        except _Drained:
            pass
        else:
            actor._actor_loop_teardown()

    def _fail(self, actor: Actor, envelope: Envelope[Any], failure: Exception) -> None:
        """Let pykka's loop see the failure, as if it had handed the message over itself."""

        def fail(message: object) -> None:
            raise failure

        vars(actor)["on_receive"] = fail
        self._waiting.appendleft(envelope)
        self._run_loop(actor)


class VirtualHost:
    """One simulated machine's view of the runtime. See `runtime.Runtime`."""

    def __init__(self, runtime: VirtualRuntime, name: str) -> None:
        self.runtime = runtime
        self.name = name
        self.offset = 0.0
        """Virtual time at which this host's monotonic clock was 0."""
        self.rate = 1.0
        """Seconds that this clock counts in a second: see `drift`."""
        self.wall_error = 0.0
        """Seconds by which its wall clock is ahead."""
        self.stopped = False
        """Whether its actors stand still: see `stop`."""
        self._inboxes: list[VirtualInbox] = []
        self._entropy: Random | None = None
        self._born = 0

    def now(self) -> float:
        return (self.runtime.time - self.offset) * self.rate

    def when(self, now: float) -> float:
        """The first virtual time at which this host's clock says `now`."""
        at = now / self.rate + self.offset
        while (at - self.offset) * self.rate < now:
            # Rounded down, a timer would ring before its time, for ever.
            at = math.nextafter(at, math.inf)
        return at

    def wall(self) -> int:
        return WALL_START + math.floor(self.runtime.time + self.wall_error)

    def random(self, name: str) -> Random:
        self._born += 1
        return Random(f"{self.runtime.seed}/{self.name}/{name}/{self._born}")

    def entropy(self, size: int) -> bytes:
        if self._entropy is None:
            self._entropy = Random(f"{self.runtime.seed}/{self.name}/entropy")
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

    @property
    def inboxes(self) -> tuple[VirtualInbox, ...]:
        """Those of all actors since the start or the last crash."""
        return tuple(self._inboxes)

    def drift(self, rate: float) -> None:
        """From now on its monotonic clock counts `rate` seconds in a second; it does not jump."""
        now = self.now()
        self.rate = rate
        self.offset = self.runtime.time - now / rate
        for inbox in self._inboxes:
            inbox.rewind()

    def stop(self) -> None:
        """As SIGSTOP: no actor runs, their messages and one tick each wait. Not to be called by an actor."""
        self.stopped = True
        ready = self.runtime._ready
        for inbox in ready:
            inbox._scheduled = inbox.host is not self
        ready[:] = [inbox for inbox in ready if inbox._scheduled]

    def resume(self) -> None:
        """As SIGCONT."""
        self.stopped = False
        for inbox in self._inboxes:
            if inbox._waiting and not inbox._scheduled:
                inbox._scheduled = True
                self.runtime._ready.append(inbox)

    def crash(self) -> None:
        """All its actors are gone at once: no hook runs, nothing is sent."""
        for inbox in self._inboxes:
            if inbox.actor is not None:
                inbox.actor.actor_stopped.set()
                inbox.actor = None
        self._inboxes.clear()
        self.stopped = False


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
        self._chance = Random(f"{seed}/order").random
        self._ready: list[VirtualInbox] = []
        self._calendar = CalendarQueue()
        self._trace = blake2b(digest_size=16)

    def host(self, name: str) -> VirtualHost:
        return VirtualHost(self, name)

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Call `event` at that virtual time; what is due at one time runs in the order it was asked for."""
        self._calendar.add(max(time, self.time), _call, event)

    def call(self, time: float, event: Callable[[Any], None], argument: Any) -> None:
        """Call `event(argument)` at that virtual time, which is not in the past: `at` without a closure."""
        self._calendar.add(time, event, argument)

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Run to virtual time `until`, or until `stop()` holds between two instants; whether it held.

        Raises the first failure of an actor, and when timers keep ringing without time passing.
        """
        collecting = gc.isenabled()
        # Next to nothing here lies in cycles, and looking for them takes as long as all the rest.
        gc.disable()
        try:
            return self._run(until, stop)
        finally:
            if collecting:
                gc.enable()

    def _run(self, until: float, stop: Callable[[], bool] | None) -> bool:
        pop, ready = self._calendar.pop, self._ready
        rounds = 0
        while True:
            if ready:
                self._drain()
            if stop is not None and stop():
                return True
            event = pop(until)
            if event is None:
                self.time = max(self.time, until)
                return stop is not None and stop()
            time, _, call, argument = event
            if time > self.time:
                self.time = time
                rounds = 0
            else:
                rounds += 1
                if rounds > ZENO:
                    raise RuntimeError(
                        f"time stands still at {self.time:.3f} s, seed {self.seed}: a deadline lies in the past"
                    )
            call(argument)

    def _drain(self) -> None:
        ready, chance = self._ready, self._chance
        while ready:
            count = len(ready)
            at = int(chance() * count) if count > 1 else 0
            inbox = ready[at]
            inbox.step()
            self.delivered += 1
            if not inbox._waiting:
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


def _call(event: Callable[[], None]) -> None:
    event()


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
