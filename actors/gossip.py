"""The actor that owns the sockets between nodes: what comes in goes to the actors of its mesh, what they say goes out.

One connection to a node serves all meshes. Whom nobody wrote to for a while is let go; whom somebody writes to is
dialled, and so is who is watched when its connection ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from random import Random

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.core import Message
from smeg.device import Endpoint
from smeg.discovery import Discovery
from smeg.edges.address_watch import AddressWatch
from smeg.edges.events import (
    Connected,
    Deaf,
    Event,
    Hearing,
    Idle,
    Lost,
    Parted,
    Reason,
    Refused,
    Seen,
    Unanswered,
)
from smeg.edges.resolver import Resolver
from smeg.edges.routers import Limits
from smeg.edges.transport import Transport
from smeg.edges.underlay import local_addresses
from smeg.errors import Problem, RemoteError
from smeg.mesh_settings import Keys
from smeg.switchboard import Line, Switchboard
from smeg.watched_links import Outcome, WatchedLinks
from smeg.wire import Word

HELD_MESSAGES = 64
HELD_BYTES = 512 * 1024
HELD_RECEIVERS = 1024
HELD_FOR = 5.0
"""What waits for a connection that is being made: messages and bytes a receiver, receivers, and seconds."""
LOOK_EVERY = 30.0
LOOK_SOON = 0.3
"""seconds between two looks at this host's own addresses, and until one when the kernel says that some have changed:
seldom is it one alone."""
COUNT_EVERY = 2.0
"""seconds between two reports of the counters."""
BEATS_GATHER = 0.1
BEATS_WAIT = 0.2
"""seconds for which beats gather before they are handed on, at whatever wakes this actor then, and at the latest: each
alone would wake another actor, many times a second, and nobody's patience is so short."""
BATCHES = 8
"""Batches that are read in one go before other messages get their turn."""
LIMITS = Limits()
CLIENT_LIMITS = replace(LIMITS, heartbeat=0.8, heartbeat_timeout=1.6)
"""Of a client: when the NAT before it has forgotten its connections, and says nothing, it dials anew within 2.4 s,
before anybody accuses it."""
OUTCOMES = {
    Reason.UNREACHABLE: Outcome.SILENT,
    Reason.CLOSED: Outcome.TAKEN,
    Reason.NO_HANDSHAKE: Outcome.TAKEN,
    Reason.PUT_OFF: Outcome.TAKEN,
    Reason.DENIED: Outcome.TAKEN,
    Reason.NO_ANSWER: Outcome.TAKEN,
}
"""What a failed attempt says of a place; for other reasons it was not made."""


class Held:
    """Messages for somebody who is being dialled, until `until`; the oldest give way when it is too much."""

    def __init__(self, endpoints: tuple[Endpoint, ...], until: float) -> None:
        self.endpoints = endpoints
        self.until = until
        self.messages: deque[m.SendMember | m.SendGuest] = deque()
        self._bytes = 0

    def add(self, message: m.SendMember | m.SendGuest) -> None:
        self.messages.append(message)
        self._bytes += len(message.payload)
        while len(self.messages) > HELD_MESSAGES or self._bytes > HELD_BYTES:
            self._bytes -= len(self.messages.popleft().payload)


class GossipActor(Actor):
    role = Role.GOSSIP

    def __init__(
        self,
        runtime: Runtime,
        incarnation: int,
        supervisor: Address,
        keys: Keys,
        address: str,
        port: int,
        limits: Limits = LIMITS,
    ) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._keys = keys
        self._bind = (address, port)
        self._limits = limits
        self._random: Random = runtime.random(self.name)
        self._switchboard = Switchboard()
        self._watched = WatchedLinks(self._switchboard, self._random)
        self._resolver = Resolver()
        self._transport: Transport | None = None
        self._discovery = Discovery()
        self._local: tuple[str, ...] = ()
        """Of this host."""
        self._address_watch = AddressWatch()
        self._look_at = 0.0
        self._found: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._version = 0
        self._deaf: set[str] = set()
        """Codes of what keeps connections from being accepted."""
        self._refused = 0
        self._unsent = 0
        self._count_at = 0.0
        self._held: dict[bytes, Held] = {}
        self._beats: list[m.Received] = []
        self._beats_since = 0.0
        """When the oldest of them came."""

    @property
    def transport(self) -> Transport:
        assert self._transport is not None, "begin opened it"
        return self._transport

    def begin(self, now: float) -> Iterable[Message]:
        address, port = self._bind
        self._transport = Transport(self._keys.curve, address, port, self._limits, self._random)
        self._bind = (address, self._transport.port)
        own = Address(self)
        self._resolver.listen(lambda: own.tell(m.Resolved()))
        self.actor_inbox.watch((self._transport.descriptor(), *self._address_watch.descriptors))
        self._count_at = now + COUNT_EVERY
        self._local, self._look_at = local_addresses(), now + LOOK_EVERY
        self._found = self._local, ()
        return [m.GossipReady(self._transport.port, self._local)]

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.Readable():
                if self._address_watch.changed():
                    self._look_at = min(self._look_at, now + LOOK_SOON)
                return self._read(now)
            case m.Spread():
                self._spread(message, now)
            case m.SendMember() | m.SendGuest():
                self._send(message, now)
            case m.Watched():
                self._watched.watch(message)
            case m.Dial():
                self._switchboard.dialled(message)
                self._dial(message.curve, message.endpoints, now)
                nowhere = self._resolver.unresolved(message.endpoints)
                reason = "the name does not resolve"
                return [m.LinkFailed(message.mesh, message.curve, endpoint, reason) for endpoint in nowhere]
            case m.MembersChanged():
                self._members_changed(message, now)
                return self._look_around()
            case m.MeshStopped(mesh):
                self._switchboard.mesh_stopped(mesh)
                self._watched.mesh_stopped(mesh)
                self.transport.admit(self._switchboard.curves)
            case m.Resolved():
                for curve, held in self._held.items():
                    self._dial(curve, held.endpoints, now)
            case m.Tick():
                return self._tick(now)
        return []

    def next_deadline(self) -> float | None:
        if self._transport is not None and self._transport.pending():
            return 0.0
        soonest = min(self._count_at, self._look_at)
        if self._held:
            soonest = min(soonest, *(held.until for held in self._held.values()))
        if self._beats:
            soonest = min(soonest, self._beats_since + BEATS_WAIT)
        own = self.transport.next_deadline() if self._transport is not None else None
        return min(at for at in (soonest, own, self._watched.next_deadline()) if at is not None)

    def close(self) -> None:
        self.actor_inbox.watch(())
        self._address_watch.close()
        self._resolver.close()
        if self._transport is not None:
            self._transport.close()

    def _members_changed(self, message: m.MembersChanged, now: float) -> None:
        before = {curve: self._switchboard.places(curve) for curve in self.transport.dialled()}
        self._switchboard.members_changed(message)
        self.transport.admit(self._switchboard.curves)
        for curve, places in before.items():
            moved = self._switchboard.places(curve)
            if places and moved and moved != places and (known := self._resolver.endpoints(moved, now)):
                self.transport.follow(curve, known, now)

    def _look(self, now: float) -> Iterable[Message]:
        """At this host's own addresses."""
        self._look_at = now + LOOK_EVERY
        before, self._local = self._local, local_addresses()
        gone = set(before).difference(self._local)
        if gone:
            self.transport.lose(gone, now)
        return self._look_around()

    def _read(self, now: float) -> Iterable[Message]:
        out: list[Message] = []
        for _ in range(BATCHES):
            batch = self.transport.receive(now)
            for inbound in batch.messages:
                try:
                    found = self._switchboard.receive(inbound.curve, inbound.mesh, inbound.channel, inbound.payload)
                except RemoteError:
                    self._refused += 1
                    continue
                if found.channel is m.Channel.HEARTBEAT and found.payload[:1] == Word.BEAT.value:
                    self._beats_since = self._beats_since if self._beats else now
                    self._beats.append(found)
                else:
                    out.append(found)
            out += self._tell(batch.events, now)
            if not batch.more:
                break
        return out + self._gathered(now)

    def _gathered(self, now: float) -> list[m.Received]:
        """The beats, when it is time to hand them on."""
        if not self._beats or now < self._beats_since + BEATS_GATHER:
            return []
        beats, self._beats = self._beats, []
        return beats

    def _send(self, message: m.SendMember | m.SendGuest, now: float) -> None:
        try:
            line = self._switchboard.line(message)
        except RemoteError:
            self._refused += 1
            return
        if self._reaches(line):
            self._put(line.curve, message)
        else:
            self._hold(line, message, now)

    def _spread(self, message: m.Spread, now: float) -> None:
        reached: list[bytes] = []
        for key in message.to:
            try:
                line = self._switchboard.member(message.mesh, key)
            except RemoteError:
                self._refused += 1
                continue
            if self._reaches(line):
                reached.append(line.curve)
            else:
                self._hold(line, m.SendMember(message.mesh, message.channel, key, message.payload), now)
        self.transport.spread(reached, message.mesh, message.channel.value, message.payload)

    def _reaches(self, line: Line) -> bool:
        """Whether a message goes out now or never. What waited for a connection goes first."""
        if not self.transport.reaches(line.curve):
            return not line.endpoints
        self._let_go(line.curve)
        return True

    def _hold(self, line: Line, message: m.SendMember | m.SendGuest, now: float) -> None:
        self._dial(line.curve, line.endpoints, now)
        if len(self._held) < HELD_RECEIVERS or line.curve in self._held:
            self._held.setdefault(line.curve, Held(line.endpoints, now + HELD_FOR)).add(message)
        else:
            self._unsent += 1

    def _let_go(self, curve: bytes) -> None:
        held = self._held.pop(curve, None)
        for message in held.messages if held is not None else ():
            self._put(curve, message)

    def _put(self, curve: bytes, message: m.SendMember | m.SendGuest) -> None:
        self.transport.send(curve, message.mesh, message.channel.value, message.payload)

    def _dial(self, curve: bytes, endpoints: tuple[Endpoint, ...], now: float) -> None:
        known = self._resolver.endpoints(endpoints, now)
        if known:
            self.transport.dial(curve, known, now)

    def _redial(self, now: float) -> None:
        for due in self._watched.due(now):
            if self.transport.reaches(due.curve):
                self._watched.reached(due.curve)
                continue
            known = self._resolver.endpoints(due.endpoints, now)
            self._watched.trying(due.curve, self.transport.redial(due.curve, known, due.place, now))

    def _tick(self, now: float) -> Iterable[Message]:
        out = [*self._read(now), *self._tell(self.transport.tick(now), now)]
        for curve in [curve for curve, held in self._held.items() if now >= held.until]:
            self._unsent += len(self._held.pop(curve).messages)
        if now >= self._look_at:
            out += self._look(now)
        if now >= self._count_at:
            self._count_at = now + COUNT_EVERY
            counters = self.transport.counters()
            connections = counters.get("connections-in", 0) + counters.get("connections-out", 0)
            own = {"dropped-stranger": self._refused, "dropped-no-answer": self._unsent}
            out.append(m.GossipCounted({**counters, "connections": connections, **own}))
        return out

    def _tell(self, events: tuple[Event, ...], now: float) -> Iterable[Message]:
        out: list[Message] = []
        for event in events:
            match event:
                case Seen(curve, address):
                    self._discovery.hear(curve, address)
                    out += self._look_around()
                case Idle(curve):
                    self._discovery.forget(curve)
                case Connected(curve, endpoint):
                    out += self._watched.connected(curve, endpoint)
                    self._let_go(curve)
                case Lost(curve) | Parted(curve):
                    if isinstance(event, Lost):
                        self._discovery.forget(curve)
                    if not self.transport.reaches(curve):
                        self._watched.parted(curve, now)
                case Unanswered(curve, endpoint, reason):
                    out += self._failed(curve, endpoint, str(reason))
                    out += self._tried(curve, endpoint, OUTCOMES.get(reason, Outcome.UNTRIED), now)
                case Refused(curve, endpoint):
                    out += self._failed(curve, endpoint, "connection refused: nobody listens there")
                    out += self._tried(curve, endpoint, Outcome.REFUSED, now)
                case Deaf(problem):
                    self._deaf.add(problem.code)
                    out.append(m.Alarm("", Problem(problem.code, problem.message, problem.hint)))
                case Hearing():
                    out += [m.AlarmOver("", code) for code in sorted(self._deaf)]
                    self._deaf.clear()
        self._redial(now)
        return out

    def _look_around(self) -> Iterable[Message]:
        """Say so when this host seems to be reached under other addresses than before."""
        found = self._local, self._discovery.agreed(self._switchboard.curves, self._local)
        if found == self._found:
            return []
        self._found = found
        self._version += 1
        return [m.AddressesFound(self._version, *found)]

    def _failed(self, curve: bytes, endpoint: Endpoint, reason: str) -> Iterable[Message]:
        return [m.LinkFailed(mesh, curve, endpoint, reason) for mesh in self._switchboard.meshes_of(curve)]

    def _tried(self, curve: bytes, endpoint: Endpoint, outcome: Outcome, now: float) -> Iterable[Message]:
        if not self.transport.reaches(curve):
            return self._watched.tried(curve, endpoint, outcome, now)
        self._watched.reached(curve)
        return ()
