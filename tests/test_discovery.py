"""Under which address a host is reached, by what others see: two have to agree, and one that lies changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.hosts import World
from scenarios.nat import INSIDE
from smeg.discovery import KEPT, Discovery, seen_address
from smeg.edges.frames import HELLO_ANSWER, hello_answer, parse
from smeg.errors import RemoteError
from tests.builders import QUICK
from tests.natted import Nat
from tests.nodes import Node, form_mesh, make_world, wait_for

TRUE, LIE, LOCAL = "192.0.2.7", "198.51.100.66", "10.0.0.5"
EVERYBODY = frozenset(bytes([number]) for number in range(256))
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


def heard(*said: str, members: frozenset[bytes] = EVERYBODY, local: tuple[str, ...] = (LOCAL,)) -> tuple[str, ...]:
    """What is agreed on when each of several members says one of these."""
    discovery = Discovery()
    for number, address in enumerate(said):
        discovery.hear(bytes([number]), ip_address(address).packed)
    return discovery.agreed(members, local)


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        ([], ()),
        ([TRUE], ()),
        ([TRUE, TRUE], (TRUE,)),
        ([TRUE, LIE], ()),
        ([TRUE, TRUE, LIE], (TRUE,)),
        ([TRUE, TRUE, LIE, LIE], ()),
        ([LOCAL, LOCAL, LOCAL, TRUE, TRUE], (TRUE,)),
        ([TRUE, TRUE, "2001:db8::7", "2001:db8::7"], (TRUE, "2001:db8::7")),
        ([TRUE, f"::ffff:{TRUE}"], (TRUE,)),
        (["127.0.0.1", "127.0.0.1"], ()),
        (["fe80::1", "fe80::1", "ff02::1", "ff02::1", "::", "::"], ()),
    ],
)
def test_two_that_agree_and_are_most_decide(said: list[str], agreed: tuple[str, ...]) -> None:
    assert heard(*said) == agreed


@QUICK
@given(st.lists(st.tuples(st.integers(0, 5), addresses), max_size=30), st.lists(addresses, max_size=30))
def test_one_that_says_whatever_it_likes_changes_nothing_that_others_agree_on(
    honest: list[tuple[int, IPv4Address | IPv6Address]], lies: list[IPv4Address | IPv6Address]
) -> None:
    without, hostile = Discovery(), Discovery()
    for discovery in (without, hostile):
        for number, _ in honest:
            discovery.hear(bytes([number]), ip_address(TRUE).packed)
    for lie in lies:
        hostile.hear(bytes([99]), lie.packed)
        agreed = hostile.agreed(EVERYBODY, ())
        # It may keep two who are not more than half from being believed; it is never believed itself.
        assert set(agreed) <= {TRUE, *([str(lie)] if str(lie) == TRUE else [])}
    if len({number for number, _ in honest}) >= 2:
        assert hostile.agreed(EVERYBODY, ()) == without.agreed(EVERYBODY, ()) == (TRUE,)


def test_who_is_no_member_has_no_say() -> None:
    assert heard(TRUE, TRUE, members=frozenset({bytes([0])})) == ()


def test_what_was_agreed_on_stays_until_others_agree_on_something_else() -> None:
    discovery = Discovery()
    for number in (1, 2):
        discovery.hear(bytes([number]), ip_address(TRUE).packed)
    assert discovery.agreed(EVERYBODY, ()) == (TRUE,)
    for number in (1, 2):
        discovery.forget(bytes([number]))
    assert discovery.agreed(EVERYBODY, ()) == (TRUE,)
    discovery.hear(bytes([1]), ip_address(LIE).packed)
    assert discovery.agreed(EVERYBODY, ()) == (TRUE,)
    discovery.hear(bytes([2]), ip_address(LIE).packed)
    assert discovery.agreed(EVERYBODY, ()) == (LIE,)


def test_what_many_say_is_not_all_kept() -> None:
    discovery = Discovery()
    for number in range(10 * KEPT):
        discovery.hear(number.to_bytes(4, "big"), ip_address(TRUE).packed)
    assert len(discovery._said) == KEPT


@QUICK
@given(st.binary(max_size=20))
def test_whatever_is_said_is_an_address_that_can_be_dialled_or_nothing(raw: bytes) -> None:
    found = seen_address(raw)
    assert found is None or not (found.is_loopback or found.is_multicast or found.is_unspecified or found.is_link_local)


@QUICK
@given(st.one_of(addresses.map(str), st.text(max_size=20)))
def test_the_answer_to_a_hello_is_well_formed_whoever_asked(peer: str) -> None:
    frames = parse(hello_answer(peer))
    assert frames.channel == HELLO_ANSWER
    assert len(frames.payload) in (0, 4, 16)


def test_a_hello_itself_says_nothing() -> None:
    with pytest.raises(RemoteError):
        parse([b"", b"?", b"1234"])
    with pytest.raises(RemoteError):
        parse([b"", b"!", b"12345"])


# On hosts, one of them behind a NAT that lets in what is for it.

FORWARDED = """
table ip nat {
  chain into {
    type nat hook prerouting priority -100
    iifname "eth0" tcp dport 51800 dnat to INSIDE
    iifname "eth0" udp dport 51820 dnat to INSIDE
  }
}
insert rule ip filter through ct status dnat accept
""".replace("INSIDE", INSIDE)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


def test_a_host_that_gets_another_address_says_so(world: World) -> None:
    backend = world.wireguard()
    nodes = [Node(world.host(f"m{number}"), backend) for number in (1, 2)]
    moving = Node(world.host("m3"), backend, publicEndpoint=[])
    for node in (*nodes, moving):
        node.start()
    form_mesh([*nodes, moving], "paris")
    before = moving.host.address(4)
    wait_for("it is known", lambda: str(before) in hosts_of(nodes[1], "m3"), 20)
    after = before + 512
    moving.host.run(["ip", "address", "add", f"{after}/16", "dev", "eth0"])
    moving.host.run(["ip", "address", "del", f"{before}/16", "dev", "eth0"])
    # The kernel removes the second address with the first, of which it was a part.
    moving.host.run(["ip", "address", "replace", f"{after}/16", "dev", "eth0"])
    # Long before TCP, or the heartbeat of the connections, would notice that they are dead.
    wait_for("its new address is known", lambda: str(after) in hosts_of(nodes[1], "m3"), 12)
    assert str(before) not in hosts_of(nodes[1], "m3")
    address = nodes[1].members("paris")["m3"]["address"]
    wait_for("it is reached", lambda: nodes[1].pings(address), 30)


def hosts_of(node: Node, name: str) -> list[str]:
    """Where the record of somebody says that its interface is, without the port."""
    return [endpoint.rpartition(":")[0] for endpoint in node.members("paris")[name]["endpoints"]]


@pytest.mark.timeout(400)
def test_a_peer_behind_a_nat_is_found_at_the_address_that_others_see(world: World) -> None:
    nat = Nat(world, 1)
    nat.router.run(["nft", "-f", "-"], input=FORWARDED)
    backend = world.wireguard()
    peers = [Node(world.host(f"p{number}"), backend) for number in (1, 2, 3)]
    hidden = Node(nat.host, backend, publicEndpoint=[], ipDiscovery="peers")
    for node in (*peers, hidden):
        node.start()
    form_mesh([*peers, hidden], "paris")
    first, name = peers[0], hidden.name
    wait_for("its address is known", lambda: hosts_of(first, name) == [nat.outside, INSIDE], 40)
    # Whom nobody behind the NAT has spoken to yet is the one that speaks first.
    for node in peers:
        address = first.members("paris")[name]["address"]
        wait_for("it is reached", lambda node=node, address=address: node.pings(address), 20)  # type: ignore[misc]

    assert hidden.daemon is not None
    hidden.daemon.kill9()
    hidden.start()
    wait_for("it is back", lambda: first.states("paris")[name] == "alive", 20)
    assert hosts_of(first, name) == [nat.outside, INSIDE]

    nat.move()
    wait_for("its new address is known", lambda: hosts_of(first, name) == [nat.outside, INSIDE], 120)
    wait_for("it is reached", lambda: peers[2].pings(address), 30)
