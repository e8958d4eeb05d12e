"""The actor that tries whether this node still reaches beyond itself."""

from __future__ import annotations

from collections.abc import Iterable

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.config_values import PublicEndpoint
from smeg.core import Message
from smeg.device import MARK
from smeg.edges.dialling import Dialling
from smeg.probing import EVERY, PATIENCE, Probing

LOOK_EVERY = 0.1
"""seconds between two looks at an attempt."""


class ProberActor(Actor):
    role = Role.PROBER

    def __init__(
        self, runtime: Runtime, incarnation: int, supervisor: Address, targets: tuple[PublicEndpoint, ...]
    ) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._targets = targets
        self._probing = Probing()
        self._attempt: Dialling | None = None
        self._began = 0.0
        self._version = 0

    def begin(self, now: float) -> Iterable[Message]:
        self._start(now)
        return []

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        if not isinstance(message, m.Tick):
            return []
        if self._attempt is None:
            self._start(now)
        elif self._attempt.look() or now >= self._began + PATIENCE:
            return self._end(self._attempt, now)
        return []

    def next_deadline(self) -> float | None:
        if self._attempt is None:
            return self._began + EVERY
        return min(self.runtime.now() + LOOK_EVERY, self._began + PATIENCE)

    def close(self) -> None:
        if self._attempt is not None:
            self._attempt.close()

    def _start(self, now: float) -> None:
        self._began = now
        self._attempt = Dialling(self._targets, MARK)

    def _end(self, attempt: Dialling, now: float) -> Iterable[Message]:
        attempt.close()
        self._attempt = None
        if not self._probing.attempted(attempt.reached, now):
            return []
        self._version += 1
        reached = self._probing.reached is True
        self.runtime.log("info" if reached else "warning", "uplink", reached=reached)
        return [m.UplinkChanged(self._version, reached)]
