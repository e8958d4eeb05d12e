"""Several meshes of real daemons on real hosts, joined by the hosts that are in more than one of them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import permutations

from scenarios.hosts import Host, World
from tests.nodes import PATIENCE, Node, all_at_once, wait_for

SOON = 5.0
"""seconds from a failure until traffic goes another way."""
GENEROUS = 3
"""By how much a busy machine may miss that."""


class Stream:
    """One packet after another from a host to an address, until it is asked how many came back."""

    def __init__(self, host: Host, address: str, interval: float) -> None:
        self._log = host.folder / f"stream-{address.replace(':', '-')}.log"
        self._log.unlink(missing_ok=True)
        self._ping = host.start(["ping", "-n", f"-i{interval:g}", address], log=self._log)

    def text(self) -> str:
        return self._log.read_text()

    def lost(self) -> int:
        """Ends it. What was on its way counts as lost."""
        if self._ping.running:
            os.kill(self._ping.pid, signal.SIGINT)
            self._ping.wait(10 * PATIENCE)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", self.text())
        assert found is not None, self.text()
        return int(found[1]) - int(found[2])


class Meshes:
    """`meshes` says who is in which; the first of each makes it. Who is in several bridges them, unless `keys` say
    otherwise."""

    def __init__(
        self,
        world: World,
        meshes: Mapping[str, Sequence[str]],
        backend: str | None = None,
        keys: Mapping[str, Mapping[str, object]] | None = None,
        invite: Sequence[str] = (),
        family: int = 4,
    ) -> None:
        """`keys` are more of the configuration, by name; `invite` are more options for the tokens; `family` is the
        address family of the endpoints."""
        self.world = world
        self.meshes = {mesh: tuple(names) for mesh, names in meshes.items()}
        self._invite = invite
        backend = backend or world.wireguard()
        self.nodes: dict[str, Node] = {}
        for name in dict.fromkeys(name for names in meshes.values() for name in names):
            bridge: dict[str, object] = {}
            if len(self.meshes_of(name)) > 1:
                bridge = {"advertiseRoutes": True, "forwarding": "host"}
            own = {**bridge, **(keys or {}).get(name, {})}
            self.nodes[name] = Node(world.host(name), backend, family, **own)
        for node in self.nodes.values():
            # Else only one packet a second that ends here is answered, and who traces too often sees gaps.
            node.host.run(["sysctl", "-qw", "net.ipv6.icmp.ratelimit=0"])
        self.addresses: dict[tuple[str, str], str] = {}
        """By mesh and name."""

    def meshes_of(self, name: str) -> list[str]:
        return [mesh for mesh, names in self.meshes.items() if name in names]

    def form(self) -> None:
        # The first reads the programs from the disk; more than there are processors would only wait for each other.
        first, *others = self.nodes.values()
        first.start()
        all_at_once((node.start for node in others), os.cpu_count() or 1)
        all_at_once(partial(self._form, mesh) for mesh in self.meshes)
        self.look_up()

    def _form(self, mesh: str) -> None:
        first, *others = (self.nodes[name] for name in self.meshes[mesh])
        first.ask("new-mesh", mesh)
        token = first.ask("invite", mesh, "--uses", str(max(1, len(others))), *self._invite)["token"]
        all_at_once(partial(node.ask, "join-mesh", "-", input=token) for node in others)

    def rejoin(self, mesh: str, name: str) -> None:
        """Somebody leaves a mesh, of which it is not the first, and comes back with another key at another address."""
        node, first = self.nodes[name], self.nodes[self.meshes[mesh][0]]
        node.ask("leave-mesh", mesh)
        wait_for(f"{name} is forgotten", lambda: name not in first.members(mesh), 10)
        node.ask("join-mesh", "-", input=first.ask("invite", mesh, *self._invite)["token"])
        self.look_up()

    def look_up(self) -> None:
        """Everybody's addresses, as the first of each mesh comes to know them."""
        for mesh, (first, *_) in self.meshes.items():
            names = set(self.meshes[mesh])
            node = self.nodes[first]
            wait_for(f"{first} knows all of {mesh}", lambda: set(node.members(mesh)) == names, 20)  # noqa: B023
            for name, row in node.members(mesh).items():
                self.addresses[mesh, name] = row["address"]

    def home(self, name: str) -> str:
        """The address of somebody in the first of its meshes."""
        return self.addresses[self.meshes_of(name)[0], name]

    # Traffic.

    def pings(self, one: str, address: str) -> bool:
        """One packet, answered soon."""
        argv = ["ping", "-n", "-c1", f"-W{PATIENCE / 2:g}", address]
        return self.nodes[one].host.run(argv, check=False).returncode == 0

    def reached(self, one: str, other: str, seconds: float) -> float:
        """Wait until somebody pings somebody, and get an answer; how many seconds that took."""
        return wait_for(f"{one} pings {other}", partial(self.pings, one, self.home(other)), seconds)

    def all_reached(self, names: Iterable[str], seconds: float) -> None:
        """Every ordered pair."""
        all_at_once(partial(self.reached, one, other, seconds) for one, other in permutations(names, 2))

    def stream(self, one: str, address: str, interval: float = 0.5) -> Stream:
        """`interval` is in seconds."""
        return Stream(self.nodes[one].host, address, interval)

    def trace(self, one: str, address: str) -> list[str]:
        """Who answers for each hop on the way from somebody to an address, as `traceroute` says; `*` for nobody."""
        argv = ["traceroute", "-6", "-n", "-I", "-q1", "-N1", f"-w{max(1, round(PATIENCE))}", "-m12", address]
        done = self.nodes[one].host.run(argv, timeout=40 * PATIENCE)
        return re.findall(r"^ *\d+ +(\S+)", done.stdout, re.MULTILINE)

    def names(self, addresses: Iterable[str]) -> list[str]:
        """Whose these are."""
        owners = {address: name for (_, name), address in self.addresses.items()}
        return [owners.get(address, address) for address in addresses]

    def way(self, one: str, address: str) -> list[str]:
        """By name, who is on the way as `why` says, with the last one who passes it on or has the address."""
        return [step["to"] for step in self.nodes[one].ask("why", address)["steps"]]

    # Faults.

    def power_off(self, *names: str) -> None:
        """As if their plugs were pulled: silent at once, and nothing stays but what is on their disks."""
        for name in names:
            self._link(name, "down")
        for name in names:
            node = self.nodes[name]
            assert node.daemon is not None
            node.daemon.kill9()
            for interface in node.interfaces():
                node.host.run(["ip", "link", "delete", interface])

    def power_on(self, *names: str) -> None:
        for name in names:
            self._link(name, "up")
        all_at_once(self.nodes[name].start for name in names)

    def _link(self, name: str, state: str) -> None:
        self.world.run(["ip", "link", "set", f"host{self.nodes[name].host.number}", state]).check_returncode()
