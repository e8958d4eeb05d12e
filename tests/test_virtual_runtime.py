"""The deterministic runtime: equal seeds repeat exactly, nobody waits, and what goes wrong says where and when."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pykka._envelope import Envelope

from actors.base import Actor, Address
from actors.runtime import INBOX_BOUND, Runtime, WaitingInsideActor
from actors.threads import ThreadedRuntime
from actors.virtual import VirtualHost, VirtualInbox, VirtualRuntime, describe
from actors.wiring import Directory, Role
from smeg import messages as m
from smeg.core import Message

SCRIPT = """
import sys
from scenarios.simulation import World
world = World(int(sys.argv[1]), 12)
world.start()
world.form()
world.run(5.0)
print(world.runtime.trace, world.runtime.delivered)
"""
ROOT = Path(__file__).parent.parent


class Probe(Actor):
    """An actor that does with a message what the test says, and remembers what it got."""

    role = Role.ROUTING

    def __init__(
        self, runtime: Runtime, does: Callable[[Message, float], Iterable[Message]] | None = None, mesh: str = ""
    ) -> None:
        super().__init__(runtime, mesh)
        self.does = does
        self.got: list[Message] = []
        self.at: list[float] = []
        self.deadline: float | None = None
        self.settled = 0
        self.closed = 0

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        self.got.append(message)
        self.at.append(now)
        return self.does(message, now) if self.does is not None else []

    def settle(self, now: float) -> Iterable[Message]:
        self.settled += 1
        return []

    def next_deadline(self) -> float | None:
        return self.deadline

    def close(self) -> None:
        self.closed += 1


def started(host: VirtualHost, **keywords: Any) -> tuple[Probe, Address]:
    probe = Probe(host, **keywords)
    probe._start_actor_loop()
    address = Address(probe)
    address.tell(Directory(1, {}))
    return probe, address


def disarm(probe: Probe, at: float = 0.0) -> Callable[[Message, float], Iterable[Message]]:
    """Want no timer any more from that time on."""

    def does(message: Message, now: float) -> Iterable[Message]:
        if now >= at:
            probe.deadline = None
        return []

    return does


def traces(seed: int, *hash_seeds: str) -> list[str]:
    """What a run of that seed leaves, in processes of their own."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in hash_seeds
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in running]
    assert all(process.returncode == 0 for process in running)
    return outputs


def test_equal_seeds_give_equal_traces_in_two_processes_and_another_seed_another_trace() -> None:
    one, other = traces(1, "1", "4242")
    assert one == other
    assert len(one.split()[0]) == 32
    assert traces(2, "1") != [one]


def test_messages_of_several_senders_come_in_an_order_that_follows_from_the_seed() -> None:
    def order(seed: int) -> list[str]:
        runtime = VirtualRuntime(seed)
        host = runtime.host("a")
        came: list[str] = []

        def note(name: str) -> Callable[[Message, float], Iterable[Message]]:
            def does(message: Message, now: float) -> Iterable[Message]:
                came.append(name)
                return []

            return does

        for number in range(8):
            _, address = started(host, does=note(f"probe{number}"), mesh=f"mesh{number}")
            address.tell(m.Resolved())
        runtime.run(1.0)
        return came

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1
    assert sorted(order(1)) == sorted(order(2))


def test_messages_of_one_sender_keep_their_order() -> None:
    runtime = VirtualRuntime(5)
    probe, address = started(runtime.host("a"))
    sent = [m.ForgetMesh(str(number)) for number in range(100)]
    for message in sent:
        address.tell(message)
    runtime.run(1.0)
    assert probe.got == sent
    assert probe.settled < 5, "it settles when the inbox is drained, not after every message"


def test_time_jumps_to_the_next_deadline_and_nowhere_else() -> None:
    runtime = VirtualRuntime(1)
    probe, _ = started(runtime.host("a"))
    probe.deadline = 12.5
    runtime.run(12.4)
    assert (runtime.time, probe.got) == (12.4, [])
    probe.does = disarm(probe)
    runtime.run(100.0)
    assert (probe.got, probe.at, runtime.time) == ([m.Tick()], [12.5], 100.0)


def test_a_run_ends_between_two_instants_when_the_condition_holds() -> None:
    runtime = VirtualRuntime(1)
    rung: list[float] = []
    for at in (1.0, 2.0, 3.0):
        runtime.at(at, partial(rung.append, at))
    assert runtime.run(10.0, lambda: 2.0 in rung)
    assert (runtime.time, rung) == (2.0, [1.0, 2.0])
    assert not runtime.run(2.5, lambda: 3.0 in rung)


def test_a_failing_actor_fails_the_run_and_its_name_time_and_seed_are_told() -> None:
    runtime = VirtualRuntime(77)
    host = runtime.host("host9")
    probe, address = started(host, does=lambda message, now: [][0], mesh="abc")
    runtime.at(3.25, lambda: address.tell(m.Resolved()))
    with pytest.raises(RuntimeError, match=r"routing-table@abc on host9 failed at 3\.250 s, seed 77") as failed:
        runtime.run(10.0)
    assert isinstance(failed.value.__cause__, IndexError)
    assert probe.closed == 1, "what it held is let go of, also after a failure"


def test_a_run_about_failures_goes_on() -> None:
    runtime = VirtualRuntime(77)
    runtime.tolerant = True
    host = runtime.host("host9")
    _, bad = started(host, does=lambda message, now: [][0])
    good, address = started(host)
    bad.tell(m.Resolved())
    address.tell(m.Resolved())
    runtime.run(1.0)
    assert not bad.alive
    assert good.got == [m.Resolved()]


def test_a_deadline_that_stays_in_the_past_is_found() -> None:
    runtime = VirtualRuntime(3)
    probe, _ = started(runtime.host("a"))
    probe.deadline = -1.0
    with pytest.raises(RuntimeError, match=r"time stands still at 0\.000 s, seed 3: a deadline lies in the past"):
        runtime.run(5.0)


@pytest.mark.parametrize("offset", [0.1, 1e6 / 3, 12345.678, 1e9 / 7])
def test_a_clock_that_began_elsewhere_rings_no_timer_early(offset: float) -> None:
    """Early by one rounding is early for ever: the actor would ask for the same time again."""
    runtime = VirtualRuntime(1)
    host = runtime.host("a")
    runtime.run(offset)
    host.offset = offset
    probe, _ = started(host)
    probe.deadline = host.now() + 0.3

    def tick(message: Message, now: float) -> Iterable[Message]:
        assert probe.deadline is not None
        if now >= probe.deadline:
            probe.deadline = now + 0.3
        return []

    probe.does = tick
    runtime.run(offset + 300.0)
    assert 990 <= len(probe.got) <= 1001


def test_a_deadline_that_moves_later_rings_at_the_later_time_too() -> None:
    runtime = VirtualRuntime(1)
    probe, address = started(runtime.host("a"))
    probe.deadline = 1.0
    runtime.run(0.5)
    probe.deadline = 4.0
    address.tell(m.Resolved())
    probe.does = disarm(probe, 4.0)
    runtime.run(10.0)
    assert probe.at[-1] == 4.0
    assert len(probe.at) <= 3


def ask_inside(runtime: Runtime, other: Address) -> Probe:
    return Probe(runtime, does=lambda message, now: [other.ask(m.Resolved(), timeout=1.0)])


def test_waiting_inside_an_actor_raises_in_virtual_time() -> None:
    runtime = VirtualRuntime(1)
    host = runtime.host("a")
    _, other = started(host)
    waiter = ask_inside(host, other)
    waiter._start_actor_loop()
    Address(waiter).tell(Directory(1, {}))
    Address(waiter).tell(m.Resolved())
    with pytest.raises(RuntimeError, match="routing-table on a failed") as failed:
        runtime.run(1.0)
    assert isinstance(failed.value.__cause__, WaitingInsideActor)


def test_waiting_inside_an_actor_raises_on_real_threads() -> None:
    runtime = ThreadedRuntime()
    other, waiter = Probe(runtime), Probe(runtime)
    waiter.does = lambda message, now: [Address(other).ask(m.Resolved(), timeout=1.0)]
    for probe in (other, waiter):
        probe._start_actor_loop()
        Address(probe).tell(Directory(1, {}))
    try:
        with pytest.raises(WaitingInsideActor, match="routing-table waits"):
            Address(waiter).ask(m.Resolved(), timeout=5.0)
        assert Address(other).ask(m.Resolved(), timeout=5.0) is None, "from outside everybody may wait"
    finally:
        for probe in (other, waiter):
            probe.actor_ref.stop(timeout=5.0)


def test_messages_to_the_dead_are_harmless() -> None:
    runtime = VirtualRuntime(1)
    probe, address = started(runtime.host("a"))
    address.tell(m.Resolved())
    address.stop()
    runtime.run(1.0)
    assert not address.alive
    assert (probe.got, probe.closed) == ([m.Resolved()], 1)
    address.tell(m.Resolved())
    address.stop()
    # Past the check, as when it dies in between.
    probe.actor_inbox.put(Envelope(m.Resolved()))
    runtime.run(2.0)
    assert (probe.got, probe.closed) == ([m.Resolved()], 1)


def test_one_message_exactly_is_handled_per_step() -> None:
    """Rests on pykka calling `inbox.get()` outside of its `try`: were it inside, the actor would die at its first."""
    runtime = VirtualRuntime(1)
    host = runtime.host("a")
    probe, address = started(host)
    inbox = probe.actor_inbox
    assert isinstance(inbox, VirtualInbox)
    inbox.step()
    for _ in range(3):
        address.tell(m.Resolved())
    for handled in (1, 2, 3):
        inbox.step()
        assert len(probe.got) == handled
        assert address.alive
    assert (len(probe.got), probe.closed, address.alive, runtime.failures) == (3, 0, True, [])


def test_a_full_inbox_drops_and_counts_but_never_the_order_to_end() -> None:
    runtime = VirtualRuntime(1)
    runtime.tracing = False
    probe, address = started(runtime.host("a"))
    for _ in range(INBOX_BOUND + 50):
        address.tell(m.Resolved())
    # The directory came first.
    assert address.dropped == 51
    address.stop()
    runtime.run(1.0)
    assert len(probe.got) == INBOX_BOUND - 1
    assert not address.alive


def test_a_crash_runs_no_hook_and_what_was_on_its_way_reaches_nobody() -> None:
    runtime = VirtualRuntime(1)
    host, other = runtime.host("a"), runtime.host("b")
    probe, address = started(host)
    survivor, _ = started(other)
    survivor.deadline = 7.0
    survivor.does = disarm(survivor)
    probe.deadline = 5.0
    runtime.run(1.0)
    address.tell(m.Resolved())
    runtime.at(3.0, lambda: address.tell(m.Resolved()))
    host.crash()
    runtime.run(10.0)
    assert (probe.got, probe.closed, address.alive) == ([], 0, False)
    assert survivor.at == [7.0]
    again, address = started(host)
    address.tell(m.Resolved())
    runtime.run(11.0)
    assert again.got == [m.Resolved()]


def test_what_comes_before_the_directory_waits_for_it() -> None:
    runtime = VirtualRuntime(1)
    probe = Probe(runtime.host("a"))
    probe._start_actor_loop()
    address = Address(probe)
    address.tell(m.ForgetMesh("first"))
    address.tell(m.ForgetMesh("second"))
    runtime.run(1.0)
    assert probe.got == []
    address.tell(Directory(1, {}))
    address.tell(m.ForgetMesh("third"))
    runtime.run(2.0)
    assert [message.mesh for message in probe.got] == ["first", "second", "third"]


def test_an_older_directory_does_not_replace_a_newer_one_and_newcomers_hear_what_they_missed() -> None:
    runtime = VirtualRuntime(1)
    host = runtime.host("a")
    teller, tell = started(host)
    devices = [started(host, mesh=f"mesh{number}") for number in range(3)]
    places = {(Role.DEVICE, f"mesh{number}"): address for number, (_, address) in enumerate(devices)}
    snapshots = {f"mesh{number}": m.RoutesChanged(f"mesh{number}", 1, ()) for number in range(3)}
    teller.does = lambda message, now: [snapshots[message.mesh]]
    tell.tell(Directory(2, places))
    for mesh in snapshots:
        tell.tell(m.ForgetMesh(mesh))
    runtime.run(1.0)
    late, address = started(host, mesh="mesh0")
    tell.tell(Directory(3, {**places, (Role.DEVICE, "mesh0"): address}))
    tell.tell(Directory(1, {}))
    runtime.run(2.0)
    assert late.got == [snapshots["mesh0"]], "each mesh's own snapshot is kept, not only the last of its kind"
    assert [device.got for device, _ in devices] == [[snapshot] for snapshot in snapshots.values()]


def test_a_trace_holds_no_secret_and_does_not_depend_on_the_order_of_sets() -> None:
    request = m.Request(1, "join-mesh", {"token": "smeg1.very-secret"})
    assert "very-secret" not in describe(request)
    keys = [bytes([number]) for number in range(50)]
    assert describe(frozenset(keys)) == describe(frozenset(reversed(keys)))
    assert describe({"a": 1, "b": 2}) == describe({"b": 2, "a": 1})
