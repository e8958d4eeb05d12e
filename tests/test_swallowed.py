"""Which table a route belongs into: what carries the mesh is never led into it."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from smeg.device import Endpoint, Table
from smeg.keys import NodeKey
from smeg.records import Route
from smeg.swallowed import outside, places, table_for

prefixes = st.builds(
    lambda bits, length: IPv6Network((bits, length), strict=False), st.integers(0, 2**128 - 1), st.integers(0, 128)
)
overlay_like = st.builds(
    lambda bits, length: IPv6Network((0xFD << 120 | bits, length), strict=False),
    st.integers(0, 2**120 - 1),
    st.integers(64, 128),
)
SOMEBODY = NodeKey(bytes(32))
addresses = st.integers(0, 2**128 - 1).map(IPv6Address)


@given(prefixes | overlay_like, st.lists(addresses, max_size=5), st.data())
def test_no_route_of_the_main_table_holds_an_address_that_packets_are_sent_to(
    prefix: IPv6Network, found: list[IPv6Address], data: st.DataObject
) -> None:
    low, high = int(prefix.network_address), int(prefix.broadcast_address)
    found += [IPv6Address(each) for each in data.draw(st.lists(st.integers(low, high), max_size=2))]
    table = table_for(Route(prefix, SOMEBODY, True), places(Endpoint(str(address), 1) for address in found))
    assert table in (Table.MAIN, Table.UNMARKED)
    if any(address in prefix for address in found):
        assert table is Table.UNMARKED


@given(overlay_like | prefixes)
def test_an_overlay_stands_among_the_hosts_routes_and_what_is_behind_a_member_comes_after_them(
    prefix: IPv6Network,
) -> None:
    assert table_for(Route(prefix, SOMEBODY, True), []) is Table.MAIN
    assert table_for(Route(prefix, SOMEBODY), []) is Table.UNMARKED


def test_names_and_ipv4_addresses_are_in_no_prefix() -> None:
    assert places([Endpoint("192.0.2.1", 1), Endpoint("host.example", 1), Endpoint("2001:db8::1", 1)]) == [
        int(IPv6Address("2001:db8::1"))
    ]


def test_an_endpoint_inside_the_mesh_is_left_out() -> None:
    overlay = IPv6Network("fd00:1::/64")
    good = (Endpoint("fd00::1", 1), Endpoint("192.0.2.1", 1), Endpoint("host.example", 1))
    assert outside(good, overlay) is good
    assert outside((Endpoint("fd00:1::5", 1), *good), overlay) == good
