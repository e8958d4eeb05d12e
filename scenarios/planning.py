"""What the device of a node costs in a mesh of thousands: to plan it from nothing, to plan one change, to apply both.

    python -m scenarios.planning [--members 3000] [--json]

Members are real documents, verified before; no name is asked for and no route of the underlay is looked up. Plans are
measured in seconds of a processor. They are applied to wireguard-go, on a host of its own, in seconds that pass.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import click

from scenarios.figures import Result
from scenarios.hosts import World
from scenarios.measurement import PACE, as_json, conclude, tell
from scenarios.papers import Papers
from smeg.certificates import Role
from smeg.device import Backend, DeviceState, Endpoint, InterfaceSpec, Operation
from smeg.edges.backends import open_backend
from smeg.edges.dry_run import DryRunBackend
from smeg.errors import LocalError
from smeg.keys import NodeKey, new_secret, node_key, x25519_public
from smeg.ledger import Ledger
from smeg.members import Members
from smeg.notary import Notary
from smeg.plan import plan
from smeg.planner import Planner
from smeg.records import Member
from smeg.simulated import Simulated
from smeg.wanted import View

ROUNDS = 15
PORT = 51820
FROM_NOTHING, ONE_CHANGE = 0.1, 0.005
"""seconds that a plan may take, at 3,000 members."""
FILL, CHANGE = 5.0, 0.5
"""seconds that applying it may take."""


@dataclass(frozen=True, slots=True)
class Mesh:
    id: str
    own: NodeKey
    members: Members
    spec: InterfaceSpec

    def view(self, pruned: frozenset[NodeKey] = frozenset()) -> View:
        return View(self.id, self.own, self.members, pruned, (), PORT, 1420, 25)


def make(members: int) -> Mesh:
    """One with so many peers, the first of which is this node."""
    identity, curve, wall = new_secret(os.urandom), new_secret(os.urandom), int(time.time())
    papers = Papers("planned", identity, curve, members, wall, os.urandom)
    documents = [*papers.shared, papers.record("own", "192.0.2.1", papers.credential, identity, Role.PEER)]
    for number in range(members - 1):
        other = new_secret(os.urandom)
        wireguard, curve_key = (x25519_public(new_secret(os.urandom)) for _ in range(2))
        certificate, credential = papers.admit(node_key(other), wireguard, curve_key, Role.PEER)
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        record = papers.record(f"m{number}", address, credential.hash, other, Role.PEER)
        documents += [certificate.raw, credential.raw, record]
    ledger = Ledger(papers.mesh.id, Notary())
    ledger.take(documents, wall)
    found = ledger.roster.members
    assert len(found) == members
    # Who is a neighbour of whom every actor of a daemon needs, and it is worked out once.
    assert len(found.rings.peers) == members
    spec = InterfaceSpec("smeg-bench", papers.mesh.wireguard, PORT, 1420)
    return Mesh(papers.mesh.id, node_key(identity), found, spec)


def first_endpoint(members: Sequence[Member]) -> list[Endpoint | None]:
    return [next(iter(member.record.wireguard), None) for member in members]


def changes(mesh: Mesh) -> Iterator[tuple[str, View]]:
    """What may happen next, again and again: somebody moves, dies, lives again."""
    victims = [key for key in mesh.members if key != mesh.own]
    for number in range(ROUNDS):
        key = victims[number * 7 % len(victims)]
        moved = replace(mesh.members[key].record, wireguard=(Endpoint("192.0.2.7", PORT + number),))
        mesh = replace(mesh, members=mesh.members.change({key: replace(mesh.members[key], record=moved)}))
        yield "a member with another endpoint", mesh.view()
        yield "a death", mesh.view(frozenset({key}))
        yield "a return", mesh.view()


def planned(planner: Planner, device: Simulated, view: View) -> tuple[DeviceState, tuple[Operation, ...], float]:
    """What the device should be, the operations, and the seconds of a processor that both took."""
    began = time.thread_time()
    target = planner.wanted(view, first_endpoint)
    assert target is not None
    # No endpoint counts as configured before: each that differs is set.
    operations = plan(device, target, {})
    return target, operations, time.thread_time() - began


def measure_plans(mesh: Mesh) -> Result:
    result = Result()
    frugal()
    spent: dict[str, list[float]] = {"from nothing": []}
    for _ in range(ROUNDS):
        planner, device = Planner(), Simulated(_empty(mesh.spec))
        target, operations, seconds = planned(planner, device, mesh.view())
        spent["from nothing"].append(seconds)
    device.apply_towards(target, operations)
    for what, view in changes(mesh):
        target, operations, seconds = planned(planner, device, view)
        assert len(operations) == 1, operations
        device.apply_towards(target, operations)
        spent.setdefault(f"after {what}", []).append(seconds)
    about = f"plan, {len(mesh.members):,} members"
    for what, samples in spent.items():
        limit = FROM_NOTHING if what == "from nothing" else ONE_CHANGE
        result.add(f"{about}: {what}, of a processor", statistics.median(samples), "s", limit)
    return result


def measure_device(mesh: Mesh, kind: str) -> Result:
    """Apply the plans to a device of this kind, in whatever network this process is in."""
    result, about = Result(), f"plan, {len(mesh.members):,} members"
    backend = open_backend(kind, "wireguard-go", mesh.spec)
    try:
        planner, device = Planner(), Simulated(backend.read())
        target, operations, _ = planned(planner, device, mesh.view())
        seconds = _timed(backend, operations)
        device.apply_towards(target, operations)
        result.add(f"{about}: applied from nothing, to {kind} WireGuard", seconds, "s", FILL)
        result.add(f"{about}: operations from nothing", len(operations), "")
        most, count = 0.0, 0
        for _, view in changes(mesh):
            target, operations, _ = planned(planner, device, view)
            most, count = max(most, _timed(backend, operations)), max(count, len(operations))
            device.apply_towards(target, operations)
        result.add(f"{about}: one change applied, at most", most, "s", CHANGE)
        result.add(f"{about}: operations for one change, at most", count, "", 1)
        began = time.monotonic()
        assert backend.read().peers.keys() == device.peers.keys()
        result.add(f"{about}: the device read", time.monotonic() - began, "s")
    finally:
        backend.close()
    return result


def measure(members: int = 3000) -> Result:
    """Both. Where no real device can be had, the row says why."""
    mesh = make(members)
    result = measure_plans(mesh)
    try:
        with World() as world:
            kind = "userspace" if world.wireguard() == "userspace" else "kernel"
            argv = [sys.executable, "-m", "scenarios.planning", "--members", str(members), "--device", kind, "--json"]
            done = world.host("planner").run(argv, timeout=600, check=False, env={"PYTHONPATH": os.getcwd()})
        rows = [json.loads(line) for line in done.stdout.splitlines() if '"figure"' in line]
        if not rows:
            raise LocalError("no-figures", done.stderr.strip()[-500:])
        result.rows += [row for row in rows if row["figure"] != PACE]
    except LocalError as error:
        result.skip(f"plan, {members:,} members: applied", str(error))
    return result


def frugal() -> None:
    """As the daemon sets it: what is there now is not looked at again by each collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _empty(spec: InterfaceSpec) -> DeviceState:
    backend = DryRunBackend()
    backend.open(spec)
    return backend.read()


def _timed(backend: Backend, operations: tuple[Operation, ...]) -> float:
    began = time.monotonic()
    backend.apply(operations)
    return time.monotonic() - began


@click.command()
@click.option(
    "--members", default=3000, show_default=True, type=click.IntRange(2, 60000), help="Of the mesh that is planned."
)
@click.option("--device", "kind", type=click.Choice(["userspace", "kernel"]), help="Only apply, here, to this kind.")
@as_json
def main(members: int, kind: str | None, as_json: bool) -> None:
    """Measure what a device costs in a mesh of thousands."""
    tell(f"{members} members are made")
    if kind is None:
        conclude(lambda: measure(members), as_json)
    conclude(lambda: measure_device(make(members), kind), as_json)


if __name__ == "__main__":
    main()
