"""Whole daemons in many meshes: after every event each packet arrives exactly where it can, by a shortest way, and in
between none goes around."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Interface, IPv6Network

import pytest

from scenarios.many_meshes import BridgedWorld, Topology, joined, random_topology
from scenarios.packets import End, Packets
from scenarios.routing_trials import SETTLING, try_topology
from smeg import path_vector
from smeg.device import DeviceState, WgPeer

WIDE = IPv6Network("fd00::/16")


@pytest.mark.parametrize(("seed", "loss"), [(11, 0.0), (12, 0.05), (13, 0.05), (14, 0.0)])
def test_random_topologies_are_routed_as_an_oracle_says(seed: int, loss: float) -> None:
    verdict = try_topology(random_topology(seed, 30, 40), seed, loss)
    assert verdict.wrong == []
    assert len(verdict.events) == 5


def test_the_oracle_is_not_easily_pleased(monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody took the ways that are offered, it would be noticed."""
    monkeypatch.setattr(path_vector.PathVector, "candidates", lambda self, prefix: [])
    topology = Topology(((0,), (0, 1), (1,)))
    assert try_topology(topology, 1, events=0).wrong


def test_meshes_that_bridges_join_are_one_network() -> None:
    world = BridgedWorld(3, joined(3, 5, 4, 6))
    world.start()
    world.run(SETTLING)
    places = [(number, mesh) for number, within in enumerate(world.topology.hosts) for mesh in within]
    assert world.check((sender, to) for sender in places for to in places) == []


def state(own: str, address: str, **peers: IPv6Network) -> DeviceState:
    found = {name.encode(): WgPeer(name.encode(), (prefix,)) for name, prefix in peers.items()}
    return DeviceState(own.encode(), 1, 1420, True, (IPv6Interface(address),), (WIDE,), found)


def test_a_packet_that_goes_around_is_seen_to() -> None:
    packets = Packets()
    for own, address, following in (("a", "fd00::a/128", "b"), ("b", "fd00::b/128", "c"), ("c", "fd00::c/128", "a")):
        packets.put(own, "mesh", state(own, address, **{following: WIDE}))
    walk = packets.walk("a", IPv6Address("fd00::a"), IPv6Address("fd00::99"))
    # Each takes what has this source only from whom it sends the same way.
    assert (walk.end, walk.hosts) == (End.NOT_TAKEN, ("a", "b"))
    for own, address, before, after in (("a", "fd00::a/128", "c", "b"), ("b", "fd00::b/128", "a", "c"),
                                        ("c", "fd00::c/128", "b", "a")):  # fmt: skip
        packets.put(own, "mesh", state(own, address, **{before: IPv6Network("::/128"), after: WIDE}))
    assert packets.walk("a", IPv6Address("::"), IPv6Address("fd00::99")).hosts == ("a", "b", "c", "a")
    assert packets.circle("b", IPv6Address("fd00::99")) == ("b", "c", "a", "b")


def test_a_circle_is_seen_although_no_source_would_pass_all_of_it() -> None:
    packets = Packets()
    for own, address, following in (("a", "fd00::a/128", "b"), ("b", "fd00::b/128", "c"), ("c", "fd00::c/128", "a")):
        packets.put(own, "mesh", state(own, address, **{following: WIDE}))
    assert packets.circle("a", IPv6Address("fd00::99")) == ("a", "b", "c", "a")
    assert packets.circle("a", IPv6Address("fd00::c")) == ()
    packets.remove("c")
    assert packets.circle("a", IPv6Address("fd00::99")) == ()
