"""Which routes a daemon takes and offers, with real certificates: bridges, exits, filters, and what does not count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.annexes import Annex
from smeg.certificates import Grant
from smeg.config_values import rule
from smeg.heard_offers import BACK
from smeg.keys import NodeKey
from smeg.own_offers import AFTER_START
from smeg.path_vector import HOLD
from smeg.route_policy import MeshPolicy, PrefixFilter, PrefixRule, RoutePolicy
from smeg.routed_mesh import APART
from smeg.routing import STANDS
from smeg.shares import DEFAULT, part_of
from smeg.ways import Hop, Offer, Way
from tests.builders import QUICK, WALL, grant
from tests.routed_meshes import BRIDGE, Daemon, Meshes, bridging, chain, forge

LAN = IPv6Network("2001:db8:1::/48")


def rules(texts: Iterable[str]) -> PrefixFilter:
    found = [rule(text) for text in texts]
    return PrefixFilter(tuple(each for each in found if isinstance(each, PrefixRule)))


def test_a_way_over_three_bridges_is_found_and_proven_to_who_knows_none_of_them() -> None:
    world = chain()
    one, four = world.daemons["one"], world.daemons["four"]
    assert one.vias(world["a"]) == {overlay_prefix(world[each].id): world.daemons["ab"].key for each in "bcd"}
    assert four.vias(world["d"]) == {overlay_prefix(world[each].id): world.daemons["cd"].key for each in "abc"}
    middle = world.daemons["bc"]
    assert middle.vias(world["b"]) == {overlay_prefix(world["a"].id): world.daemons["ab"].key}
    assert middle.vias(world["c"]) == {overlay_prefix(world["d"].id): world.daemons["cd"].key}
    assert not [alarm for daemon in world.daemons.values() for alarm in daemon.alarms]


def test_routes_that_change_twice_in_a_moment_are_told_at_once_and_then_once_more() -> None:
    world = chain()
    one, mesh, annexes = world.daemons["one"], world["a"].id, world.annexes[world["a"].id]

    def told(annexes: dict[NodeKey, dict[str, Annex]], now: float) -> list[int]:
        one.table.handle(m.AnnexesChanged(mesh, 1, annexes), now)
        return [len(said.routes) for said in one.table.settle(now) if isinstance(said, m.RoutesChanged)]

    world.now += 1.0
    nothing: dict[NodeKey, dict[str, Annex]] = {}
    assert told(nothing, world.now) == [0]
    assert told(annexes, world.now + APART / 4) == []
    assert told(nothing, world.now + APART / 3) == []
    assert told(annexes, world.now + APART / 2) == []
    assert one.table.next_deadline() == world.now + APART
    assert told(annexes, world.now + APART) == [3]
    assert told(nothing, world.now + 3 * APART) == [0]


def test_an_offer_waits_for_the_own_device_and_a_withdrawal_for_nobody() -> None:
    world = chain()
    bridge, into, out_of = world.daemons["ab"], world["a"].id, world["b"].id
    far = overlay_prefix(world["d"].id)
    heard = dict(world.annexes[out_of])
    near_only = dict(heard)
    near_only[world.daemons["bc"].key] = {
        label: annex for label, annex in heard[world.daemons["bc"].key].items() if label != f"offer:{far}"
    }

    def told(annexes: dict[NodeKey, dict[str, Annex]], now: float) -> list[tuple[type[object], bool]]:
        bridge.table.handle(m.AnnexesChanged(out_of, 1, annexes), now)
        found: list[tuple[type[object], bool]] = []
        for said in bridge.table.settle(now):
            match said:
                case m.RoutesChanged(mesh) if mesh == out_of:
                    found.append((m.RoutesChanged, far in {route.prefix for route in said.routes}))
                case m.OffersChanged(mesh) if mesh == into:
                    found.append((m.OffersChanged, far in said.offers))
        return found

    told({}, world.now + 1.0)
    told({}, world.now + 1.0 + HOLD + APART)
    now = world.now + 10.0
    assert told(near_only, now) == [(m.RoutesChanged, False), (m.OffersChanged, False)]
    assert told(heard, now + APART / 2) == []
    assert bridge.table.next_deadline() == now + APART
    assert told(heard, now + APART) == [(m.RoutesChanged, True), (m.OffersChanged, True)]
    assert told(near_only, now + 3 * APART / 2) == [(m.OffersChanged, False)]
    assert told(near_only, now + 2 * APART) == [(m.RoutesChanged, False)]


OFFERED = [(bridge, mesh) for bridge in ("bc", "cb") for mesh in "cd"]
"""Which bridge of two offers which mesh."""
STEP = st.tuples(st.frozensets(st.sampled_from(OFFERED)), st.sampled_from((0.0, APART / 3, APART, HOLD)))
"""What is offered from now on, after so many seconds."""


def doubled() -> Meshes:
    """Four meshes in a chain, with two bridges between the second and the third."""
    world = Meshes("a", "b", "c", "d")
    for label, within in (("ab", "ab"), ("bc", "bc"), ("cb", "bc"), ("cd", "cd")):
        world.add(label, within, BRIDGE)
    world.settle()
    return world


@given(st.lists(STEP, max_size=12))
def test_what_is_offered_anew_is_what_the_own_device_does(
    steps: list[tuple[frozenset[tuple[str, str]], float]],
) -> None:
    world = doubled()
    bridge, into, out_of = world.daemons["ab"], world["a"].id, world["b"].id
    routes, offers, now = dict(bridge.routes), dict(bridge.offers[into].offers), world.now
    for heard, passed in (*steps, (frozenset(), HOLD), (frozenset(), HOLD)):
        now += passed
        left_out = {(name, f"offer:{overlay_prefix(world[mesh].id)}") for name, mesh in {*OFFERED} - heard}
        annexes = {
            world.daemons[name].key: {
                label: annex
                for label, annex in world.annexes[out_of].get(world.daemons[name].key, {}).items()
                if (name, label) not in left_out
            }
            for name in ("bc", "cb")
        }
        bridge.table.handle(m.AnnexesChanged(out_of, 1, annexes), now)
        for said in bridge.table.settle(now):
            if isinstance(said, m.RoutesChanged):
                routes[said.mesh] = said
            if isinstance(said, m.OffersChanged) and said.mesh == into:
                before, offers = offers, dict(said.offers)
                for prefix in (prefix for prefix, offer in offers.items() if offer != before.get(prefix)):
                    vias = {way.hops[-2].node for way in offers[prefix].ways if len(way.hops) > 1}
                    assert vias == {route.via for route in routes[out_of].routes if prefix.supernet_of(route.prefix)}
        deadline = bridge.table.next_deadline()
        assert deadline is None or deadline > now
    assert offers.keys() == {overlay_prefix(out_of)}


def test_when_a_bridge_dies_what_lies_behind_it_is_not_reached_until_it_is_back() -> None:
    world = chain()
    world.daemons["bc"].alive = False
    world.settle()
    world.wait()
    assert world.daemons["one"].vias(world["a"]).keys() == {overlay_prefix(world["b"].id)}
    world.daemons["bc"].alive = True
    world.settle()
    world.wait(BACK)
    assert len(world.daemons["one"].vias(world["a"])) == 3


def test_what_a_bridge_offered_before_it_was_away_counts_once_it_had_time_to_withdraw_it() -> None:
    world = chain()
    one, bridge = world.daemons["one"], world.daemons["ab"]
    bridge.alive = False
    world.settle()
    world.wait()
    bridge.alive = True
    world.settle()
    back_at = world.now
    # What is its own counts at once.
    assert one.vias(world["a"]).keys() == {overlay_prefix(world["b"].id)}
    world.wait(AFTER_START)
    assert one.vias(world["a"]).keys() == {overlay_prefix(world["b"].id)}
    assert one.table.next_deadline() == pytest.approx(back_at + BACK, abs=2 * APART)
    world.wait(BACK - AFTER_START)
    assert len(one.vias(world["a"])) == 3


def test_a_bridge_that_starts_takes_no_longer_way_than_it_offers_before_that_can_be_withdrawn() -> None:
    world = Meshes("a", "b", "c", "d")
    for label in ("ab", "bc", "bd", "dc"):
        world.add(label, label, BRIDGE)
    world.settle()
    a, beyond = world["a"].id, overlay_prefix(world["c"].id)
    offered = world.annexes[a][world.daemons["ab"].key]
    world.daemons["bc"].alive = False
    bridge = world.add("ab", "ab", BRIDGE)
    world.annexes[a][bridge.key] = offered
    world.settle()
    assert beyond not in bridge.vias(world["b"])
    world.wait(STANDS + HOLD)
    assert bridge.vias(world["b"])[beyond] == world.daemons["bd"].key


def test_a_mesh_that_is_left_is_no_longer_offered() -> None:
    world = chain()
    bridge = world.daemons["ab"]
    bridge.table.handle(m.MeshStopped(world["b"].id), world.now)
    del bridge.papers[world["b"].id]
    world.settle()
    assert bridge.offers[world["a"].id].offers == {}
    assert world.daemons["one"].vias(world["a"]) == {}


def test_bridging_is_a_choice_for_each_mesh() -> None:
    world = Meshes("a", "b", "c")
    policy = replace(BRIDGE, meshes={"c": MeshPolicy()})
    bridge = world.add("all", "abc", policy)
    world.settle()
    said = {label: set(bridge.offers[world[label].id].offers) for label in "abc"}
    assert said == {"a": {overlay_prefix(world["b"].id)}, "b": {overlay_prefix(world["a"].id)}, "c": set()}


def test_who_keeps_a_mesh_apart_that_others_join_with_those_that_it_bridges_is_told() -> None:
    world = Meshes("a", "b", "c")
    apart = world.add("apart", "abc", replace(BRIDGE, meshes={"c": MeshPolicy()}))
    whole = world.add("whole", "abc", BRIDGE)
    none = world.add("none", "abc")
    world.settle()
    assert {alarm.problem.code for alarm in apart.alarms} == {"bridged-around"}
    assert {alarm.mesh for alarm in apart.alarms} == {world["c"].id}
    assert len(apart.alarms) == 2
    assert whole.alarms == none.alarms == []


def test_what_is_set_for_a_mesh_by_its_name_is_not_for_another_that_is_called_the_same() -> None:
    world = Meshes("a", "b", "c")
    policy = RoutePolicy(meshes={"a": MeshPolicy(bridge=True), "b": MeshPolicy(bridge=True)})
    node = world.add("node", "ab", policy)
    world.settle()
    a, b, c = (world[label].id for label in "abc")
    assert node.offers[a].offers.keys() == {overlay_prefix(b)}
    # Somebody invites it into another mesh "a".
    node.papers[c] = world["c"].founder("node")
    world.names[c] = "a"
    world.settle()
    assert {mesh for mesh, said in node.offers.items() if said.offers} == set()
    assert {(alarm.mesh, alarm.problem.code) for alarm in node.alarms} == {(a, "name-doubled"), (c, "name-doubled")}
    node.table.handle(m.MeshStopped(c), world.now)
    del node.papers[c]
    world.settle()
    assert node.offers[a].offers.keys() == {overlay_prefix(b)}


# Prefixes behind nodes.


def leading(*prefixes: IPv6Network, **changes: object) -> RoutePolicy:
    return replace(RoutePolicy(behind=frozenset(prefixes)), **changes)  # type: ignore[arg-type]


def test_a_prefix_behind_a_node_is_reached_from_its_mesh_and_beyond() -> None:
    world = chain()
    gateway = world.add("gateway", "a", leading(LAN))
    world.settle()
    assert world.daemons["one"].vias(world["a"])[LAN] == gateway.key
    assert world.daemons["four"].vias(world["d"])[LAN] == world.daemons["cd"].key


def test_what_the_certificate_does_not_allow_is_not_offered_and_said() -> None:
    world = Meshes("a")
    world.add("one", "a")
    gateway = world.add("gateway", "a", leading(IPv6Network("2001:db9::/48")))
    world.settle()
    assert world.daemons["one"].vias(world["a"]) == {}
    (alarm,) = gateway.alarms
    assert alarm.problem.code == "advertise-refused"
    assert "--prefix 2001:db9::/48" in alarm.problem.hint


def lie(prefix: str, hop_mesh: str, given: Grant) -> tuple[Daemon, Meshes]:
    """What a node makes of a lie that a member tells."""
    world = Meshes("a", "b")
    one = world.add("one", "a")
    liar = world.add("liar", "a", given=given)
    named = overlay_prefix(world["b"].id) if prefix == "b" else IPv6Network(prefix)
    mesh = world["b"].id if hop_mesh else ""
    place = part_of(liar.address(world["a"]))
    forge(world, liar, Offer(named, (Way((Hop(mesh, liar.key, 3, place),)),)))
    world.settle()
    return one, world


@pytest.mark.parametrize(
    ("prefix", "hop_mesh"),
    [
        ("2001:db9::/48", ""),
        ("::/0", ""),
        ("::/1", ""),
        ("fe80::/16", ""),
        ("ff05::/16", ""),
        ("b", "b"),
        ("2001:db8:5::/48", "b"),
    ],
)
def test_an_offer_that_is_not_allowed_or_not_proven_changes_nothing_and_is_told(prefix: str, hop_mesh: str) -> None:
    half = ("::/1",) if prefix == "::/1" else ()
    given = grant(prefixes=("2001:db8::/32", "fe80::/10", "ff00::/8", *half))
    one, world = lie(prefix, hop_mesh, given)
    assert one.vias(world["a"]) == {}
    assert {alarm.problem.code for alarm in one.alarms} == {"route-refused"}
    assert "liar" in one.alarms[0].problem.message
    assert one.problems == {world["a"].id: ["route-refused"]}
    world.say(world["a"].id, world.daemons["liar"].key, [])
    world.settle()
    assert one.problems == {world["a"].id: []}


def test_a_prefix_inside_the_overlay_of_another_own_mesh_is_refused() -> None:
    world = Meshes("a", "b")
    inside = IPv6Network((overlay_prefix(world["b"].id).network_address, 80))
    two = world.add("two", "ab")
    liar = world.add("liar", "a", given=grant(prefixes=("fd00::/8",)))
    place = part_of(liar.address(world["a"]))
    forge(world, liar, Offer(inside, (Way((Hop("", liar.key, 3, place),)),)))
    world.settle()
    assert inside not in two.vias(world["a"])
    assert {alarm.problem.code for alarm in two.alarms} == {"route-refused"}


# Default routes.


def test_the_default_route_is_taken_by_who_wants_it_and_never_passed_on() -> None:
    world = Meshes("a", "b")
    willing = RoutePolicy(general=MeshPolicy(accept_defaults=True))
    gate = world.add("exit", "a", leading(DEFAULT))
    world.add("shy", "a")
    keen = world.add("keen", "a", willing)
    world.add("bridge", "ab", replace(BRIDGE, general=MeshPolicy(bridge=True, accept_defaults=True)))
    far = world.add("far", "b", willing)
    world.settle()
    assert keen.vias(world["a"])[DEFAULT] == gate.key
    assert DEFAULT not in world.daemons["shy"].vias(world["a"])
    assert DEFAULT not in far.vias(world["b"])


def test_an_exit_without_permission_is_none() -> None:
    world = Meshes("a")
    gate = world.add("exit", "a", leading(DEFAULT), given=grant(prefixes=("::/0",)))
    keen = world.add("keen", "a", RoutePolicy(general=MeshPolicy(accept_defaults=True)))
    world.settle()
    assert keen.vias(world["a"]) == {}
    assert "--exit" in gate.alarms[0].problem.hint


# Redundant exits.


def exits(count: int, seats: int, bits: int = 0) -> Meshes:
    world = Meshes("a")
    for number in range(count):
        world.add(f"exit {number}", "a", leading(LAN, weight=number + 1))
    for number in range(seats):
        world.add(f"seat {number}", "a", RoutePolicy(shard_bits=bits))
    world.settle()
    return world


def chosen(world: Meshes) -> dict[str, dict[IPv6Network, NodeKey]]:
    return {label: daemon.vias(world["a"]) for label, daemon in world.daemons.items() if label.startswith("seat")}


def test_only_the_share_of_a_dead_exit_moves_and_it_comes_back() -> None:
    world = exits(3, 20)
    before = chosen(world)
    assert len({via for routes in before.values() for via in routes.values()}) == 3
    lost = world.daemons["exit 1"]
    lost.alive = False
    world.settle()
    now = chosen(world)
    for label, routes in before.items():
        if routes[LAN] == lost.key:
            assert now[label][LAN] != lost.key
        else:
            assert now[label] == routes
    lost.alive = True
    world.settle()
    assert chosen(world) == before


def test_a_prefix_is_split_among_exits_where_that_is_wanted() -> None:
    world = exits(3, 1, bits=4)
    (routes,) = chosen(world).values()
    assert sorted(routes) == sorted(LAN.subnets(4))
    assert len(set(routes.values())) > 1


# What is sent from one's own address.


def test_a_node_in_two_meshes_that_bridges_none_answers_from_each_address_in_its_mesh() -> None:
    world = chain()
    both = world.add("both", "ad")
    world.settle()
    a, d = world["a"], world["d"]
    forward = both.vias(a) | both.vias(d)
    assert overlay_prefix(world["b"].id) in forward
    from_a, from_d = both.vias(a, own=True) | both.vias(a), both.vias(d, own=True) | both.vias(d)
    assert from_a[overlay_prefix(d.id)] == world.daemons["ab"].key
    assert from_d[overlay_prefix(a.id)] == world.daemons["cd"].key


def test_a_bridge_beside_another_sends_from_its_own_address_as_any_member_there_would() -> None:
    world = Meshes("a", "b")
    first, second = world.add("first", "ab", BRIDGE), world.add("second", "ab", BRIDGE)
    ends = [world.add(f"end {number}", "b") for number in range(12)]
    world.settle()
    to_a, to_b = overlay_prefix(world["a"].id), overlay_prefix(world["b"].id)
    here = first.address(world["a"])
    for end in ends:
        towards = next(via for part, via in end.vias(world["b"]).items() if here in part)
        there = end.address(world["b"])
        back = next((via for part, via in first.vias(world["a"], own=True).items() if there in part), first.key)
        assert towards == back
    assert {via for end in ends for via in end.vias(world["b"]).values()} == {first.key, second.key}
    assert to_a.prefixlen == to_b.prefixlen == 64


# Filters, and beginning.


def test_what_a_filter_holds_back_is_neither_taken_nor_offered() -> None:
    world = chain()
    refusing = rules([f"!{overlay_prefix(world['d'].id)}"])
    picky = world.add("picky", "a", RoutePolicy(general=MeshPolicy(imports=refusing)))
    world.add("ab", "ab", bridging(general=MeshPolicy(bridge=True, exports=rules(["fd00::/8"]))))
    world.add("gateway", "b", leading(LAN))
    world.settle()
    assert picky.vias(world["a"]).keys() == {overlay_prefix(world[each].id) for each in "bc"}
    assert LAN in world.daemons["bc"].vias(world["b"])
    assert LAN not in picky.vias(world["a"])


@QUICK
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=4), st.integers(8, 16))
def test_the_first_rule_that_holds_a_prefix_decides(drawn: list[tuple[int, bool]], length: int) -> None:
    texts = [f"{'' if passes else '!'}{IPv6Network((0x2000 << 112, bits))}" for bits, passes in drawn if bits >= 4]
    prefix = IPv6Network((0x2000 << 112, length))
    held = [not text.startswith("!") for text in texts if prefix.subnet_of(IPv6Network(text.removeprefix("!")))]
    expected = held[0] if held else all(text.startswith("!") for text in texts)
    assert rules(texts).passes(prefix) is expected


def test_a_daemon_that_comes_back_says_nothing_until_its_meshes_have_started() -> None:
    world = Meshes("a", "b")
    bridge = world.add("bridge", "ab", BRIDGE)
    a, b = world["a"].id, world["b"].id
    for mesh in (a, b):
        bridge.table.handle(m.MembersChanged(mesh, 1, world.members(mesh)), 0.0)
    bridge.table.handle(m.MeshStarted(a, "a", "", "smeg0"), 0.0)
    assert not [message for message in bridge.table.settle(0.0) if isinstance(message, m.OffersChanged)]
    bridge.table.handle(m.MeshStarted(b, "b", "", "smeg1"), 0.5)
    said = {message.mesh for message in bridge.table.settle(0.5) if isinstance(message, m.OffersChanged)}
    assert said == {a, b}


def test_who_has_nothing_to_offer_says_so_once_it_knows() -> None:
    world = Meshes("a")
    one = world.add("one", "a")
    world.settle()
    assert one.offers[world["a"].id].offers == {}
    assert one.table.next_deadline() is None


def test_an_offer_ends_with_the_certificate_that_proves_it() -> None:
    world = Meshes("a", "b")
    one = world.add("one", "a")
    world.add("bridge", "ab", BRIDGE, given=grant(expires=WALL + 100))
    world.settle()
    assert len(one.vias(world["a"])) == 1
    later = WALL + 200
    one.table._wall = lambda: later
    one.table.handle(m.Tick(), world.now)
    world.settle()
    assert one.vias(world["a"]) == {}
