"""Whether the others hold what this node holds: never said too early, and always in the end; pings with their way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.simulation import Host, World
from smeg.cli.reaching import pinged
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.typed import typed


def formed(seed: int, hosts: int) -> World:
    world = World(seed, hosts, heartbeat_interval=1.0)
    world.start()
    world.form()
    settled = world.run(60.0, lambda: all(host.dashboard.converge("demo")["converged"] for host in world.hosts))
    assert settled, "a mesh in which nothing changes converges"
    return world


def alias(of: Host, among: Host) -> str:
    return next(str(row["alias"]) for row in among.dashboard.members("demo")["members"] if row["name"] == of.name)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 4))
def test_who_is_said_to_have_seen_a_change_has_it(seed: int, writer: int) -> None:
    world = formed(seed, 5)
    own = world.hosts[writer]
    before = own.dashboard.converge("demo")["digest"]
    world.network.loss = 0.05
    own.ask("put-alias", mesh="demo", alias="new")

    def converged() -> bool:
        answer = own.dashboard.converge("demo")
        view = own.dashboard.find("demo")
        if answer["digest"] == before or view.agreed is None or view.agreed.root != view.root:
            return False
        agreeing = {view.called(key) for key in view.agreed.agreeing}
        assert all(alias(own, host) == "new" for host in world.hosts if host.name in agreeing)
        assert agreeing.isdisjoint(row["name"] for row in answer["lacking"])
        return bool(answer["converged"])

    assert world.run(60.0, converged)


def test_who_is_cut_off_is_named_until_it_is_thought_dead() -> None:
    world = formed(7, 3)
    own, other, cut = world.hosts
    cut.stall(60.0)
    own.ask("put-alias", mesh="demo", alias="new")
    assert world.run(10.0, lambda: [row["name"] for row in own.dashboard.converge("demo")["lacking"]] == [cut.name])
    assert not own.dashboard.converge("demo")["converged"]
    assert alias(own, other) == "new"
    assert world.run(40.0, lambda: own.dashboard.converge("demo")["converged"])
    assert own.dashboard.converge("demo")["alive"] == 1


def test_alone_everybody_has_seen_everything() -> None:
    world = World(1, 1)
    world.start()
    world.form()
    answer = world.hosts[0].dashboard.converge("demo")
    assert (answer["converged"], answer["alive"], answer["heard"]) == (True, 0, 0)


def test_in_a_larger_mesh_it_is_said_that_not_all_are_heard() -> None:
    answer = formed(3, 14).hosts[0].dashboard.converge("demo")
    assert answer["heard"] < answer["alive"] == 13
    assert not answer["whole"]


COUNTS = {"agreeing": 2, "heard": 2, "alive": 2, "whole": True}
YES = {"mesh": {}, "digest": "aa", "converged": True, **COUNTS, "lacking": []}
NO = {**YES, "converged": False, "agreeing": 1, "lacking": [{"node": "n", "name": "lyon"}]}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        yield daemon


def test_converge_tells_by_its_exit_status_and_names_who_lacks_it(daemon: CannedDaemon) -> None:
    daemon.answers["converge"] = YES
    assert typed(daemon, "converge", "paris").exit_code == 0
    daemon.answers["converge"] = NO
    result = typed(daemon, "converge", "paris")
    assert result.exit_code == 3
    assert "lacking: lyon" in result.stderr
    assert orjson.loads(typed(daemon, "converge", "paris", "--json").stdout) == NO


def test_converge_waits_until_it_is_so_for_a_while_or_the_time_is_over(daemon: CannedDaemon) -> None:
    other = {**YES, "digest": "bb"}
    answers: Iterator[dict[str, Any]] = iter([NO, YES, other, *[other] * 3])
    daemon.answers["converge"] = lambda _: next(answers)
    assert typed(daemon, "converge", "paris", "--wait").exit_code == 0
    assert len(daemon.asked) == 6
    daemon.answers["converge"] = NO
    result = typed(daemon, "converge", "paris", "--wait", "--timeout", "0.3")
    assert result.exit_code == 1
    assert "lyon" in result.stderr


def test_ping_asks_for_the_way_and_pings_the_address(
    daemon: CannedDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = {"mesh": "paris", "from": "here", "to": "lyon", "rule": "it has the address ::1"}
    daemon.answers["why"] = {"destination": "::1", "name": "lyon", "reached": True, "steps": [step], "problem": ""}
    fake = tmp_path / "ping"
    fake.write_text("#!/bin/sh\necho asked $*\necho '2 packets transmitted, 1 received, 50% packet loss, time 1ms'\n"
                    "echo 'rtt min/avg/max/mdev = 0.020/0.025/0.030/0.005 ms'\n")  # fmt: skip
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    answer = orjson.loads(typed(daemon, "ping", "lyon", "--count", "2", "--json").stdout)
    assert daemon.last() == {"destination": "lyon"}
    assert (answer["steps"], answer["sent"], answer["received"], answer["mean_ms"]) == ([step], 2, 1, 0.025)
    shown = typed(daemon, "ping", "lyon")
    assert shown.exit_code == 0
    assert "here > lyon" in shown.stdout
    fake.write_text("#!/bin/sh\nexit 1\n")
    assert typed(daemon, "ping", "lyon").exit_code == 1


def test_who_is_not_reached_is_not_pinged(daemon: CannedDaemon) -> None:
    daemon.answers["why"] = {"destination": "::1", "reached": False, "steps": [], "problem": "it is thought dead"}
    result = typed(daemon, "ping", "lyon", "--json")
    assert result.exit_code == 1
    assert orjson.loads(result.stdout)["error"]["code"] == "not-reached"
    assert "it is thought dead" in result.stderr


@given(st.text())
def test_whatever_ping_says_is_read_or_left(said: str) -> None:
    assert pinged(said)["sent"] >= 0
