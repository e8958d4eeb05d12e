"""A simulated world of many meshes that bridges join, and an oracle that knows where packets should go.

Whole daemons on the virtual runtime, with interfaces that are only remembered. Whenever one of them is set anew, every
way on from its host is walked: there must be no circle, at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from random import Random
from typing import Any

import networkx

from scenarios.packets import End, Packets, Walk
from scenarios.population import populate
from scenarios.simulation import Host, World
from scenarios.stand_ins import NoDevice, NoRoutes
from smeg import messages as m
from smeg.core import Message
from smeg.mesh_view import MeshView
from smeg.route_policy import MeshPolicy, RoutePolicy
from smeg.ways import MAX_HOPS

ALL_PAIRS = 150
"""Addresses of which every pair is looked at."""
Place = tuple[int, int]
"""A host and one of its meshes, by number: an address."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Which hosts, by number, are in which meshes, by number; who is in several bridges them, but for bystanders."""

    hosts: tuple[tuple[int, ...], ...]
    clients: frozenset[int] = frozenset()
    bystanders: frozenset[int] = frozenset()
    weights: Mapping[int, int] = field(default_factory=dict)
    """Of bridges, where it is not 1."""

    def policy(self, number: int) -> RoutePolicy:
        bridges = len(self.hosts[number]) > 1 and number not in self.bystanders
        return RoutePolicy(weight=self.weights.get(number, 1), general=MeshPolicy(bridge=bridges))

    @property
    def meshes(self) -> dict[int, list[int]]:
        """The hosts of each mesh."""
        found: dict[int, list[int]] = {}
        for number, within in enumerate(self.hosts):
            for mesh in within:
                found.setdefault(mesh, []).append(number)
        return found


def random_topology(seed: int, meshes: int, hosts: int) -> Topology:
    """At most so many meshes and hosts. A quarter of the hosts are in two or three meshes, and most of these bridge
    them, with different weights; of the others some are clients. The first host of each mesh is a peer."""
    chance = Random(seed)
    # As many worlds of 3 to 30 hosts as of 30 to 300.
    count = round(3 * (hosts / 3) ** chance.random())
    ids = range(chance.randint(2, max(2, min(meshes, count // 3))))
    drawn: list[tuple[int, ...]] = [(mesh,) for mesh in ids]
    for _ in range(count - len(ids)):
        k = 1 if chance.random() < 0.75 else chance.choice([2, 2, 3])
        drawn.append(tuple(chance.sample(ids, min(k, len(ids)))))
    singles = [number for number in range(len(ids), len(drawn)) if len(drawn[number]) == 1]
    several = [number for number, within in enumerate(drawn) if len(within) > 1]
    return Topology(
        tuple(drawn),
        frozenset(chance.sample(singles, len(singles) // 5)),
        frozenset(chance.sample(several, len(several) // 5)),
        {number: chance.choice([1, 1, 2, 7]) for number in several},
    )


def joined(seed: int, meshes: int, each: int, bridges: int) -> Topology:
    """So many meshes of so many hosts. Some of these are in a second mesh too, and join all of them."""
    chance = Random(seed)
    hosts: list[tuple[int, ...]] = [(number // each,) for number in range(meshes * each)]
    links = [(mesh, chance.randrange(mesh)) for mesh in range(1, meshes)]
    while len(links) < bridges:
        a, b = chance.sample(range(meshes), 2)
        links.append((a, b))
    free = {mesh: chance.sample(range(mesh * each, (mesh + 1) * each), each) for mesh in range(meshes)}
    for a, b in links:
        number = free[a].pop()
        hosts[number] = (a, b)
    return Topology(tuple(hosts))


def by_backbone(meshes: int, each: int, bridges: int) -> Topology:
    """So many meshes of so many hosts, of each of which so many are in one mesh more, the backbone, that joins all."""
    within = [(mesh, meshes) if number < bridges else (mesh,) for mesh in range(meshes) for number in range(each)]
    return Topology(tuple(within))


class Bridge(Host):
    """A host that tells the world of each change of one of its interfaces."""

    world: BridgedWorld

    def stand_by(self) -> None:
        """From its next start on it only takes part in its mesh: it chooses no ways and sends nothing beyond."""
        self._device, self._routing = NoDevice, NoRoutes

    def hear(self, message: Message) -> None:
        super().hear(message)
        match message:
            case m.DeviceApplied():
                self.world.applied(self, message)
            case m.RoutesChanged():
                self.world.routed_at = self.world.runtime.time
            case m.LivenessChanged():
                self.world.judged(self, message)


class BridgedWorld(World):
    """`topology` with all its meshes, whose hosts have long been members and are started by `start`."""

    def __init__(self, seed: int, topology: Topology, **settings: Any) -> None:
        self.packets = Packets()
        self.loops: list[str] = []
        self.routed_at = 0.0
        """Virtual seconds at which somebody chose another route last."""
        self._noticed: dict[str, dict[str, float]] = {}
        """By host and mesh: when somebody first thought it dead, since its last start."""
        self.left_out: set[int] = set()
        self._gone: set[str] = set()
        self._watching = False
        super().__init__(seed, len(topology.hosts), **settings)
        self.runtime.tracing = False
        self.topology = topology
        self.mesh_ids: dict[int, str] = {}
        for mesh, numbers in sorted(topology.meshes.items()):
            ordered = sorted(numbers, key=lambda number: number in topology.clients)
            clients = [self.hosts[number] for number in ordered if number in topology.clients]
            self.mesh_ids[mesh] = populate(self, [self.hosts[number] for number in ordered], clients, f"m{mesh}")
        self._names = {host.key: host.name for host in self.hosts}
        self._numbers = {host.name: number for number, host in enumerate(self.hosts)}

    def make_host(self, number: int) -> Host:
        return Bridge(self, number)

    def start(self) -> None:
        for number in range(len(self.hosts)):
            self.start_host(number)

    def leave_out(self, numbers: Iterable[int]) -> None:
        """Look at the routes of all but these, which bridge nothing."""
        for number in numbers:
            host = self.hosts[number]
            assert isinstance(host, Bridge)
            host.stand_by()
            self.left_out.add(number)

    def start_host(self, number: int) -> None:
        host = self.hosts[number]
        self._gone.discard(host.name)
        self._noticed.pop(host.name, None)
        role = "client" if number in self.topology.clients else "peer"
        host.start(role=role, routes=self.topology.policy(number))

    def crash(self, number: int) -> None:
        """The host is gone, with all of its interfaces."""
        host = self.hosts[number]
        host.crash()
        self._gone.add(host.name)
        self.packets.remove(host.name)

    def alive(self, number: int) -> bool:
        return self.hosts[number].name not in self._gone

    # What is seen while it runs.

    def applied(self, host: Host, message: m.DeviceApplied) -> None:
        if host.name in self._gone:
            return
        if self._watching:
            self._look_for_loops(host, self.packets.moved(host.name, message.mesh, message.plan))
        else:
            self.packets.put(host.name, message.mesh, message.plan)

    def judged(self, host: Host, message: m.LivenessChanged) -> None:
        for key in message.pruned:
            name = self._names[key]
            if name in self._gone:
                self._noticed.setdefault(name, {}).setdefault(message.mesh, self.runtime.time)

    def noticed(self, number: int, otherwise: float) -> float:
        """Virtual seconds at which a death was known to somebody in each mesh of a host, which finds it by itself."""
        return max(self._noticed.get(self.hosts[number].name, {}).values(), default=otherwise)

    def watch(self) -> None:
        """From now on look for circles."""
        self._watching = True

    def _look_for_loops(self, host: Host, moved: Iterable[IPv6Network]) -> None:
        """Whether a packet that comes by here now goes around: a circle begins where somebody chooses anew."""
        for prefix in moved:
            for to in (prefix[0], prefix[-1]):
                circle = self.packets.circle(host.name, to)
                if circle:
                    self.loops.append(f"{self.runtime.time:.3f} s: {' '.join(circle)}")

    # What is so, and what should be.

    def address(self, number: int, mesh: int) -> IPv6Address:
        return self.view(number, mesh).table[self.hosts[number].key].address

    def view(self, number: int, mesh: int) -> MeshView:
        """What a host knows of one of its meshes."""
        return self.hosts[number].dashboard.find(self.mesh_ids[mesh])

    def walk(self, sender: Place, to: Place) -> Walk:
        """Of a packet between two hosts, each with the mesh whose address is meant."""
        return self.packets.walk(self.hosts[sender[0]].name, self.address(*sender), self.address(*to))

    def graph(self) -> networkx.Graph[Any]:
        """Hosts and meshes: a live host touches its meshes. Who forwards nothing need not touch any."""
        graph: networkx.Graph[Any] = networkx.Graph()
        for number, within in enumerate(self.topology.hosts):
            graph.add_nodes_from(("mesh", mesh) for mesh in within if self.alive(number))
            if self.alive(number) and number not in self.topology.bystanders:
                graph.add_edges_from((("host", number), ("mesh", mesh)) for mesh in within)
        return graph

    def check(self, pairs: Iterable[tuple[Place, Place]]) -> list[str]:
        """What is wrong between pairs of addresses: every packet arrives exactly where it can, by a shortest way."""
        graph, wrong = self.graph(), []
        meshes = [node for node in graph if node[0] == "mesh"]
        lengths = {mesh: networkx.single_source_shortest_path_length(graph, mesh) for mesh in meshes}
        for sender, to in ((sender, to) for sender, to in pairs if sender[0] != to[0]):
            steps = lengths.get(("mesh", sender[1]), {}).get(("mesh", to[1]))
            expected, walk = None if steps is None else steps // 2 + 1, self.walk(sender, to)
            if expected is not None and expected > MAX_HOPS:
                continue
            crossed = self._crossed(walk) if walk.end is End.ARRIVED else None
            # Who is in several meshes may be nearer than the mesh of the address that it sends from.
            if (crossed is None) != (expected is None) or (crossed or 0) > (expected or 0):
                said = f"{walk.end}: {' '.join(walk.hosts)}"
                wrong.append(f"from {sender} to {to}: {said}; a shortest way crosses {expected} meshes")
        return wrong

    def _crossed(self, walk: Walk) -> int:
        """How many meshes a packet crossed: steps inside one mesh, by a client's peer, count once."""
        crossed, before = 0, None
        for here, there in zip(walk.hosts, walk.hosts[1:], strict=False):
            shared = set(self._within(here)) & set(self._within(there))
            if before is None or not shared & before:
                crossed, before = crossed + 1, shared
            else:
                before = shared & before
        return crossed

    def _within(self, name: str) -> Sequence[int]:
        return self.topology.hosts[self._numbers[name]]

    def pairs(self, chance: Random) -> Iterator[tuple[Place, Place]]:
        """All pairs of addresses of live hosts; of many only each address with one of each mesh."""
        hosts = enumerate(self.topology.hosts)
        living = [(number, mesh) for number, within in hosts if self.alive(number) for mesh in within]
        by_mesh: dict[int, list[Place]] = {}
        for place in living:
            by_mesh.setdefault(place[1], []).append(place)
        for sender in living:
            for places in by_mesh.values():
                for to in places if len(living) <= ALL_PAIRS else [chance.choice(places)]:
                    yield sender, to
