"""Bridges and exits on the kernel's own WireGuard: a chain of meshes, and what takes over when one of two dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.hosts import World
from tests.nodes import make_world, wait_for
from tests.real_meshes import GENEROUS, SOON, Meshes
from tests.two_uplinks import EXITS, NEAR, SITES, TwoUplinks

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(800)]
CHAIN = {
    "alps": ("a", "ab1", "ab2"),
    "baltic": ("ab1", "ab2", "bc"),
    "cyclades": ("bc", "cd"),
    "dolomites": ("cd", "d"),
}
SETTLES = 30.0


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as made:
        if made.wireguard() != "kernel":
            pytest.skip("this kernel has no WireGuard")
        yield made


def test_a_chain_of_four_meshes_of_which_the_first_two_have_a_bridge_to_spare(world: World) -> None:
    chain = Meshes(world, CHAIN, "kernel")
    chain.form()
    end = chain.home("d")
    chain.reached("a", "d", SETTLES)
    chain.reached("d", "a", SOON)
    first, *others = chain.way("a", end)
    assert others == ["bc", "cd", end]
    assert chain.names(chain.trace("a", end)) == [first, "bc", "cd", "d"]

    chain.power_off(first)
    took = chain.reached("a", "d", GENEROUS * SOON)
    print(f"\nreached by the other bridge {took:.1f} s after the first had died")
    (second,) = {"ab1", "ab2"} - {first}
    assert chain.way("a", end) == [second, "bc", "cd", end]
    assert chain.names(chain.trace("a", end)) == [second, "bc", "cd", "d"]


def test_a_default_route_by_two_exits_of_which_one_dies(world: World) -> None:
    country = TwoUplinks(world, "kernel")
    meshes = country.meshes
    wait_for("all sites are reached", country.reaches_all, SETTLES)
    before = country.exits()
    assert {site: meshes.way(NEAR, site)[0] for site in SITES} == before
    lost = before[SITES[0]]
    (left,) = (name for name in EXITS if name != lost)

    meshes.power_off(lost)
    took = wait_for("the other exit is taken", lambda: meshes.pings(NEAR, SITES[0]), GENEROUS * SOON)
    print(f"\nthe other exit is taken {took:.1f} s after the first had died")
    wait_for("all sites are reached", country.reaches_all, SOON)
    assert set(country.exits().values()) == {left}
