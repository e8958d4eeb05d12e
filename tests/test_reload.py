"""A configuration that is read again: what counts at once, what waits for a restart, and what a mistake changes."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Network
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.hosts import World
from smeg import messages as m
from smeg.config import KEYS, Config, defaults, parse
from smeg.config_keys import NEEDS_RESTART
from smeg.reloading import compare
from smeg.route_policy import MeshPolicy, PrefixFilter, PrefixRule, RoutePolicy
from smeg.shares import DEFAULT
from tests.builders import QUICK
from tests.loopback import Daemon, end_at_last, form_mesh
from tests.nodes import Node, make_world, wait_for
from tests.nodes import form_mesh as form_real_mesh
from tests.routed_meshes import BRIDGE, PLAIN, Meshes
from tests.test_config import ALL
from tests.test_restart import Pings

DOCS = Path(__file__).parent.parent / "docs"
BASE = defaults("node", True, {})


# What counts when.


@QUICK
@given(st.sets(st.sampled_from([key.name for key in KEYS])))
def test_each_key_that_differs_is_named_once_as_what_it_is(names: set[str]) -> None:
    other = parse(ALL, "node.yaml")
    chosen = {key.field: getattr(other, key.field) for key in KEYS if key.name in names}
    read = replace(BASE, **chosen)
    change = compare(BASE, read)
    differ = {key.name for key in KEYS if getattr(read, key.field) != getattr(BASE, key.field)}
    assert set(change.at_once) == differ - NEEDS_RESTART
    assert set(change.restart) == differ & NEEDS_RESTART
    for key in KEYS:
        kept = BASE if key.restart else read
        assert getattr(change.effective, key.field) == getattr(kept, key.field)
    again = compare(change.effective, read)
    assert (again.at_once, again.restart) == ((), change.restart)


def test_what_is_set_for_one_mesh_counts_at_once() -> None:
    read: Config = parse("meshes: {home: {acceptDefaults: true}}", "node.yaml", BASE)
    assert compare(BASE, read).at_once == ("meshes",)


def test_the_docs_name_what_needs_a_restart() -> None:
    (said,) = re.findall(r"These count after a restart(.*?)\n\n", (DOCS / "configuration.md").read_text(), re.DOTALL)
    assert set(re.findall(r"`([a-z]\w+)`", said)) - {"restartGrace"} == NEEDS_RESTART - {"restartGrace"}
    assert "restartGrace" in said


# Routes.

BEHIND = IPv6Network("2001:db8:5::/48")
KEEP_OUT = PrefixFilter((PrefixRule(BEHIND, False),))
POLICIES = [
    PLAIN,
    BRIDGE,
    RoutePolicy(behind=frozenset({BEHIND, DEFAULT}), weight=3),
    RoutePolicy(general=MeshPolicy(bridge=True, exports=KEEP_OUT)),
    RoutePolicy(shard_bits=2, general=MeshPolicy(bridge=True, accept_defaults=True)),
    RoutePolicy(general=MeshPolicy(bridge=True, imports=KEEP_OUT), meshes={"b": MeshPolicy()}),
    RoutePolicy(behind=frozenset({BEHIND}), probed=True),
]


def said(policies: list[RoutePolicy]) -> tuple[object, ...]:
    """What a node in two meshes comes to do that follows these one after another, and what others make of that."""
    world = Meshes("a", "b")
    gate = RoutePolicy(behind=frozenset({BEHIND, DEFAULT}))
    for label, within, policy in (("gate", "a", gate), ("other", "ab", BRIDGE), ("far", "b", PLAIN)):
        world.add(label, within, policy)
    node = world.add("node", "ab", policies[0])
    world.wait()
    for before, policy in pairwise(policies):
        node.table.handle(m.Reconfigured("node", 25, policy), world.now)
        if policy.probed and not before.probed:
            # Of itself, no probe has spoken yet.
            node.table.handle(m.UplinkChanged(1, False), world.now)
        world.wait(10.0)
        world.wait(10.0)
    meshes = (world["a"], world["b"])
    offers = {mesh.id: {prefix: o.ways for prefix, o in node.offers[mesh.id].offers.items()} for mesh in meshes}
    daemons = (node, world.daemons["far"])
    return offers, [daemon.vias(mesh, own) for daemon in daemons for mesh in meshes for own in (False, True)]


@pytest.mark.parametrize("now", range(len(POLICIES)))
@pytest.mark.parametrize("before", range(len(POLICIES)))
def test_a_policy_that_is_read_again_comes_to_what_it_comes_to_from_the_start(before: int, now: int) -> None:
    assert said([POLICIES[before], POLICIES[now]]) == said([POLICIES[now]])


# Whole daemons.


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    folder = tmp_path_factory.mktemp("d")
    with end_at_last() as make:
        one, two = make(folder / "one"), make(folder / "two")
        for node in (one, two):
            node.start()
        form_mesh("home", one, two)
        wait_for("they know each other", lambda: len(one.members("home")) == len(two.members("home")) == 2, 20)
        yield one, two


def test_keys_count_at_once_and_the_mesh_goes_on(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    assert one.does("reload") == {"changed": [], "restart": []}
    one.configure(
        name="renamed", metricsListen=0, dnsAddress="::1", dnsPort=0, mtu=1400, logLevel="debug", heartBeatInterval=2
    )
    done = one.does("reload")
    assert done["changed"] == ["dnsAddress", "dnsPort", "logLevel", "metricsListen", "mtu", "name"]
    assert done["restart"] == ["heartBeatInterval"]
    wait_for("its name is known", lambda: "renamed" in two.members("home"), 15)
    wait_for("metrics are served", lambda: one.ask("status").get("metrics", "") != "", 15)
    wait_for("names are served", lambda: one.ask("status").get("names", {}).get("served", []) != [], 15)
    wait_for("the interface has its MTU", lambda: one.ask("plan", mesh="home")["mtu"] == 1400, 15)
    assert one.ask("status")["name"] == "renamed"
    assert one.problems() == []
    one.configure(name="renamed", mtu=1400, logLevel="debug")
    assert one.does("reload")["changed"] == ["dnsAddress", "dnsPort", "metricsListen"]
    wait_for("nothing is served", lambda: not {"metrics", "names"} & one.ask("status").keys(), 15)
    assert one.problems() == []
    assert one.meshes()["home"]["state"] == "active"
    actors = {actor["name"] for actor in one.ask("status")["actors"]}
    assert not {"dns", "metrics"} & actors
    assert all(actor["restarts"] == 0 for actor in one.ask("status")["actors"])


def test_a_file_with_a_mistake_changes_nothing_and_is_a_problem_until_it_is_mended(pair: tuple[Daemon, Daemon]) -> None:
    _, two = pair
    right = two.config.read_text()
    two.config.write_text(right + "mtu: 12\nnmae: x\nname: renamed-by-mistake\n")
    status, stdout, stderr = two.cli("reload")
    assert status == 1
    refusal = json.loads(stdout)["error"]
    assert refusal["code"] == "bad-configuration"
    first = len(right.splitlines()) + 1
    mistakes = [f"node.yaml:{first}: mtu", f"node.yaml:{first + 1}: nmae", f"node.yaml:{first + 2}: name"]
    for mistake, line, shown in zip(mistakes, refusal["message"].splitlines(), stderr.splitlines(), strict=False):
        assert mistake in line
        assert mistake in shown
    assert two.problems() == ["reload-failed"]
    assert "two" in two.members("home")
    two.config.unlink()
    assert two.refuses("reload").code == "config-unreadable"
    assert two.problems() == ["reload-failed"]
    two.config.write_text(right)
    two.does("reload")
    assert two.problems() == []


def test_a_signal_does_the_same(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    two.configure(name="by-signal")
    assert two.process is not None
    os.kill(two.process.pid, signal.SIGHUP)
    wait_for("its name is known", lambda: "by-signal" in one.members("home"), 15)
    wait_for("it is logged", lambda: "reloaded" in two.log(), 5)
    two.config.write_text("name: [\n")
    os.kill(two.process.pid, signal.SIGHUP)
    wait_for("it is shown", lambda: two.problems() == ["reload-failed"], 15)
    assert "by-signal" in one.members("home")


def test_hooks_that_others_can_write_are_not_taken(pair: tuple[Daemon, Daemon]) -> None:
    one, _ = pair
    one.configure(postUp="/bin/true")
    one.config.chmod(0o666)
    assert one.refuses("reload").code == "hooks-exposed"
    one.config.chmod(0o600)
    assert "postUp" in one.does("reload")["changed"]


# With real WireGuard.


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


def test_no_packet_is_lost_by_it(world: World) -> None:
    backend = world.wireguard()
    nodes = [Node(world.host(f"r{number}"), backend) for number in (1, 2)]
    for node in nodes:
        node.start()
    form_real_mesh(nodes, "paris")
    for node in nodes:
        wait_for("all are known", lambda node=node: list(node.states("paris").values()) == ["alive"] * 2, 15)  # type: ignore[misc]
    stream = Pings(nodes[0], nodes[1].address("paris"))
    stream.go_on()
    for node in nodes:
        path = node.host.folder / "node.yaml"
        path.write_text(path.read_text() + "mtu: 1380\nadvertiseRoutes: true\nmetricsListen: 0\nweight: 3\n")
        changed = node.ask("reload")["changed"]
        assert changed == ["advertiseRoutes", "metricsListen", "mtu", "weight"]
        stream.go_on(15)
    answered = stream.end()
    assert answered == list(range(1, len(answered) + 1))
    for node in nodes:
        assert "mtu 1380" in node.host.run(["ip", "link", "show", node.interfaces()[0]]).stdout
