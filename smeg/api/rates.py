"""How often something may happen: a token bucket, which allows a burst and then a steady rate."""

from __future__ import annotations


class Bucket:
    """Full at first: `burst` at once, then `rate` a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> float:
        """Take one. 0 if there was one, else the seconds until there is."""
        passed = now - self._at if self._at is not None else 0.0
        self._left = min(float(self._burst), self._left + max(0.0, passed) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate
