"""What an actor may ask of the world that runs it: time, chance, a place for its messages. Two worlds implement it.

`threads.ThreadedRuntime` gives each actor a thread; `virtual.VirtualRuntime` runs all of them on one thread in virtual
time. The same actor classes run in both, and waiting inside an actor raises in both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.wiring import Directory
from smeg.messages import Release

if TYPE_CHECKING:
    from actors.base import Actor, Address

INBOX_BOUND = 20_000
"""messages; beyond it a message is dropped and counted, unless it is `urgent`."""


def urgent(envelope: Envelope[Any]) -> bool:
    """Whether this may not be lost: an actor that never hears its end, or who replaced whom, would go on for ever."""
    return isinstance(envelope.message, (_ActorStop, Directory, Release))


_current = threading.local()


class Inbox(Protocol):
    """Where an actor's messages wait. `put` is called from anywhere, the rest by whoever runs the actor."""

    dropped: int
    """Messages refused because the inbox was full."""

    def put(self, envelope: Envelope[Any], /) -> None: ...

    def get(self) -> Envelope[Any]: ...

    def empty(self) -> bool: ...

    def waiting(self) -> int:
        """How many messages wait, as far as anybody outside can tell."""

    def arm(self, deadline: float | None) -> None:
        """Hand out a `Tick` at `deadline`, once; None disarms. A later call replaces an earlier one."""

    def watch(self, sockets: tuple[Any, ...]) -> None:
        """Hand out a `Readable` whenever one of these ZeroMQ sockets can be read."""


class Runtime(Protocol):
    """One host's world."""

    def now(self) -> float:
        """Monotonic seconds."""

    def wall(self) -> int:
        """Seconds since 1970: for the expiry and the serials of certificates, and nothing else."""

    def random(self, name: str) -> Random:
        """A generator for the holder of `name`."""

    def entropy(self, size: int) -> bytes:
        """`size` bytes for keys."""

    def inbox(self, actor: Actor) -> Inbox: ...

    def failed(self, name: str, failure: BaseException) -> None:
        """An actor raised: log it, or fail the run."""

    def log(self, level: str, event: str, **fields: object) -> None:
        """One line for people. Never a secret."""

    def begin(self, actor: Actor) -> None:
        """Run the actor's loop from now on."""

    def spawn(self, make: Callable[[], Actor]) -> Address:
        """Make an actor and start it."""


class WaitingInsideActor(RuntimeError):
    """An actor tried to wait for another one: the way to a deadlock, so it is a failure at once."""


def enter(name: str) -> None:
    """The calling thread now runs the actor `name`."""
    _current.name = name


def leave() -> None:
    """The calling thread is outside of any actor again."""
    _current.name = None


class GuardedFuture(pykka.ThreadingFuture[Any]):
    """A future that whoever is outside may wait for, and that raises inside an actor instead of blocking."""

    def get(self, *, timeout: float | None = None) -> Any:
        name = getattr(_current, "name", None)
        if name is not None:
            raise WaitingInsideActor(f"{name} waits for another actor's answer; send a message instead")
        return super().get(timeout=timeout)
