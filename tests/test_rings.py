"""Rings: who talks to whom follows from the members alone, is bounded, mutual and leaves nobody out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smeg.keys import NodeKey
from smeg.rings import CLIENT_PEERS, RINGS, Rings
from tests.builders import QUICK

KEYS = st.sets(st.binary(min_size=32, max_size=32).map(NodeKey), max_size=40)


@QUICK
@given(KEYS)
def test_neighbours_are_few_mutual_distinct_and_never_oneself(peers: set[NodeKey]) -> None:
    rings = Rings(peers)
    for key in peers:
        found = rings.neighbours(key)
        assert len(found) == len(set(found)) <= 2 * RINGS
        assert key not in found
        assert set(found) <= peers
        assert all(key in rings.neighbours(other) for other in found)
        assert bool(found) == (len(peers) > 1)


@QUICK
@given(KEYS, KEYS)
def test_a_flood_reaches_every_peer_and_client(peers: set[NodeKey], clients: set[NodeKey]) -> None:
    clients -= peers
    rings = Rings(peers, clients)
    reached: set[NodeKey] = set()
    front = set(sorted(peers)[:1])
    while front:
        reached |= front
        front = {other for key in front for other in rings.neighbours(key)} - reached
    assert reached == (peers | clients if peers else set())


@QUICK
@given(KEYS, KEYS)
def test_a_client_dials_two_peers_if_there_are_two_and_they_know_it(peers: set[NodeKey], clients: set[NodeKey]) -> None:
    clients -= peers
    rings = Rings(peers, clients)
    for client in clients:
        upstream = rings.upstream(client)
        assert rings.neighbours(client) == upstream
        assert len(set(upstream)) == len(upstream) == min(CLIENT_PEERS, len(peers))
        assert all(client in rings.neighbours(peer) for peer in upstream)


@QUICK
@given(KEYS.flatmap(lambda peers: st.permutations(sorted(peers))))
def test_everybody_derives_the_same_rings(order: list[NodeKey]) -> None:
    first, second = Rings(order), Rings(reversed(order))
    assert [first.neighbours(key) for key in order] == [second.neighbours(key) for key in order]


def test_clients_are_spread_over_the_peers() -> None:
    peers = [NodeKey(bytes([1, index]) + bytes(30)) for index in range(20)]
    clients = [NodeKey(bytes([2, index % 256, index // 256]) + bytes(29)) for index in range(400)]
    rings = Rings(peers, clients)
    load = [len(rings.neighbours(peer)) for peer in peers]
    assert sum(load) > 2 * len(clients)
    assert max(load) < len(clients) / 2
