"""The page for users of the predecessor names every key and option there was, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from smeg.cli.old_names import ARGUMENTS, COMMANDS, GONE
from smeg.cli.queries import OLD_FIELDS
from smeg.config_keys import NO_LONGER_USED
from smeg.predecessor import RENAMED

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "predecessor.md").read_text()
COMMAND_TABLE, API_TABLE, NAME_TABLE, KEY_TABLE = (part.split("\n\n## ")[0] for part in PAGE.split("| There |")[1:])


def test_every_key_of_its_configuration_is_there() -> None:
    named = {name for row in KEY_TABLE.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    same = {"ipDiscovery", "preUp", "postUp", "preDown", "postDown"}
    assert named == {*NO_LONGER_USED, *RENAMED, *same}


def test_every_command_that_it_had_is_there_with_its_options() -> None:
    there = "\n".join(row.split("|")[1] for row in COMMAND_TABLE.splitlines()[2:])
    for command in {*ARGUMENTS, *GONE, *COMMANDS} - {"members", "put-service"}:
        assert f"`{command}" in there
    for arguments in (*ARGUMENTS.values(), *GONE.values()):
        for option in arguments:
            assert option.startswith("--") or option in there, option
    assert all(field in there for field in OLD_FIELDS)


def test_the_tests_that_it_names_exist() -> None:
    written = "\n".join(file.read_text() for file in (ROOT / "tests").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert all(f"def {name}(" in written for name in named)


def test_each_row_but_those_of_keys_names_its_test() -> None:
    for table in (COMMAND_TABLE, API_TABLE, NAME_TABLE):
        for row in table.splitlines()[2:]:
            if row.startswith("|"):
                assert "`test_" in row.rpartition("|")[0].rpartition("|")[2], row


def test_every_path_of_its_api_is_there() -> None:
    there = {row.split("|")[1].strip() for row in API_TABLE.splitlines()[2:]}
    paths = ("GET /api/v1/meshes", "GET /api/v1/mesh/{id}", "POST /api/v1/mesh/create", "POST /api/v1/mesh/join")
    assert {f"`{path}`" for path in paths} <= there
