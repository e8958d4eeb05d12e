"""How long a person waits for the command line in a large mesh: whole programs, asked of a control actor that knows it.

    python -m scenarios.console_bench [--members 3000] [--runs 10] [--json]

The actor is a daemon's own, in a process of its own and with nothing else to do; what a command costs beside its answer
is mostly the start of a Python.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Network
from pathlib import Path

import click

from actors.base import Actor, Address
from actors.control import ControlActor
from actors.threads import ThreadedRuntime
from actors.wiring import Directory, Role
from scenarios.figures import Result
from scenarios.installed import as_installed
from scenarios.measurement import as_json, conclude, tell
from scenarios.names_bench import MESH, made
from smeg import messages as m
from smeg.core import Message
from smeg.keys import new_secret
from smeg.mesh_settings import Keys
from smeg.records import Route
from smeg.route_policy import RoutePolicy

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("list-meshes",),
    ("status",),
    ("metrics",),
    ("routes", MESH),
    ("watch", MESH, "--last", "10", "--count", "1"),
    ("members", MESH),
    ("members", MESH, "--json"),
    ("members", MESH, "--state", "pruned"),
    ("query-mesh", MESH, "length(@)"),
    ("why", "node-7"),
    ("get-graph", MESH),
)
WAIT = 0.2
WAIT_FOR_ALL = 1.0
"""seconds that a command may take; one that shows or reads every member."""
OF_ALL = ("members", "query-mesh", "get-graph")
GUARD = 600.0
"""seconds after which the actor ends by itself, should nobody end it."""


class Nobody(Actor):
    """Hears what the actor says, and how it ends."""

    role = Role.NODE

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        return ()


def serve(count: int, path: Path) -> None:
    """Be the actor, until the process is ended; say so on standard output when it can be asked."""
    runtime = ThreadedRuntime()
    mesh, members = made(count)
    keys = list(members)
    secret = new_secret(runtime.entropy)
    nobody = runtime.spawn(lambda: Nobody(runtime))
    own = Keys(secret, secret)
    make = ControlActor(runtime, 1, nobody, own, path, "bench", RoutePolicy(), 25)
    actor = Address(make)
    make._start_actor_loop()
    actor.tell(Directory(1, {(Role.CONTROL, ""): actor}))
    pruned = frozenset(keys[1::50])
    routes = tuple(Route(IPv6Network((0x2001_0DB8 << 96 | number << 80, 48)), keys[number % 8]) for number in range(64))
    for message in (
        m.MeshKnown(mesh, MESH, "starting"),
        m.MembersChanged(mesh, 1, members),
        m.LivenessChanged(mesh, 1, 7, keys[0], pruned),
        m.RoutesChanged(mesh, 1, routes),
        m.MeshStarted(mesh, MESH, "fd00::1", "smeg-bench"),
        m.LivenessChanged(mesh, 2, 8, keys[2], pruned | {keys[3]}),
    ):
        actor.tell(message)
    print("ready", flush=True)
    threading.Event().wait(GUARD)


@contextmanager
def served(count: int) -> Iterator[Path]:
    """Such an actor, and its socket."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run" / "control.sock"
        argv = [sys.executable, "-m", "scenarios.console_bench", "--serve", str(path), "--members", str(count)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if process.stdout.readline().strip() != "ready":
                    raise click.ClickException("the actor ended before it could be asked")
                yield path
            finally:
                process.kill()


def ask(path: Path, command: Iterable[str]) -> tuple[float, float, bytes]:
    """A whole program: seconds that it took, those of a processor among them, and what it printed."""
    program = Path(sys.executable).parent / "smeg-cli"
    began = time.monotonic()
    argv = [str(program), "--socket", str(path), *command]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=as_installed()
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        raise click.ClickException(f"{' '.join(command)}: {said.decode()[-300:]}")
    return took, used.ru_utime + used.ru_stime, said


def measure(count: int, runs: int) -> Result:
    result = Result()
    with served(count) as path:
        for command in COMMANDS:
            # Once beforehand: what was never read lies on the disk.
            ask(path, command)
            found = [ask(path, command) for _ in range(runs)]
            times = sorted(took for took, _, _ in found)
            said = len(found[0][2])
            target = WAIT_FOR_ALL if command[0] in OF_ALL and "--state" not in command else WAIT
            name = f"smeg-cli {' '.join(command)}, {count:,} members"
            cpu = statistics.median(each for _, each, _ in found)
            detail = f"of a processor {cpu:.3f} s; the quickest {times[0]:.3f} s; {said:,} bytes"
            result.add(name, statistics.median(times), "s", target, detail)
            tell(f"{name}: {times[0]:.3f} to {times[-1]:.3f} s")
    return result


@click.command()
@click.option("--members", default=3000, show_default=True, type=click.IntRange(60, 10_000))
@click.option("--runs", default=10, show_default=True, type=click.IntRange(1, 1000))
@click.option("--serve", "path", type=click.Path(path_type=Path), hidden=True)
@as_json
def main(members: int, runs: int, path: Path | None, as_json: bool) -> None:
    """Measure how long the command line takes where thousands are members."""
    if path is not None:
        serve(members, path)
    else:
        conclude(lambda: measure(members, runs), as_json)


if __name__ == "__main__":
    main()
