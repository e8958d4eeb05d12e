"""Rings: who talks to whom follows from the members alone, is bounded, mutual and leaves nobody out, dead or alive."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from functools import partial
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import rings as rings_module
from smeg.keys import NodeKey
from smeg.rings import CLIENT_PEERS, FLOOD_RINGS, NOBODY, RINGS, Rings, places
from tests.builders import QUICK
from tests.liveness_bench import Bench, members

Mesh = tuple[set[NodeKey], set[NodeKey], set[NodeKey]]
"""Peers, clients, and some of both that are dead."""
KEYS = st.sets(st.binary(min_size=32, max_size=32).map(NodeKey), max_size=40)


def rings_of(peers: Iterable[NodeKey], clients: Iterable[NodeKey] = ()) -> Rings:
    return Rings.of(tuple(sorted(peers)), tuple(sorted(clients)))


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    peers = draw(KEYS)
    clients = draw(KEYS) - peers
    everybody = sorted(peers | clients)
    dead = draw(st.sets(st.sampled_from(everybody))) if everybody else set()
    return peers, clients, dead


def reached(rings: Rings, start: NodeKey, skip: Container[NodeKey]) -> set[NodeKey]:
    """Whom a flood from one reaches."""
    found: set[NodeKey] = set()
    front = {start}
    while front:
        found |= front
        front = {other for key in front for other in rings.neighbours(key, skip)} - found
    return found


@QUICK
@given(KEYS)
def test_neighbours_are_few_mutual_distinct_and_never_oneself(peers: set[NodeKey]) -> None:
    rings = rings_of(peers)
    for key in peers:
        found = rings.neighbours(key)
        assert len(found) == len(set(found)) <= 2 * FLOOD_RINGS
        assert key not in found
        assert set(found) <= peers
        assert all(key in rings.neighbours(other) for other in found)
        assert bool(found) == (len(peers) > 1)


@QUICK
@given(KEYS, KEYS)
def test_a_flood_reaches_every_peer_and_client(peers: set[NodeKey], clients: set[NodeKey]) -> None:
    clients -= peers
    rings = rings_of(peers, clients)
    assert not peers or reached(rings, min(peers), NOBODY) == peers | clients


@QUICK
@given(meshes())
def test_a_flood_reaches_all_the_living_and_none_of_the_dead(mesh: Mesh) -> None:
    peers, clients, dead = mesh
    living = peers - dead
    rings = rings_of(peers, clients)
    assert not living or reached(rings, min(living), dead) == living | (clients - dead)


def hops(peers: tuple[NodeKey, ...]) -> int:
    """After how many steps a flood from one has reached all."""
    rings, found, steps = rings_of(peers), {peers[0]}, 0
    while len(found) < len(peers):
        found |= {other for key in found for other in rings.neighbours(key)}
        steps += 1
    return steps


def test_over_three_rings_a_flood_is_everywhere_in_a_few_steps_and_on_one_it_would_go_around_half_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = tuple(sorted(NodeKey(blake2b(bytes([number]), digest_size=32).digest()) for number in range(200)))
    assert hops(peers) <= 5
    monkeypatch.setattr(rings_module, "FLOOD_RINGS", 1)
    assert hops(peers) == 100


@QUICK
@given(KEYS, KEYS)
def test_a_client_dials_two_peers_if_there_are_two_and_they_know_it(peers: set[NodeKey], clients: set[NodeKey]) -> None:
    clients -= peers
    rings = rings_of(peers, clients)
    for client in clients:
        upstream = rings.upstream(client)
        assert rings.neighbours(client) == upstream
        assert len(set(upstream)) == len(upstream) == min(CLIENT_PEERS, len(peers))
        assert all(client in rings.neighbours(peer) for peer in upstream)


@QUICK
@given(meshes())
def test_who_hangs_on_a_peer_is_who_dials_it_whoever_is_dead(mesh: Mesh) -> None:
    peers, clients, dead = mesh
    rings = rings_of(peers, clients)
    hanging = {(client, peer) for peer in peers - dead for client in rings.hanging(peer, dead)}
    assert hanging == {(client, peer) for client in clients - dead for peer in rings.upstream(client, dead)}


@QUICK
@given(meshes())
def test_whom_one_watches_is_by_whom_one_is_watched(mesh: Mesh) -> None:
    peers, clients, dead = mesh
    rings = rings_of(peers, clients)
    living = (peers | clients) - dead
    watching = {(key, subject) for key in peers - dead for subject in rings.subjects(key, dead)}
    assert watching == {(observer, key) for key in living for observer in rings.observers(key, dead)}
    for client in clients - dead:
        assert rings.subjects(client, dead) == rings.observers(client, dead) == rings.upstream(client, dead)


@QUICK
@given(meshes())
def test_everybody_has_observers_at_most_eight_alive_and_never_itself(mesh: Mesh) -> None:
    peers, clients, dead = mesh
    rings = rings_of(peers, clients)
    for key in peers | clients:
        found = rings.observers(key, dead)
        others = peers - dead - {key}
        assert set(found) <= others
        assert len(found) == len(set(found)) <= (RINGS if key in peers else CLIENT_PEERS)
        assert bool(found) == bool(others)


@QUICK
@given(meshes())
def test_a_death_moves_nobody_but_those_beside_it(mesh: Mesh) -> None:
    peers, _, dead = mesh
    rings = rings_of(peers)
    for dies in sorted(peers - dead)[:3]:
        for key in peers - dead - {dies}:
            before, after = rings.observers(key, dead), rings.observers(key, dead | {dies})
            if dies in before:
                assert set(before) - {dies} <= set(after)
            else:
                assert after == before
            if dies not in rings.neighbours(key, dead):
                assert rings.neighbours(key, dead | {dies}) == rings.neighbours(key, dead)


@QUICK
@given(meshes())
def test_stepping_over_the_dead_is_the_same_as_their_absence(mesh: Mesh) -> None:
    peers, clients, dead = mesh
    whole, without = rings_of(peers, clients), rings_of(peers - dead, clients - dead)
    for key in (peers | clients) - dead:
        assert whole.observers(key, dead) == without.observers(key)
        assert whole.subjects(key, dead) == without.subjects(key)
        assert whole.neighbours(key, dead) == without.neighbours(key)


@QUICK
@given(KEYS.flatmap(lambda peers: st.permutations(sorted(peers))))
def test_everybody_derives_the_same_rings_and_shares_them(order: list[NodeKey]) -> None:
    first, second = rings_of(order), rings_of(reversed(order))
    assert first is second
    alone = Rings(tuple(sorted(order)), ())
    assert [first.neighbours(key) for key in order] == [alone.neighbours(key) for key in order]


def waited_for_in_vain(peers: tuple[NodeKey, ...], place: Callable[[NodeKey, NodeKey], list[int]]) -> float:
    """The share of those whom each of these watches that beat to others; `place` gives where somebody sees a key."""

    def views(see: Callable[[Rings, NodeKey], list[NodeKey]]) -> dict[NodeKey, list[NodeKey]]:
        found = {}
        for own in peers:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(rings_module, "places", partial(place, own))
                found[own] = see(Rings(peers, ()), own)
        return found

    watched, beaten_to = views(Rings.subjects), views(Rings.observers)
    pairs = [(own, subject) for own in peers for subject in watched[own]]
    return sum(own not in beaten_to[subject] for own, subject in pairs) / len(pairs)


def test_who_is_waited_for_is_who_beats_only_because_all_see_everybody_at_one_place() -> None:
    peers = tuple(sorted(NodeKey(blake2b(bytes([number])).digest()[:32]) for number in range(40)))
    assert waited_for_in_vain(peers, lambda _, key: places(key)) == 0
    assert waited_for_in_vain(peers, lambda own, key: places(NodeKey(blake2b(own + key).digest()[:32]))) > 0.5


@QUICK
@given(st.data())
def test_rings_that_came_about_by_changes_are_those_made_at_once(data: st.DataObject) -> None:
    """However few or many come and go, peers or clients, and become the other."""
    keys = [NodeKey(blake2b(bytes([number]), digest_size=32).digest()) for number in range(60)]
    some = st.sets(st.sampled_from(keys), max_size=4)
    peers, clients = set(keys[:30]), set(keys[30:50])
    rings = rings_of(peers, clients)
    for _ in range(3):
        peers = (peers ^ data.draw(some, "peers that come or go")) or peers
        clients = (clients ^ data.draw(some, "clients that come or go")) - peers
        order = tuple(sorted(peers)), tuple(sorted(clients))
        rings, anew = Rings(*order, rings), Rings(*order)
        for key in keys:
            assert rings.neighbours(key) == anew.neighbours(key)
            assert rings.observers(key) == anew.observers(key)
            assert rings.subjects(key) == anew.subjects(key)
            assert rings.favourites(key) == anew.favourites(key)


def test_clients_are_spread_over_the_peers() -> None:
    peers = [NodeKey(bytes([1, index]) + bytes(30)) for index in range(20)]
    clients = [NodeKey(bytes([2, index % 256, index // 256]) + bytes(29)) for index in range(400)]
    rings = rings_of(peers, clients)
    load = [len(rings.neighbours(peer)) for peer in peers]
    assert sum(load) > 2 * len(clients)
    assert max(load) < len(clients) / 2


def condemned_by_a_bad_line() -> frozenset[NodeKey]:
    """Whom anybody thinks dead when a client and one of its peers do not hear each other."""
    known = members(8, 1)
    bench = Bench(known)
    bench.run(12.0)
    (client,) = known.rings.clients
    bench.sever(client, known.rings.upstream(client)[0])
    bench.run(10.0)
    return frozenset(subject for _, subject in bench.condemned)


def test_a_client_is_watched_by_both_that_it_dials_so_that_a_bad_line_to_one_is_no_death(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = members(8, 1)
    (client,) = known.rings.clients
    watching = {key for key in known.rings.peers if client in known.rings.subjects(key)}
    assert watching == set(known.rings.upstream(client))
    assert len(watching) == 2
    assert client not in condemned_by_a_bad_line()
    monkeypatch.setattr(rings_module, "CLIENT_PEERS", 1)
    assert client in condemned_by_a_bad_line()
