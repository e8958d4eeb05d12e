"""The chronicle: how long each took to know of what befell others, and whom anybody thought dead who was not."""

from __future__ import annotations

from scenarios.chronicle import LATE_NEWS, Chronicle, Witness
from smeg import messages as m
from smeg.keys import NodeKey
from smeg.members import Members
from tests.builders import Desk, MadeMesh

MESH = MadeMesh("chronicle")
A, B, C, D = (NodeKey(bytes([number]) * 32) for number in range(1, 5))
INFINITE = float("inf")


class Told:
    """A chronicle with four witnesses, who are told what they think."""

    def __init__(self) -> None:
        self.now = 0.0
        self.chronicle = Chronicle(lambda: self.now)
        self.witnesses = {key: Witness(f"of {key[0]}", key, self.chronicle) for key in (A, B, C, D)}

    def thinks(self, knower: NodeKey, *pruned: NodeKey, down: tuple[NodeKey, ...] = (), leader: NodeKey = A) -> None:
        said = m.LivenessChanged("mesh", 1, 1, leader, frozenset(pruned), frozenset(down))
        self.witnesses[knower].hear(said)


def test_how_long_each_took_to_know_is_counted_from_the_death_and_the_first_time_counts() -> None:
    told = Told()
    told.now = 10.0
    event = told.chronicle.died(frozenset({D}))
    for knower, after in ((A, 1.0), (B, 2.5)):
        told.now = 10.0 + after
        told.thinks(knower, D)
    assert event.samples({A, B, C}) == [1.0, 2.5, INFINITE]
    assert not event.complete({A, B, C})
    told.now = 14.0
    told.thinks(A)
    told.thinks(A, D)
    told.thinks(C, down=(D,))
    assert event.samples({A, B, C}) == [1.0, 2.5, 4.0], "a daemon that is down counts too"
    assert event.complete({A, B, C})
    assert told.chronicle.false == []


def test_nobody_has_to_know_of_itself() -> None:
    told = Told()
    event = told.chronicle.died(frozenset({C, D}))
    told.thinks(A, C, D)
    assert event.complete({A})
    assert event.samples({A}) == [0.0, 0.0]
    told.thinks(C, D)
    assert event.complete({A, C})
    assert event.samples({A, C}) == [0.0, 0.0, 0.0]


def test_who_is_thought_dead_and_lives_is_noted_with_by_whom_and_when() -> None:
    told = Told()
    told.now = 3.0
    told.thinks(A, B)
    told.thinks(A, B, C)
    assert [(each.at, each.knower, each.subject) for each in told.chronicle.false] == [(3.0, A, B), (3.0, A, C)]
    told.chronicle.died(frozenset({D}))
    told.thinks(B, D)
    assert len(told.chronicle.false) == 2
    told.chronicle.returned(frozenset({D}))
    told.now += LATE_NEWS - 0.1
    told.thinks(A, B, C, D)
    assert len(told.chronicle.false) == 2, "it was on its way"
    told.now += 0.2
    told.thinks(C, D)
    assert told.chronicle.false[-1].subject == D


def test_sides_of_a_partition_may_think_each_other_dead_but_not_their_own() -> None:
    told = Told()
    told.chronicle.parted({A: 1, B: 1, C: 2, D: 2})
    event = told.chronicle.died_for(frozenset({C, D}))
    told.thinks(A, C, D)
    assert told.chronicle.false == []
    assert event.complete({A})
    told.thinks(B, A)
    assert [(each.knower, each.subject) for each in told.chronicle.false] == [(B, A)]
    told.chronicle.parted({})
    told.thinks(C, A)
    assert len(told.chronicle.false) == 2


def test_what_somebody_thinks_or_is_thought_who_stands_still_now_and_then_is_counted_apart() -> None:
    told = Told()
    told.chronicle.excused.add(B)
    told.thinks(A, B)
    told.thinks(B, C)
    assert told.chronicle.false == []
    assert dict(told.chronicle.excused_deaths) == {B: 1, C: 1}


def test_a_return_is_known_to_those_who_thought_it_dead_and_do_no_more() -> None:
    told = Told()
    told.chronicle.died(frozenset({D}))
    told.thinks(A, D)
    told.now = 20.0
    event = told.chronicle.returned(frozenset({D}))
    told.now = 21.5
    told.thinks(A)
    assert event.samples({A, B}) == [1.5, INFINITE]
    assert told.chronicle.false == []


def test_an_update_is_known_to_who_has_that_record_or_a_later_one() -> None:
    told = Told()
    node = MESH.founder()
    told.now = 5.0
    event = told.chronicle.updated(node.key, 3)
    for knower, counter, after in ((A, 2, 0.1), (A, 3, 0.2), (B, 4, 0.4)):
        told.now = 5.0 + after
        told.witnesses[knower].hear(m.MembersChanged(MESH.id, 1, having(counter)))
    assert [round(took, 3) for took in event.samples({A, B, C})] == [0.2, 0.4, INFINITE]
    told.chronicle.forget()
    assert told.chronicle.updates == {}


def having(counter: int) -> Members:
    """A mesh whose founder is at this counter."""
    desk = Desk(MESH.id)
    desk.take([*MESH.founder().certificates, MESH.founder().record(counter).raw])
    return desk.members


def test_a_witness_keeps_the_newest_of_all_that_it_hears() -> None:
    told = Told()
    told.now = 7.0
    told.thinks(A, C, down=(D,), leader=B)
    told.witnesses[A].hear(m.EpochSeen("mesh", 9))
    witness = told.witnesses[A]
    assert (witness.silent, witness.down, witness.leader) == (frozenset({C, D}), frozenset({D}), B)
    assert (witness.epoch, witness.epoch_at) == (9, 7.0)
