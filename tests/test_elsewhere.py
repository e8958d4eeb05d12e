"""Mistakes that have been made in routing elsewhere, one after the other, and that none of them is made here.

`docs/routing.md` lists them, with the tests of other files that show the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.certificates import Role
from smeg.device import Endpoint
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import Member, OwnRecord
from smeg.route_policy import MeshPolicy, RoutePolicy
from smeg.shares import DEFAULT
from smeg.wanted import View, wanted
from tests.builders import QUICK, Desk, MadeMesh, Node, grant
from tests.routed_meshes import BRIDGE, Meshes

LAN = IPv6Network("2001:db8:1::/48")
HOME = MadeMesh("elsewhere")
FOUNDER = HOME.founder()


def leading(*prefixes: IPv6Network, keen: bool = False) -> RoutePolicy:
    return RoutePolicy(frozenset(prefixes), general=MeshPolicy(accept_defaults=keen))


# Exits.


def test_each_node_chooses_for_itself_among_exits_and_an_exit_chooses_none() -> None:
    world = Meshes("a")
    exits = {world.add(f"exit {number}", "a", leading(LAN, DEFAULT, keen=True)).key for number in range(3)}
    seats = [world.add(f"seat {number}", "a", leading(keen=True)) for number in range(12)]
    world.settle()
    for prefix in (LAN, DEFAULT):
        assert {seat.vias(world["a"])[prefix] for seat in seats} == exits
    for daemon in world.daemons.values():
        if daemon.key in exits:
            assert daemon.vias(world["a"]) == {}


def test_prefixes_that_differ_in_length_alone_are_different_routes() -> None:
    world = Meshes("a")
    prefixes = [IPv6Network((LAN.network_address, length)) for length in (48, 52, 64, 128)]
    gates = {prefix: world.add(f"gate {prefix.prefixlen}", "a", leading(prefix)) for prefix in prefixes}
    one = world.add("one", "a")
    world.settle()
    assert one.vias(world["a"]) == {prefix: gate.key for prefix, gate in gates.items()}


def test_a_default_route_enters_no_other_mesh_whoever_bridges_and_accepts_it() -> None:
    world = Meshes("a", "b", "c")
    keen = replace(BRIDGE, general=MeshPolicy(bridge=True, accept_defaults=True))
    world.add("exit", "a", replace(keen, behind=frozenset({DEFAULT})))
    for label, within in (("first", "ab"), ("second", "ab"), ("third", "bc"), ("fourth", "ac")):
        world.add(label, within, keen)
    far = [world.add(f"far {each}", each, leading(keen=True)) for each in "bc"]
    world.settle()
    for daemon, each in zip(far, "bc", strict=True):
        assert DEFAULT not in daemon.vias(world[each])
    offered = {mesh: offers for daemon in world.daemons.values() for mesh, offers in daemon.offers.items()}
    assert not any(DEFAULT in offered[world[each].id].offers for each in "bc")


# Paths.


def test_a_shorter_way_replaces_all_equals_of_the_longer_one_and_they_all_return() -> None:
    world = Meshes("a", "b", "c")
    seats = [world.add(f"seat {number}", "a") for number in range(12)]
    longer = {world.add(f"long {number}", "ab", BRIDGE).key for number in range(3)}
    world.add("on", "bc", BRIDGE)
    short = world.add("short", "ac", BRIDGE)
    short.alive = False
    world.settle()
    to = overlay_prefix(world["c"].id)

    def through() -> list[set[NodeKey]]:
        routes = [seat.vias(world["a"]) for seat in seats]
        return [{via for prefix, via in found.items() if prefix.subnet_of(to)} for found in routes]

    before = through()
    assert {way.via for way in seats[0].table.ways.candidates(to)} == longer
    assert all(found and found <= longer for found in before)
    short.alive = True
    world.settle()
    assert through() == [{short.key}] * len(seats)
    short.alive = False
    world.settle()
    world.wait()
    assert through() == before


def test_a_way_that_becomes_longer_is_taken_without_being_withdrawn_first() -> None:
    world = Meshes("a", "b", "c")
    one = world.add("one", "a")
    bridge = world.add("bridge", "abc", BRIDGE)
    world.add("other", "bc", BRIDGE)
    world.settle()
    to = overlay_prefix(world["c"].id)
    assert one.table.ways.taken(to)[0].way.hops[-1].mesh == world["c"].id
    bridge.table.handle(m.MeshStopped(world["c"].id), world.now)
    del bridge.papers[world["c"].id]
    world.settle()
    world.wait()
    assert one.vias(world["a"])[to] == bridge.key
    assert len(one.table.ways.taken(to)[0].way.hops) == 2


# What one member says and others have to live with.


def members(*nodes: Node) -> Members:
    desk = Desk(HOME.id)
    for node in nodes:
        place = (Endpoint(f"{node.label}.invalid" if "nowhere" in node.label else "192.0.2.9", 51820),)
        desk.take([*node.certificates, node.record(1, OwnRecord(node.label, (), place)).raw])
    return desk.members


def resolved(asked: Sequence[Member]) -> list[Endpoint | None]:
    places = [member.record.wireguard[0] for member in asked]
    return [None if place.host.endswith(".invalid") else place for place in places]


def view(own: Node, known: Members, *dead: Node) -> View:
    return View(HOME.id, own.key, known, frozenset(node.key for node in dead), (), 51820, 1420, 25)


@QUICK
@given(st.sets(st.integers(0, 5), max_size=6))
def test_whose_endpoint_leads_nowhere_hinders_nobody_else(nowhere: set[int]) -> None:
    others = [HOME.founder(f"{'nowhere' if number in nowhere else 'here'}-{number}") for number in range(6)]
    state = wanted(view(FOUNDER, members(FOUNDER, *others)), resolved)
    assert state is not None
    found = {peer.public_key: (peer.endpoint is None, len(peer.allowed_ips)) for peer in state.peers.values()}
    assert found == {other.wireguard_key: ("nowhere" in other.label, 1) for other in others}


def test_a_client_whose_peers_are_all_gone_has_an_interface_that_leads_to_nobody() -> None:
    client = HOME.joined("client", HOME.invite("client", given=grant(Role.CLIENT)), FOUNDER, given=grant(Role.CLIENT))
    known = members(FOUNDER, client)
    state = wanted(view(client, known), resolved)
    assert state is not None
    assert len(state.peers) == 1
    for lonely in (view(client, known, FOUNDER), view(client, members(FOUNDER, client).change({FOUNDER.key: None}))):
        state = wanted(lonely, resolved)
        assert state is not None
        assert state.peers == {}
        assert len(state.addresses) == 1
