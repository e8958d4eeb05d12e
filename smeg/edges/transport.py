"""The sockets between nodes: one bound, one dialling, for all meshes of a daemon, and the judge of their connections.

It guarantees of every message that it hands on: the key at the other end was proved by a handshake, is not evicted, and
may use that channel as a member or as a guest; the frames are well-formed. It does not know what a member of which mesh
is, never reads a payload, never waits, and belongs to one thread.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from dataclasses import dataclass

import zmq

from smeg.allowance import Allowance, Allowances
from smeg.device import Endpoint
from smeg.edges.events import Deaf, Event, Reason, Unanswered
from smeg.edges.frames import (
    HELLO,
    HELLO_ANSWER,
    HELLO_ANSWER_FRAMES,
    MESSAGE_OVERHEAD,
    Frames,
    pack,
    parse,
)
from smeg.edges.judge import Judge, proved_key
from smeg.edges.links import Links
from smeg.edges.listener import Listener
from smeg.edges.routers import ZAP_DOMAIN, Limits
from smeg.edges.zap import Door, Verdict, ZapHandler
from smeg.errors import LocalError, RemoteError
from smeg.keys import KEY_BYTES, Secret

_ZAP_BATCH = 64


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that passed the checks."""

    curve: bytes
    """The CURVE key, 32 bytes, that the other end proved."""
    mesh: str
    channel: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What one `receive` brought."""

    messages: tuple[Inbound, ...]
    events: tuple[Event, ...]
    more: bool
    """Whether something can be read at once: the batch was full."""


class Transport:
    """Construct, `admit` the members, then `receive` when a socket is readable and `tick` at `next_deadline`.

    `curve` is this node's CURVE key; `address` a literal or `*`; `port` 0 takes a free one, which `port` then tells.
    Raises `LocalError` when it cannot listen. Times are monotonic seconds.
    """

    def __init__(self, curve: Secret, address: str, port: int, limits: Limits, rng: random.Random) -> None:
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._events: list[Event] = []
        self._inbound: OrderedDict[bytes, bytes] = OrderedDict()
        self._door = Door(Allowance(limits.guests_rate, limits.guests_burst), limits.links, limits.guest_links)
        self._judge = Judge(self._door, limits)
        # As much as the other end takes in: whoever asks little for much draws no more than this either.
        self._answers = Allowances(limits.member_bytes_rate, limits.member_bytes_burst, None, limits.links)
        self._now = 0.0
        """As of the last `receive` or `tick`."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._zap = ZapHandler(self._context, ZAP_DOMAIN, self._door.decide)
            self._listener = Listener(self._context, curve, address, port, limits)
            self._links = Links(self._context, curve, limits, rng)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.port = self._listener.port

    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """To be polled for reading. Who waits on their descriptors asks `readable` after each call of anything here."""
        return (
            self._zap.socket,
            self._listener.monitor,
            self._listener.socket,
            self._links.monitor,
            self._links.socket,
        )

    def readable(self) -> bool:
        """Whether `receive` would find something now."""
        return any(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN for socket in self.sockets())

    def admit(self, members: frozenset[bytes]) -> None:
        """The CURVE keys of the members of all meshes, whole; who is not among them is a guest."""
        self._door.members = members
        self._listener.connections.only_members(members)

    def deny(self, keys: frozenset[bytes]) -> None:
        """The CURVE keys that were evicted, whole: connections are refused, messages dropped, dialling is ended."""
        self._door.evicted = keys
        for curve in keys:
            self._inbound.pop(curve, None)
            self._links.hang_up(curve)

    def open_to_guests(self) -> None:
        """Let unknown keys in, at a limited rate, to ask for admission. So it is from the start."""
        self._door.guests_welcome = True

    def close_to_guests(self) -> None:
        """Put unknown keys off; they try again by themselves."""
        self._door.guests_welcome = False

    def dial(self, curve: bytes, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """Keep a connection to `curve` at one of `endpoints` until `hang_up`. Raises `LocalError` for no key at all."""
        if len(curve) != KEY_BYTES:
            raise LocalError("bad-key", f"a CURVE key has {KEY_BYTES} bytes, this has {len(curve)}")
        if curve in self._door.evicted:
            self._events.extend(Unanswered(curve, endpoint, Reason.EVICTED) for endpoint in endpoints[:1])
        else:
            self._links.dial(curve, endpoints, now)

    def hang_up(self, curve: bytes) -> None:
        """Close the connection that we made to `curve`, and try no more."""
        self._links.hang_up(curve)

    def reaches(self, curve: bytes) -> bool:
        """Whether `send` has a connection to try."""
        return self._links.link(curve) is not None or curve in self._inbound

    def send(self, curve: bytes, mesh: str, channel: bytes, payload: bytes) -> bool:
        """Hand a message to the connection that reaches `curve`, without waiting; False if it was dropped and counted.

        True promises nothing about arrival.
        """
        try:
            parts = pack(mesh, channel, payload)
        except RemoteError as error:
            return self._drop(f"unsendable-{error.problem.code}")
        if not self._answers.take(curve, self._now, len(payload) + self._limits.member_message_bytes):
            return self._drop("receiver-rate")
        outcome = "no-connection"
        if (link := self._links.link(curve)) is not None:
            outcome = self._put(self._links.socket, link, parts)
            self._links.sent(link)
        elif (routing_id := self._inbound.get(curve)) is not None:
            outcome = self._put(self._listener.socket, routing_id, parts)
            if outcome == "no-connection":
                del self._inbound[curve]
        if outcome:
            return self._drop(outcome)
        self._counts["messages-out"] += 1
        self._counts["bytes-out"] += len(payload)
        return True

    def _put(self, socket: zmq.Socket[bytes], routing_id: bytes, parts: list[bytes]) -> str:
        """Why the socket did not take the message, or nothing."""
        try:
            socket.send_multipart([routing_id, *parts], zmq.NOBLOCK)
        except zmq.Again:
            return "queue-full"
        except zmq.ZMQError:
            # EHOSTUNREACH: the connection behind this routing id is gone.
            return "no-connection"
        return ""

    def _drop(self, reason: str) -> bool:
        self._counts[f"dropped-{reason}"] += 1
        return False

    def receive(self, now: float) -> Batch:
        """Take what is waiting, a bounded part of it from each socket, and answer handshakes. Never waits."""
        self._now = now
        self._watch_listener(now)
        self._zap.serve(now, _ZAP_BATCH)
        messages: list[Inbound] = []
        self._read_listener(now, messages)
        self._links.watch(now)
        self._read_links(now, messages)
        return Batch(tuple(messages), self._take_events(), self.readable())

    def tick(self, now: float) -> tuple[Event, ...]:
        """Do what is due: dial again, give up, close, accept again."""
        self._now = now
        if problem := self._listener.tick(now):
            self._events.append(Deaf(problem))
        self._links.tick(now)
        return self._take_events()

    def next_deadline(self) -> float | None:
        """When `tick` is due, if nothing happens before."""
        deadlines = (self._listener.next_deadline(), self._links.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def counters(self) -> dict[str, int]:
        """Messages, bytes of payload, drops by reason and handshakes by verdict so far, and the connections of now."""
        counts = Counter(self._counts)
        counts.update(self._listener.counts)
        counts.update({f"handshakes-{verdict.name.lower()}": self._zap.counts[verdict] for verdict in Verdict})
        counts["connections-in"] = len(self._listener.connections)
        counts["connections-out"] = self._links.connected()
        counts["connections-cut"] = self._listener.connections.cuts
        counts["dialled"] = len(self._links)
        return dict(sorted(counts.items()))

    def close(self) -> None:
        """Close everything at once; what was not sent is lost. May be called again."""
        self._context.destroy(linger=0)

    def _take_events(self) -> tuple[Event, ...]:
        events = (*self._events, *self._links.events)
        self._events.clear()
        self._links.events.clear()
        return events

    def _watch_listener(self, now: float) -> None:
        if problem := self._listener.watch(now):
            self._events.append(Deaf(problem))
        self._door.crowd = len(self._listener.connections)

    def _read_listener(self, now: float, messages: list[Inbound]) -> None:
        socket, connections = self._listener.socket, self._listener.connections
        for _ in range(self._limits.batch):
            try:
                head, *rest = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            descriptor = int(head.get(zmq.SRCFD))
            parts = [frame.bytes for frame in rest]
            connections.delivered(descriptor, sum(map(len, parts)) + MESSAGE_OVERHEAD)
            try:
                curve = proved_key(head)
                if curve in self._door.evicted:
                    connections.cut(descriptor)
                    raise RemoteError("evicted", "its key was evicted")
                if curve in self._door.members:
                    connections.proved_member(descriptor, curve)
                frames = parse(parts)
                self._judge.client(curve, frames.channel, len(frames.payload), now)
            except RemoteError as error:
                self._drop(error.problem.code)
                continue
            self._remember(curve, head.bytes)
            if frames.channel == HELLO:
                self._put(socket, head.bytes, HELLO_ANSWER_FRAMES)
            else:
                self._pass_on(curve, frames, messages)

    def _remember(self, curve: bytes, routing_id: bytes) -> None:
        """The newest connection of a key is the one to send over."""
        self._inbound[curve] = routing_id
        self._inbound.move_to_end(curve)
        if len(self._inbound) > self._limits.links:
            self._inbound.popitem(last=False)

    def _read_links(self, now: float, messages: list[Inbound]) -> None:
        socket, links = self._links.socket, self._links
        for _ in range(self._limits.batch):
            try:
                link, *parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                curve = links.owner(link)
                frames = parse(parts)
                self._judge.server(curve, frames.channel, len(frames.payload), now)
            except RemoteError as error:
                self._drop(error.problem.code)
                continue
            if frames.channel == HELLO_ANSWER:
                links.answered(link, now)
            else:
                links.used(link, now)
                self._pass_on(curve, frames, messages)

    def _pass_on(self, curve: bytes, frames: Frames, messages: list[Inbound]) -> None:
        self._counts["messages-in"] += 1
        self._counts["bytes-in"] += len(frames.payload)
        messages.append(Inbound(curve, frames.mesh, frames.channel, frames.payload))
