"""A daemon that is killed and started again within its grace, with real WireGuard: nobody loses a packet by it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from scenarios.hosts import World
from tests.nodes import PATIENCE, Node, all_at_once, form_mesh, make_world, wait_for

MESH = "paris"
GRACE = 60.0 * PATIENCE
"""seconds; far more than a restart takes."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture(scope="module")
def nodes(world: World) -> list[Node]:
    backend = world.wireguard()
    made = [Node(world.host(f"n{number}"), backend, restartGrace=GRACE) for number in range(1, 4)]
    all_at_once(node.start for node in made)
    form_mesh(made, MESH)
    for node in made:
        wait_for(f"{node.name} knows all", lambda node=node: list(node.states(MESH).values()) == ["alive"] * 3, 10)  # type: ignore[misc]
    return made


class Pings:
    """`ping` ten times a second, from one node to another's address in the mesh."""

    def __init__(self, source: Node, address: str) -> None:
        log = source.host.folder / "ping.log"
        log.unlink(missing_ok=True)
        self.process = source.host.start(["ping", "-n", "-i0.1", "-W30", address], log=log)

    @property
    def answered(self) -> list[int]:
        """The numbers of those that were, in the order of the answers."""
        return [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl=", self.process.log.read_text())]

    def go_on(self, count: int = 10) -> None:
        """Wait for so many more answers."""
        before = len(self.answered)
        wait_for("pings are answered", lambda: len(self.answered) >= before + count, 20)

    def end(self) -> list[int]:
        """The numbers of all that were answered."""
        self.process.terminate()
        self.process.wait(10)
        return self.answered


def received(node: Node) -> dict[str, int]:
    """Bytes that its device had from each peer: a peer that is removed and set again begins at 0."""
    rows = node.host.run(["wg", "show", "all", "transfer"]).stdout.split("\n")
    return {fields[1]: int(fields[2]) for row in rows if len(fields := row.split("\t")) == 4}


def verdicts(node: Node, since: int) -> list[str]:
    """What its log says of who is alive, from that character on."""
    return [line for line in node.log()[since:].splitlines() if "liveness" in line]


def test_a_daemon_that_is_killed_and_started_within_its_grace_costs_no_ping_and_nobody_a_peer(
    nodes: list[Node],
) -> None:
    victim = nodes[1]
    others = [node for node in nodes if node is not victim]
    key = victim.members(MESH)[victim.name]["wireguard"]
    streams = [Pings(nodes[0], victim.address(MESH)), Pings(victim, nodes[0].address(MESH))]
    for stream in streams:
        stream.go_on()
    before = {node.name: received(node) for node in nodes}
    logged = {node.name: len(node.log()) for node in nodes}
    assert victim.daemon is not None
    victim.daemon.kill9()
    for node in others:
        wait_for("it is known to be down", lambda node=node: node.states(MESH)[victim.name] == "daemon-down", 10)  # type: ignore[misc]
    for stream in streams:
        stream.go_on()
    victim.start()
    for node in nodes:
        wait_for("it is back", lambda node=node: node.states(MESH)[victim.name] == "alive", 15)  # type: ignore[misc]
    for stream in streams:
        stream.go_on(20)
    for answered in [stream.end() for stream in streams]:
        assert answered == list(range(1, len(answered) + 1))
    for node in nodes:
        after = received(node)
        assert after.keys() == before[node.name].keys()
        assert all(after[peer] >= count for peer, count in before[node.name].items())
    for node in others:
        assert key in before[node.name]
        said = verdicts(node, logged[node.name])
        assert said
        assert all("pruned=0" in line for line in said), said
