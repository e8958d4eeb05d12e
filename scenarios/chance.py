"""What chance alone does to shares: of few it tells so little that only the extreme is a finding."""

from __future__ import annotations

from math import exp, lgamma, log

SELDOM = 1e-4
"""How often chance may do more than `most_by_chance`."""


def most_by_chance(draws: int, choices: int, seldom: float = SELDOM) -> int:
    """How many of so many independent draws may fall to the busiest of equally likely choices: more happens less often
    than `seldom`."""
    if choices < 2:
        return draws
    beyond = 0.0
    for count in range(draws, -1, -1):
        # By any of the choices: the sum over them is never less than the chance that one of them does.
        beyond += choices * _chance(draws, count, 1 / choices)
        if beyond >= seldom:
            return count
    return draws


def _chance(draws: int, count: int, share: float) -> float:
    """That exactly so many fall to one."""
    ways = lgamma(draws + 1) - lgamma(count + 1) - lgamma(draws - count + 1)
    return exp(ways + count * log(share) + (draws - count) * log(1 - share))
