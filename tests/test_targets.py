"""Rows of the report: the worst of all seeds beside the target of the size, and nothing that was found is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios import tables
from scenarios.figures import Row
from scenarios.outcomes import Known, Outcome
from scenarios.targets import rows

CPU = "cpu seconds for a virtual minute"
FALSE = "false deaths"


def quiet(seed: int = 1, members: int = 3000, seconds: float = 600.0, **counts: float) -> Outcome:
    counts = {name.replace("_", " "): value for name, value in counts.items()}
    return Outcome("quiet", members, seed, 0.05, {}, {"virtual seconds": seconds, **counts})


def crash(members: int, *samples: float, seed: int = 1) -> Outcome:
    return Outcome("faults", members, seed, 0.05, {"one crash": Known.of(samples)})


def by_figure(*outcomes: Outcome) -> dict[str, Row]:
    return {row["figure"].partition(": ")[2]: row for row in rows(outcomes).rows}


def titles(*outcomes: Outcome) -> list[str]:
    about = {
        "machine": dict.fromkeys(["cores", "processor", "memory", "system", "python"], "1"),
        "command": "bench",
        "rows": rows(outcomes).rows,
    }
    page = tables.fill(f"{tables.BEGIN}{tables.END}", about)
    return [line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")]


def test_of_several_seeds_the_worst_is_shown_and_judged() -> None:
    row = by_figure(quiet(1, false_deaths=0), quiet(2, false_deaths=3), quiet(3, false_deaths=1))[FALSE]

    assert (row["reached"], row["target"], row["verdict"]) == (3, 0, "missed")
    assert row["detail"] == "worst of 3 seeds"


@pytest.mark.parametrize(
    ("members", "slowest", "verdict"),
    [(3000, 4.5, "ok"), (3000, 4.6, "missed"), (3001, 4.6, "ok"), (10000, 5.0, "ok"), (10000, 5.1, "missed")],
)
def test_up_to_3000_members_have_the_targets_of_3000_and_more_those_of_10000(
    members: int, slowest: float, verdict: str
) -> None:
    assert by_figure(crash(members, 3.0, slowest))["one crash, max"]["verdict"] == verdict


def test_what_has_no_target_is_shown_without_a_verdict() -> None:
    row = by_figure(quiet(deepest_inbox=9))["deepest inbox"]

    assert (row["reached"], row["target"], row["verdict"]) == (9, None, "")


def test_what_only_some_outcomes_counted_is_judged_by_those_and_says_how_many() -> None:
    some = [quiet(1, false_deaths=0), replace(quiet(2), counts={"virtual seconds": 600.0, CPU: 200.0, FALSE: 0})]

    found = by_figure(*some)
    assert (found[CPU]["verdict"], found[CPU]["detail"]) == ("missed", "seed 2")
    assert found[FALSE]["detail"] == "worst of 2 seeds"
    assert titles(*some) == ["Quiet for 600 s, 3,000 members, loss 5% (worst of 2 seeds)"], "one table all the same"


def test_an_event_that_only_some_outcomes_know_is_shown() -> None:
    other = replace(crash(3000, 3.0, seed=2), known={"one update": Known.of([0.2])})

    assert {"one crash, max", "one update, max"} <= by_figure(crash(3000, 3.0), other).keys()


def test_how_long_a_quiet_mesh_was_watched_is_in_its_title_and_is_never_mixed() -> None:
    assert titles(
        quiet(1, 10000, 60.0, false_deaths=0), quiet(2, 10000, false_deaths=0), quiet(3, 10000, false_deaths=0)
    ) == [
        "Quiet for 60 s, 10,000 members, loss 5% (seed 1)",
        "Quiet for 600 s, 10,000 members, loss 5% (worst of 2 seeds)",
    ]


def test_by_the_refresh_alone_all_have_to_know_by_its_own_limit() -> None:
    known = {"one crash": Known.of([17.0, 17.6])}
    small = Outcome("refresh alone every 5 s", 3000, 1, 0.0, known)
    large = Outcome("refresh alone every 10 s", 10000, 1, 0.0, known)

    assert [row["verdict"] for row in rows([small, large]).rows] == ["", "", "ok", "", "", "missed"]


COUNTS = st.dictionaries(st.sampled_from([FALSE, CPU, "deepest inbox"]), st.integers(0, 300), min_size=1)


@given(st.lists(COUNTS, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_every_figure_that_any_seed_counted_has_one_row_with_the_worst_in_whatever_order_they_come(
    counts: Sequence[dict[str, float]], chance: Random
) -> None:
    outcomes = [Outcome("slow", 100, seed, 0.0, {}, found) for seed, found in enumerate(counts)]
    in_order = rows(outcomes).rows
    chance.shuffle(outcomes)

    assert rows(outcomes).rows == in_order
    assert sorted((row["figure"], row["reached"]) for row in in_order) == sorted(
        (f"slow, 100 members, loss 0%: {name}", max(found[name] for found in counts if name in found))
        for name in set().union(*counts)
    )
