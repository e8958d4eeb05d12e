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
        if self._since is not None and self._tokens < self._burst:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._since) * self._rate)
        self._since = now
        return self._tokens >= tokens

    def take(self, now: float, tokens: float = 1.0) -> bool:
        """Take so many tokens if there are."""
        if not self.holds(now, tokens):
            return False
        self._tokens -= tokens
        return True

    def grant(self, tokens: float, most: float) -> None:
        """Add some, until there are `most`: these are not lost though they are more than are saved up."""
        self._tokens = max(self._tokens, min(most, self._tokens + tokens))

    def spend(self, now: float, tokens: float) -> None:
        """Take so many whether there are or not: what lacks is owed."""
        self.holds(now, 0.0)
        self._tokens -= tokens

    def wait(self) -> float:
        """seconds from when it was last asked until it holds a token."""
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def full(self, now: float) -> bool:
        """Whether it is as if nothing had ever been taken."""
        return self.holds(now, self._burst)


class Allowances:
    """A bucket for each key, and one for all together if there is to be one.

    Keys whose bucket is full again are forgotten when others come, and beyond `most` those least recently seen.
    """

    __slots__ = ("_burst", "_each", "_most", "_rate", "_total")

    def __init__(self, rate: float, burst: float, total: Allowance | None, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._total = total
        self._most = most
        self._each: OrderedDict[bytes, Allowance] = OrderedDict()

    def holds(self, key: bytes, now: float, tokens: float = 1.0) -> bool:
        """Whether `key` has so many; the total is not asked."""
        own = self._each.get(key)
        return tokens <= self._burst if own is None else own.holds(now, tokens)

    def take(self, key: bytes, now: float, tokens: float = 1.0) -> bool:
        """Take so many tokens of `key` and of the total. A key that has too few costs the others nothing."""
        own = self._each.get(key)
        if own is None:
            own = self._each[key] = Allowance(self._rate, self._burst)
            # Only now: of those who come again and again a bucket is always in use.
            self._forget(now)
            if len(self._each) > self._most:
                self._each.popitem(last=False)
        else:
            self._each.move_to_end(key)
        return own.take(now, tokens) and (self._total is None or self._total.take(now, tokens))

    def _forget(self, now: float) -> None:
        """Drop those that rested long enough, the longest first; the newest is the one in use."""
        while len(self._each) > 1:
            key, oldest = next(iter(self._each.items()))
            if not oldest.full(now):
                return
            del self._each[key]

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._each)
