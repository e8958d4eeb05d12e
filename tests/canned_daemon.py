"""A control socket with prepared answers: the daemon's end of the protocol for real, and nothing behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smeg.edges.control import ControlServer
from smeg.errors import Problem
from smeg.requests import Command

Answer = Mapping[str, Any] | Problem | None
"""None is silence."""
Answers = Answer | Callable[[Mapping[str, Any]], Answer]
"""Or what makes one from the arguments, in the thread of the daemon."""


class CannedDaemon:
    """What was asked, and what is answered: by command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Answers] = {}
        self.asked: list[Command] = []
        self.heard = threading.Event()

    def last(self) -> Mapping[str, Any]:
        """The arguments of the last request."""
        return self.asked[-1].arguments


@contextmanager
def canned_daemon(path: Path, group: str = "") -> Iterator[CannedDaemon]:
    """Answers on `path` in a thread of its own until the block ends."""
    daemon, server, done = CannedDaemon(path), ControlServer(path, group), threading.Event()

    def serve() -> None:
        while not done.is_set():
            if not server.socket.poll(10):
                continue
            while (request := server.receive()) is not None:
                asker, command = request
                daemon.asked.append(command)
                daemon.heard.set()
                answer = daemon.answers.get(command.name, Problem("unknown-command", "nothing was prepared"))
                if callable(answer):
                    answer = answer(command.arguments)
                if answer is not None:
                    server.reply(asker, answer)
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield daemon
    finally:
        done.set()
        thread.join()
