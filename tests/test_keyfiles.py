"""Files that must be whole and private: what is written survives, what is exposed or damaged is refused."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.edges.keyfiles import clear_temporaries, private_folder, read_secret, write_file, write_secret
from smeg.errors import LocalError
from smeg.keys import Secret, wireguard_text

ROOT = Path(__file__).parent.parent
KEY = bytes(range(100, 132))
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where tests that write very often do so: an fsync costs nothing there."""

NO_FSYNC = """
import ctypes, errno, platform

def break_fsync():
    "From here on the kernel answers EIO to every fsync and fdatasync of this process (seccomp, for good)."
    numbers = {"x86_64": (74, 75), "aarch64": (82, 83)}[platform.machine()]

    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]

    code = [(0x20, 0, 0, 0), (0x15, 1, 0, numbers[0]), (0x15, 0, 1, numbers[1]),
            (0x06, 0, 0, 0x00050000 | errno.EIO), (0x06, 0, 0, 0x7FFF0000)]
    filters = (Instruction * len(code))(*(Instruction(*line) for line in code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    program = Program(len(code), filters)
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.addressof(program), 0, 0):
        print("no seccomp")
        raise SystemExit(0)
"""


def run(script: str, *arguments: str) -> str:
    """The output of a Python script that ends well."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refusal(path: Path) -> LocalError:
    """The error with which a key file is refused; no form of it shows the file's content."""
    with pytest.raises(LocalError) as caught:
        read_secret(path)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.problem) + str(error)
    if path.is_file():
        content = path.read_bytes().strip()
        assert len(content) < 8 or content not in shown.encode()
    assert str(path) in error.problem.message
    return error


def give_away(path: Path) -> None:
    """Make another user the owner."""
    try:
        os.chown(path, 12345, 12345)
    except PermissionError:
        pytest.skip("only root can give a file away")


def test_a_written_key_reads_back_and_looks_as_wg_genkey_prints_it(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", Secret(KEY))
    assert (tmp_path / "key").read_text() == wireguard_text(KEY) + "\n"
    assert read_secret(tmp_path / "key") == Secret(KEY)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_mode_is_exact_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "private", b"x", 0o600)
        write_file(tmp_path / "public", b"x", 0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o644


@pytest.mark.parametrize("bit", [0o040, 0o020, 0o010, 0o004, 0o002, 0o001, 0o044])
def test_a_key_file_with_any_bit_for_others_is_refused_with_the_command_that_mends_it(tmp_path: Path, bit: int) -> None:
    path = tmp_path / "a key"
    write_secret(path, Secret(KEY))
    path.chmod(0o600 | bit)
    error = refusal(path)
    assert error.problem.code == "key-file-exposed"
    assert error.problem.hint == f"chmod 600 '{path}'"
    subprocess.run(error.problem.hint, shell=True, check=True)
    assert read_secret(path) == Secret(KEY)


def test_a_key_file_that_only_its_owner_reads_is_accepted(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", Secret(KEY))
    (tmp_path / "key").chmod(0o400)
    assert read_secret(tmp_path / "key") == Secret(KEY)


def test_a_key_file_of_another_user_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", Secret(KEY))
    give_away(tmp_path / "key")
    error = refusal(tmp_path / "key")
    assert error.problem.code == "key-file-exposed"
    assert "chown" in error.problem.hint


def test_a_link_a_folder_and_a_fifo_are_no_key_files(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", Secret(KEY))
    (tmp_path / "link").symlink_to(tmp_path / "key")
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("link", "folder", "fifo"):
        assert refusal(tmp_path / name).problem.code == "key-file-exposed"


def test_a_missing_key_file_is_called_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "key").problem.code == "key-file-missing"


LINE = (wireguard_text(KEY) + "\n").encode()
SPOILT = st.one_of(
    st.binary(max_size=100),
    st.integers(0, len(LINE) - 1).map(lambda cut: LINE[:cut]),
    st.binary(min_size=1, max_size=3).map(lambda more: LINE + more),
    st.binary(min_size=1, max_size=3).map(lambda more: more + LINE),
    st.tuples(st.integers(0, len(LINE) - 1), st.integers(128, 255)).map(
        lambda change: LINE[: change[0]] + bytes([change[1]]) + LINE[change[0] + 1 :]
    ),
)


@given(SPOILT)
def test_anything_but_one_whole_line_of_a_key_is_damaged_and_never_shown(content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "key"
        write_file(path, content, 0o600)
        assert refusal(path).problem.code == "key-file-damaged"


@pytest.mark.parametrize("spoil", [LINE.replace(b"=", b"\n"), LINE[:-1], LINE[:-1] + b"\r\n", LINE[:42] + b"1=\n"])
def test_what_lenient_base64_would_accept_is_damaged(tmp_path: Path, spoil: bytes) -> None:
    write_file(tmp_path / "key", spoil, 0o600)
    assert refusal(tmp_path / "key").problem.code == "key-file-damaged"


def test_a_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"old", 0o600)
    write_file(tmp_path / "file", b"new" * 100_000, 0o600)
    assert (tmp_path / "file").read_bytes() == b"new" * 100_000
    assert os.listdir(tmp_path) == ["file"]


def test_leftovers_of_interrupted_writes_go_and_other_files_stay(tmp_path: Path) -> None:
    mine, others, unrelated = ".file.0123456789ab.tmp", ".other.0123456789ab.tmp", ".file.tmp"
    for name in (mine, others, unrelated):
        (tmp_path / name).write_bytes(b"half")
    write_file(tmp_path / "file", b"whole", 0o600)
    assert sorted(os.listdir(tmp_path)) == sorted([others, unrelated, "file"])
    clear_temporaries(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([unrelated, "file"])


def test_a_write_that_cannot_be_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "missing" / "file"):
        with pytest.raises(LocalError) as caught:
            write_file(path, b"data", 0o600)
        assert caught.value.problem.code == "store-failed"
        assert str(path) in caught.value.problem.message
        assert caught.value.problem.hint
    assert os.listdir(tmp_path) == ["folder"]


def test_an_fsync_error_means_not_saved_and_the_old_file_stays(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", Secret(KEY))
    script = f"""{NO_FSYNC}
import sys
from pathlib import Path
from smeg.edges.keyfiles import write_secret
from smeg.errors import LocalError
from smeg.keys import Secret
break_fsync()
try:
    write_secret(Path(sys.argv[1]), Secret(bytes(32)))
except LocalError as error:
    print(error.problem.code)
"""
    output = run(script, str(tmp_path / "key"))
    if output == "no seccomp":
        pytest.skip("this kernel lets nobody break fsync")
    assert output == "store-failed"
    assert read_secret(tmp_path / "key") == Secret(KEY)
    assert os.listdir(tmp_path) == ["key"]


def test_kill_minus_nine_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from smeg.edges.keyfiles import write_file
count = int(sys.argv[2])
while True:
    count += 1
    write_file(Path(sys.argv[1]), b"%d\\n" % count * 5000, 0o600)
    print(count, flush=True)
"""
    path = tmp_path / "file"
    chance = random.Random(7)
    last = 0
    for _ in range(4):
        command = [sys.executable, "-c", script, str(path), str(last)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(chance.randint(1, 30)):
                last = int(child.stdout.readline())
            child.kill()
            last = max([last, *map(int, child.stdout.read().splitlines())])
        lines = path.read_bytes().split()
        assert len(lines) == 5000
        assert set(lines) <= {b"%d" % last, b"%d" % (last + 1)}
        assert len(set(lines)) == 1
        last = int(lines[0])


def test_a_folder_is_made_private_and_an_open_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state of mine" / "deep"
    private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    private_folder(folder)
    folder.chmod(0o750)
    with pytest.raises(LocalError) as caught:
        private_folder(folder)
    assert caught.value.problem.code == "folder-exposed"
    subprocess.run(caught.value.problem.hint, shell=True, check=True)
    private_folder(folder)


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    private_folder(tmp_path / "state")
    give_away(tmp_path / "state")
    with pytest.raises(LocalError) as caught:
        private_folder(tmp_path / "state")
    assert caught.value.problem.code == "folder-exposed"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(LocalError) as caught:
        private_folder(tmp_path / "state")
    assert caught.value.problem.code == "store-failed"
