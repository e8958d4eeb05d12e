"""The page of figures shows what was measured: its tables are those of the file beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios import tables
from scenarios.figures import Result

DOCS = Path(__file__).parent.parent / "docs"


def test_the_tables_of_the_page_are_those_of_the_file_and_it_shows_every_picture() -> None:
    page = (DOCS / "performance.md").read_text()
    about = json.loads((DOCS / "performance.json").read_text())
    assert tables.fill(page, about) == page
    shown = {part.partition(")")[0] for part in page.split("](")[1:] if part.startswith("pictures/")}
    assert shown == {str(path.relative_to(DOCS)) for path in (DOCS / "pictures" / "performance").iterdir()}


def test_a_page_without_a_place_for_the_figures_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        tables.fill("# A page\n", {"machine": {}, "command": "", "rows": []})


def test_a_row_is_missed_when_it_is_beyond_its_target() -> None:
    result = Result()
    result.add("a mesh: known", 3.0, "s", 4.0)
    result.add("a mesh: known by all", 5.0, "s", 4.5)
    result.add("a mesh: shown only", 5.0, "s")
    assert [row["verdict"] for row in result.rows] == ["ok", "missed", ""]
    assert [row["figure"] for row in result.missed] == ["a mesh: known by all"]
