"""What the end of a watched member's connection tells, with real processes and sockets on loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from actors.base import Actor, Address
from actors.gossip import GossipActor
from actors.threads import ThreadedRuntime
from actors.wiring import Role as ActorRole
from smeg import messages as m
from smeg.certificates import Role
from smeg.core import Message
from smeg.device import Endpoint
from smeg.edges.events import Reason
from smeg.edges.routers import Limits
from smeg.keys import x25519_public
from smeg.members import Members
from smeg.mesh_settings import Keys
from smeg.records import OwnRecord
from tests.builders import Desk, MadeMesh, Node, grant
from tests.test_transport import HOST, fill, free_port

LIMITS = Limits(
    handshake=0.5, answer=1.0, connect=3.0, retry_first=0.05, retry_most=2.0, heartbeat=0.2, heartbeat_timeout=0.6
)
"""`connect` is long: where the machine stalls this process for as long, a host that refuses would seem silent."""
PATIENCE = 15.0
"""seconds that a test waits for what has to happen."""
HOME, WORK = MadeMesh("home"), MadeMesh("work")
OBSERVER = HOME.founder("observer")
PEER = HOME.founder("peer")
CLIENT = HOME.joined("client", HOME.invite("clients"), OBSERVER, given=grant(Role.CLIENT))

DAEMON = """
import random, sys, time
import zmq
from smeg.device import Endpoint
from smeg.edges.routers import Limits
from smeg.edges.transport import Transport
from smeg.keys import Secret

curve, port, other, calls = sys.argv[1:]
transport = Transport(Secret(bytes.fromhex(curve)), "127.0.0.1", int(port), Limits(), random.Random(1))
transport.admit({bytes.fromhex(other)})
if int(calls):
    transport.dial(bytes.fromhex(other), (Endpoint("127.0.0.1", int(calls)),), time.monotonic())
while True:
    transport.pending() or zmq.zmq_poll([(transport.descriptor(), zmq.POLLIN)], 50)
    transport.receive(time.monotonic())
    transport.tick(time.monotonic())
"""


def members(mesh: MadeMesh, places: dict[Node, tuple[Endpoint, ...]]) -> m.MembersChanged:
    """The members of a mesh, each with the endpoints that its record names."""
    desk = Desk(mesh.id)
    for node, endpoints in places.items():
        record = node.record(1, OwnRecord(node.label, endpoints))
        desk.take([*node.certificates, record.raw])
    return m.MembersChanged(mesh.id, 1, Members.of(desk.members))


class Nobody(Actor):
    role = ActorRole.NODE


class Observer:
    """The gossip actor of one node, stepped by hand, and all that it said."""

    def __init__(self, places: dict[Node, tuple[Endpoint, ...]], limits: Limits = LIMITS) -> None:
        runtime = ThreadedRuntime()
        keys = Keys(OBSERVER.identity, OBSERVER.curve)
        self.actor = GossipActor(runtime, 0, Address(Nobody(runtime)), keys, HOST, 0, limits)
        self.said: list[Message] = list(self.actor.begin(time.monotonic()))
        self.hear(members(HOME, {OBSERVER: (), **places}))

    @property
    def port(self) -> int:
        return self.actor.transport.port

    def hear(self, message: Message) -> None:
        self.said += self.actor.handle(message, time.monotonic())

    def watch(self, *nodes: Node) -> None:
        self.hear(m.Watched(nodes[0].mesh, 1, tuple(node.key for node in nodes)))

    def write_to(self, *nodes: Node) -> None:
        self.hear(m.Spread(HOME.id, m.Channel.HEARTBEAT, tuple(node.key for node in nodes), b"beat"))

    def dials(self, node: Node) -> bool:
        """Whether it comes to connect to `node` by writing to it."""

        def connected() -> int:
            self.write_to(node)
            return self.count("connections-out")

        return self.until(connected)

    def reaches(self, node: Node) -> bool:
        return self.actor.transport.reaches(x25519_public(node.curve))

    def count(self, name: str) -> int:
        return self.actor.transport.counters().get(name, 0)

    @property
    def evidence(self) -> list[Message]:
        return [message for message in self.said if isinstance(message, (m.LinkRefused, m.LinkSilent))]

    def failures(self, reason: str) -> int:
        return sum(isinstance(message, m.LinkFailed) and message.reason == reason for message in self.said)

    def step(self) -> None:
        self.hear(m.Readable())
        due = self.actor.next_deadline()
        if due is not None and time.monotonic() >= due:
            self.hear(m.Tick())

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Run until `condition` holds; whether it came to hold in time."""
        deadline = time.monotonic() + seconds
        poller = zmq.Poller()
        poller.register(self.actor.transport.descriptor(), zmq.POLLIN)
        while not condition():
            if time.monotonic() > deadline:
                return False
            poller.poll(10)
            self.step()
        return True


class Place:
    """Starts observers and daemons, and ends them all."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def observer(self, places: dict[Node, tuple[Endpoint, ...]], limits: Limits = LIMITS) -> Observer:
        observer = Observer(places, limits)
        self._stack.callback(observer.actor.close)
        return observer

    def daemon(self, node: Node, port: int, calls: int = 0) -> subprocess.Popen[bytes]:
        """A process that listens as `node`, and dials the observer at the port `calls` unless that is 0."""
        other = x25519_public(OBSERVER.curve).hex()
        command = [sys.executable, "-c", DAEMON, node.curve.reveal().hex(), str(port), other, str(calls)]
        process = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
        self._stack.callback(self.kill, process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(PATIENCE)

    def black_hole(self, port: int) -> None:
        """From now on the kernel answers nothing at all on this port: its queue of connections is full."""
        listener = self._stack.enter_context(closing(socket.socket()))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        fill(listener, self._stack)


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack)


@pytest.fixture
def port() -> int:
    return free_port()


def at(port: int) -> tuple[Endpoint, ...]:
    return (Endpoint(HOST, port),)


def reached(place: Place, port: int) -> tuple[Observer, subprocess.Popen[bytes]]:
    """An observer of PEER, whose daemon it has dialled."""
    observer = place.observer({PEER: at(port)})
    daemon = place.daemon(PEER, port)
    observer.watch(PEER)
    assert observer.dials(PEER)
    observer.said.clear()
    return observer, daemon


REFUSED, SILENT = m.LinkRefused(HOME.id, PEER.key), m.LinkSilent(HOME.id, PEER.key)


def test_a_killed_daemon_is_refused_by_its_host_at_once(place: Place, port: int) -> None:
    observer, daemon = reached(place, port)

    daemon.kill()
    assert observer.until(lambda: observer.evidence)
    assert observer.evidence == [REFUSED]


def test_a_stopped_process_is_no_evidence_and_one_that_goes_on_is_reached_again(place: Place, port: int) -> None:
    observer, daemon = reached(place, port)

    daemon.send_signal(signal.SIGSTOP)
    assert observer.until(lambda: observer.failures(Reason.PUT_OFF) >= 2)
    assert observer.evidence == []
    daemon.send_signal(signal.SIGCONT)
    assert observer.until(lambda: observer.reaches(PEER))
    assert observer.evidence == []


def test_one_that_comes_back_is_reached_again_whatever_was_tried_before(place: Place, port: int) -> None:
    observer, daemon = reached(place, port)
    place.kill(daemon)
    assert observer.until(lambda: len(observer.evidence) >= 3), "it is tried again and again"
    assert set(observer.evidence) == {REFUSED}

    place.daemon(PEER, port)
    assert observer.until(lambda: observer.reaches(PEER))


def test_a_connection_that_it_made_to_us_is_watched_as_well(place: Place, port: int) -> None:
    observer = place.observer({PEER: at(port)})
    observer.watch(PEER)
    daemon = place.daemon(PEER, port, calls=observer.port)
    assert observer.until(lambda: observer.reaches(PEER))
    assert observer.count("dialled") == 0

    daemon.kill()
    assert observer.until(lambda: observer.evidence)
    assert set(observer.evidence) == {REFUSED}


def test_one_that_ends_while_its_daemon_lives_is_dialled_and_no_evidence(place: Place, port: int) -> None:
    observer = place.observer({PEER: at(port)})
    observer.watch(PEER)
    caller = place.daemon(PEER, free_port(), calls=observer.port)
    assert observer.until(lambda: observer.reaches(PEER))
    place.daemon(PEER, port)
    assert observer.until(lambda: listens(port))

    caller.kill()
    assert observer.until(lambda: observer.count("connections-out"))
    assert observer.evidence == []


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_a_client_is_never_dialled(place: Place, port: int) -> None:
    observer = place.observer({CLIENT: at(port)})
    observer.watch(CLIENT)
    client = place.daemon(CLIENT, port, calls=observer.port)
    assert observer.until(lambda: observer.reaches(CLIENT))

    client.kill()
    assert observer.until(lambda: not observer.reaches(CLIENT) and observer.count("connections-in") == 0)
    observer.step()
    assert observer.count("dialled") == 0
    assert observer.evidence == []
    assert observer.failures("connection refused: nobody listens there") == 0


def test_what_we_close_ourselves_is_no_evidence(place: Place, port: int) -> None:
    observer = place.observer({PEER: at(port)}, Limits(idle=0.3))
    daemon = place.daemon(PEER, port)
    observer.watch(PEER)
    assert observer.dials(PEER)

    assert observer.until(lambda: observer.count("connections-out") == 0)
    place.kill(daemon)
    assert not observer.until(lambda: observer.evidence or observer.count("dialled"), seconds=0.3)


def test_who_is_not_watched_is_no_evidence_and_is_tried_ever_more_rarely(place: Place, port: int) -> None:
    observer, daemon = reached(place, port)
    place.kill(daemon)
    assert observer.until(lambda: observer.evidence)

    observer.hear(m.Watched(HOME.id, 2, ()))
    observer.said.clear()
    assert observer.until(lambda: observer.failures("connection refused: nobody listens there"))
    assert observer.evidence == []


def test_a_host_that_falls_silent_after_its_daemon_went_down_is_told(place: Place, port: int) -> None:
    observer, daemon = reached(place, port)
    place.kill(daemon)
    assert observer.until(lambda: REFUSED in observer.evidence)

    place.black_hole(port)
    observer.said.clear()
    assert observer.until(lambda: SILENT in observer.evidence)


def test_every_mesh_that_watches_a_key_is_told(place: Place, port: int) -> None:
    observer, daemon = reached(place, port)
    there = members(WORK, {WORK.founder("peer"): at(port)})
    ((key, member),) = there.members.items()
    same = replace(member, standing=replace(member.standing, curve=x25519_public(PEER.curve)))
    observer.hear(m.MembersChanged(WORK.id, 1, Members.of({key: same})))
    observer.hear(m.Watched(WORK.id, 1, (key,)))

    daemon.kill()
    assert observer.until(lambda: observer.evidence)
    assert set(observer.evidence) == {REFUSED, m.LinkRefused(WORK.id, key)}


def test_what_waits_for_a_connection_goes_out_over_the_one_that_is_made_to_us(place: Place, port: int) -> None:
    observer = place.observer({PEER: at(port)})
    observer.write_to(PEER)
    assert observer.count("messages-out") == 0

    place.daemon(PEER, free_port(), calls=observer.port)
    assert observer.until(lambda: observer.reaches(PEER))
    observer.write_to(PEER)
    assert observer.count("messages-out") == 2
