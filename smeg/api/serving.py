"""The server: uvicorn on one socket, with limits on what a connection may cost."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from smeg.errors import LocalError

MAX_CONNECTIONS = 64
ROOM = 56
"""connections beyond which one that waits is closed for each new one, so that nobody keeps others out by silence."""
MAX_HEAD = 16 * 1024
"""bytes of a request's line and headers."""
IDLE_SECONDS = 10
"""between two looks at whether a connection still waits for a whole request; at the second it is closed."""
END_SECONDS = 3
"""for answers that are on their way when the service is ended."""


class Connection(H11Protocol):
    """Ends where nothing whole comes: uvicorn alone waits for ever for the first request, or for the rest of one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._made_at = self.loop.time()
        self._make_room()
        self._waited_after: object = self
        """What had been answered last when it was seen to wait; itself while it was not."""
        self._timer = self.loop.call_later(IDLE_SECONDS, self._look)

    @property
    def _waits(self) -> bool:
        """Whether no whole request is being answered. Who lacks the token is answered at once, so it always waits."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        """Close who waits without having asked anything, the oldest first, then who has been answered."""
        connections = (each for each in self.connections if isinstance(each, Connection))
        open_now = [each for each in connections if not each.transport.is_closing()]
        waiting = [each for each in open_now if each is not self and each._waits]
        if len(open_now) > ROOM and waiting:
            min(waiting, key=lambda each: (each.cycle is not None, each._made_at)).transport.close()

    def _look(self) -> None:
        waits = self._waits
        if waits and self._waited_after is self.cycle:
            self.transport.close()
            return
        self._waited_after = self.cycle if waits else self
        self._timer = self.loop.call_later(IDLE_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens. Raises `LocalError` (`port-in-use`, `cannot-listen`)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(MAX_CONNECTIONS)
    except OSError as error:
        listening.close()
        message = f"cannot listen on {address} port {port}: {error.strerror}"
        raise LocalError("cannot-listen", message, "choose another by --listen or --port") from error
    return listening


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Until SIGTERM or SIGINT."""
    application: Any = app
    config = uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
    )
    uvicorn.Server(config).run([listening])
