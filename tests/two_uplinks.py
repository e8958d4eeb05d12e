"""A node whose only way out is a gateway, two exits beyond it, and somebody outside whom only the exits reach.

    near --- gate --- x1 --- outside
                 \\--- x2 ---/

`near` reaches the exits, and so everything that carries the mesh, by its default route. Outside answers each packet by
the link that it came in by, so that an answer proves which exit was taken.
"""

from __future__ import annotations

import sys
from functools import partial
from ipaddress import IPv6Network
from pathlib import Path

from scenarios.hosts import Host, World
from smeg.addresses import overlay_prefix
from smeg.shares import shards
from tests.nodes import all_at_once
from tests.real_meshes import Meshes

ROOT = Path(__file__).parents[1]
MESH = "porto"
EXITS = ("x1", "x2")
NEAR = "near"
LAN, NEAR_OUTSIDE, GATE_INSIDE = "2001:db8:a::/64", "2001:db8:a::2", "2001:db8:a::1"
SHARD_BITS = 3
SITES = [str(part[0x99]) for part in shards(IPv6Network("2000::/3"), SHARD_BITS)]
"""Addresses of the host outside, one in each shard of the default route."""
PROBED = (SITES[0], 443)
_SERVER = "import socket\ns = socket.create_server((%r, %d), family=socket.AF_INET6)\nwhile True: s.accept()"


class TwoUplinks:
    def __init__(self, world: World, backend: str | None = None, probe: bool = False) -> None:
        self.world = world
        exits: dict[str, object] = {"advertiseDefaults": True, "forwarding": "host"}
        if probe:
            exits["exitProbe"] = f"[{PROBED[0]}]:{PROBED[1]}"
        near = {"acceptDefaults": True, "shards": 1 << SHARD_BITS, "publicEndpoint": NEAR_OUTSIDE}
        keys = {**dict.fromkeys(EXITS, exits), NEAR: near}
        self.meshes = Meshes(world, {MESH: (NEAR, *EXITS)}, backend, keys, ("--exit",), family=6)
        self.gate = world.host("gate")
        self.outside = world.host("outside")
        self._put_behind_the_gate()
        for number, name in enumerate(EXITS, start=1):
            self._uplink(number, name)
        for site in SITES:
            self.outside.run(["ip", "address", "add", f"{site}/128", "dev", "lo"])
        self.outside.run(["sysctl", "-qw", "net.ipv6.icmp.echo_ignore_all=1"])
        links = [f"down{number}" for number, _ in enumerate(EXITS, start=1)]
        argv = [sys.executable, "-m", "tests.answering", *links]
        self.outside.start(argv, env={"PYTHONPATH": str(ROOT)}, log=self.outside.folder / "answering.log")
        if probe:
            self.outside.start([sys.executable, "-c", _SERVER % PROBED])
        self.meshes.form()
        near_node = self.meshes.nodes[NEAR]
        (row,) = near_node.ask("list-meshes")["meshes"]
        for number, _ in enumerate(EXITS, start=1):
            self._outside("route", "add", str(overlay_prefix(row["id"])), *self._back(number))

    def _put_behind_the_gate(self) -> None:
        near, world = self.meshes.nodes[NEAR].host, self.world
        self._link(self.gate, "eth1", "gate1", "lan")
        world.run(["ip", "link", "set", f"host{near.number}", "master", "lan"]).check_returncode()
        near.run(["ip", "address", "flush", "dev", "eth0", "scope", "global"])
        near.run(["ip", "address", "add", f"{NEAR_OUTSIDE}/64", "dev", "eth0", "nodad"])
        near.run(["ip", "-6", "route", "add", "default", "via", GATE_INSIDE])
        self.gate.run(["ip", "address", "add", f"{GATE_INSIDE}/64", "dev", "eth1", "nodad"])
        self.gate.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])
        for name in EXITS:
            self.meshes.nodes[name].host.run(["ip", "-6", "route", "add", LAN, "via", str(self.gate.address(6))])

    def _uplink(self, number: int, name: str) -> None:
        exit_host, provider = self.meshes.nodes[name].host, f"provider{number}"
        self._link(exit_host, "eth1", f"up{number}", provider)
        self._link(self.outside, f"down{number}", f"down{number}", provider)
        exit_host.run(["ip", "address", "add", f"2001:db8:f:{number}::1/64", "dev", "eth1", "nodad"])
        exit_host.run(["ip", "-6", "route", "add", "default", "via", f"2001:db8:f:{number}::2"])
        self._outside("address", "add", f"2001:db8:f:{number}::2/64", "dev", f"down{number}", "nodad")

    def _back(self, number: int) -> list[str]:
        return ["via", f"2001:db8:f:{number}::1", "dev", f"down{number}", "metric", str(number)]

    def _link(self, host: Host, interface: str, port: str, switch: str) -> None:
        """An interface of a host, plugged into a switch, which is made if there is none."""
        host.run(["ip", "link", "add", interface, "type", "veth", "peer", "name", f"{port}p", "netns", "1"])
        host.run(["ip", "link", "set", interface, "up"])
        self.world.run(["ip", "link", "add", switch, "type", "bridge", "stp_state", "0", "forward_delay", "0"])
        for argv in (("set", switch, "up"), ("set", f"{port}p", "master", switch, "up")):
            self.world.run(["ip", "link", *argv]).check_returncode()

    def _outside(self, *argv: str) -> None:
        self.outside.run(["ip", "-6", *argv])

    def cut(self, name: str) -> None:
        """An exit loses its uplink, and nothing else."""
        self._set(name, "down")

    def mend(self, name: str) -> None:
        self._set(name, "up")

    def _set(self, name: str, state: str) -> None:
        number = EXITS.index(name) + 1
        self.world.run(["ip", "link", "set", f"up{number}p", state]).check_returncode()

    # What is seen.

    def exits(self) -> dict[str, str]:
        """Which exit the packets to each site really go through, as a packet that gets no further is answered."""
        found: dict[str, str] = {}

        def look(site: str) -> None:
            found[site] = self.meshes.names(self.meshes.trace(NEAR, site))[0]

        all_at_once(partial(look, site) for site in SITES)
        return found

    def reaches_all(self) -> bool:
        return all(self.meshes.pings(NEAR, site) for site in SITES)
