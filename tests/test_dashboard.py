"""What `members` answers: all of them, or those in the states that were asked for."""

from __future__ import annotations

import pytest

from scenarios.simulation import World
from smeg.dashboard import STATES
from smeg.errors import LocalError


@pytest.fixture(scope="module")
def world() -> World:
    """Of the second of four hosts the daemon is down, the third is gone; the first and the fourth know it."""
    world = World(5, 4, heartbeat_interval=1.0)
    world.start()
    world.form()
    assert world.run(30.0, lambda: all(set(host.members("demo").values()) == {"alive"} for host in world.hosts))
    world.hosts[1].kill()
    world.hosts[2].crash()
    expected = {"host1": "alive", "host2": "daemon-down", "host3": "pruned", "host4": "alive"}
    assert world.run(20.0, lambda: all(world.hosts[at].members("demo") == expected for at in (0, 3)))
    return world


def asked(world: World, states: object) -> set[str]:
    return {row["name"] for row in world.hosts[0].dashboard.members("demo", states)["members"]}


@pytest.mark.parametrize(
    ("states", "names"),
    [
        (["alive"], {"host1", "host4"}),
        (["daemon-down"], {"host2"}),
        (["pruned"], {"host3"}),
        (["daemon-down", "pruned"], {"host2", "host3"}),
        (["quarantined"], set()),
        (list(STATES), {"host1", "host2", "host3", "host4"}),
        (None, {"host1", "host2", "host3", "host4"}),
    ],
)
def test_members_are_those_in_one_of_the_states_asked_for(world: World, states: object, names: set[str]) -> None:
    assert asked(world, states) == names


@pytest.mark.parametrize(
    "states", [["dead"], ["alive", "Alive"], [], "alive", 1, {}, [1], [None], [["alive"]], ["x" * 999]]
)
def test_what_is_no_list_of_states_is_refused_and_the_states_are_named(world: World, states: object) -> None:
    with pytest.raises(LocalError) as caught:
        asked(world, states)
    assert caught.value.problem.code == "bad-argument"
    assert len(caught.value.problem.message) < 100
    assert all(state in caught.value.problem.hint for state in STATES)
