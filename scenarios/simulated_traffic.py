"""Packets that go between simulated hosts again and again, and for how long none arrived."""

from __future__ import annotations

from collections.abc import Callable

from actors.virtual import VirtualRuntime
from scenarios.stage import Way

Pair = tuple[str, str]


class SimulatedTraffic:
    def __init__(self, runtime: VirtualRuntime, way: Callable[[str, str], Way]) -> None:
        self._runtime = runtime
        self._way = way
        self._lost_since: dict[Pair, float] = {}
        self._worst: tuple[float, str] = (0.0, "no traffic has gone")
        self._going: dict[int, tuple[tuple[Pair, ...], float]] = {}
        """By number: the pairs, and the seconds between two packets."""
        self._count = 0

    def begin(self, pairs: tuple[Pair, ...], each: float) -> int:
        self._count += 1
        self._going[self._count] = (pairs, max(each, 0.05))
        self._send(self._count)
        return self._count

    def end(self, number: int) -> None:
        self._going.pop(number, None)

    def _send(self, number: int) -> None:
        if number not in self._going:
            return
        pairs, each = self._going[number]
        now = self._runtime.time
        for pair in pairs:
            if self._way(*pair).arrived and self._way(pair[1], pair[0]).arrived:
                self._note(pair, now, over=True)
            else:
                self._lost_since.setdefault(pair, now)
                self._note(pair, now, over=False)
        self._runtime.call(now + each, self._send, number)

    def _note(self, pair: Pair, now: float, over: bool) -> None:
        since = self._lost_since.get(pair)
        if since is not None and now - since > self._worst[0]:
            self._worst = (now - since, f"{pair[0]} had no answer from {pair[1]} for {now - since:.1f} s")
        if over:
            self._lost_since.pop(pair, None)

    def longest(self) -> tuple[float, str]:
        """seconds, and which pair it was."""
        return self._worst
