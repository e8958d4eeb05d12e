"""Signed ways: what a bridge passes on can be checked by everybody, and nothing of it can be left out or changed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.addresses import mesh_id, overlay_prefix
from smeg.certificates import EVERYWHERE, Grant, Role
from smeg.errors import RemoteError
from smeg.keys import NodeKey, Secret, node_key
from smeg.shares import DEFAULT
from smeg.ways import HOP_BYTES, MAX_WAYS, Hop, Offer, Way, check_offer, pack_ways, seal_way, unpack_ways
from tests.builders import QUICK, secret

MESHES = [mesh_id(bytes([number]) * 32) for number in range(5)]
SEEDS = [secret(f"bridge {number}") for number in range(5)]
LAN = IPv6Network("2001:db8:1::/48")


def grant(*prefixes: IPv6Network, exit_allowed: bool = False) -> Grant:
    return Grant(Role.PEER, prefixes, exit_allowed, 2**40)


def allowed(mesh: str, node: NodeKey) -> Grant | None:
    """Bridge n is in meshes n and n + 1, and nobody else is anywhere."""
    number = [node_key(seed) for seed in SEEDS].index(node)
    return grant(*EVERYWHERE) if mesh in MESHES[number : number + 2] else None


def chain(length: int, prefix: IPv6Network | None = None) -> Way:
    """From mesh 0, or from a prefix behind bridge 0, into the mesh of that number."""
    to = prefix or overlay_prefix(MESHES[0])
    way = Way(())
    for number in range(length):
        mesh = "" if prefix and not number else MESHES[number]
        hop = Hop(mesh, node_key(SEEDS[number]), number, number + 1, name=f"b{number}", mesh_name="home" * number)
        way = seal_way(Way((*way.hops, hop)), to, MESHES[number + 1], SEEDS[number])
    return way


def check(way: Way, into: int, by: int, prefix: IPv6Network | None = None) -> None:
    offer = Offer(prefix or overlay_prefix(MESHES[0]), (way,))
    check_offer(offer, MESHES[into], node_key(SEEDS[by]), allowed)


def check_all(raw: bytes, into: int) -> None:
    for way in unpack_ways(raw):
        check(way, into, into - 1)


def refused(code: str, way: Way, into: int, by: int, prefix: IPv6Network | None = None) -> None:
    with pytest.raises(RemoteError) as error:
        check(way, into, by, prefix)
    assert error.value.problem.code == code


def wired(way: Way) -> Way:
    (got,) = unpack_ways(pack_ways([way]))
    return got


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_what_each_bridge_signed_is_accepted_after_the_wire(length: int) -> None:
    check(wired(chain(length)), length, length - 1)
    check(wired(chain(length, LAN)), length, length - 1, LAN)


def resign(way: Way, into: int, by: int) -> Way:
    return seal_way(way, overlay_prefix(MESHES[0]), MESHES[into], SEEDS[by])


def test_a_bridge_cannot_leave_out_one_before_it() -> None:
    hops = chain(3).hops
    refused("bad-signature", resign(Way((hops[0], hops[2])), 3, 2), 3, 2)
    refused("forged-way", resign(Way(hops[1:]), 3, 2), 3, 2)


def test_a_bridge_cannot_claim_a_mesh_that_it_is_not_in() -> None:
    own = Hop(MESHES[0], node_key(SEEDS[2]), 0, 0)
    refused("unproven-way", resign(Way((own,)), 3, 2), 3, 2)
    # Nor can it say that it was in the mesh into which another offers.
    near = replace(chain(3).hops[2], mesh=MESHES[1])
    refused("unproven-way", resign(Way((chain(1).hops[0], near)), 3, 2), 3, 2)


def test_a_way_counts_only_in_the_mesh_and_from_the_node_for_which_it_was_made() -> None:
    refused("bad-signature", chain(2), 3, 1)
    refused("forged-way", chain(2), 2, 2)


def test_a_way_through_one_mesh_twice_is_a_loop() -> None:
    hops = chain(2).hops
    back = Hop(MESHES[2], node_key(SEEDS[1]), 0, 0)
    refused("looping-way", resign(Way((*hops, back)), 1, 1), 1, 1)


def test_a_bridge_cannot_take_parts_that_were_not_offered_to_it() -> None:
    part = replace(chain(1).hops[0], mask=1)
    first = resign(Way((part,)), 1, 0)
    refused("forged-way", resign(Way((*first.hops, replace(chain(2).hops[1], mask=3))), 2, 1), 2, 1)


def offered(prefix: IPv6Network, granted: Grant) -> None:
    check_offer(Offer(prefix, (chain(1, prefix),)), MESHES[1], node_key(SEEDS[0]), lambda mesh, node: granted)


def test_nobody_offers_more_than_its_certificate_allows() -> None:
    with pytest.raises(RemoteError, match="is not within what"):
        offered(LAN, grant(IPv6Network("2001:db8:2::/48")))
    offered(LAN, grant(IPv6Network("2001:db8::/32")))


def test_the_default_route_is_allowed_by_name_alone() -> None:
    with pytest.raises(RemoteError, match="is not within what"):
        offered(DEFAULT, grant(*EVERYWHERE))
    offered(DEFAULT, grant(exit_allowed=True))


def test_the_way_into_another_mesh_needs_no_permission() -> None:
    check_offer(
        Offer(overlay_prefix(MESHES[0]), (chain(1),)), MESHES[1], node_key(SEEDS[0]), lambda mesh, node: grant()
    )


@QUICK
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=9))
def test_ways_that_share_hops_come_out_of_the_wire_as_they_went_in(drawn: list[tuple[int, int, int]]) -> None:
    ways = [
        Way(tuple(Hop(MESHES[0], node_key(SEEDS[0]), *turns[:2]) for turns in [drawn[0], *drawn[:n]])) for n in (1, 2)
    ]
    ways += [Way(tuple(Hop(MESHES[1], node_key(SEEDS[n % 5]), n, a, b + 1) for n, (_, a, b) in enumerate(drawn)))]
    ends = [
        way
        for way in dict.fromkeys(ways)
        if not any(other.hops[: len(way.hops)] == way.hops for other in ways if other != way)
    ]
    unsigned = [Way(tuple(replace(hop, signature=bytes(64)) for hop in way.hops)) for way in ends]
    assert sorted(unpack_ways(pack_ways(unsigned)), key=repr) == sorted(unsigned, key=repr)


@QUICK
@given(st.integers(1, 4), st.data())
def test_one_changed_byte_is_noticed(length: int, data: st.DataObject) -> None:
    raw = bytearray(pack_ways([chain(length)]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((RemoteError, ValueError)):
        check_all(bytes(raw), length)


@pytest.mark.parametrize("size", [0, 1, HOP_BYTES, HOP_BYTES + 2, MAX_WAYS + 1])
def test_what_is_no_way_is_refused(size: int) -> None:
    with pytest.raises(RemoteError):
        unpack_ways(bytes(size))


def test_a_secret_signs_only_its_own_hop() -> None:
    way = seal_way(chain(1), overlay_prefix(MESHES[0]), MESHES[1], Secret(SEEDS[3].reveal()))
    refused("bad-signature", way, 1, 0)
