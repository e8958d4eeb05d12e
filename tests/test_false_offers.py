"""What members say in a mesh to draw traffic, to break others or to tire them, and that it gains them nothing."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.keys import NodeKey
from smeg.offer_budget import choose
from smeg.offer_labels import bodies
from smeg.shares import part_of
from smeg.speaker import LOOK_BURST
from smeg.ways import Hop, Offer, Way, pack_ways, seal_way
from tests.builders import QUICK, WALL, MadeMesh, grant, secret
from tests.routed_meshes import BRIDGE, Daemon, Meshes, Papers, annex, forge, mute

LAN = IPv6Network("2001:db8:1::/48")
WIDE = grant(prefixes=("::/0",))


def behind(daemon: Daemon, mesh: MadeMesh, prefix: IPv6Network) -> Offer:
    """That a member has a prefix behind itself."""
    return Offer(prefix, (Way((Hop("", daemon.key, 0, part_of(daemon.address(mesh))),)),))


def parts_of(prefix: IPv6Network) -> list[IPv6Network]:
    first = prefix.network_address
    return [prefix, *(IPv6Network((first, length)) for length in (65, 69, 96, 128))]


# Prefixes of others.


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("first", ["liar", "bridge"])
def test_a_member_draws_nothing_that_is_for_another_mesh_whatever_its_certificate_allows(
    which: int, first: str
) -> None:
    world = Meshes("a", "b")
    one = world.add("one", "a")
    liar = world.add("liar", "a", given=WIDE)
    world.settle()
    overlay = overlay_prefix(world["b"].id)
    if first == "bridge":
        world.add("bridge", "ab", BRIDGE)
        world.settle()
    forge(world, liar, behind(liar, world["a"], parts_of(overlay)[which]))
    world.settle()
    if first == "liar":
        world.add("bridge", "ab", BRIDGE)
    world.settle()
    world.wait()
    assert one.vias(world["a"]) == {overlay: world.daemons["bridge"].key}


def test_a_member_draws_nothing_that_is_for_another_member() -> None:
    world = Meshes("a")
    one, other = world.add("one", "a"), world.add("other", "a")
    liar = world.add("liar", "a", given=WIDE)
    overlay = overlay_prefix(world["a"].id)
    wider = [overlay.supernet(new_prefix=length) for length in (8, 48)]
    prefixes = [*wider, *parts_of(overlay), IPv6Network(other.address(world["a"]))]
    forge(world, liar, *(behind(liar, world["a"], prefix) for prefix in prefixes))
    world.settle()
    assert one.vias(world["a"]) == {}
    (alarm,) = one.alarms
    assert f"and {len(prefixes) - 1} others likewise" in alarm.problem.message


def test_what_leads_into_a_mesh_and_what_is_behind_a_node_are_no_ways_of_one_offer() -> None:
    world = Meshes("a", "b")
    one = world.add("one", "a")
    liar = world.add("liar", "ab", given=WIDE)
    place, b = part_of(liar.address(world["a"])), world["b"].id
    ways = (Way((Hop(b, liar.key, 0, place, mask=1),)), Way((Hop("", liar.key, 0, place, mask=2),)))
    papers: Papers = {(b, liar.key): tuple(liar.papers[b].certificates)}
    forge(world, liar, Offer(overlay_prefix(b), ways), papers=papers)
    world.settle()
    assert one.vias(world["a"]) == {}
    assert "in kind" in one.alarms[0].problem.message


# Nonsense.


@pytest.mark.parametrize("label", ["2001:db8:1::%1/48", "2001:db8:1::%a b/48", "2001:DB8:1::/48", "2001:db8:1::5/48"])
def test_a_prefix_that_is_written_otherwise_is_none(label: str) -> None:
    world = Meshes("a")
    one = world.add("one", "a")
    liar = world.add("liar", "a", given=WIDE)
    world.settle()
    mesh = world["a"].id
    way = seal_way(behind(liar, world["a"], LAN).ways[0], LAN, mesh, secret("person/liar"))
    mute(world, liar)
    world.say(mesh, liar.key, [annex(mesh, liar.key, f"offer:{label}", pack_ways([way]))])
    world.settle()
    assert one.vias(world["a"]) == {}


LABELS = st.one_of(
    st.text(max_size=40),
    st.builds("offer:{}".format, st.one_of(st.text(max_size=30), st.ip_addresses(v=6).map(str))),
    st.builds("offer:{}/{}".format, st.ip_addresses(v=6), st.integers(0, 200)),
    st.builds("paper:{}".format, st.text(max_size=30)),
)
HOPS = st.builds(
    Hop,
    st.sampled_from(["", *(MadeMesh(label).id for label in "abc")]),
    st.one_of(st.binary(min_size=32, max_size=32).map(NodeKey), st.just(NodeKey(bytes(32)))),
    st.integers(0, 31),
    st.integers(0, 31),
    st.integers(1, 255),
    st.integers(1, 2**32 - 1),
    signature=st.binary(min_size=64, max_size=64),
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.lists(HOPS, min_size=1, max_size=4).map(lambda hops: Way(tuple(hops))), min_size=1, max_size=4).map(
        pack_ways
    ),
)


@QUICK
@given(st.dictionaries(LABELS, BODIES, max_size=6))
def test_whatever_a_member_writes_costs_nobody_a_route(said: dict[str, bytes]) -> None:
    world = Meshes("a", "b")
    one = world.add("one", "a")
    world.add("bridge", "ab", BRIDGE)
    liar = world.add("liar", "a", given=WIDE)
    world.settle()
    before = one.vias(world["a"])
    mesh = world["a"].id
    mute(world, liar)
    world.say(mesh, liar.key, [annex(mesh, liar.key, label, body) for label, body in said.items()])
    world.settle()
    assert one.vias(world["a"]) == before


# What tires others.


def junk(world: Meshes, liar: Daemon, count: int) -> dict[str, bytes]:
    """What a member may say that has made many meshes of its own, which nobody else is in."""
    mesh, place = world["a"].id, part_of(liar.address(world["a"]))
    offers: dict[IPv6Network, Offer] = {}
    papers: Papers = {(mesh, liar.key): tuple(liar.papers[mesh].certificates)}
    for number in range(count):
        made = MadeMesh(f"{liar.label} {number}", persons=True)
        papers[made.id, liar.key] = tuple(made.founder(liar.label).certificates)
        prefix = overlay_prefix(made.id)
        offers[prefix] = Offer(prefix, (Way((Hop(made.id, liar.key, 3, place),)),))
    return bodies(mesh, offers, papers, secret(f"person/{liar.label}"))


def look(world: Meshes, daemon: Daemon) -> dict[IPv6Network, NodeKey]:
    """Let one daemon alone look at what there is; its routes in mesh a."""
    daemon.table.handle(m.Tick(), world.now)
    for said in daemon.table.settle(world.now):
        if isinstance(said, m.RoutesChanged):
            daemon.routes[said.mesh] = said
    return daemon.vias(world["a"])


def test_who_says_something_new_without_end_is_looked_at_ever_later_and_what_it_said_stands() -> None:
    world = Meshes("a", "b")
    one = world.add("one", "a")
    liar = world.add("liar", "a")
    world.add("bridge", "ab", BRIDGE)
    mute(world, liar)
    world.settle()
    mesh, said = world["a"].id, junk(world, liar, 2)
    big = bytes(6000)
    rounds = int(LOOK_BURST / 1_000_000) + 5
    for number in range(rounds):
        # One paper fewer each time: all of them have to be read again.
        papers = {f"paper:{index}": big + bytes([index]) for index in range(200 - number)}
        found = {**said, **papers, "offer:2001:db8:77::/48": bytes([number + 1]) * 5000}
        found |= {f"offer:2001:db8:{index:x}::/48": bytes([number + 1]) * 5600 for index in range(100, 230)}
        world.say(mesh, liar.key, [annex(mesh, liar.key, label, body) for label, body in found.items()])
        one.table.handle(m.AnnexesChanged(mesh, number, dict(world.annexes[mesh])), world.now)
        look(world, one)
    due = one.table.next_deadline()
    assert due is not None
    assert due > world.now
    assert len(look(world, one)) == 3
    # Once it is calm, what it says then counts.
    world.say(mesh, liar.key, [])
    world.settle()
    assert len(one.vias(world["a"])) == 3
    world.now = due + 60.0
    assert look(world, one).keys() == {overlay_prefix(world["b"].id)}


def test_who_makes_up_meshes_without_end_takes_no_room_from_others() -> None:
    world = Meshes("a", "b", "c")
    bridge = world.add("bridge", "ab", BRIDGE)
    world.add("other", "ac", BRIDGE)
    mesh, into, most = world["a"].id, world["b"].id, 60
    for liar in [world.add(f"liar {number}", "a") for number in range(3)]:
        mute(world, liar)
        said = junk(world, liar, 20)
        world.say(mesh, liar.key, [annex(mesh, liar.key, label, body) for label, body in said.items()])
    world.settle()
    offers = bridge.offers[into].offers
    chosen = choose(into, offers, bridge.offers[into].passports, most)
    assert {overlay_prefix(world[label].id) for label in "ac"} <= chosen.offers.keys()
    assert chosen.left_out == len(offers) - len(chosen.offers) > 0
    assert most - 5 < len(bodies(into, chosen.offers, chosen.passports, secret("person/bridge"))) <= most


PATHS = st.lists(st.integers(1, 4).map(lambda number: NodeKey(bytes([number]) * 32)), min_size=1, max_size=4)


@QUICK
@given(st.lists(PATHS, max_size=12), st.integers(0, 12))
def test_room_goes_in_turn_to_those_from_whom_offers_are_heard(paths: list[list[NodeKey]], most: int) -> None:
    mesh, own = MadeMesh("a").id, NodeKey(bytes(32))
    ways = [Way(tuple(Hop(mesh, node, 0, 0) for node in [*path, own])) for path in paths]
    offers = {prefix: Offer(prefix, (way,)) for prefix, way in zip(LAN.subnets(4), ways, strict=False)}
    chosen = choose(mesh, offers, {}, most)
    assert len(chosen.offers) == min(len(offers), most) == len(offers) - chosen.left_out
    heard_from = {prefix: offer.ways[0].hops[-2].node for prefix, offer in offers.items()}
    has = Counter(heard_from[prefix] for prefix in chosen.offers)
    for prefix in offers.keys() - chosen.offers.keys():
        assert max(has.values(), default=0) <= has[heard_from[prefix]] + 1


def test_a_thousand_false_offers_make_one_alarm_and_the_same_again_none() -> None:
    world = Meshes("a")
    one = world.add("one", "a")
    liar = world.add("liar", "a")
    mute(world, liar)
    mesh = world["a"].id
    false = {f"offer:2001:db8:{number:x}::/48": b"nothing" for number in range(1000)}
    for extra in ("x", "y"):
        said = {**false, extra: b"something else"}
        world.say(mesh, liar.key, [annex(mesh, liar.key, label, body) for label, body in said.items()])
        world.settle()
    assert len(one.alarms) == 1


# Certificates of other meshes.


def renewed(world: Meshes, bridge: Daemon, label: str, expires: int) -> None:
    mesh = world[label]
    bridge.papers[mesh.id] = mesh.founder(bridge.label, serial=2, given=grant(expires=expires))


def test_a_certificate_that_was_renewed_is_passed_on_before_the_old_one_expires() -> None:
    world = Meshes("a", "b", "c")
    first = world.add("first", "ab", BRIDGE)
    world.add("second", "bc", BRIDGE)
    for label in "ab":
        first.papers[world[label].id] = world[label].founder("first", given=grant(expires=WALL + 100))
    far = world.add("far", "c")
    world.settle()
    assert overlay_prefix(world["a"].id) in far.vias(world["c"])
    for label in "ab":
        renewed(world, first, label, WALL + 9000)
    world.settle()
    world.now += 60.0
    for daemon in world.daemons.values():
        daemon.table._wall = lambda: WALL + 200
        daemon.table.handle(m.Tick(), world.now)
    world.settle()
    assert overlay_prefix(world["a"].id) in far.vias(world["c"])


def test_what_expires_while_nothing_is_said_ends_within_a_minute_and_returns_with_the_clock() -> None:
    world = Meshes("a", "b")
    one = world.add("one", "a")
    world.add("bridge", "ab", BRIDGE, given=grant(expires=WALL + 100))
    world.settle()
    wall = WALL
    one.table._wall = lambda: wall

    def look_again() -> dict[IPv6Network, NodeKey]:
        due = one.table.next_deadline()
        assert due is not None
        assert due <= world.now + 60.0
        world.now = due
        return look(world, one)

    assert len(one.vias(world["a"])) == 1
    wall = WALL + 200
    assert look_again() == {}
    wall = WALL
    assert len(look_again()) == 1
