"""What `plan` says: nothing to do when all is applied, and for a hypothetical exactly what would then be done."""

from __future__ import annotations

import pytest

from scenarios.simulation import World
from smeg.dashboard import Dashboard
from smeg.errors import LocalError


@pytest.fixture(scope="module")
def world() -> World:
    """Four peers in a mesh."""
    world = World(7, 4, heartbeat_interval=1.0)
    world.start()
    world.form()
    assert world.run(30.0, lambda: all(set(host.members("demo").values()) == {"alive"} for host in world.hosts))
    assert world.run(30.0, lambda: all(len(plan(host.dashboard)["peers"]) == 3 for host in world.hosts))
    return world


def plan(dashboard: Dashboard, *without: str) -> dict[str, list[dict[str, object]]]:
    return dashboard.plan("demo", list(without) or None, 0)


def test_nothing_is_to_be_done_while_everything_is_applied(world: World) -> None:
    assert plan(world.hosts[0].dashboard)["changes"] == []


def test_without_a_node_its_tunnel_and_its_address_go(world: World) -> None:
    changes = plan(world.hosts[0].dashboard, "host2")["changes"]
    assert [(change["operation"], change["subject"]) for change in changes] == [("remove-peer", "host2")]
    loses = changes[0]["loses"]
    assert isinstance(loses, list)
    assert [prefix.endswith("/128") for prefix in loses] == [True]


def test_a_hypothetical_changes_nothing(world: World) -> None:
    before = plan(world.hosts[0].dashboard)
    plan(world.hosts[0].dashboard, "host2", "host3")
    assert plan(world.hosts[0].dashboard) == before


@pytest.mark.parametrize(
    ("without", "code"),
    [(["nobody"], "unknown-node"), ("host2", "bad-argument"), (["host1"], "bad-argument"), ([""], "bad-argument")],
)
def test_whom_nobody_knows_cannot_be_left_out(world: World, without: object, code: str) -> None:
    with pytest.raises(LocalError) as caught:
        world.hosts[0].dashboard.plan("demo", without, 0)
    assert caught.value.problem.code == code
