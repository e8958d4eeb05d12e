"""What shells and man read is made from the commands, and is what they take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from smeg.cli.main import main
from smeg.cli.manual import manual_page
from smeg.cli.shells import SHELLS
from tests.canned_daemon import CannedDaemon, canned_daemon

ROOT = Path(__file__).parent.parent


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        daemon.answers["list-meshes"] = {"meshes": [{"name": "paris"}, {"name": "lyon"}, {"name": "ev il;rm"}]}
        daemon.answers["members"] = {"members": [{"name": "one"}, {"name": "other"}, {"name": "two"}]}
        yield daemon


def completed(words: str, at: int, socket: Path) -> list[str]:
    """What bash is offered for the word at that place."""
    environment = {**os.environ, "_SMEG_CLI_COMPLETE": "bash_complete", "COMP_CWORD": str(at),
                   "COMP_WORDS": words.replace("SOCKET", str(socket))}  # fmt: skip
    command = [sys.executable, "-m", "smeg.cli.main"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_and_options_are_completed_without_a_daemon(tmp_path: Path) -> None:
    assert set(completed("smeg-cli le", 1, tmp_path)) == {"leave-mesh"}
    assert "--state" in completed("smeg-cli members --s", 2, tmp_path)
    assert set(completed("smeg-cli config ch", 2, tmp_path)) == {"check"}
    assert completed("smeg-cli --socket SOCKET members p", 4, tmp_path / "none") == []


def test_meshes_and_members_are_completed_by_asking_the_daemon(daemon: CannedDaemon) -> None:
    assert completed("smeg-cli --socket SOCKET members p", 4, daemon.path) == ["paris"]
    assert completed("smeg-cli --socket SOCKET members ", 4, daemon.path) == ["paris", "lyon"]
    assert completed("smeg-cli --socket SOCKET evict paris o", 5, daemon.path) == ["one", "other"]
    assert completed("smeg-cli --socket SOCKET ping t", 4, daemon.path) == ["two"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_the_shell_takes(shell: str, tmp_path: Path) -> None:
    script = CliRunner().invoke(main, ["completion", shell]).stdout
    assert "_SMEG_CLI_COMPLETE" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = tmp_path / "script"
    file.write_text(script)
    done = subprocess.run([shell, "-n", str(file)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_manual_has_every_command_and_every_option() -> None:
    page = manual_page(main, "smeg-cli")
    for name, command in main.commands.items():
        for inner in command.commands if isinstance(command, click.Group) else [""]:
            assert f".SS {f'{name} {inner}'.strip()}".replace("-", "\\-") in page
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0].replace("-", "\\-") in page
    assert CliRunner().invoke(main, ["manual"]).stdout == page


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40))
def test_no_help_is_taken_for_a_command_of_roff(words: str) -> None:
    group = click.Group(commands={"x": click.Command("x", help=words)}, help=words)
    for line in manual_page(group, "p").splitlines():
        if line.startswith("."):
            assert line.split(" ")[0] in (".TH", ".SH", ".SS", ".PP", ".TP", ".B")
        assert not line.startswith("'")


def test_man_finds_nothing_wrong_with_the_page() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    page = manual_page(main, "smeg-cli")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=page, capture_output=True, text=True)
    # No date is given: pages are made when they are read.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
