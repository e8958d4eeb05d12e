"""The command line asks the daemon what was typed, shows what it answers, and ends with a status that tells which."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from smeg.cli import views
from smeg.cli.main import main
from smeg.cli.parameters import duration
from smeg.cli.tables import clean
from smeg.dashboard import STATES
from smeg.errors import Problem
from tests.canned_daemon import CannedDaemon, canned_daemon

ROOT = Path(__file__).parent.parent
NOBODY = 65534
LONG = 60.0
"""seconds; no test that passes waits so long."""
STEP = {"mesh": "paris", "from": "here", "to": "bridge", "rule": "the only way"}
WHY = {"destination": "fd00::7", "name": "", "reached": True, "steps": [STEP], "problem": ""}
WAY = {
    "mesh": "paris",
    "prefix": "fd01::/64",
    "via": "bridge",
    "node": "b" * 52,
    "path": ["paris", "lyon"],
    "bridges": ["bridge"],
    "state": "chosen",
    "parts": ["fd01::/65", "fd01:0:0:0:8000::/65"],
    "rule": "the only way",
}
TOKEN = "smeg1." + "Abc_-9" * 40
MADE = {"mesh": {"name": "paris", "id": "abcdefghijklmnop"}, "address": "fd00::1", "interface": "smeg0"}
STATUS: dict[str, Any] = {
    "version": "1.0",
    "node": "n" * 52,
    "name": "host",
    "healthy": True,
    "uptime": 3725.5,
    "problems": [],
    "meshes": [
        {
            "name": "paris",
            "id": "abcdefghijklmnop",
            "interface": "smeg0",
            "backend": "kernel",
            "address": "fd00::1",
            "members": 3,
            "alive": 2,
            "leader": "l" * 52,
            "epoch": 7,
            "state": "joined",
        }
    ],
    "actors": [{"name": "Gossip", "state": "running", "restarts": 0, "last_error": None}],
    "gossip": {"port": 51800, "connections": 4, "dropped": {"not-a-member": 2, "too-big": 0}},
}
MEMBER = {
    "node": "m" * 52,
    "name": "lyon",
    "address": "fd00::2",
    "role": "peer",
    "state": "alive",
    "leader": True,
    "self": False,
    "endpoints": ["192.0.2.1:51800", "[2001:db8::1]:51800"],
    "handshake_age": 12.7,
    "received": 2048,
    "sent": 5,
}
SLOW = (
    "asyncio",
    "cryptography",
    "hypothesis",
    "jmespath",
    "pykka",
    "smeg.config",
    "smeg.graph",
    "pyroute2",
    "rich",
    "smeg.keys",
    "sqlite3",
    "structlog",
    "yaml",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def daemon(path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(path) as daemon:
        yield daemon


def run(daemon: CannedDaemon, *arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["--socket", str(daemon.path), *arguments], input=stdin)


def process(path: Path, *arguments: str, **how: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "smeg.cli.main", "--socket", str(path), *arguments]
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.Popen(command, cwd=ROOT, **how)


def read_terminal(terminal: int) -> str:
    """What a process writes to its terminal until it has closed it."""
    read, deadline = b"", time.monotonic() + LONG
    while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            # Linux says EIO when the other end is closed.
            break
        if not part:
            break
        read += part
    return read.decode()


@pytest.mark.parametrize(
    ("typed", "command", "arguments"),
    [
        (["new-mesh", "paris"], "new-mesh", {"name": "paris"}),
        (["leave-mesh", "par"], "leave-mesh", {"mesh": "par"}),
        (["list-meshes"], "list-meshes", {}),
        (["members", "paris"], "members", {"mesh": "paris"}),
        (["members", "paris", "--state", "pruned"], "members", {"mesh": "paris", "state": ["pruned"]}),
        (
            ["members", *(f"--state={state}" for state in STATES), "paris"],
            "members",
            {"mesh": "paris", "state": list(STATES)},
        ),
        (["status"], "status", {"mesh": None}),
        (["plan", "paris"], "plan", {"mesh": "paris"}),
        (["plan", "paris", "--without", "a", "--without=b"], "plan", {"mesh": "paris", "without": ["a", "b"]}),
        (["routes"], "routes", {"mesh": None}),
        (["routes", "paris", "--offered"], "routes", {"mesh": "paris"}),
        (["why", "fd00::7"], "why", {"destination": "fd00::7"}),
        (["status", "paris"], "status", {"mesh": "paris"}),
        (["put-alias", "paris", "Web"], "put-alias", {"mesh": "paris", "alias": "Web"}),
        (["put-alias", "paris", ""], "put-alias", {"mesh": "paris", "alias": ""}),
        (["put-description", "paris", "a b"], "put-description", {"mesh": "paris", "description": "a b"}),
        (
            ["set-service", "paris", "HTTP", "--port", "80", "--text", "a=b", "--text", "c"],
            "set-service",
            {"mesh": "paris", "service": {"name": "http", "port": 80, "protocol": "tcp", "text": ["a=b", "c"]}},
        ),
        (["delete-service", "paris", "http"], "delete-service", {"mesh": "paris", "name": "http"}),
        (
            ["delete-service", "paris", "http", "--protocol", "udp"],
            "delete-service",
            {"mesh": "paris", "name": "http", "protocol": "udp"},
        ),
        (["evict", "paris", "lyon"], "evict", {"mesh": "paris", "node": "lyon", "reason": ""}),
        (["evict", "p", "l", "--reason", "stolen"], "evict", {"mesh": "p", "node": "l", "reason": "stolen"}),
    ],
)
def test_what_is_typed_is_asked(
    daemon: CannedDaemon, typed: list[str], command: str, arguments: dict[str, object]
) -> None:
    daemon.answers[command] = {"healthy": True}
    result = run(daemon, *typed)
    assert (result.exit_code, daemon.asked[-1].name, daemon.last()) == (0, command, arguments)


def test_an_invitation_is_by_default_for_one_peer_and_one_day(daemon: CannedDaemon) -> None:
    daemon.answers["invite"] = {"token": TOKEN}
    assert run(daemon, "invite", "paris").exit_code == 0
    arguments = {"mesh": "paris", "uses": 1, "expires": 86400, "role": "peer", "prefixes": [], "exit": False}
    assert daemon.last() == arguments


def test_an_invitation_has_every_limit_that_was_typed(daemon: CannedDaemon) -> None:
    daemon.answers["invite"] = {"token": TOKEN}
    limits = ["--uses", "3", "--expires", "10m", "--role", "client", "--exit"]
    assert run(daemon, "invite", "paris", *limits, "--prefix", "fd01::/16", "--prefix", "2001:DB8::/32").exit_code == 0
    prefixes = ["fd01::/16", "2001:db8::/32"]
    arguments = {"mesh": "paris", "uses": 3, "expires": 600, "role": "client", "prefixes": prefixes, "exit": True}
    assert daemon.last() == arguments


def test_the_token_is_alone_on_standard_output(daemon: CannedDaemon) -> None:
    daemon.answers["invite"] = {"token": TOKEN}
    result = run(daemon, "invite", "paris")
    assert (result.stdout, result.stderr) == (f"{TOKEN}\n", "")
    assert orjson.loads(run(daemon, "invite", "paris", "--json").stdout) == {"token": TOKEN}
    assert run(daemon, "invite", "paris", "--output", "-").stdout == f"{TOKEN}\n"


def test_the_token_goes_to_a_private_file_and_nowhere_else(daemon: CannedDaemon, tmp_path: Path) -> None:
    daemon.answers["invite"] = {"token": TOKEN}
    file = tmp_path / "token"
    result = run(daemon, "invite", "paris", "--output", str(file))
    assert result.exit_code == 0
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (f"{TOKEN}\n", 0o600)
    assert result.stdout == ""
    assert TOKEN not in result.stderr
    result = run(daemon, "invite", "paris", "--output", str(tmp_path / "other"), "--json")
    assert orjson.loads(result.stdout) == {"file": str(tmp_path / "other")}


def test_a_file_that_exists_gets_no_token_and_no_invitation_is_wasted(daemon: CannedDaemon, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("precious")
    result = run(daemon, "invite", "paris", "--output", str(file))
    assert (result.exit_code, file.read_text(), daemon.asked) == (1, "precious", [])
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert run(daemon, "invite", "paris", "--output", str(tmp_path / "link")).exit_code == 1
    assert run(daemon, "invite", "paris", "--output", str(tmp_path / "no" / "folder")).exit_code == 1


@pytest.mark.parametrize("answer", [Problem("no-endpoint", "nobody could dial"), {}, {"token": "\x1b]0;x"}])
def test_a_failed_invitation_leaves_no_file(
    daemon: CannedDaemon, tmp_path: Path, answer: Problem | dict[str, object]
) -> None:
    daemon.answers["invite"] = answer
    assert run(daemon, "invite", "paris", "--output", str(tmp_path / "token")).exit_code == 1
    assert not (tmp_path / "token").exists()


def test_joining_takes_the_token_from_a_file_or_from_standard_input(daemon: CannedDaemon, tmp_path: Path) -> None:
    daemon.answers["join-mesh"] = MADE
    broken = f"  {TOKEN[:50]}\r\n{TOKEN[50:]}\n"
    (tmp_path / "token").write_text(broken)
    for result in (run(daemon, "join-mesh", str(tmp_path / "token")), run(daemon, "join-mesh", "-", stdin=broken)):
        assert result.exit_code == 0
        assert "paris" in result.stdout
        assert daemon.last() == {"token": TOKEN}
    assert len(daemon.asked) == 2


@pytest.mark.parametrize("typed", [TOKEN, "smeg1.short", "smeg2.later", TOKEN.removeprefix("smeg1."), TOKEN * 50])
def test_a_token_as_an_argument_is_refused_with_the_reason_and_not_repeated(daemon: CannedDaemon, typed: str) -> None:
    result = run(daemon, "join-mesh", typed, "--json")
    assert (result.exit_code, daemon.asked) == (2, [])
    assert "every user of this machine" in result.stderr
    assert typed.removeprefix("smeg1.")[:20] not in result.output


@pytest.mark.parametrize("typed", [[TOKEN], ["join-mesh", "a", TOKEN], ["status", "--timeout", TOKEN]])
def test_a_token_in_the_wrong_place_is_not_repeated(daemon: CannedDaemon, typed: list[str]) -> None:
    result = run(daemon, "--json", *typed)
    assert result.exit_code == 2
    assert TOKEN[6:] not in result.output


def test_a_file_called_like_a_token_is_read(
    daemon: CannedDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["join-mesh"] = MADE
    (tmp_path / "smeg1.token").write_text(TOKEN)
    monkeypatch.chdir(tmp_path)
    assert run(daemon, "join-mesh", "smeg1.token").exit_code == 0


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", "smeg1.\u00e4".encode(), b"a" * 40000, b"smeg1.\0\xff"])
def test_what_cannot_be_a_token_is_refused_here(daemon: CannedDaemon, content: bytes) -> None:
    result = run(daemon, "join-mesh", "-", stdin=content)
    assert (result.exit_code, daemon.asked) == (1, [])
    assert result.stderr.startswith("error: ")


def test_a_token_file_that_is_not_there_is_named(daemon: CannedDaemon, tmp_path: Path) -> None:
    result = run(daemon, "join-mesh", str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert str(tmp_path / "nothing") in result.stderr
    assert run(daemon, "join-mesh", str(tmp_path)).exit_code == 1


def test_without_a_file_and_a_terminal_there_is_nothing_to_read(daemon: CannedDaemon) -> None:
    result = run(daemon, "join-mesh", stdin=TOKEN)
    assert (result.exit_code, daemon.asked) == (2, [])


def test_a_token_typed_at_a_terminal_is_not_shown(daemon: CannedDaemon) -> None:
    daemon.answers["join-mesh"] = MADE
    terminal, end = pty.openpty()
    try:
        # A session of its own has no /dev/tty to read from instead.
        with process(daemon.path, "join-mesh", stdin=end, start_new_session=True) as joining:
            assert joining.stderr is not None
            prompt = b""
            while not prompt.endswith(b": "):
                prompt += joining.stderr.read(1) or pytest.fail(f"no prompt: {prompt!r}")
            os.write(terminal, f"{TOKEN}\n".encode())
            out, err = joining.communicate(timeout=LONG)
        os.close(end)
        assert joining.returncode == 0, err
        assert daemon.last() == {"token": TOKEN}
        assert TOKEN not in (out + err).decode() + read_terminal(terminal)
    finally:
        os.close(terminal)


@pytest.mark.parametrize(
    "where", [["--json", "list-meshes"], ["list-meshes", "--json"], ["--json", "list-meshes", "--json"]]
)
def test_json_may_stand_before_and_after_the_command(daemon: CannedDaemon, where: list[str]) -> None:
    daemon.answers["list-meshes"] = {"meshes": [], "later": 1}
    assert orjson.loads(run(daemon, *where).stdout) == {"meshes": [], "later": 1}


@pytest.mark.parametrize(
    "typed",
    ["new-mesh a", "join-mesh -", "leave-mesh a", "list-meshes", "members a", "status", "status a", "evict a b"],
)
def test_every_command_gives_the_daemons_own_words_as_json(daemon: CannedDaemon, typed: str) -> None:
    answer = {"healthy": True, "own": ["words"]}
    daemon.answers[typed.split()[0]] = answer
    result = run(daemon, *typed.split(), "--json", stdin=TOKEN)
    assert (result.exit_code, orjson.loads(result.stdout)) == (0, answer)


@pytest.mark.parametrize(("healthy", "expected"), [(True, 0), (False, 3), (None, 3)])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_status_tells_by_its_exit_status_whether_all_is_well(
    daemon: CannedDaemon, healthy: bool | None, expected: int, flags: list[str]
) -> None:
    daemon.answers["status"] = {**STATUS, "healthy": healthy}
    assert run(daemon, "status", *flags).exit_code == expected


def test_status_shows_what_is_wrong_and_leaves_out_what_is_not(daemon: CannedDaemon) -> None:
    daemon.answers["status"] = {
        **STATUS,
        "healthy": False,
        "problems": [{"code": "device-failed", "message": "no device", "hint": "look"}],
        "actors": [*STATUS["actors"], {"name": "Device", "state": "running", "restarts": 2, "last_error": "gone"}],
    }
    shown = run(daemon, "status").stdout
    for words in (
        "not healthy",
        "1h 2m",
        "problem: no device",
        "hint: look",
        "gone",
        "2 not-a-member",
        "llllllllllll ",
    ):
        assert words in shown
    assert "Gossip" not in shown
    assert "too-big" not in shown


def test_a_table_in_a_pipe_is_aligned_columns_without_tabs(daemon: CannedDaemon) -> None:
    other = {**MEMBER, "name": "a-much-longer-name", "leader": False, "handshake_age": None, "endpoints": []}
    daemon.answers["members"] = {"members": [MEMBER, other]}
    head, first, second = run(daemon, "members", "paris").stdout.splitlines()
    for column, one, two in (
        ("NODE", "mmmmmmmmmmmm ", "mmmmmmmmmmmm "),
        ("ADDRESS", "fd00::2 ", "fd00::2 "),
        ("ENDPOINTS", "192.0.2.1:51800 [2001:db8::1]:51800 ", "- "),
        ("HANDSHAKE", "12s ago ", "- "),
        ("RECEIVED", "2.0 KiB", "2.0 KiB"),
    ):
        start = head.index(column)
        assert first[start:].startswith(one)
        assert second[start:].startswith(two)
    assert "\t" not in head + first + second
    assert "\x1b" not in head + first + second


def test_of_a_client_the_names_of_those_are_shown_that_it_is_reached_through(daemon: CannedDaemon) -> None:
    via = [{"node": letter * 52, "name": name} for letter, name in (("p", "paris"), ("e", "exit-1"))]
    daemon.answers["members"] = {"members": [MEMBER, {**MEMBER, "role": "client", "via": via}]}
    head, peer, client = run(daemon, "members", "paris").stdout.splitlines()
    assert client[head.index("VIA") :].startswith("paris exit-1 ")
    assert peer[head.index("VIA") :].startswith("- ")


def test_a_members_name_cannot_write_to_the_terminal(daemon: CannedDaemon) -> None:
    daemon.answers["members"] = {"members": [{**MEMBER, "name": "\x1b[2J\u202eevil[red]\n"}]}
    shown = run(daemon, "members", "paris").stdout
    assert "\\x1b[2J\\u202eevil[red]\\n" in shown
    assert len(shown.splitlines()) == 2


def shown_at(daemon: CannedDaemon, columns: int) -> str:
    """The members as a terminal of that width gets them."""
    terminal, end = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "LANG": "C.UTF-8"}
    try:
        with process(daemon.path, "members", "paris", stdout=end, env=environment) as showing:
            os.close(end)
            shown = read_terminal(terminal)
        assert showing.returncode == 0
        return shown
    finally:
        os.close(terminal)


def test_a_table_on_a_terminal_is_drawn(daemon: CannedDaemon) -> None:
    daemon.answers["members"] = {"members": [{**MEMBER, "name": "\x1b[2Jevil[red]"}]}
    shown = shown_at(daemon, 200)
    assert "\x1b[1m" in shown, "the heads are bold"
    assert "\\x1b[2Jevil[red]" in shown
    assert "\x1b[2J" not in shown


def test_colours_are_for_a_terminal_whose_owner_wants_them(
    daemon: CannedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["members"] = {"members": [MEMBER] * 300}
    coloured = shown_at(daemon, 200)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" in coloured
    assert "\x1b[" not in shown_at(daemon, 200)


def test_a_narrow_terminal_gets_fewer_columns_and_whole_addresses(daemon: CannedDaemon) -> None:
    daemon.answers["members"] = {"members": [MEMBER]}
    wide, narrow = shown_at(daemon, 200), shown_at(daemon, 80)
    assert "SENT" in wide
    assert "SENT" not in narrow
    assert str(MEMBER["address"]) in narrow


def test_a_problem_is_said_on_standard_error_with_its_hint(daemon: CannedDaemon) -> None:
    daemon.answers["members"] = Problem("unknown-mesh", "no mesh is called\x07 x\nat all", "see list-meshes")
    result = run(daemon, "members", "x")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "error: no mesh is called\\x07 x\n     : at all\nhint: see list-meshes\n"


def test_a_problem_is_an_object_on_standard_output_with_json(daemon: CannedDaemon) -> None:
    daemon.answers["members"] = Problem("unknown-mesh", "no mesh is called x", "see list-meshes")
    result = run(daemon, "members", "x", "--json")
    error = {"code": "unknown-mesh", "message": "no mesh is called x", "hint": "see list-meshes"}
    assert (result.exit_code, orjson.loads(result.stdout)) == (1, {"error": error})
    assert result.stderr.startswith("error: no mesh is called x\n")


@pytest.mark.parametrize(
    "typed",
    [
        "", "bogus", "members", "members a b", "status --bogus", "invite a --uses 0", "invite a --expires 5",
        "invite a --expires 0s", "invite a --expires 1.5h", "invite a --role boss", "invite a --prefix 10.0.0.0/8",
        "invite a --prefix 2001:db8::1/32", "new-mesh a b", "--timeout 0 status", "members a --state dead",
        "--timeout nan status",
    ],
)  # fmt: skip
def test_wrong_usage_is_status_2_and_the_daemon_is_not_asked(daemon: CannedDaemon, typed: str) -> None:
    result = run(daemon, *typed.split())
    assert (result.exit_code, daemon.asked, result.stdout) == (2, [], "")
    assert result.stderr
    result = run(daemon, "--json", *(typed.split() or ["members"]))
    assert orjson.loads(result.stdout)["error"]["code"] == "usage"


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
def test_help_is_there_for_every_command_without_a_daemon(command: list[str], path: Path) -> None:
    result = CliRunner().invoke(main, ["--socket", str(path), *command, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_the_documentation_lists_exactly_the_commands() -> None:
    document = (ROOT / "docs" / "command-line.md").read_text()
    table = document.split("| Command |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)", table, re.MULTILINE) == list(main.commands)


def test_a_daemon_that_is_down_is_said_without_a_trace(path: Path) -> None:
    with process(path, "status", "--json") as asking:
        out, err = asking.communicate(timeout=LONG)
    assert asking.returncode == 1
    assert orjson.loads(out)["error"]["code"] == "daemon-not-running"
    assert err.decode().splitlines()[1].startswith("hint: start smeg-node")


def test_the_time_to_wait_is_the_one_that_was_typed(daemon: CannedDaemon) -> None:
    daemon.answers["status"] = None
    result = run(daemon, "status", "--timeout", "0.05", "--json")
    assert (result.exit_code, orjson.loads(result.stdout)["error"]["code"]) == (1, "timeout")


def test_an_interrupt_ends_quietly(daemon: CannedDaemon) -> None:
    daemon.answers["status"] = None
    with process(daemon.path, "status") as asking:
        assert daemon.heard.wait(LONG)
        asking.send_signal(signal.SIGINT)
        out, err = asking.communicate(timeout=LONG)
    assert (asking.returncode, out, err.strip()) == (130, b"", b"")


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("command", ["status", "members"])
def test_a_pipe_that_nobody_reads_ends_quietly(daemon: CannedDaemon, command: str, flags: list[str]) -> None:
    daemon.answers = {"status": STATUS}
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [command] if command == "status" else [command, "paris"]
    with process(daemon.path, *arguments, *flags, stdout=writing) as asking:
        os.close(writing)
        _, err = asking.communicate(timeout=LONG)
    assert asking.returncode == 1
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err


def test_a_terminal_that_lacks_a_letter_shows_its_code(daemon: CannedDaemon) -> None:
    daemon.answers["status"] = {**STATUS, "name": "東京-münchen"}
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    with process(daemon.path, "status", env=environment) as asking:
        out, err = asking.communicate(timeout=LONG)
    assert (asking.returncode, err) == (0, b"")
    assert "\\u6771\\u4eac-münchen" in out.decode("latin-1")


def test_nothing_slow_is_imported_for_a_command(daemon: CannedDaemon) -> None:
    daemon.answers["status"] = STATUS
    script = "import sys\nfrom smeg.cli.main import main\ntry: main()\nfinally: print(*sorted(sys.modules))"
    command = [sys.executable, "-c", script, "--socket", str(daemon.path), "status"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=True)
    assert "healthy" in done.stdout
    assert not set(SLOW) & set(done.stdout.splitlines()[-1].split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_asks_the_daemon_in_its_own_runtime_folder() -> None:
    script = """
import os, sys
from pathlib import Path
from smeg.cli.program import default_socket
os.setuid(int(sys.argv[1]))
print(default_socket())
"""
    folder = Path(tempfile.mkdtemp(prefix="smeg-cli-"))
    try:
        folder.chmod(0o755)
        (folder / "smegmesh").mkdir(mode=0o755)
        (folder / "smegmesh" / "control.sock").touch()
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "HOME": "/nonexistent"}
        command = [sys.executable, "-c", script, str(NOBODY)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(folder / "smegmesh" / "control.sock")
    finally:
        shutil.rmtree(folder)


@given(st.integers(1, 999_999_999), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_durations_are_counted_in_seconds(count: int, unit: tuple[str, int]) -> None:
    assert duration(f"{count}{unit[0]}") == count * unit[1]


@given(st.text())
def test_what_is_shown_is_printable_and_printable_text_is_shown_as_it_is(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)
    assert not text.isprintable() or clean(text) == text


def test_why_shows_each_step_with_its_rule(daemon: CannedDaemon) -> None:
    daemon.answers["why"] = WHY
    assert run(daemon, "why", "fd00::7").stdout == "to fd00::7\n1  here > bridge  in paris\n   the only way\n"
    daemon.answers["why"] = {**WHY, "reached": False, "steps": [], "problem": "nobody offers it"}
    assert "not reached: nobody offers it" in run(daemon, "why", "fd00::7").stdout


def test_routes_shows_the_way_and_what_is_taken_of_it(daemon: CannedDaemon) -> None:
    offer = {"mesh": "lyon", "prefix": "fd02::/64", "path": ["paris"], "behind": ""}
    daemon.answers["routes"] = {"routes": [WAY], "offers": [offer]}
    shown = run(daemon, "routes").stdout
    assert "paris > lyon" in shown
    assert "fd01::/65 fd01:0:0:0:8000::/65" in shown
    assert run(daemon, "routes", "--offered").stdout.splitlines()[1].split() == ["lyon", "fd02::/64", "paris", "-"]


scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
strange = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)


def objects(names: Iterable[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(sorted(names)), values, max_size=4)


rows = objects(
    {*MEMBER, *STATUS["meshes"][0], *STATUS["gossip"], *STEP, *WAY, "message", "hint", "last_error"}, strange
)
results = objects(
    {*STATUS, *MADE, *WHY, "members", "routes", "offers", "peers", "changes"},
    strange | rows | st.lists(strange | rows, max_size=2),
)


@given(results)
def test_no_result_is_too_strange_to_be_shown(result: dict[str, Any]) -> None:
    for view in (
        views.made_mesh,
        views.meshes,
        views.members,
        views.status,
        views.routes,
        views.offers,
        views.why,
        views.plan,
        views.changes,
    ):
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            view(result)
