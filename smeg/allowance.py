"""Token buckets: how often something may happen, in total and for each key. Pure; the clock is handed in.

They never wait and never queue: what finds no token is refused, and the caller counts it.
"""

from __future__ import annotations

from collections import OrderedDict


class Allowance:
    """One token bucket: `rate` tokens a second, at most `burst` saved up. It starts full."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._since: float | None = None

    def holds(self, now: float, tokens: float = 1.0) -> bool:
        """Whether `take` would find so many. `now` in monotonic seconds; a clock that goes back adds nothing."""
        if self._since is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._since) * self._rate)
        self._since = now
        return self._tokens >= tokens

    def take(self, now: float, tokens: float = 1.0) -> bool:
        """Take so many tokens if there are."""
        if not self.holds(now, tokens):
            return False
        self._tokens -= tokens
        return True


class Allowances:
    """A bucket for each key, and one for all together if there is to be one.

    The keys least recently seen are forgotten beyond `most`.
    """

    __slots__ = ("_burst", "_each", "_most", "_rate", "_total")

    def __init__(self, rate: float, burst: float, total: Allowance | None, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._total = total
        self._most = most
        self._each: OrderedDict[bytes, Allowance] = OrderedDict()

    def take(self, key: bytes, now: float, tokens: float = 1.0) -> bool:
        """Take so many tokens of `key` and of the total. A key that has too few costs the others nothing."""
        own = self._each.get(key)
        if own is None:
            own = self._each[key] = Allowance(self._rate, self._burst)
            if len(self._each) > self._most:
                self._each.popitem(last=False)
        else:
            self._each.move_to_end(key)
        return own.take(now, tokens) and (self._total is None or self._total.take(now, tokens))
