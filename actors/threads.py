"""The production runtime: a thread an actor, real clocks, the operating system's entropy.

An actor's timer is the time-out of its own wait for messages, so timers need no thread. An actor that owns ZeroMQ
sockets waits for them and for its messages in one poll, in the one thread that may touch the sockets.
"""

from __future__ import annotations

import math
import os
import queue
import random
import select
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import zmq
from pykka._envelope import Envelope

from actors.base import Actor, Address
from actors.logs import log
from actors.runtime import INBOX_BOUND, urgent
from smeg.errors import LocalError
from smeg.messages import Readable, Tick


class ThreadInbox:
    """A bounded queue with a deadline, and a poll over sockets when there are any."""

    def __init__(self) -> None:
        self.dropped = 0
        self._queue: queue.SimpleQueue[Envelope[Any]] = queue.SimpleQueue()
        self._deadline: float | None = None
        self._poll: Callable[[int | None], Collection[tuple[Any, int]]] | None = None
        self._wake = -1
        self._waking = threading.Lock()
        self._asleep = False
        """Whether the owner waits in a poll, or is about to: else it looks at its queue before it does."""
        self._sockets_first = True
        self._handled: Envelope[Any] | None = None
        self._ticked = False
        """Whether a `Tick` was handed out last: a timer in the past must starve neither messages nor sockets."""

    def put(self, envelope: Envelope[Any]) -> None:
        if self._queue.qsize() >= INBOX_BOUND and not urgent(envelope):
            self.dropped += 1
            return
        self._queue.put(envelope)
        if self._asleep:
            # Unlocked, the owner could close the descriptor in between, and another file get its number.
            with self._waking:
                if self._wake >= 0:
                    os.eventfd_write(self._wake, 1)

    def empty(self) -> bool:
        return self._queue.empty()

    def waiting(self) -> int:
        return self._queue.qsize()

    def arm(self, deadline: float | None) -> None:
        self._deadline = deadline

    def watch(self, sockets: tuple[zmq.Socket[Any] | int, ...]) -> None:
        """Called by the actor's own thread; again whenever the set changes, with nothing at the end."""
        with self._waking:
            if self._wake < 0 and sockets:
                self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            if not sockets:
                wake, self._wake, self._poll = self._wake, -1, None
                if wake >= 0:
                    os.close(wake)
                return
        # Plain descriptors need no ZeroMQ to wait for them, which asks each of its sockets before and after.
        poller = select.poll() if all(isinstance(socket, int) for socket in sockets) else zmq.Poller()
        for socket in (*sockets, self._wake):
            poller.register(socket, zmq.POLLIN)
        self._poll = poller.poll

    def get(self) -> Envelope[Any]:
        if self._handled is not None:
            # Pykka holds it until the next one comes, which may be long, and some messages are large.
            self._handled.message = None
        self._handled = self._next()
        return self._handled

    def _next(self) -> Envelope[Any]:
        while True:
            wait = None if self._deadline is None else self._deadline - time.monotonic()
            if wait is not None and wait <= 0 and not self._ticked:
                self._deadline = None
                self._ticked = True
                return Envelope(Tick())
            self._ticked = False
            try:
                envelope = (
                    self._queue.get(timeout=wait and max(wait, 0.0))
                    if self._poll is None
                    else self._wait_for_both(self._poll, wait)
                )
            except queue.Empty:
                continue
            if envelope is not None:
                return envelope

    def _wait_for_both(
        self, poll: Callable[[int | None], Collection[tuple[Any, int]]], wait: float | None
    ) -> Envelope[Any] | None:
        """A message or a `Readable`, in turn when there are both; None when the time is up."""
        self._sockets_first = not self._sockets_first
        if not self._sockets_first and not self._queue.empty():
            return self._queue.get_nowait()
        self._asleep = True
        timeout = 0 if not self._queue.empty() else None if wait is None else max(0, math.ceil(wait * 1000))
        ready = {socket for socket, _ in poll(timeout)}
        self._asleep = False
        if self._wake in ready:
            ready.discard(self._wake)
            os.eventfd_read(self._wake)
        if ready:
            return Envelope(Readable())
        return None if self._queue.empty() else self._queue.get_nowait()


class ThreadedRuntime:
    """Real time, real threads. See `runtime.Runtime`."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> int:
        return int(time.time())

    def random(self, name: str) -> random.Random:
        return random.Random(os.urandom(16))

    def entropy(self, size: int) -> bytes:
        return os.urandom(size)

    def inbox(self, actor: Actor) -> ThreadInbox:
        return ThreadInbox()

    def failed(self, name: str, failure: BaseException) -> None:
        if isinstance(failure, LocalError):
            # Not a fault of the program: where in it this was found out helps nobody.
            problem = failure.problem
            log("error", "actor failed", {"actor": name, "code": problem.code, "problem": str(problem)})
        else:
            log("error", "actor failed", {"actor": name}, failure)

    def log(self, level: str, event: str, **fields: object) -> None:
        log(level, event, fields)

    def begin(self, actor: Actor) -> None:
        threading.Thread(target=actor._actor_loop, name=actor.name, daemon=True).start()

    def spawn(self, make: Callable[[], Actor]) -> Address:
        actor = make()
        address = Address(actor)
        actor._start_actor_loop()
        return address
