"""Actors that fail, at odd moments too: what is started again, what is left alone, and how all of it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from actors.base import Actor, Address
from actors.endings import GROUP_LIMIT, STAGES
from actors.node import Node
from actors.runtime import Runtime
from actors.virtual import VirtualInbox
from actors.wiring import OF_A_MESH, Role
from scenarios.simulation import Host, World
from scenarios.stand_ins import Console
from smeg import messages as m
from smeg.core import Message
from smeg.device import Backend, InterfaceSpec
from smeg.edges.dry_run import DryRunBackend
from smeg.errors import LocalError, Problem
from smeg.mesh_settings import Keys

HB = 1.0


class Devices:
    """The interfaces of one machine: they outlive the actors, and `open` of one that exists adopts it."""

    def __init__(self) -> None:
        self.by_name: dict[str, DryRunBackend] = {}

    def open(self, spec: InterfaceSpec) -> Backend:
        backend = self.by_name.get(spec.name)
        if backend is None or backend._state is None:
            backend = self.by_name[spec.name] = DryRunBackend()
            backend.open(spec)
        return backend

    @property
    def existing(self) -> list[str]:
        return sorted(name for name, backend in self.by_name.items() if backend._state is not None)


def give_devices(host: Host) -> Devices:
    """Let a host's interfaces outlive its actors, from its next start."""
    devices = vars(host)["devices"] = Devices()
    vars(host)["_open_backend"] = devices.open
    return devices


def devices_of(host: Host) -> Devices:
    found = vars(host)["devices"]
    assert isinstance(found, Devices)
    return found


@pytest.fixture(name="world")
def _world() -> World:
    """Four hosts; the first two are in two meshes."""
    made = World(1, 4, heartbeat_interval=HB, repair_interval=2.0)
    made.runtime.tracing = False
    for host in made.hosts:
        give_devices(host)
    made.start()
    made.form("one")
    first, second, *_ = made.hosts
    first.ask("new-mesh", name="two")
    second.ask("join-mesh", token=first.ask("invite", mesh="two")["token"])
    made.run(5.0)
    made.runtime.tolerant = True
    return made


def actors(host: Host) -> dict[str, Actor]:
    """Those that live, by name."""
    live = [inbox.actor for inbox in host.runtime._inboxes if inbox.actor is not None]
    found = [actor for actor in live if not actor.actor_stopped.is_set()]
    named = {actor.name: actor for actor in found}
    assert len(named) == len(found), f"two actors of one name live: {sorted(actor.name for actor in found)}"
    return named


def actor_of(host: Host, role: Role, mesh: str = "") -> Actor:
    full = host.dashboard.find(mesh).id if mesh else ""
    return actors(host)[f"{role.value}@{full}" if full else role.value]


def raising(message: Message, now: float) -> Iterable[Message]:
    raise LocalError("sabotage", "somebody broke this actor")


def fail(*broken: Actor) -> None:
    """Make actors fail at their next message, which they get at once."""
    for actor in broken:
        vars(actor)["handle"] = raising
        actor.actor_ref.tell(m.Resolved())


def whole(host: Host, mesh: str) -> bool:
    """Whether all four actors of a mesh live and it is active."""
    views = [row for row in host.dashboard.list_meshes()["meshes"] if row["name"] == mesh]
    if [view["state"] for view in views] != ["active"]:
        return False
    return {f"{role.value}@{views[0]['id']}" for role in OF_A_MESH} <= actors(host).keys()


def codes(host: Host) -> set[str]:
    return {problem["code"] for problem in host.dashboard.status(None, 0.0)["problems"]}


def row_of(host: Host, role: Role, mesh: str = "") -> dict[str, Any]:
    name = f"{role.value}@{host.dashboard.find(mesh).id[:8]}" if mesh else role.value
    (row,) = (row for row in host.dashboard.status(None, 0.0)["actors"] if row["name"] == name)
    return dict(row)


def peers_of_device(host: Host, mesh: str) -> int:
    device = vars(actor_of(host, Role.DEVICE, mesh))["_backend"]
    return len(device.read().peers)


# One actor of a mesh.


@pytest.mark.parametrize("role", OF_A_MESH)
def test_an_actor_that_fails_is_started_again_with_its_mesh_and_no_other_mesh_is_touched(
    world: World, role: Role
) -> None:
    host = world.hosts[1]
    before = actors(host)
    one, two = host.dashboard.find("one").id, host.dashboard.find("two").id
    epoch = host.dashboard.find("one").epoch
    fail(actor_of(host, role, "one"))
    world.run(0.2)
    assert "actor-down" in codes(host), "it shows in `status` while it is down"
    assert row_of(host, role, "one")["state"] == "restarting"
    assert world.run(10.0, lambda: whole(host, "one"))
    world.run(0.1)
    after = actors(host)
    replaced = {name for name in after if after[name] is not before.get(name)}
    assert replaced == {f"{kind.value}@{one}" for kind in OF_A_MESH}
    assert all(after[f"{kind.value}@{two}"] is before[f"{kind.value}@{two}"] for kind in OF_A_MESH)
    row = row_of(host, role, "one")
    assert (row["state"], row["restarts"]) == ("running", 1)
    assert "somebody broke this actor" in row["last_error"]
    # And it works: members, device, heartbeat, news to and fro.
    assert len(host.members("one")) == 4
    assert peers_of_device(host, "one") == 3
    assert world.run(10.0, lambda: host.dashboard.find("one").epoch > epoch + 3)
    assert set(host.members("one").values()) == {"alive"}
    assert all(set(other.members("one").values()) == {"alive"} for other in world.hosts)
    newcomer = Host(world, 30)
    newcomer.start()
    world.run(0.5)
    newcomer.ask("join-mesh", token=world.hosts[0].ask("invite", mesh="one")["token"])
    assert world.run(3.0, lambda: len(host.members("one")) == 5)
    assert world.run(3.0, lambda: peers_of_device(host, "one") == 4)


def test_the_mesh_of_the_founder_invites_again_after_a_restart(world: World) -> None:
    host = world.hosts[0]
    fail(actor_of(host, Role.MESH, "one"))
    assert world.run(10.0, lambda: not whole(host, "one"))
    with pytest.raises(LocalError) as refused:
        host.ask("invite", mesh="one")
    assert refused.value.problem.code == "mesh-not-ready"
    assert world.run(10.0, lambda: whole(host, "one"))
    assert host.ask("invite", mesh="one")["token"]


def test_each_failure_waits_longer_than_the_one_before(world: World) -> None:
    host = world.hosts[1]
    waits: list[float] = []
    for _ in range(6):
        fail(actor_of(host, Role.HEARTBEAT, "one"))
        assert world.run(1.0, lambda: not whole(host, "one"))
        began = world.runtime.time
        assert world.run(60.0, lambda: whole(host, "one"))
        waits.append(world.runtime.time - began)
    assert waits == sorted(waits)
    assert waits[0] < 1.0
    assert waits[-1] > 8.0
    world.run(120.0)
    fail(actor_of(host, Role.HEARTBEAT, "one"))
    assert world.run(1.0, lambda: not whole(host, "one"))
    assert world.run(1.0, lambda: whole(host, "one")), "a long time without a failure is forgiven"
    assert row_of(host, Role.HEARTBEAT, "one")["restarts"] == 7


def test_actors_of_one_mesh_that_fail_together_are_started_once(world: World) -> None:
    host = world.hosts[1]
    fail(*(actor_of(host, role, "one") for role in OF_A_MESH))
    world.run(0.2)
    assert not whole(host, "one")
    assert world.run(10.0, lambda: whole(host, "one"))
    for _ in range(40):
        world.run(0.5)
        actors(host)
    assert whole(host, "one")


def test_an_actor_that_fails_while_its_mesh_is_being_restarted_makes_no_second_mesh(world: World) -> None:
    host = world.hosts[1]
    stuck = actor_of(host, Role.MEMBERSHIP, "one")
    vars(stuck)["on_stop"] = lambda: None
    fail(actor_of(host, Role.HEARTBEAT, "one"))
    assert world.run(GROUP_LIMIT + 5.0, lambda: whole(host, "one")), "one that never says it ended is given up"
    fresh = actors(host)
    world.run(20.0)
    assert actors(host) == fresh


def test_a_mesh_that_is_loaded_twice_is_started_once(world: World) -> None:
    host = world.hosts[1]
    mesh = host.dashboard.find("one").id
    before = actors(host)
    before["node"].actor_ref.tell(m.MeshLoaded(host.disk.load_mesh(mesh)))
    world.run(1.0)
    assert actors(host) == before


def test_the_others_do_not_see_a_member_restart_its_actors(world: World) -> None:
    """Its answers lack for less than three epochs."""
    fail(actor_of(world.hosts[1], Role.HEARTBEAT, "one"))
    for _ in range(100):
        world.run(0.1)
        assert all(
            "pruned" not in other.members("one").values() for other in world.hosts if other.dashboard.find("one")
        )


# Actors of the daemon.


@pytest.mark.parametrize("role", [Role.ROUTING, Role.STORE, Role.GOSSIP, Role.CONTROL])
def test_an_actor_of_the_daemon_is_replaced_alone_and_everything_goes_on(world: World, role: Role) -> None:
    host = world.hosts[0]
    before = actors(host)
    shown = host.dashboard.list_meshes()["meshes"]
    fail(before[role.value])
    assert world.run(5.0, lambda: actors(host).get(role.value, before[role.value]) is not before[role.value])
    world.run(0.5)
    after = actors(host)
    assert {name for name in after if after[name] is not before.get(name)} == {role.value}
    assert row_of(host, role)["restarts"] == 1
    again = host.dashboard.list_meshes()["meshes"]
    steady = ("id", "name", "interface", "backend", "address", "members", "alive", "leader", "state")
    assert [[row[key] for key in steady] for row in again] == [[row[key] for key in steady] for row in shown]
    newcomer = Host(world, 30)
    newcomer.start()
    world.run(0.5)
    newcomer.ask("join-mesh", token=host.ask("invite", mesh="two")["token"])
    assert world.run(5.0, lambda: len(host.members("two")) == 3)
    world.run(5.0)
    assert set(host.members("one").values()) == {"alive"}
    host.ask("new-mesh", name="three")
    assert whole(host, "three")


def test_a_replaced_control_actor_hears_every_snapshot_again(world: World) -> None:
    host = world.hosts[1]
    before = host.dashboard
    fail(actor_of(host, Role.CONTROL))
    assert world.run(5.0, lambda: host.dashboard is not before)
    world.run(0.2)
    for name in ("one", "two"):
        was, now = before.members(name)["members"], host.dashboard.members(name)["members"]
        assert [row["node"] for row in now] == [row["node"] for row in was]
        assert host.dashboard.find(name).plan is not None
    assert {row["name"] for row in host.dashboard.status(None, 0.0)["actors"]} == {
        row["name"] for row in before.status(None, 0.0)["actors"]
    }


def test_a_mesh_is_read_again_although_the_store_failed_meanwhile(world: World) -> None:
    host = world.hosts[1]
    fail(actor_of(host, Role.HEARTBEAT, "one"))
    world.run(0.1)
    for _ in range(4):
        # Whenever the mesh asks for its documents, there is no store, or not for long.
        fail(actor_of(host, Role.STORE))
        world.run(0.3)
        assert world.run(20.0, lambda: Role.STORE.value in actors(host))
    assert world.run(30.0, lambda: whole(host, "one"))


def test_a_join_is_finished_although_the_store_failed_in_its_middle(world: World) -> None:
    host = Host(world, 30)
    host.start()
    world.run(0.5)
    token = world.hosts[0].ask("invite", mesh="one")["token"]
    assert host.console is not None
    store = actor_of(host, Role.STORE)
    vars(store)["handle"] = raising
    host.console.tell(m.Request(900, "join-mesh", {"token": token}))
    assert world.run(20.0, lambda: 900 in host.replies)
    assert host.replies[900].problem is None
    assert world.run(5.0, lambda: len(host.members("one")) == 5)


def test_a_leave_is_finished_although_the_store_failed_in_its_middle(world: World) -> None:
    host = world.hosts[2]
    assert host.console is not None
    host.console.tell(m.Request(900, "leave-mesh", {"mesh": "one"}))
    assert world.run(5.0, lambda: not whole(host, "one"))
    fail(actor_of(host, Role.STORE))
    assert world.run(20.0, lambda: 900 in host.replies)
    assert host.replies[900].problem is None
    assert host.dashboard.list_meshes() == {"meshes": []}
    assert not host.disk._meshes


# Odd moments.


@pytest.mark.parametrize("role", OF_A_MESH)
def test_a_failure_while_joining_fails_the_join_clearly_and_leaves_nothing(world: World, role: Role) -> None:
    host = Host(world, 30)
    devices = give_devices(host)
    host.start()
    world.run(0.5)
    token = world.hosts[0].ask("invite", mesh="one")["token"]
    assert host.console is not None
    host.console.tell(m.Request(900, "join-mesh", {"token": token}))
    mesh = world.hosts[0].dashboard.find("one").id
    assert world.run(1.0, lambda: f"{role.value}@{mesh}" in actors(host))
    fail(actors(host)[f"{role.value}@{mesh}"])
    assert world.run(20.0, lambda: 900 in host.replies)
    problem = host.replies[900].problem
    assert problem is not None
    assert (problem.code, problem.message) == ("sabotage", "somebody broke this actor")
    world.run(10.0)
    assert host.dashboard.list_meshes() == {"meshes": []}
    assert not host.disk._meshes
    assert devices.existing == []
    assert not [name for name in actors(host) if "@" in name]
    assert not [row for row in host.dashboard.status(None, 0.0)["actors"] if "@" in row["name"]]


@pytest.mark.parametrize("role", OF_A_MESH)
def test_a_failure_while_leaving_hinders_no_leave_and_revives_no_mesh(world: World, role: Role) -> None:
    host = world.hosts[1]
    mesh = host.dashboard.find("one").id
    broken = actor_of(host, role, "one")
    assert host.console is not None
    host.console.tell(m.Request(900, "leave-mesh", {"mesh": "one"}))

    node = actors(host)["node"]
    assert isinstance(node, Node)
    stop_mesh = node._stop_mesh

    def stop_when_busy(mesh: str, problem: Problem | None, now: float) -> Iterable[Message]:
        del vars(node)["_stop_mesh"]
        fail(broken)
        return stop_mesh(mesh, problem, now)

    vars(node)["_stop_mesh"] = stop_when_busy
    assert world.run(GROUP_LIMIT + 5.0, lambda: 900 in host.replies)
    assert host.replies[900].problem is None
    world.run(20.0)
    assert [row["name"] for row in host.dashboard.list_meshes()["meshes"]] == ["two"]
    assert not [name for name in actors(host) if name.endswith(mesh)]
    assert mesh not in host.disk._meshes
    assert devices_of(host).existing == ["smeg-two"]
    assert "actor-down" not in codes(host)


@pytest.mark.parametrize("command", ["leave-mesh", "invite", "evict"])
def test_a_request_that_a_failing_mesh_swallowed_is_answered_and_can_be_made_again(world: World, command: str) -> None:
    host = world.hosts[0]
    arguments: dict[str, Any] = {"mesh": "one", "node": "host4"} if command == "evict" else {"mesh": "one"}
    vars(actor_of(host, Role.MESH, "one"))["handle"] = raising
    with pytest.raises(LocalError) as refused:
        host.ask(command, within=5.0, **arguments)
    assert refused.value.problem.code == "interrupted"
    assert world.run(10.0, lambda: whole(host, "one"))
    assert len(host.members("one")) == 4
    assert host.ask(command, **arguments)


def test_a_mesh_that_never_ends_its_actors_is_left_within_the_limit(world: World) -> None:
    host = world.hosts[1]
    freeze(actor_of(host, Role.MEMBERSHIP, "one"))
    began = world.runtime.time
    host.ask("leave-mesh", mesh="one")
    assert world.runtime.time - began < GROUP_LIMIT + 3.0


def test_the_root_that_fails_ends_the_daemon_with_a_problem(world: World) -> None:
    host = world.hosts[1]
    fail(actors(host)["node"])
    world.run(1.0)
    assert [problem.code for problem in host.ended if problem is not None] == ["node-failed"]


def test_a_daemon_that_cannot_begin_ends_and_says_why() -> None:
    made = World(1, 1)
    made.runtime.tolerant = True
    host = made.hosts[0]

    def no_disk() -> m.Loaded:
        raise LocalError("store-locked", "another daemon uses this directory", "stop it first")

    vars(host.disk)["load"] = no_disk
    host.start()
    assert made.run(30.0, lambda: bool(host.ended))
    assert host.ended == [Problem("store-locked", "another daemon uses this directory", "stop it first")]


# The end.


def freeze(actor: Actor) -> None:
    """It lives and never handles anything again."""
    assert isinstance(actor.actor_inbox, VirtualInbox)
    actor.actor_inbox.actor = None


def record_ends(host: Host) -> list[str]:
    """The roles whose actors end, in that order."""
    ended: list[str] = []

    def noting(actor: Actor, close: Callable[[], None]) -> Callable[[], None]:
        def closing() -> None:
            ended.append(actor.role.value)
            close()

        return closing

    for actor in actors(host).values():
        vars(actor)["close"] = noting(actor, actor.close)
    return ended


def test_the_order_of_ending_is_the_stated_one_and_no_device_stays() -> None:
    made = World(1, 3, heartbeat_interval=HB)
    devices = [give_devices(host) for host in made.hosts]
    made.start()
    made.form("one")
    host = made.hosts[0]
    host.ask("new-mesh", name="two")
    made.run(3.0)
    assert len(devices[0].existing) == 2
    ended = record_ends(host)
    host.shut_down()
    assert made.run(5.0, lambda: bool(host.ended))
    assert host.ended == [None]
    assert devices[0].existing == []
    assert len(devices[1].existing) == 1, "another machine's"
    made.run(1.0)
    assert actors(host) == {}
    stage_of = {role.value: number for number, (roles, _) in enumerate(STAGES) for role in roles}
    assert ended[-1] == "node"
    numbers = [stage_of[role] for role in ended[:-1]]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(len(STAGES)))
    assert len(numbers) == 4 + 2 * 4


def test_who_is_spoken_to_ends_after_who_speaks() -> None:
    order = [role for roles, _ in STAGES for role in roles]
    assert order[0] is Role.CONTROL, "nobody asks for anything any more"
    assert order.index(Role.MESH) < order.index(Role.MEMBERSHIP) < order.index(Role.DEVICE) < order.index(Role.GOSSIP)
    assert order[-1] is Role.STORE, "what the others still say is written"
    assert sorted(order) == sorted(role for role in Role if role is not Role.NODE)


def test_a_daemon_that_was_ended_comes_back_as_the_same_member() -> None:
    made = World(1, 3, heartbeat_interval=HB)
    made.start()
    made.form("one")
    host = made.hosts[1]
    address = host.dashboard.list_meshes()["meshes"][0]["address"]
    made.run(3.0)
    host.shut_down()
    assert made.run(5.0, lambda: bool(host.ended))
    host.start()
    assert made.run(5.0, lambda: whole(host, "one") and len(host.members("one")) == 3)
    assert host.dashboard.list_meshes()["meshes"][0]["address"] == address


@pytest.mark.parametrize(("roles", "limit"), STAGES)
def test_each_stage_ends_within_its_limit_although_an_actor_never_does(
    world: World, roles: tuple[Role, ...], limit: float
) -> None:
    host = world.hosts[1]
    for role in roles:
        # Only an exit with something to probe has a prober, and only who serves names or metrics has a server.
        if role not in (Role.PROBER, Role.DNS, Role.METRICS):
            freeze(actor_of(host, role, "one" if role in OF_A_MESH else ""))
    began = world.runtime.time
    host.shut_down()
    assert world.run(60.0, lambda: bool(host.ended))
    assert world.runtime.time - began == pytest.approx(limit, abs=0.5)


def test_everybody_stuck_takes_the_sum_of_the_limits_and_no_more(world: World) -> None:
    host = world.hosts[1]
    for name, actor in actors(host).items():
        if name != "node":
            freeze(actor)
    began = world.runtime.time
    host.shut_down()
    assert world.run(60.0, lambda: bool(host.ended))
    assert world.runtime.time - began == pytest.approx(sum(limit for _, limit in STAGES), abs=0.5)


@pytest.mark.parametrize("role", [*OF_A_MESH, Role.GOSSIP, Role.STORE])
def test_an_actor_that_fails_during_the_end_neither_delays_it_nor_comes_back(world: World, role: Role) -> None:
    host = world.hosts[1]
    broken = actor_of(host, role, "one" if role in OF_A_MESH else "")
    host.shut_down()
    fail(broken)
    began = world.runtime.time
    assert world.run(60.0, lambda: bool(host.ended))
    assert world.runtime.time - began < 0.5
    world.run(30.0)
    assert actors(host) == {}
    assert devices_of(host).existing == []


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2, 1.0])
def test_an_end_while_a_mesh_is_being_restarted_removes_its_device_too(world: World, seconds: float) -> None:
    host = world.hosts[1]
    for _ in range(3):
        fail(actor_of(host, Role.DEVICE, "one"))
        assert world.run(1.0, lambda: not whole(host, "one"))
        assert world.run(9.0, lambda: whole(host, "one"))
    fail(actor_of(host, Role.DEVICE, "one"))
    world.run(seconds)
    assert devices_of(host).existing == ["smeg-one", "smeg-two"]
    host.shut_down()
    assert world.run(5.0, lambda: bool(host.ended))
    assert devices_of(host).existing == []
    world.run(30.0)
    assert actors(host) == {}


def test_an_end_in_the_first_moment_leaves_nothing_running() -> None:
    for deliveries in range(0, 60, 3):
        made = World(1, 1)
        host = made.hosts[0]
        devices = give_devices(host)
        host.start()
        seen = made.runtime.delivered

        def far(seen: int = seen, deliveries: int = deliveries, made: World = made) -> bool:
            return made.runtime.delivered >= seen + deliveries

        step(made, far)
        host.shut_down()
        assert made.run(30.0, lambda host=host: bool(host.ended))  # type: ignore[misc]
        made.run(30.0)
        assert actors(host) == {}
        assert devices.existing == []


def step(world: World, until: Callable[[], bool]) -> None:
    """Deliver one message after another until the condition holds or none waits."""
    ready = world.runtime._ready
    while ready and not until():
        inbox = ready[0]
        inbox.step()
        world.runtime.delivered += 1
        if inbox.empty():
            inbox._scheduled = False
            ready.remove(inbox)


def test_an_end_at_any_moment_of_a_restart_with_a_mesh_leaves_no_device() -> None:
    for deliveries in range(100):
        made = World(1, 1)
        host = made.hosts[0]
        devices = give_devices(host)
        host.start()
        made.run(0.5)
        host.ask("new-mesh", name="demo")
        made.run(2.0)
        host.shut_down()
        assert made.run(5.0, lambda host=host: bool(host.ended))  # type: ignore[misc]
        host.ended.clear()
        host.start()
        end = made.runtime.delivered + deliveries
        step(made, lambda made=made, end=end: made.runtime.delivered >= end)  # type: ignore[misc]
        host.shut_down()
        assert made.run(30.0, lambda host=host: bool(host.ended))  # type: ignore[misc]
        made.run(30.0)
        assert actors(host) == {}
        assert devices.existing == []


def test_the_node_is_the_root_and_has_no_supervisor(world: World) -> None:
    node = actors(world.hosts[0])["node"]
    assert isinstance(node, Node)
    assert node.supervisor is None


class Unreachable(Console):
    """The control actor of a daemon whose socket is another's."""

    def begin(self, now: float) -> Iterable[Message]:
        raise LocalError("already-running", "a daemon already uses this folder", "stop it first")


class Second(Host):
    def _console(self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys) -> Actor:
        return Unreachable(runtime, incarnation, supervisor, self)


@pytest.mark.parametrize("seed", range(8))
def test_a_daemon_whose_control_socket_is_anothers_ends_whichever_of_its_actors_is_first(seed: int) -> None:
    world = World(seed, 0)
    world.runtime.tolerant = True
    host = Second(world, 1)
    host.start()
    world.run(10.0)
    (problem,) = host.ended
    assert problem is not None
    assert problem.code == "already-running"
