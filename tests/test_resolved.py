"""Telling systemd-resolved: a few commands that keep nobody waiting, and what becomes of a refusal.

In the place of resolvectl stands a program that writes down how it was called.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from smeg.edges.resolved import PATIENCE, Registration
from smeg.errors import Problem
from tests.nodes import wait_for


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs are looked for, first."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def write(folder: Path, *lines: str) -> None:
    program = folder / "resolvectl"
    program.write_text("\n".join(["#!/bin/sh", f'echo "$@" >>{folder}/calls', *lines]) + "\n")
    program.chmod(0o755)


def register(now: float = 0.0) -> Problem | None:
    registration = Registration("smeg-home", "[::1]:51753", ("smeg", "d.f.ip6.arpa"))
    wait_for("it ends", lambda: registration.look(now), 20)
    registration.close()
    return registration.problem


def test_it_is_told_where_to_ask_for_what_and_for_what_not(folder: Path) -> None:
    write(folder)
    assert register() is None
    assert (folder / "calls").read_text().splitlines() == [
        "dns smeg-home [::1]:51753",
        "domain smeg-home ~smeg ~d.f.ip6.arpa",
        "nta smeg-home smeg d.f.ip6.arpa",
        "default-route smeg-home false",
    ]


def test_after_a_refusal_nothing_more_is_tried_and_its_words_are_passed_on_as_one_line(folder: Path) -> None:
    write(folder, 'printf "Failed\\n\\033[1m to do it" >&2', "exit 1")
    problem = register()
    assert problem is not None
    assert problem.code == "resolved-untold"
    assert problem.message.endswith(": Failed [1m to do it")
    assert len((folder / "calls").read_text().splitlines()) == 1


def test_a_program_that_hangs_is_ended(folder: Path) -> None:
    write(folder, "exec sleep 600")
    registration = Registration("smeg-home", "[::1]:51753", ("smeg",))
    assert not registration.look(0.0)
    assert not registration.look(PATIENCE - 1)
    assert registration.look(PATIENCE)
    assert registration.problem is not None
    assert "did not end" in registration.problem.message


def test_a_program_that_is_not_there_is_said_to_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    problem = register()
    assert problem is not None
    assert "No such file" in problem.message
