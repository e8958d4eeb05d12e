"""The command that plays scripts: what is wrong is found before anything is played, and nothing of a run is lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from click.testing import CliRunner, Result

from scenarios import report
from scenarios.abilities import Abilities
from scenarios.real_stage import RealStage
from scenarios.run import main
from scenarios.script_reading import parse
from scenarios.statuses import BEYOND, FAILED, HELD, IMPOSSIBLE, INTERRUPTED
from smeg.errors import LocalError
from smeg.heartbeat import Heartbeat

ROOT = Path(__file__).parent.parent
HOLDS = "hosts: {peers: {count: 4}}\ntimeline: [{kill: leader}]\nexpect: {at-end: [one-leader]}\nlasts: 9 s\n"
FAILS = HOLDS.replace("one-leader", "{bounded: {queue: 0}}")
BEYOND_THIS = HOLDS.replace("count: 4", "count: 4, families: ipv4")
ALL = Abilities("kernel", drops=True, loses=True, netem=True, slows=True, doubles=True, translates=True)


def scenario(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [os.fspath(argument) for argument in arguments])


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


# Several scripts.


@pytest.mark.parametrize(
    ("texts", "status", "tally"),
    [
        ([HOLDS, BEYOND_THIS], BEYOND, "1 held, 0 failed, 1 not played"),
        ([FAILS, BEYOND_THIS], FAILED, "0 held, 1 failed, 1 not played"),
        ([BEYOND_THIS, FAILS], FAILED, "0 held, 1 failed, 1 not played"),
        ([HOLDS, FAILS], FAILED, "1 held, 1 failed"),
        ([HOLDS, HOLDS], HELD, "2 held, 0 failed"),
    ],
)
def test_that_a_check_failed_says_more_than_what_this_world_cannot_do(
    tmp_path: Path, texts: list[str], status: int, tally: str
) -> None:
    files = [file(tmp_path, f"made{number}.yaml", text) for number, text in enumerate(texts)]
    done = scenario("run", "--quiet", *files)
    assert done.exit_code == status
    assert done.stdout.count("4 hosts") == sum(text is not BEYOND_THIS for text in texts), "the others are played"
    assert done.stdout.endswith(f"\n{tally}\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("hosts: {peers: {cuont: 4}}\n", "cuont"),
        ("hosts: {peers: {count: 4}, others: {count: 9}, more: {count: rest}}\nnodes: 8\n", "need more than 8 in all"),
    ],
)
def test_what_is_wrong_with_any_script_is_said_before_one_is_played(tmp_path: Path, text: str, what: str) -> None:
    right, wrong = file(tmp_path, "right.yaml", FAILS), file(tmp_path, "wrong.yaml", text)
    done = scenario("run", right, wrong, tmp_path / "missing.yaml")
    assert done.exit_code == IMPOSSIBLE
    assert what in done.stderr
    assert "missing.yaml" in done.stderr
    assert done.stdout == ""


def test_two_scripts_that_would_leave_one_record_are_refused_before_they_are_played(tmp_path: Path) -> None:
    files = [file(tmp_path / folder, "made.yaml", HOLDS) for folder in ("one", "other")]
    done = scenario("run", *files, "--report", tmp_path / "out")
    assert done.exit_code == IMPOSSIBLE
    assert f"{files[0]} and {files[1]} would both leave {tmp_path}/out/made-simulated-4-1.json" in done.stderr
    assert done.stdout == ""
    assert scenario("run", "--quiet", *files).exit_code == HELD, "without records they are in nobody's way"


# What cannot be read or written.


def test_a_name_that_no_file_can_have_and_a_folder_that_is_none_are_mistakes(tmp_path: Path) -> None:
    path = file(tmp_path, "made.yaml", HOLDS)
    for name in ("x" * 300, path / "inside.yaml"):
        refused = scenario("run", name)
        assert refused.exit_code == IMPOSSIBLE
        assert "cannot read" in refused.stderr
    refused = scenario("run", path, "--report", path / "out")
    assert refused.exit_code == IMPOSSIBLE
    assert "cannot write" in refused.stderr
    assert refused.stdout == "", "it was not played"


def test_a_name_too_long_for_a_record_is_found_before_the_run(tmp_path: Path) -> None:
    refused = scenario("run", file(tmp_path, f"{'x' * 245}.yaml", HOLDS), "--report", tmp_path / "out")
    assert refused.exit_code == IMPOSSIBLE
    assert not (tmp_path / "out").exists(), "the folder for it is not left behind"
    assert "File name too long" in refused.stderr
    assert refused.stdout == ""


def test_a_disk_that_becomes_full_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = file(tmp_path, "made.yaml", HOLDS), tmp_path / "out"
    assert scenario("run", path, "--quiet", "--report", out).exit_code == HELD
    before = {one: one.read_bytes() for one in out.iterdir()}
    whole = Path.write_bytes

    def half(self: Path, content: bytes) -> int:
        whole(self, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    refused = scenario("run", path, "--quiet", "--patience", "2", "--report", out)
    assert refused.exit_code == IMPOSSIBLE
    assert "No space left" in refused.stderr
    assert {one: one.read_bytes() for one in out.iterdir()} == before
    with pytest.raises(LocalError, match=r"cannot write .*html"):
        report.write(out / "made-simulated-4-1.json")
    assert {one: one.read_bytes() for one in out.iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_a_mistake(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert scenario("run", closed / "made.yaml").exit_code == IMPOSSIBLE


@pytest.mark.parametrize(
    "arguments", [("run", "leader-dies", "--patience"), ("soak", "--minutes"), ("soak", "--hours")]
)
def test_what_is_no_number_is_none(arguments: tuple[str, ...]) -> None:
    refused = scenario(*arguments, "nan")
    assert refused.exit_code == IMPOSSIBLE
    assert "nan is no number" in refused.stderr


def test_a_seed_is_no_larger_than_a_record_can_hold(tmp_path: Path) -> None:
    path = file(tmp_path, "made.yaml", HOLDS)
    assert scenario("run", path, "--seed", str(2**63)).exit_code == IMPOSSIBLE
    assert "the last of 2" in scenario("run", path, "--seed", str(2**63 - 1), "--seeds", "2").stderr
    kept = scenario("run", path, "--seed", str(2**63 - 2), "--report", tmp_path, "--seeds", "2", "--quiet")
    assert kept.exit_code == HELD, kept.output
    for record in tmp_path.glob("*.json"):
        assert scenario("replay", record, "--quiet").exit_code == HELD


def test_a_file_whose_name_is_no_utf_8_leaves_a_record(tmp_path: Path) -> None:
    path = file(tmp_path, os.fsdecode(b"caf\xe9.yaml"), FAILS)
    done = subprocess.run(
        [sys.executable, "-m", "scenarios.run", "run", path, "--quiet", "--report", tmp_path], cwd=ROOT, check=False
    )
    assert done.returncode == FAILED
    (record,) = tmp_path.glob("*.json")
    assert orjson.loads(record.read_bytes())["source"] == "caf\ufffd.yaml"
    assert record.with_suffix(".html").exists()


# Records.


def test_patience_is_part_of_what_is_recorded(tmp_path: Path) -> None:
    text = HOLDS.replace("expect:", "expect: {eventually: [{known-by-all: , within: %s}]}\n#")
    path = file(tmp_path, "made.yaml", text % "500 ms")
    patient = ("--quiet", "--patience", "20", "--report", tmp_path / "out")
    assert scenario("run", path, *patient).exit_code == HELD
    (record,) = (tmp_path / "out").glob("*.json")
    same = scenario("replay", record, "--quiet")
    assert same.exit_code == HELD, same.output
    assert "it is the same run, byte for byte\n" in same.stdout
    path.write_text(text % "1 ms")
    failed = scenario("run", path, *patient)
    assert failed.exit_code == FAILED
    assert f"again: smeg-scenario run {path} --nodes 4 --seed 1 --patience 20\n" in failed.stderr


def test_a_replay_leaves_the_record_that_it_is_compared_with_alone(tmp_path: Path) -> None:
    path = file(tmp_path, "made.yaml", HOLDS)
    assert scenario("run", path, "--report", tmp_path, "--quiet").exit_code == HELD
    (record,) = tmp_path.glob("*.json")
    altered = record.read_bytes().replace(b'"seconds":', b'"was":1,"seconds":')
    record.write_bytes(altered)
    assert scenario("replay", record, "--report", tmp_path, "--quiet").exit_code == HELD
    assert record.read_bytes() == altered
    assert (tmp_path / f"{record.stem}-again.html").exists()
    again = scenario("run", path, "--report", tmp_path, "--quiet")
    assert "(in place of another run's)" in again.stderr
    assert "in place of" not in scenario("run", path, "--report", tmp_path, "--quiet").stderr


def test_a_run_that_is_judged_otherwise_is_not_called_the_same(tmp_path: Path) -> None:
    path = file(tmp_path, "made.yaml", HOLDS)
    assert scenario("run", path, "--report", tmp_path, "--quiet").exit_code == HELD
    (record,) = tmp_path.glob("*.json")
    said = orjson.loads(record.read_bytes())
    said["verdicts"][0]["held"] = False
    record.write_bytes(orjson.dumps(said))
    other = scenario("replay", record, "--quiet")
    assert other.exit_code == FAILED
    assert "FAILS it is the same run, byte for byte, but it is judged otherwise now" in other.stdout


@pytest.mark.parametrize(("key", "value"), [("world", "nowhere"), ("nodes", 1), ("nodes", 10**6), ("patience", 0)])
def test_a_record_of_what_cannot_be_is_refused(tmp_path: Path, key: str, value: object) -> None:
    assert scenario("run", file(tmp_path, "a.yaml", HOLDS), "--report", tmp_path, "--quiet").exit_code == HELD
    (record,) = tmp_path.glob("*.json")
    record.write_bytes(orjson.dumps({**orjson.loads(record.read_bytes()), key: value}))
    refused = scenario("replay", record)
    assert refused.exit_code == IMPOSSIBLE
    assert "is no record of a run" in refused.stderr


def test_a_run_in_which_an_actor_fails_leaves_a_record_that_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Heartbeat, now: float) -> None:
        if now > 14.0:
            raise ZeroDivisionError("put in")

    monkeypatch.setattr(Heartbeat, "_excuse", fail)
    path = file(tmp_path, "made.yaml", HOLDS)
    assert scenario("run", path, "--quiet", "--report", tmp_path).exit_code == FAILED
    (record,) = tmp_path.glob("*.json")
    assert "goes on to its end" in record.with_suffix(".html").read_text()
    assert scenario("replay", record, "--quiet").exit_code == HELD
    monkeypatch.undo()
    mended = scenario("replay", record, "--quiet")
    assert mended.exit_code == FAILED
    assert "another run from second" in mended.stdout


# Ends.


def test_ctrl_c_ends_with_a_status_of_its_own_and_says_what_was_played(tmp_path: Path) -> None:
    scripts = [file(tmp_path, f"made{number}.yaml", text) for number, text in enumerate((HOLDS, FAILS, HOLDS))]
    scripts.append(file(tmp_path, "long.yaml", HOLDS.replace("lasts: 9 s", "lasts: 30 d")))
    argv = [sys.executable, "-m", "scenarios.run", "run", *map(str, scripts)]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for _ in scripts:
            while "all is at rest" not in running.stderr.readline():
                assert running.poll() is None
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == INTERRUPTED
    assert "interrupted while long (seed 1) was played; of the runs before it 2 held, 1 failed" in rest


def test_a_world_is_closed_though_its_logs_cannot_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken = file(tmp_path, "taken", "")
    stage = RealStage(parse("hosts: {peers: {count: rest}}\n", "made.yaml"), 2, 1.0, ALL, taken / "logs")
    ended: list[str] = []
    monkeypatch.setattr(stage, "_world", SimpleNamespace(close=lambda: ended.append("the world")))
    monkeypatch.setitem(stage.hosts, "peers-1", SimpleNamespace(pinger=None, log=lambda: "what it said"))
    stage.close()
    assert ended == ["the world"]
    assert "cannot leave the logs" in caplog.text
