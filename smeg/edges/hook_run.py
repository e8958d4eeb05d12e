"""The commands of one hook, run one after another in a process group of their own, without a shell, for a limited time.

Nothing here waits: its owner looks now and then.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from smeg.errors import LocalError, Problem
from smeg.hooks import Command, Hook

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT = 300
"""bytes of what a command said last, for the report of its failure."""
READ = 64 * 1024
"""bytes read at once."""


class HookRun:
    """Begins with construction. `problem` is set when a command failed: those after it are not run then."""

    def __init__(
        self, hook: Hook, commands: Iterable[Command], environment: Mapping[str, str], limit: float, now: float
    ) -> None:
        """`limit` in seconds, for all commands together."""
        self.hook = hook
        self.problem: Problem | None = None
        self._commands = deque(commands)
        self._environment = {"PATH": PATH, "LANG": "C.UTF-8", **environment}
        self._limit = limit
        self._until = now + limit
        self._program = ""
        self._running: subprocess.Popen[bytes] | None = None
        self._said = b""
        self._begin()

    @property
    def until(self) -> float:
        """When what still runs is killed, in monotonic seconds."""
        return self._until

    def look(self, now: float) -> bool:
        """Go on; whether all of it has come to an end."""
        while self._running is not None:
            self._read(self._running)
            status = self._running.poll()
            if status is None and now < self._until:
                return False
            self._end(self._running, status)
            if self.problem is None:
                self._begin()
        return True

    def close(self) -> None:
        """Kill what still runs."""
        if self._running is not None:
            _kill(self._running)
            self._running = None

    def _begin(self) -> None:
        if not self._commands:
            return
        words = self._commands.popleft().words
        self._program, self._said = words[0], b""
        try:
            self._running = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._fail(f"cannot be run: {getattr(error, 'strerror', None) or error}")
            return
        assert self._running.stdout is not None
        os.set_blocking(self._running.stdout.fileno(), False)

    def _read(self, running: subprocess.Popen[bytes]) -> None:
        assert running.stdout is not None
        with suppress(BlockingIOError):
            self._said = (self._said + os.read(running.stdout.fileno(), READ))[-KEPT:]

    def _end(self, running: subprocess.Popen[bytes], status: int | None) -> None:
        self._read(running)
        self._running = None
        _kill(running)
        if status is None:
            self._fail(f"did not end within {self._limit:g} s, and was killed")
        elif status:
            said = " ".join("".join(c if c.isprintable() else " " for c in self._said.decode(errors="replace")).split())
            how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
            self._fail(f"{how}: {said}" if said else how)

    def _fail(self, why: str) -> None:
        message = f"{self.hook}: {self._program} {why}"
        self.problem = Problem("hook-failed", message, f"see to the command that the configuration has as {self.hook}")


def _kill(running: subprocess.Popen[bytes]) -> None:
    """What still runs of a command; who became a daemon of its own by a new session stays."""
    if running.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    if running.stdout is not None:
        running.stdout.close()


def check_trusted(path: Path) -> None:
    """That nobody but this user and root can write a file, or put another in its place: what it says is run.

    Raises `LocalError`: `hooks-exposed`.
    """
    real = path.resolve()
    for each in (real, *real.parents):
        found = each.stat()
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()):
            what, how = f"{each} belongs to another user", f"chown root {each}"
        elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            what, how = f"others can write {each}", f"chmod go-w {each}"
        else:
            continue
        raise LocalError("hooks-exposed", f"the configuration names commands to run, and {what}", how)
