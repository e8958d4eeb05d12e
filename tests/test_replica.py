"""The CRDT: merge in any order, any number of times, and be the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.errors import RemoteError
from smeg.records import MAX_STEP, Action, OwnRecord, Record, Remove
from smeg.replica import Outcome, Replica
from tests.builders import NOTARY, QUICK, MadeMesh, Node, record_of, remove_of, universe

MESH = MadeMesh("replica")
NODE = MESH.founder()


@cache
def statements() -> tuple[Record | Remove, ...]:
    found = (NOTARY.read(document.raw) for document, _ in universe().statements)
    return tuple(statement for statement in found if isinstance(statement, (Record, Remove)))


SUBSETS = st.lists(st.sampled_from(range(len(statements()))), max_size=60)


def replica(which: list[int]) -> Replica:
    made = Replica()
    for index in which:
        offer(made, statements()[index])
    return made


def offer(made: Replica, statement: Record | Remove) -> Outcome:
    return made.add(statement) if isinstance(statement, Record) else made.remove(statement)


def merged(*replicas: Replica) -> Replica:
    made = Replica()
    for other in replicas:
        made.merge(other)
    return made


def serial(record: Record) -> int:
    return universe().by_credential()[record.credential].serial


@QUICK
@given(SUBSETS, SUBSETS, SUBSETS)
def test_merge_is_commutative_associative_and_idempotent(one: list[int], two: list[int], three: list[int]) -> None:
    a, b, c = replica(one), replica(two), replica(three)
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(a, a) == a == merged(a, Replica())


@QUICK
@given(SUBSETS.flatmap(lambda which: st.tuples(st.just(which), st.permutations(which * 2))))
def test_order_and_duplication_leave_no_trace(orders: tuple[list[int], list[int]]) -> None:
    first, second = replica(orders[0]), replica(orders[1])
    assert first == second
    assert first.digest.of() == second.digest.of()
    assert list(first) == list(second) == sorted(first)


@QUICK
@given(SUBSETS, SUBSETS)
def test_digests_are_equal_exactly_when_replicas_are(one: list[int], two: list[int]) -> None:
    a, b = replica(one), replica(two)
    assert (a.digest.of() == b.digest.of()) == (a == b)


@QUICK
@given(SUBSETS)
def test_a_node_is_present_exactly_if_it_is_added_and_no_remove_covers_it(which: list[int]) -> None:
    made = replica(which)
    offered = [statements()[index] for index in which]
    for node in {statement.node for statement in offered}:
        records = [s for s in offered if isinstance(s, Record) and s.node == node]
        newest = max(records, key=lambda r: r.order, default=None)
        assert made.records.get(node) == newest
        removes = [s for s in offered if isinstance(s, Remove) and s.node == node]
        evicted = max((s.serial for s in removes if s.action is Action.EVICT), default=-1)
        left = max(((s.serial, s.counter) for s in removes if s.action is Action.LEAVE), default=(-1, 0))
        expected = newest is not None and serial(newest) > evicted and (serial(newest), newest.counter) > left
        assert made.present(node, serial) == expected


def test_the_vector_clock_is_the_counters_of_the_newest_records() -> None:
    made = Replica()
    for counter in (3, 1, 7, 5):
        made.add(record_of(NODE.record(counter)))
    assert made.clock() == {NODE.key: 7}


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_records_with_one_counter_the_lower_hash_wins_and_it_is_said(turned: bool) -> None:
    both = [record_of(NODE.record(4)), record_of(NODE.record(4, OwnRecord("twin")))]
    low, high = sorted(both, key=lambda record: record.document.hash)
    made = Replica()
    first, second = (high, low) if turned else (low, high)
    assert made.add(first) is Outcome.NEWER
    assert made.add(second) is (Outcome.CONFLICT_TAKEN if turned else Outcome.CONFLICT_REFUSED)
    assert made.records[NODE.key] is low
    assert made.add(low) is Outcome.KNOWN


def test_a_replayed_older_record_changes_nothing() -> None:
    made = Replica()
    made.add(record_of(NODE.record(9)))
    before = made.digest.of()
    assert made.add(record_of(NODE.record(8))) is Outcome.OLDER
    assert made.digest.of() == before


def test_a_counter_beyond_its_largest_step_is_refused_and_the_author_can_still_update() -> None:
    made = Replica()
    made.add(record_of(NODE.record(5)))
    with pytest.raises(RemoteError) as refused:
        made.add(record_of(NODE.record(5 + MAX_STEP + 1)))
    assert refused.value.problem.code == "counter-step"
    assert made.clock() == {NODE.key: 5}
    assert made.add(record_of(NODE.record(6))) is Outcome.NEWER
    assert made.add(record_of(NODE.record(6 + MAX_STEP))) is Outcome.NEWER


@pytest.fixture(params=[False, True], ids=["in order", "turned round"])
def turn(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def present_after(made: Sequence[Record | Remove], turned: bool, *stays: Node) -> bool:
    serials = {stay.credential: stay.serial for stay in stays}
    built = Replica()
    for statement in reversed(made) if turned else made:
        offer(built, statement)
    return built.present(NODE.key, lambda record: serials[record.credential])


def test_a_leave_ends_a_stay_and_a_newer_certificate_begins_another(turn: bool) -> None:
    again = MESH.founder(serial=NODE.serial + 1)
    leave = remove_of(NODE.leave(3))
    assert present_after([record_of(NODE.record(2))], turn, NODE)
    assert not present_after([record_of(NODE.record(2)), leave], turn, NODE)
    assert present_after([record_of(NODE.record(2)), leave, record_of(again.record(4))], turn, NODE, again)


def test_an_evict_beats_every_record_and_leave_of_its_serial_for_ever(turn: bool) -> None:
    evict = remove_of(MESH.evict(NODE))
    for counter in (1, 5, MAX_STEP):
        leave = remove_of(NODE.leave(counter + 1))
        documents: list[Record | Remove] = [record_of(NODE.record(counter)), evict, leave]
        assert not present_after(documents, turn, NODE)
    again = MESH.founder(serial=NODE.serial + 1)
    assert present_after([record_of(again.record(1)), evict], turn, NODE, again)


def test_nothing_that_an_evicted_node_signs_displaces_the_evict(turn: bool) -> None:
    """A leave under a later serial would be the newer remove, and let in again whom the evicted had smuggled in."""
    evict, leave = remove_of(MESH.evict(NODE)), remove_of(NODE.leave(2, serial=2**53 - 1))
    made = Replica()
    for remove in (leave, evict) if turn else (evict, leave):
        made.remove(remove)
    assert dict(made.evicts) == {NODE.key: evict}
    assert dict(made.leaves) == {NODE.key: leave}


def test_after_an_evict_and_a_new_invitation_a_node_can_still_leave(turn: bool) -> None:
    again = MESH.founder(serial=NODE.serial + 1)
    documents: list[Record | Remove] = [
        remove_of(MESH.evict(NODE)),
        record_of(again.record(5)),
        remove_of(again.leave(6)),
    ]
    assert not present_after(documents, turn, NODE, again)
