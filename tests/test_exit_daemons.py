"""A daemon that takes its default route through an exit: on as long as both want it, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.hosts import World
from smeg.edges.routes import PROTOCOL
from tests.nodes import Node, all_at_once, left_over, make_world, wait_for
from tests.test_default_route import WEB, ip, pings, way

MESH = "oslo"


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.mark.timeout(300)
def test_a_default_route_through_an_exit_comes_outlives_a_kill_and_goes(world: World) -> None:
    backend = world.wireguard()
    near = Node(world.host("near"), backend, 6, acceptDefaults=True)
    leading = Node(world.host("exit"), backend, 6, advertiseDefaults=True, forwarding="host")
    web = world.host("web")
    ip(web, "address", "add", f"{WEB}/128", "dev", "lo")
    ip(leading.host, "route", "add", f"{WEB}/128", "via", str(web.address(6)))
    all_at_once(node.start for node in (near, leading))
    near.ask("new-mesh", MESH)
    leading.ask("join-mesh", "-", input=near.ask("invite", MESH, "--exit")["token"])
    ip(web, "route", "add", f"{near.address(MESH)}/128", "via", str(leading.host.address(6)))
    wait_for("somebody outside is pinged through the exit", lambda: pings(near.host, WEB), 20)
    assert way(near.host, WEB).startswith("smeg-")
    assert leading.host.run(["cat", "/proc/sys/net/ipv6/conf/all/forwarding"]).stdout == "1\n"
    assert leading.ask("status")["problems"] == []
    assert near.ask("status")["problems"] == []

    assert near.daemon is not None
    monitor = near.host.start(["ip", "-6", "-o", "monitor", "rule", "route"], log=near.host.folder / "monitor.log")
    near.daemon.kill9()
    assert pings(near.host, WEB), "the tunnel outlives the daemon"
    before = len(near.log())
    near.start()
    wait_for("the mesh works again", lambda: "mesh-works" in near.log()[before:], 20)
    wait_for("it knows the exit", lambda: near.states(MESH)["exit"] == "alive", 20)
    monitor.terminate()
    monitor.wait(10)
    taken = [line for line in monitor.log.read_text().splitlines() if "Deleted" in line and f"proto {PROTOCOL}" in line]
    assert taken == [], "its default route is never gone"
    ip(near.host, "rule", "del", "priority", "21250")
    wait_for("what somebody removed is back", lambda: pings(near.host, WEB), 60)

    for node in (near, leading):
        assert node.daemon is not None
        node.daemon.terminate()
        assert node.daemon.wait(25) == 0
        assert left_over(node) == []
