"""A mesh that is made at once is one that formed by joins: the same members, the same verdicts, nothing left to ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from actors.virtual import WALL_START
from scenarios.population import populate
from scenarios.simulation import World
from smeg.certificates import Role
from smeg.ledger import Ledger
from smeg.membership import Membership
from smeg.messages import Channel
from smeg.notary import Notary
from smeg.roster import Verdict
from smeg.wire import Word
from tests.masses import Checked, made

ROOT = Path(__file__).parent.parent
SCRIPT = """
import sys
from scenarios.at_size import Mass
mass = Mass(int(sys.argv[1]), 12, 4)
mass.runtime.tracing = True
network = mass.network
network.loss, network.duplicate, network.straggle = 0.05, 0.05, 0.05
mass.warm_up()
nodes = mass.nodes
nodes[1].runtime.drift(1.01)
nodes[2].stall(6.0)
mass.stall_now_and_then(nodes[3:5], 5.0, 2.0, 0.5, 60.0)
mass.crash(nodes[5:7])
mass.kill([nodes[7], nodes[12]])
mass.run(6.0)
mass.part(nodes[:4], nodes[4:])
mass.run(8.0)
mass.heal()
mass.restart([nodes[5], nodes[7], nodes[12]])
mass.change_record(nodes[8])
mass.run(6.0)
network.cut([nodes[9].station.curve], [node.station.curve for node in nodes[:9]])
mass.run(6.0)
mass.heal()
mass.run(4.0)
print(mass.runtime.trace, mass.runtime.delivered, len(mass.roots()), len(mass.chronicle.false))
"""


def formed(count: int) -> World:
    world = World(1, count)
    world.runtime.tracing = False
    world.start()
    world.form()
    world.run(10.0)
    return world


def populated(count: int) -> tuple[World, str]:
    world = World(1, count)
    world.runtime.tracing = False
    mesh = populate(world, world.hosts)
    world.start()
    world.run(10.0)
    return world, mesh


def test_a_mesh_that_was_made_at_once_shows_the_same_members_and_devices_as_one_that_was_joined() -> None:
    one, (other, mesh) = formed(8), populated(8)
    shown = ("name", "node", "role", "state", "endpoints", "self", "leader")
    for before, after in zip(one.hosts, other.hosts, strict=True):
        rows = [
            [tuple(str(row.get(field)) for field in shown) for row in host.dashboard.members("demo")["members"]]
            for host in (before, after)
        ]
        assert rows[0] == rows[1]
        assert before.backend is not None
        assert after.backend is not None
        assert len(before.backend.read().peers) == len(after.backend.read().peers) == 7
    assert {row["id"] for row in other.hosts[3].dashboard.list_meshes()["meshes"]} == {mesh}


def test_all_that_it_rests_on_verifies_with_a_notary_that_has_seen_nothing() -> None:
    world = Checked(1, 10, 4)
    known = world.ledger(world.mesh)
    fresh = Ledger(world.mesh, Notary())
    for node in world.nodes:
        taken = fresh.take(node.disk.load_mesh(world.mesh).documents, WALL_START)
        assert not taken.alarms
    everything = known.chain.documents()
    fresh.take(everything, WALL_START)
    assert fresh.intake.refused == {}
    assert fresh.replica == known.replica
    assert fresh.roster.members == known.roster.members
    assert len(fresh.roster.members) == 14
    assert not fresh.roster.quarantined
    assert {fresh.roster.verdict(node.key, WALL_START) for node in world.nodes} == {Verdict.MEMBER}
    roles = [fresh.roster.members[node.key].role for node in world.nodes]
    assert roles == [Role.PEER] * 10 + [Role.CLIENT] * 4


def test_at_the_start_nobody_asks_for_anything_or_says_anything_new() -> None:
    mass = made(20, 10)
    spoken = {word: count for (channel, word), count in mass.words.items() if channel is not Channel.HEARTBEAT}
    assert spoken.keys() <= {Word.ROOT.value, Word.PRESENT.value}
    assert spoken[Word.PRESENT.value] < spoken[Word.ROOT.value] / 2, "only what goes with some of all repairs"
    for node in mass.nodes:
        replica = node.membership.ledger.replica
        assert {record.counter for record in replica.records.values()} == {1}


def test_what_each_changes_is_its_own() -> None:
    mass = made(10)
    writer, other = mass.nodes[3], mass.nodes[7]
    mass.network.partition([writer.station.curve])
    mass.change_record(writer)
    mass.run(1.0)
    cores: list[Membership] = [node.membership for node in (writer, other)]
    counters = [core.ledger.replica.records[writer.key].counter for core in cores]
    assert counters[0] > counters[1] == 1
    assert len(mass.roots()) == 2


def test_equal_seeds_give_equal_traces_with_all_faults_on_and_another_seed_another_trace() -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, seed],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, hash_seed in (("1", "1"), ("1", "4242"), ("2", "1"))
    ]
    one, again, other = (process.communicate(timeout=200)[0].split() for process in running)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert one == again
    assert one[:2] != other[:2]
    assert int(one[1]) > 10_000
