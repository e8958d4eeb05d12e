"""The daemon behind the API: asked over its control socket, as the command line does, one connection a question.

What it answers is passed on as it is. What is wrong becomes a status of HTTP here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from smeg.edges.control import call
from smeg.errors import Problem

JOIN_SECONDS = 30.0
"""The daemon gives up joining before that, and says why."""

_STATUS: Mapping[str, int] = {
    "bad-argument": 400,
    "bad-configuration": 400,
    "bad-name": 400,
    "bad-query": 400,
    "bad-request": 400,
    "request-too-big": 413,
    "no-graphviz": 501,
    "no-ping": 501,
    "bad-reply": 502,
    "version-unknown": 502,
    "graphviz-failed": 502,
    "control-failed": 503,
    "daemon-not-running": 503,
    "daemon-stopped": 503,
    "daemon-stopping": 503,
    "no-permission": 503,
    "not-ready": 503,
    "mesh-not-ready": 503,
    "busy": 503,
    "timeout": 504,
}


def status_of(problem: Problem) -> int:
    """By its code: 404 for what is not there, 409 for what cannot be done as things are."""
    if problem.code.startswith("token-"):
        return 400
    return _STATUS.get(problem.code, 404 if problem.code.startswith("unknown-") else 409)


@dataclass(frozen=True, slots=True)
class Daemon:
    socket: Path
    timeout: float = 10.0
    """seconds for one answer."""

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None, timeout: float = 0.0) -> dict[str, Any]:
        """Its result, within `timeout` seconds if that is longer than usual. Blocks. Raises `SmegError`."""
        return call(self.socket, command, arguments or {}, max(timeout, self.timeout))


def _daemon_of(request: Request) -> Daemon:
    daemon = request.app.state.daemon
    assert isinstance(daemon, Daemon), "the app was made with one"
    return daemon


Asked = Annotated[Daemon, Depends(_daemon_of)]
"""A parameter of an operation: whom it asks."""
