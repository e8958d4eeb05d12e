"""Telling systemd-resolved, where it runs, which names this node answers for: by `resolvectl`, and without waiting.

What is told is about an interface, and resolved forgets it with the interface.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from smeg.errors import Problem

RUNS = Path("/run/systemd/resolve")
"""What there is while it runs."""
PROGRAM = "resolvectl"
PATIENCE = 5.0
"""seconds for one command."""


def available() -> bool:
    """Whether there is anybody to tell."""
    return RUNS.is_dir() and shutil.which(PROGRAM) is not None


class Registration:
    """Commands that run one after another; the first that fails is the last."""

    def __init__(self, interface: str, server: str, domains: Iterable[str]) -> None:
        """`server` is `ADDRESS:PORT`; for names under `domains` it is asked, and for no others."""
        self._interface = interface
        names = tuple(domains)
        self._commands = deque(
            [
                [PROGRAM, "dns", interface, server],
                [PROGRAM, "domain", interface, *(f"~{domain}" for domain in names)],
                # Nobody above signs for these, and a resolver that wants signatures would not believe them.
                [PROGRAM, "nta", interface, *names],
                [PROGRAM, "default-route", interface, "false"],
            ]
        )
        self._running: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self.problem: Problem | None = None

    def look(self, now: float) -> bool:
        """Go on; whether this has come to an end."""
        if self._running is not None:
            status = self._running.poll()
            if status is None and now < self._began + PATIENCE:
                return False
            self._end(status)
        if self.problem is None and self._commands:
            self._begin(now)
        return self._running is None

    def close(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None

    def _begin(self, now: float) -> None:
        self._began = now
        command = self._commands.popleft()
        try:
            self._running = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._fail(str(error.strerror))

    def _end(self, status: int | None) -> None:
        assert self._running is not None
        if status is None:
            self._running.kill()
        # It has ended, and its pipe holds all that it said.
        said = self._running.communicate()[1][:300].decode(errors="replace")
        self._running = None
        if status is None:
            self._fail(f"{PROGRAM} did not end within {PATIENCE:g} s")
        elif status:
            self._fail(" ".join("".join(letter if letter.isprintable() else " " for letter in said).split()))

    def _fail(self, why: str) -> None:
        message = f"systemd-resolved was not told to ask this node for names by {self._interface}: {why}"
        hint = "see docs/dns.md for how to tell it, or set dnsResolved to false"
        self.problem = Problem("resolved-untold", message, hint)
