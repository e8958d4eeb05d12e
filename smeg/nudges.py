"""When new tunnels are made to shake hands: at once by one side, a little later by the other, never too many at a time.

The other side may hold keys of an earlier tunnel, and would use them for 15 s before it tried anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from smeg.device import DeviceState

NUDGE_EVERY = 0.25
NUDGES = 32
"""So many at a time, every so many seconds."""
SECOND_NUDGE = 1.5
"""seconds that the side with the higher key leaves to the other: two handshakes that cross undo each other for 5 s."""


class Nudges:
    """Of one device. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._first: deque[bytes] = deque()
        self._second: deque[tuple[float, bytes]] = deque()
        self.at: float | None = None
        """When the next are due."""

    def new(self, keys: Iterable[bytes], target: DeviceState, now: float) -> None:
        """These peers are new on the device."""
        for key in keys:
            # A client's keep-alive has shaken hands already, maybe before the peer knew it.
            if target.public_key < key and not target.peers[key].keepalive:
                self._first.append(key)
            else:
                self._second.append((now + SECOND_NUDGE, key))
        self._plan(now)

    def again(self, keys: Iterable[bytes], now: float) -> None:
        """Their tunnels may be broken."""
        self._first.extend(keys)
        self._plan(now)

    def due(self, now: float) -> tuple[list[bytes], list[bytes]]:
        """Those to be nudged, and those to be nudged if they have never shaken hands."""
        if self.at is None or now < self.at:
            return [], []
        first = [self._first.popleft() for _ in range(min(NUDGES, len(self._first)))]
        second: list[bytes] = []
        while self._second and self._second[0][0] <= now and len(first) + len(second) < NUDGES:
            second.append(self._second.popleft()[1])
        self.at = now + NUDGE_EVERY if self._first else None
        self._plan(now + NUDGE_EVERY)
        return first, second

    def _plan(self, now: float) -> None:
        if self._first:
            self.at = max(now, self.at or now)
        elif self.at is None and self._second:
            self.at = self._second[0][0]
