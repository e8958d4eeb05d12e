"""Through whom clients are reached: packets are walked from device to device, by longest match out and in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv6Address, IPv6Network
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from smeg.carriers import RETURN_AFTER, Choice, tunnels
from smeg.certificates import Role
from smeg.device import DeviceState
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import MAX_VIA, Member, OwnRecord, Route
from smeg.rings import Rings
from smeg.wanted import View, wanted
from tests.builders import QUICK, Desk, MadeMesh, grant, secret
from tests.fabric import Fabric

MESH = MadeMesh("carriers")
PEERS = 6
CLIENTS = 5
NOBODY: frozenset[NodeKey] = frozenset()
BEYOND = IPv6Network("2001:db8::/32")


@cache
def everybody() -> Members:
    """Some peers and some clients, none of which has chosen."""
    invite = MESH.invite("clients", uses=CLIENTS, given=grant(Role.CLIENT))
    founders = [MESH.founder(f"peer {number}") for number in range(PEERS)]
    clients = [
        MESH.joined(f"client {number}", invite, founders[0], given=grant(Role.CLIENT)) for number in range(CLIENTS)
    ]
    desk = Desk(MESH.id)
    for node in (*founders, *clients):
        desk.take([*node.certificates, node.record(1, OwnRecord(node.label)).raw])
    assert len(desk.members) == PEERS + CLIENTS
    return desk.members


def peers() -> list[NodeKey]:
    return list(everybody().rings.peers)


def clients() -> list[NodeKey]:
    return list(everybody().rings.clients)


def nowhere(members: Sequence[Member]) -> list[None]:
    return [None for _ in members]


def going(vias: Mapping[int, list[int]], members: Members | None = None) -> Members:
    """The members, where these clients named these peers."""
    members = members or everybody()
    changed: dict[NodeKey, Member | None] = {}
    for client, via in vias.items():
        member = members[clients()[client]]
        named = tuple(peers()[peer] for peer in via)
        changed[member.key] = replace(member, record=replace(member.record, via=named))
    return members.change(changed)


def fabric_of(views: Mapping[NodeKey, tuple[Members, Container[NodeKey]]], routes: tuple[Route, ...] = ()) -> Fabric:
    """All devices as their nodes' views have them, each perhaps another."""
    devices: dict[NodeKey, DeviceState] = {}
    for key, (members, dead) in views.items():
        pruned = frozenset(other for other in members if other in dead)
        device = wanted(View(MESH.id, key, members, pruned, routes, 51820, 1420, 25), nowhere)
        assert device is not None
        devices[key] = device
    return Fabric(everybody(), devices)


def address(key: NodeKey) -> IPv6Address:
    return everybody()[key].address


VIAS = st.dictionaries(
    st.integers(0, CLIENTS - 1), st.lists(st.integers(0, PEERS - 1), max_size=PEERS, unique=True), max_size=CLIENTS
)
DEAD = st.frozensets(st.integers(0, PEERS + CLIENTS - 1), max_size=8)
ABSENT = st.frozensets(st.integers(0, PEERS + CLIENTS - 1), max_size=4)


def keys(numbers: frozenset[int]) -> frozenset[NodeKey]:
    return frozenset([*peers(), *clients()][number] for number in numbers)


@QUICK
@given(VIAS, DEAD, ABSENT)
def test_as_long_as_all_agree_every_packet_arrives_over_two_peers_at_most(
    vias: dict[int, list[int]], dead: frozenset[int], absent: frozenset[int]
) -> None:
    members = going(vias).change(dict.fromkeys(keys(absent)))
    pruned = keys(dead)
    live = [key for key in members if key not in pruned]
    fabric = fabric_of({key: (members, pruned) for key in live})
    connected = any(members[key].role is Role.PEER for key in live)
    for one, other in permutations(live, 2):
        path = fabric.walk(one, address(one), address(other))
        assert (path[-1] == other) == connected
        assert len(path) <= 4
        assert path[::-1] == fabric.walk(other, address(other), address(one)) or not connected


@QUICK
@given(VIAS, DEAD, st.integers(0, PEERS + CLIENTS - 1))
def test_what_is_behind_a_member_is_reached_and_answers_as_long_as_all_agree(
    vias: dict[int, list[int]], dead: frozenset[int], bridge: int
) -> None:
    members = going(vias)
    behind = [*peers(), *clients()][bridge]
    pruned = keys(dead) - {behind}
    live = [key for key in members if key not in pruned]
    routes = (Route(BEYOND, behind),)
    views = {key: (members, pruned) for key in live}
    fabric = fabric_of(views, routes)
    connected = any(members[key].role is Role.PEER for key in live)
    far = BEYOND[99]
    for key in live:
        if connected and key != behind:
            assert fabric.walk(key, address(key), far)[-1] == behind
            assert fabric.walk(behind, far, address(key))[-1] == key


@QUICK
@given(st.data())
def test_whatever_devices_believe_no_packet_passes_one_of_them_twice(data: st.DataObject) -> None:
    views = {key: (going(data.draw(VIAS)), keys(data.draw(DEAD))) for key in everybody()}
    fabric = fabric_of(views)
    for one, other in permutations(everybody(), 2):
        path = fabric.walk(one, address(one), address(other))
        assert len(path) == len(set(path))


def test_it_is_the_look_at_sources_that_keeps_packets_from_going_around() -> None:
    first, second, third, sender = peers()[:4]
    client = clients()[0]
    views = {key: (everybody(), NOBODY) for key in everybody()}
    for at, believed in ((sender, 0), (first, 1), (second, 2), (third, 0)):
        views[at] = (going({0: [believed]}), NOBODY)
    fabric = fabric_of(views)
    assert fabric.walk(sender, address(sender), address(client)) == [sender, first]
    around = fabric.walk(sender, address(sender), address(client), careless=True)
    assert around[:5] == [sender, first, second, third, first]


@QUICK
@given(VIAS, DEAD)
def test_all_peers_and_the_client_itself_find_the_same_carrier_and_it_has_a_tunnel_with_it(
    vias: dict[int, list[int]], dead: frozenset[int]
) -> None:
    members, pruned = going(vias), keys(dead)
    live = [key for key in members if key not in pruned]
    fabric = fabric_of({key: (members, pruned) for key in live})
    for client in (key for key in live if members[key].role is Role.CLIENT):
        found = tunnels(members[client], members, pruned)
        if found is None:
            assert not any(members[key].role is Role.PEER for key in live)
            continue
        named = members[client].record.via[:1]
        assert found.carrier not in pruned
        assert (found.carrier,) == named or not named or named[0] in pruned
        assert fabric.owner(client, MESH_ADDRESS) == found.carrier
        for peer in (key for key in live if members[key].role is Role.PEER):
            expected = client if found.leads(peer) else found.carrier
            assert fabric.owner(peer, address(client)) == expected
            mine = members[client].standing.wireguard in fabric.devices[peer].peers
            assert mine == (peer in found.all()) == (members[peer].standing.wireguard in fabric.devices[client].peers)


MESH_ADDRESS = IPv6Network((int(address(clients()[0])) >> 64 << 64, 64))[0]
"""An address of the overlay that is nobody's."""


@QUICK
@given(st.integers(0, CLIENTS - 1), VIAS, DEAD)
def test_when_a_carrier_dies_the_warm_one_takes_over_and_nobody_elses_moves(
    client: int, vias: dict[int, list[int]], dead: frozenset[int]
) -> None:
    members, pruned = going(vias), keys(dead)
    before = tunnels(members[clients()[client]], members, pruned)
    if before is None:
        return
    after = tunnels(members[clients()[client]], members, pruned | {before.carrier})
    assert (after.carrier if after is not None else None) == before.warm
    for other in clients():
        was, now = (tunnels(members[other], members, gone) for gone in (pruned, pruned | {before.carrier}))
        assert was is not None
        assert was.carrier == before.carrier or (now is not None and now.carrier == was.carrier)


def test_clients_spread_evenly_over_their_carriers() -> None:
    ten = tuple(sorted(NodeKey(secret(f"even {number}").reveal()) for number in range(10)))
    rings = Rings.of(ten)
    many = [NodeKey(secret(f"client {number}").reveal()) for number in range(5000)]
    shares = Counter(rings.favourites(key)[0] for key in many)
    warm = Counter(rings.favourites(key)[1] for key in many)
    assert max(shares.values()) < 1.5 * 500
    assert max(warm.values()) < 1.5 * 500


@QUICK
@given(st.integers(0, CLIENTS - 1), st.frozensets(st.integers(0, PEERS - 1)))
def test_favourites_are_the_same_whether_the_dead_are_skipped_or_have_never_been(
    client: int, dead: frozenset[int]
) -> None:
    gone = frozenset(peers()[number] for number in dead)
    left = tuple(key for key in peers() if key not in gone)
    key = clients()[client]
    assert everybody().rings.favourites(key, gone) == Rings.of(left).favourites(key)


# What a client's record says.


def chosen_at(choice: Choice, dead: frozenset[NodeKey], now: float) -> NodeKey | None:
    choice.look(everybody(), dead, now)
    return choice.carrier


def test_a_client_moves_at_once_when_its_carrier_dies_and_returns_when_that_has_lived_for_a_minute() -> None:
    own = clients()[0]
    best, second = everybody().rings.favourites(own)
    choice = Choice(own)
    assert chosen_at(choice, NOBODY, 0.0) == best
    assert chosen_at(choice, frozenset({best}), 1.0) == second
    assert choice.next_deadline() is None
    assert chosen_at(choice, NOBODY, 5.0) == second
    assert choice.next_deadline() == 5.0 + RETURN_AFTER
    assert chosen_at(choice, NOBODY, 5.0 + RETURN_AFTER - 0.1) == second
    assert chosen_at(choice, NOBODY, 5.0 + RETURN_AFTER) == best
    assert choice.next_deadline() is None


def test_a_peer_that_comes_and_goes_gets_no_client_back() -> None:
    own = clients()[0]
    best, second = everybody().rings.favourites(own)
    choice = Choice(own, second)
    for now in range(0, 600, 30):
        assert chosen_at(choice, frozenset({best}) if now % 60 else NOBODY, now) == second


def test_a_client_keeps_what_its_last_record_named_and_stays_where_it_is_when_all_are_dead() -> None:
    own = clients()[0]
    third = next(key for key in peers() if key not in everybody().rings.favourites(own))
    choice = Choice(own, third)
    assert chosen_at(choice, NOBODY, 0.0) == third
    assert chosen_at(choice, frozenset(peers()), 100.0) == third


def test_a_record_names_the_carrier_first_then_the_peers_of_the_routes_that_are_taken() -> None:
    own = clients()[0]
    choice = Choice(own)
    assert choice.via(peers()) == ()
    choice.look(everybody(), NOBODY, 0.0)
    assert choice.carrier is not None
    assert choice.via([]) == (choice.carrier,)
    others = [key for key in peers() if key != choice.carrier]
    assert choice.via([*peers(), own]) == (choice.carrier, *others)
    many = [NodeKey(secret(f"exit {number}").reveal()) for number in range(MAX_VIA + 1)]
    assert choice.via(many)[0] == choice.carrier
    assert len(choice.via(many)) == MAX_VIA
