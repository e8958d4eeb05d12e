"""The table of members: what follows from it is the same, however it came about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smeg.keys import NodeKey
from smeg.members import Ranks
from tests.builders import QUICK

KEYS = st.sets(st.integers(0, 60).map(lambda number: NodeKey(bytes([number]) * 32)), max_size=30)


def ranks(keys: set[NodeKey]) -> Ranks:
    return Ranks.of(tuple(sorted(keys)))


def bits(of: set[NodeKey], among: Ranks) -> int:
    return sum(1 << rank for rank, key in enumerate(among.keys) if key in of)


@QUICK
@given(KEYS, KEYS, KEYS)
def test_a_set_of_ranks_means_the_same_members_in_another_list(
    before: set[NodeKey], after: set[NodeKey], chosen: set[NodeKey]
) -> None:
    old, new = ranks(before), ranks(after)
    assert new.since(old).translate(bits(chosen & before, old)) == bits(chosen & before & after, new)


@QUICK
@given(KEYS, KEYS)
def test_a_list_that_was_changed_step_by_step_is_the_list_of_the_same_keys(
    before: set[NodeKey], after: set[NodeKey]
) -> None:
    assert ranks(before).change(sorted(after - before), before - after) is ranks(after)
