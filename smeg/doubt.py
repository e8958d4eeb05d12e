"""When half of those that a node watches are silent, it may be the node that is cut off: it doubts, and looks around.

It pings random members until enough have answered, and adopts those: news and answers go to them too. So the smaller
side of a partition, where the rings lead mostly to the other side, stays connected. Who is told that it is dead looks
around once, although it hears everybody: where messages are lost one way only, the others hear nothing of it, and what
they say of those who share its fate reaches these sooner than their own word. Nothing is judged here.
"""

from __future__ import annotations

from random import Random

from smeg.keys import NodeKey

DOUBT_SHARE = 0.5
"""of those that are watched."""
DOUBT_PATIENCE = 0.6
"""of the patience with each."""
PINGS = 64
PING_EVERY = 1.0
"""seconds between two rounds of pings."""
EAGER_ROUNDS = 30
LATER_PINGS = 4
"""How many in a round, once so many rounds have not found enough."""
ENOUGH = 12
"""adopted ones."""
MOST = 24
"""adopted ones, with those that found this node."""
KEPT = 30.0
"""seconds for which they are kept when the doubt is over: they may need this node."""


class Doubt:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._since: float | None = None
        self._over_at = 0.0
        self._ping_at: float | None = None
        self._rounds = 0
        self._adopted: dict[NodeKey, float] = {}

    def __bool__(self) -> bool:
        return self._since is not None

    @property
    def adopted(self) -> list[NodeKey]:
        return list(self._adopted)

    @property
    def since(self) -> float | None:
        return self._since

    def consider(self, silent_share: float, now: float) -> None:
        """Begin or end by how many are silent."""
        if self._since is None and self._doubtful(silent_share):
            self.begin(now)
        elif self._since is not None and not self._doubtful(silent_share):
            self._since, self._ping_at, self._over_at = None, None, now
        if self._since is None and self._adopted and now > self._over_at + KEPT:
            self._adopted.clear()

    def begin(self, now: float) -> None:
        """Doubt, until `consider` ends it."""
        if self._since is None:
            self._since, self._ping_at, self._rounds = now, now, 0

    def _doubtful(self, silent_share: float) -> bool:
        return silent_share >= DOUBT_SHARE

    def adopt(self, key: NodeKey, now: float) -> bool:
        """Somebody answered, or looks around itself; whether it is new."""
        if self._since is None or key in self._adopted or len(self._adopted) >= MOST:
            return False
        self._adopted[key] = now
        return True

    def forget(self, key: NodeKey) -> None:
        self._adopted.pop(key, None)

    def next_deadline(self) -> float | None:
        return self._ping_at

    def pings(self, members: tuple[NodeKey, ...], now: float) -> list[NodeKey]:
        """Whom to ping now."""
        if self._ping_at is None or now < self._ping_at:
            return []
        self._ping_at = now + PING_EVERY
        if len(self._adopted) >= ENOUGH:
            return []
        self._rounds += 1
        count = PINGS if self._rounds <= EAGER_ROUNDS else LATER_PINGS
        return self._random.sample(members, min(count, len(members)))
