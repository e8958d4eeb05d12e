"""Tokens that let nobody in: one clear message each, and no half-joined mesh left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smeg.endpoints import parse_endpoint
from smeg.stored import Contact
from smeg.tokens import read_token, write_token
from tests.loopback import Daemon, end_at_last, form_mesh, fresh_address
from tests.nodes import wait_for

MESH = "paris"


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[..., Daemon]]:
    with end_at_last() as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")


@pytest.fixture(scope="module")
def founder(make: Callable[..., Daemon], folder: Path) -> Daemon:
    daemon = make(folder / "founder")
    daemon.start()
    form_mesh(MESH, daemon)
    return daemon


@pytest.fixture(scope="module")
def outside(make: Callable[..., Daemon], folder: Path) -> Daemon:
    daemon = make(folder / "outside")
    daemon.start()
    return daemon


@pytest.fixture
def joiner(outside: Daemon) -> Iterator[Daemon]:
    """Who is in no mesh before, and must be in none after."""
    assert outside.is_whole()
    yield outside
    assert outside.is_whole(), (outside.ask("status"), outside.mesh_folders(), outside.log())


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda token: token[:-1], "token-cut"),
        (lambda token: token[: len(token) // 2], "token-cut"),
        (lambda token: token[:200] + ("A" if token[200] != "A" else "B") + token[201:], "token-altered"),
        (lambda token: token + "AAAA", "token-altered"),
        (lambda token: token.replace("smeg1.", "smeg2.", 1), "token-newer"),
        (lambda token: "AAAAC3NzaC1lZDI1NTE5AAAAIJ+bU0Jp", "token-damaged"),
        (lambda token: "[Interface]\nPrivateKey = abc\n", "token-damaged"),
        (lambda token: "\x00\xff", "token-unreadable"),
        (lambda token: "", "token-unreadable"),
        (lambda token: " \n\n", "token-unreadable"),
        (lambda token: "x" * 40_000, "token-unreadable"),
    ],
)
def test_a_token_that_is_none(founder: Daemon, joiner: Daemon, spoil: Callable[[str], str], code: str) -> None:
    token = founder.invite(MESH)
    said = joiner.refuses("join-mesh", "-", input=spoil(token))
    assert said.code == code
    assert token[6:40] not in str(said)


def test_white_space_that_a_mail_put_in_does_no_harm(founder: Daemon, outside: Daemon) -> None:
    token = founder.invite(MESH)
    lines = "\r\n> ".join(token[at : at + 70] for at in range(0, len(token), 70)).replace("> ", "  ")
    outside.does("join-mesh", "-", input=f"\n{lines}\n\n")
    assert outside.is_whole(MESH)
    outside.ask("leave-mesh", mesh=MESH)


def test_a_token_as_an_argument_is_refused_and_not_repeated(founder: Daemon, joiner: Daemon) -> None:
    token = founder.invite(MESH)
    status, stdout, stderr = joiner.cli("join-mesh", token)
    assert status == 2
    assert "argument" in stderr
    assert token[6:40] not in stdout + stderr


def test_an_expired_token(founder: Daemon, joiner: Daemon) -> None:
    token = str(founder.does("invite", MESH, "--expires", "1s")["token"])
    deadline = read_token(token).invite.deadline
    wait_for("its time is over", lambda: time.time() > deadline + 1, 5)
    said = joiner.refuses("join-mesh", "-", input=token)
    assert said.code == "token-expired"
    assert "clock" in said.hint


def test_a_token_that_was_used_up(founder: Daemon, joiner: Daemon, make: Callable[..., Daemon], folder: Path) -> None:
    token = founder.invite(MESH)
    first = make(folder / "first")
    first.start()
    first.ask("join-mesh", token=token)
    said = joiner.refuses("join-mesh", "-", input=token)
    assert said.code == "token-used"
    assert "1 of 1" in said.message
    again = first.refuses("join-mesh", "-", input=token)
    assert again.code == "already-joined"
    assert MESH in again.message
    assert first.is_whole(MESH)


def test_a_token_of_somebody_who_was_evicted(
    founder: Daemon, joiner: Daemon, make: Callable[..., Daemon], folder: Path
) -> None:
    token = founder.invite(MESH, uses=5)
    stolen = make(folder / "stolen")
    stolen.start()
    stolen.ask("join-mesh", token=token)
    wait_for("it is known", lambda: "stolen" in founder.members(MESH), 5)
    founder.does("evict", MESH, "stolen", "--reason", "lost")
    wait_for("it hears of it", lambda: stolen.meshes() == {}, 10)
    assert joiner.refuses("join-mesh", "-", input=token).code == "token-revoked"
    # Who was evicted is not let in by the old token either, and its daemon goes on.
    assert stolen.refuses("join-mesh", "-", input=token).code in ("token-revoked", "evicted")
    assert stolen.mesh_folders() == set()
    assert stolen.problems() == ["evicted"]


def test_a_wrong_endpoint_beside_a_right_one_keeps_nobody_out(founder: Daemon, outside: Daemon) -> None:
    given = read_token(founder.invite(MESH))
    endpoints = (parse_endpoint(f"{fresh_address()}:51800"), *given.contacts[0].endpoints)
    contacts = (Contact(given.contacts[0].curve, endpoints),)
    token = write_token(given.name, given.admin.document, given.invite.document, given.seed, contacts)
    outside.does("join-mesh", "-", input=token.reveal().decode())
    assert outside.is_whole(MESH)
    outside.ask("leave-mesh", mesh=MESH)


def test_two_joins_by_one_token_at_once(founder: Daemon, outside: Daemon) -> None:
    token = founder.invite(MESH, uses=2)
    first, second = outside.popen("join-mesh", "-"), outside.popen("join-mesh", "-")
    results = [process.communicate(token, timeout=30) for process in (first, second)]
    assert sorted((first.returncode, second.returncode)) == [0, 1], results
    assert any(code in str(results) for code in ("mesh-not-ready", "already-joined"))
    assert outside.is_whole(MESH)
    outside.ask("leave-mesh", mesh=MESH)


def test_a_daemon_that_is_not_running_is_missed_at_once(make: Callable[..., Daemon], folder: Path) -> None:
    daemon = make(folder / "absent")
    started = time.monotonic()
    for argv in (("status",), ("join-mesh", "-")):
        said = daemon.refuses(*argv, input="x")
        assert said.code == "daemon-not-running"
        assert str(daemon.socket) in said.message
        assert "start smeg-node" in said.hint
    assert time.monotonic() - started < 2


def test_after_all_that_a_proper_token_lets_it_in(founder: Daemon, outside: Daemon) -> None:
    assert outside.is_whole()
    outside.does("join-mesh", "-", input=founder.invite(MESH))
    assert outside.is_whole(MESH)
    assert founder.problems() == []
