"""The repair conversation between two replicas: it makes them equal, at a cost that follows what differs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scenarios.trials import converse
from smeg.ledger import Ledger
from tests.builders import NOTARY, QUICK, WALL, MadeMesh

MESH = MadeMesh("repair")
NODES = [MESH.founder(f"node {number}") for number in range(40)]


def knowing(counters: dict[int, int]) -> Ledger:
    """Of somebody who knows these nodes, each by its record with a counter."""
    made = Ledger(MESH.id, NOTARY)
    for number, counter in counters.items():
        made.take(NODES[number].documents(counter), WALL)
    return made


COUNTERS = st.dictionaries(st.integers(0, len(NODES) - 1), st.integers(1, 3), max_size=len(NODES))


@QUICK
@given(COUNTERS, COUNTERS)
def test_after_it_both_know_what_either_knew(left: dict[int, int], right: dict[int, int]) -> None:
    one, other = knowing(left), knowing(right)
    for _ in range(3):
        # A conversation asks for a bounded number of nodes; the next one goes on.
        converse(one, other)
    assert one.replica == other.replica
    wanted = {number: max(left.get(number, 0), right.get(number, 0)) for number in {*left, *right}}
    assert one.replica.clock() == {NODES[number].key: counter for number, counter in wanted.items()}


def test_a_newer_record_of_somebody_known_comes_without_its_certificates() -> None:
    known = {number: 1 for number in range(len(NODES))}
    one, other = knowing(known), knowing({**known, 7: 2})
    _, documents, _ = converse(one, other)
    assert one.replica == other.replica
    both = sum(len(NODES[7].record(counter).raw) for counter in (1, 2))
    assert documents <= both + 20, "the two records, and a few bytes of form"


def test_somebody_unknown_comes_with_its_certificates() -> None:
    known = {number: 1 for number in range(20)}
    one, other = knowing(known), knowing({**known, 30: 1})
    converse(one, other)
    assert NODES[30].key in one.roster.members


def test_equal_replicas_say_one_word() -> None:
    known = {number: 1 for number in range(20)}
    said, documents, messages = converse(knowing(known), knowing(known))
    assert (documents, messages) == (0, 1)
    assert said < 16
