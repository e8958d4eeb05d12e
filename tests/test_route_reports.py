"""What `routes` and `why` say: every step to a destination, across meshes, and the rule by which it was chosen."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from smeg import messages as m
from smeg.addresses import node_id, overlay_prefix
from smeg.errors import LocalError
from smeg.forecast import forecast
from smeg.mesh_view import MeshView
from smeg.route_policy import MeshPolicy, RoutePolicy
from smeg.route_reports import Reports
from smeg.shares import DEFAULT
from tests.builders import WALL
from tests.routed_meshes import BRIDGE, PLAIN, Daemon, Meshes, chain

LAN = IPv6Network("2001:db8:1::/48")


def views(world: Meshes, daemon: Daemon) -> dict[str, MeshView]:
    """What the control actor of a daemon has heard."""
    found: dict[str, MeshView] = {}
    dead = frozenset(other.key for other in world.daemons.values() if not other.alive)
    for label, mesh in world.meshes.items():
        if mesh.id not in daemon.papers:
            continue
        view = found[mesh.id] = MeshView(mesh.id, label)
        said = [
            m.MeshStarted(mesh.id, label, "", "smeg0"),
            m.MembersChanged(mesh.id, 1, world.members(mesh.id)),
            m.LivenessChanged(mesh.id, 1, 1, None, dead),
            m.AnnexesChanged(mesh.id, 1, dict(world.annexes[mesh.id])),
            m.Admitted(mesh.id, tuple(daemon.papers[mesh.id].certificates)),
            *(said for said in (daemon.routes.get(mesh.id), daemon.offers.get(mesh.id)) if said is not None),
        ]
        for message in said:
            view.hear(message, daemon.key)
    return found


def reports(world: Meshes, label: str, policy: RoutePolicy = PLAIN) -> Reports:
    daemon = world.daemons[label]
    known = views(world, daemon)
    return Reports(daemon.key, known, forecast(daemon.key, policy, known, (), WALL), WALL)


def walk(answer: dict[str, object]) -> list[tuple[str, str, str]]:
    steps = answer["steps"]
    assert isinstance(steps, list)
    assert all(step["rule"] for step in steps)
    return [(step["mesh"], step["from"], step["to"]) for step in steps]


def test_why_names_every_bridge_and_every_mesh_on_the_way() -> None:
    world = chain()
    to = str(world.daemons["four"].address(world["d"]))
    answer = reports(world, "one").why(to)
    assert answer["reached"]
    assert walk(answer) == [("a", "here", "ab"), ("b", "ab", "bc"), ("c", "bc", "cd"), ("d", "cd", to)]


def test_why_of_a_bridge_begins_in_the_mesh_that_is_nearer() -> None:
    world = chain()
    to = str(world.daemons["four"].address(world["d"]))
    assert walk(reports(world, "bc", BRIDGE).why(to)) == [("c", "here", "cd"), ("d", "cd", to)]


def test_why_of_a_member_goes_to_it() -> None:
    world = chain()
    address = world.daemons["ab"].address(world["a"])
    for text in (str(address), "ab", node_id(world.daemons["ab"].key)):
        answer = reports(world, "one").why(text)
        assert (answer["destination"], answer["name"]) == (str(address), "ab in a")
        assert walk(answer) == [("a", "here", "ab")]


def test_why_of_oneself_has_no_steps() -> None:
    world = chain()
    answer = reports(world, "one").why("one")
    assert (answer["reached"], answer["steps"]) == (True, [])


@pytest.mark.parametrize("text", ["2001:db8:9::1", "fd00::1"])
def test_what_nobody_offers_is_not_reached_and_it_says_why(text: str) -> None:
    answer = reports(chain(), "one").why(text)
    assert not answer["reached"]
    assert "offers" in answer["problem"]


def test_an_address_that_nobody_has_is_not_reached() -> None:
    world = chain()
    nobody = str(overlay_prefix(world["a"].id)[1])
    answer = reports(world, "one").why(nobody)
    assert not answer["reached"]
    assert f"nobody in a has the address {nobody}" in answer["problem"]


def test_who_is_dead_is_not_reached() -> None:
    world = chain()
    world.daemons["ab"].alive = False
    world.settle()
    answer = reports(world, "one").why("ab")
    assert not answer["reached"]
    assert "thought dead" in answer["problem"]


@pytest.mark.parametrize("text", ["", "nobody", "2001:db8::g", "192.0.2.1"])
def test_what_is_neither_address_nor_member_is_refused(text: str) -> None:
    with pytest.raises(LocalError):
        reports(chain(), "one").why(text)


def test_a_prefix_behind_a_node_ends_at_that_node() -> None:
    world = chain()
    world.add("gateway", "b", RoutePolicy(behind=frozenset({LAN})))
    world.settle()
    to = "2001:db8:1::7"
    assert walk(reports(world, "one").why(to)) == [("a", "here", "ab"), ("b", "ab", "gateway"), ("", "gateway", to)]


def test_who_does_not_take_default_routes_is_told_how() -> None:
    world = Meshes("a")
    world.add("exit", "a", RoutePolicy(behind=frozenset({DEFAULT})))
    world.add("shy", "a")
    keen = RoutePolicy(general=MeshPolicy(accept_defaults=True))
    world.add("keen", "a", keen)
    world.settle()
    away = "2a00:1450::1"
    assert "acceptDefaults" in reports(world, "shy").why(away)["problem"]
    assert walk(reports(world, "keen", keen).why(away)) == [("a", "here", "exit"), ("", "exit", away)]


def test_routes_shows_each_way_and_which_is_taken() -> None:
    world = chain()
    world.add("ab2", "ab", BRIDGE)
    world.add("abc", "ac", BRIDGE)
    world.settle()
    rows = reports(world, "one").routes(None)["routes"]
    to_c = [row for row in rows if row["prefix"] == str(overlay_prefix(world["c"].id))]
    assert [(row["via"], row["state"], row["path"], row["bridges"]) for row in to_c if row["via"] == "abc"] == [
        ("abc", "chosen", ["a", "c"], ["abc"])
    ]
    assert {row["state"] for row in to_c if row["via"] != "abc"} == {"longer"}
    to_b = [row for row in rows if row["prefix"] == str(overlay_prefix(world["b"].id)) and len(row["path"]) == 2]
    assert {row["via"] for row in to_b} == {"ab", "ab2"}
    shares = [IPv6Network(part) for row in to_b for part in row["parts"]]
    assert sum(share.num_addresses for share in shares) == 2**64
    offers = reports(world, "ab", BRIDGE).routes(None)["offers"]
    assert ("a", str(overlay_prefix(world["b"].id)), ["b"]) in [(o["mesh"], o["prefix"], o["path"]) for o in offers]


def test_a_forecast_without_a_bridge_shows_who_takes_over() -> None:
    world = chain()
    second = world.add("ab2", "ab", BRIDGE)
    world.settle()
    one = world.daemons["one"]
    mesh = world["a"].id
    routes = forecast(one.key, RoutePolicy(), views(world, one), {world.daemons["ab"].key}, WALL).routes[mesh].routes
    assert {route.via for route in routes} == {second.key}


def test_of_a_default_route_in_shards_every_exit_that_has_some_is_chosen() -> None:
    world = Meshes("a")
    exits = [world.add(f"exit{number}", "a", RoutePolicy(behind=frozenset({DEFAULT}))) for number in range(3)]
    keen = RoutePolicy(general=MeshPolicy(accept_defaults=True), shard_bits=5)
    world.add("keen", "a", keen)
    world.settle()
    rows = [row for row in reports(world, "keen", keen).routes(None)["routes"] if row["prefix"] == "::/0"]
    assert {row["via"] for row in rows} == {exit_.label for exit_ in exits}
    assert {row["state"] for row in rows} == {"chosen"}
    assert sum(len(row["parts"]) for row in rows) == 1 + 2**5
