"""The simulated world: real actors in virtual time, on hosts and a network that are made up.

A `World` holds hosts; a `Host` runs one daemon's actors, with a disk that survives crashes and a dry-run device.
Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from actors.base import Actor, Address
from actors.cast import Cast, Settings
from actors.device import DeviceActor
from actors.node import Node
from actors.routing_table import RoutingTableActor
from actors.runtime import Runtime
from actors.virtual import WALL_START, VirtualHost, VirtualRuntime
from scenarios.network import Network, Station
from scenarios.simulated_gossip import SimulatedGossip
from scenarios.stand_ins import Console, LiteralUnderlay, MemoryDisk
from smeg import messages as m
from smeg.core import Message
from smeg.dashboard import Dashboard
from smeg.device import Backend, InterfaceSpec
from smeg.edges.dry_run import DryRunBackend
from smeg.errors import LocalError, Problem
from smeg.keys import NodeKey, new_secret, node_key, x25519_public
from smeg.ledger import Ledger
from smeg.mesh_settings import Keys
from smeg.notary import Notary


class Host:
    """One simulated machine with one daemon."""

    def __init__(self, world: World, number: int, name: str = "") -> None:
        self.world = world
        self.number = number
        self.name = name or f"host{number}"
        self.called = self.name
        """As its configuration says."""
        self.address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.replies: dict[int, m.Reply] = {}
        self.console: Address | None = None
        self.dashboard: Dashboard
        self.ended: list[Problem | None] = []
        self._ticket = 0
        self._runtime: VirtualHost = world.runtime.host(self.name)
        entropy = self._runtime.entropy
        self.identity, self.curve = new_secret(entropy), new_secret(entropy)
        self.key: NodeKey = node_key(self.identity)
        self.disk = MemoryDisk(self.identity, self.curve)
        self.station: Station = world.network.station(x25519_public(self.curve), self.name, self.address)
        self.backend: DryRunBackend | None = None
        self._settings: Settings

    @property
    def runtime(self) -> VirtualHost:
        return self._runtime

    def start(self, **settings: Any) -> None:
        """Start the daemon; `settings` as in `Settings`."""
        self.ended.clear()
        cast = self._cast({**self.world.settings, **settings})
        self._settings = cast.settings
        node = Node(self._runtime, cast, self.ended.append)
        self._node = Address(node)
        node._start_actor_loop()
        node.open()

    def _cast(self, settings: Mapping[str, Any]) -> Cast:
        world = self.world
        return Cast(
            Settings(self.called, **settings),
            lambda: self.disk,
            self._gossip,
            self._console,
            self._open_backend,
            LiteralUnderlay,
            lambda: world.notary,
            world.ledger,
            self._device,
            self._routing,
        )

    _device: type[DeviceActor] = DeviceActor
    """What plays the device actor."""
    _routing: type[RoutingTableActor] = RoutingTableActor

    def _gossip(self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys) -> Actor:
        return SimulatedGossip(runtime, incarnation, supervisor, self.world.network, self.station, self.address)

    def _console(self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys) -> Actor:
        console = Console(runtime, incarnation, supervisor, self)
        self.console = Address(console)
        own, said = node_key(keys.identity), self._settings
        self.dashboard = Dashboard(own, self.called, runtime.now(), said.routes, said.keepalive)
        return console

    def hear(self, message: Message) -> None:
        """What the console hears."""
        if isinstance(message, m.Reply):
            self.replies[message.ticket] = message
        else:
            self.dashboard.hear(message)

    def _open_backend(self, spec: InterfaceSpec) -> Backend:
        self.backend = DryRunBackend()
        self.backend.open(spec)
        return self.backend

    # What befalls it.

    def crash(self) -> None:
        """The host loses its power: nothing is said, the disk stays."""
        self.world.network.power_off(self.station)
        self._runtime.crash()

    def kill(self) -> None:
        """As kill -9 of the daemon: the host lives, resets its connections and refuses new ones."""
        self._runtime.crash()
        self.world.network.refuse(self.station)

    def stall(self, seconds: float) -> None:
        """As SIGSTOP, and SIGCONT after a time."""
        self._runtime.stop()
        runtime = self.world.runtime
        runtime.at(runtime.time + seconds, self._runtime.resume)

    def shut_down(self) -> None:
        """As SIGTERM."""
        self._node.tell(m.Shutdown())

    # What a person does.

    def ask(self, command: str, within: float = 30.0, **arguments: Any) -> Mapping[str, Any]:
        """Send a command and run the world until it is answered. Raises `LocalError` as the daemon answers."""
        self._ticket += 1
        ticket = self._ticket
        assert self.console is not None, "the daemon has not started"
        self.console.tell(m.Request(ticket, command, arguments))
        if not self.world.run(within, lambda: ticket in self.replies):
            raise AssertionError(f"{self.name} did not answer {command} within {within} s")
        reply = self.replies.pop(ticket)
        if reply.problem is not None:
            raise LocalError(reply.problem.code, reply.problem.message, reply.problem.hint)
        return reply.result or {}

    def members(self, mesh: str) -> dict[str, str]:
        """Name → state, as `members` shows them."""
        return {row["name"]: row["state"] for row in self.dashboard.members(mesh)["members"]}


class World:
    def __init__(self, seed: int, hosts: int, **settings: Any) -> None:
        self.runtime = VirtualRuntime(seed)
        self.network = Network(self.runtime)
        self.notary = Notary(10**6, 2**32)
        self.settings = settings
        self._ledgers: dict[str, Ledger] = {}
        self.hosts = [self.make_host(number) for number in range(1, hosts + 1)]

    def know(self, mesh: str, documents: Iterable[bytes]) -> None:
        """What all nodes of a mesh know from the start."""
        self._ledgers[mesh] = Ledger(mesh, self.notary)
        self._ledgers[mesh].take(documents, WALL_START)

    def ledger(self, mesh: str) -> Ledger:
        """What a node begins with."""
        known = self._ledgers.get(mesh)
        return known.fork() if known is not None else Ledger(mesh, self.notary)

    def make_host(self, number: int) -> Host:
        return Host(self, number)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let virtual time pass, at most until `until()` holds; whether it held."""
        return self.runtime.run(self.runtime.time + seconds, until)

    def start(self) -> None:
        for host in self.hosts:
            host.start()
        self.run(1.0, lambda: all(host.console is not None for host in self.hosts))
        self.run(0.1)

    def form(self, name: str = "demo") -> None:
        """The first host makes a mesh and invites all others, who join one after another."""
        first, *others = self.hosts
        first.ask("new-mesh", name=name)
        if others:
            token = first.ask("invite", mesh=name, uses=len(others))["token"]
            for host in others:
                host.ask("join-mesh", token=token)
