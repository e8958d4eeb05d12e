"""Exits that try whether they still reach beyond themselves: one without its uplink is an exit no more."""

from __future__ import annotations

from smeg.probing import EVERY, FOUND_AFTER, LOST_AFTER, PATIENCE
from tests.nodes import make_world, wait_for
from tests.real_meshes import GENEROUS, SOON
from tests.two_uplinks import EXITS, MESH, NEAR, SITES, TwoUplinks

SETTLES = 30.0


def test_an_exit_without_its_uplink_withdraws_the_default_route_and_offers_it_again_when_it_is_back_for_a_while() -> (
    None
):
    with make_world() as world:
        country = TwoUplinks(world, probe=True)
        meshes = country.meshes
        near = meshes.nodes[NEAR]
        wait_for("all sites are reached", country.reaches_all, SETTLES)
        wait_for("both are exits", lambda: offering(country) == set(EXITS), SETTLES)
        before = country.exits()
        lost = before[SITES[0]]
        (left,) = (name for name in EXITS if name != lost)

        country.cut(lost)
        within = LOST_AFTER * EVERY + PATIENCE + SOON
        took = wait_for("the other exit is taken", lambda: meshes.pings(NEAR, SITES[0]), GENEROUS * within)
        print(f"\nthe other exit is taken {took:.1f} s after the uplink was cut")
        assert offering(country) == {left}
        assert near.states(MESH)[lost] == "alive"
        assert set(country.exits().values()) == {left}

        country.mend(lost)
        took = wait_for("it is an exit again", lambda: country.exits() == before, GENEROUS * (FOUND_AFTER + SOON))
        print(f"it is an exit again {took:.1f} s after the uplink was mended")
        assert took > FOUND_AFTER - EVERY, "not before it has proved itself for a while"
        wait_for("all sites are reached", country.reaches_all, SOON)


def offering(country: TwoUplinks) -> set[str]:
    """Who offers the default route, as near knows."""
    rows = country.meshes.nodes[NEAR].ask("routes")["routes"]
    return {row["via"] for row in rows if row["prefix"] == "::/0"}
