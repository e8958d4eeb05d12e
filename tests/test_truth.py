"""What has really befallen the hosts of a scenario: what may be believed of them, and what should be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scenarios import actions as a
from scenarios.script_reading import parse
from scenarios.selectors import EVERYONE
from scenarios.stage import Deed
from scenarios.truth import SETTLES, Standing, Truth
from tests.builders import QUICK

SCRIPT = parse("hosts: {peers: {count: 4}, late: {count: 1, begins: off}}\nsettings: {}\n", "made.yaml")
HOSTS = ("peers-1", "peers-2", "peers-3", "peers-4", "late-1")
VERBS = (a.Start, a.Stop, a.Kill, a.PowerOff, a.Pause, a.Resume)


def truth(*deeds: tuple[type[a.Start | a.Stop | a.Kill | a.PowerOff | a.Pause | a.Resume], str, float]) -> Truth:
    made = Truth(SCRIPT, 5)
    for verb, host, at in deeds:
        made.note(Deed(verb(EVERYONE), (host,)), at)
    return made


def test_who_is_off_or_down_should_be_thought_dead_and_who_is_back_soon_not_any_more() -> None:
    made = truth((a.Kill, "peers-1", 1.0), (a.PowerOff, "peers-2", 1.0))
    assert made.should_be_silent("demo", "peers-3") == {"peers-1", "peers-2", "late-1"}
    made.note(Deed(a.Start(EVERYONE), ("peers-1", "late-1")), 9.0)
    assert made.should_be_silent("demo", "peers-3") == {"peers-2"}
    assert made.may_be_thought_dead("peers-1", "peers-3", 9.0 + SETTLES)
    assert not made.may_be_thought_dead("peers-1", "peers-3", 9.1 + SETTLES)


def test_who_stood_still_is_to_blame_for_what_it_thinks_and_nobody_for_thinking_it_dead() -> None:
    made = truth((a.Pause, "peers-1", 1.0))
    assert made.may_be_thought_dead("peers-1", "peers-2", 4.0)
    made.note(Deed(a.Pause(EVERYONE), ("peers-1",), undo=True), 9.0)
    assert made.standing["peers-1"] is Standing.UP
    assert not made.may_be_thought_dead("peers-2", "peers-1", 9.1)
    assert not made.counts("peers-1", 9.1)


def test_each_side_of_a_partition_may_think_the_other_dead_and_should() -> None:
    made = truth()
    made.note(Deed(a.Partition(()), (), (HOSTS[:2], HOSTS[2:])), 1.0)  # type: ignore[arg-type]
    assert made.should_be_silent("demo", "peers-1") == {"peers-3", "peers-4", "late-1"}
    assert made.may_be_thought_dead("peers-3", "peers-1", 100.0)
    assert not made.may_be_thought_dead("peers-2", "peers-1", 100.0)
    made.note(Deed(a.Heal(), HOSTS), 100.0)
    assert made.should_be_silent("demo", "peers-1") == {"late-1"}
    assert not made.may_be_thought_dead("peers-3", "peers-1", 100.1 + SETTLES)


def test_those_whom_another_partition_brings_together_may_think_each_other_dead_for_a_while() -> None:
    made = truth()
    made.note(Deed(a.Partition(()), (), (HOSTS[:2], HOSTS[2:])), 1.0)  # type: ignore[arg-type]
    assert not made.may_be_thought_dead("peers-2", "peers-1", 1.1)
    made.note(Deed(a.Partition(()), (), (HOSTS[:3], HOSTS[3:])), 20.0)  # type: ignore[arg-type]
    assert made.may_be_thought_dead("peers-3", "peers-1", 20.0 + SETTLES)
    assert not made.may_be_thought_dead("peers-3", "peers-1", 20.1 + SETTLES)


def test_what_means_nothing_for_a_host_changes_nothing() -> None:
    made = truth((a.Pause, "late-1", 1.0), (a.Kill, "late-1", 2.0), (a.Resume, "late-1", 3.0))
    assert made.standing["late-1"] is Standing.OFF
    made = truth((a.Pause, "peers-1", 1.0), (a.Start, "peers-1", 2.0))
    assert made.standing["peers-1"] is Standing.PAUSED


@QUICK
@given(st.lists(st.tuples(st.sampled_from(VERBS), st.sampled_from(HOSTS)), max_size=12))
def test_nobody_should_be_thought_dead_who_may_not(deeds: list[tuple[type[a.Start], str]]) -> None:
    made = truth(*((verb, host, float(at)) for at, (verb, host) in enumerate(deeds)))
    for by in HOSTS:
        for subject in made.should_be_silent("demo", by):
            assert made.may_be_thought_dead(subject, by, 1000.0)
        if made.running(by):
            for subject in set(HOSTS) - made.should_be_silent("demo", by) - {by}:
                assert not made.may_be_thought_dead(subject, by, 1000.0)
