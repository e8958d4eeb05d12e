"""Makes the clocks of a Python process go wrong, as a file says: `WALL RATE`, seconds that the wall clock is ahead, and
seconds that the monotonic clock counts in a second.

Loaded by a `sitecustomize` before anything else, so that all that asks Python for the time is misled: `time.time`,
`time.monotonic` and their forms in nanoseconds. Timeouts within C libraries keep to the true clock.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK = 0.05
"""seconds between two looks at the file."""
SITECUSTOMIZE = "from scenarios.wrong_clocks import mislead\n\nmislead({path!r})\n"


class WrongClocks:
    def __init__(self, path: str) -> None:
        self._path = path
        self._true_wall, self._true_monotonic = time.time, time.monotonic
        self._ahead, self._rate = 0.0, 1.0
        self._since = self._counted = self._looked = self._true_monotonic()
        self._changed = -1

    def wall(self) -> float:
        self._look()
        return self._true_wall() + self._ahead

    def monotonic(self) -> float:
        self._look()
        return self._counted + (self._true_monotonic() - self._since) * self._rate

    def _look(self) -> None:
        now = self._true_monotonic()
        if now < self._looked + LOOK:
            return
        self._looked = now
        try:
            changed = os.stat(self._path).st_mtime_ns
            if changed == self._changed:
                return
            ahead, rate = Path(self._path).read_text().split()
        except (OSError, ValueError):
            return
        # It never jumps: from now on it goes at another rate.
        self._counted, self._since = self._counted + (now - self._since) * self._rate, now
        self._changed, self._ahead, self._rate = changed, float(ahead), float(rate)


def mislead(path: str) -> None:
    clocks = WrongClocks(path)
    time.time, time.monotonic = clocks.wall, clocks.monotonic
    time.time_ns = lambda: round(clocks.wall() * 1e9)
    time.monotonic_ns = lambda: round(clocks.monotonic() * 1e9)
