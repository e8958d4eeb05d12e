"""The mesh in miniature on the kernel's own WireGuard: three daemons, every pair, a kill, a leave, an end."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.nodes import Node, all_at_once, form_mesh, left_over, make_world, showconf, wait_for

MESH = "rome"


@pytest.mark.kernel
@pytest.mark.timeout(800)
def test_three_hosts_on_the_kernel_backend() -> None:
    with make_world() as world:
        if world.wireguard() != "kernel":
            pytest.skip("this kernel has no WireGuard")
        nodes = [Node(world.host(f"k{number}"), "kernel", 4 if number % 2 else 6) for number in (1, 2, 3)]
        all_at_once(node.start for node in nodes)
        form_mesh(nodes, MESH)
        addresses = {node.name: node.address(MESH) for node in nodes}
        for one, other in permutations(nodes, 2):
            wait_for(
                f"{one.name} pings {other.name}",
                lambda one=one, other=other: one.pings(addresses[other.name]),  # type: ignore[misc]
                10,
            )
        keys = {node.name: node.members(MESH)[node.name]["wireguard"] for node in nodes}
        for node in nodes:
            plan = node.ask("plan", MESH)
            peers = showconf(node.host.run(["wg", "showconf", plan["interface"]]).stdout)
            assert set(peers) == set(keys.values()) - {keys[node.name]}
            allowed = {key: fields["AllowedIPs"] for key, fields in peers.items()}
            assert allowed == {peer["public_key"]: ", ".join(peer["allowed_ips"]) for peer in plan["peers"]}

        victim, other = nodes[1], nodes[0]
        assert victim.daemon is not None
        victim.daemon.kill9()
        wait_for("it is known to be down", lambda: other.states(MESH)[victim.name] == "daemon-down", 10)
        assert other.pings(addresses[victim.name]), "the kernel's tunnel outlives the daemon"
        victim.start()
        wait_for("the restarted is pinged again", lambda: other.pings(addresses[victim.name]), 10)
        assert victim.address(MESH) == addresses[victim.name]
        assert len(victim.interfaces()) == 1

        nodes[2].ask("leave-mesh", MESH)
        assert nodes[2].interfaces() == []
        wait_for("the leaver is forgotten", lambda: keys["k3"] not in other.wireguard_peers(), 5)
        for node in nodes:
            assert node.daemon is not None
            node.daemon.terminate()
            assert node.daemon.wait(60) == 0
            assert left_over(node) == []
