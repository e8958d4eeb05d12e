"""The contract of a core: pure logic that an actor feeds and whose answers it delivers.

A core does no I/O, reads no clock and draws no entropy of its own: all three are handed in, so a run repeats exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

Message = Any
"""One of the frozen dataclasses of `messages`."""


UNMOVED: Final[list[Message]] = []
"""What `handle` answers, this very list, to a message that changed nothing: there is nothing to settle or to send, and
the deadline is the same. Where nearly all messages are such, it halves their cost."""


class Core(Protocol):
    def begin(self, now: float) -> Iterable[Message]:
        """First of all, once."""

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        """Take one message in; what comes back is to be sent. `now` is monotonic seconds."""

    def settle(self, now: float) -> Iterable[Message]:
        """Do once what many messages made necessary: called when the inbox is empty."""

    def next_deadline(self) -> float | None:
        """When a `Tick` is wanted, in the same seconds; None for never."""
