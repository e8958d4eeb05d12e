"""The command that measures says what is wrong with what it is asked for, and leaves nothing behind then."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from scenarios.bench import main

SETUP = Path(__file__).parent.parent / "setup.cfg"


def test_a_report_of_a_folder_that_holds_nothing_is_an_error_and_makes_no_folder(tmp_path: Path) -> None:
    mistaken = tmp_path / "outcome"

    result = CliRunner().invoke(main, ["--report", "--publish", "--part", "faults", "--folder", str(mistaken)])

    assert result.exit_code == 1
    assert f"{mistaken}/full holds nothing of it" in result.output
    assert not mistaken.exists()


def test_an_unknown_part_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--part", "thrid", "--folder", str(tmp_path)])

    assert result.exit_code == 2
    assert "'thrid' is none of crowd, " in result.output


@pytest.mark.parametrize("package", ["matplotlib", "networkx"])
def test_what_the_measurement_needs_beside_the_rest_comes_with_it(package: str) -> None:
    setup = ConfigParser()
    setup.read(SETUP)
    assert package in setup["options.extras_require"]["bench"]
