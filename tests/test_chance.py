"""What chance alone does to shares, against all that can happen."""

from __future__ import annotations

from collections import Counter
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from scenarios.chance import SELDOM, most_by_chance


@given(st.integers(1, 7), st.integers(2, 4), st.floats(0.0005, 0.5))
def test_more_than_that_happens_no_more_often_than_was_said(draws: int, choices: int, seldom: float) -> None:
    most = most_by_chance(draws, choices, seldom)
    busiest = [max(Counter(drawn).values()) for drawn in product(range(choices), repeat=draws)]
    assert sum(count > most for count in busiest) <= seldom * len(busiest) * (1 + 1e-9)


@given(st.integers(1, 3000), st.integers(1, 12))
def test_it_lies_between_the_mean_and_all(draws: int, choices: int) -> None:
    assert draws / choices <= most_by_chance(draws, choices) <= draws


def test_of_four_all_may_fall_to_one_of_three_and_of_many_not_much_more_than_the_mean() -> None:
    assert most_by_chance(4, 3) == 4
    assert most_by_chance(27, 3) < 27 * 2.2 / 3
    assert 1000 < most_by_chance(3000, 3) < 1150
    assert most_by_chance(0, 3) == 0
    assert SELDOM <= 1e-3
