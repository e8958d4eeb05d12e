"""The control socket: one daemon on it, its user alone through it, and at once an answer when nobody is behind it."""

from __future__ import annotations

import grp
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import zmq

from smeg.edges.control import MAX_PATH, ControlServer, call
from smeg.errors import LocalError, Problem, RemoteError
from smeg.requests import MAX_REPLY, MAX_REQUEST, Command
from tests.canned_daemon import canned_daemon

ROOT = Path(__file__).parent.parent
NOBODY = 65534
LONG = 60.0
"""seconds; no test that passes waits so long."""
LONG_MS = 60_000
SOON = 5.0
"""seconds; far below LONG, far above what it takes."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

SERVE = """
import os, sys
from pathlib import Path
import zmq, orjson, smeg.edges.lock
from smeg.edges.control import ControlServer
os.setuid(int(sys.argv[2]))
server = ControlServer(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    server.socket.poll()
    while (request := server.receive()) is not None:
        asker, command = request
        if command.name == "die":
            os.kill(os.getpid(), 9)
        server.reply(asker, {"pid": os.getpid()})
"""

ASK = """
import os, sys
from pathlib import Path
import zmq
from smeg.edges.control import call
from smeg.errors import LocalError
os.setuid(int(sys.argv[2]))
try:
    print("answered", call(Path(sys.argv[1]), "status", {}, 60))
except LocalError as error:
    print(error.problem.code)
"""

ASK_BY_ZEROMQ = """
import os, sys
import zmq
os.setuid(int(sys.argv[2]))
asking = zmq.Context().socket(zmq.REQ)
asking.linger = 0
watch = asking.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
asking.connect("ipc://" + sys.argv[1])
asking.send(b'{"version": 1, "command": "status", "arguments": {}}')
poller = zmq.Poller()
poller.register(asking, zmq.POLLIN)
poller.register(watch, zmq.POLLIN)
seen = 0
while seen < 6:
    ready = dict(poller.poll(60000))
    if asking in ready:
        print("answered")
        sys.exit()
    assert ready
    watch.recv_multipart()
    seen += 1
print("shut out")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A path in a folder that everybody can enter."""
    folder = Path(tempfile.mkdtemp(prefix="smeg-control-"))
    folder.chmod(0o755)
    yield folder / "run" / "control.sock"
    shutil.rmtree(folder)


@pytest.fixture
def server(path: Path) -> Iterator[ControlServer]:
    server = ControlServer(path)
    yield server
    server.close()


@contextmanager
def daemon(path: Path, user: int | None = None) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVE, str(path), str(os.geteuid() if user is None else user)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@contextmanager
def raw(path: Path, kind: int) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context()
    asking: zmq.Socket[bytes] = context.socket(kind)
    asking.connect(f"ipc://{path}")
    try:
        yield asking
    finally:
        context.destroy(linger=0)


def run_as(user: int, script: str, path: Path) -> str:
    command = [sys.executable, "-c", script, str(path), str(user)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=True).stdout.strip()


def refused(path: Path, command: str = "status", timeout: float = LONG) -> Problem:
    """What a call says is wrong; it has to say so soon."""
    began = time.monotonic()
    with pytest.raises(LocalError) as caught:
        call(path, command, {}, timeout)
    assert time.monotonic() - began < SOON
    return caught.value.problem


def test_a_request_reaches_the_daemon_and_its_result_comes_back(path: Path) -> None:
    with canned_daemon(path) as canned:
        canned.answers["members"] = {"members": [1, 2]}
        assert call(path, "members", {"mesh": "paris"}, LONG) == {"members": [1, 2]}
        assert canned.asked == [Command("members", {"mesh": "paris"})]


def test_a_problem_that_the_daemon_answers_is_raised_with_all_its_words(path: Path) -> None:
    with canned_daemon(path) as canned:
        canned.answers["evict"] = Problem("not-an-admin", "this node holds no admin key", "go elsewhere")
        assert refused(path, "evict") == canned.answers["evict"]


def test_many_ask_at_once_and_each_gets_its_own_answer(path: Path) -> None:
    with canned_daemon(path) as canned, ThreadPoolExecutor(8) as pool:
        canned.answers = {f"c{number}": {"number": number} for number in range(40)}
        found = list(pool.map(lambda number: call(path, f"c{number}", {}, LONG)["number"], range(40)))
        assert found == list(range(40))


def test_nothing_is_received_when_nothing_was_asked(server: ControlServer) -> None:
    assert server.receive() is None


def test_the_folder_and_the_socket_are_the_users_alone(path: Path, server: ControlServer) -> None:
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_umask_is_as_before(path: Path) -> None:
    before = os.umask(0o027)
    try:
        ControlServer(path).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_closing_leaves_nothing_behind_and_can_be_done_twice(path: Path) -> None:
    server = ControlServer(path)
    server.close()
    server.close()
    assert list(path.parent.iterdir()) == []


def test_an_answer_given_just_before_closing_arrives(path: Path) -> None:
    server = ControlServer(path)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(call, path, "stop", {}, LONG)
        assert server.socket.poll(LONG_MS)
        request = server.receive()
        assert request is not None
        server.reply(request[0], {"stopped": True})
        server.close()
        assert result.result() == {"stopped": True}


def test_a_second_daemon_is_refused_and_the_first_keeps_its_socket(path: Path) -> None:
    with canned_daemon(path) as canned:
        canned.answers["status"] = {"first": True}
        with pytest.raises(LocalError) as caught:
            ControlServer(path)
        assert caught.value.problem.code == "already-running"
        assert caught.value.problem.hint
        assert call(path, "status", {}, LONG) == {"first": True}
    ControlServer(path).close()


def test_a_folder_that_others_can_enter_is_refused_and_not_mended(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    with pytest.raises(LocalError) as caught:
        ControlServer(path)
    assert caught.value.problem.code == "folder-exposed"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert list(path.parent.iterdir()) == []


def test_a_file_in_the_sockets_place_is_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(LocalError) as caught:
        ControlServer(path)
    assert caught.value.problem.code == "socket-path-unusable"
    assert [(found.name, found.read_text()) for found in path.parent.iterdir()] == [(path.name, "precious")]


@pytest.mark.parametrize("length", [MAX_PATH, MAX_PATH + 1])
def test_a_path_as_long_as_possible_works_and_a_longer_one_is_named(length: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="smeg-"))
    path = folder / ("r" * (length - len(f"{folder}//s"))) / "s"
    try:
        if length <= MAX_PATH:
            with canned_daemon(path) as canned:
                canned.answers["status"] = {}
                assert call(path, "status", {}, LONG) == {}
            return
        assert refused(path).code == "socket-path-too-long"
        with pytest.raises(LocalError) as caught:
            ControlServer(path)
        assert caught.value.problem.code == "socket-path-too-long"
    finally:
        shutil.rmtree(folder)


def test_without_a_socket_the_daemon_is_said_not_to_run_at_once(path: Path) -> None:
    problem = refused(path)
    assert problem.code == "daemon-not-running"
    assert "start smeg-node" in problem.hint


def test_a_file_that_is_no_socket_is_no_daemon(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert refused(path).code == "daemon-not-running"
    assert refused(path / "below").code == "daemon-not-running"


def test_a_killed_daemon_is_noticed_at_once_and_its_files_hinder_nobody(path: Path) -> None:
    with daemon(path) as process:
        assert call(path, "status", {}, LONG) == {"pid": process.pid}
        process.kill()
        process.wait()
        assert path.exists()
        assert refused(path).code == "daemon-not-running"
    with canned_daemon(path) as canned:
        canned.answers["status"] = {}
        assert call(path, "status", {}, LONG) == {}
    assert list(path.parent.iterdir()) == []


def test_a_daemon_that_dies_before_it_answers_is_not_waited_for(path: Path) -> None:
    with daemon(path):
        assert refused(path, "die").code == "daemon-stopped"


def test_a_daemon_that_stands_still_is_waited_for_as_long_as_was_said(path: Path) -> None:
    with daemon(path) as process:
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        problem = refused(path, timeout=0.7)
        assert time.monotonic() - began >= 0.7
        assert problem.code == "timeout"
        assert "0.7 s" in problem.message
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("data", [b"", b"\0", b"[]", b'{"version": 2, "command": "status", "arguments": {}}'])
def test_a_malformed_request_is_answered_without_the_daemon(path: Path, data: bytes) -> None:
    with canned_daemon(path) as canned:
        with raw(path, zmq.REQ) as asking:
            asking.send(data)
            assert asking.poll(LONG_MS)
            assert orjson.loads(asking.recv())["ok"] is False
        assert canned.asked == []


@pytest.mark.parametrize("frames", [[b"x"], [b"", b"x", b"y"], [b"a", b"b", b"c", b"d"]])
def test_a_request_in_the_wrong_frames_is_answered_without_the_daemon(path: Path, frames: list[bytes]) -> None:
    with canned_daemon(path) as canned:
        with raw(path, zmq.DEALER) as asking:
            asking.send_multipart(frames)
            assert asking.poll(LONG_MS)
            assert orjson.loads(asking.recv_multipart()[-1])["error"]["code"] == "bad-request"
        assert canned.asked == []


def test_a_request_that_is_too_big_is_dropped_and_others_are_served(path: Path) -> None:
    with canned_daemon(path) as canned, raw(path, zmq.DEALER) as asking:
        asking.send_multipart([b"", b" " * (MAX_REQUEST + 1)])
        canned.answers["status"] = {}
        assert call(path, "status", {}, LONG) == {}
        assert [command.name for command in canned.asked] == ["status"]


def test_an_answer_that_is_too_big_becomes_a_problem(path: Path) -> None:
    with canned_daemon(path) as canned:
        canned.answers["status"] = {"much": "a" * MAX_REPLY}
        assert refused(path).code == "reply-too-big"


def test_an_answer_to_who_has_gone_is_counted_and_harms_nobody(path: Path, server: ControlServer) -> None:
    with raw(path, zmq.REQ) as asking:
        asking.send(b'{"version": 1, "command": "status", "arguments": {}}')
        assert server.socket.poll(LONG_MS)
        request = server.receive()
        assert request is not None
    deadline = time.monotonic() + SOON
    while not server.dropped and time.monotonic() < deadline:
        server.reply(request[0], {})
    assert server.dropped == 1


def test_what_is_not_an_answer_is_their_fault(path: Path) -> None:
    path.parent.mkdir()
    context = zmq.Context()
    answering: zmq.Socket[bytes] = context.socket(zmq.REP)
    answering.bind(f"ipc://{path}")
    try:
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(call, path, "status", {}, LONG)
            answering.recv()
            answering.send(b"what?")
            with pytest.raises(RemoteError):
                result.result()
    finally:
        context.destroy(linger=0)


@as_root
def test_another_user_cannot_enter_the_folder_and_is_told_so_at_once(open_path: Path) -> None:
    with daemon(open_path):
        assert run_as(NOBODY, ASK, open_path) == "no-permission"


@as_root
def test_another_user_is_shut_out_even_where_the_files_let_everybody_in(open_path: Path) -> None:
    server = ControlServer(open_path)
    try:
        open_path.parent.chmod(0o755)
        open_path.chmod(0o777)
        assert run_as(NOBODY, ASK_BY_ZEROMQ, open_path) == "shut out"
        assert server.receive() is None
    finally:
        server.close()


@as_root
def test_root_may_ask_the_daemon_of_another_user(open_path: Path) -> None:
    os.chown(open_path.parent.parent, NOBODY, -1)
    with daemon(open_path, NOBODY) as process:
        assert call(open_path, "status", {}, LONG) == {"pid": process.pid}
        assert run_as(NOBODY, ASK, open_path) == f"answered {{'pid': {process.pid}}}"


@as_root
def test_a_socket_that_somebody_else_made_gets_no_token(open_path: Path) -> None:
    os.chown(open_path.parent.parent, NOBODY, -1)
    with daemon(open_path, NOBODY):
        open_path.parent.chmod(0o755)
        open_path.chmod(0o777)
        assert run_as(NOBODY - 1, ASK, open_path) == "no-permission"


@as_root
def test_members_of_the_control_group_may_ask_and_others_still_not(open_path: Path) -> None:
    group = grp.getgrnam("games")
    with canned_daemon(open_path, group.gr_name) as canned:
        canned.answers["status"] = {"healthy": True}
        assert stat.S_IMODE(open_path.parent.stat().st_mode) == 0o710
        assert stat.S_IMODE(open_path.stat().st_mode) == 0o660
        member = ASK.replace("os.setuid", f"os.setgroups([]); os.setgid({group.gr_gid}); os.setuid")
        assert run_as(NOBODY, member, open_path) == "answered {'healthy': True}"
        stranger = ASK.replace("os.setuid", "os.setgroups([]); os.setgid(65534); os.setuid")
        assert run_as(NOBODY, stranger, open_path) == "no-permission"
        open_path.parent.chmod(0o711)
        open_path.chmod(0o666)
        stranger = ASK_BY_ZEROMQ.replace("os.setuid", "os.setgroups([]); os.setgid(65534); os.setuid")
        assert run_as(NOBODY, stranger, open_path) == "shut out"


def test_a_control_group_that_is_not_there_or_a_folder_that_is_more_open_is_refused(path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        ControlServer(path, "no-such-group")
    assert caught.value.problem.code == "no-such-group"
    path.parent.mkdir(mode=0o711)
    with pytest.raises(LocalError) as caught:
        ControlServer(path, grp.getgrgid(os.getegid()).gr_name)
    assert caught.value.problem.code == "folder-exposed"
