"""The simulated world: real actors in virtual time, on hosts and a network that are made up.

A `World` holds hosts; a `Host` runs one daemon's actors, with a disk that survives crashes and a dry-run device. The
network delays, and loses if told so. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import exp
from random import Random
from typing import Any

from actors.base import Actor, Address
from actors.cast import Cast, Settings
from actors.node import Node
from actors.runtime import Runtime
from actors.virtual import VirtualHost, VirtualRuntime
from actors.wiring import Role
from smeg import messages as m
from smeg.core import Message
from smeg.dashboard import Dashboard
from smeg.device import Backend, Endpoint, InterfaceSpec
from smeg.documents import document_hash
from smeg.edges.dry_run import DryRunBackend
from smeg.errors import LocalError, Problem, RemoteError
from smeg.keys import Secret, new_secret, node_key, x25519_public
from smeg.mesh_settings import Keys
from smeg.notary import Notary
from smeg.stored import StoredMesh
from smeg.switchboard import Switchboard

GOSSIP_PORT = 51800
MEDIAN_LATENCY = 0.040
SIGMA = 0.5
"""One-way latency is lognormal: median in seconds, and the deviation of its logarithm."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message came out of the network, over a connection that proved `curve`."""

    curve: bytes
    mesh: str
    channel: bytes
    payload: bytes


class Network:
    """Who can reach whom, how fast, and with what loss. `blocked` holds pairs of host names, one way each."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.runtime = runtime
        self.loss = 0.0
        self.blocked: set[tuple[str, str]] = set()
        self.messages = 0
        self.bytes = 0
        self._random = Random(f"{runtime.seed}/network")
        self._listening: dict[bytes, tuple[str, Address]] = {}
        self._places: dict[str, bytes] = {}

    def listen(self, curve: bytes, host: str, address: str, actor: Address) -> None:
        self._listening[curve] = (host, actor)
        self._places[address] = curve

    def silence(self, curve: bytes) -> None:
        self._listening.pop(curve, None)

    def reachable(self, curve: bytes, endpoints: tuple[Endpoint, ...]) -> bool:
        """Whether somebody with this key listens at one of the endpoints."""
        return curve in self._listening and any(self._places.get(endpoint.host) == curve for endpoint in endpoints)

    def send(self, source: bytes, host: str, target: bytes, message: m.SendMember | m.SendGuest) -> None:
        place = self._listening.get(target)
        self.messages += 1
        self.bytes += len(message.payload) + 80
        latency = MEDIAN_LATENCY * exp(self._random.gauss(0.0, SIGMA))
        if place is None or (host, place[0]) in self.blocked or self._random.random() < self.loss:
            return
        arrived = Arrived(source, message.mesh, message.channel.value, message.payload)
        self.runtime.at(self.runtime.time + latency, lambda: place[1].tell(arrived))


class SimulatedGossip(Actor):
    """Plays the gossip actor on the made-up network."""

    role = Role.GOSSIP

    def __init__(
        self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys, network: Network, host: Host
    ) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._curve = x25519_public(keys.curve)
        self._network = network
        self._host = host
        self._switchboard = Switchboard()
        self.dropped = 0

    def begin(self, now: float) -> Iterable[Message]:
        self._network.listen(self._curve, self._host.name, self._host.address, Address(self))
        return [m.GossipReady(GOSSIP_PORT, (self._host.address,))]

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case Arrived():
                try:
                    return [self._switchboard.receive(message.curve, message.mesh, message.channel, message.payload)]
                except RemoteError:
                    self.dropped += 1
            case m.SendMember() | m.SendGuest():
                try:
                    self._network.send(self._curve, self._host.name, self._switchboard.line(message).curve, message)
                except RemoteError:
                    self.dropped += 1
            case m.MembersChanged():
                self._switchboard.members_changed(message)
            case m.MeshStopped():
                self._switchboard.mesh_stopped(message.mesh)
            case m.Dial():
                self._switchboard.dialled(message)
                if not self._network.reachable(message.curve, message.endpoints):
                    return [m.LinkFailed(message.mesh, message.curve, e, "refused") for e in message.endpoints]
        return []

    def close(self) -> None:
        self._network.silence(self._curve)


class Console(Actor):
    """Plays the control actor: takes requests from the scenario and keeps the answers."""

    role = Role.CONTROL

    def __init__(self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys, host: Host) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        host.console = Address(self)
        self._host = host
        host.dashboard = Dashboard(node_key(keys.identity), host.name, runtime.now())

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.Request():
                return [message]
            case m.Reply():
                self._host.replies[message.ticket] = message
            case _:
                self._host.dashboard.hear(message)
        return []


class MemoryDisk:
    """A disk that a crash of its host does not touch. See `actors.store.Disk`."""

    def __init__(self, identity: Secret, curve: Secret) -> None:
        self._identity = identity
        self._curve = curve
        self._meshes: dict[str, StoredMesh] = {}
        self._documents: dict[str, dict[bytes, bytes]] = {}

    def load(self) -> m.Loaded:
        return m.Loaded(self._identity, self._curve, tuple(self.load_mesh(mesh) for mesh in sorted(self._meshes)))

    def load_mesh(self, mesh: str) -> StoredMesh:
        if mesh not in self._meshes:
            raise LocalError("mesh-unknown", f"no mesh {mesh} on this disk")
        return replace(self._meshes[mesh], documents=tuple(self._documents[mesh].values()))

    def save_mesh(self, mesh: StoredMesh) -> None:
        self._meshes[mesh.id] = mesh
        self._documents.setdefault(mesh.id, {})
        self.save_documents(mesh.id, mesh.documents)

    def save_documents(self, mesh: str, documents: tuple[bytes, ...]) -> None:
        self.replace_documents(mesh, (), documents)

    def replace_documents(self, mesh: str, obsolete_hashes: tuple[bytes, ...], documents: tuple[bytes, ...]) -> None:
        if mesh not in self._documents:
            raise LocalError("mesh-unknown", f"no mesh {mesh} on this disk")
        for key in obsolete_hashes:
            self._documents[mesh].pop(key, None)
        self._documents[mesh].update((document_hash(raw), raw) for raw in documents)

    def forget_mesh(self, mesh: str) -> None:
        self._meshes.pop(mesh, None)
        self._documents.pop(mesh, None)

    def close(self) -> None:
        pass


class LiteralUnderlay:
    """Endpoints of literal addresses need no resolving. See `actors.device.Underlay`."""

    def choose(self, endpoints: tuple[Endpoint, ...], now: float) -> Endpoint | None:
        return endpoints[0] if endpoints else None

    def listen(self, resolved: Callable[[], None]) -> None:
        pass

    def close(self) -> None:
        pass


class Host:
    """One simulated machine with one daemon."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"host{number}"
        self.address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.replies: dict[int, m.Reply] = {}
        self.console: Address | None = None
        self.dashboard: Dashboard
        self.ended: list[Problem | None] = []
        self._ticket = 0
        self._runtime: VirtualHost = world.runtime.host(self.name)
        entropy = self._runtime.entropy
        self.identity, self.curve = new_secret(entropy), new_secret(entropy)
        self.disk = MemoryDisk(self.identity, self.curve)
        self.backend: DryRunBackend | None = None

    @property
    def runtime(self) -> VirtualHost:
        return self._runtime

    @property
    def key(self) -> bytes:
        return node_key(self.identity)

    def start(self, **settings: Any) -> None:
        """Start the daemon; `settings` as in `Settings`."""
        world = self.world
        cast = Cast(
            Settings(self.name, **{**world.settings, **settings}),
            lambda: self.disk,
            lambda runtime, n, node, keys: SimulatedGossip(runtime, n, node, keys, world.network, self),
            lambda runtime, n, node, keys: Console(runtime, n, node, keys, self),
            self._open_backend,
            LiteralUnderlay,
            lambda: world.notary,
        )
        node = Node(self._runtime, cast, self.ended.append)
        self._node = Address(node)
        node._start_actor_loop()
        node.open()

    def _open_backend(self, spec: InterfaceSpec) -> Backend:
        self.backend = DryRunBackend()
        self.backend.open(spec)
        return self.backend

    def crash(self) -> None:
        """As kill -9: nothing is said, the disk stays."""
        self.world.network.silence(x25519_public(self.curve))
        self._runtime.crash()

    def shut_down(self) -> None:
        """As SIGTERM."""
        self._node.tell(m.Shutdown())

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
        self.notary = Notary()
        self.settings = settings
        self.hosts = [Host(self, number) for number in range(1, hosts + 1)]

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
