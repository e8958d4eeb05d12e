"""One daemon a state folder: the second is told who holds it, and death lets go."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from smeg.edges.lock import StateLock
from smeg.errors import LocalError

ROOT = Path(__file__).parent.parent

HOLD = """
import sys
from pathlib import Path
from smeg.edges.lock import StateLock
lock = StateLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""

CONTEND = """
import os, sys
from pathlib import Path
from smeg.edges.lock import StateLock
from smeg.errors import LocalError
folder = Path(sys.argv[1])
held = refused = 0
print("ready", flush=True)
sys.stdin.readline()
while held < 150:
    try:
        lock = StateLock(folder)
    except LocalError as error:
        assert error.problem.code == "already-running", error
        refused += 1
        continue
    os.close(os.open(folder / "marker", os.O_CREAT | os.O_EXCL))
    os.unlink(folder / "marker")
    lock.close()
    held += 1
print(held, refused)
"""


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def refusal(folder: Path) -> LocalError:
    with pytest.raises(LocalError) as caught:
        StateLock(folder)
    return caught.value


def test_the_second_holder_is_told_the_pid_of_the_first_and_harms_nothing(tmp_path: Path) -> None:
    with start(HOLD, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):
            problem = refusal(tmp_path).problem
            assert problem.code == "already-running"
            assert str(holder.pid) in problem.message
            assert str(holder.pid) in problem.hint
        assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
        holder.kill()


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    assert str(os.getpid()) in refusal(tmp_path).problem.message
    lock.close()


def test_death_releases_the_lock_and_the_file_left_behind_locks_nobody_out(tmp_path: Path) -> None:
    with start(HOLD, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    assert (tmp_path / "lock").exists()
    lock = StateLock(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.close()


def test_a_program_started_by_the_holder_does_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    command = [sys.executable, "-c", "import sys; sys.stdin.readline()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False) as child:
        lock.close()
        StateLock(tmp_path).close()
        assert child.poll() is None
        child.kill()


def test_close_removes_the_file_and_may_be_done_twice(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) & 0o077 == 0
    lock.close()
    assert os.listdir(tmp_path) == []
    other = StateLock(tmp_path)
    lock.close()
    assert refusal(tmp_path).problem.code == "already-running"
    other.close()


def test_close_leaves_the_lock_file_of_somebody_else_alone(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    (tmp_path / "lock").unlink()
    other = StateLock(tmp_path)
    lock.close()
    assert refusal(tmp_path).problem.code == "already-running"
    other.close()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    assert refusal(tmp_path).problem.code == "store-failed"
    assert (tmp_path / "victim").read_text() == "precious"


def test_never_do_two_hold_it_however_they_race_to_take_and_remove_it(tmp_path: Path) -> None:
    contenders = [start(CONTEND, tmp_path) for _ in range(3)]
    try:
        for contender in contenders:
            assert contender.stdout is not None
            assert contender.stdout.readline() == "ready\n"
        for contender in contenders:
            assert contender.stdin is not None
            contender.stdin.write("go\n")
            contender.stdin.flush()
        outputs = [contender.communicate(timeout=30)[0] for contender in contenders]
    finally:
        for contender in contenders:
            contender.kill()
            contender.wait()
    assert [contender.returncode for contender in contenders] == [0, 0, 0]
    assert [int(output.split()[0]) for output in outputs] == [150, 150, 150]
    assert not (tmp_path / "marker").exists()
