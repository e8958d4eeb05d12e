"""How exits share what goes through them."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network, collapse_addresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.addresses import mesh_id, overlay_prefix
from smeg.keys import NodeKey
from smeg.shares import PARTS, WHOLE, heft, links, part_of, prefixes, rendezvous, shards
from tests.builders import QUICK

MESH = mesh_id(bytes(32))
OVERLAY = overlay_prefix(MESH)
LAN = IPv6Network("2001:db8::/32")


def key(number: int) -> NodeKey:
    return NodeKey(blake2b(number.to_bytes(4, "big"), digest_size=32).digest())


@QUICK
@given(st.integers(0, WHOLE), st.integers(0, 2**64 - 1))
def test_the_prefixes_of_some_parts_hold_the_addresses_in_them_and_no_others(mask: int, host: int) -> None:
    address = IPv6Address(int(OVERLAY.network_address) | host)
    found = prefixes(OVERLAY, mask)
    assert sum(address in prefix for prefix in found) == mask >> part_of(address) & 1
    assert found == sorted(collapse_addresses(found))


@QUICK
@given(st.integers(0, PARTS - 1), st.integers(0, PARTS - 1))
def test_both_ends_of_a_link_find_the_same_cost(a: int, b: int) -> None:
    assert links(MESH, a)[b] == links(MESH, b)[a] > 0


@pytest.mark.parametrize("weights", [(1, 1), (1, 2), (1, 3, 4), (5, 1), (1, 1, 1, 1, 1, 5)])
def test_a_bridge_gets_what_its_weight_says(weights: tuple[int, ...]) -> None:
    """Over many meshes: between two of them there are no more than 32 places on each side."""
    load: Counter[int] = Counter()
    for number in range(600):
        near, far = mesh_id(number.to_bytes(32, "big")), mesh_id((number + 1000).to_bytes(32, "big"))
        for part in range(0, PARTS, 4):
            costs = [
                links(near, 5 * n % PARTS)[part] + links(far, 3 * n % PARTS)[part] + heft(weight)
                for n, weight in enumerate(weights)
            ]
            load[min(range(len(weights)), key=costs.__getitem__)] += 1
    for number, weight in enumerate(weights):
        assert load[number] == pytest.approx(load.total() * weight / sum(weights), rel=0.15)


def test_twenty_exits_share_ten_thousand_keys_evenly() -> None:
    exits = {key(number): 1 for number in range(20)}
    load = Counter(rendezvous(key(1000 + number), LAN, exits) for number in range(10_000))
    assert max(load.values()) <= 1.15 * 10_000 / 20


@pytest.mark.parametrize("weights", [(1, 2), (1, 3, 4), (5, 1)])
def test_an_exit_gets_what_its_weight_says(weights: tuple[int, ...]) -> None:
    exits = {key(number): weight for number, weight in enumerate(weights)}
    load = Counter(rendezvous(key(1000 + number), LAN, exits) for number in range(10_000))
    for number, weight in enumerate(weights):
        assert load[key(number)] == pytest.approx(10_000 * weight / sum(weights), rel=0.06)


@QUICK
@given(st.sets(st.integers(0, 50), min_size=2, max_size=8), st.integers(100, 10_000))
def test_when_an_exit_goes_only_those_move_that_had_it(numbers: set[int], node: int) -> None:
    exits = {key(number): 1 for number in numbers}
    before = rendezvous(key(node), LAN, exits)
    for gone in exits:
        after = rendezvous(key(node), LAN, {exit_: 1 for exit_ in exits if exit_ != gone})
        assert (after == before) == (gone != before)


def test_a_prefix_that_is_split_makes_one_node_use_several_exits() -> None:
    exits = {key(number): 1 for number in range(4)}
    parts = list(shards(IPv6Network("::/0"), 4))
    assert len(parts) == 16
    assert len({rendezvous(key(9), part, exits) for part in parts}) > 1
    assert list(shards(IPv6Network("2001:db8::1/128"), 4)) == [IPv6Network("2001:db8::1/128")]
