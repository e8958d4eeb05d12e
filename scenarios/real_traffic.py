"""Packets that go between real hosts again and again, and for how long none was answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from scenarios.echoes import Outcome
from scenarios.reactor import Reactor

Pair = tuple[str, str]
Send = Callable[[str, str, Callable[[Outcome], None]], None]
LEAST = 0.05
"""seconds between two packets of a pair."""


@dataclass(slots=True)
class _Stream:
    each: float
    answered: float
    """When the last packet that was answered was sent; at first, when the stream began."""
    first: bool = True
    """Whether none was answered yet."""
    ended: bool = False

    def silent_since(self) -> float:
        return self.answered if self.first else self.answered + self.each


class RealTraffic:
    def __init__(self, reactor: Reactor, send: Send, clock: Callable[[], float], patience: float) -> None:
        """`clock` in seconds, as a person is told; `patience`: seconds after which a packet counts as lost."""
        self._reactor = reactor
        self._clock = clock
        self._send = send
        self._patience = patience
        self._streams: dict[int, dict[Pair, _Stream]] = {}
        self._worst: tuple[float, str] = (0.0, "no traffic has gone")
        self._count = 0

    def begin(self, pairs: tuple[Pair, ...], each: float) -> int:
        self._count += 1
        every = max(each, LEAST)
        self._streams[self._count] = {pair: _Stream(every, self._clock()) for pair in pairs}
        self._go(self._count, every)
        return self._count

    def end(self, number: int) -> None:
        for pair, stream in self._streams.pop(number, {}).items():
            self._note_silence(pair, stream)
            stream.ended = True

    def longest(self) -> tuple[float, str]:
        """seconds, and which pair it was."""
        for streams in self._streams.values():
            for pair, stream in streams.items():
                self._note_silence(pair, stream)
        return self._worst

    def _go(self, number: int, every: float) -> None:
        if number not in self._streams:
            return
        for pair, stream in self._streams[number].items():
            self._send(*pair, partial(self._ended, pair, stream, self._clock()))
        self._reactor.call(every, partial(self._go, number, every))

    def _ended(self, pair: Pair, stream: _Stream, sent: float, outcome: Outcome) -> None:
        if outcome.what != "reply" or stream.ended or sent < stream.answered:
            return
        if sent > stream.silent_since() + stream.each / 2:
            self._note(pair, stream, sent - stream.silent_since())
        stream.answered, stream.first = sent, False

    def _note_silence(self, pair: Pair, stream: _Stream) -> None:
        """What is not over yet: packets that can still be answered do not count."""
        lasts = self._clock() - self._patience - stream.silent_since()
        if lasts > 0:
            self._note(pair, stream, lasts + self._patience)

    def _note(self, pair: Pair, stream: _Stream, lasts: float) -> None:
        if lasts > self._worst[0]:
            since = f"for {lasts:.1f} s from {stream.silent_since():.1f} s on"
            self._worst = (lasts, f"{pair[0]} had no answer from {pair[1]} {since}")
