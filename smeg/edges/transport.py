"""The sockets between nodes: one bound, one dialling, for all meshes of a daemon, and the judge of their connections.

It guarantees of every message that it hands on: the key at the other end was proved by a handshake, is not evicted, and
may use that channel as a member or as a guest; the frames are well-formed. It does not know what a member of which mesh
is, never reads a payload, never waits, and belongs to one thread.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass

import zmq

from smeg.allowance import Allowance
from smeg.device import Endpoint
from smeg.edges.events import Deaf, Event, Hearing, Parted, Reason, Seen, Unanswered
from smeg.edges.frames import (
    HELLO,
    HELLO_ANSWER,
    MESSAGE_OVERHEAD,
    Frames,
    hello_answer,
    kind_of,
    parse,
)
from smeg.edges.judge import Judge, peer_address, proved_key
from smeg.edges.links import Links
from smeg.edges.listener import Listener
from smeg.edges.routers import ZAP_DOMAIN, Limits, readable, take_message
from smeg.edges.sender import Sender
from smeg.edges.waiting import Waiting
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
    """Whether more can be read at once: the batch was full."""


class Transport:
    """Construct, `admit` the members, then `receive` when the descriptor is readable and `tick` at `next_deadline`.

    `curve` is this node's CURVE key; `address` a literal or `*`; `port` 0 takes a free one, which `port` then tells.
    Raises `LocalError` when it cannot listen. Times are monotonic seconds.
    """

    def __init__(self, curve: Secret, address: str, port: int, limits: Limits, rng: random.Random) -> None:
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._events: list[Event] = []
        self._door = Door(Allowance(limits.guests_rate, limits.guests_burst), limits.links, limits.guest_links)
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
        self._waiting = Waiting(
            self._zap.socket, self._listener.monitor, self._listener.socket, self._links.monitor, self._links.socket
        )
        self._judge = Judge(self._door, self._links, limits)
        self._sender = Sender(self._listener.socket, self._links, limits, self._counts)
        self.port = self._listener.port

    def descriptor(self) -> int:
        """To be polled for reading, and nothing else of this; before that, and after any call here, ask `pending`."""
        return self._waiting.descriptor

    def pending(self) -> bool:
        """Whether `receive` would find something now of which the descriptor may say nothing."""
        return self._waiting.pending()

    def admit(self, members: Container[bytes]) -> None:
        """The CURVE keys of the members of all meshes; who is not among them is a guest.

        They are asked for one by one as needed, so this may be a view; to be called again when it shows others.
        """
        self._door.members = members
        self._listener.connections.only_members(members)

    def deny(self, keys: frozenset[bytes]) -> None:
        """The CURVE keys that were evicted, whole: connections are refused, messages dropped, dialling is ended."""
        self._door.evicted = keys
        for curve in keys:
            self._sender.deny(curve)
            self.hang_up(curve)

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
            self._touched()

    def redial(
        self, curve: bytes, endpoints: tuple[Endpoint, ...], place: Endpoint | None, now: float
    ) -> tuple[Endpoint, ...]:
        """`dial`, but at once, whatever was tried before: at `place` first, if one is given.

        Gives the endpoints that are used, in the spelling of events. An attempt that is under way goes on.
        """
        if curve in self._door.evicted:
            return ()
        used = self._links.redial(curve, endpoints, place, now)
        self._touched()
        return used

    def dialled(self) -> tuple[bytes, ...]:
        """The keys to which connections are kept, or being made."""
        return tuple(self._links)

    def follow(self, curve: bytes, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """`curve`, which is dialled, has moved there: our connection to where it was is given up, and made anew."""
        self._links.follow(curve, endpoints, now)
        self._touched()

    def lose(self, addresses: Collection[str], now: float) -> None:
        """This host has these addresses no more. No connection from or to them carries anything, and TCP would notice
        only after long: ours are made anew, those that were made to us end."""
        self._links.lose(addresses, now)
        self._listener.connections.lose(addresses)
        self._watch_listener(now)
        self._waiting.touched(self._listener.monitor, self._links.monitor)
        self._touched()

    def hang_up(self, curve: bytes) -> None:
        """Close the connection that we made to `curve`, and try no more."""
        self._links.hang_up(curve)
        self._touched()

    def reaches(self, curve: bytes) -> bool:
        """Whether `send` has a connection to try."""
        return self._sender.reaches(curve)

    def send(self, curve: bytes, mesh: str, channel: bytes, payload: bytes) -> bool:
        """Hand a message to the connection that reaches `curve`, without waiting; False if it was dropped and counted.

        True promises nothing about arrival.
        """
        return self.spread((curve,), mesh, channel, payload) == 1

    def spread(self, curves: Iterable[bytes], mesh: str, channel: bytes, payload: bytes) -> int:
        """`send` the same to several; to how many it was handed."""
        sent = self._sender.spread(curves, mesh, channel, payload, self._now)
        self._touched()
        return sent

    def receive(self, now: float) -> Batch:
        """Take what is waiting, a bounded part of it from each socket, and answer handshakes. Never waits."""
        self._now = now
        messages: list[Inbound] = []
        listener, links, ready = self._listener, self._links, self._waiting.take()
        if listener.monitor in ready:
            self._watch_listener(now)
        if self._zap.socket in ready:
            self._zap.serve(now, _ZAP_BATCH)
        if listener.socket in ready:
            self._read_listener(now, messages)
        if links.monitor in ready:
            links.watch(now)
            self._touched()
        if links.socket in ready:
            self._read_links(now, messages)
        return Batch(tuple(messages), self._take_events(), self.pending())

    def tick(self, now: float) -> tuple[Event, ...]:
        """Do what is due: dial again, give up, close, accept again."""
        self._now = now
        deaf = self._listener.deaf
        if problem := self._listener.tick(now):
            self._events.append(Deaf(problem))
        if deaf and not self._listener.deaf:
            self._events.append(Hearing())
        self._links.tick(now)
        self._waiting.touched(self._links.monitor)
        self._touched()
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
        self._waiting.close()
        self._context.destroy(linger=0)

    def _touched(self) -> None:
        self._waiting.touched(self._listener.socket, self._links.socket)

    def _take_events(self) -> tuple[Event, ...]:
        events = (*self._events, *self._links.events)
        self._events.clear()
        self._links.events.clear()
        return events

    def _watch_listener(self, now: float) -> None:
        if problem := self._listener.watch(now):
            self._events.append(Deaf(problem))
        connections = self._listener.connections
        self._door.crowd = len(connections)
        for ended in connections.ended:
            self._sender.forget(ended.curve, ended.link)
            if not connections.stands(ended.curve):
                self._events.append(Parted(ended.curve))
        connections.ended.clear()

    def _read_listener(self, now: float, messages: list[Inbound]) -> None:
        socket, connections = self._listener.socket, self._listener.connections
        for _ in range(self._limits.batch):
            if not readable(socket):
                self._waiting.drained(socket)
                break
            head, parts = take_message(socket)
            descriptor = int(head.get(zmq.SRCFD))
            if descriptor not in connections:
                # It is newer than what the monitor told so far, or over already.
                self._watch_listener(now)
                self._waiting.touched(self._listener.monitor)
            connections.delivered(descriptor, sum(map(len, parts)) + MESSAGE_OVERHEAD)
            try:
                curve = proved_key(head)
                if curve in self._door.evicted:
                    connections.cut(descriptor)
                    raise RemoteError("evicted", "its key was evicted")
                connections.proved(descriptor, curve, head.bytes, self._door.members)
                frames = parse(parts)
                self._judge.client(curve, frames.channel, len(frames.payload), now)
            except RemoteError as error:
                self._counts[f"dropped-{error.problem.code}"] += 1
                continue
            if descriptor in connections:
                self._sender.remember(curve, head.bytes)
            if frames.channel == HELLO:
                self._sender.answer(head.bytes, hello_answer(peer_address(head)))
            else:
                self._pass_on(curve, frames, messages)

    def _read_links(self, now: float, messages: list[Inbound]) -> None:
        socket, links = self._links.socket, self._links
        for _ in range(self._limits.batch):
            if not readable(socket):
                self._waiting.drained(socket)
                break
            head, parts = take_message(socket)
            link = head.bytes
            try:
                curve = links.owner(link)
                frames = parse(parts)
                self._judge.server(curve, frames.channel, len(frames.payload), now)
            except RemoteError as error:
                self._counts[f"dropped-{error.problem.code}"] += 1
                continue
            if frames.channel == HELLO_ANSWER:
                links.answered(link, now)
                if frames.payload:
                    self._events.append(Seen(curve, frames.payload))
            else:
                links.used(link, now)
                self._pass_on(curve, frames, messages)

    def _pass_on(self, curve: bytes, frames: Frames, messages: list[Inbound]) -> None:
        kind = kind_of(frames.channel)
        self._counts["messages-in"] += 1
        self._counts["bytes-in"] += len(frames.payload)
        self._counts[f"messages-in:{kind}"] += 1
        self._counts[f"bytes-in:{kind}"] += len(frames.payload)
        messages.append(Inbound(curve, frames.mesh, frames.channel, frames.payload))
