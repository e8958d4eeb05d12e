"""The schema of scripts: an editor that goes by it says of a script what the reader says."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scenarios.drawing import draw
from scenarios.script_files import library
from scenarios.script_reading import parse
from scenarios.script_schema import schema
from scenarios.script_schema import text as schema_text
from scenarios.script_writing import write
from smeg.errors import LocalError
from tests.builders import QUICK

DOCS = Path(__file__).parent.parent / "docs"


def test_the_schema_is_what_the_reader_goes_by() -> None:
    written = (DOCS / "scenario.schema.json").read_text()
    assert written == schema_text(), "make it anew: python -m scenarios.script_schema"


def the_reader_takes(text: str) -> bool:
    try:
        parse(text, "made.yaml")
    except LocalError:
        return False
    return True


def an_editor_takes(text: str) -> bool:
    return jsonschema_rs.is_valid(schema(), yaml.safe_load(text))


@pytest.mark.parametrize("path", library(), ids=lambda path: path.stem)
def test_an_editor_takes_what_is_in_the_library(path: Path) -> None:
    assert an_editor_takes(path.read_text())


@QUICK
@given(st.integers(0, 10**6))
def test_an_editor_takes_what_is_drawn(seed: int) -> None:
    assert an_editor_takes(write(draw(seed)))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("timeline: [{at: 5, kill: leader}]", False),
        ("timeline: [{at: 5 s, kill: leader}]", True),
        ("timeline: [{at: 0, kill: leader}]", True),
        ("timeline: [{at: 5 s, wait: 1 s, kill: leader}]", False),
        ("timeline: [{at: 5 s, after: converged, kill: leader}]", False),
        ("timeline: [{after: converged, wait: 1 s, kill: leader}]", True),
        ("timeline: [{clock: {hosts: peers, jump: 0, drift: 1.5}}]", True),
        ("timeline: [{clock: {hosts: peers, drift: 0.01}}]", False),
        ("timeline: [{invite: 2.5}]", False),
        ("timeline: [{kill: leader}]\nexpect: {eventually: [{converged: , within: 5}]}", False),
        ("expect: {always: [no-loop, no-loop: , one-leader]}", True),
        ("expect: {always: [no-loop: 5]}", False),
        ("lasts: 10", False),
        ("about: 5", True),
        ('nodes: "12"', True),
        ("nodes: twelve", False),
        ("meshes: {}", False),
        ("lasts: 1234567890 s", False),
        ("lasts: 0.1234567 s", False),
        ("timeline: [{clock: {hosts: peers, jump: '-  5 s'}}]", True),
        *((f"timeline: [{{loss: {share}}}]", True) for share in ("100 %", "5  %", "5%", "05 %", "0.123456789 %")),
        *((f"timeline: [{{loss: {share}}}]", False) for share in ("101 %", "100.1 %", "0.1234567890 %", "5")),
        *((f"hosts: {{peers: {{count: {count}}}}}", True) for count in ("3", '"3"', "30 %", "rest")),
        *((f"hosts: {{peers: {{count: {count}}}}}", False) for count in ("2.5", "-3", "0", '"0"', "101 %", ".5 %")),
    ],
)  # fmt: skip
def test_an_editor_takes_what_the_reader_takes_and_refuses_what_it_refuses(text: str, right: bool) -> None:
    if not text.startswith("hosts"):
        text = f"hosts: {{peers: {{count: rest}}}}\n{text}"
    assert (the_reader_takes(text)) == right
    assert an_editor_takes(text) == right
