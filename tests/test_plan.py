"""The plan: it gets there, it does nothing twice, and WireGuard never takes a prefix from anybody unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Interface, IPv6Network
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.device import (
    MARK,
    AddAddress,
    AddRoute,
    DeviceState,
    Endpoint,
    Operation,
    RemoveAddress,
    RemovePeer,
    RemoveRoute,
    SetInterface,
    SetPeer,
    Table,
    WgPeer,
)
from smeg.errors import LocalError
from smeg.plan import batches, difference, plan
from smeg.simulated import Simulated, simulate

OWN = b"\x01" * 32
KEYS = [bytes([number]) * 32 for number in range(10, 16)]
PREFIXES = [IPv6Network(f"fd00:{number:x}::/32") for number in range(1, 9)]
ROUTES = [*PREFIXES[:4], *PREFIXES[0].subnets(2), IPv6Network("::/0")]
ADDRESSES = [IPv6Interface(f"fd00::{number}/{length}") for number in (1, 2) for length in (64, 128)]
ENDPOINTS = [Endpoint("192.0.2.1", 51820), Endpoint("2001:db8::1", 51820), Endpoint("192.0.2.1", 4000)]

endpoints = st.none() | st.sampled_from(ENDPOINTS)
learned_maps = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(ENDPOINTS))


routes = st.sets(st.sampled_from(ROUTES)).map(lambda found: tuple(sorted(found)))


@st.composite
def states(draw: st.DrawFn) -> DeviceState:
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True))
    owners = draw(st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(keys))) if keys else {}
    peers = {
        key: WgPeer(
            public_key=key,
            allowed_ips=tuple(sorted(prefix for prefix, owner in owners.items() if owner == key)),
            endpoint=draw(endpoints),
            keepalive=draw(st.sampled_from([0, 25])),
        )
        for key in keys
    }
    return DeviceState(
        public_key=OWN,
        listen_port=draw(st.sampled_from([51820, 51821])),
        mtu=draw(st.sampled_from([1280, 1420])),
        up=draw(st.booleans()),
        addresses=tuple(sorted(draw(st.sets(st.sampled_from(ADDRESSES))))),
        routes=draw(routes),
        peers=peers,
        unmarked_routes=draw(routes),
        own_routes=draw(routes),
        fwmark=draw(st.sampled_from([0, MARK])),
    )


def state(peers: Mapping[bytes, WgPeer] | None = None, routes: tuple[IPv6Network, ...] = ()) -> DeviceState:
    return DeviceState(OWN, 51820, 1420, True, (), routes, dict(peers or {}))


def peer(key: bytes, *prefixes: IPv6Network, endpoint: Endpoint | None = None, keepalive: int = 0) -> WgPeer:
    return WgPeer(key, tuple(sorted(prefixes)), endpoint, keepalive)


def expected_endpoint(now: WgPeer | None, wanted: WgPeer, last: Endpoint | None) -> Endpoint | None:
    if now is None or now.endpoint is None:
        return wanted.endpoint
    if wanted.endpoint is None or wanted.endpoint == last:
        return now.endpoint
    return wanted.endpoint


@given(states(), states(), learned_maps)
def test_applying_the_difference_gives_what_is_wanted(
    now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]
) -> None:
    wanted = replace(wanted, up=True, fwmark=MARK)
    peers = {
        key: replace(goal, endpoint=expected_endpoint(now.peers.get(key), goal, learned.get(key)))
        for key, goal in wanted.peers.items()
    }
    assert simulate(now, difference(now, wanted, learned)) == replace(wanted, peers=peers)


@given(st.lists(states(), min_size=2, max_size=5))
def test_a_device_that_is_followed_through_several_plans_is_what_it_would_be_if_it_were_read(
    moments: list[DeviceState],
) -> None:
    followed = Simulated(moments[0])
    for wanted in moments[1:]:
        read = followed.state()
        followed.share(wanted.peers)
        assert followed.state() == read
        operations = plan(followed, wanted, {})
        assert operations == difference(read, wanted, {})
        followed.apply_towards(wanted, operations)
        assert followed.state() == simulate(read, operations)
        for prefix in PREFIXES:
            holders = [key for key, each in followed.peers.items() if prefix in each.allowed_ips]
            assert holders == [key for key in [followed.owner(prefix)] if key is not None]


@given(st.lists(states(), min_size=2, max_size=5))
def test_what_was_read_of_a_device_or_wanted_of_it_is_not_changed_with_it(moments: list[DeviceState]) -> None:
    """They share their peers for as long as nothing changes."""
    device = Simulated(moments[0])
    seen = [moments[0]]
    peers = [dict(moments[0].peers)]
    for wanted in moments[1:]:
        device.apply_towards(wanted, plan(device, wanted, {}))
        device.share(wanted.peers)
        seen += [wanted, device.state()]
        peers += [dict(state.peers) for state in seen[-2:]]
        assert [dict(state.peers) for state in seen] == peers


@given(states(), learned_maps)
def test_nothing_is_done_when_nothing_differs(now: DeviceState, learned: Mapping[bytes, Endpoint]) -> None:
    assert difference(now, now, learned) == ()


@given(states(), states(), learned_maps)
def test_a_second_difference_finds_nothing_left(
    now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]
) -> None:
    wanted = replace(wanted, fwmark=MARK)
    after = simulate(now, difference(now, wanted, learned))
    configured = {key: goal.endpoint for key, goal in wanted.peers.items() if goal.endpoint is not None}
    assert difference(after, wanted, configured) == ()


@given(states(), states(), learned_maps)
def test_no_prefix_ever_belongs_to_two_peers_on_the_way(
    now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]
) -> None:
    """Followed without WireGuard's rule that the newest owner wins, so that a theft would show as a double owner."""
    held = {key: set(each.allowed_ips) for key, each in now.peers.items()}
    for operation in difference(now, wanted, learned):
        match operation:
            case RemovePeer(key):
                del held[key]
            case SetPeer(each):
                held[each.public_key] = set(each.allowed_ips)
            case _:
                continue
        everything = list(chain.from_iterable(held.values()))
        assert len(everything) == len(set(everything))


@given(states(), states(), learned_maps)
def test_the_plan_does_not_depend_on_the_order_of_maps(
    now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]
) -> None:
    turned = [replace(each, peers=dict(reversed(list(each.peers.items())))) for each in (now, wanted)]
    assert difference(turned[0], turned[1], learned) == difference(now, wanted, learned)


@given(states(), states(), learned_maps)
def test_a_peer_is_set_twice_only_to_let_go_of_what_another_needs(
    now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]
) -> None:
    seen: set[bytes] = set()
    sets = [operation.peer for operation in difference(now, wanted, learned) if isinstance(operation, SetPeer)]
    for position, each in enumerate(sets):
        if each.public_key in seen:
            continue
        seen.add(each.public_key)
        if any(later.public_key == each.public_key for later in sets[position + 1 :]):
            assert set(each.allowed_ips) < set(now.peers[each.public_key].allowed_ips)


@given(states(), states(), learned_maps)
def test_routes_leave_before_peers_and_come_after_addresses(
    now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]
) -> None:
    order = [SetInterface, RemoveRoute, RemovePeer, SetPeer, RemoveAddress, AddAddress, AddRoute]
    operations = list(difference(now, wanted, learned))
    last: list[RemoveRoute] = []
    while operations and isinstance(operations[-1], RemoveRoute) and AddRoute in map(type, operations):
        last.append(operations.pop())  # type: ignore[arg-type]
    ranks = [order.index(type(operation)) for operation in operations]
    assert ranks == sorted(ranks)
    coming = [(each.table, each.prefix) for each in operations if isinstance(each, AddRoute)]
    for route in last:
        assert any(table is route.table and route.prefix.overlaps(prefix) for table, prefix in coming)


@given(states(), states(), learned_maps)
def test_what_has_a_route_before_and_after_has_one_all_the_while(
    now: DeviceState, wanted: DeviceState, learned: Mapping[bytes, Endpoint]
) -> None:
    """Tried with the first and last address of each prefix."""
    for table in Table:
        before, after = now.routes_in(table), wanted.routes_in(table)
        places = {place for prefix in (*before, *after) for place in (prefix[0], prefix[-1])}
        stay = {place for place in places if any(place in one for one in before) and any(place in one for one in after)}
        routes = set(before)
        for operation in difference(now, wanted, learned):
            match operation:
                case AddRoute(prefix, to) if to is table:
                    routes.add(prefix)
                case RemoveRoute(prefix, to) if to is table:
                    routes.discard(prefix)
            assert all(any(place in route for route in routes) for place in stay)


def test_a_prefix_that_moves_is_let_go_by_its_holder_first() -> None:
    now = state({KEYS[0]: peer(KEYS[0]), KEYS[1]: peer(KEYS[1], PREFIXES[0])})
    wanted = state({KEYS[0]: peer(KEYS[0], PREFIXES[0]), KEYS[1]: peer(KEYS[1])})
    assert difference(now, wanted, {}) == (SetPeer(wanted.peers[KEYS[1]]), SetPeer(wanted.peers[KEYS[0]]))


def test_peers_that_swap_prefixes_cost_one_operation_more() -> None:
    now = state({KEYS[0]: peer(KEYS[0], PREFIXES[0]), KEYS[1]: peer(KEYS[1], PREFIXES[1])})
    wanted = state({KEYS[0]: peer(KEYS[0], PREFIXES[1]), KEYS[1]: peer(KEYS[1], PREFIXES[0])})
    assert difference(now, wanted, {}) == (
        SetPeer(peer(KEYS[0])),
        SetPeer(wanted.peers[KEYS[1]]),
        SetPeer(wanted.peers[KEYS[0]]),
    )


def test_a_roamed_endpoint_is_left_alone() -> None:
    now = state({KEYS[0]: peer(KEYS[0], endpoint=ENDPOINTS[1])})
    wanted = state({KEYS[0]: peer(KEYS[0], endpoint=ENDPOINTS[0])})
    assert difference(now, wanted, {KEYS[0]: ENDPOINTS[0]}) == ()


def test_a_roamed_endpoint_survives_another_change_of_its_peer() -> None:
    now = state({KEYS[0]: peer(KEYS[0], endpoint=ENDPOINTS[1])})
    wanted = state({KEYS[0]: peer(KEYS[0], endpoint=ENDPOINTS[0], keepalive=25)})
    assert difference(now, wanted, {KEYS[0]: ENDPOINTS[0]}) == (SetPeer(peer(KEYS[0], keepalive=25)),)


def test_a_newer_endpoint_in_the_record_replaces_a_roamed_one() -> None:
    now = state({KEYS[0]: peer(KEYS[0], endpoint=ENDPOINTS[1])})
    wanted = state({KEYS[0]: peer(KEYS[0], endpoint=ENDPOINTS[2])})
    assert difference(now, wanted, {KEYS[0]: ENDPOINTS[0]}) == (SetPeer(wanted.peers[KEYS[0]]),)


def test_a_peer_that_came_back_gets_its_endpoint_again() -> None:
    wanted = state({KEYS[0]: peer(KEYS[0], endpoint=ENDPOINTS[0])})
    assert difference(state(), wanted, {KEYS[0]: ENDPOINTS[0]}) == (SetPeer(wanted.peers[KEYS[0]]),)


def test_any_listen_port_satisfies_a_wanted_port_of_zero() -> None:
    now = replace(state(), listen_port=40000)
    assert difference(now, replace(now, listen_port=0), {}) == ()
    changed = simulate(now, difference(now, replace(now, listen_port=0, mtu=1280), {}))
    assert (changed.listen_port, changed.mtu) == (40000, 1280)


def test_a_foreign_key_on_the_device_asks_for_the_interface_to_be_set_again() -> None:
    now = replace(state(), public_key=b"\x02" * 32)
    assert difference(now, state(), {}) == (SetInterface(51820, 1420),)


def test_another_mark_asks_for_the_interface_to_be_set_again() -> None:
    now = replace(state(), fwmark=0)
    assert difference(now, state(), {}) == (SetInterface(51820, 1420),)
    assert simulate(now, difference(now, state(), {})) == state()


def test_a_route_that_changes_its_table_goes_and_comes_again() -> None:
    now, wanted = state(routes=(PREFIXES[0],)), replace(state(), unmarked_routes=(PREFIXES[0],))
    assert difference(now, wanted, {}) == (RemoveRoute(PREFIXES[0]), AddRoute(PREFIXES[0], Table.UNMARKED))


def test_one_prefix_planned_for_two_peers_is_refused() -> None:
    wanted = state({key: peer(key, PREFIXES[0]) for key in KEYS[:2]})
    with pytest.raises(LocalError) as caught:
        difference(state(), wanted, {})
    assert caught.value.problem.code == "plan-conflict"


def test_a_prefix_planned_for_one_peer_that_another_keeps_is_refused() -> None:
    now = state({KEYS[0]: peer(KEYS[0], PREFIXES[0])})
    wanted = state({KEYS[0]: now.peers[KEYS[0]], KEYS[1]: peer(KEYS[1], PREFIXES[0])})
    with pytest.raises(LocalError) as caught:
        difference(now, wanted, {})
    assert caught.value.problem.code == "plan-conflict"


def test_simulation_lets_the_newest_owner_have_a_prefix_as_wireguard_does() -> None:
    now = state({KEYS[0]: peer(KEYS[0], *PREFIXES[:2])})
    after = simulate(now, (SetPeer(peer(KEYS[1], PREFIXES[0])),))
    assert {key: each.allowed_ips for key, each in after.peers.items()} == {
        KEYS[0]: (PREFIXES[1],),
        KEYS[1]: (PREFIXES[0],),
    }


def test_peer_operations_are_batched_and_the_order_is_kept() -> None:
    operations: tuple[Operation, ...] = (
        SetInterface(1, 1420),
        RemovePeer(KEYS[0]),
        SetPeer(peer(KEYS[1])),
        AddRoute(PREFIXES[0]),
        AddRoute(PREFIXES[1]),
    )
    assert list(batches(operations)) == [operations[:1], operations[1:3], operations[3:4], operations[4:]]


def test_three_thousand_peers_are_planned_quickly_without_a_quadratic_walk() -> None:
    keys = [number.to_bytes(32, "big") for number in range(3000)]
    prefixes = [IPv6Network((0xFD << 120 | number, 128)) for number in range(3000)]
    now = state({key: peer(key, prefix) for key, prefix in zip(keys, prefixes, strict=True)})
    turned = state({key: peer(key, prefix) for key, prefix in zip(keys, prefixes[1:] + prefixes[:1], strict=True)})
    operations = difference(now, turned, {})
    assert len(operations) == 3001
    assert simulate(now, operations) == turned
