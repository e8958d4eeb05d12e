"""Scripts that are drawn or written: each reads as what it was, and what is drawn can be played here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.actions import VERBS
from scenarios.drawing import MENDED, draw
from scenarios.script import Script
from scenarios.script_files import library
from scenarios.script_reading import parse, read
from scenarios.script_values import offset, seconds
from scenarios.script_writing import duration, write
from scenarios.simulated_limits import limits
from tests.builders import QUICK

ROOT = Path(__file__).parent.parent
SEEDS = st.integers(0, 10**9)


def bare(script: Script) -> Script:
    """Without where in a text it stands, and how it is put there."""
    timeline = tuple(replace(event, line=0) for event in script.timeline)
    expect = tuple(replace(one, line=0, text="") for one in script.expect)
    return replace(script, timeline=timeline, expect=expect)


@pytest.mark.parametrize("path", library(), ids=lambda path: path.stem)
def test_what_is_written_of_a_script_reads_as_the_same(path: Path) -> None:
    script, _ = read(path)
    text = write(script, ["as it was", "before"])
    assert text.startswith("# as it was\n# before\n")
    assert bare(parse(text, path.name)) == bare(script)


@QUICK
@given(SEEDS)
def test_every_drawn_script_is_right_and_this_world_can_play_it(seed: int) -> None:
    script = draw(seed)
    assert bare(parse(write(script), script.name)) == bare(script)
    assert script.name == f"drawn-{seed}"
    assert sum(script.counts(script.nodes).values()) == script.nodes <= 40
    assert not any(limit.fatal for limit in limits(script))


@QUICK
@given(SEEDS)
def test_in_the_end_everything_is_mended_and_something_is_expected_of_it(seed: int) -> None:
    script = draw(seed)
    last = script.timeline[-1]
    assert last.name == MENDED
    end = float(last.at or 0.0)
    for event in script.timeline:
        assert float(event.at or 0.0) + float(getattr(event.action, "lasts", 0.0)) <= end
    assert any(one.after == MENDED for one in script.expect)
    names = [event.name for event in script.timeline]
    assert len(set(names)) == len(names)


def test_all_verbs_that_this_world_knows_are_drawn() -> None:
    drawn = {type(event.action) for seed in range(250) for event in draw(seed).timeline}
    # Who is down in the end is started, and a copy must not be.
    assert {word for word, kind in VERBS.items() if kind not in drawn} <= {"resume", "invite", "traffic", "copy-state"}


def test_a_seed_gives_one_script_in_every_process() -> None:
    code = (
        "from scenarios.drawing import draw; from scenarios.script_writing import write; print(write(draw(11)), end='')"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "4242")
    }
    assert told == {write(draw(11)).encode()}


@given(st.integers(0, 30 * 24 * 3600 * 1000))
def test_durations_are_read_as_they_were_written(milliseconds: int) -> None:
    assert seconds(duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
    assert offset(duration(-milliseconds / 1000)) == pytest.approx(-milliseconds / 1000)
