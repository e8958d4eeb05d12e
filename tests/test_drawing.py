"""Scripts that are drawn or written: each reads as what it was, and what is drawn can be played here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scenarios import actions as a
from scenarios.actions import VERBS
from scenarios.drawing import MENDED, draw
from scenarios.script import Begins, Script
from scenarios.script_files import library
from scenarios.script_reading import parse, read
from scenarios.script_values import offset, seconds
from scenarios.script_writing import duration, write
from scenarios.selectors import Leader, Named, Next, Of, Part, Selection, Some
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


def may_be_off(script: Script, place: int) -> dict[str, float]:
    """By group: how many of its hosts at most are off or on their way when an event comes."""
    now = float(script.timeline[place].at or 0.0)
    groups = {group.name: int(group.count) for group in script.hosts}
    off = {group.name: float(group.count if group.begins is Begins.OFF else 0) for group in script.hosts}
    for event in script.timeline[:place]:
        action = event.action
        if not isinstance(action, (a.PowerOff, a.Kill, a.Stop, a.Restart)):
            continue
        again = [one for one in script.timeline if getattr(one.action, "hosts", ()) == Selection((Of(event.name),))]
        starts = [(one.at or 0.0, one.action.every) for one in again if isinstance(one.action, a.Start)]
        if isinstance(action, a.Restart):
            starts = [(float(event.at or 0.0) + action.away, action.every)]
        if starts and min(at + every * script.nodes for at, every in starts) <= now:
            continue
        for one in action.hosts:
            for name, count in groups.items():
                if isinstance(one, Named):
                    off[name] += one.name.rpartition("-")[0] == name
                else:
                    off[name] += {Leader: 1, Next: getattr(one, "count", 0)}.get(type(one), count)
    return off


@QUICK
@given(SEEDS)
@example(10035)
@example(10637)
@example(10646)
@example(10847)
def test_whoever_is_cut_off_by_a_drawn_partition_is_there(seed: int) -> None:
    script = draw(seed)
    for place, event in enumerate(script.timeline):
        if isinstance(event.action, a.Partition):
            (side,) = event.action.sides[0]
            assert isinstance(side, (Part, Some))
            off = may_be_off(script, place)
            assert off[side.group] < next(int(group.count) for group in script.hosts if group.name == side.group)


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
