"""What keeps a daemon from starting: one message that names the place, exit status 1, and nothing touched."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loopback import Daemon, end_at_last, form_mesh
from tests.nodes import wait_for

Make = Callable[..., Daemon]


@pytest.fixture(scope="module")
def make() -> Iterator[Make]:
    with end_at_last() as made:
        yield made


@pytest.fixture(scope="module")
def running(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """A daemon at work, in the mesh `home`."""
    daemon = make(tmp_path_factory.mktemp("d") / "running")
    daemon.start()
    form_mesh("home", daemon)
    return daemon


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\ngossipport: 51800\n", [(2, "gossipport", "did you mean gossipPort?")]),
        ("colour: blue\n", [(1, "colour", "is not a key")]),
        ("gossipPort: many\n", [(1, "gossipPort", "is text, 'many'")]),
        ("name: 'a\n", [(1, "file", "quoted scalar")]),
        (
            "name: Ä\n# nothing\nmtu: 12\nbackend: kernal\nrole: 7\nstateDir: here\nname: b\n"
            "wireguardPort: 1.5\ngRPCPort: 8080\nlogLevel: [a, b]\n",
            [
                (1, "name", "is '\\xc4'"),
                (3, "mtu", "is out of range"),
                (4, "backend", "did you mean kernel?"),
                (5, "role", "is a number"),
                (6, "stateDir", "is 'here'"),
                (7, "name", "set twice, first in line 1"),
                (8, "wireguardPort", "is a number, 1.5"),
                (9, "gRPCPort", "no longer used"),
                (10, "logLevel", "is a list"),
            ],
        ),
    ],
)
def test_every_mistake_in_the_file_is_named_with_its_line_and_key(
    tmp_path: Path, text: str, said: list[tuple[int, str, str]]
) -> None:
    daemon = Daemon(tmp_path / "a")
    daemon.config.write_text(text)
    message, hint = daemon.run()
    lines = message.splitlines()
    assert len(lines) == len(said)
    for line, (number, key, words) in zip(lines, said, strict=True):
        assert line.startswith(f"{daemon.config}:{number}: {key}: ")
        assert words in line
    assert "docs/configuration.md" in hint
    assert sorted(path.name for path in daemon.folder.iterdir()) == ["node.yaml"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "a")
    daemon.config.unlink()
    message, _ = daemon.run()
    assert str(daemon.config) in message
    assert "No such file" in message


def test_a_second_daemon_on_the_same_state_names_the_first_and_harms_nothing(running: Daemon, tmp_path: Path) -> None:
    second = Daemon(tmp_path / "second", stateDir=str(running.state))
    assert running.process is not None
    before = sorted(running.state.rglob("*"))
    message, hint = second.run()
    assert f"pid {running.process.pid}" in message
    assert str(running.state) in message
    assert str(running.process.pid) in hint
    assert sorted(running.state.rglob("*")) == before
    assert not second.socket.exists()
    assert running.is_whole("home")


def test_a_second_daemon_with_the_same_runtime_folder_leaves_the_first_its_socket(
    running: Daemon, tmp_path: Path
) -> None:
    second = Daemon(tmp_path / "second", runtimeDir=str(running.socket.parent))
    assert running.process is not None
    message, _ = second.run()
    assert f"pid {running.process.pid}" in message
    assert str(running.socket.parent) in message
    assert running.is_whole("home")


def test_a_gossip_port_in_use_is_named(running: Daemon, tmp_path: Path) -> None:
    second = Daemon(tmp_path / "second", gossipAddress=running.address)
    message, hint = second.run()
    assert f"port 51800 at {running.address} is in use" in message
    assert "gossipPort" in hint
    assert running.is_whole("home")
    assert not second.socket.exists()
    assert not (second.state / "lock").exists()


def test_a_gossip_address_of_another_machine_is_named(tmp_path: Path) -> None:
    message, _ = Daemon(tmp_path / "a", gossipAddress="192.0.2.1").run()
    assert "192.0.2.1" in message


def test_a_gossip_port_of_another_program_is_named(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "a")
    with socket.create_server((daemon.address, 0)) as server:
        port = server.getsockname()[1]
        daemon.configure(gossipPort=port)
        message, _ = daemon.run()
    assert f"port {port} at {daemon.address} is in use" in message


@pytest.mark.parametrize("name", ["identity.key", "curve.key", "wireguard.key", "admin.key", "root.key"])
def test_a_key_file_that_others_can_read_keeps_the_daemon_from_starting(
    make: Make, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "exposed"
    daemon = make(folder)
    if not daemon.state.exists():
        daemon.start()
        form_mesh("home", daemon)
        assert daemon.stop() == 0
    (path,) = daemon.state.rglob(name)
    path.chmod(0o644)
    secret = path.read_text().strip()
    message, hint = daemon.run()
    path.chmod(0o600)
    assert str(path) in message
    assert "0644" in message
    assert hint == f"chmod 600 {path}"
    assert secret not in message


def test_after_that_the_daemon_starts_with_its_mesh(make: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    daemon = make(tmp_path_factory.getbasetemp() / "exposed")
    daemon.start()
    wait_for("its mesh works again", lambda: daemon.is_whole("home"), 15)


def test_a_state_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "a")
    daemon.state.mkdir(mode=0o755)
    message, hint = daemon.run()
    assert str(daemon.state) in message
    assert hint == f"chmod 700 {daemon.state}"
    assert list(daemon.state.iterdir()) == []


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "a")
    daemon.state.write_text("a file")
    message, hint = daemon.run()
    assert str(daemon.state) in message
    assert "not a folder" in message
    assert hint
