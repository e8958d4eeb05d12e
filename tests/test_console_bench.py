"""What measures the command line asks each of its commands of an actor that knows a mesh, and each answers."""

from __future__ import annotations

from scenarios.console_bench import COMMANDS, ask, measure, served


def test_every_command_is_measured() -> None:
    result = measure(60, 1)
    assert len(result.rows) == len(COMMANDS)
    assert all(row["reached"] for row in result.rows)


def test_what_is_measured_knows_every_member() -> None:
    with served(60) as path:
        _, used, said = ask(path, ["query-mesh", "bench", "length(@)"])
    assert int(said) == 60
    assert used > 0
