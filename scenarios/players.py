"""A host of a simulated scenario: a daemon whose console is heard, whose disk can fail, and whose interfaces are kept
account of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Protocol

from actors.base import Actor, Address
from actors.cast import Cast
from actors.gossip import LOOK_SOON
from actors.runtime import Runtime
from actors.wiring import Role
from scenarios.later_version import LaterGossip
from scenarios.simulated_gossip import Moved, SimulatedGossip
from scenarios.simulation import Host, World
from scenarios.stand_ins import MemoryDisk, NoDevice
from scenarios.tunnels import SimulatedDevice
from smeg import messages as m
from smeg.core import Message
from smeg.device import Backend, DeviceState, InterfaceSpec, WgPeer
from smeg.errors import LocalError
from smeg.keys import NodeKey
from smeg.ledger import Ledger
from smeg.mesh_settings import Keys
from smeg.stored import StoredMesh

Answered = Callable[[m.Reply], None]
NOTICES = 2.0
"""seconds until a client has noticed that a connection was lost, and has made another: see `docs/roles.md`."""


@dataclass(frozen=True, slots=True)
class Reaches:
    """What is behind this host is reached, or not any more."""

    reached: bool


class Prober(Actor):
    """Plays the prober: it is told what it would find."""

    role = Role.PROBER

    def __init__(self, runtime: Runtime, incarnation: int, supervisor: Address, reached: bool) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._reached = reached
        self._version = 0

    def begin(self, now: float) -> Iterable[Message]:
        return self._say()

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        if not isinstance(message, Reaches):
            return []
        self._reached = message.reached
        return self._say()

    def _say(self) -> Iterable[Message]:
        self._version += 1
        return [m.UplinkChanged(self._version, self._reached)]


class FailingDisk(MemoryDisk):
    """A disk that may be full, or lose its database."""

    full = False

    def save_mesh(self, mesh: StoredMesh) -> None:
        self._check()
        super().save_mesh(mesh)

    def replace_documents(self, mesh: str, obsolete_hashes: tuple[bytes, ...], documents: tuple[bytes, ...]) -> None:
        self._check()
        super().replace_documents(mesh, obsolete_hashes, documents)

    def _check(self) -> None:
        if self.full:
            raise LocalError("disk-full", "no space left on the simulated disk", "make room")

    def copy(self) -> FailingDisk:
        made = FailingDisk(self._identity, self._curve)
        made._meshes = dict(self._meshes)
        made._documents = {mesh: dict(documents) for mesh, documents in self._documents.items()}
        return made

    def corrupt(self) -> None:
        """The database is found unreadable, set aside, and begun anew; keys and meshes are files beside it."""
        for documents in self._documents.values():
            documents.clear()


class CountedDevice(SimulatedDevice):
    """One of a host's interfaces."""

    def __init__(self, host: Player) -> None:
        super().__init__(host.world.runtime, host.speak)
        self._host = host

    def open(self, spec: InterfaceSpec) -> None:
        super().open(spec)
        self._host.devices.add(self)

    def up(self) -> bool:
        """It outlives the daemon, but not its host, nor another that takes its place."""
        return self in self._host.devices

    def close(self) -> None:
        if self.up():
            self._host.devices.discard(self)
            self._host.device_removed(self.read())
        super().close()


@dataclass(slots=True)
class Seat:
    """What a daemon thinks of one mesh, as its console heard last."""

    members: m.MembersChanged | None = None
    silent: frozenset[NodeKey] = frozenset()
    pruned: frozenset[NodeKey] = frozenset()
    leader: NodeKey | None = None

    def address(self, key: NodeKey) -> IPv6Address | None:
        member = self.members.members.get(key) if self.members is not None else None
        return member.address if member is not None else None


class Theatre(Protocol):
    """Who is told what befalls the players."""

    def thought(
        self,
        player: Player,
        mesh: str,
        gone: frozenset[NodeKey],
        back: frozenset[NodeKey],
        pruned: frozenset[NodeKey],
    ) -> None: ...

    def applied(self, player: Player, mesh: str, plan: DeviceState) -> None: ...

    def spoke(self, player: Player, key: bytes, peer: WgPeer) -> bool: ...

    def removed(self, player: Player, device: DeviceState) -> None: ...

    def noticed(self, player: Player, what: str) -> None: ...


class Player(Host):
    """`devices` are only planned where the script looks at them: for thousands of hosts they cost the most."""

    def __init__(self, world: World, number: int, name: str, theatre: Theatre, planned: bool) -> None:
        super().__init__(world, number, name)
        self.disk: FailingDisk = FailingDisk(self.identity, self.curve)
        self.seats: dict[str, Seat] = {}
        """By mesh id."""
        self.devices: set[CountedDevice] = set()
        self.behind: frozenset[IPv6Network] = frozenset()
        self.reaches = True
        self.later = False
        """Whether its daemon is of a later version."""
        self.remembers = True
        """Whether what all members know from the start is on its disk, too."""
        self.arguments: Mapping[str, Any] = {}
        """Settings of each start."""
        self._theatre = theatre
        self._asked: dict[int, Answered] = {}
        self._tickets = 0
        self._ending = False
        self._again = False
        self._moves = 0
        self._deepest = 0
        """The most messages that waited for one actor of an earlier daemon."""
        self._dialled: set[Player] = set()
        """With whom a connection may be made just now."""
        if not planned:
            self._device = NoDevice

    def _cast(self, settings: Mapping[str, Any]) -> Cast:
        cast = super()._cast(settings)
        return replace(cast, ledger=self._ledger, prober=self._prober if self.behind else None)

    def _ledger(self, mesh: str) -> Ledger:
        return self.world.ledger(mesh) if self.remembers else Ledger(mesh, self.world.notary)

    def _gossip(self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys) -> Actor:
        of = LaterGossip if self.later else SimulatedGossip
        return of(runtime, incarnation, supervisor, self.world.network, self.station, self.address)

    def _prober(self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys) -> Actor:
        return Prober(runtime, incarnation, supervisor, self.reaches)

    def _open_backend(self, spec: InterfaceSpec) -> Backend:
        device = CountedDevice(self)
        device.open(spec)
        return device

    def device_removed(self, device: DeviceState) -> None:
        self._theatre.removed(self, device)

    def speak(self, key: bytes, peer: WgPeer) -> bool:
        """Something goes from its interface with this key to a peer; whether it arrives."""
        return self._theatre.spoke(self, key, peer)

    # Beginning and ending.

    def begin(self) -> None:
        """Start the daemon, unless it is up; one that is just ending is started when it has."""
        if self.console is not None and not self._ending:
            return
        if self._ending and not self.ended:
            self._again = True
            self.world.runtime.at(self.world.runtime.time + 0.1, self._begin_again)
            return
        self._ending = self._again = False
        self._deepest = self.deepest_queue()
        self._runtime.crash()
        self.seats.clear()
        self.devices.clear()
        self.console = None
        self.start(**self.arguments)

    def _begin_again(self) -> None:
        if self._again:
            self.begin()

    def end(self) -> None:
        """As SIGTERM."""
        if self.console is not None and not self._ending:
            self._ending = True
            self.shut_down()

    def die(self) -> None:
        """As kill -9."""
        self._deepest = self.deepest_queue()
        self._ending = self._again = False
        self.kill()
        self.console = None

    def lose_power(self) -> None:
        self.die()
        self.crash()
        self.devices.clear()
        self.seats.clear()

    def become(self, other: Player) -> None:
        """A copy of another host, but for the address. Raises `LocalError` while the daemon is up."""
        if self.console is not None and not (self._ending and self.ended):
            raise LocalError("daemon-up", f"the daemon of {self.name} is up: it would not notice another state")
        self.die()
        self.disk, self.remembers = other.disk.copy(), other.remembers
        self.called, self.arguments, self.behind = other.called, other.arguments, other.behind
        self.world.network.share_key(self.station, other.station.curve)

    def move(self) -> None:
        """Another address of the underlay; the kernel tells a daemon that is up."""
        self._moves += 1
        self.address = f"10.{128 + self._moves % 128}.{self.number >> 8 & 255}.{self.number & 255}"
        self.world.network.move(self.station, self.address)
        at = self.world.runtime.time + self._runtime.random("moves").uniform(0.0, LOOK_SOON)
        self.world.runtime.at(at, self._find_address)

    def _find_address(self) -> None:
        for actor in self._actors(Role.GOSSIP):
            Address(actor).tell(Moved(self.address))

    def dial(self, other: Player) -> None:
        """Another host is sent to, with whom there may be no connection yet. A client that has one again is told so,
        that it wakes its tunnels."""
        if not self._is_connected(other) and other not in self._dialled:
            self._dialled.add(other)
            self.world.runtime.call(self.world.runtime.time + NOTICES, self._look_at, other)

    def _is_connected(self, other: Player) -> bool:
        return self.station.heard.get(other.station.curve) == other.station.starts

    def _look_at(self, other: Player) -> None:
        self._dialled.discard(other)
        for actor in self._actors(Role.DEVICE) if self._is_connected(other) else ():
            Address(actor).tell(m.LinkRestored(actor.mesh, other.key))

    def _actors(self, role: Role) -> list[Actor]:
        return [inbox.actor for inbox in self.runtime.inboxes if inbox.actor is not None and inbox.actor.role is role]

    def deepest_queue(self) -> int:
        """The most messages that ever waited for one of its actors."""
        return max([self._deepest, *(inbox.high for inbox in self.runtime.inboxes)])

    # What a person does.

    def request(self, answered: Answered, command: str, **arguments: Any) -> None:
        """Ask the daemon, without waiting. Raises `LocalError` when it is not up."""
        if self.console is None or self._ending:
            raise LocalError("daemon-down", f"{self.name} was asked to {command} while its daemon is down")
        self._tickets += 1
        self._asked[self._tickets] = answered
        self.console.tell(m.Request(self._tickets, command, arguments))

    def probe(self, reached: bool) -> None:
        self.reaches = reached
        for actor in self._actors(Role.PROBER):
            Address(actor).tell(Reaches(reached))

    # What the console hears.

    def hear(self, message: Message) -> None:
        match message:
            case m.Reply(ticket) if ticket in self._asked:
                self._asked.pop(ticket)(message)
            case m.MembersChanged(mesh):
                self._seat(mesh).members = message
            case m.LivenessChanged(mesh):
                self._judged(self._seat(mesh), message)
            case m.DeviceApplied(mesh):
                self._theatre.applied(self, mesh, message.plan)
            case m.MeshStopped(mesh, problem):
                self.seats.pop(mesh, None)
                if problem is not None:
                    self._theatre.noticed(self, problem.code)
            case m.Alarm(_, problem) | m.DeviceFailed(_, problem):
                self._theatre.noticed(self, problem.code)
            case m.Supervised():
                for actor in message.actors:
                    if actor.state != "running":
                        self._theatre.noticed(self, f"{actor.name.split('@')[0]} {actor.state}")

    def _seat(self, mesh: str) -> Seat:
        return self.seats.setdefault(mesh, Seat())

    def _judged(self, seat: Seat, message: m.LivenessChanged) -> None:
        silent, before = message.silent, seat.silent
        pruned = message.pruned - seat.pruned
        seat.silent, seat.pruned, seat.leader = silent, message.pruned, message.leader
        if silent != before or pruned:
            self._theatre.thought(self, message.mesh, silent - before, before - silent, pruned)
