"""Single packets between the hosts of the real world: sent in their namespaces, and what became of each.

One `pinger` a host does it, so that an echo costs no process. Nobody waits here: who sends says who is told.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scenarios import pinger
from scenarios.hosts import Host
from scenarios.reactor import Reactor

HOPS = 64
FORGET = 60.0
"""seconds after which nobody waits for an echo any more."""
MOST_SENT = 20_000
"""echoes of a host that are waited for; of more the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Outcome:
    what: str
    """`reply`, `exceeded`, `unreachable`, or `failed`: it could not be sent."""
    who: str
    """The address that said so, or why it failed."""


Ended = Callable[[Outcome], None]


class Pinger:
    """Of one host."""

    def __init__(self, reactor: Reactor, host: Host, port: int | None) -> None:
        """With a port it accepts connections there."""
        program = [sys.executable, "-I", "-S", str(Path(pinger.__file__))]
        self._reactor = reactor
        self._process: subprocess.Popen[bytes] = host.converse([*program, *([str(port)] if port else [])])
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._out, False)
        self._rest = b""
        self._number = 0
        self._sent: dict[int, tuple[float, Ended]] = {}
        self.ready = False
        reactor.watch(self._out, self._read)

    def send(self, address: str, hops: int, ended: Ended) -> None:
        self._number += 1
        now = time.monotonic()
        while self._sent and (len(self._sent) > MOST_SENT or next(iter(self._sent.values()))[0] < now - FORGET):
            del self._sent[next(iter(self._sent))]
        self._sent[self._number] = (now, ended)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._number} {address} {hops}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        self._reactor.forget(self._out)

    def _read(self) -> None:
        try:
            data = os.read(self._out, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._reactor.forget(self._out)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line == b"ready":
                self.ready = True
                continue
            number, what, who = line.decode().split()
            _, ended = self._sent.pop(int(number), (0.0, None))
            if ended is not None:
                ended(Outcome(what, who))
