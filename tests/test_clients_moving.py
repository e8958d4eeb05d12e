"""Clients in virtual time: real actors choose carriers, and packets are walked through the devices that come of it."""

from __future__ import annotations

from itertools import permutations

import pytest

from scenarios.simulation import Host, World
from smeg import messages as m
from smeg.carriers import RETURN_AFTER
from smeg.errors import LocalError
from smeg.keys import NodeKey
from smeg.members import Members
from tests.fabric import Fabric

PEERS = 5
CLIENTS = 4
MOVED = 5.0
"""seconds from a power cut until clients are reached again."""


def members(host: Host) -> Members:
    (view,) = host.dashboard._meshes.values()
    assert isinstance(view.members, m.MembersChanged)
    return view.members.members


def via(host: Host, name: str) -> str:
    """The name of a client's carrier, as a host shows it."""
    rows = {row["name"]: row for row in host.dashboard.members("demo")["members"]}
    return str(rows[name]["via"][0]["name"])


def named(host: Host, client: Host) -> tuple[NodeKey, ...]:
    """What the client's record says, as a host knows it."""
    return members(host)[client.key].record.via


def all_reach(hosts: list[Host]) -> bool:
    known = members(hosts[0])
    if any(set(members(host)) != set(known) for host in hosts):
        return False
    fabric = Fabric(known, {host.key: host.backend.read() for host in hosts if host.backend is not None})
    paths = (
        fabric.walk(one.key, known[one.key].address, known[other.key].address) for one, other in permutations(hosts, 2)
    )
    return all(path[-1] == other.key for path, (_, other) in zip(paths, permutations(hosts, 2), strict=True))


def formed() -> World:
    """Some peers and some clients that have settled."""
    world = World(7, PEERS + CLIENTS, heartbeat_interval=1.0)
    world.runtime.tracing = False
    for host in world.hosts:
        host.start(role="peer" if host in world.hosts[:PEERS] else "client")
    world.run(1.0)
    world.form()
    assert world.run(20.0, lambda: all_reach(world.hosts))
    clients = world.hosts[PEERS:]
    assert world.run(20.0, lambda: all(named(host, client) for host in world.hosts for client in clients))
    return world


def test_when_a_carrier_loses_its_power_its_clients_are_reached_again_soon_and_return_to_it_a_minute_after_it() -> None:
    world = formed()
    client = world.hosts[PEERS]
    address = members(client)[client.key].address
    carrier = next(host for host in world.hosts if host.name == via(client, client.name))
    others = [host for host in world.hosts if host is not carrier]
    stayed = {host.name: via(client, host.name) for host in others[PEERS - 1 :]}
    carrier.crash()
    assert not all_reach(others)
    assert world.run(MOVED, lambda: all_reach(others))
    assert members(client)[client.key].address == address
    assert world.run(5.0, lambda: all(carrier.key not in named(host, client) for host in others))
    for name, before in stayed.items():
        assert (via(client, name) == before) == (before != carrier.name)
    second = via(client, client.name)

    carrier.start()
    assert world.run(30.0, lambda: all_reach(world.hosts))
    world.run(RETURN_AFTER - 30.0)
    assert via(client, client.name) == second
    assert all_reach(world.hosts)
    assert world.run(40.0, lambda: all(via(host, client.name) == carrier.name for host in world.hosts))
    assert world.run(5.0, lambda: all_reach(world.hosts))


def test_a_daemon_that_is_killed_and_comes_back_within_its_grace_keeps_its_clients() -> None:
    world = formed()
    client = world.hosts[PEERS]
    carrier = next(host for host in world.hosts if host.name == via(client, client.name))
    others = [host for host in world.hosts if host is not carrier]
    carrier.kill()
    assert world.run(10.0, lambda: client.members("demo")[carrier.name] == "daemon-down")
    assert {via(host, client.name) for host in others} == {carrier.name}
    carrier.start()
    assert world.run(30.0, lambda: set(client.members("demo").values()) == {"alive"})
    assert {via(host, client.name) for host in others} == {carrier.name}
    assert all_reach(world.hosts)


def test_a_client_that_is_restarted_stays_with_its_carrier_although_another_would_be_better() -> None:
    world = formed()
    client = world.hosts[PEERS]
    carrier = next(host for host in world.hosts if host.name == via(client, client.name))
    carrier.crash()
    assert world.run(10.0, lambda: via(client, client.name) != carrier.name)
    second = via(client, client.name)
    assert world.run(5.0, lambda: carrier.key not in named(client, client))
    client.crash()
    carrier.start()
    world.run(20.0)
    client.start(role="client")
    assert world.run(20.0, lambda: all_reach(world.hosts))
    assert {via(host, client.name) for host in world.hosts} == {second}


def test_a_client_makes_no_mesh() -> None:
    world = World(3, 1)
    (host,) = world.hosts
    host.start(role="client")
    world.run(1.0)
    with pytest.raises(LocalError) as refused:
        host.ask("new-mesh", name="demo")
    assert refused.value.problem.code == "client-founds"
    assert "peer" in refused.value.problem.hint
