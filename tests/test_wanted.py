"""What a device should look like, from members, liveness and routes: each prefix goes to one peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv6Interface, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from smeg.addresses import overlay_prefix
from smeg.carriers import hops
from smeg.certificates import Role
from smeg.device import DeviceState, Endpoint
from smeg.keys import NodeKey, x25519_public
from smeg.members import Members
from smeg.own_record import OwnRecordWriter
from smeg.records import Member, OwnRecord, Route
from smeg.rings import Rings
from smeg.shares import WHOLE, prefixes
from smeg.wanted import View, joined, wanted
from tests.builders import QUICK, Desk, MadeMesh, Node, grant

MESH = MadeMesh("wanted")
OVERLAY = overlay_prefix(MESH.id)
WIDE = grant(prefixes=("::/0",))
PREFIXES = [IPv6Network(f"2001:db8:{4 * index:x}::/{length}") for index in range(3) for length in (46, 48, 64)]


@cache
def nodes() -> list[Node]:
    founder = MESH.founder("founder")
    clients = MESH.invite("clients", uses=3, given=grant(Role.CLIENT, ("::/0",)))
    peers = [MESH.founder(f"peer {index}", given=WIDE) for index in range(5)]
    joined = [MESH.joined(f"client {i}", clients, founder, given=grant(Role.CLIENT, ("::/0",))) for i in range(3)]
    return sorted([founder, *peers, *joined], key=lambda node: node.key)


def members() -> Members:
    desk = Desk(MESH.id)
    for node in nodes():
        desk.take([*node.certificates, node.record(1).raw])
    assert len(desk.members) == len(nodes())
    return desk.members


Behind = dict[int, list[IPv6Network]]
"""By index of a node, the prefixes that it has behind itself."""


def routed(known: Members, behind: Behind, pruned: frozenset[NodeKey]) -> tuple[Route, ...]:
    """Each prefix through the lowest living node that has it."""
    found: dict[IPv6Network, Route] = {}
    prefixes = {nodes()[index].key: each for index, each in behind.items()}
    for key in known:
        for prefix in prefixes.get(key, ()) if key not in pruned else ():
            found.setdefault(prefix, Route(prefix, key))
    return tuple(found[prefix] for prefix in sorted(found))


def nowhere(members: Sequence[Member]) -> list[None]:
    return [None for _ in members]


def first_place(members: Sequence[Member]) -> list[Endpoint | None]:
    return [next(iter(member.record.wireguard), None) for member in members]


def device(
    own: Node, known: Members, pruned: frozenset[NodeKey] = frozenset(), behind: Behind | None = None
) -> DeviceState:
    view = View(MESH.id, own.key, known, pruned, routed(known, behind or {}, pruned), 51820, 1420, 25)
    made = wanted(view, nowhere)
    assert made is not None
    return made


def allowed(state: DeviceState) -> dict[IPv6Network, bytes]:
    """Which peer gets each prefix; a prefix that two got is a failure."""
    found: dict[IPv6Network, bytes] = {}
    for key, peer in state.peers.items():
        assert peer.public_key == key
        assert list(peer.allowed_ips) == sorted(peer.allowed_ips)
        for prefix in peer.allowed_ips:
            assert prefix not in found
            found[prefix] = key
    return found


INDEXES = st.sampled_from(range(9))


@QUICK
@given(
    INDEXES,
    st.frozensets(INDEXES, max_size=5),
    st.dictionaries(INDEXES, st.lists(st.sampled_from(PREFIXES), max_size=5)),
)
def test_every_prefix_is_one_peers_and_follows_the_address_of_who_has_it(
    own: int, dead: frozenset[int], behind: Behind
) -> None:
    known, pruned = members(), frozenset(nodes()[index].key for index in dead - {own})
    me = known[nodes()[own].key]
    state = device(nodes()[own], known, pruned, behind)
    given_ = allowed(state)
    ways = hops(me, known, pruned)
    assert set(state.peers) == {known[key].standing.wireguard for key in ways.neighbours}
    for key, through in ways.to.items():
        assert given_[IPv6Network(known[key].address)] == known[through].standing.wireguard
    assert IPv6Network(me.address) not in given_
    assert state.addresses == (IPv6Interface((me.address, 128)),)
    for route in routed(known, behind, pruned):
        hop = ways.via(route.via) if route.via != me.key else None
        assert given_.get(route.prefix) == (known[hop].standing.wireguard if hop is not None else None)
        assert (route.prefix in state.unmarked_routes) == (hop is not None)
    assert {prefix for prefix in given_ if not prefix.subnet_of(OVERLAY)} <= {*PREFIXES}


def test_a_peer_has_tunnels_with_all_peers_and_with_those_clients_that_chose_it() -> None:
    known = members()
    peers = {key for key, member in known.items() if member.role is Role.PEER}
    for node in nodes():
        if node.key in peers:
            chose = {key for key in known.keys() - peers if node.key in known.rings.favourites(key)}
            expected = {known[key].standing.wireguard for key in (peers - {node.key}) | chose}
            assert set(device(node, known).peers) == expected


@QUICK
@given(st.frozensets(INDEXES, max_size=8))
def test_a_client_sends_all_of_the_overlay_through_its_carrier_and_keeps_a_second_tunnel_open(
    dead: frozenset[int],
) -> None:
    known = members()
    me = next(node for node in nodes() if known[node.key].role is Role.CLIENT)
    pruned = frozenset(nodes()[index].key for index in dead) - {me.key}
    state = device(me, known, pruned)
    live = tuple(key for key in known.rings.peers if key not in pruned)
    chosen = Rings.of(live).favourites(me.key)
    assert set(state.peers) == {known[key].standing.wireguard for key in chosen}
    given_ = allowed(state)
    assert [(OVERLAY, known[key].standing.wireguard) for key in chosen[:1]] == list(given_.items())
    assert all(peer.keepalive == 25 for peer in state.peers.values())


def test_a_peer_keeps_no_mapping_open() -> None:
    founder = next(node for node in nodes() if node.label == "founder")
    assert {peer.keepalive for peer in device(founder, members()).peers.values()} == {0}


OVERLAYS = [IPv6Network(f"fd00:{index}::/64") for index in range(3)]
PARTS = [part for overlay in OVERLAYS for part in (overlay, *overlay.subnets(1))]
route_lists = st.lists(st.tuples(st.sampled_from([*PREFIXES, *PARTS, IPv6Network("::/0")]), INDEXES), max_size=8)


@QUICK
@given(INDEXES, st.frozensets(INDEXES, max_size=3), route_lists, route_lists)
def test_routes_and_own_routes_lead_to_living_peers_and_no_prefix_to_two(
    me: int, dead: frozenset[int], forwarded: list[tuple[IPv6Network, int]], sent: list[tuple[IPv6Network, int]]
) -> None:
    known, own = members(), nodes()[me]
    pruned = frozenset(nodes()[index].key for index in dead - {me})
    routes, own_routes = (
        tuple(Route(prefix, nodes()[via].key, prefix in PARTS) for prefix, via in dict(found).items())
        for found in (forwarded, sent)
    )
    view = View(MESH.id, own.key, known, pruned, routes, 51820, 1420, 25, own_routes)
    state = wanted(view, nowhere)
    assert state is not None
    given_ = allowed(state)
    ways = hops(known[own.key], known, pruned)

    def leading(routes: tuple[Route, ...]) -> dict[IPv6Network, bytes]:
        taken = (route for route in routes if route.via not in (own.key, *pruned))
        found = ((route.prefix, ways.via(route.via)) for route in taken)
        return {prefix: known[hop].standing.wireguard for prefix, hop in found if hop is not None}

    to_meshes = {prefix for prefix in leading(routes) if prefix in PARTS}
    assert set(state.routes) == joined({OVERLAY, *to_meshes})
    assert set(state.unmarked_routes) == leading(routes).keys() - to_meshes
    assert set(state.own_routes) == joined(set(leading(own_routes)))
    for prefix, key in (leading(own_routes) | leading(routes)).items():
        assert given_[prefix] == key, "of two who should get it the one for what is forwarded"


def test_a_route_within_the_mesh_itself_is_nobodys() -> None:
    known = members()
    me, low, high = [key for key, member in known.items() if member.role is Role.PEER][:3]
    stolen = Route(IPv6Network(known[low].address), high)
    view = View(MESH.id, me, known, frozenset(), (stolen,), 51820, 1420, 25, (Route(OVERLAY, high),))
    state = wanted(view, nowhere)
    assert state is not None
    assert allowed(state)[stolen.prefix] == known[low].standing.wireguard
    assert state.own_routes == ()


def test_a_prefix_that_holds_the_address_of_a_member_is_kept_from_the_packets_that_go_there() -> None:
    known = dict(members())
    me, other, third = [key for key, member in known.items() if member.role is Role.PEER][:3]
    route = Route(OVERLAYS[0], other, True)

    def made(place: str) -> DeviceState:
        known[third] = replace(known[third], record=replace(known[third].record, wireguard=(Endpoint(place, 1),)))
        state = wanted(View(MESH.id, me, Members.of(known), frozenset(), (route,), 51820, 1420, 25), nowhere)
        assert state is not None
        return state

    assert route.prefix in made("fd00:1::9").routes
    for place in ("fd00::9", "fd00:0:0::ffff:ffff:ffff:ffff"):
        inside = made(place)
        assert inside.unmarked_routes == (route.prefix,)
        assert inside.routes == (OVERLAY,)
    assert route.prefix in made("192.0.2.1").routes
    assert route.prefix in made("host.example").routes


def test_who_is_no_member_wants_no_device() -> None:
    stranger = MESH.founder("stranger")
    view = View(MESH.id, stranger.key, members(), frozenset(), (), 1, 1420, 0)
    assert wanted(view, nowhere) is None


def test_of_two_members_at_one_address_the_lower_key_keeps_it() -> None:
    known = dict(members())
    me, low, high = [key for key, member in known.items() if member.role is Role.PEER][:3]
    known[high] = replace(known[high], address=known[low].address)
    own = next(node for node in nodes() if node.key == me)
    given_ = allowed(device(own, Members.of(known)))
    assert given_[IPv6Network(known[low].address)] == known[low].standing.wireguard
    assert device(own, Members.of(known)).peers[known[high].standing.wireguard].allowed_ips == ()


def test_of_two_members_with_one_wireguard_key_the_lower_keeps_it_and_nobody_has_ones_own() -> None:
    known = dict(members())
    me, low, high, thief = [key for key, member in known.items() if member.role is Role.PEER][:4]
    for key, victim in ((high, low), (thief, me)):
        stolen = replace(known[key].standing, wireguard=known[victim].standing.wireguard)
        known[key] = replace(known[key], standing=stolen, address=known[victim].address)
    own = next(node for node in nodes() if node.key == me)
    state = device(own, Members.of(known))
    assert x25519_public(own.wireguard) not in state.peers
    assert state.peers[known[low].standing.wireguard].allowed_ips == (IPv6Network(known[low].address),)


def writer(node: Node) -> OwnRecordWriter:
    made = OwnRecordWriter(MESH.id, node.identity, OwnRecord(node.label), members()[node.key].standing)
    assert made.revise() is not None
    return made


def test_the_higher_key_moves_away_from_a_taken_address_and_the_lower_stays() -> None:
    known = dict(members())
    low, high = nodes()[:2]
    known[high.key] = replace(known[high.key], address=known[low.key].address)
    staying, moving = writer(low), writer(high)
    for key, own in ((low.key, staying), (high.key, moving)):
        assert own.record is not None
        known[key] = replace(known[key], record=own.record)
    staying.see(Members.of(known))
    moving.see(Members.of(known))
    assert not staying.has_news()
    assert moving.has_news()
    assert moving.wanted.collision == 1
    assert moving.revise() is not None


def test_a_collision_count_has_an_end() -> None:
    known = dict(members())
    low, high = nodes()[:2]
    last = replace(known[high.key].record, collision=255)
    known[high.key] = replace(known[high.key], address=known[low.key].address, record=last)
    moving = writer(high)
    moving.see(Members.of(known))
    assert moving.wanted.collision == 255


def test_a_node_that_sees_a_newer_record_of_its_own_continues_above_it() -> None:
    known = dict(members())
    own = nodes()[0]
    ahead = replace(known[own.key].record, counter=77)
    known[own.key] = replace(known[own.key], record=ahead)
    made = writer(own)
    made.see(Members.of(known))
    assert made.revise() is not None
    assert made.counter == 78


@given(st.integers(1, WHOLE), st.integers(0, WHOLE))
def test_parts_of_a_mesh_that_two_bridges_share_are_as_few_routes_as_the_parts_of_both(mask: int, others: int) -> None:
    shared = {*prefixes(OVERLAY, mask & ~others)} if mask & ~others else set()
    rest = {*prefixes(OVERLAY, mask & others)} if mask & others else set()
    assert joined(shared | rest) == set(prefixes(OVERLAY, mask))


@given(st.sets(st.sampled_from([*OVERLAY.subnets(3), *OVERLAY.subnets(4), OVERLAY, *PREFIXES])))
def test_joined_routes_lead_where_the_single_ones_did_and_others_stay(single: set[IPv6Network]) -> None:
    routes = joined(single)
    for part in OVERLAY.subnets(new_prefix=OVERLAY.prefixlen + 5):
        assert any(part.subnet_of(each) for each in routes) == any(part.subnet_of(each) for each in single)
    assert {each for each in single if each.prefixlen <= OVERLAY.prefixlen} <= routes
    assert joined(routes) == routes
