"""How long to wait before something that failed is tried again: doubling, with a ceiling, a random part, and
forgiveness.
"""

from __future__ import annotations

from random import Random

FIRST = 0.5
CEILING = 30.0
FORGIVEN_AFTER = 60.0
"""seconds without a failure after which the count starts anew."""


class Backoff:
    """All times in seconds."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self._last: float | None = None
        self.total = 0
        """Failures ever."""

    def failed(self, now: float) -> float:
        """Count a failure; how long to wait before the next try."""
        if self._last is not None and now - self._last > FORGIVEN_AFTER:
            self._failures = 0
        self._last = now
        self._failures += 1
        self.total += 1
        whole = min(CEILING, FIRST * 2.0 ** min(self._failures - 1, 16))
        return whole * self._random.uniform(0.5, 1.0)
