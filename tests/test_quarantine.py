"""One use of an invitation taken on both sides of a partition: nobody is trusted until an admin decides."""

from __future__ import annotations

from itertools import product

from scenarios.simulation import World

HB = 1.0


def test_an_invitation_overdrawn_by_a_partition_quarantines_both_users_until_an_admin_evicts_one() -> None:
    world = World(3, 4, heartbeat_interval=HB, repair_interval=2.0)
    world.start()
    admin, peer, first, second = world.hosts
    admin.ask("new-mesh", name="demo")
    peer.ask("join-mesh", token=admin.ask("invite", mesh="demo")["token"])
    token = admin.ask("invite", mesh="demo", uses=1)["token"]

    sides = (admin, first), (peer, second)
    cut = {(one.name, other.name) for one, other in product(*sides)}
    world.network.blocked = cut | {(other, one) for one, other in cut}
    first.ask("join-mesh", token=token)
    second.ask("join-mesh", token=token)
    assert world.run(5.0, lambda: "host3" in admin.members("demo"))
    assert world.run(5.0, lambda: "host4" in peer.members("demo"))

    world.network.blocked = set()
    quarantined = {"host3": "quarantined", "host4": "quarantined"}

    def both_quarantined() -> bool:
        views = [host.members("demo") for host in (admin, peer)]
        return all({name: view.get(name) for name in quarantined} == quarantined for view in views)

    assert world.run(60.0, both_quarantined)
    asked = admin.dashboard.members("demo", ["quarantined"])["members"]
    assert {row["name"] for row in asked} == quarantined.keys()

    admin.ask("evict", mesh="demo", node="host3")
    assert world.run(30.0, lambda: all(host.members("demo").get("host4") == "alive" for host in (admin, peer, second)))
    assert world.run(30.0, lambda: all("host3" not in host.members("demo") for host in (admin, peer, second)))
    assert world.run(30.0, lambda: first.dashboard.list_meshes() == {"meshes": []})
