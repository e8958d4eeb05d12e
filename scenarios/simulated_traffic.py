"""Packets that go between simulated hosts again and again, and for how long none arrived."""

from __future__ import annotations

from collections.abc import Callable

from actors.virtual import VirtualRuntime

Pair = tuple[str, str]


class SimulatedTraffic:
    def __init__(self, runtime: VirtualRuntime, send: Callable[[str, str], bool]) -> None:
        """`send` says whether one packet arrives."""
        self._runtime = runtime
        self._arrives = send
        self._lost_since: dict[tuple[int, Pair], float] = {}
        """By stream and pair."""
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
        pairs, _ = self._going.pop(number, ((), 0.0))
        for pair in pairs:
            self._note(number, pair, over=True)

    def _send(self, number: int) -> None:
        if number not in self._going:
            return
        pairs, each = self._going[number]
        for pair in pairs:
            arrives = self._arrives(*pair) and self._arrives(pair[1], pair[0])
            if not arrives:
                self._lost_since.setdefault((number, pair), self._runtime.time)
            self._note(number, pair, over=arrives)
        self._runtime.call(self._runtime.time + each, self._send, number)

    def _note(self, number: int, pair: Pair, over: bool) -> None:
        """For how long it has had no answer, if it has none."""
        now = self._runtime.time
        since = self._lost_since.get((number, pair), now)
        if now - since > self._worst[0]:
            self._worst = (now - since, f"{pair[0]} had no answer from {pair[1]} for {now - since:.1f} s")
        if over:
            self._lost_since.pop((number, pair), None)

    def longest(self) -> tuple[float, str]:
        """seconds, and which pair it was; what is not over yet counts."""
        for number, pair in list(self._lost_since):
            self._note(number, pair, over=False)
        return self._worst
