"""What people and machines do to a daemon that works, and how it comes back: by itself, as itself, or not at all."""

from __future__ import annotations

import os
import random
import select
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from smeg.errors import LocalError
from tests.loopback import Daemon, end_at_last, form_mesh
from tests.nodes import PATIENCE, all_at_once, wait_for

KILLS = 10


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[..., Daemon]]:
    with end_at_last() as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")


@pytest.fixture(scope="module")
def trio(make: Callable[..., Daemon], folder: Path) -> tuple[Daemon, Daemon, Daemon]:
    first, second, third = (make(folder / name) for name in ("first", "second", "third"))
    for daemon in (first, second, third):
        daemon.launch()
    for daemon in (first, second, third):
        wait_for("it answers", daemon.answers, 20)
    form_mesh("paris", first, second, third)
    form_mesh("rome", second, first)
    return first, second, third


def settled(daemons: tuple[Daemon, ...], mesh: str) -> bool:
    """Whether each of these knows all of these, alive."""
    names = {daemon.name for daemon in daemons}
    return all(
        {name: row["state"] for name, row in daemon.members(mesh).items()} == dict.fromkeys(names, "alive")
        for daemon in daemons
    )


def addresses(daemon: Daemon, mesh: str) -> dict[str, str]:
    return {name: row["address"] for name, row in daemon.members(mesh).items()}


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(8192))


@pytest.mark.parametrize(
    "spoil",
    [
        garbage,
        lambda path: os.truncate(path, path.stat().st_size // 2 + 100),
    ],
    ids=["garbage", "half of it"],
)
def test_a_spoilt_database_costs_no_key_and_no_membership(
    trio: tuple[Daemon, Daemon, Daemon], spoil: Callable[[Path], None]
) -> None:
    first, second, third = trio
    wait_for("all know all", lambda: settled(trio, "paris"), 15)
    before = addresses(first, "paris")
    keys = {path: path.read_bytes() for path in second.state.rglob("*.key")}
    assert second.stop() == 0
    spoil(second.state / "state.db")
    second.start()
    assert "database-damaged" in second.problems()
    problem = second.ask("status")["problems"][0]
    assert str(second.state / "state.db") in problem["message"]
    assert "keys are intact" in problem["hint"]
    assert second.meshes().keys() == {"paris", "rome"}
    wait_for("the members come back by themselves", lambda: settled(trio, "paris"), 30)
    wait_for("in the other mesh too", lambda: settled((first, second), "rome"), 30)
    assert [addresses(daemon, "paris") for daemon in trio] == [before] * 3
    assert {path: path.read_bytes() for path in second.state.rglob("*.key")} == keys
    assert first.problems() == third.problems() == []
    assert second.stop() == 0
    second.start()
    wait_for("the next start finds nothing wrong", lambda: second.is_whole("paris", "rome"), 10)


def test_all_daemons_stopped_and_started_at_once_are_a_mesh_again(trio: tuple[Daemon, Daemon, Daemon]) -> None:
    wait_for("all know all", lambda: settled(trio, "paris"), 15)
    before = addresses(trio[0], "paris"), addresses(trio[1], "rome")
    for daemon in trio:
        assert daemon.process is not None
        daemon.process.terminate()
    for daemon in trio:
        assert daemon.process is not None
        assert daemon.process.wait(25 * PATIENCE) == 0
    for daemon in trio:
        daemon.launch()
    for daemon in trio:
        wait_for("it answers", daemon.answers, 20)
    wait_for("all is as before", lambda: settled(trio, "paris") and settled(trio[:2], "rome"), 20)
    assert [addresses(daemon, "paris") for daemon in trio] == [before[0]] * 3
    assert addresses(trio[0], "rome") == before[1]
    for daemon in trio:
        assert daemon.problems() == []


def test_all_daemons_killed_at_once_are_a_mesh_again(trio: tuple[Daemon, Daemon, Daemon]) -> None:
    wait_for("all know all", lambda: settled(trio, "paris"), 15)
    before = addresses(trio[0], "paris")
    for daemon in trio:
        daemon.kill9()
    for daemon in trio:
        daemon.launch()
    for daemon in trio:
        wait_for("it answers", daemon.answers, 20)
    wait_for("all is as before", lambda: settled(trio, "paris"), 20)
    assert [addresses(daemon, "paris") for daemon in trio] == [before] * 3


@pytest.fixture(scope="module")
def killed_while_joining(
    trio: tuple[Daemon, Daemon, Daemon], make: Callable[..., Daemon], folder: Path
) -> list[tuple[Daemon, str]]:
    """Nodes that were killed at any moment of a join or just after, and are up again; each with its token."""
    chance = random.Random(17)
    moments = [0.0, *(chance.uniform(0.0, 0.08) for _ in range(KILLS - 2)), 0.5]
    victims = [make(folder / f"victim{number}") for number in range(KILLS)]
    tokens = [trio[0].invite("paris") for _ in victims]

    def kill(victim: Daemon, token: str, moment: float) -> None:
        victim.start()
        with ThreadPoolExecutor(1) as beside:
            joining = beside.submit(victim.ask, "join-mesh", token=token)
            select.select([], [], [], moment)
            victim.kill9()
            refused = joining.exception(10 * PATIENCE)
            assert refused is None or isinstance(refused, LocalError)
        victim.start()
        # Whoever was told that it is a member is one.
        assert refused is not None or victim.meshes().keys() == {"paris"}

    all_at_once(partial(kill, *each) for each in zip(victims, tokens, moments, strict=True))
    return list(zip(victims, tokens, strict=True))


def test_kill_9_during_a_join_leaves_the_node_in_the_mesh_or_not_at_all(
    trio: tuple[Daemon, Daemon, Daemon], killed_while_joining: list[tuple[Daemon, str]]
) -> None:
    first = trio[0]
    for victim, token in killed_while_joining:
        if not victim.meshes():
            assert victim.is_whole()
            # By the same token, good for one node: what it was given before it died is no second use.
            victim.ask("join-mesh", token=token)
        wait_for("it works", lambda victim=victim: victim.is_whole("paris"), 10)  # type: ignore[misc]
    names = {victim.name for victim, _ in killed_while_joining}
    wait_for("all are known", lambda: names <= first.members("paris").keys(), 15)
    states = {row["state"] for name, row in first.members("paris").items() if name in names}
    assert "quarantined" not in states
    assert first.problems() == []


def test_kill_9_while_a_mesh_is_made_or_left(make: Callable[..., Daemon], folder: Path) -> None:
    daemon = make(folder / "founding")
    daemon.start()
    chance = random.Random(5)
    for number in range(3):
        name = f"mesh{number}"
        process = daemon.popen("new-mesh", name)
        wait_for("it is asked", lambda process=process: bool(daemon.meshes()) or process.poll() is not None, 10)  # type: ignore[misc]
        select.select([], [], [], chance.uniform(0.0, 0.03))
        daemon.kill9()
        process.communicate(timeout=10 * PATIENCE)
        daemon.start()
        for mesh in daemon.meshes():
            wait_for("it works", lambda mesh=mesh: daemon.meshes()[mesh]["state"] == "active", 10)  # type: ignore[misc]
            leaving = daemon.popen("leave-mesh", mesh)
            select.select([], [], [], chance.uniform(0.1, 1.3))
            daemon.kill9()
            leaving.communicate(timeout=10 * PATIENCE)
            daemon.start()
            wait_for("it is left, or was not", lambda: settled_or_gone(daemon), 10)
            for rest in daemon.meshes():
                daemon.ask("leave-mesh", mesh=rest)
        assert daemon.meshes() == {}
        assert set(daemon.problems()) <= {"mesh-damaged", "authority-kept"}
        assert all(".left-" in name or ".damaged-" in name for name in daemon.mesh_folders())


def settled_or_gone(daemon: Daemon) -> bool:
    try:
        return all(row["state"] == "active" for row in daemon.meshes().values())
    except LocalError:
        return False
