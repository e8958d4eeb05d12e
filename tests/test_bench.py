"""The command that measures keeps whatever it found, says what is wrong with what it is asked for, and leaves nothing
behind then."""

from __future__ import annotations

import json
import os
import signal
from configparser import ConfigParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scenarios import bench, kept, large_pages, publishing, suites, tables
from scenarios.daemons import TooLate
from scenarios.figures import Result as Figures
from scenarios.outcomes import Known, Outcome
from scenarios.suites import Job

SETUP = Path(__file__).parent.parent / "setup.cfg"
FIRST, SECOND = Job("third", 10, 1, 0.0), Job("third", 10, 2, 0.0)
SOON = Known.of([0.1, 0.2])
COUNTED = (
    "bytes a second a node",
    "messages a second a node",
    "connections of a node, mean",
    "connections of a node, max",
)
FAILING = Job("third", 10, 3, 0.0, (("no such option", 1.0),))


class Killed(Job):
    """A trial for which there is too little memory."""

    def run(self) -> Outcome:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.fixture(autouse=True)
def _large_pages_for_these_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in large_pages.SETTINGS.items():
        monkeypatch.setenv(name, value)


def measure(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(bench.main, ["--quick", "--folder", str(folder), *arguments])


def suite(monkeypatch: pytest.MonkeyPatch, *jobs: Job) -> None:
    """These are all that is measured."""
    monkeypatch.setattr(bench, "REAL", ())
    monkeypatch.setattr(bench, "quick", lambda: {"third": list(jobs)})


# What fails.


def test_trials_that_fail_or_are_killed_are_rows_and_cost_none_of_the_others(tmp_path: Path) -> None:
    killed = Killed("third", 10, 4, 0.0)

    failed = bench.run([FAILING, killed, FIRST, SECOND], tmp_path, resume=False, at_once=1)

    assert [path.stem for path in sorted(tmp_path.iterdir())] == [FIRST.name, SECOND.name]
    why = {row["figure"]: (row["verdict"], row["detail"]) for row in failed.rows}
    assert why[f"failed: {killed.name}"] == ("skipped", "its process was killed, perhaps for want of memory")
    assert why[f"failed: {FAILING.name}"][0] == "skipped"
    assert why[f"failed: {FAILING.name}"][1].startswith("TypeError: ")


def test_what_an_earlier_run_found_does_not_stand_for_a_trial_that_fails(tmp_path: Path) -> None:
    kept.write(tmp_path / f"{FAILING.name}.json", Outcome("third", 10, 3, 0.0))

    assert len(bench.run([FAILING], tmp_path, resume=False).rows) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_the_rows_there_are_and_a_status_when_something_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(monkeypatch, FIRST, FAILING)

    result = measure(tmp_path)

    assert result.exit_code == 1
    assert "third, 10 members, loss 0%: 30 % crash at once, max" in result.stdout
    assert FAILING.name in (tmp_path / "quick" / "performance.json").read_text()
    assert f"failed: {FAILING.name}" in result.stdout
    assert "(TypeError: " in result.stdout


def test_real_processes_that_fail_are_a_row_and_are_measured_again_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(part: str, quickly: bool) -> Figures:
        raise TooLate("n7 does not join")

    monkeypatch.setattr(bench, "real", too_late)
    result = measure(tmp_path, "--part", "serf")
    assert result.exit_code == 1
    assert "failed: serf" in result.stdout
    assert "(n7 does not join)" in result.stdout

    monkeypatch.setattr(bench, "real", lambda part, quickly: Figures())
    monkeypatch.setattr(bench, "pace", lambda: 1.0)
    assert measure(tmp_path, "--part", "serf", "--resume").exit_code == 0


# What an earlier run left.


def test_what_is_whole_is_kept_and_what_is_half_written_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(monkeypatch, FIRST, SECOND)
    assert measure(tmp_path).exit_code == 0
    first, second = (tmp_path / "quick" / f"{job.name}.json" for job in (FIRST, SECOND))
    found, before = kept.outcome(second), first.stat().st_mtime_ns
    second.write_text(second.read_text()[:100])

    result = measure(tmp_path, "--resume")

    assert result.exit_code == 0
    assert f"{second} is no whole outcome: " in result.stderr
    assert "so it is measured again" in result.stderr
    assert first.stat().st_mtime_ns == before
    again = kept.outcome(second)
    assert (again.trial, again.known) == (found.trial, found.known), "its seed decides"


@pytest.mark.parametrize("content", ["", '{"trial": "thi', "{}", "[]", '{"known": {"a death": {"p50": 1}}}'])
def test_a_report_of_something_half_written_says_which_file_it_is_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    suite(monkeypatch, FIRST)
    path = tmp_path / "quick" / f"{FIRST.name}.json"
    path.parent.mkdir()
    path.write_text(content)

    result = measure(tmp_path, "--report")

    assert result.exit_code == 1
    assert f"Error: {path} is no whole outcome: " in result.stderr
    assert "(measure it again with --resume, or remove it)" in result.stderr


def test_a_report_of_real_processes_half_written_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "crowd.json").write_text('{"rows": []}')

    assert "crowd.json is no whole outcome" in measure(tmp_path, "--report").stderr


def test_a_report_of_a_folder_that_holds_nothing_is_an_error_and_makes_no_folder(tmp_path: Path) -> None:
    mistaken = tmp_path / "outcome"

    result = CliRunner().invoke(bench.main, ["--report", "--publish", "--part", "faults", "--folder", str(mistaken)])

    assert result.exit_code == 1
    assert f"{mistaken}/full holds nothing of it" in result.output
    assert not mistaken.exists()


# What is left in the end.


def test_rows_and_pictures_lie_in_the_folder_and_only_what_is_published_in_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, folder = tmp_path / "docs", tmp_path / "bench"
    docs.mkdir()
    (docs / "performance.md").write_text(f"# Ours\n\n{tables.BEGIN}\nold\n{tables.END}\n")
    monkeypatch.setattr(publishing, "DOCS", docs)
    sizes = [Job("size", members, 1, 0.0) for members in (10, 100)]
    suite(monkeypatch, FIRST, *sizes)
    written = folder / "quick"
    written.mkdir(parents=True)
    kept.write(written / f"{FIRST.name}.json", Outcome("third", 10, 1, 0.0, {"30 % crash at once": SOON}))
    for job in sizes:
        counts = dict.fromkeys(COUNTED, float(job.members))
        kept.write(written / f"{job.name}.json", Outcome("size", job.members, 1, 0.0, {"one update": SOON}, counts))

    result = measure(folder, "--resume")

    assert f"rows: {written}/performance.json; pictures: {written}/pictures" in result.stderr
    names = {path.name for path in (written / "pictures").iterdir()}
    assert names == {"detection.svg", "dissemination.svg", "traffic.svg", "degree.svg"}
    about = json.loads((written / "performance.json").read_text())
    assert about.keys() == {"machine", "command", "rows"}
    assert all(row["figure"].partition(":")[0] in result.stdout for row in about["rows"])
    assert [path.name for path in docs.iterdir()] == ["performance.md"]

    measure(folder, "--report", "--publish")

    assert json.loads((docs / "performance.json").read_text())["rows"] == about["rows"]
    assert {path.name for path in (docs / "pictures" / "performance").iterdir()} == names
    page = (docs / "performance.md").read_text()
    assert "### Third, 10 members, loss 0% (seed 1)" in page
    assert "old" not in page


def test_the_reason_why_something_was_skipped_is_in_the_table_of_the_page() -> None:
    result = Figures()
    result.skip("failed: third-10-1-0", "there | was no room")
    about = {"machine": dict.fromkeys(["cores", "processor", "memory", "system", "python"], ""), "command": ""}

    page = tables.fill(f"{tables.BEGIN}{tables.END}", {**about, "rows": result.rows})

    assert "### Failed" in page
    assert "| third-10-1-0 | there \\| was no room |  | skipped |" in page


# What it is asked for.


def test_an_unknown_part_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(bench.main, ["--part", "thrid", "--folder", str(tmp_path)])

    assert result.exit_code == 2
    assert "'thrid' is not one of 'crowd', " in result.output


def test_a_part_that_has_no_quick_form_is_told(tmp_path: Path) -> None:
    result = measure(tmp_path, "--part", "large")

    assert result.exit_code == 2
    assert "with --quick there is no 'large'" in result.output


@pytest.mark.parametrize("below", ["", "below", "below/that"])
def test_a_folder_that_cannot_be_is_told(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.touch()

    result = measure(file / below, "--part", "repair")

    assert result.exit_code == 2
    assert "--folder" in result.output
    assert str(file) in result.output


def test_every_trial_has_a_file_of_its_own() -> None:
    for jobs in (suites.quick(), suites.full(10)):
        names = [job.name for some in jobs.values() for job in some]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("package", ["matplotlib", "networkx"])
def test_what_the_measurement_needs_beside_the_rest_comes_with_it(package: str) -> None:
    setup = ConfigParser()
    setup.read(SETUP)
    assert package in setup["options.extras_require"]["bench"]
