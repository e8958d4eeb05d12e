"""The base of every actor: it takes messages from its inbox, feeds its core, and delivers what comes back.

Subclasses either hand a core to `CoreActor` or override the same few hooks around an edge (a socket, a device, a disk).
They never call each other, and never wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any

import pykka
from pykka._envelope import Envelope

from actors.runtime import GuardedFuture, Inbox, Runtime, enter, leave
from actors.wiring import SNAPSHOTS, Directory, Role
from smeg.core import UNMOVED, Core, Message
from smeg.errors import Problem, SmegError
from smeg.messages import ActorFailed, ActorStopped, Release

_KEPT = frozenset(SNAPSHOTS)


class Address:
    """Where to send messages for one actor. Telling a dead one is harmless."""

    __slots__ = ("_inbox", "_ref", "_stopped", "incarnation", "name")

    def __init__(self, actor: Actor) -> None:
        self.name = actor.name
        self.incarnation = actor.incarnation
        self._ref = actor.actor_ref
        self._inbox = actor.actor_inbox
        self._stopped = actor.actor_stopped

    def tell(self, message: Message) -> None:
        if not self._stopped.is_set():
            self._inbox.put(Envelope(message))

    def stop(self) -> None:
        """Ask the actor to end after the messages before this one."""
        if not self._ref.actor_stopped.is_set():
            self._ref.stop(block=False)

    def ask(self, message: Message, timeout: float) -> Any:
        """For tests and people outside: raises `WaitingInsideActor` inside an actor."""
        return self._ref.ask(message, timeout=timeout)

    @property
    def alive(self) -> bool:
        return not self._ref.actor_stopped.is_set()

    @property
    def dropped(self) -> int:
        """Messages that its full inbox refused."""
        return self._inbox.dropped

    @property
    def waiting(self) -> int:
        """Messages in its inbox."""
        return self._inbox.waiting()

    def __repr__(self) -> str:
        return f"<{self.name} #{self.incarnation}>"


class Actor(pykka.ThreadingActor):
    """One of the system's actors.

    `name` is unique in a daemon (`role` or `role@mesh`); `incarnation` counts its restarts. `supervisor` hears
    of its failure and its end.
    """

    role: Role
    actor_inbox: Inbox

    def __init__(
        self, runtime: Runtime, mesh: str = "", incarnation: int = 0, supervisor: Address | None = None
    ) -> None:
        super().__init__()
        self.runtime = runtime
        self.mesh = mesh
        self.incarnation = incarnation
        self.name = f"{self.role.value}@{mesh}" if mesh else self.role.value
        self.supervisor = supervisor
        self.actor_inbox = runtime.inbox(self)
        self._actor_ref = pykka.ActorRef(self)
        self._directory: Directory | None = None
        self._early: list[Message] = []
        self._snapshots: dict[tuple[type[Message], str], Message] = {}

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return GuardedFuture()

    def _start_actor_loop(self) -> None:
        self.runtime.begin(self)

    # The hooks.

    def begin(self, now: float) -> Iterable[Message]:
        """First of all, when the others can be reached."""
        return ()

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        raise NotImplementedError

    def settle(self, now: float) -> Iterable[Message]:
        return ()

    def next_deadline(self) -> float | None:
        return None

    def release(self) -> None:
        """Remove what is held outside this process. Harmless twice."""

    def close(self) -> None:
        """Let go of what is held inside this process. Called once, also after a failure."""

    # What pykka calls.

    def on_receive(self, message: Message) -> None:
        # Every delivery passes here: what is not needed for most messages stands aside.
        enter(self.name)
        try:
            now = self.runtime.now()
            if self._directory is None or isinstance(message, (Directory, Release)):
                self._receive_aside(message, now)
                if self._directory is None:
                    return
            else:
                out = self.handle(message, now)
                if out is UNMOVED:
                    return
                if out:
                    self.emit(out)
            inbox = self.actor_inbox
            if inbox.empty() and (out := self.settle(now)):
                self.emit(out)
            inbox.arm(self.next_deadline())
        finally:
            leave()

    def _receive_aside(self, message: Message, now: float) -> None:
        match message:
            case Directory():
                self._move_to(message, now)
            case Release():
                self.release()
            case _:
                # Others began earlier; an answer to them would find nobody yet.
                self._early.append(message)

    def on_stop(self) -> None:
        try:
            self.close()
        finally:
            if self.supervisor is not None:
                self.supervisor.tell(ActorStopped(self.name, self.incarnation))

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Pykka's hook for every failure: the runtime hears of it instead of pykka's log."""
        self.actor_stopped.set()
        if exception_value is not None:
            self.runtime.failed(self.name, exception_value)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exception_value, SmegError):
            problem = exception_value.problem
        else:
            kind = exception_type.__name__ if exception_type else "Exception"
            problem = Problem("actor-failed", f"{self.name} failed: {kind}: {exception_value}", "it is started again")
        try:
            self.close()
        finally:
            if self.supervisor is not None:
                self.supervisor.tell(ActorFailed(self.name, self.incarnation, problem))

    # Delivery.

    def emit(self, messages: Iterable[Message]) -> None:
        """Send each message to everybody who hears its kind."""
        directory = self._directory
        for message in messages:
            if type(message) in _KEPT:
                self._snapshots[type(message), getattr(message, "mesh", "")] = message
            if directory is not None:
                for address in directory.addresses(message):
                    address.tell(message)

    def _move_to(self, directory: Directory, now: float) -> None:
        """Use a newer directory; who is new in it hears the snapshots that it missed."""
        before = self._directory
        if before is not None and directory.version <= before.version:
            return
        self._directory = directory
        if before is None:
            self.emit(self.begin(now))
            early, self._early = self._early, []
            for message in early:
                self.emit(self.handle(message, now))
            return
        for message in self._snapshots.values():
            for place in directory.listeners(message):
                address = directory.places.get(place)
                if address is not None and address is not before.places.get(place):
                    address.tell(message)


class CoreActor(Actor):
    """An actor that owns a core and does nothing but translate."""

    def __init__(self, runtime: Runtime, mesh: str, incarnation: int, supervisor: Address | None, core: Core) -> None:
        super().__init__(runtime, mesh, incarnation, supervisor)
        self.core = core
        # Every message passes these: the core's own, without a call in between.
        vars(self).update(handle=core.handle, settle=core.settle, next_deadline=core.next_deadline)

    def begin(self, now: float) -> Iterable[Message]:
        return self.core.begin(now)
