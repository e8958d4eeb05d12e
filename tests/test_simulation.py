"""Whole meshes in virtual time: what users see when nodes come, go, die, and the network does what networks do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import pytest

from scenarios.simulation import Host, World
from scenarios.stand_ins import MemoryDisk
from smeg import messages as m
from smeg.device import Backend, InterfaceSpec
from smeg.documents import document_hash
from smeg.edges.dry_run import DryRunBackend
from smeg.errors import LocalError
from smeg.keys import NodeKey, Secret
from smeg.membership import Membership
from smeg.own_record import LOST_STEP
from smeg.stored import StoredMesh
from smeg.tokens import read_token

A = TypeVar("A")
HB = 1.0
DETECTION = 3 * HB + 2 * HB + HB
"""seconds: three epochs, the grace for answers, and the part of an interval until the next epoch."""


def world(hosts: int, seed: int = 1, form: bool = True, **settings: float) -> World:
    made = World(seed, hosts, **{"heartbeat_interval": HB, "repair_interval": 2.0, **settings})
    made.runtime.tracing = False
    made.start()
    if form:
        made.form()
        assert made.run(5.0, lambda: all(len(host.members("demo")) == hosts for host in made.hosts))
    return made


def states(hosts: Iterable[Host], mesh: str = "demo") -> list[dict[str, str]]:
    return [dict(sorted(host.members(mesh).items())) for host in hosts]


def all_see(hosts: Iterable[Host], state: str, whom: Iterable[Host]) -> bool:
    names = {host.name for host in whom}
    return all(
        {name for name, seen in view.items() if seen == state} == names - {own}
        if state == "pruned"
        else names <= {name for name, seen in view.items() if seen == state}
        for own, view in ((host.name, host.members("demo")) for host in hosts)
    )


def core(host: Host, name: str, kind: type[A]) -> A:
    """The core of a host's actor, for looking into."""
    for inbox in host.runtime._inboxes:
        actor = inbox.actor
        if actor is not None and actor.name.startswith(name) and not actor.actor_stopped.is_set():
            found = vars(actor)["core"]
            assert isinstance(found, kind)
            return found
    raise AssertionError(f"no actor {name} on {host.name}")


def digests(hosts: Iterable[Host]) -> set[bytes]:
    return {core(host, "membership@", Membership).ledger.replica.digest.of() for host in hosts}


def meshes(host: Host) -> tuple[list[str], list[str]]:
    """The meshes of a host, as it shows them and as they lie on its disk."""
    return [row["id"] for row in host.dashboard.list_meshes()["meshes"]], sorted(host.disk._meshes)


def refuse(host: Host, token: str) -> str:
    """The code with which a join is refused, having made sure that it left nothing behind."""
    before = meshes(host)
    opened = record_devices(host)
    with pytest.raises(LocalError) as refused:
        host.ask("join-mesh", token=token)
    host.world.run(3.0)
    assert meshes(host) == before
    assert open_devices(opened) == 0
    assert refused.value.problem.message
    return refused.value.problem.code


def record_devices(host: Host) -> list[DryRunBackend]:
    """All devices that this host opens from now on."""
    opened: list[DryRunBackend] = []

    def open_backend(spec: InterfaceSpec) -> Backend:
        backend = DryRunBackend()
        backend.open(spec)
        opened.append(backend)
        return backend

    for inbox in host.runtime._inboxes:
        if inbox.actor is not None and inbox.actor.name == "node":
            cast = vars(inbox.actor)["_cast"]
            object.__setattr__(cast, "open_backend", open_backend)
    return opened


def open_devices(devices: Iterable[DryRunBackend]) -> int:
    return sum(backend._state is not None for backend in devices)


def cut(made: World, one: Iterable[Host], other: Iterable[Host]) -> None:
    pairs = [(a.name, b.name) for a in one for b in other]
    made.network.blocked |= {*pairs, *((b, a) for a, b in pairs)}


# Joining.


def test_a_join_among_twenty_is_known_to_all_within_two_seconds() -> None:
    made = world(21, form=False)
    first, *others = made.hosts
    first.ask("new-mesh", name="demo")
    token = first.ask("invite", mesh="demo", uses=20)["token"]
    for host in others[:-1]:
        host.ask("join-mesh", token=token)
    made.run(5.0)
    last = others[-1]
    last.ask("join-mesh", token=token)
    assert made.run(2.0, lambda: all_see(made.hosts, "alive", made.hosts))
    assert {len(host.members("demo")) for host in made.hosts} == {21}


def test_ten_percent_of_loss_delays_a_mesh_and_does_not_stop_it() -> None:
    made = world(12, form=False)
    made.network.loss = 0.1
    made.form()
    assert made.run(30.0, lambda: all(len(host.members("demo")) == 12 for host in made.hosts))
    assert made.run(30.0, lambda: len(digests(made.hosts)) == 1)
    made.run(30.0)
    assert made.run(30.0, lambda: all_see(made.hosts, "alive", made.hosts))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda token: "", "token-empty"),
        (lambda token: "hello", "token-damaged"),
        (lambda token: "smeg9." + token.split(".")[1], "token-newer"),
        (lambda token: token[:-7], "token-cut"),
        (lambda token: token[: len(token) // 3], "token-cut"),
        (lambda token: token[:60] + ("A" if token[60] != "A" else "B") + token[61:], "token-altered"),
        (lambda token: token + "A", "token-altered"),
        (lambda token: token[:50] + "!" + token[51:], "token-damaged"),
    ],
)
def test_a_damaged_token_is_refused_by_its_kind_of_damage(damage: Callable[[str], str], code: str) -> None:
    made = world(2, form=False)
    made.hosts[0].ask("new-mesh", name="demo")
    token = made.hosts[0].ask("invite", mesh="demo")["token"]
    assert refuse(made.hosts[1], damage(token)) == code


def test_a_token_that_was_used_up_is_refused() -> None:
    made = world(3, form=False)
    made.hosts[0].ask("new-mesh", name="demo")
    token = made.hosts[0].ask("invite", mesh="demo")["token"]
    made.hosts[1].ask("join-mesh", token=token)
    assert refuse(made.hosts[2], token) == "token-used"
    assert set(made.hosts[0].members("demo")) == {"host1", "host2"}


def test_an_expired_token_is_refused_here_and_by_the_mesh() -> None:
    made = world(3, form=False)
    made.hosts[0].ask("new-mesh", name="demo")
    token = made.hosts[0].ask("invite", mesh="demo", expires=5)["token"]
    made.run(10.0)
    assert refuse(made.hosts[1], token) == "token-expired"
    made.hosts[2].runtime.wall_error = -3600
    assert refuse(made.hosts[2], token) == "token-expired"


def test_a_token_for_a_mesh_that_this_node_is_in_is_refused() -> None:
    made = world(2)
    token = made.hosts[0].ask("invite", mesh="demo")["token"]
    assert refuse(made.hosts[1], token) == "already-joined"
    assert made.hosts[1].members("demo")


def test_two_joins_with_one_token_at_once_are_one_join() -> None:
    made = world(2, form=False)
    made.hosts[0].ask("new-mesh", name="demo")
    token = made.hosts[0].ask("invite", mesh="demo", uses=2)["token"]
    host = made.hosts[1]
    assert host.console is not None
    for ticket in (901, 902):
        host.console.tell(m.Request(ticket, "join-mesh", {"token": token}))
    assert made.run(10.0, lambda: {901, 902} <= host.replies.keys())
    problems = {reply.problem.code if reply.problem else None for reply in host.replies.values()}
    assert problems == {None, "mesh-not-ready"}
    assert len(host.dashboard.list_meshes()["meshes"]) == 1


def test_a_mesh_that_nobody_knows_and_one_of_several_are_told_apart() -> None:
    made = world(1, form=False)
    host = made.hosts[0]
    for name in ("garden-east", "garden-west"):
        host.ask("new-mesh", name=name)
    for command in ("invite", "leave-mesh"):
        for text, code in (("house", "unknown-mesh"), ("", "unknown-mesh"), ("garden", "ambiguous-mesh")):
            with pytest.raises(LocalError) as refused:
                host.ask(command, mesh=text)
            assert refused.value.problem.code == code
    assert host.ask("invite", mesh="garden-w")["token"]
    with pytest.raises(LocalError) as refused:
        host.ask("new-mesh", name="garden-east")
    assert refused.value.problem.code == "name-taken"


@pytest.mark.parametrize("how", ["crashed", "cut off", "gone deaf"])
def test_a_contact_that_does_not_answer_is_named_and_nothing_is_left(how: str) -> None:
    made = world(2, form=False)
    first, joiner = made.hosts
    first.ask("new-mesh", name="demo")
    token = first.ask("invite", mesh="demo")["token"]
    if how == "crashed":
        first.crash()
    elif how == "cut off":
        cut(made, [first], [joiner])
    else:
        made.network.loss = 1.0
    started = made.runtime.time
    assert refuse(joiner, token) == "no-answer"
    assert made.runtime.time - started < 25.0
    with pytest.raises(LocalError, match=re.escape(first.address)):
        joiner.ask("join-mesh", token=token)


def test_another_contact_is_asked_when_the_first_is_dead() -> None:
    made = world(4)
    token = made.hosts[0].ask("invite", mesh="demo", uses=1)["token"]
    contacts = read_token(token).contacts
    assert len(contacts) > 1
    dead = next(host for host in made.hosts if contacts[0].endpoints[0].host == host.address)
    dead.crash()
    newcomer = Host(made, 99)
    made.hosts.append(newcomer)
    newcomer.start()
    made.run(0.5)
    newcomer.ask("join-mesh", token=token)
    assert made.run(5.0, lambda: len(newcomer.members("demo")) == 5)


def test_who_refuses_at_once_is_not_asked_without_pause() -> None:
    """A contact that may not let anybody in says so fast; asking it again at once would be a storm."""
    made = world(2, form=False)
    first, joiner = made.hosts
    first.ask("new-mesh", name="demo")
    token = first.ask("invite", mesh="demo")["token"]
    core(first, "membership@", Membership)._admission.credential = None
    before = made.network.messages
    assert refuse(joiner, token) == "no-answer"
    assert made.network.messages - before < 60


class RefusingDisk(MemoryDisk):
    """A disk that is full while `refusing`."""

    def __init__(self, identity: Secret, curve: Secret) -> None:
        super().__init__(identity, curve)
        self.refusing = False
        self.refused = 0

    def _check(self) -> None:
        if self.refusing:
            self.refused += 1
            raise LocalError("disk-full", "no space left on the device", "make room")

    def save_mesh(self, mesh: StoredMesh) -> None:
        self._check()
        super().save_mesh(mesh)

    def replace_documents(self, mesh: str, obsolete_hashes: tuple[bytes, ...], documents: tuple[bytes, ...]) -> None:
        self._check()
        super().replace_documents(mesh, obsolete_hashes, documents)


def full_disks(made: World) -> list[RefusingDisk]:
    disks = [RefusingDisk(host.identity, host.curve) for host in made.hosts]
    for host, disk in zip(made.hosts, disks, strict=True):
        host.disk = disk
    return disks


def refusing_world(hosts: int) -> tuple[World, list[RefusingDisk]]:
    made = World(1, hosts, heartbeat_interval=HB, repair_interval=2.0)
    disks = full_disks(made)
    made.start()
    return made, disks


def test_a_disk_that_refuses_at_the_join_leaves_nothing_half_joined() -> None:
    made, disks = refusing_world(2)
    first, joiner = made.hosts
    first.ask("new-mesh", name="demo")
    token = first.ask("invite", mesh="demo")["token"]
    disks[1].refusing = True
    assert refuse(joiner, token) == "disk-full"
    made.run(5.0)
    assert set(first.members("demo")) == {"host1"}, "nothing was published that is not on the joiner's disk"
    disks[1].refusing = False


def test_a_disk_that_refuses_a_new_mesh_leaves_none() -> None:
    made, disks = refusing_world(1)
    disks[0].refusing = True
    with pytest.raises(LocalError) as refused:
        made.hosts[0].ask("new-mesh", name="demo")
    assert refused.value.problem.code == "disk-full"
    made.run(3.0)
    assert made.hosts[0].dashboard.list_meshes() == {"meshes": []}
    disks[0].refusing = False
    assert made.hosts[0].ask("new-mesh", name="demo")


def test_a_disk_that_is_full_at_a_restart_does_not_cost_the_mesh() -> None:
    made, disks = refusing_world(3)
    made.form()
    made.run(5.0)
    victim = made.hosts[1]
    victim.crash()
    disks[1].refusing = True
    victim.start()
    assert made.run(10.0, lambda: [row["state"] for row in victim.dashboard.list_meshes()["meshes"]] == ["active"])
    made.run(20.0)
    assert len(victim.members("demo")) == 3
    assert disks[1].load().meshes


def test_a_leave_that_the_disk_refuses_is_answered_and_can_be_tried_again() -> None:
    made, disks = refusing_world(3)
    made.form()
    made.run(5.0)
    leaver = made.hosts[1]
    disks[1].refusing = True
    with pytest.raises(LocalError) as refused:
        leaver.ask("leave-mesh", mesh="demo")
    assert refused.value.problem.code == "disk-full"
    made.run(5.0)
    assert len(leaver.members("demo")) == 3
    disks[1].refusing = False
    leaver.ask("leave-mesh", mesh="demo")
    assert leaver.dashboard.list_meshes() == {"meshes": []}
    assert made.run(5.0, lambda: set(made.hosts[0].members("demo")) == {"host1", "host3"})


def test_an_evict_that_the_disk_refuses_is_answered_and_evicts_nobody() -> None:
    made, disks = refusing_world(3)
    made.form()
    made.run(5.0)
    disks[0].refusing = True
    with pytest.raises(LocalError) as refused:
        made.hosts[0].ask("evict", mesh="demo", node="host3")
    assert refused.value.problem.code == "disk-full"
    made.run(12.0)
    assert {len(host.members("demo")) for host in made.hosts} == {3}


# Dying and coming back.


def test_a_crash_is_seen_by_all_within_the_bound_and_cleared_after_the_restart() -> None:
    made = world(20)
    victim = made.hosts[7]
    row = next(row for row in made.hosts[0].dashboard.members("demo")["members"] if row["name"] == victim.name)
    others = [host for host in made.hosts if host is not victim]
    victim.crash()
    assert made.run(DETECTION, lambda: all_see(others, "pruned", [victim]))
    assert {len(host.members("demo")) for host in others} == {20}, "dead is not removed"
    victim.start()
    assert made.run(2 * HB + 2.0, lambda: all_see(made.hosts, "alive", made.hosts))
    again = next(row for row in made.hosts[0].dashboard.members("demo")["members"] if row["name"] == victim.name)
    same = ("node", "address", "wireguard", "endpoints", "role")
    assert [again[name] for name in same] == [row[name] for name in same]


def test_when_the_leader_and_the_next_two_die_the_fourth_leads_and_only_they_are_pruned() -> None:
    made = world(12)
    order = sorted(made.hosts, key=lambda host: host.key)
    dead, others = order[:3], order[3:]
    for host in dead:
        host.crash()
    bound = 3 * (3 * HB) + DETECTION
    assert made.run(bound, lambda: all_see(others, "pruned", dead))
    leaders = {row["leader"] for host in others for row in host.dashboard.list_meshes()["meshes"]}
    fourth = next(row["node"] for row in order[3].dashboard.members("demo")["members"] if row["self"])
    assert leaders == {fourth}
    for _ in range(20):
        made.run(1.0)
        assert all_see(others, "pruned", dead), "nobody else is pruned later either"


@pytest.mark.parametrize("seconds", [20.0, 90.0])
def test_a_partition_heals_by_itself_and_costs_no_member(seconds: float) -> None:
    """After 90 s each half has pruned all of the other."""
    made = world(12)
    one, other = made.hosts[:5], made.hosts[5:]
    cut(made, one, other)
    made.run(seconds)
    assert not all_see(made.hosts, "alive", made.hosts)
    token = one[0].ask("invite", mesh="demo", uses=1)["token"]
    newcomer = Host(made, 50)
    made.hosts.append(newcomer)
    cut(made, [newcomer], other)
    newcomer.start()
    made.run(0.5)
    newcomer.ask("join-mesh", token=token)
    made.network.blocked.clear()
    assert made.run(30.0, lambda: all_see(made.hosts, "alive", made.hosts))
    assert made.run(10.0, lambda: len(digests(made.hosts)) == 1)
    assert {len(host.members("demo")) for host in made.hosts} == {13}
    replicas = [core(host, "membership@", Membership).ledger.replica for host in made.hosts]
    assert not any(replica.evicts or replica.leaves for replica in replicas)


def test_a_lost_database_comes_back_by_the_contacts_and_the_counter_goes_on_above() -> None:
    made = world(8)
    made.run(70.0)
    victim, other = made.hosts[3], made.hosts[0]
    before = core(other, "membership@", Membership).ledger.replica.clock()[NodeKey(victim.key)]
    victim.crash()
    for documents in victim.disk._documents.values():
        documents.clear()
    victim.start()
    assert made.run(10.0, lambda: bool(victim.dashboard.list_meshes()["meshes"]))
    assert made.run(20.0, lambda: len(victim.members("demo")) == 8)
    assert made.run(20.0, lambda: len(digests(made.hosts)) == 1)
    after = core(other, "membership@", Membership).ledger.replica.clock()[NodeKey(victim.key)]
    assert after > before
    assert after >= LOST_STEP
    made.run(5.0)
    assert all_see(made.hosts, "alive", made.hosts)


def damaged(made: World, victims: Iterable[Host], contacts: bool) -> None:
    """These crash, lose their databases, and their contacts as well if it is said, and start again when all know."""
    for victim in victims:
        victim.crash()
        for documents in victim.disk._documents.values():
            documents.clear()
        if not contacts:
            victim.disk._meshes = {key: replace(mesh, contacts=()) for key, mesh in victim.disk._meshes.items()}
    made.run(20.0)
    for victim in victims:
        victim.start()


def test_the_two_oldest_of_a_young_mesh_lose_their_databases_at_once_and_do_not_found_one_of_their_own() -> None:
    made = world(5, seed=4, repair_interval=10.0)
    made.run(10.0)
    damaged(made, made.hosts[:2], contacts=True)
    assert made.run(10.0, lambda: all_see(made.hosts, "alive", made.hosts))


def test_who_knows_nobody_any_more_and_whom_to_ask_neither_is_fetched_by_the_others() -> None:
    made = world(5, seed=5, repair_interval=10.0)
    made.run(10.0)
    damaged(made, made.hosts[:1], contacts=False)
    assert made.run(60.0, lambda: all_see(made.hosts, "alive", made.hosts))


def test_after_a_restart_the_members_are_known_before_anybody_was_heard() -> None:
    made = world(6)
    made.run(15.0)
    victim = made.hosts[2]
    victim.crash()
    cut(made, [victim], [host for host in made.hosts if host is not victim])
    victim.start()
    assert made.run(2.0, lambda: bool(victim.dashboard.list_meshes()["meshes"]) and len(victim.members("demo")) == 6)


def test_an_idle_mesh_says_little() -> None:
    """Seconds after a restart nobody goes on presenting itself to those that it knows."""
    made = world(4)
    for host in made.hosts:
        host.crash()
    made.run(1.0)
    for host in made.hosts:
        host.start()
    made.run(10.0)
    before = made.network.messages
    made.run(20.0)
    a_node_a_second = (made.network.messages - before) / (20.0 * 4)
    # Each second six beats, a refresh to and fro with three neighbours, twice for its answers, and half a repair.
    assert a_node_a_second < 14.5


# Leaving.


def test_a_leave_and_an_evict_reach_everybody_as_fast_as_any_news() -> None:
    made = world(15)
    admin, leaver, evicted = made.hosts[0], made.hosts[4], made.hosts[9]
    leaver.ask("leave-mesh", mesh="demo")
    rest = [host for host in made.hosts if host is not leaver]
    assert made.run(2.0, lambda: all(leaver.name not in host.members("demo") for host in rest))
    assert leaver.dashboard.list_meshes() == {"meshes": []}
    assert not leaver.disk._meshes
    admin.ask("evict", mesh="demo", node=evicted.name)
    rest.remove(evicted)
    assert made.run(2.0, lambda: all(evicted.name not in host.members("demo") for host in rest))
    assert made.run(5.0, lambda: evicted.dashboard.list_meshes() == {"meshes": []})
    assert {len(host.members("demo")) for host in rest} == {13}
    codes = [problem["code"] for problem in evicted.dashboard.status(None, 0.0)["problems"]]
    assert "evicted" in codes


def test_a_node_that_was_evicted_while_it_was_down_ends_its_mesh_when_it_hears_of_it() -> None:
    made = world(6)
    evicted = made.hosts[3]
    evicted.crash()
    made.hosts[0].ask("evict", mesh="demo", node=evicted.name)
    made.run(5.0)
    evicted.start()
    assert made.run(30.0, lambda: not evicted.disk._meshes)
    assert evicted.dashboard.list_meshes() == {"meshes": []}


def test_a_leave_is_known_although_all_neighbours_die_at_that_moment() -> None:
    made = world(24)
    leaver = made.hosts[5]
    rings = core(leaver, "membership@", Membership).ledger.roster.members.rings
    neighbours = set(rings.neighbours(leaver.key, frozenset()))
    for host in made.hosts:
        if host.key in neighbours:
            host.crash()
    leaver.ask("leave-mesh", mesh="demo")
    rest = [host for host in made.hosts if host is not leaver and host.key not in neighbours]
    assert len(rest) > 2
    assert made.run(2.0, lambda: all(leaver.name not in host.members("demo") for host in rest))


def test_a_leave_that_a_crash_interrupts_is_finished_at_the_next_start() -> None:
    made = world(4)
    leaver = made.hosts[2]
    mesh = leaver.dashboard.find("demo").id
    assert leaver.console is not None
    leaver.console.tell(m.Request(77, "leave-mesh", {"mesh": "demo"}))
    documents = leaver.disk._documents[mesh]
    before = len(documents)
    assert made.run(1.0, lambda: len(documents) > before)
    leaver.crash()
    leaver.start()
    assert made.run(10.0, lambda: not leaver.disk._meshes)
    assert leaver.dashboard.list_meshes() == {"meshes": []}


def test_a_node_that_left_may_join_again_with_a_new_token_and_so_may_one_that_was_evicted() -> None:
    made = world(5)
    admin, leaver, evicted = made.hosts[:3]
    leaver.ask("leave-mesh", mesh="demo")
    admin.ask("evict", mesh="demo", node=evicted.name)
    made.run(5.0)
    for host in (leaver, evicted):
        host.ask("join-mesh", token=admin.ask("invite", mesh="demo")["token"])
    assert made.run(5.0, lambda: all_see(made.hosts, "alive", made.hosts))
    made.run(10.0)
    assert {len(host.members("demo")) for host in made.hosts} == {5}


def test_two_leaves_at_once_are_both_answered() -> None:
    made = world(3)
    leaver = made.hosts[1]
    assert leaver.console is not None
    for ticket in (901, 902):
        leaver.console.tell(m.Request(ticket, "leave-mesh", {"mesh": "demo"}))
    assert made.run(10.0, lambda: {901, 902} <= leaver.replies.keys())
    assert leaver.dashboard.list_meshes() == {"meshes": []}


# Two meshes.


def test_two_meshes_on_one_node_know_nothing_of_each_other() -> None:
    made = world(5, form=False)
    bridge, left, right, also_left, also_right = made.hosts
    for first, second, name in ((left, also_left, "left"), (right, also_right, "right")):
        first.ask("new-mesh", name=name)
        token = first.ask("invite", mesh=name, uses=2)["token"]
        second.ask("join-mesh", token=token)
        bridge.ask("join-mesh", token=token)
    made.run(5.0)
    assert set(bridge.members("left")) == {"host1", "host2", "host4"}
    assert set(bridge.members("right")) == {"host1", "host3", "host5"}
    assert [row["name"] for row in left.dashboard.list_meshes()["meshes"]] == ["left"]
    rows = bridge.dashboard.list_meshes()["meshes"]
    assert len({row["interface"] for row in rows}) == 2
    assert len({row["address"] for row in rows}) == 2
    left.crash()
    also_left.crash()
    made.run(30.0)
    assert set(bridge.members("right").values()) == {"alive"}
    bridge.ask("leave-mesh", mesh="left")
    made.run(2.0)
    assert [row["name"] for row in bridge.dashboard.list_meshes()["meshes"]] == ["right"]
    assert set(right.members("right").values()) == {"alive"}


def test_documents_on_disk_are_those_in_memory() -> None:
    made = world(6)
    made.run(10.0)
    for host in made.hosts:
        replica = core(host, "membership@", Membership).ledger.replica
        on_disk = next(iter(host.disk._documents.values()))
        held = {document_hash(s.document.raw) for node in replica for s in replica.statements(node)}
        assert held <= on_disk.keys()


def test_a_clock_that_is_wrong_or_started_elsewhere_changes_nothing() -> None:
    """Monotonic clocks begin anywhere; no rounding may make a timer ring for ever, and no wall clock prunes anybody."""
    made = World(3, 6, heartbeat_interval=HB, repair_interval=2.0)
    for number, host in enumerate(made.hosts):
        host.runtime.offset = -(1e6 / 3) * (number + 0.1)
        host.runtime.wall_error = number * 40
    made.start()
    made.form()
    made.run(30.0)
    assert all_see(made.hosts, "alive", made.hosts)
    made.hosts[2].runtime.wall_error = 10 * 24 * 3600
    made.run(30.0)
    assert all_see(made.hosts, "alive", made.hosts)


def test_a_request_that_comes_while_the_daemon_starts_is_answered_once_it_works() -> None:
    world = World(1, 1)
    (host,) = world.hosts
    host.start()
    host._node.tell(m.Request(77, "new-mesh", {"name": "early"}))
    assert world.run(5.0, lambda: 77 in host.replies)
    assert host.replies[77].problem is None
    assert list(host.members("early").values()) == ["alive"]
