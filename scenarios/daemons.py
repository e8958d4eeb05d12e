"""Many real daemons on one machine: each on a loopback address of its own, without WireGuard, all ended at the end.

`Daemons` starts and ends them, `Questions` asks all of them at once from one thread, by connections that stay, and
`usage` reads from `/proc` what one costs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from scenarios.installed import as_installed
from smeg.errors import LocalError, Problem
from smeg.requests import Command, decode_reply, encode_request

PROGRAM = Path(sys.executable).parent / "smeg-node"
STARTING = 4
"""How many daemons start at a time: each needs half a second of a core."""
START_TIMEOUT = 60.0
ASK_EVERY = 0.1
"""seconds between two questions to one daemon."""
SUBNET = os.getpid() & 0x3F | 0x40
"""127.64.0.0 to 127.127.0.0: two runs at a time are not in each other's way."""
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
Answer = Mapping[str, Any]


def loopback(number: int) -> str:
    """An address of this run's own, of 65,536."""
    return f"127.{SUBNET}.{number >> 8}.{number & 0xFF}"


class TooLate(Exception):
    """What was waited for did not come about in time."""


class Daemon:
    """One `smeg-node` with folders of its own. Made by `Daemons.add`."""

    def __init__(self, number: int, folder: Path, settings: Mapping[str, object]) -> None:
        self.number = number
        self.name = f"n{number}"
        self.folder = folder
        self.address = loopback(number)
        self.state = folder / "state"
        self.socket = folder / "run" / "control.sock"
        self.process: subprocess.Popen[bytes] | None = None
        keys = {
            "name": self.name,
            "stateDir": str(self.state),
            "runtimeDir": str(folder / "run"),
            "gossipAddress": self.address,
            "publicEndpoint": self.address,
            "backend": "dry-run",
            "logLevel": "warning",
            **settings,
        }
        folder.mkdir(mode=0o700)
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())
        (folder / "node.yaml").write_text(text)

    def launch(self, core: int | None = None) -> None:
        """Start it, on one core of the machine if it is given. Called by the main thread: it ends with that."""
        argv: list[str | Path] = [PROGRAM, "--config", self.folder / "node.yaml"]
        if shutil.which("setpriv"):
            # Should this process be killed, so is what it started.
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        if core is not None:
            argv = ["taskset", "--cpu-list", str(core), *argv]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=as_installed(),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None, "it was launched"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill9(self) -> float:
        """End it as a power cut would; when that was, on the monotonic clock."""
        assert self.process is not None
        at = time.monotonic()
        self.process.kill()
        self.process.wait()
        return at

    def signal(self, number: signal.Signals) -> float:
        """When it was sent."""
        at = time.monotonic()
        os.kill(self.pid, number)
        return at

    def listens(self) -> bool:
        """Whether it can be asked. The file of one that was killed is still there, and refuses."""
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def log(self) -> str:
        with suppress(OSError):
            return (self.folder / "log").read_text(errors="replace")
        return ""


class Daemons:
    """`with Daemons() as daemons`: at the end of the block all are gone, and their folders."""

    def __init__(self, **settings: object) -> None:
        """`settings` are keys of the configuration, for all."""
        self._folder = Path(tempfile.mkdtemp(prefix="smeg-"))
        self._settings = settings
        self.all: list[Daemon] = []
        self.questions = Questions()

    def add(self, count: int = 1, **settings: object) -> list[Daemon]:
        """Make folders for so many more."""
        first = len(self.all) + 1
        made = [
            Daemon(number, self._folder / f"n{number}", {**self._settings, **settings})
            for number in range(first, first + count)
        ]
        self.all += made
        return made

    def start(self, daemons: Iterable[Daemon]) -> None:
        """Start these, a few at a time, and return when all answer. Raises as `until_listening`."""
        waiting = list(daemons)
        while waiting:
            some, waiting = waiting[:STARTING], waiting[STARTING:]
            for daemon in some:
                daemon.launch()
            self.until_listening(some)

    def until_listening(self, daemons: Iterable[Daemon]) -> None:
        """Wait until these answer. Raises `TooLate`, `LocalError` when one ended."""
        starting = list(daemons)
        until = time.monotonic() + START_TIMEOUT
        while starting:
            for daemon in starting:
                if not daemon.running:
                    last = daemon.log().strip().splitlines()[-3:]
                    raise LocalError("daemon-ended", f"{daemon.name} ended: {' '.join(last)}", f"see {PROGRAM}")
            starting = [daemon for daemon in starting if not daemon.listens()]
            if time.monotonic() > until:
                raise TooLate(f"{[daemon.name for daemon in starting]} did not start within {START_TIMEOUT:.0f} s")
            time.sleep(0.02)

    def end(self) -> None:
        """Kill all, by process id, and remove the folders. Harmless twice."""
        self.questions.close()
        for daemon in self.all:
            if daemon.process is not None and daemon.process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(daemon.pid, signal.SIGKILL)
        for daemon in self.all:
            if daemon.process is not None:
                daemon.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        # A service manager's way to end this must not leave the daemons either.
        signal.signal(signal.SIGTERM, _exit)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)


class _Line:
    """A connection to one daemon, with at most one question on its way."""

    def __init__(self, path: Path, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self.socket.connect(f"ipc://{path}")
        self.due = 0.0
        self.asked = False


class Questions:
    """Asks many daemons at once, over connections that stay."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 4096)
        self.asked = 0

    def close(self) -> None:
        self._context.destroy(linger=0)

    def one(self, daemon: Daemon, command: str, limit: float = 30.0, **arguments: object) -> Answer:
        """What one answers. Raises `LocalError` with what it refuses, `TooLate`."""
        found: list[Answer | Problem] = []

        def holds(_: Daemon, answer: Answer | Problem) -> bool:
            found.append(answer)
            return True

        self.until([daemon], command, holds, limit, ASK_EVERY, 1, **arguments)
        if isinstance(found[0], Problem):
            raise LocalError(found[0].code, found[0].message, found[0].hint)
        return found[0]

    def until(
        self,
        daemons: Iterable[Daemon],
        command: str,
        holds: Callable[[Daemon, Answer | Problem], bool],
        limit: float,
        every: float = ASK_EVERY,
        at_a_time: int = 4096,
        **arguments: object,
    ) -> dict[Daemon, float]:
        """Ask each again and again until it holds for its answer; when that was, on the monotonic clock.

        Who has said it is not asked again. Raises `TooLate` after `limit` seconds, naming who did not say it.
        """
        request = encode_request(Command(command, arguments))
        lines = {daemon: _Line(daemon.socket, self._context) for daemon in daemons}
        found: dict[Daemon, float] = {}
        poller = zmq.Poller()
        by_socket = {line.socket: daemon for daemon, line in lines.items()}
        now = time.monotonic()
        until = now + limit
        for at, line in enumerate(lines.values()):
            poller.register(line.socket, zmq.POLLIN)
            # Not all in one moment: what they would do to answer is not what is measured.
            line.due = now + every * at / len(lines)
        try:
            while len(found) < len(lines):
                now = time.monotonic()
                if now >= until:
                    late = [daemon.name for daemon in lines if daemon not in found]
                    raise TooLate(f"{len(late)} of {len(lines)} did not say it within {limit:g} s: {late[:5]}")
                busy = sum(line.asked for line in lines.values())
                for daemon, line in lines.items():
                    if daemon not in found and not line.asked and line.due <= now and busy < at_a_time:
                        line.socket.send_multipart([b"", request])
                        line.asked, line.due = True, now + every
                        self.asked += 1
                        busy += 1
                due = [line.due for daemon, line in lines.items() if daemon not in found and not line.asked]
                wait = min([until, *(due if busy < at_a_time else [])]) - now
                for ready, _ in poller.poll(max(1, int(wait * 1000) + 1)):
                    daemon = by_socket[ready]
                    lines[daemon].asked = False
                    answer = decode_reply(ready.recv_multipart()[-1])
                    if daemon not in found and holds(daemon, answer):
                        found[daemon] = time.monotonic()
        finally:
            for line in lines.values():
                line.socket.close(linger=0)
        return found


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far, and holds."""

    cpu: float
    """seconds, of all cores together."""
    resident: int
    """bytes."""
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    """Raises `FileNotFoundError` when there is no such process."""
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rpartition(") ")[2].split()
    resident = int((folder / "statm").read_text().split()[1]) * PAGE
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, resident, len(os.listdir(folder / "fd")), int(fields[17]))
