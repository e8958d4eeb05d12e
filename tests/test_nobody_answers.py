"""Joining by way of a place where nobody of the mesh answers: the place and the reason are named in time, and nothing
of the mesh stays. All are tried at once, by one daemon.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from smeg.authority import Authority, found
from smeg.device import Endpoint
from smeg.joining import PATIENCE as JOIN_PATIENCE
from smeg.keys import Secret, x25519_public
from smeg.notary import Notary
from smeg.stored import Contact
from tests.loopback import TRACEBACK, Daemon, Refusal, end_at_last, form_mesh, fresh_address, one_refusal
from tests.nodes import PATIENCE, wait_for

PORT = 51800


@contextmanager
def speaker(words: bytes | None) -> Iterator[str]:
    """Where something else listens, which says these words to everybody, or hangs up for None."""
    address, done = fresh_address(), threading.Event()
    with socket.create_server((address, PORT)) as server, ExitStack() as open_until_the_end:
        server.settimeout(0.1)

        def serve() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                if words is None:
                    connection.close()
                else:
                    open_until_the_end.enter_context(connection)
                    connection.sendall(words)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address
        finally:
            done.set()
            thread.join()


def invented_token(name: str, host: str, curve: bytes | None = None) -> str:
    """A token, right in itself, of a mesh that nobody is in."""
    identity, secret, wireguard = (Secret(os.urandom(32)) for _ in range(3))
    stored = found(name, identity, secret, wireguard, "", 0, os.urandom, int(time.time()))
    authority = Authority(stored, Notary(), os.urandom, lambda: int(time.time()))
    contact = Contact(curve or x25519_public(secret), (Endpoint(host, PORT),))
    return authority.invite({}, (contact,)).reveal().decode()


def begin_join(daemon: Daemon, token: str) -> subprocess.Popen[str]:
    process = daemon.popen("join-mesh", "-")
    assert process.stdin is not None
    process.stdin.write(token)
    process.stdin.close()
    process.stdin = None
    return process


@dataclass(frozen=True)
class Outcome:
    host: str
    said: Refusal
    seconds: float


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[..., Daemon]]:
    with end_at_last() as made:
        yield made


@pytest.fixture(scope="module")
def joiner(make: Callable[..., Daemon], tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    daemon = make(tmp_path_factory.mktemp("d") / "joiner")
    daemon.start()
    return daemon


@pytest.fixture(scope="module")
def other(make: Callable[..., Daemon], tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    daemon = make(tmp_path_factory.mktemp("d") / "other")
    daemon.start()
    form_mesh("home", daemon)
    return daemon


@pytest.fixture(scope="module")
def outcomes(joiner: Daemon) -> Iterator[dict[str, Outcome]]:
    with ExitStack() as stack:
        hosts = {
            "nobody": fresh_address(),
            "ssh": stack.enter_context(speaker(b"SSH-2.0-OpenSSH_9.2\r\n")),
            "noise": stack.enter_context(speaker(b"\xff" * 64)),
            "silence": stack.enter_context(speaker(b"")),
            "closed": stack.enter_context(speaker(None)),
            "itself": joiner.address,
            "no-such-name": "nowhere.invalid",
            "interrupted": stack.enter_context(speaker(b"")),
        }
        started = time.monotonic()
        running = {name: begin_join(joiner, invented_token(name, place)) for name, place in hosts.items()}
        interrupted = running.pop("interrupted")
        wait_for("it joins", lambda: "interrupted" in joiner.meshes(), 10)
        interrupted.send_signal(signal.SIGINT)
        stdout, stderr = interrupted.communicate(timeout=10 * PATIENCE)
        assert (interrupted.returncode, TRACEBACK in stdout + stderr) == (130, False)
        found = {}
        while running:
            for name in [name for name, process in running.items() if process.poll() is not None]:
                process = running.pop(name)
                said = one_refusal(process.returncode, *process.communicate())
                found[name] = Outcome(hosts[name], said, time.monotonic() - started)
            wait_for("another one ends", lambda: any(p.poll() is not None for p in running.values()) or not running, 40)
        wait_for("all are given up", lambda: joiner.meshes() == {}, JOIN_PATIENCE + 5)
        yield found


@pytest.mark.parametrize(
    ("name", "reason", "seconds"),
    [
        ("nobody", "nobody listens there", 8),
        ("ssh", "connection closed", 8),
        ("noise", "not smegmesh", 8),
        ("silence", "does not let us in", 8),
        ("closed", "", 8),
        ("itself", "not this node", 8),
        ("no-such-name", "does not resolve", 8),
    ],
)
def test_the_place_and_the_reason_are_named_in_time(
    outcomes: dict[str, Outcome], name: str, reason: str, seconds: float
) -> None:
    outcome = outcomes[name]
    assert outcome.said.code == "no-answer"
    assert f"nobody of mesh {name} answered" in outcome.said.message
    _, found, rest = outcome.said.message.partition(f"{outcome.host}:{PORT} (")
    assert found, outcome
    assert reason in rest.removesuffix(")")
    assert outcome.seconds < (seconds + 5) * PATIENCE


def test_nothing_of_them_stays_and_the_daemon_can_join(
    outcomes: dict[str, Outcome], joiner: Daemon, other: Daemon
) -> None:
    wait_for("it is whole", joiner.is_whole, 5)
    joiner.does("join-mesh", "-", input=other.invite("home"))
    assert joiner.is_whole("home")


def test_a_daemon_that_is_stopped_while_it_joins_says_so_and_forgets(
    make: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make(tmp_path / "stopped")
    daemon.start()
    with speaker(b"") as address:
        process = begin_join(daemon, invented_token("never", address))
        wait_for("it joins", lambda: "never" in daemon.meshes(), 5)
        assert daemon.stop() == 0
        said = one_refusal(process.wait(10 * PATIENCE), *process.communicate())
    assert said.code == "daemon-stopping"
    assert sorted(path.name for path in daemon.state.iterdir()) == ["curve.key", "identity.key", "meshes", "state.db"]
    assert daemon.mesh_folders() == set()
    daemon.start()
    assert daemon.is_whole()
