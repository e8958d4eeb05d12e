"""Simulated machines: stopped, resumed, with clocks that drift; and that one step of theirs is what pykka would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pykka
import pytest
from pykka._envelope import Envelope

from actors.base import Actor, Address
from actors.runtime import GuardedFuture
from actors.virtual import VirtualHost, VirtualInbox, VirtualRuntime
from actors.wiring import Directory
from smeg import messages as m
from smeg.core import Message
from tests.test_virtual_runtime import Probe, started


class SlowInbox(VirtualInbox):
    """Lets pykka's own loop handle every message."""

    __slots__ = ()

    def step(self) -> None:
        assert self.actor is not None
        self._run_loop(self.actor)


class SlowHost(VirtualHost):
    def inbox(self, actor: Actor) -> VirtualInbox:
        inbox = SlowInbox(self.runtime, self)
        inbox.actor = actor
        self._inboxes.append(inbox)
        return inbox


def ticking(probe: Probe, every: float) -> Callable[[Message, float], Iterable[Message]]:
    """Want a timer again and again."""

    def does(message: Message, now: float) -> Iterable[Message]:
        if probe.deadline is None or now >= probe.deadline:
            probe.deadline = now + every
        return []

    return does


def clock(host: VirtualHost, every: float = 1.0) -> tuple[Probe, Address]:
    probe, address = started(host)
    probe.deadline = every
    probe.does = ticking(probe, every)
    return probe, address


# Standing still.


def test_a_stopped_host_handles_nothing_and_has_all_its_messages_and_one_tick_when_it_goes_on() -> None:
    runtime = VirtualRuntime(1)
    host = runtime.host("a")
    probe, address = clock(host)
    runtime.run(3.5)
    assert probe.at == [1.0, 2.0, 3.0]
    host.stop()
    runtime.at(5.0, lambda: address.tell(m.ForgetMesh("first")))
    runtime.at(6.0, lambda: address.tell(m.ForgetMesh("second")))
    runtime.run(10.25)
    assert len(probe.got) == 3
    host.resume()
    runtime.run(10.25)
    assert probe.at[3:] == [10.25] * 3
    assert probe.got[3:] == [m.Tick(), m.ForgetMesh("first"), m.ForgetMesh("second")]
    runtime.run(12.0)
    assert probe.at[6:] == [11.25]


def test_a_message_that_waited_when_its_host_was_stopped_is_handled_afterwards_and_others_go_on() -> None:
    runtime = VirtualRuntime(1)
    host, other = runtime.host("a"), runtime.host("b")
    probe, address = started(host)
    running, elsewhere = started(other)
    runtime.run(1.0)
    for target in (address, elsewhere):
        target.tell(m.Resolved())
    host.stop()
    runtime.run(2.0)
    assert (probe.got, running.got) == ([], [m.Resolved()])
    host.resume()
    host.resume()
    runtime.run(3.0)
    assert (probe.got, running.got) == ([m.Resolved()], [m.Resolved()])


def test_a_host_that_crashes_while_it_stands_still_can_start_again() -> None:
    runtime = VirtualRuntime(1)
    host = runtime.host("a")
    probe, address = started(host)
    host.stop()
    address.tell(m.Resolved())
    host.crash()
    again, address = started(host)
    address.tell(m.Resolved())
    host.resume()
    runtime.run(1.0)
    assert (probe.got, again.got) == ([], [m.Resolved()])


# Clocks.


@pytest.mark.parametrize("rate", [0.9, 0.99999, 1.00001, 1.25])
def test_a_clock_that_drifts_goes_on_from_where_it_was_at_its_own_rate(rate: float) -> None:
    runtime = VirtualRuntime(1)
    host, exact = runtime.host("a"), runtime.host("b")
    probe, _ = clock(host)
    beside, _ = clock(exact)
    runtime.run(100.5)
    host.drift(rate)
    assert host.now() == pytest.approx(100.5)
    runtime.run(300.6)
    assert host.now() == pytest.approx(100.5 + 200.1 * rate)
    assert len(probe.at) == int(host.now())
    assert all(b - a == pytest.approx(1.0) for a, b in zip(probe.at, probe.at[1:], strict=False)), "by its own clock"
    assert len(beside.at) == 300


def test_a_timer_that_was_wound_before_the_clock_went_slower_does_not_ring_early() -> None:
    runtime = VirtualRuntime(1)
    host = runtime.host("a")
    probe, _ = started(host)
    probe.deadline = 10.0
    runtime.run(2.0)
    host.drift(0.5)

    def does(message: Message, now: float) -> Iterable[Message]:
        assert now >= 10.0
        probe.deadline = None
        return []

    probe.does = does
    runtime.run(17.9)
    assert probe.got == []
    runtime.run(18.1)
    assert probe.got == [m.Tick()]


# One step.


def failing(message: Message, now: float) -> Iterable[Message]:
    if isinstance(message, m.Resolved):
        raise ValueError("of purpose")
    return []


def outcome(make_host: Callable[[VirtualRuntime, str], VirtualHost]) -> dict[str, object]:
    """What is seen of an actor that fails at its second message."""
    runtime = VirtualRuntime(1)
    runtime.tolerant = True
    host = make_host(runtime, "a")
    seen: list[str] = []
    vars(host)["failed"] = lambda name, failure: seen.append(f"{name}: {failure!r}")
    supervisor, above = started(host)
    probe = Probe(host, does=failing, mesh="abc")
    probe.supervisor = above
    probe._start_actor_loop()
    address = Address(probe)
    for message in (Directory(1, {}), m.ForgetMesh("first"), m.Resolved(), m.ForgetMesh("never")):
        address.tell(message)
    runtime.run(1.0)
    return {
        "handled": probe.got,
        "closed": probe.closed,
        "alive": address.alive,
        "heard above": supervisor.got,
        "failures": seen,
        "left": len(probe.actor_inbox._waiting),  # type: ignore[attr-defined]
    }


def test_an_actor_that_fails_in_the_quick_way_ends_as_in_pykkas_loop() -> None:
    quick = outcome(VirtualHost)
    assert quick == outcome(SlowHost)
    assert quick["handled"] == [m.ForgetMesh("first"), m.Resolved()]
    assert (quick["closed"], quick["alive"], quick["left"]) == (1, False, 0)
    assert [type(message) for message in supervisor_heard(quick)] == [m.ActorFailed]
    assert quick["failures"] == ["routing-table@abc: ValueError('of purpose')"]


def supervisor_heard(seen: dict[str, object]) -> list[object]:
    heard = seen["heard above"]
    assert isinstance(heard, list)
    return heard


def test_a_message_to_be_answered_is_pykkas_and_one_step_handles_one() -> None:
    """What `_run_loop` rests on: the loop asks for a message outside of its `try`, and answers before it asks again."""
    runtime = VirtualRuntime(1)
    probe, _ = started(runtime.host("a"))
    inbox = probe.actor_inbox
    assert isinstance(inbox, VirtualInbox)
    inbox.step()
    answers = [GuardedFuture() for _ in range(3)]
    for answer in answers:
        inbox.put(Envelope(m.Resolved(), reply_to=answer))
    for handled, answer in enumerate(answers, start=1):
        inbox.step()
        assert answer.get(timeout=0) is None
        assert len(probe.got) == handled
        assert not probe.actor_stopped.is_set()


def test_a_failure_that_somebody_waits_for_is_told_to_them_and_the_actor_lives() -> None:
    runtime = VirtualRuntime(1)
    probe, _ = started(runtime.host("a"), does=failing)
    inbox = probe.actor_inbox
    assert isinstance(inbox, VirtualInbox)
    inbox.step()
    answer: GuardedFuture = GuardedFuture()
    inbox.put(Envelope(m.Resolved(), reply_to=answer))
    inbox.step()
    with pytest.raises(ValueError, match="of purpose"):
        answer.get(timeout=0)
    assert not probe.actor_stopped.is_set()
    assert probe.closed == 0


def test_whoever_waits_for_an_actor_that_was_told_to_end_hears_that_it_has() -> None:
    """The loop ends at the order to, and its tear-down empties the inbox and answers who waits."""
    runtime = VirtualRuntime(1)
    probe, address = started(runtime.host("a"))
    inbox = probe.actor_inbox
    assert isinstance(inbox, VirtualInbox)
    inbox.step()
    ended = probe.actor_ref.stop(block=False)
    late: GuardedFuture = GuardedFuture()
    inbox.put(Envelope(m.Resolved(), reply_to=late))
    inbox.step()
    assert ended.get(timeout=0) is True
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=0)
    assert (probe.got, probe.closed, address.alive, inbox.empty()) == ([], 1, False, True)
