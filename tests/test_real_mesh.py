"""Eight real daemons with real WireGuard, half of them dialled over IPv4 and half over IPv6."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from itertools import permutations

import pytest

from scenarios.hosts import World
from tests.nodes import PATIENCE, Node, all_at_once, form_mesh, left_over, make_world, showconf, wait_for

MESH = "paris"
SIZE = 8
ALL_PAIRS = 10.0
"""seconds from the last join until every pair has pinged."""
GRACE = 1.0
"""seconds that a daemon may be down until it is pruned; `test_restart` has one that is back before."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture(scope="module")
def nodes(world: World) -> list[Node]:
    """The daemons, up, in one mesh, in the order of joining."""
    backend = world.wireguard()
    made = [
        Node(world.host(f"n{number}"), backend, 4 if number % 2 else 6, restartGrace=GRACE)
        for number in range(1, SIZE + 1)
    ]
    all_at_once(node.start for node in made)
    form_mesh(made, MESH)
    return made


def pairs_ping(nodes: list[Node]) -> None:
    addresses = {node.name: node.address(MESH) for node in nodes}

    def until_answered(one: Node, other: Node) -> None:
        wait_for(f"{one.name} pings {other.name}", lambda: one.pings(addresses[other.name]), ALL_PAIRS)

    all_at_once(partial(until_answered, one, other) for one, other in permutations(nodes, 2))


def keys(nodes: list[Node]) -> dict[str, str]:
    return {node.name: node.members(MESH)[node.name]["wireguard"] for node in nodes}


def test_every_ordered_pair_pings_within_ten_seconds_of_the_last_join(nodes: list[Node]) -> None:
    started = time.monotonic()
    pairs_ping(nodes)
    assert time.monotonic() - started < ALL_PAIRS * PATIENCE


def test_wireguard_shows_exactly_the_other_seven_on_each_host(nodes: list[Node]) -> None:
    known = keys(nodes)
    for node in nodes:
        assert node.wireguard_peers() == {key for name, key in known.items() if name != node.name}


def test_half_are_reached_over_ipv4_and_half_over_ipv6(nodes: list[Node]) -> None:
    endpoints = [peer["endpoint"] for peer in nodes[0].ask("plan", MESH)["peers"]]
    assert sum(endpoint.startswith("[fd77::") for endpoint in endpoints) == SIZE / 2
    assert sum(endpoint.startswith("10.77.") for endpoint in endpoints) == SIZE / 2 - 1


def test_what_wg_showconf_prints_is_what_the_plan_says(nodes: list[Node]) -> None:
    hosts = {str(node.host.address(family)) for node in nodes for family in (4, 6)}
    for node in nodes:
        plan = node.ask("plan", MESH)
        peers = showconf(node.host.run(["wg", "showconf", plan["interface"]]).stdout)
        allowed = {key: fields["AllowedIPs"] for key, fields in peers.items()}
        assert allowed == {peer["public_key"]: ", ".join(peer["allowed_ips"]) for peer in plan["peers"]}
        for fields in peers.values():
            # WireGuard keeps the address that packets last came from, here of either family.
            host, port = fields["Endpoint"].rsplit(":", 1)
            assert host.strip("[]") in hosts
            assert port == str(plan["listen_port"])


def test_a_killed_daemon_is_missed_and_comes_back_as_itself_and_is_pinged_again(nodes: list[Node]) -> None:
    victim, *others = nodes[2], *nodes[:2], *nodes[3:]
    address = victim.address(MESH)
    assert victim.daemon is not None
    victim.daemon.kill9()
    for node in others:
        wait_for(f"{node.name} notices", lambda node=node: node.states(MESH)[victim.name] == "pruned", 15)  # type: ignore[misc]
    victim.start()
    for node in others:
        wait_for(f"{node.name} pings {victim.name} again", lambda node=node: node.pings(address), 10)  # type: ignore[misc]
    assert victim.address(MESH) == address
    assert len(victim.interfaces()) == 1
    known = keys(nodes)
    wait_for("its device is whole", lambda: victim.wireguard_peers() == set(known.values()) - {known[victim.name]}, 10)


def test_a_restart_by_sigterm_does_not_wedge_tunnels(nodes: list[Node]) -> None:
    victim, other = nodes[4], nodes[1]
    address = victim.address(MESH)
    assert victim.daemon is not None
    victim.daemon.terminate()
    assert victim.daemon.wait(20) == 0
    victim.start()
    wait_for(f"{other.name} pings {victim.name} again", lambda: other.pings(address), 10)


def test_who_left_is_gone_everywhere_and_has_nothing_of_ours(nodes: list[Node]) -> None:
    leaver, *others = nodes[7], *nodes[:7]
    key = keys(nodes)[leaver.name]
    leaver.ask("leave-mesh", MESH)
    assert leaver.interfaces() == []
    assert leaver.ask("list-meshes") == {"meshes": []}
    for node in others:
        wait_for(f"{node.name} forgets", lambda node=node: leaver.name not in node.members(MESH), 5)  # type: ignore[misc]
        wait_for(f"{node.name}'s device forgets", lambda node=node: key not in node.wireguard_peers(), 5)  # type: ignore[misc]


def test_the_evicted_is_gone_everywhere_and_cannot_come_back(nodes: list[Node]) -> None:
    admin, victim = nodes[0], nodes[6]
    key = keys(nodes[:7])[victim.name]
    admin.ask("evict", MESH, victim.name, "--reason", "lost laptop")
    for node in (nodes[0], nodes[1], nodes[3]):
        wait_for(f"{node.name} forgets", lambda node=node: key not in node.wireguard_peers(), 5)  # type: ignore[misc]
    wait_for("it takes its own interface down", lambda: victim.interfaces() == [], 5)


def test_after_sigterm_and_sigint_nothing_is_left(nodes: list[Node]) -> None:
    for number, node in enumerate(nodes):
        assert node.daemon is not None
        os.kill(node.daemon.pid, signal.SIGTERM if number % 2 else signal.SIGINT)
    for node in nodes:
        assert node.daemon is not None
        assert node.daemon.wait(25) == 0
        node.daemon = None
        assert left_over(node) == []
