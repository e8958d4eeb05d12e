"""Whole daemons in several meshes, in virtual time: what bridges offer becomes routes of everybody, and goes again."""

from __future__ import annotations

from ipaddress import IPv6Network
from pathlib import Path

import pytest

from actors.wiring import OF_A_MESH, Role
from scenarios.simulation import Host, World
from smeg.addresses import overlay_prefix
from smeg.keys import NodeKey
from smeg.membership import Membership
from smeg.records import Route
from smeg.route_policy import MeshPolicy, PrefixFilter, PrefixRule, RoutePolicy
from tests.loopback import end_at_last, form_mesh
from tests.nodes import wait_for
from tests.test_simulation import HB, core, cut, digests
from tests.test_supervision import actor_of, fail

BRIDGE = RoutePolicy(general=MeshPolicy(bridge=True))
SETTLES = 8.0
"""seconds: a start with what waits for others, and some news."""


class Chain:
    """Meshes of which each two neighbours have a bridge: it founds the later one. Each has one more member."""

    def __init__(self, *meshes: str, seed: int = 1) -> None:
        self.world = World(seed, 2 * len(meshes) - 1, heartbeat_interval=HB, repair_interval=2.0)
        self.world.runtime.tracing = False
        self.meshes = meshes
        self.members = self.world.hosts[: len(meshes)]
        self.bridges = self.world.hosts[len(meshes) :]
        for host in self.world.hosts:
            host.start(routes=BRIDGE if host in self.bridges else RoutePolicy())
        self.world.run(1.0, lambda: all(host.console is not None for host in self.world.hosts))
        self.world.run(0.1)
        for index, mesh in enumerate(meshes):
            founder = self.bridges[index - 1] if index else self.members[0]
            founder.ask("new-mesh", name=mesh)
            for host in (self.members[index], *self.bridges[index : index + 1]):
                if host is not founder:
                    self.join(host, founder, mesh)

    def join(self, host: Host, founder: Host, mesh: str) -> None:
        host.ask("join-mesh", token=founder.ask("invite", mesh=mesh)["token"])

    def prefix(self, mesh: str) -> IPv6Network:
        known = (row for host in self.world.hosts for row in host.dashboard.list_meshes()["meshes"])
        return overlay_prefix(next(row["id"] for row in known if row["name"] == mesh))

    def settles(self, within: float = SETTLES) -> bool:
        """Every member comes to reach every mesh, and no others."""
        return self.world.run(within, self.whole)

    def whole(self) -> bool:
        prefixes = {mesh: self.prefix(mesh) for mesh in self.meshes}
        return all(
            set(routes(host, mesh)) == set(prefixes.values()) - {prefixes[mesh]}
            for mesh, host in zip(self.meshes, self.members, strict=True)
        )


def routes(host: Host, mesh: str) -> dict[IPv6Network, NodeKey]:
    """Through whom a host reaches each prefix in a mesh."""
    said = host.dashboard.find(mesh).routes
    chosen: tuple[Route, ...] = said.routes if said is not None else ()
    return {route.prefix: route.via for route in chosen}


def annexes(host: Host, author: Host) -> dict[str, int]:
    """What stands of an author's annexes on a host in its first mesh, by label, with their counters."""
    replica = core(host, "membership@", Membership).ledger.replica
    return {annex.label: annex.counter for annex in replica.said(author.key) if annex.body}


def forget_documents(host: Host) -> None:
    for documents in host.disk._documents.values():
        documents.clear()


def test_a_member_of_one_mesh_reaches_the_other_through_the_bridge() -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,) = made.bridges
    assert routes(made.members[0], "left") == {made.prefix("right"): bridge.key}
    assert routes(made.members[1], "right") == {made.prefix("left"): bridge.key}
    made.world.run(3.0)
    assert len(digests(made.members[:1] + made.bridges)) == 1


def test_ways_lead_over_several_bridges() -> None:
    made = Chain("one", "two", "three", "four")
    assert made.settles(15.0)
    assert set(routes(made.members[0], "one").values()) == {made.bridges[0].key}


def test_who_joins_later_hears_of_it_too() -> None:
    made = Chain("left", "right")
    assert made.settles()
    late = made.world.make_host(9)
    late.start()
    made.world.run(0.5)
    made.join(late, made.members[0], "left")
    assert made.world.run(3.0, lambda: made.prefix("right") in routes(late, "left"))


def test_what_the_bridge_offers_goes_with_its_other_membership() -> None:
    made = Chain("left", "right")
    assert made.settles()
    made.bridges[0].ask("leave-mesh", mesh="right")
    assert made.world.run(2.0, lambda: not routes(made.members[0], "left"))
    assert annexes(made.members[0], made.bridges[0]) == {}


def test_a_bridge_that_bridges_no_more_when_it_is_started_again_withdraws_what_it_offered() -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,) = made.bridges
    bridge.kill()
    made.world.run(1.0)
    bridge.start()
    assert made.world.run(SETTLES, lambda: not annexes(made.members[0], bridge))
    assert routes(made.members[0], "left") == {}


def test_what_a_node_leads_to_and_lets_in_is_what_its_last_start_says() -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,), (founder, far) = made.bridges, made.members
    first, second = IPv6Network("2001:db8:1::/48"), IPv6Network("2001:db8:2::/48")

    def lead_to(prefix: IPv6Network, other: IPv6Network) -> None:
        founder.kill()
        made.world.run(1.0)
        founder.start(routes=RoutePolicy(frozenset({prefix})))
        assert made.world.run(SETTLES, lambda: routes(bridge, "left").get(prefix) == founder.key)
        assert made.world.run(SETTLES, lambda: other not in routes(bridge, "left"))

    lead_to(first, second)
    lead_to(second, first)
    # By its own certificate in the other mesh the bridge may offer that there too, for it founded it.
    assert made.world.run(SETTLES, lambda: routes(far, "right").get(second) == bridge.key)
    far.kill()
    made.world.run(1.0)
    far.start(routes=RoutePolicy(general=MeshPolicy(imports=PrefixFilter((PrefixRule(second, False),)))))
    assert made.world.run(SETTLES, lambda: set(routes(far, "right")) == {made.prefix("left")})
    made.world.run(3.0)
    assert set(routes(far, "right")) == {made.prefix("left")}


def test_a_bridge_that_is_started_again_says_nothing_anew_and_nobody_loses_a_route() -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,), member = made.bridges, made.members[0]
    made.world.run(2.0)
    before = annexes(member, bridge)
    bridge.kill()
    made.world.run(1.0)
    bridge.start(routes=BRIDGE)
    lost = made.world.run(SETTLES, lambda: not routes(member, "left"))
    assert not lost
    assert annexes(member, bridge) == before


@pytest.mark.parametrize("bridges_on", [True, False])
def test_a_bridge_that_lost_its_database_stands_to_what_it_said_or_withdraws_it(bridges_on: bool) -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,), member = made.bridges, made.members[0]
    made.world.run(70.0)
    before = annexes(member, bridge)
    assert before
    bridge.crash()
    forget_documents(bridge)
    bridge.start(routes=BRIDGE if bridges_on else RoutePolicy())
    if bridges_on:
        made.world.run(20.0)
        assert set(annexes(member, bridge)) == set(before)
        assert made.settles()
    else:
        assert made.world.run(30.0, lambda: not annexes(member, bridge))


def test_a_member_that_was_cut_off_meanwhile_is_told_by_a_repair() -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,), member = made.bridges, made.members[0]
    others = [host for host in made.world.hosts if host is not member]
    cut(made.world, [member], others)
    bridge.ask("leave-mesh", mesh="right")
    made.world.run(20.0)
    assert annexes(member, bridge)
    made.world.network.blocked.clear()
    assert made.world.run(20.0, lambda: not annexes(member, bridge))
    assert made.world.run(5.0, lambda: len(digests([member, bridge])) == 1)


def test_annexes_are_on_the_disk_of_everybody() -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,), member = made.bridges, made.members[0]
    made.world.run(2.0)
    before = annexes(member, bridge)
    member.crash()
    cut(made.world, [member], [host for host in made.world.hosts if host is not member])
    member.start()
    made.world.run(1.0)
    assert annexes(member, bridge) == before


@pytest.mark.parametrize("role", [Role.ROUTING, Role.MESH, Role.MEMBERSHIP, Role.STORE])
def test_an_actor_of_the_bridge_that_fails_costs_nobody_a_route(role: Role) -> None:
    made = Chain("left", "middle", "right")
    assert made.settles()
    made.world.run(2.0)
    bridge, member = made.bridges[0], made.members[0]
    before = annexes(member, bridge)
    made.world.runtime.tolerant = True
    fail(actor_of(bridge, role, "left" if role in OF_A_MESH else ""))
    lost = made.world.run(SETTLES, lambda: len(routes(member, "left")) < 2)
    assert not lost
    assert annexes(member, bridge).keys() == before.keys()


def test_who_rejoins_says_nothing_that_it_said_in_its_earlier_stay() -> None:
    made = Chain("left", "right")
    assert made.settles()
    (bridge,), member = made.bridges, made.members[0]
    before = annexes(member, bridge)
    bridge.ask("leave-mesh", mesh="left")
    made.world.run(3.0)
    assert not routes(member, "left")
    made.join(bridge, member, "left")
    assert made.settles()
    after = annexes(member, bridge)
    assert min(after.values()) > max(before.values())


def test_real_daemons_keep_annexes_in_their_databases(tmp_path: Path) -> None:
    with end_at_last() as make:
        left, right = make(tmp_path / "left"), make(tmp_path / "right")
        bridge = make(tmp_path / "bridge", advertiseRoutes=True)
        for daemon in (left, bridge, right):
            daemon.start()
        one, two = form_mesh("one", left, bridge), form_mesh("two", bridge, right)

        def reached() -> tuple[bool, ...]:
            """Whether each of the two knows a way into the other's mesh."""
            return tuple(
                str(overlay_prefix(to)) in {row["prefix"] for row in daemon.ask("routes")["routes"]}
                for daemon, to in ((left, two), (right, one))
            )

        wait_for("each reaches the other's mesh", lambda: all(reached()), 20)
        for daemon in (left, bridge):
            daemon.kill9()
        bridge.configure()
        left.start()
        bridge.start()
        wait_for("what is offered no more is withdrawn", lambda: not any(reached()), 30)
        bridge.stop()
        bridge.configure(advertiseRoutes=True)
        bridge.start()
        wait_for("what is offered again comes again", lambda: all(reached()), 30)
