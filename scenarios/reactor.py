"""Waits for sockets, pipes and times at once, on one thread: so the real world of a scenario lets time pass."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from itertools import count
from math import ceil

import zmq

Source = zmq.Socket[bytes] | int
"""A ZeroMQ socket, or a file descriptor."""


class Reactor:
    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, 4096)
        self._poller = zmq.Poller()
        self._readers: dict[Source, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def watch(self, source: Source, read: Callable[[], None]) -> None:
        """Call `read` whenever there is something to read, or nothing will be any more."""
        self._readers[source] = read
        self._poller.register(source, zmq.POLLIN)

    def forget(self, source: Source) -> None:
        if self._readers.pop(source, None) is not None:
            self._poller.unregister(source)

    def call(self, seconds: float, what: Callable[[], None]) -> None:
        """Once, after so long."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), what))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let so much time pass, less if `until()` holds; whether it does."""
        end = time.monotonic() + seconds
        while not until():
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            now = time.monotonic()
            if now >= end:
                return until()
            wake = min(end, self._timers[0][0]) if self._timers else end
            for source, _ in self._poller.poll(max(0, ceil((wake - now) * 1000))):
                read = self._readers.get(source)
                if read is not None:
                    read()
        return True

    def close(self) -> None:
        self._timers.clear()
        self._readers.clear()
        self.context.destroy(linger=0)
