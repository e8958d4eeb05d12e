"""Two daemons with one state: it is told, neither talks without end, and it passes when one of them is gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smeg.device import Endpoint
from smeg.own_record import OwnRecordWriter
from smeg.records import OwnRecord
from smeg.second_daemon import CALM, CODE, LONGEST, SETTLED, SecondDaemon
from tests.builders import QUICK, Desk, MadeMesh

MESH = MadeMesh("twice")
NODE = MESH.founder()
DESK = Desk(MESH.id)
DESK.take(NODE.documents())
STANDING = DESK.members[NODE.key].standing


def codes(second: SecondDaemon, now: float) -> list[str]:
    problem, over = second.news(now)
    return [*([problem.code] if problem is not None else []), *(["over"] if over else [])]


def test_one_contradiction_is_told_when_the_daemon_has_run_for_long_and_two_at_any_time() -> None:
    young, old = SecondDaemon("demo"), SecondDaemon("demo")
    for second in (young, old):
        second.begin(0.0)
    young.contradicted(1.0)
    assert codes(young, 1.0) == [], "whose state was restored finds its own word"
    assert codes(young, SETTLED + 1.0) == [], "time alone makes it no worse"
    young.contradicted(SETTLED - 1.0)
    assert codes(young, SETTLED - 1.0) == [CODE]
    old.contradicted(SETTLED + 1.0)
    assert codes(old, SETTLED + 1.0) == [CODE]
    assert codes(old, SETTLED + 2.0) == [], "once"


def test_it_is_over_when_nothing_more_happens_and_may_come_again() -> None:
    second = SecondDaemon("demo")
    second.begin(0.0)
    second.contradicted(SETTLED)
    assert codes(second, SETTLED) == [CODE]
    at = second.next_deadline()
    assert at == SETTLED + CALM
    assert codes(second, at - 1.0) == []
    assert codes(second, at) == ["over"]
    assert second.next_deadline() is None
    second.contradicted(at + 1.0)
    assert codes(second, at + 1.0) == [CODE]


@QUICK
@given(st.floats(0.01, 1.0), st.floats(600.0, 7200.0))
def test_two_that_contradict_each_other_say_little_in_any_time(late: float, lasts: float) -> None:
    """Each answers the other as soon as it may, `late` seconds after the other has spoken."""
    both = SecondDaemon("demo"), SecondDaemon("demo")
    for one in both:
        one.begin(0.0)
    said, now, turn = 0, 0.0, 0
    while now < lasts:
        said += 1
        other = both[1 - turn]
        now += late
        other.contradicted(now)
        now = max(now, other.quiet_until)
        turn = 1 - turn
    assert said <= 14 + lasts / LONGEST


class Elsewhere:
    """A daemon with the same state, and what both see of the mesh."""

    def __init__(self, place: str) -> None:
        wanted = OwnRecord("own", gossip=(Endpoint(place, 51800),))
        self.writer = OwnRecordWriter(MESH.id, NODE.identity, wanted, STANDING)

    def say(self, desk: Desk) -> None:
        document = self.writer.revise()
        if document is not None:
            desk.take([document.raw])


def test_whoever_speaks_last_is_contradicted_by_the_other_once_for_each_word() -> None:
    desk = Desk(MESH.id)
    desk.take(NODE.documents())
    one, other = Elsewhere("192.0.2.1"), Elsewhere("192.0.2.2")
    one.writer.see(desk.members)
    one.say(desk)
    assert not one.writer.see(desk.members), "that is its own word"
    assert other.writer.see(desk.members), "newer than what it knows of itself"
    assert not other.writer.see(desk.members), "once"
    other.say(desk)
    assert one.writer.see(desk.members)
    one.say(desk)
    assert desk.members[NODE.key].record.gossip == (Endpoint("192.0.2.1", 51800),)


@given(st.booleans())
def test_who_used_a_counter_that_the_other_used_too_speaks_again_if_its_word_was_lost(first: bool) -> None:
    desk = Desk(MESH.id)
    desk.take(NODE.documents())
    both = [Elsewhere("192.0.2.1"), Elsewhere("192.0.2.2")]
    for one in both:
        one.writer.see(desk.members)
    for one in both if first else reversed(both):
        one.say(desk)
    assert both[0].writer.counter == both[1].writer.counter
    assert sorted(one.writer.see(desk.members) for one in both) == [False, True]
    assert sorted(one.writer.has_news() for one in both) == [False, True]
