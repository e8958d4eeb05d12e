"""Events: what befalls members is told once each, in order, with numbers by which a reader misses nothing unawares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.simulation import World
from smeg import messages as m
from smeg.addresses import node_id
from smeg.errors import Problem
from smeg.journal import KEPT, MOST_JOINED, Journal
from smeg.mesh_view import MeshView
from tests.builders import Desk, MadeMesh, Node
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.typed import typed


@pytest.fixture(scope="module")
def told() -> list[tuple[str, str]]:
    """Kind and name of what the last of four hosts tells of the others: one restarts, one crashes for good, one is
    evicted; the first, who leads or not, leaves."""
    world = World(5, 4, heartbeat_interval=1.0)
    world.start()
    world.form()
    first, second, third, last = world.hosts
    assert world.run(30.0, lambda: all(set(host.members("demo").values()) == {"alive"} for host in world.hosts))
    second.kill()
    assert world.run(20.0, lambda: last.members("demo")["host2"] == "daemon-down")
    second.start()
    assert world.run(20.0, lambda: last.members("demo")["host2"] == "alive")
    third.crash()
    assert world.run(30.0, lambda: last.members("demo")["host3"] == "pruned")
    first.ask("evict", mesh="demo", node="host3", reason="lost")
    assert world.run(20.0, lambda: "host3" not in last.members("demo"))
    first.ask("leave-mesh", mesh="demo")
    assert world.run(20.0, lambda: "host1" not in last.members("demo"))
    return [(row["kind"], row["name"]) for row in last.dashboard.events("demo", "", None, KEPT)["events"]]


def test_what_befell_each_member_is_told_in_its_order(told: list[tuple[str, str]]) -> None:
    hosts = ("host1", "host2", "host3")
    fates = {name: [kind for kind, of in told if of == name and kind != "leader"] for name in hosts}
    assert fates["host2"][-2:] == ["daemon-down", "back"]
    assert fates["host3"][-2:] == ["pruned", "evicted"]
    assert fates["host1"][-1:] == ["left"]
    assert ("mesh-works", "") in told


def test_nobody_is_told_of_more_often_than_it_happened(told: list[tuple[str, str]]) -> None:
    assert told.count(("evicted", "host3")) == 1
    assert told.count(("left", "host1")) == 1
    assert told.count(("daemon-down", "host2")) == 1


def alarm(number: int) -> m.Alarm:
    return m.Alarm("", Problem("code", f"problem {number}", ""))


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8), st.integers(0, 20))
def test_a_reader_who_names_what_it_saw_last_gets_each_event_once(amounts: list[int], last: int) -> None:
    journal, number, asked = Journal("run"), 0, None
    seen: list[str] = []
    for amount in amounts:
        for _ in range(amount):
            number += 1
            journal.hear(alarm(number), None, 0)
        answer = journal.since("run" if asked else "", asked, last, "")
        if asked is not None:
            seen += [row["text"] for row in answer["events"]]
        else:
            begun = number
            assert len(answer["events"]) == min(last, number)
        asked = answer["next"]
    if asked is not None:
        assert seen == [f"problem {number}" for number in range(begun + 1, number + 1)]


def test_what_is_no_longer_kept_is_counted_and_another_run_is_told_from_its_start() -> None:
    journal = Journal("run")
    for number in range(KEPT + 10):
        journal.hear(alarm(number), None, 0)
    answer = journal.since("run", 1, 0, "")
    assert (answer["missed"], len(answer["events"])) == (10, KEPT)
    assert len(Journal("other").since("run", 5, 0, "")["events"]) == 0
    other = Journal("other")
    other.hear(alarm(1), None, 0)
    assert [row["number"] for row in other.since("run", 5, 0, "")["events"]] == [1]


def test_a_problem_of_an_actor_is_told_when_it_begins_and_when_it_is_solved() -> None:
    journal, down = Journal("run"), m.ActorState("device", "failed", 1, "gone")
    for actors in ((down,), (down,), (m.ActorState("device", "running", 1, "gone"),)):
        journal.hear(m.Supervised(1, actors), None, 0)
    assert [row["kind"] for row in journal.since("", None, 9, "")["events"]] == ["problem", "solved"]


@pytest.mark.parametrize(("joining", "counted"), [(MOST_JOINED, []), (MOST_JOINED + 9, ["9 more members"])])
def test_of_many_who_join_at_once_some_are_named_and_the_rest_is_counted(joining: int, counted: list[str]) -> None:
    mesh, journal = MadeMesh("home"), Journal("run")
    nodes = [mesh.founder(f"node{number}", number + 1) for number in range(joining + 1)]
    view = MeshView(mesh.id, "home")
    view.hear(members_of(mesh, nodes[:1]), nodes[0].key)
    journal.hear(members_of(mesh, nodes), view, 0)
    rows = journal.since("", None, KEPT, "")["events"]
    assert {row["kind"] for row in rows} == {"joined"}
    named = {row["node"] for row in rows if row["node"]}
    assert len(named) == MOST_JOINED
    assert named <= {node_id(node.key) for node in nodes[1:]}
    assert [row["text"] for row in rows if not row["node"]] == counted


def members_of(mesh: MadeMesh, nodes: list[Node]) -> m.MembersChanged:
    desk = Desk(mesh.id)
    desk.take([document for node in nodes for document in node.documents()])
    return m.MembersChanged(mesh.id, len(nodes), desk.members)


EVENT = {"number": 7, "time": 0, "kind": "pruned", "mesh": "paris", "node": "n", "name": "ly\x1bon", "text": ""}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        yield daemon


def test_watch_asks_for_what_came_since_and_shows_a_line_each(daemon: CannedDaemon) -> None:
    def events(arguments: Mapping[str, Any]) -> dict[str, Any]:
        number = arguments.get("since") or 7
        return {"run": "a", "next": number + 1, "missed": 3, "events": [{**EVENT, "number": number}]}

    daemon.answers["events"] = events
    result = typed(daemon, "watch", "paris", "--count", "3", "--every", "0.01", "--last", "1", "--json")
    assert result.exit_code == 0
    assert [orjson.loads(line)["number"] for line in result.stdout.splitlines()] == [7, 8, 9]
    assert daemon.asked[0].arguments == {"mesh": "paris", "last": 1}
    assert daemon.last() == {"mesh": "paris", "run": "a", "since": 9}
    assert "missed: 3 events" in result.stderr
    (line,) = typed(daemon, "watch", "--count", "1").stdout.splitlines()
    assert line.split()[1:] == ["pruned", "paris", "ly\\x1bon"]


def test_watch_waits_for_a_daemon_that_was_there_and_not_for_one_that_was_not(daemon: CannedDaemon) -> None:
    answers: Iterator[Any] = iter(
        [{"run": "a", "next": 1, "events": []}, Problem("daemon-stopping", "it ends", ""),
         {"run": "b", "next": 2, "events": [EVENT]}]
    )  # fmt: skip
    daemon.answers["events"] = lambda _: next(answers)
    result = typed(daemon, "watch", "--count", "1", "--every", "0.01")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert "waiting" in result.stderr
    daemon.answers["events"] = Problem("daemon-stopping", "it ends", "")
    assert typed(daemon, "watch").exit_code == 1
