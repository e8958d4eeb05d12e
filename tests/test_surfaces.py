"""The command line against daemons with real WireGuard: what a person types on three hosts, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.hosts import World
from tests.nodes import Node, all_at_once, form_mesh, make_world, showconf, wait_for

MESH = "paris"
SIZE = 3


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture(scope="module")
def nodes(world: World) -> list[Node]:
    backend = world.wireguard()
    made = [Node(world.host(f"s{number}"), backend, restartGrace=1) for number in range(1, SIZE + 1)]
    all_at_once(node.start for node in made)
    form_mesh(made, MESH)
    wait_for("all are alive", lambda: all(set(node.states(MESH).values()) == {"alive"} for node in made), 30)
    wait_for("all know all", lambda: all(len(node.states(MESH)) == SIZE for node in made), 30)
    return made


def test_after_converge_the_others_have_the_change(nodes: list[Node]) -> None:
    own, *others = nodes
    own.cli("put-alias", MESH, "first")
    own.cli("converge", MESH, "--wait")
    for other in others:
        assert other.ask("query-mesh", MESH, "[?name=='s1'].alias") == ["first"]


def test_ping_reaches_a_member_by_its_name_and_shows_the_way(nodes: list[Node]) -> None:
    own, other, _ = nodes
    wait_for("the tunnel is up", lambda: own.cli("ping", "s2", "--count", "1", check=False).returncode == 0, 20)
    answer = own.ask("ping", "s2", "--count", "2")
    assert (answer["sent"], answer["received"]) == (2, 2)
    assert answer["destination"] == other.address(MESH)
    assert [step["to"] for step in answer["steps"]] == ["s2"]


def test_what_is_exported_is_what_the_interface_has_and_wg_takes_it(nodes: list[Node], tmp_path: Path) -> None:
    own = nodes[0]
    interface = own.ask("plan", MESH)["interface"]
    own.cli("export", MESH, "--with-private-key", "--config", "node.yaml", "--output", "paris.conf")
    file = Path(own.host.folder) / "paris.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    stripped = own.host.run(["wg-quick", "strip", "/run/home/paris.conf"]).stdout
    before = own.host.run(["wg", "showconf", interface]).stdout
    for key, fields in showconf(stripped).items():
        assert showconf(before)[key]["AllowedIPs"] == fields["AllowedIPs"]
    (Path(own.host.folder) / "stripped.conf").write_text(stripped)
    own.host.run(["wg", "setconf", interface, "stripped.conf"])
    after = own.host.run(["wg", "showconf", interface]).stdout
    assert showconf(after).keys() == showconf(before).keys()
    private = [line for line in before.splitlines() if line.startswith("PrivateKey")]
    assert private
    assert [line for line in after.splitlines() if line.startswith("PrivateKey")] == private


def test_watch_tells_of_a_death_and_of_the_return(nodes: list[Node]) -> None:
    own, victim = nodes[0], nodes[2]
    watching = own.host.start(["smeg-cli", "--json", "watch", MESH, "--last", "200"])
    log = Path(own.host.folder) / "smeg-cli.log"

    def told() -> list[str]:
        events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        kinds = ("daemon-down", "pruned", "back")
        return [event["kind"] for event in events if event["name"] == "s3" and event["kind"] in kinds]

    assert victim.daemon is not None
    victim.daemon.kill9()
    wait_for("its end is told", lambda: told()[-1:] == ["pruned"], 30)
    victim.start()
    wait_for("its return is told", lambda: told()[-1:] == ["back"], 30)
    assert told() in (["daemon-down", "pruned", "back"], ["pruned", "back"])
    watching.kill9()


def test_the_graph_has_every_member_and_the_doctor_finds_nothing_wrong(nodes: list[Node]) -> None:
    graph = nodes[0].ask("get-graph")
    assert {node["label"] for node in graph["nodes"]} >= {"first", "s2", "s3", MESH}
    checks = nodes[0].ask("doctor", "--config", "node.yaml")["checks"]
    states = {row["check"]: row["state"] for row in checks}
    assert states["version"] == "good"
    assert states["ports"] == "good"
    assert "wrong" not in (states["wireguard"], states["ipv6"], states["mtu"]), checks
