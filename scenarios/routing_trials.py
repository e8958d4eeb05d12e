"""Routing between meshes in the simulated world: random topologies against an oracle."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from scenarios.many_meshes import BridgedWorld, Topology, random_topology
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
    """seconds until nobody chose another route any more: after a death was noticed in each mesh, or a host started."""
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
    noticed = [world.noticed(number, began) for number in gone]
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
