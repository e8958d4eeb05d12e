"""Whether this node still reaches beyond itself, judged from single attempts: lost soon, found again slowly.

An exit that lost its uplink would else swallow its share of everybody's traffic; one whose uplink comes and goes would
move traffic with it.
"""

from __future__ import annotations

EVERY = 2.0
"""seconds between two attempts."""
PATIENCE = 1.5
"""seconds that an attempt may take."""
LOST_AFTER = 2
"""attempts in a row that failed."""
FOUND_AFTER = 10.0
"""seconds in which every attempt succeeded; the first of all attempts counts at once."""


class Probing:
    def __init__(self) -> None:
        self.reached: bool | None = None
        """None before the first attempt has ended."""
        self._failures = 0
        self._good_since: float | None = None

    def attempted(self, reached: bool, now: float) -> bool:
        """Take in how an attempt ended; whether the verdict changed."""
        before = self.reached
        if reached:
            self._failures = 0
            self._good_since = now if self._good_since is None else self._good_since
            if before is None or now - self._good_since >= FOUND_AFTER:
                self.reached = True
        else:
            self._failures += 1
            self._good_since = None
            if before is None or self._failures >= LOST_AFTER:
                self.reached = False
        return self.reached is not before
