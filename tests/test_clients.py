"""Two clients, each behind a NAT of its own, and two peers: real daemons, real WireGuard, real address translation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import permutations

import pytest

from scenarios.hosts import World
from scenarios.nat import GATEWAY, INSIDE
from tests.natted import Nat
from tests.nodes import PATIENCE, Node, all_at_once, make_world, wait_for

MESH = "oslo"
MOVED = "192.168.7.3"
SOON = 5.0
"""seconds from a failure until a client is reached again."""
GENEROUS = 3
"""By how much a busy machine may miss that."""


class Clients:
    """The mesh, formed."""

    def __init__(self, world: World) -> None:
        self.world = world
        backend = world.wireguard()
        self.peers = [Node(world.host(f"p{number}"), backend) for number in (1, 2)]
        self.nats = [Nat(world, number) for number in (1, 2)]
        self.clients = [Node(nat.host, backend, role="client") for nat in self.nats]
        for node in self.peers:
            node.host.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])
        for node in self.nodes:
            node.start()
        first, *others = self.peers
        first.ask("new-mesh", MESH)
        tokens = [first.ask("invite", MESH, "--uses", "3", "--role", role)["token"] for role in ("peer", "client")]
        for node in others:
            node.ask("join-mesh", "-", input=tokens[0])
        for node in self.clients:
            node.ask("join-mesh", "-", input=tokens[1])
        self.addresses = {node.name: node.address(MESH) for node in self.nodes}

    @property
    def nodes(self) -> list[Node]:
        return [*self.peers, *self.clients]

    def pings(self, one: Node, other: Node) -> bool:
        argv = ["ping", "-c1", f"-W{PATIENCE / 2:g}", self.addresses[other.name]]
        return one.host.run(argv, check=False).returncode == 0

    def carrier(self, client: Node) -> Node:
        (row,) = [row for row in client.ask("members", MESH)["members"] if row["self"]]
        return next(node for node in self.peers if node.name == row["via"][0]["name"])

    def until_all_ping(self, nodes: list[Node], seconds: float) -> None:
        all_at_once(
            partial(wait_for, f"{one.name} pings {other.name}", partial(self.pings, one, other), seconds)
            for one, other in permutations(nodes, 2)
        )


@pytest.fixture(scope="module")
def mesh() -> Iterator[Clients]:
    with make_world() as world:
        yield Clients(world)


def test_all_pairs_ping_through_one_peer_or_two(mesh: Clients) -> None:
    mesh.until_all_ping(mesh.nodes, 20)


def test_a_client_has_tunnels_with_its_carrier_and_a_second_and_sends_all_through_the_first(mesh: Clients) -> None:
    for client in mesh.clients:
        wait_for("its record names its carrier", lambda client=client: bool(mesh.carrier(client)), 10)  # type: ignore[misc]
        plan = client.ask("plan", MESH)
        by_name = {peer["name"]: peer for peer in plan["peers"]}
        assert len(by_name) == 2
        assert by_name.pop(mesh.carrier(client).name)["allowed_ips"] == plan["routes"]
        (warm,) = by_name.values()
        assert warm["allowed_ips"] == []
        assert warm["keepalive"] == 25


def test_why_names_the_peers_that_carry_a_packet_from_one_client_to_another(mesh: Clients) -> None:
    one, other = mesh.clients
    steps = one.ask("why", mesh.addresses[other.name])["steps"]
    carriers = dict.fromkeys([mesh.carrier(one).name, mesh.carrier(other).name])
    assert [step["to"] for step in steps] == [*carriers, other.name]


def test_a_client_listens_to_nobody_and_nobody_knows_where_to_dial_it(mesh: Clients) -> None:
    for client in mesh.clients:
        listening = client.host.run(["ss", "-Hltn"]).stdout.splitlines()
        assert all(re.search(r"\s(127\.0\.0\.1|\[::1\]):\d+\s", line) for line in listening), listening
        assert mesh.peers[0].members(MESH)[client.name]["endpoints"] == []


def test_a_client_whose_nat_gets_another_address_is_reached_again_soon(mesh: Clients) -> None:
    client, nat = mesh.clients[0], mesh.nats[0]
    other = mesh.clients[1]
    mesh.until_all_ping([client, other, *mesh.peers], 20)
    nat.move()
    took = max(
        wait_for(f"{node.name} pings {client.name}", partial(mesh.pings, node, client), GENEROUS * SOON)
        for node in (mesh.carrier(client), other)
    )
    print(f"\nreached again {took:.1f} s after its NAT's address had changed")
    seen = mesh.carrier(client).host.run(["wg", "show", "all", "endpoints"]).stdout
    assert nat.outside in seen
    mesh.until_all_ping(mesh.nodes, 10)


def test_a_client_that_gets_another_address_of_its_own_is_reached_again_soon(mesh: Clients) -> None:
    client, other = mesh.clients[1], mesh.clients[0]
    mesh.until_all_ping([client, other, *mesh.peers], 20)
    client.host.run(["ip", "address", "add", f"{MOVED}/24", "dev", "eth0"])
    client.host.run(["ip", "address", "del", f"{INSIDE}/24", "dev", "eth0"])
    # With the address the kernel takes what was reached from it, and the second, which was a part of it.
    client.host.run(["ip", "address", "replace", f"{MOVED}/24", "dev", "eth0"])
    client.host.run(["ip", "route", "replace", "default", "via", GATEWAY])
    took = wait_for(f"{client.name} pings a peer", partial(mesh.pings, client, mesh.peers[0]), GENEROUS * SOON)
    print(f"\nreached again {took:.1f} s after its address had changed")
    mesh.until_all_ping(mesh.nodes, 10)


def test_a_client_whose_carriers_daemon_is_killed_is_reached_all_the_while(mesh: Clients) -> None:
    client, other = mesh.clients
    carrier = mesh.carrier(client)
    mesh.until_all_ping([client, other], 10)
    assert carrier.daemon is not None
    carrier.daemon.kill9()
    wait_for("it is known to be down", lambda: client.states(MESH)[carrier.name] == "daemon-down", 10)
    assert mesh.carrier(client) is carrier
    assert mesh.pings(other, client), "WireGuard outlives the daemon"
    carrier.start()
    wait_for("it is known to be back", lambda: client.states(MESH)[carrier.name] == "alive", 20)
    assert mesh.carrier(client) is carrier
    mesh.until_all_ping(mesh.nodes, 20)


def test_a_client_whose_carrier_dies_is_reached_again_soon_at_its_address(mesh: Clients) -> None:
    client = mesh.clients[0]
    carrier = mesh.carrier(client)
    address = mesh.addresses[client.name]
    living = [node for node in mesh.nodes if node is not carrier]
    mesh.until_all_ping(living, 10)
    assert carrier.daemon is not None
    mesh.world.run(["ip", "link", "set", f"host{carrier.host.number}", "down"]).check_returncode()
    carrier.daemon.kill9()
    took = max(
        wait_for(f"{node.name} pings {client.name}", partial(mesh.pings, node, client), GENEROUS * SOON)
        for node in living
        if node is not client
    )
    print(f"\nreached again {took:.1f} s after its carrier had died")
    mesh.until_all_ping(living, 10)
    assert client.address(MESH) == address
    assert mesh.carrier(client) is not carrier
    mesh.world.run(["ip", "link", "set", f"host{carrier.host.number}", "up"]).check_returncode()
    carrier.start()
    mesh.until_all_ping(mesh.nodes, 20)
