"""Real daemons on addresses of this machine's own loopback, without WireGuard: how the tests of what people do wrong
start them, ask them, and see what a refusal said and what it left behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from smeg.edges.control import call
from smeg.errors import LocalError
from tests.nodes import PATIENCE, wait_for

PROGRAMS = Path(sys.executable).parent
TRACEBACK = "Traceback (most recent call last)"
_numbers = count(1)


def fresh_address() -> str:
    """A loopback address that no other test uses: the whole of 127.0.0.0/8 is this machine."""
    return f"127.{os.getpid() >> 8 & 0x7F | 0x80}.{os.getpid() & 0xFF}.{next(_numbers)}"


@dataclass(frozen=True)
class Refusal:
    """What a command that failed said, as JSON and as text at once."""

    code: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.hint})"


def one_refusal(status: int, stdout: str, stderr: str) -> Refusal:
    """The only thing that a failed `smeg-cli --json` said; the test fails unless that is clear."""
    assert status == 1, (status, stdout, stderr)
    assert TRACEBACK not in stdout + stderr
    error = json.loads(stdout)["error"]
    said = Refusal(error["code"], error["message"], error["hint"])
    assert said.message, "it says what is wrong"
    assert said.hint, f"it says what to do next: {said}"
    assert said.code != "internal"
    assert stderr == f"error: {said.message}\nhint: {said.hint}\n"
    return said


def one_complaint(status: int, stderr: str) -> tuple[str, str]:
    """The message and the hint of a daemon that did not start, of its last lines; the rest is its log."""
    assert status == 1, (status, stderr)
    assert TRACEBACK not in stderr
    assert stderr.count("error: ") == 1
    before, _, said = stderr.partition("error: ")
    assert not before or before.endswith("\n")
    message, separator, hint = said.partition("\nhint: ")
    assert separator, f"it says what to do next: {said}"
    return message, hint.strip()


class Daemon:
    """A `smeg-node` with a folder of its own, and the `smeg-cli` that asks it."""

    def __init__(self, folder: Path, **keys: object) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.name = folder.name
        self.address = fresh_address()
        self.state = folder / "state"
        self.config = folder / "node.yaml"
        self.log_file = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.configure(**keys)

    def configure(self, **keys: object) -> None:
        settings = {
            "name": self.name,
            "stateDir": str(self.state),
            "runtimeDir": str(self.folder / "run"),
            "gossipAddress": self.address,
            "publicEndpoint": self.address,
            "backend": "dry-run",
            "heartBeatInterval": 0.5,
            "repairInterval": 0.5,
            **keys,
        }
        self.socket = Path(str(settings["runtimeDir"])) / "control.sock"
        self.config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))

    # The daemon.

    def launch(self) -> None:
        """Start it, without waiting for anything."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "smeg-node", "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> None:
        self.launch()
        wait_for(f"{self.name} answers", self.answers, 20)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon {self.name} ended:\n{self.log()}"
        try:
            self.ask("status")
        except LocalError:
            return False
        return True

    def run(self, *argv: str) -> tuple[str, str]:
        """Start it, when it will not run: its one complaint, message and hint."""
        done = subprocess.run(
            [PROGRAMS / "smeg-node", "--config", self.config, *argv],
            capture_output=True,
            text=True,
            timeout=30 * PATIENCE,
            check=False,
        )
        assert done.stdout == ""
        return one_complaint(done.returncode, done.stderr)

    def kill9(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in order; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(25 * PATIENCE)

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    # Asking it.

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """What the daemon answers, without a program in between. Raises `LocalError`."""
        return call(self.socket, command, arguments, 30 * PATIENCE)

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """A `smeg-cli` that runs on; its standard input is a pipe."""
        return subprocess.Popen(
            [PROGRAMS / "smeg-cli", "--json", "--socket", self.socket, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def cli(self, *argv: str, input: str = "") -> tuple[int, str, str]:
        """Exit status, standard output and standard error of a `smeg-cli` command, with `--json`."""
        with self.popen(*argv) as process:
            try:
                stdout, stderr = process.communicate(input, timeout=40 * PATIENCE)
            except BaseException:
                process.kill()
                raise
        return process.returncode, stdout, stderr

    def refuses(self, *argv: str, input: str = "") -> Refusal:
        return one_refusal(*self.cli(*argv, input=input))

    def does(self, *argv: str, input: str = "") -> dict[str, Any]:
        status, stdout, stderr = self.cli(*argv, input=input)
        assert status == 0, stdout + stderr
        answer: dict[str, Any] = json.loads(stdout)
        return answer

    def invite(self, mesh: str, **arguments: object) -> str:
        # Of a daemon that has just started, a mesh may still be starting too.
        wait_for(f"{mesh} works", lambda: self.meshes().get(mesh, {}).get("state") != "starting", 15)
        return str(self.ask("invite", mesh=mesh, **arguments)["token"])

    # What it is like.

    def meshes(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.ask("list-meshes")["meshes"]}

    def members(self, mesh: str) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.ask("members", mesh=mesh)["members"]}

    def problems(self) -> list[str]:
        return [problem["code"] for problem in self.ask("status")["problems"]]

    def mesh_folders(self) -> set[str]:
        folder = self.state / "meshes"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def is_whole(self, *meshes: str) -> bool:
        """Whether it is healthy, and in exactly these meshes, in memory and on disk, with nothing half done."""
        known = self.meshes()
        return (
            self.problems() == []
            and {name: row["state"] for name, row in known.items()} == dict.fromkeys(meshes, "active")
            and self.mesh_folders() == {row["id"] for row in known.values()}
            and TRACEBACK not in self.log()
        )


@contextmanager
def end_at_last() -> Iterator[Callable[..., Daemon]]:
    """Makes daemons that are ended with the block, whatever happened; none may have written a traceback."""
    made: list[Daemon] = []

    def make(folder: Path, **keys: object) -> Daemon:
        made.append(Daemon(folder, **keys))
        return made[-1]

    try:
        yield make
        for daemon in made:
            assert TRACEBACK not in daemon.log(), daemon.log()
    finally:
        for daemon in made:
            if daemon.process is not None and daemon.process.poll() is None:
                os.killpg(daemon.process.pid, signal.SIGKILL)
                daemon.process.wait()


def form_mesh(mesh: str, first: Daemon, *others: Daemon) -> str:
    """The first makes a mesh, the others join; the mesh's id."""
    made = first.ask("new-mesh", name=mesh)
    if others:
        token = first.invite(mesh, uses=len(others))
        for other in others:
            other.ask("join-mesh", token=token)
    return str(made["mesh"]["id"])


def secrets_of(*folders: Path) -> set[bytes]:
    """The keys in the key files of these state folders, as bytes and in every spelling that a program may choose."""
    keys = [b64decode(path.read_text()) for folder in folders for path in folder.rglob("*.key")]
    assert all(len(key) == 32 for key in keys)
    return {spelling for key in keys for spelling in spellings(key)}


def spellings(key: bytes) -> set[bytes]:
    text = {b64encode(key).rstrip(b"="), urlsafe_b64encode(key).rstrip(b"="), key.hex().encode()}
    return {key, *text, repr(key).encode()[2:-1]}


def seen_of_process(pid: int) -> bytes:
    """What other people on the machine see of a process and of its children: arguments, environment."""
    seen = b""
    for name in ("cmdline", "environ"):
        with suppress(OSError):
            seen += Path(f"/proc/{pid}/{name}").read_bytes()
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            seen += b"".join(seen_of_process(int(child)) for child in children.read_text().split())
    return seen
