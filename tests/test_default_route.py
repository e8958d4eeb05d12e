"""A default route through the mesh, on hosts: what it takes, what it leaves alone, and that it never takes itself.

`near` reaches everything beyond its link by way of `gate`. It has a tunnel to `far`, an exit, which is itself beyond
the gate, and sends all else through it; `web` is somebody whom neither mesh nor link knows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scenarios.hosts import Host, World
from smeg.device import MARK
from smeg.keys import Secret, x25519_public
from tests.device_on_host import GOSSIP_PORT
from tests.nodes import make_world, wait_for

ROOT = Path(__file__).parents[1]
FAR, WEB, SITE = "2001:db8:7::7", "2001:db8:99::99", "2001:db8:7::/48"
OVERLAY, NEAR_INSIDE, FAR_INSIDE = "fd00:1::/64", "fd00:1::1", "fd00:1::2"
SOON = 10.0


def public(seed: int) -> str:
    return x25519_public(Secret(bytes([seed]) * 32)).hex()


def near_wants(**routes: list[str]) -> dict[str, Any]:
    """The device of `near`, whose routes all lead to `far`."""
    beyond = [prefix for table in routes.values() for prefix in table]
    peer = {"key": public(2), "host": FAR, "allowed": sorted({f"{FAR_INSIDE}/128", *beyond})}
    routes["main"] = [OVERLAY, *routes.get("main", [])]
    return {"seed": 1, "address": f"{NEAR_INSIDE}/128", "peers": [peer], **routes}


FAR_WANTS = {
    "seed": 2,
    "address": f"{FAR_INSIDE}/128",
    "peers": [{"key": public(1), "host": "fd77::1", "allowed": [f"{NEAR_INSIDE}/128"]}],
    "main": [OVERLAY],
}


@dataclass
class Places:
    near: Host
    gate: Host
    far: Host
    web: Host
    backend: str

    def set(self, host: Host, wants: dict[str, Any], then: str = "leave") -> str:
        argv = [sys.executable, "-m", "tests.device_on_host", self.backend, then]
        env = {"PYTHONPATH": str(ROOT)}
        done = host.run(argv, input=json.dumps(wants), check=False, env=env, timeout=60)
        assert done.returncode in ((-9, 137) if then == "leave" else (0,)), done.stderr
        return done.stdout

    def sent(self) -> int:
        """bytes that `near` has sent into its tunnel."""
        lines = self.near.run(["wg", "show", "smeg-test", "transfer"]).stdout.split()
        return int(lines[2])


def ip(host: Host, *argv: str) -> str:
    return host.run(["ip", "-6", *argv]).stdout


def pings(host: Host, address: str) -> bool:
    return host.run(["ping", "-c1", "-W1", address], check=False).returncode == 0


def way(host: Host, *to: str) -> str:
    """The interface that packets take."""
    words = ip(host, "route", "get", *to).split()
    return words[words.index("dev") + 1]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture(scope="module")
def places(world: World) -> Places:
    near, gate, far, web = (world.host(name) for name in ("near", "gate", "far", "web"))
    for host in (gate, far):
        host.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"])
    ip(near, "route", "add", "default", "via", str(gate.address(6)))
    ip(far, "address", "add", f"{FAR}/128", "dev", "lo")
    ip(gate, "route", "add", SITE, "via", str(far.address(6)))
    ip(web, "address", "add", f"{WEB}/128", "dev", "lo")
    for host in (gate, far):
        ip(host, "route", "add", f"{WEB}/128", "via", str(web.address(6)))
    # Who answers goes by the exit, so an answer proves that the packet came through it.
    ip(web, "route", "add", OVERLAY, "via", str(far.address(6)))
    ip(web, "route", "add", "unreachable", f"{near.address(6)}/128", "metric", "1")
    made = Places(near, gate, far, web, world.wireguard())
    made.set(far, FAR_WANTS)
    return made


def test_a_default_route_leads_through_the_exit_and_what_carries_it_does_not(places: Places) -> None:
    near = places.near
    places.set(near, near_wants(unmarked=["::/0"]))
    assert way(near, WEB) == "smeg-test"
    assert way(near, FAR) == "smeg-test"
    assert way(near, FAR, "mark", hex(MARK)) == "eth0"
    assert way(near, str(places.gate.address(6))) == "eth0", "the link is nearer than the default"
    wait_for("somebody outside is pinged through the exit", lambda: pings(near, WEB), SOON)
    before = places.sent()
    for _ in range(5):
        assert pings(near, WEB)
    assert places.sent() - before < 5 * 300, "each packet is sent once: nothing goes around"


def test_a_way_through_the_mesh_is_no_way_to_its_members(places: Places) -> None:
    ask = (
        "from smeg.device import Endpoint; from smeg.edges.underlay import local_addresses, reachable;"
        f" print(reachable(Endpoint('{FAR}', 1)), '{NEAR_INSIDE}' in local_addresses())"
    )
    argv, env = [sys.executable, "-c", ask], {"PYTHONPATH": str(ROOT)}
    assert places.near.run(argv, env=env).stdout.split() == ["True", "False"]
    ip(places.near, "route", "del", "default")
    assert way(places.near, FAR) == "smeg-test"
    assert places.near.run(argv, env=env).stdout.split() == ["False", "False"]
    ip(places.near, "route", "add", "default", "via", str(places.gate.address(6)))


def test_gossip_goes_beside_the_tunnel_in_both_directions(places: Places) -> None:
    near = places.near
    assert way(near, FAR, "ipproto", "tcp", "dport", str(GOSSIP_PORT)) == "eth0"
    assert way(near, FAR, "ipproto", "tcp", "sport", str(GOSSIP_PORT)) == "eth0"
    assert way(near, FAR, "ipproto", "tcp", "dport", "22") == "smeg-test"
    listen = (
        f"import socket; s = socket.create_server(('::', {GOSSIP_PORT}), family=socket.AF_INET6); print(flush=True);"
        " print(s.accept()[1][0], flush=True)"
    )
    log = places.far.folder / "listener.log"
    listener = places.far.start([sys.executable, "-c", listen], log=log)
    wait_for("it listens", lambda: log.read_text().startswith("\n"), SOON)
    dial = f"import socket; socket.create_connection(('{FAR}', {GOSSIP_PORT}), 5)"
    near.run([sys.executable, "-c", dial])
    assert listener.wait(10) == 0
    assert log.read_text().split() == [str(near.address(6))]


def test_a_prefix_that_holds_the_exit_itself_takes_all_but_what_carries_it(places: Places) -> None:
    near = places.near
    places.set(near, near_wants(unmarked=[SITE]))
    ip(places.far, "address", "replace", "2001:db8:7::8/128", "dev", "lo")
    assert way(near, "2001:db8:7::8") == "smeg-test"
    assert way(near, WEB) == "eth0"
    assert way(near, FAR, "mark", hex(MARK)) == "eth0"
    wait_for("a host of the site answers", lambda: pings(near, "2001:db8:7::8"), SOON)
    before = places.sent()
    assert pings(near, "2001:db8:7::8")
    assert places.sent() - before < 300


def test_what_the_host_routes_itself_comes_before_the_meshes_but_for_its_default(places: Places) -> None:
    near = places.near
    places.set(near, near_wants(unmarked=["::/0", "2001:db8:5:1::/64"]))
    ip(near, "route", "add", "2001:db8:5::/48", "via", str(places.gate.address(6)))
    assert way(near, "2001:db8:5:1::1") == "eth0"
    ip(near, "route", "del", "2001:db8:5::/48")
    assert way(near, "2001:db8:5:1::1") == "smeg-test"


def test_packets_from_the_own_address_go_by_their_own_routes(places: Places) -> None:
    near = places.near
    places.set(near, near_wants(own=[f"{WEB}/128"]))
    assert way(near, WEB) == "eth0"
    assert way(near, WEB, "from", NEAR_INSIDE) == "smeg-test"
    argv = ["ping", "-c1", "-W1", "-I", NEAR_INSIDE, WEB]
    wait_for("it answers", lambda: near.run(argv, check=False).returncode == 0, SOON)


def test_what_a_killed_daemon_left_is_adopted_and_nothing_of_it_stays(places: Places) -> None:
    near = places.near
    places.set(near, near_wants(unmarked=["::/0"], own=[SITE]))
    assert "proto 83" in ip(near, "rule")
    said = places.set(near, near_wants(own=[SITE]), "end")
    assert said.split() == ["unmarked", "before:", "::/0"]
    assert "proto 83" not in ip(near, "rule")
    assert "proto 83" not in ip(near, "route", "show", "table", "all")
    assert way(near, WEB) == "eth0"


@pytest.mark.kernel
@pytest.mark.timeout(600)
def test_all_of_it_on_the_kernel_backend(places: Places) -> None:
    if places.backend != "kernel":
        pytest.skip("this kernel has no WireGuard")
    for holds in (
        test_a_default_route_leads_through_the_exit_and_what_carries_it_does_not,
        test_a_way_through_the_mesh_is_no_way_to_its_members,
        test_gossip_goes_beside_the_tunnel_in_both_directions,
        test_a_prefix_that_holds_the_exit_itself_takes_all_but_what_carries_it,
        test_what_the_host_routes_itself_comes_before_the_meshes_but_for_its_default,
        test_packets_from_the_own_address_go_by_their_own_routes,
        test_what_a_killed_daemon_left_is_adopted_and_nothing_of_it_stays,
    ):
        holds(places)
