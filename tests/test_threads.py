"""The production runtime: real threads and real clocks. Nothing here sleeps: every wait is for an event."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
import zmq
from pykka._envelope import Envelope

from actors.base import Actor, Address
from actors.runtime import INBOX_BOUND, Runtime
from actors.threads import ThreadedRuntime, ThreadInbox
from actors.wiring import Directory, Role
from smeg import messages as m
from smeg.core import Message
from smeg.errors import LocalError

PATIENCE = 10.0
"""seconds that a test waits for what has to happen."""


class Probe(Actor):
    """Does with a message what the test says; `got` grows in the actor's own thread, `news` says when."""

    role = Role.ROUTING

    def __init__(self, runtime: Runtime, supervisor: Address | None = None, incarnation: int = 0) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self.got: list[Message] = []
        self.threads: set[int] = set()
        self.news = threading.Condition()
        self.does: Callable[[Message, float], Iterable[Message]] = lambda message, now: []
        self.deadline: float | None = None
        self.closed = threading.Event()

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        self.threads.add(threading.get_ident())
        out = list(self.does(message, now))
        with self.news:
            self.got.append(message)
            self.news.notify_all()
        return out

    def next_deadline(self) -> float | None:
        return self.deadline

    def close(self) -> None:
        self.actor_inbox.watch(())
        self.closed.set()

    def wait(self, condition: Callable[[], bool]) -> bool:
        with self.news:
            return self.news.wait_for(condition, PATIENCE)

    def count(self, kind: type[Message]) -> int:
        return sum(isinstance(message, kind) for message in self.got)


Start = Callable[..., tuple[Probe, Address]]
Wired = Callable[[], tuple[zmq.Socket[Any], zmq.Socket[Any]]]


@pytest.fixture(name="wired")
def _wired() -> Iterator[Wired]:
    """Makes pairs of connected sockets; they are closed when the actors have ended."""
    context: zmq.Context[Any] = zmq.Context()
    pairs: list[tuple[zmq.Socket[Any], zmq.Socket[Any]]] = []

    def wire() -> tuple[zmq.Socket[Any], zmq.Socket[Any]]:
        puller, pusher = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        name = f"inproc://pair-{len(pairs)}"
        puller.bind(name)
        pusher.connect(name)
        pairs.append((puller, pusher))
        return puller, pusher

    yield wire
    context.destroy(linger=0)


@pytest.fixture(name="start")
def _start(wired: Wired) -> Iterator[Start]:
    runtime = ThreadedRuntime()
    probes: list[Probe] = []

    def begin(**keywords: Any) -> tuple[Probe, Address]:
        probe = Probe(runtime, **keywords)
        probes.append(probe)
        address = Address(probe)
        probe._start_actor_loop()
        address.tell(Directory(1, {}))
        return probe, address

    yield begin
    for probe in probes:
        Address(probe).stop()
    for probe in probes:
        assert probe.closed.wait(PATIENCE)


def watching(probe: Probe, socket: zmq.Socket[Any]) -> Callable[[Message, float], Iterable[Message]]:
    """Watch the socket from the first message on."""

    def does(message: Message, now: float) -> Iterable[Message]:
        if not probe.got:
            probe.actor_inbox.watch((socket,))
        return []

    return does


def has(probe: Probe, number: int) -> bool:
    return len(probe.got) == number


def test_a_timer_fires_at_about_its_time_and_once(start: Start) -> None:
    probe, address = start()
    fired: list[float] = []

    def does(message: Message, now: float) -> Iterable[Message]:
        probe.deadline = now + 0.15 if isinstance(message, m.Resolved) else None
        if isinstance(message, m.Tick):
            fired.append(now)
        return []

    probe.does = does
    began = time.monotonic()
    address.tell(m.Resolved())
    assert probe.wait(lambda: bool(fired))
    assert 0.149 <= fired[0] - began < 2.0
    address.tell(m.ForgetMesh("last"))
    assert probe.wait(lambda: probe.count(m.ForgetMesh) == 1)
    assert len(fired) == 1


def test_messages_do_not_keep_a_timer_from_firing(start: Start) -> None:
    probe, address = start()
    end = threading.Event()

    def does(message: Message, now: float) -> Iterable[Message]:
        if probe.deadline is None:
            probe.deadline = now + 0.1
        if isinstance(message, m.Tick):
            end.set()
        elif not end.is_set():
            address.tell(m.Resolved())
        return []

    probe.does = does
    address.tell(m.Resolved())
    assert end.wait(PATIENCE)
    assert probe.count(m.Resolved) > 10


def test_a_deadline_that_stays_in_the_past_does_not_starve_the_messages(start: Start) -> None:
    probe, address = start()
    probe.deadline = 0.0
    for _ in range(200):
        address.tell(m.Resolved())
    assert probe.wait(lambda: probe.count(m.Resolved) == 200)
    assert probe.wait(lambda: probe.count(m.Tick) > 0)


def test_a_deadline_that_stays_in_the_past_does_not_starve_the_sockets(start: Start, wired: Wired) -> None:
    probe, address = start()
    probe.deadline = 0.0
    puller, pusher = wired()

    def does(message: Message, now: float) -> Iterable[Message]:
        if isinstance(message, m.Resolved):
            probe.actor_inbox.watch((puller,))
        elif isinstance(message, m.Readable):
            puller.recv(zmq.NOBLOCK)
        return []

    probe.does = does
    address.tell(m.Resolved())
    pusher.send(b"hello")
    assert probe.wait(lambda: probe.count(m.Readable) == 1)


def test_a_watched_socket_becomes_readable_beside_messages_and_timers(start: Start, wired: Wired) -> None:
    probe, address = start()
    puller, pusher = wired()
    read: list[bytes] = []

    def does(message: Message, now: float) -> Iterable[Message]:
        if isinstance(message, m.ForgetMesh):
            probe.actor_inbox.watch((puller,))
            probe.deadline = now + 0.05
        elif isinstance(message, m.Readable):
            read.append(puller.recv(zmq.NOBLOCK))
        elif isinstance(message, m.Tick):
            probe.deadline = None
        return []

    probe.does = does
    address.tell(m.ForgetMesh(""))
    assert probe.wait(lambda: probe.count(m.Tick) == 1), "the poll ends at the deadline"
    for number in range(100):
        pusher.send(b"%d" % number)
        address.tell(m.Resolved())
    assert probe.wait(lambda: probe.count(m.Readable) == 100 and probe.count(m.Resolved) == 100)
    assert read == [b"%d" % number for number in range(100)]
    assert len(probe.threads) == 1, "one thread alone touches the sockets"


def test_a_message_wakes_an_actor_that_waits_for_its_sockets(start: Start, wired: Wired) -> None:
    probe, address = start()
    puller, _ = wired()
    probe.does = watching(probe, puller)
    address.tell(m.ForgetMesh(""))
    assert probe.wait(lambda: len(probe.got) == 1)
    for number in range(2, 50):
        address.tell(m.ForgetMesh(""))
        assert probe.wait(partial(has, probe, number))


def test_a_socket_that_is_always_readable_does_not_starve_the_messages(start: Start, wired: Wired) -> None:
    probe, address = start()
    puller, pusher = wired()
    probe.does = watching(probe, puller)
    pusher.send(b"nobody reads this")
    address.tell(m.ForgetMesh(""))
    for _ in range(50):
        address.tell(m.Resolved())
    assert probe.wait(lambda: probe.count(m.Resolved) == 50)
    assert probe.wait(lambda: probe.count(m.Readable) > 0)


def test_several_threads_may_tell_one_actor_and_nothing_is_lost_or_disordered(start: Start, wired: Wired) -> None:
    probe, address = start()
    puller, _ = wired()
    probe.does = watching(probe, puller)
    address.tell(m.Resolved())

    def tell(thread: int) -> None:
        for number in range(500):
            address.tell(m.Saved(str(thread), number))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert probe.wait(lambda: probe.count(m.Saved) == 2000)
    for number in range(4):
        own = [message.ticket for message in probe.got if isinstance(message, m.Saved) and message.mesh == str(number)]
        assert own == list(range(500))


def test_telling_an_actor_that_lets_go_of_its_sockets_never_hurts_who_tells(wired: Wired) -> None:
    inbox = ThreadInbox()
    puller, _ = wired()
    problems: list[BaseException] = []
    end = threading.Event()

    def tell() -> None:
        try:
            while not end.is_set():
                inbox.put(Envelope(m.Resolved()))
        except OSError as error:
            problems.append(error)

    threads = [threading.Thread(target=tell) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        inbox.watch((puller,))
        inbox.watch(())
    end.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert problems == []


def test_a_full_inbox_drops_counts_and_still_hears_the_end(start: Start) -> None:
    probe, address = start()
    hold, held = threading.Event(), threading.Event()

    def does(message: Message, now: float) -> Iterable[Message]:
        held.set()
        assert hold.wait(PATIENCE)
        return []

    probe.does = does
    address.tell(m.ForgetMesh("first"))
    assert held.wait(PATIENCE)
    message = m.Resolved()
    for _ in range(INBOX_BOUND + 30):
        address.tell(message)
    assert address.dropped == 30
    address.stop()
    hold.set()
    assert probe.closed.wait(PATIENCE)
    assert probe.count(m.Resolved) == INBOX_BOUND


def test_a_failing_actor_is_closed_logged_and_reported_to_its_supervisor(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    above, supervisor = start()
    probe, address = start(supervisor=supervisor, incarnation=7)

    def fail(message: Message, now: float) -> Iterable[Message]:
        raise LocalError("broken", "it broke", "mend it")

    probe.does = fail
    address.tell(m.Resolved())
    assert above.wait(lambda: bool(above.got))
    (failed,) = above.got
    assert isinstance(failed, m.ActorFailed)
    assert (failed.name, failed.incarnation, failed.problem.code) == ("routing-table", 7, "broken")
    assert probe.closed.is_set()
    assert not address.alive
    assert [vars(record)["fields"]["actor"] for record in caplog.records] == ["routing-table"]
    address.tell(m.Resolved())


def test_an_actor_that_ends_says_so_after_it_let_go(start: Start) -> None:
    above, supervisor = start()
    probe, address = start(supervisor=supervisor, incarnation=3)
    above.does = lambda message, now: [] if probe.closed.is_set() else [][0]
    address.tell(m.Resolved())
    address.stop()
    assert above.wait(lambda: bool(above.got))
    assert above.got == [m.ActorStopped("routing-table", 3)]
    assert probe.got == [m.Resolved()], "what came before the end is handled first"


def test_each_holder_of_chance_draws_its_own() -> None:
    runtime = ThreadedRuntime()
    assert runtime.random("a").random() != runtime.random("a").random()
    assert runtime.entropy(32) != runtime.entropy(32)
    assert len(runtime.entropy(32)) == 32
