"""Prefixes that remember their hash and order: to everybody else they are as `ipaddress` makes them."""

from __future__ import annotations

from ipaddress import IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from smeg.prefixes import prefix, read_prefix


@st.composite
def networks(draw: st.DrawFn) -> IPv6Network:
    length = draw(st.integers(0, 128))
    # Few bits at either end, so that many are equal or inside each other.
    bits = draw(st.integers(0, 3)) << 126 | draw(st.integers(0, 3))
    return IPv6Network((bits >> 128 - length << 128 - length, length))


def made(network: IPv6Network) -> IPv6Network:
    return prefix(int(network.network_address), network.prefixlen)


@given(networks(), networks())
def test_a_prefix_compares_as_any_other_network_does_with_both_kinds(one: IPv6Network, other: IPv6Network) -> None:
    for left, right in ((made(one), made(other)), (made(one), other), (one, made(other))):
        assert (left == right) == (one == other)
        assert (left < right) == (one < other)
        assert (left <= right) == (one <= other)
        assert left != right or hash(left) == hash(right)


@given(st.lists(networks()))
def test_sets_and_orders_of_both_kinds_mixed_are_those_of_networks(found: list[IPv6Network]) -> None:
    mixed = [made(network) if place % 2 else network for place, network in enumerate(found)]
    assert sorted(mixed) == sorted(found)
    assert set(mixed) == set(found)


@given(networks())
def test_what_is_derived_from_a_prefix_is_right_too(network: IPv6Network) -> None:
    own = made(network)
    assert str(own) == str(network)
    assert network.prefixlen == 0 or own.supernet() == network.supernet()
    assert network.prefixlen == 128 or list(own.subnets()) == list(network.subnets())


@given(networks())
def test_a_prefix_is_read_as_it_is_written(network: IPv6Network) -> None:
    assert read_prefix(str(network)) == network


def test_what_is_no_prefix_is_none() -> None:
    for text in ("", "x", "2001:db8::1/48", "2001:db8::%1/48", "2001:db8::/129", "10.0.0.0/8"):
        assert read_prefix(text) is None
