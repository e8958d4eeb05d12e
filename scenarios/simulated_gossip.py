"""The gossip actor's part on the made-up network: the same messages in and out, no socket in between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Role
from scenarios.network import Network, State, Station
from scenarios.papers import GOSSIP_PORT
from smeg import messages as m
from smeg.core import Message
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.switchboard import Switchboard

HEARTBEAT = m.Channel.HEARTBEAT
SILENT_AFTER = 2.0
"""seconds after which nobody is expected to answer any more who was dialled."""
DIAL_AGAIN = (1.0, 2.0)
"""seconds between two looks at a host whose daemon is down."""


@dataclass(frozen=True, slots=True)
class Reset:
    """A connection with this key has ended by the will of the other host."""

    curve: bytes


@dataclass(frozen=True, slots=True)
class Dialled:
    """What came of dialling."""

    curve: bytes
    state: State


@dataclass(frozen=True, slots=True)
class Moved:
    """This host has found out that it has another address."""

    address: str


class SimulatedGossip(Actor):
    role = Role.GOSSIP

    def __init__(
        self,
        runtime: Runtime,
        incarnation: int,
        supervisor: Address,
        network: Network,
        station: Station,
        address: str,
    ) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._network = network
        self._station = station
        self._address = address
        self._switchboard = Switchboard()
        self._random: Random = runtime.random(self.name)
        self._lines: dict[str, dict[NodeKey, tuple[Station, bool] | None]] = {}
        """By mesh: what the switchboard and the network say of how members are reached; whether they can be dialled."""
        self._senders: dict[str, dict[bytes, NodeKey]] = {}
        """By mesh: members whom the switchboard let pass."""
        self._hearers: tuple[object, dict[str, tuple[Address, ...]]] = (None, {})
        """Who hears what the heartbeat's channel brings, by mesh, as of a directory."""
        self._watched: dict[str, m.Watched] = {}
        self._moves = 0
        self._ends: set[Station] = set()
        """The stations of those watched."""
        self.dropped = 0

    def begin(self, now: float) -> Iterable[Message]:
        self._network.listen(self._station, self)
        return [m.GossipReady(GOSSIP_PORT, (self._address,))]

    def close(self) -> None:
        if self._station.receiver is self:
            self._network.refuse(self._station)

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.Spread():
                for to in message.to:
                    self._send(message.mesh, message.channel, to, message.payload)
            case m.SendMember():
                self._send(message.mesh, message.channel, message.to, message.payload)
            case m.SendGuest():
                target = self._network.find(message.to, (), self._station)
                if target is not None:
                    self._network.send(self._station, target, message.mesh, message.channel, message.payload)
            case m.MembersChanged():
                self._switchboard.members_changed(message)
                self._lines.clear()
                self._senders.clear()
            case m.MeshStopped():
                self._switchboard.mesh_stopped(message.mesh)
                self._lines.clear()
                self._senders.clear()
                self._watched.pop(message.mesh, None)
                self._watch()
            case m.Dial():
                self._switchboard.dialled(message)
                if self._network.probe(self._station, message.curve, message.endpoints) is not State.LISTENING:
                    return [m.LinkFailed(message.mesh, message.curve, e, "refused") for e in message.endpoints]
            case m.Watched():
                self._watched[message.mesh] = message
                self._watch()
            case Reset():
                self._station.heard.pop(message.curve, None)
                self._dial(message.curve)
            case Moved(address):
                self._moves += 1
                return [m.AddressesFound(self._moves, (address,), ())]
            case Dialled():
                return self._dialled(message)
        return []

    # Sending and receiving.

    def _send(self, mesh: str, channel: m.Channel, to: NodeKey, payload: bytes) -> None:
        lines = self._lines.setdefault(mesh, {})
        if to not in lines or self._network.unsteady:
            lines[to] = self._line(mesh, to)
        line = lines[to]
        if line is None or not (line[1] or self._station.heard.get(line[0].curve) == line[0].starts):
            self.dropped += 1
            return
        self._network.send(self._station, line[0], mesh, channel, payload)

    def _line(self, mesh: str, to: NodeKey) -> tuple[Station, bool] | None:
        try:
            line = self._switchboard.member(mesh, to)
        except RemoteError:
            return None
        target = self._network.find(line.curve, line.endpoints, self._station)
        if target is None:
            return None
        found = not self._network.unsteady or self._network.leads(line.endpoints, target)
        return target, bool(line.endpoints) and found

    def arrive(self, curve: bytes, mesh: str, channel: m.Channel, payload: bytes) -> None:
        """Called by the network. Not by a message: what a real transport does here, its threads do."""
        known = self._senders.setdefault(mesh, {})
        sender = known.get(curve)
        if sender is None:
            try:
                received = self._switchboard.receive(curve, mesh, channel.value, payload)
            except RemoteError:
                self.dropped += 1
                return
            if received.sender is not None:
                known[curve] = received.sender
        else:
            received = m.Received(mesh, channel, sender, curve, payload)
        directory = self._directory
        if directory is None:
            return
        if channel is not HEARTBEAT:
            for address in directory.addresses(received):
                address.tell(received)
            return
        # Nearly every message is a beat.
        if self._hearers[0] is not directory:
            self._hearers = (directory, {})
        hearers = self._hearers[1].get(mesh)
        if hearers is None:
            hearers = self._hearers[1][mesh] = directory.addresses(received)
        for address in hearers:
            address.tell(received)

    # Watched connections.

    def connection_reset(self, curve: bytes) -> None:
        """Called by the network, as `arrive`."""
        Address(self).tell(Reset(curve))

    def _watch(self) -> None:
        ends: set[Station] = set()
        for mesh, watched in self._watched.items():
            for key in watched.members:
                line = self._line(mesh, key)
                if line is not None and line[1]:
                    ends.add(line[0])
        for station in self._ends - ends:
            station.watchers.pop(self._station.name, None)
        for station in ends - self._ends:
            station.watchers[self._station.name] = self
        self._ends = ends

    def _dial(self, curve: bytes) -> None:
        """Dial who is watched, and see what comes of it after a while."""
        places = self._switchboard.places(curve)
        target = self._network.find(curve, places, self._station)
        if target is None or target not in self._ends:
            return
        state = self._network.probe(self._station, curve, places)
        wait = SILENT_AFTER if state is State.OFF else self._network.latency() + self._network.latency()
        self._later(wait, Dialled(curve, state))

    def _dialled(self, message: Dialled) -> list[Message]:
        target = self._network.find(message.curve, self._switchboard.places(message.curve), self._station)
        if target not in self._ends or message.state is State.LISTENING:
            return []
        if message.state is State.REFUSING:
            self._later(self._random.uniform(*DIAL_AGAIN), Reset(message.curve))
        kind = m.LinkRefused if message.state is State.REFUSING else m.LinkSilent
        found: list[Message] = []
        for mesh, key in self._switchboard.members_with(message.curve):
            if mesh in self._watched and key in self._watched[mesh].members:
                found.append(kind(mesh, key))
        return found

    def _later(self, wait: float, message: Message) -> None:
        runtime = self._network.runtime
        runtime.call(runtime.time + wait, Address(self).tell, message)
