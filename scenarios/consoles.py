"""Speaks with daemons as `smeg-cli` does, but with many at once and without waiting for any: one may be standing still.

A `Console` has one question on its way at a time; the answer is handed to who asked. Who does not answer in time counts
as silent, and the connection is made anew: an answer that comes later belongs to nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

from scenarios.reactor import Reactor
from smeg.errors import Problem, RemoteError
from smeg.requests import Command, decode_reply, encode_request

Answer = Mapping[str, Any] | Problem
Answered = Callable[[Answer], None]
SILENT = "no-answer"
"""The code of the problem that stands for no answer."""
MOST_WAITING = 256
"""questions; more than that are answered by `SILENT` at once."""


class Console:
    def __init__(self, reactor: Reactor, path: Path, patience: float) -> None:
        """`path` is the control socket as seen from here; `patience` in seconds, for one answer."""
        self._reactor = reactor
        self._path = path
        self._patience = patience
        self._socket: zmq.Socket[bytes] | None = None
        self._waiting: deque[tuple[bytes, Answered]] = deque()
        self._asked: Answered | None = None
        self._number = 0

    def ask(self, answered: Answered, command: str, **arguments: Any) -> None:
        """The answer comes later, after those to earlier questions."""
        if len(self._waiting) >= MOST_WAITING:
            answered(_silence("too many questions wait"))
            return
        self._waiting.append((encode_request(Command(command, arguments)), answered))
        self._send()

    @property
    def busy(self) -> bool:
        return self._asked is not None or bool(self._waiting)

    def close(self) -> None:
        """Nobody who waits is answered any more."""
        self._waiting.clear()
        self._asked = None
        self._disconnect()

    def _send(self) -> None:
        if self._asked is not None or not self._waiting:
            return
        request, self._asked = self._waiting.popleft()
        if self._socket is None:
            self._socket = self._reactor.context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
            self._socket.connect(f"ipc://{self._path}")
            self._reactor.watch(self._socket, self._read)
        self._socket.send_multipart([b"", request])
        self._number += 1
        number = self._number
        self._reactor.call(self._patience, lambda: self._give_up(number))

    def _read(self) -> None:
        while self._socket is not None and self._socket.poll(0):
            data = self._socket.recv_multipart()[-1]
            answered, self._asked = self._asked, None
            if answered is not None:
                try:
                    answer: Answer = decode_reply(data)
                except RemoteError as error:
                    answer = error.problem
                answered(answer)
            self._send()

    def _give_up(self, number: int) -> None:
        if self._asked is None or number != self._number:
            return
        self._disconnect()
        answered, self._asked = self._asked, None
        answered(_silence(f"no answer within {self._patience:g} s"))
        self._send()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._reactor.forget(self._socket)
            self._socket.close(linger=0)
            self._socket = None


def _silence(why: str) -> Problem:
    return Problem(SILENT, why, "see whether the daemon runs")
