"""Routing between meshes in the simulated world: random topologies against an oracle, and a hundred meshes at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from scenarios.many_meshes import BridgedWorld, Place, Topology, joined, random_topology
from scenarios.outcomes import Outcome

SETTLING = 12.0
"""seconds that a world gets to notice a death and to come to rest."""
EVENTS = 4


@dataclass(frozen=True, slots=True)
class Settled:
    """What one event did."""

    event: str
    failure: bool
    after: float
    """seconds until nobody chose another route any more: from when a death was noticed first, or a host started."""
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one topology."""

    topology: Topology
    events: tuple[Settled, ...]
    loops: tuple[str, ...]

    @property
    def wrong(self) -> list[str]:
        """What was not as it should be."""
        return [f"{event.event}: {what}" for event in self.events for what in event.wrong] + list(self.loops)


def try_topology(topology: Topology, seed: int, loss: float = 0.0, events: int = EVENTS) -> Verdict:
    """Start all hosts; then some crash, two at a time at most, and return. Checked after each event."""
    world, chance = BridgedWorld(seed, topology), Random(seed)
    world.network.loss = loss
    world.start()
    world.run(SETTLING)
    world.watch()
    found = [_checked(world, chance, "start", False, 0.0), *(_event(world, chance) for _ in range(events))]
    return Verdict(topology, tuple(found), tuple(world.loops))


def _event(world: BridgedWorld, chance: Random) -> Settled:
    numbers = range(len(world.hosts))
    living = [number for number in numbers if world.alive(number)]
    bridges = [number for number in living if len(world.topology.hosts[number]) > 1] or living
    dead = [number for number in numbers if not world.alive(number)]
    began = world.runtime.time
    if not living or (dead and chance.random() < 0.4):
        back = chance.choice(dead)
        world.start_host(back)
        world.run(SETTLING)
        return _checked(world, chance, f"host {back + 1} returns", False, began)
    gone = chance.sample(bridges, min(len(bridges), chance.choice([1, 1, 2])))
    for number in gone:
        world.crash(number)
    world.run(SETTLING)
    noticed = [world.noticed.get(world.hosts[number].name, began) for number in gone]
    names = " and ".join(f"host {number + 1}" for number in gone)
    return _checked(world, chance, f"{names} crash", True, max(noticed))


def _checked(world: BridgedWorld, chance: Random, event: str, failure: bool, since: float) -> Settled:
    wrong = world.check(world.pairs(chance))
    return Settled(event, failure, max(0.0, world.routed_at - since), tuple(wrong))


def topologies(members: int, seed: int, loss: float, count: float = 10) -> Outcome:
    """So many random topologies of at most 30 meshes and so many hosts."""
    verdicts = [
        try_topology(random_topology(number, 30, members), number, loss)
        for number in range(int(seed * count), int((seed + 1) * count))
    ]
    events = [event for verdict in verdicts for event in verdict.events]
    counts = {
        "topologies": float(len(verdicts)),
        "meshes, most": float(max(len(verdict.topology.meshes) for verdict in verdicts)),
        "hosts, most": float(max(len(verdict.topology.hosts) for verdict in verdicts)),
        "pairs that were not as they should be": float(sum(len(event.wrong) for event in events)),
        "forwarding loops": float(sum(len(verdict.loops) for verdict in verdicts)),
        "seconds from noticing a death to the last new route": max(
            (event.after for event in events if event.failure), default=0.0
        ),
    }
    return Outcome("topologies", members, seed, loss, {}, counts)


LOOKED_AT = 3
APART = 0.25
"""seconds between the starts of two meshes."""
IDLE = 20.0
"""seconds over which idle traffic is counted."""


def hundred(members: int, seed: int, loss: float, meshes: float = 100, bridges: float = 150) -> Outcome:
    """So many meshes, with `members` hosts in all, joined by bridges; then one of the bridges crashes.

    All take part in their meshes in full. Routes are looked at of the bridges and of `LOOKED_AT` others of each mesh.
    """
    began = time.process_time()
    topology = joined(seed, int(meshes), members // int(meshes), int(bridges))
    world, chance = BridgedWorld(seed, topology), Random(seed)
    world.network.loss = loss
    world.leave_out(_unlooked_at(topology))
    outcome = Outcome("hundred meshes", members, seed, loss)
    count = outcome.counts
    for mesh in range(int(meshes)):
        # One after another: all at once would have every bridge try the same thousand ways, and nobody starts so.
        for number in (number for number, within in enumerate(topology.hosts) if within[0] == mesh):
            world.start_host(number)
        world.run(APART)
    last = world.runtime.time - APART
    world.run(SETTLING)
    count["seconds from the last mesh's start to the last new route"] = world.routed_at - last
    count["pairs that were not as they should be, after the start"] = len(world.check(_some(world, chance)))
    _sizes(world, count)
    before = [host.station.volume for host in world.hosts]
    world.run(IDLE)
    idle = [(host.station.volume - then) / IDLE for host, then in zip(world.hosts, before, strict=True)]
    count["bytes a second a node, idle, mean"] = sum(idle) / len(idle)
    crossing = [number for number, within in enumerate(topology.hosts) if len(within) > 1]
    count["bytes a second a bridge, idle, mean"] = sum(idle[number] for number in crossing) / len(crossing)
    gone = chance.choice(crossing)
    at, volume = world.runtime.time, [host.station.volume for host in world.hosts]
    world.crash(gone)
    world.run(SETTLING)
    noticed = world.noticed.get(world.hosts[gone].name, at)
    count["seconds from noticing a bridge's death to the last new route"] = max(0.0, world.routed_at - noticed)
    moved = [host.station.volume - then for host, then in zip(world.hosts, volume, strict=True)]
    count["bytes a node that a bridge's death cost, mean"] = sum(moved) / len(moved) - SETTLING * sum(idle) / len(idle)
    count["pairs that were not as they should be, after a death"] = len(world.check(_some(world, chance)))
    count["cpu seconds"] = time.process_time() - began
    return outcome


def _unlooked_at(topology: Topology) -> list[int]:
    """What the others choose is of no account to anybody, and thousands of them would choose alike."""
    plain: dict[int, list[int]] = {}
    for number, within in enumerate(topology.hosts):
        if len(within) == 1:
            plain.setdefault(within[0], []).append(number)
    return [number for numbers in plain.values() for number in numbers[LOOKED_AT:]]


def _looked_at(world: BridgedWorld) -> list[int]:
    return [number for number in range(len(world.hosts)) if world.alive(number) and number not in world.left_out]


def _some(world: BridgedWorld, chance: Random) -> Iterable[tuple[Place, Place]]:
    """As many pairs of addresses as there are hosts."""
    living = [(number, mesh) for number in _looked_at(world) for mesh in world.topology.hosts[number]]
    return [(chance.choice(living), chance.choice(living)) for _ in world.hosts]


def _sizes(world: BridgedWorld, count: dict[str, float]) -> None:
    routes, annexes, volumes = [], [], []
    for number in _looked_at(world):
        views = [world.view(number, mesh) for mesh in world.topology.hosts[number]]
        routes.append(sum(len(view.routes.routes) for view in views if view.routes is not None))
        said = [annex for view in views if view.annexes is not None for own in view.annexes.annexes.values()
                for annex in own.values()]  # fmt: skip
        annexes.append(len(said))
        volumes.append(sum(len(annex.body) for annex in said))
    for name, values in (("routes", routes), ("annexes", annexes), ("bytes of annexes", volumes)):
        count[f"{name} a node, mean"] = sum(values) / len(values)
        count[f"{name} a node, most"] = float(max(values))
