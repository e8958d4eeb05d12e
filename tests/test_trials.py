"""The trials of the measurement at small sizes: what they call right is right, and what is not is called so."""

from __future__ import annotations

import pytest

from scenarios import targets
from scenarios.network import Network
from scenarios.outcomes import Outcome
from scenarios.trials import partition


def missed(outcome: Outcome) -> list[str]:
    return [row["figure"].rpartition(": ")[2] for row in targets.rows([outcome]).missed]


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_both_sides_of_a_partition_think_the_other_dead_and_follow_their_lowest(share: float) -> None:
    assert missed(partition(40, 1, 0.05, share, seconds=40.0)) == []


def test_a_partition_that_nobody_notices_is_called_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "partition", lambda *_: None)
    said = " ".join(missed(partition(40, 1, 0.0, 0.4, seconds=30.0)))
    assert "side knows, max" in said
    assert "who follows another" in said
    assert "who thinks others dead" in said
