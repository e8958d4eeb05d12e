"""Tokens and keys are nowhere but where they belong: not in arguments, environments, logs, answers or other files."""

from __future__ import annotations

import pytest

from smeg.tokens import HEAD, read_token
from tests.loopback import Daemon, end_at_last, form_mesh, secrets_of, seen_of_process, spellings
from tests.nodes import wait_for

PIECE = 16
"""characters of a token that never appear elsewhere by chance."""


def of_token(token: str) -> set[bytes]:
    """The token's secret seed in every spelling, and pieces of its text that cover all of it."""
    body = token.removeprefix(HEAD)
    pieces = {body[at : at + PIECE].encode() for at in range(0, len(body) - PIECE, PIECE // 2)}
    return pieces | spellings(read_token(token).seed.reveal())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], set[bytes]]:
    """What is to be seen of two nodes that do everything, by where it is seen; and their secrets."""
    places: dict[str, bytes] = {}
    folder = tmp_path_factory.mktemp("d")
    with end_at_last() as make:
        one, two = (make(folder / name, logLevel="debug", logFormat="json") for name in ("one", "two"))
        for daemon in (one, two):
            daemon.start()
        form_mesh("paris", one)
        tokens = [one.invite("paris", uses=2) for _ in range(4)]
        tokens.append(str(one.does("invite", "paris")["token"]))
        places["the command that joins"] = watch_joining(two, tokens[0])
        for spoilt in (tokens[1][:-2], tokens[2][:90] + "_" + tokens[2][91:], tokens[3] + "A", tokens[4]):
            places["a refused join"] = places.get("a refused join", b"") + answer(two, "join-mesh", "-", input=spoilt)
        places["a token as an argument"] = answer(two, "join-mesh", tokens[1])
        places["a token for a mesh"] = answer(two, "members", tokens[1]) + answer(two, "leave-mesh", tokens[1])
        places["a token for a name"] = answer(one, "new-mesh", tokens[1]) + answer(one, "evict", "paris", tokens[1])
        wait_for("they know each other", lambda: len(one.members("paris")) == len(two.members("paris")) == 2, 10)
        secrets = secrets_of(one.state, two.state).union(*map(of_token, tokens))
        for daemon in (one, two):
            for argv in (("status",), ("list-meshes",), ("members", "paris"), ("plan", "paris")):
                places[f"{argv[0]} of {daemon.name}"] = answer(daemon, *argv)
            assert daemon.process is not None
            places[f"process {daemon.name}"] = seen_of_process(daemon.process.pid)
        places["evict"] = answer(one, "evict", "paris", "two")
        places["leave"] = answer(one, "leave-mesh", "paris")
        for daemon in (one, two):
            assert daemon.stop() == 0
            places[f"log {daemon.name}"] = daemon.log_file.read_bytes()
            for path in daemon.folder.rglob("*"):
                if path.is_file() and path.suffix != ".key":
                    places[f"file {path.relative_to(folder)}"] = path.read_bytes()
    return places, secrets


def watch_joining(daemon: Daemon, token: str) -> bytes:
    process = daemon.popen("join-mesh", "-")
    assert process.stdin is not None
    seen = seen_of_process(process.pid)
    process.stdin.write(token)
    process.stdin.close()
    process.stdin = None
    while process.poll() is None:
        seen += seen_of_process(process.pid)
        if daemon.process is not None:
            seen += seen_of_process(daemon.process.pid)
    assert b"join-mesh" in seen
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return seen + (stdout + stderr).encode()


def answer(daemon: Daemon, *argv: str, input: str = "") -> bytes:
    status, stdout, stderr = daemon.cli(*argv, input=input)
    return f"{status} {stdout} {stderr}".encode()


def test_no_secret_is_seen_anywhere(seen: tuple[dict[str, bytes], set[bytes]]) -> None:
    places, secrets = seen
    assert len(secrets) > 100
    found = {where: [secret for secret in secrets if secret in text] for where, text in places.items()}
    assert {where: pieces for where, pieces in found.items() if pieces} == {}


def test_it_was_looked_for_where_something_is(seen: tuple[dict[str, bytes], set[bytes]]) -> None:
    places, _ = seen
    assert len(places["log one"]) > 200
    assert b"mesh.json" in " ".join(places).encode()
    assert any(name.endswith("state.db") for name in places)
    assert b"token-cut" in places["a refused join"]
