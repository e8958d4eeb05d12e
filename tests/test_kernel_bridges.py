"""A chain of meshes on the kernel's own WireGuard, and the bridge that takes over when one of two dies."""

from __future__ import annotations

import pytest

from tests.nodes import PATIENCE, make_world
from tests.real_meshes import GENEROUS, SOON, Meshes

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(800)]
CHAIN = {
    "alps": ("a", "ab1", "ab2"),
    "baltic": ("ab1", "ab2", "bc"),
    "cyclades": ("bc", "cd"),
    "dolomites": ("cd", "d"),
}
SETTLES = 30.0
PATIENT = {"suspectAfter": min(10.0, 3 * PATIENCE), "heartBeatInterval": 20}
"""On an emulated processor the living may be silent for seconds."""


def test_a_chain_of_four_meshes_of_which_the_first_two_have_a_bridge_to_spare() -> None:
    with make_world() as world:
        if world.wireguard() != "kernel":
            pytest.skip("this kernel has no WireGuard")
        names = {name for within in CHAIN.values() for name in within}
        _fail_over(Meshes(world, CHAIN, "kernel", dict.fromkeys(names, PATIENT)))


def _fail_over(chain: Meshes) -> None:
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
