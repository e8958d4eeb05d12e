"""What the measurements of real processes count, when they give up and what they refuse: none is started here."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

from scenarios import bench, crowd, joiner, planning, profiling, serf
from scenarios.crowd import Crowd
from scenarios.daemons import Answer, Daemon, Daemons, Questions, TooLate, Usage
from scenarios.figures import Row


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    """Three that were never started."""
    made = Daemons()
    made.add(3)
    yield made
    made.end()


def killed(daemons: Daemons, monkeypatch: pytest.MonkeyPatch, *states: str) -> dict[str, Row]:
    """What is found when the first is killed, and the others say this of it."""
    victim, *others = daemons.all
    said = dict(zip(others, states, strict=True))

    def until(
        _: Questions,
        asked: Iterable[Daemon],
        command: str,
        holds: Callable[[Daemon, Answer], bool],
        *a: object,
        **b: object,
    ) -> None:
        assert all([holds(daemon, {"members": [{"name": victim.name, "state": said[daemon]}]}) for daemon in asked])

    monkeypatch.setattr(Questions, "until", until)
    monkeypatch.setattr(Daemon, "kill9", lambda _: time.monotonic())
    made = Crowd(daemons, patience=1.0)
    made.kill([victim], "killed")
    return {row["figure"]: row for row in made.result.rows}


def test_a_killed_daemon_is_known_when_all_say_that_it_is_down(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = killed(daemons, monkeypatch, "daemon-down", "daemon-down")["killed, max"]

    assert row["target"] == 1.5
    assert "said: daemon-down 2" in row["detail"]
    assert row["reached"] is not None
    assert math.isfinite(row["reached"])


def test_a_killed_daemon_that_somebody_has_as_pruned_misses_the_target(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = killed(daemons, monkeypatch, "daemon-down", "pruned")["killed, max"]

    assert (row["reached"], row["verdict"]) == (math.inf, "missed")
    assert "said: daemon-down 1, pruned 1" in row["detail"]


def test_each_idle_daemon_has_to_stay_below_one_percent_and_50_mib(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Questions, "until", lambda *_, **__: {})
    before = dict.fromkeys(daemons.all, Usage(0.0, 0, 1, 1))
    after = {
        daemon: Usage(0.01 * used, used * 2**20, 1, 1) for daemon, used in zip(daemons.all, (1, 2, 60), strict=True)
    }
    made = Crowd(daemons, patience=1.0)

    made.cost(before, after, 30.0)

    assert {row["figure"]: row["verdict"] for row in made.result.rows if row["target"] is not None} == {
        "CPU of an idle daemon, mean": "ok",
        "CPU of an idle daemon, max": "missed",
        "resident memory, mean": "ok",
        "resident memory, max": "missed",
    }


def test_a_serf_that_hangs_is_something_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(argv: list[str], **_: object) -> NoReturn:
        raise subprocess.TimeoutExpired(argv, serf.PATIENCE)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(TooLate, match="`serf join to` hangs for 60 s"):
        serf.succeeds(["serf", "join", "to"])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        *((joiner.main, ["--seconds", wrong]) for wrong in ("nan", "inf", "-1", "0", "soon")),
        *((profiling.main, ["--seconds", wrong]) for wrong in ("nan", "-inf", "-1", "0")),
        (joiner.main, ["--members", "19"]),
        (profiling.main, ["--members", "1"]),
        (planning.main, ["--members", "100000"]),
        (crowd.main, ["--daemons", "11"]),
        (serf.main, ["--agents", "4"]),
        (bench.main, ["--seeds", "0"]),
        (bench.main, ["--jobs", "0"]),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_before_anything_starts(
    command: click.Command, arguments: list[str]
) -> None:
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert f"Invalid value for '{arguments[0]}': " in result.output


@pytest.mark.parametrize(
    "module", [bench, crowd, joiner, planning, profiling, serf], ids=lambda module: module.__name__
)
def test_every_option_says_what_it_is(module: object) -> None:
    command: click.Command = vars(module)["main"]
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []
