"""Many meshes joined by bridges: what a node holds of the others, how fast ways settle, and what all that costs.

python -m scenarios.joined_meshes --meshes 20 --each 20 --bridges 30
python -m scenarios.joined_meshes --meshes 20 --each 20 --backbone 2
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import Random

import click

from scenarios.figures import show
from scenarios.many_meshes import BridgedWorld, Place, Topology, by_backbone, joined
from scenarios.measurement import tell
from scenarios.outcomes import Outcome

SETTLING = 12.0
"""seconds in which a world comes to rest."""
LOOKED_AT = 3
"""plain nodes of each mesh, beside the bridges."""
APART = 0.25
"""seconds between the starts of two meshes that are joined at random: all at once would have every bridge try the same
thousand ways. By a backbone there is one length of ways, and all start at once."""
IDLE = 20.0
"""seconds over which idle traffic is counted."""


def hundred(
    members: int, seed: int, loss: float, meshes: float = 100, bridges: float = 150, backbone: float = 0
) -> Outcome:
    """So many meshes, with `members` hosts in all, joined at random by so many bridges, or by so many of each mesh that
    are in a backbone; then one of the bridges crashes.

    All take part in their meshes in full. Routes are looked at of the bridges and of `LOOKED_AT` others of each mesh.
    """
    began = time.process_time()
    each = members // int(meshes)
    if backbone:
        topology = by_backbone(int(meshes), each, int(backbone))
    else:
        topology = joined(seed, int(meshes), each, int(bridges))
    world, chance = BridgedWorld(seed, topology), Random(seed)
    world.network.loss = loss
    world.leave_out(_unlooked_at(topology))
    how = "by a backbone" if backbone else "at random"
    outcome = Outcome(f"{meshes:g} meshes joined {how}", members, seed, loss)
    count = outcome.counts
    last = 0.0
    for mesh in range(int(meshes)):
        last = world.runtime.time
        for number in (number for number, within in enumerate(topology.hosts) if within[0] == mesh):
            world.start_host(number)
        if not backbone:
            world.run(APART)
            if (mesh + 1) % 10 == 0:
                tell(f"{mesh + 1} meshes have started, after {time.process_time() - began:.0f} s of processor time")
    world.run(SETTLING)
    tell(f"settled, after {time.process_time() - began:.0f} s of processor time")
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
    noticed = world.noticed(gone, at)
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


@click.command()
@click.option("--meshes", default=20, show_default=True, type=click.IntRange(2))
@click.option("--each", default=20, show_default=True, type=click.IntRange(4), help="Nodes of a mesh.")
@click.option("--bridges", default=30, show_default=True, type=click.IntRange(1), help="Nodes that are in two meshes.")
@click.option(
    "--backbone",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Instead: nodes of each mesh that are in a backbone.",
)
def main(meshes: int, each: int, bridges: int, backbone: int) -> None:
    """Join so many meshes, let one bridge crash, and tell what was counted."""
    from scenarios.targets import rows

    show(rows([hundred(meshes * each, 1, 0.0, meshes, bridges, backbone)]), False)


if __name__ == "__main__":
    main()
