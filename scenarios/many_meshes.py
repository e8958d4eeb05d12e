"""A simulated world of many meshes that bridges join, and an oracle that knows where packets should go.

Whole daemons on the virtual runtime, with interfaces that are only remembered. Whenever one of them is set anew, every
way on from its host is walked: there must be no circle, at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from random import Random
from typing import Any

import networkx

from scenarios.packets import End, Packets, Walk
from scenarios.population import populate
from scenarios.simulation import Host, World
from smeg import messages as m
from smeg.core import Message
from smeg.route_policy import MeshPolicy, RoutePolicy

BRIDGE = RoutePolicy(general=MeshPolicy(bridge=True))


@dataclass(frozen=True, slots=True)
class Topology:
    """Which hosts, by number, are in which meshes, by number; who is in several bridges them."""

    hosts: tuple[tuple[int, ...], ...]
    clients: frozenset[int] = frozenset()

    @property
    def meshes(self) -> dict[int, list[int]]:
        """The hosts of each mesh."""
        found: dict[int, list[int]] = {}
        for number, within in enumerate(self.hosts):
            for mesh in within:
                found.setdefault(mesh, []).append(number)
        return found


def random_topology(seed: int, meshes: int, hosts: int) -> Topology:
    """At most so many meshes and hosts. A quarter of the hosts are in two or three meshes; of the others some are
    clients. The first host of each mesh is a peer."""
    chance = Random(seed)
    # As many worlds of 3 to 30 hosts as of 30 to 300.
    count = round(3 * (hosts / 3) ** chance.random())
    ids = range(chance.randint(2, max(2, min(meshes, count // 3))))
    drawn: list[tuple[int, ...]] = [(mesh,) for mesh in ids]
    for _ in range(count - len(ids)):
        k = 1 if chance.random() < 0.75 else chance.choice([2, 2, 3])
        drawn.append(tuple(chance.sample(ids, min(k, len(ids)))))
    singles = [number for number in range(len(ids), len(drawn)) if len(drawn[number]) == 1]
    return Topology(tuple(drawn), frozenset(chance.sample(singles, len(singles) // 5)))


class Bridge(Host):
    """A host that tells the world of each change of one of its interfaces."""

    world: BridgedWorld

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
        self.noticed: dict[str, float] = {}
        """By host: when somebody first thought it dead, since its last start."""
        self._gone: set[str] = set()
        self._watching = False
        super().__init__(seed, len(topology.hosts), **settings)
        self.runtime.tracing = False
        self.topology = topology
        self.mesh_ids: dict[int, str] = {}
        for mesh, numbers in sorted(topology.meshes.items()):
            members = sorted((self.hosts[number] for number in numbers), key=lambda host: self._is_client(host))
            clients = [host for host in members if self._is_client(host)]
            self.mesh_ids[mesh] = populate(self, members, clients, f"m{mesh}")
        self._names = {host.key: host.name for host in self.hosts}
        self._by_name = {host.name: host for host in self.hosts}

    def make_host(self, number: int) -> Host:
        return Bridge(self, number)

    def _is_client(self, host: Host) -> bool:
        return self.hosts.index(host) in self.topology.clients

    def start(self) -> None:
        for number in range(len(self.hosts)):
            self.start_host(number)

    def start_host(self, number: int) -> None:
        within = self.topology.hosts[number]
        host = self.hosts[number]
        self._gone.discard(host.name)
        self.packets.dead.discard(host.name)
        self.noticed.pop(host.name, None)
        role = "client" if number in self.topology.clients else "peer"
        host.start(role=role, **({"routes": BRIDGE} if len(within) > 1 else {}))

    def crash(self, number: int) -> None:
        """The host is gone, with all of its interfaces."""
        host = self.hosts[number]
        host.crash()
        self._gone.add(host.name)
        self.packets.dead.add(host.name)
        self.packets.remove(host.name)

    def alive(self, number: int) -> bool:
        return self.hosts[number].name not in self._gone

    # What is seen while it runs.

    def applied(self, host: Host, message: m.DeviceApplied) -> None:
        if host.name in self._gone:
            return
        moved = self.packets.put(host.name, message.mesh, message.plan)
        if self._watching:
            self._look_for_loops(host, moved)

    def judged(self, host: Host, message: m.LivenessChanged) -> None:
        for key in message.pruned:
            name = self._names[key]
            if name in self._gone:
                self.noticed.setdefault(name, self.runtime.time)

    def watch(self) -> None:
        """From now on look for circles."""
        self._watching = True

    def _look_for_loops(self, host: Host, moved: Iterable[IPv6Network]) -> None:
        """Whether a packet that comes by here now goes around: a circle begins where somebody chooses anew."""
        for prefix in moved:
            for to in (prefix[0], prefix[-1]):
                walk = self.packets.walk(host.name, IPv6Address(0), to)
                if walk.end is End.LOOP:
                    self.loops.append(f"{self.runtime.time:.3f} s: {' '.join(walk.hosts)}")

    # What is so, and what should be.

    def address(self, number: int, mesh: int) -> IPv6Address:
        host = self.hosts[number]
        return host.dashboard.find(self.mesh_ids[mesh]).table[host.key].address

    def walk(self, sender: tuple[int, int], to: tuple[int, int]) -> Walk:
        """Of a packet between two hosts, each with the mesh whose address is meant."""
        return self.packets.walk(self.hosts[sender[0]].name, self.address(*sender), self.address(*to))

    def graph(self) -> networkx.Graph[Any]:
        """Hosts and meshes: a live host touches its meshes. A client touches its own alone, for it forwards nothing."""
        graph: networkx.Graph[Any] = networkx.Graph()
        for number, within in enumerate(self.topology.hosts):
            if self.alive(number):
                graph.add_edges_from((("host", number), ("mesh", mesh)) for mesh in within)
        return graph

    def length(self, graph: networkx.Graph[Any], sender: tuple[int, int], to: tuple[int, int]) -> int | None:
        """How many meshes a shortest way crosses from an address to another; None where there is none."""
        ends = (("mesh", sender[1]), ("mesh", to[1]))
        if not all(end in graph for end in ends) or not networkx.has_path(graph, *ends):
            return None
        return int(networkx.shortest_path_length(graph, *ends)) // 2 + 1

    def check(self, pairs: Iterable[tuple[tuple[int, int], tuple[int, int]]]) -> list[str]:
        """What is wrong between pairs of addresses: every packet arrives exactly where it can, by a shortest way."""
        graph, wrong = self.graph(), []
        for sender, to in pairs:
            expected, walk = self.length(graph, sender, to), self.walk(sender, to)
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
        return self.topology.hosts[self.hosts.index(self._by_name[name])]

    def pairs(self, chance: Random, count: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Pairs of addresses of live hosts."""
        hosts = enumerate(self.topology.hosts)
        living = [(number, mesh) for number, within in hosts if self.alive(number) for mesh in within]
        return [(chance.choice(living), chance.choice(living)) for _ in range(count)] if living else []


# A trial.


@dataclass(frozen=True, slots=True)
class Settled:
    """What one event did."""

    event: str
    settled_after: float
    """seconds from when a death was noticed, or a host started, until nobody chose another route any more."""
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one topology."""

    seed: int
    meshes: int
    hosts: int
    events: tuple[Settled, ...]
    loops: tuple[str, ...]

    @property
    def right(self) -> bool:
        return not self.loops and not any(event.wrong for event in self.events)


SETTLING = 12.0
"""seconds that a world has to notice a death and to come to rest."""
PAIRS = 300


def try_topology(seed: int, meshes: int = 30, hosts: int = 300, events: int = 4) -> Verdict:
    """A random topology, in which hosts crash and return, two at a time at most; checked after each event."""
    topology = random_topology(seed, meshes, hosts)
    world, chance = BridgedWorld(seed, topology), Random(seed)
    world.start()
    world.run(SETTLING)
    world.watch()
    found = [_checked(world, chance, "start", 0.0)]
    for _ in range(events):
        found.append(_event(world, chance))
    return Verdict(seed, len(topology.meshes), len(topology.hosts), tuple(found), tuple(world.loops))


def _event(world: BridgedWorld, chance: Random) -> Settled:
    numbers = range(len(world.hosts))
    living = [number for number in numbers if world.alive(number)]
    bridges = [number for number in living if len(world.topology.hosts[number]) > 1]
    dead = [number for number in numbers if not world.alive(number)]
    began = world.runtime.time
    if dead and chance.random() < 0.4:
        back = chance.choice(dead)
        world.start_host(back)
        world.run(SETTLING)
        return _checked(world, chance, f"host {back + 1} returns", began)
    gone = chance.sample(bridges or living, min(len(bridges or living), chance.choice([1, 1, 2])))
    for number in gone:
        world.crash(number)
    world.run(SETTLING)
    noticed = [world.noticed.get(world.hosts[number].name, began) for number in gone]
    return _checked(world, chance, f"hosts {', '.join(str(number + 1) for number in gone)} crash", max(noticed))


def _checked(world: BridgedWorld, chance: Random, event: str, since: float) -> Settled:
    wrong = world.check(world.pairs(chance, PAIRS))
    return Settled(event, max(0.0, world.routed_at - since), tuple(wrong))
