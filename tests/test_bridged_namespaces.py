"""Four meshes in a chain, joined by three bridges: real daemons, real WireGuard, real packets from end to end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.hosts import World
from tests.nodes import make_world, wait_for
from tests.real_meshes import GENEROUS, SOON, Meshes

CHAIN = {"alps": ("a", "ab"), "baltic": ("ab", "bc"), "cyclades": ("bc", "cd"), "dolomites": ("cd", "d")}
BRIDGES = ["ab", "bc", "cd"]
SITE, SERVER = "2001:db8:1::/48", "2001:db8:1::80"
"""What is behind d, and somebody there."""
SETTLES = 30.0
"""seconds until news has gone through all meshes, and tunnels are there, after the last join."""


@pytest.fixture(scope="module")
def chain() -> Iterator[Meshes]:
    with make_world() as world:
        made = Meshes(world, CHAIN, keys={"d": {"advertise": SITE, "forwarding": "host"}}, invite=("--prefix", SITE))
        put_behind(world, made)
        made.form()
        made.reached("a", "d", SETTLES)
        yield made


def put_behind(world: World, meshes: Meshes) -> None:
    """A server that has no daemon, and knows members by way of d alone."""
    server, router = world.host("server"), meshes.nodes["d"].host
    server.run(["ip", "address", "add", f"{SERVER}/128", "dev", "lo"])
    router.run(["ip", "-6", "route", "add", SITE, "via", str(server.address(6))])
    server.run(["ip", "-6", "route", "add", "fc00::/7", "via", str(router.address(6)), "src", SERVER])


def test_both_ends_ping_each_other(chain: Meshes) -> None:
    chain.reached("a", "d", SETTLES)
    chain.reached("d", "a", SOON)


def test_why_names_the_three_bridges_in_their_order_and_traceroute_agrees(chain: Meshes) -> None:
    for one, other, bridges in (("a", "d", BRIDGES), ("d", "a", BRIDGES[::-1])):
        address = chain.home(other)
        assert chain.way(one, address) == [*bridges, address]
        assert chain.names(chain.trace(one, address)) == [*bridges, other]


def test_bridges_reach_all_and_are_reached_by_all_at_each_of_their_addresses(chain: Meshes) -> None:
    chain.all_reached(chain.nodes, SETTLES)
    for (mesh, name), address in chain.addresses.items():
        for one in ("a", "d"):
            if one != name:
                wait_for(f"{one} pings {name} in {mesh}", lambda one=one, to=address: chain.pings(one, to), 10)  # type: ignore[misc]


def test_all_reach_a_server_behind_the_far_end_and_why_and_traceroute_say_by_whom(chain: Meshes) -> None:
    for name in chain.nodes:
        wait_for(f"{name} pings the server", lambda name=name: chain.pings(name, SERVER), SETTLES)  # type: ignore[misc]
    assert chain.way("a", SERVER) == [*BRIDGES, "d", SERVER]
    assert chain.names(chain.trace("a", SERVER)) == [*BRIDGES, "d", SERVER]


def test_packets_as_large_as_the_interface_takes_go_all_the_way(chain: Meshes) -> None:
    (interface,) = chain.nodes["a"].interfaces()
    mtu = int(chain.nodes["a"].host.run(["cat", f"/sys/class/net/{interface}/mtu"]).stdout)
    size = mtu - 48
    argv = ["ping", "-n", "-c1", "-W2", "-M", "do", "-s", str(size), chain.home("d")]
    wait_for("a full packet is answered", lambda: chain.nodes["a"].host.run(argv, check=False).returncode == 0, 10)


def test_without_the_bridge_in_the_middle_nobody_is_reached_and_it_is_said_why_until_it_is_back(chain: Meshes) -> None:
    chain.reached("a", "d", SETTLES)
    chain.power_off("bc")
    end = chain.home("d")
    took = wait_for("a knows", lambda: not chain.nodes["a"].ask("why", end)["reached"], GENEROUS * SOON)
    print(f"\nknown at the far end {took:.1f} s after the bridge had died")
    assert "no member" in chain.nodes["a"].ask("why", end)["problem"]
    chain.reached("a", "ab", SOON)
    chain.power_on("bc")
    took = chain.reached("a", "d", SETTLES)
    print(f"\nreached again {took:.1f} s after the bridge had been started")
    chain.reached("d", "a", SOON)
