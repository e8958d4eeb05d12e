"""Clients of two meshes with two bridges side by side, in virtual time: packets are walked through all devices."""

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import permutations

import pytest

from scenarios.simulation import Host, World
from smeg.device import Backend, DeviceState, InterfaceSpec
from smeg.edges.dry_run import DryRunBackend
from smeg.keys import x25519_public
from smeg.route_policy import MeshPolicy, RoutePolicy

MESHES = ("left", "right")
BRIDGE = RoutePolicy(general=MeshPolicy(bridge=True))
FAR = 20
"""hops after which a packet has gone around."""


class Gateway(Host):
    """A host whose interfaces are all at hand."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world, number)
        self.backends: dict[bytes, DryRunBackend] = {}
        """By public key."""

    def _open_backend(self, spec: InterfaceSpec) -> Backend:
        backend = DryRunBackend()
        backend.open(spec)
        self.backends[x25519_public(spec.private_key)] = backend
        return backend


class Country(World):
    """Both meshes, each with three peers and three clients, and the bridges."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 14, heartbeat_interval=1.0)
        self.runtime.tracing = False
        self.bridges = self.gateways[:2]
        self.inside = {"left": self.gateways[2:8], "right": self.gateways[8:]}
        clients = {host for inside in self.inside.values() for host in inside[3:]}
        for host in self.gateways:
            role = "client" if host in clients else "peer"
            host.start(role=role, routes=BRIDGE if host in self.bridges else RoutePolicy())
        self.run(1.0, lambda: all(host.console is not None for host in self.hosts))
        self.run(0.1)
        for mesh, (founder, *others) in self.inside.items():
            founder.ask("new-mesh", name=mesh)
            token = founder.ask("invite", mesh=mesh, uses=7)["token"]
            for host in (*self.bridges, *others):
                host.ask("join-mesh", token=token)

    def make_host(self, number: int) -> Gateway:
        return Gateway(self, number)

    @property
    def gateways(self) -> list[Gateway]:
        return [host for host in self.hosts if isinstance(host, Gateway)]


class Map:
    """What all devices are at one moment."""

    def __init__(self, hosts: list[Gateway]) -> None:
        self._devices = {host: {key: backend.read() for key, backend in host.backends.items()} for host in hosts}
        self._holders = {key: host for host in hosts for key in host.backends}

    def home(self, host: Gateway) -> IPv6Address:
        """The address of a host that has one."""
        ((address,),) = (device.addresses for device in self._devices[host].values())
        return address.ip

    def walk(self, start: Gateway, to: Gateway) -> list[Gateway]:
        """Where a packet comes, one after another, until it is there or thrown away."""
        source, destination = self.home(start), self.home(to)
        path = [start]
        while path[-1] is not to and len(path) < FAR:
            at = path[-1]
            device = self._leaves_by(at, destination)
            peer = _owner(device, destination) if device is not None else None
            following = self._holders.get(peer) if peer is not None else None
            if device is None or peer is None or following is None:
                break
            if _owner(self._devices[following][peer], source) != device.public_key:
                break
            path.append(following)
        return path

    def _leaves_by(self, host: Gateway, to: IPv6Address) -> DeviceState | None:
        found = [
            (route.prefixlen, key)
            for key, device in self._devices[host].items()
            for route in (*device.routes, *device.unmarked_routes)
            if to in route
        ]
        return self._devices[host][max(found)[1]] if found else None


def _owner(device: DeviceState, address: IPv6Address) -> bytes | None:
    found: list[tuple[int, bytes]] = [
        (prefix.prefixlen, key)
        for key, peer in device.peers.items()
        for prefix in peer.allowed_ips
        if address in prefix
    ]
    return max(found)[1] if found else None


def unreached(country: Country, hosts: list[Gateway]) -> list[str]:
    ends = [host for host in hosts if host not in country.bridges]
    known = Map(hosts)
    paths = (known.walk(one, other) for one, other in permutations(ends, 2))
    pairs = zip(permutations(ends, 2), paths, strict=True)
    return [f"{one.name} to {to.name}: {[at.name for at in path]}" for (one, to), path in pairs if path[-1] is not to]


def settles(country: Country, hosts: list[Gateway], seconds: int) -> list[str]:
    """What is not reached when it has been looked at once a second for so long, or as soon as all is."""
    left = unreached(country, hosts)
    while left and seconds:
        country.run(1.0)
        seconds -= 1
        left = unreached(country, hosts)
    return left


@pytest.mark.parametrize("seed", range(1, 4))
def test_with_bridges_side_by_side_every_client_reaches_all_of_the_other_mesh_and_gets_answers(seed: int) -> None:
    country = Country(seed)
    assert settles(country, country.gateways, 30) == []
    country.run(5.0)
    assert unreached(country, country.gateways) == []

    lost, *_ = country.bridges
    lost.crash()
    living = [host for host in country.gateways if host is not lost]
    assert settles(country, living, 8) == []
