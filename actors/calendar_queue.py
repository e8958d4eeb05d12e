"""What is to happen when: a calendar queue (Brown 1988), events in buckets of one millisecond, each sorted when it is
reached.

Thousands of hosts put a hundred events into a millisecond: appending to a list and sorting it once costs less than
keeping all of them in a heap. Events come out by their exact time, and at one time in the order in which they were put
in.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

BUCKETS_A_SECOND = 1000.0

Event = tuple[float, int, Callable[[Any], None], Any]
"""Time in seconds, a number that grows with every event, and what to call with what."""


class CalendarQueue:
    """`add` and `pop` are all there is; events are never taken out again."""

    __slots__ = ("_at", "_buckets", "_count", "_number", "_numbers", "_open")

    def __init__(self) -> None:
        self._buckets: dict[int, list[Event]] = {}
        self._numbers: list[int] = []
        """A heap of the buckets' numbers."""
        self._number = -1
        """Of the bucket that is being emptied."""
        self._open: list[Event] = []
        self._at = 0
        """Where the next event lies in it."""
        self._count = 0

    def add(self, time: float, call: Callable[[Any], None], argument: Any) -> None:
        self._count += 1
        event = (time, self._count, call, argument)
        number = int(time * BUCKETS_A_SECOND)
        if number <= self._number:
            insort(self._open, event, self._at)
            return
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = [event]
            heappush(self._numbers, number)
        else:
            bucket.append(event)

    def pop(self, until: float) -> Event | None:
        """The next event, if it is due at `until` at the latest."""
        at = self._at
        if at == len(self._open):
            if not self._numbers or self._numbers[0] > until * BUCKETS_A_SECOND:
                return None
            self._number = heappop(self._numbers)
            self._open = self._buckets.pop(self._number)
            self._open.sort()
            self._at = at = 0
        event = self._open[at]
        if event[0] > until:
            return None
        self._at = at + 1
        return event
