"""The actor that serves metrics by HTTP: who asks gets a page that the control actor makes for it.

Another thread than that one, so that nobody who connects here keeps people's commands waiting.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.core import Message
from smeg.edges.metrics_server import MetricsServer
from smeg.errors import LocalError

OPEN_AGAIN = 5.0
"""seconds between attempts to listen: the address may be one of a mesh, which comes with its interface."""
WAIT = 5.0
"""seconds until who asks is told that there is no page."""


class MetricsActor(Actor):
    role = Role.METRICS

    def __init__(
        self, runtime: Runtime, incarnation: int, supervisor: Address, address: IPv4Address | IPv6Address, port: int
    ) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._bind = (address, port)
        self._server: MetricsServer | None = None
        self._open_at: float | None = None
        self._asked_at: float | None = None
        self._version = 0

    def begin(self, now: float) -> Iterable[Message]:
        return self._open(now)

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        server = self._server
        if server is None:
            return self._open(now) if isinstance(message, m.Tick) else []
        match message:
            case m.Readable():
                return self._serve(server, now)
            case m.MetricsPage(text) if self._asked_at is not None:
                self._asked_at = None
                server.answer(text)
            case m.Tick():
                server.tick(now)
                if self._asked_at is not None and now >= self._asked_at + WAIT:
                    self._asked_at = None
                    server.answer(None)
        return []

    def next_deadline(self) -> float | None:
        own = self._server.next_deadline() if self._server is not None else None
        asked = self._asked_at + WAIT if self._asked_at is not None else None
        return min((at for at in (self._open_at, asked, own) if at is not None), default=None)

    def close(self) -> None:
        self.actor_inbox.watch(())
        if self._server is not None:
            self._server.close()

    def _open(self, now: float) -> Iterable[Message]:
        self._version += 1
        try:
            self._server = MetricsServer(*self._bind)
        except LocalError as error:
            self._open_at = now + OPEN_AGAIN
            return [m.MetricsServed(self._version, "", error.problem)]
        self._open_at = None
        self.actor_inbox.watch((self._server.descriptor,))
        self.runtime.log("info", "metrics are served", at=self._server.place)
        return [m.MetricsServed(self._version, self._server.place)]

    def _serve(self, server: MetricsServer, now: float) -> Iterable[Message]:
        if not server.serve(now) or self._asked_at is not None:
            return []
        self._asked_at = now
        return [m.MetricsAsked()]
