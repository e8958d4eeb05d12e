"""A default route by way of two exits to a host outside: real daemons, real WireGuard, and what happens without one."""

from __future__ import annotations

from base64 import b32decode
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

import pytest

from smeg.device import MARK
from smeg.keys import NodeKey
from smeg.shares import rendezvous, shards
from tests.nodes import make_world, wait_for
from tests.real_meshes import GENEROUS, SOON
from tests.two_uplinks import EXITS, MESH, NEAR, SHARD_BITS, SITES, TwoUplinks

pytestmark = pytest.mark.timeout(300)
SETTLES = 30.0
PACKET = 300
"""bytes that a ping costs in a tunnel at most: twice as much, and it would have been through it twice."""


@pytest.fixture(scope="module")
def country() -> Iterator[TwoUplinks]:
    with make_world() as world:
        made = TwoUplinks(world)
        wait_for("all sites are reached", made.reaches_all, SETTLES)
        yield made


def key(name: str, country: TwoUplinks) -> NodeKey:
    text = str(country.meshes.nodes[NEAR].members(MESH)[name]["node"]).upper()
    return NodeKey(b32decode(text + "=" * (-len(text) % 8)))


def predicted(country: TwoUplinks) -> dict[str, str]:
    """By which exit each site is reached, as the hash says."""
    names = {key(name, country): name for name in EXITS}
    parts = list(shards(IPv6Network("2000::/3"), SHARD_BITS))
    found: dict[str, str] = {}
    for site in SITES:
        (part,) = (part for part in parts if IPv6Address(site) in part)
        found[site] = names[rendezvous(key(NEAR, country), part, dict.fromkeys(names, 1))]
    return found


def test_each_shard_of_the_default_route_takes_the_exit_that_the_hash_says(country: TwoUplinks) -> None:
    expected = predicted(country)
    wait_for("packets go as predicted", lambda: country.exits() == expected, SETTLES)
    for site, name in expected.items():
        assert country.meshes.way(NEAR, site) == [name, site]


def test_what_carries_the_mesh_goes_by_the_gateway_beside_it_once(country: TwoUplinks) -> None:
    near = country.meshes.nodes[NEAR].host
    for name in EXITS:
        underlay = str(country.meshes.nodes[name].host.address(6))
        assert "dev smeg-" in near.run(["ip", "-6", "route", "get", underlay]).stdout
        marked = near.run(["ip", "-6", "route", "get", underlay, "mark", hex(MARK)]).stdout
        assert "dev eth0" in marked, marked
    before = sent(country)
    for _ in range(10):
        assert country.meshes.pings(NEAR, SITES[0])
    assert sent(country) - before < 20 * PACKET
    epoch = epoch_of(country)
    wait_for("the leader still asks, and all answer", lambda: epoch_of(country) > epoch + 3, 20)
    for node in country.meshes.nodes.values():
        assert set(node.states(MESH).values()) == {"alive"}


def sent(country: TwoUplinks) -> int:
    """bytes that went into near's tunnels."""
    lines = country.meshes.nodes[NEAR].host.run(["wg", "show", "all", "transfer"]).stdout.splitlines()
    return sum(int(line.split()[3]) for line in lines)


def epoch_of(country: TwoUplinks) -> int:
    (mesh,) = country.meshes.nodes[NEAR].ask("status")["meshes"]
    return int(mesh["epoch"])


def test_when_an_exit_dies_the_other_takes_over_and_gives_back_its_part(country: TwoUplinks) -> None:
    expected = predicted(country)
    lost = expected[SITES[0]]
    (left,) = (name for name in EXITS if name != lost)
    wait_for("packets go as predicted", lambda: country.exits() == expected, SETTLES)
    staying = [country.meshes.stream(NEAR, site) for site, name in expected.items() if name == left]
    country.meshes.power_off(lost)
    took = wait_for("another exit is taken", lambda: country.meshes.pings(NEAR, SITES[0]), GENEROUS * SOON)
    print(f"\nthe other exit is taken {took:.1f} s after the first had died")
    wait_for("all sites are reached", country.reaches_all, SOON)
    assert set(country.exits().values()) == {left}
    assert all(stream.lost() <= 1 for stream in staying), "what went by the other exit noticed nothing"
    country.meshes.power_on(lost)
    wait_for("it has its part again", lambda: country.exits() == expected, SETTLES)
    wait_for("all sites are reached", country.reaches_all, SOON)
