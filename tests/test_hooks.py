"""Hooks: commands of the user's that run when an interface comes and goes, and what becomes of those that go wrong."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.daemon import read_config
from smeg.edges.hook_run import KEPT, HookRun, check_trusted
from smeg.errors import LocalError
from smeg.hooks import Command, Hook, HookPolicy, Hooks, command
from tests.builders import QUICK
from tests.loopback import Daemon, end_at_last, form_mesh
from tests.nodes import wait_for

LONG = 60.0
"""seconds; nothing here takes so long."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


# What is run.


@QUICK
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=4))
def test_quoted_words_stay_what_they_are(words: list[str]) -> None:
    line = shlex.join(["/bin/echo", *words])
    if not set(words) & {"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"}:
        assert command(line).words == ("/bin/echo", *words)
        assert command(str(command(line))) == command(line)


@pytest.mark.parametrize("line", ["", "echo", "./echo", "/bin/echo 'a", "/bin/a ; /bin/b", "/bin/a > /tmp/b"])
def test_what_is_no_command_without_a_shell_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        command(line)


def test_the_interface_takes_its_place_and_a_mesh_may_have_its_own() -> None:
    general = Hooks({Hook.POST_UP: (Command(("/bin/echo", "dev=%i", "%i")),)})
    own = Hooks({Hook.PRE_UP: (Command(("/bin/true",)),)})
    policy = HookPolicy(general, {"home": own})
    assert policy.of("id", "office").of(Hook.POST_UP, "smeg-a") == [Command(("/bin/echo", "dev=smeg-a", "smeg-a"))]
    assert policy.of("id", "home").of(Hook.POST_UP, "smeg-a") == []
    assert policy.any
    assert not HookPolicy().any


# How it is run.


def ended(*commands: str, limit: float = LONG, **environment: str) -> HookRun:
    run = HookRun(Hook.POST_UP, [command(each) for each in commands], environment, limit, time.monotonic())
    wait_for("it ends", lambda: run.look(time.monotonic()), LONG)
    return run


def test_commands_run_in_order_with_what_they_are_told_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = f"/bin/sh -c 'env > {out}; pwd >> {out}'"
    run = ended(first, f"/bin/sh -c 'echo $SMEG_MESH second >> {out}'", SMEG_MESH="x")
    assert run.problem is None
    lines = out.read_text().splitlines()
    assert lines[-1] == "x second"
    names = {line.partition("=")[0] for line in lines[:-2]}
    assert names <= {"PATH", "LANG", "SMEG_MESH", "PWD", "SHLVL", "_", "OLDPWD"}
    assert "/" in lines


def test_no_shell_looks_at_a_command(tmp_path: Path) -> None:
    run = ended(f"/bin/ls '$(touch {tmp_path}/made)' '`touch {tmp_path}/made`'")
    assert run.problem is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/bin/sh -c 'echo that went wrong >&2; exit 7'", "status 7: that went wrong"),
        ("/bin/sh -c 'kill -9 $$'", "signal 9"),
        ("/no/such/program", "No such file"),
        ("/etc/passwd", "Permission denied"),
        ("/bin/sh -c 'printf \"\\033[2J\\nx\"; exit 1'", "status 1: [2J x"),
    ],
)
def test_a_failure_says_how_and_nothing_after_it_is_run(line: str, said: str, tmp_path: Path) -> None:
    run = ended(line, f"/usr/bin/touch {tmp_path}/made")
    assert run.problem is not None
    assert run.problem.code == "hook-failed"
    assert said in run.problem.message
    assert "postUp" in run.problem.message
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    run = ended(f"/bin/sh -c 'sleep 300 & echo $! $$ > {pids}; wait'", limit=1.0)
    assert run.problem is not None
    assert "within 1 s" in run.problem.message
    for pid in pids.read_text().split():
        wait_for("it is gone", lambda pid=pid: not alive(int(pid)), 10)  # type: ignore[misc]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_much_that_is_said_is_not_kept() -> None:
    run = ended("/bin/sh -c 'head -c 3000000 /dev/zero | tr \"\\0\" x; exit 1'")
    assert run.problem is not None
    assert len(run.problem.message) < 2 * KEPT


def test_a_look_never_waits_and_what_is_closed_is_killed() -> None:
    run = HookRun(Hook.PRE_UP, [command("/bin/sleep 300")], {}, LONG, 0.0)
    assert not run.look(1.0)
    running = run._running
    assert running is not None
    run.close()
    assert not alive(running.pid)


# Who decides.


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    os.chmod(tmp_path, 0o700)


def refusal(path: Path) -> str:
    with pytest.raises(LocalError) as caught:
        check_trusted(path)
    assert caught.value.problem.code == "hooks-exposed"
    assert str(path.parent) in caught.value.problem.hint
    return caught.value.problem.message


def test_a_file_that_others_can_write_or_replace_runs_nothing(folder: Path) -> None:
    path = folder / "node.yaml"
    path.write_text("postUp: /bin/true\n")
    path.chmod(0o644)
    assert read_config(path).hooks.any
    for exposed, mode, before in ((path, 0o664, 0o644), (path, 0o646, 0o644), (folder, 0o777, 0o700)):
        exposed.chmod(mode)
        assert str(exposed) in refusal(path)
        with pytest.raises(LocalError, match="others can write"):
            read_config(path)
        exposed.chmod(before)
    check_trusted(path)
    link = folder / "link"
    link.symlink_to(path)
    path.chmod(0o666)
    refusal(link)


@as_root
def test_a_file_of_somebody_else_runs_nothing(folder: Path) -> None:
    path = folder / "node.yaml"
    path.write_text("meshes: {home: {preUp: /bin/true}}\n")
    os.chown(path, 65534, 65534)
    assert "another user" in refusal(path)
    with pytest.raises(LocalError, match="another user"):
        read_config(path)
    path.write_text("mtu: 1420\n")
    assert read_config(path).mtu == 1420


# Whole daemons.


def told(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def script(folder: Path, text: str) -> str:
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_the_hooks_of_a_mesh_run_in_order_and_know_its_interface(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hook = script(tmp_path, f'echo "$SMEG_HOOK $SMEG_MESH $SMEG_INTERFACE $1 [$SMEG_ADDRESSES]" >> {out}')
    names = ("preUp", "postUp", "preDown", "postDown")
    with end_at_last() as make:
        node = make(tmp_path / "one", **dict.fromkeys(names, f"{hook} %i"))
        node.start()
        form_mesh("home", node)
        mesh = node.meshes()["home"]
        wait_for("it is up", lambda: len(told(out)) == 2, 15)
        assert node.problems() == []
        assert node.stop() == 0
        lines = [line.split(" ", 4) for line in told(out)]
        assert [line[0] for line in lines] == list(names)
        assert {tuple(line[1:4]) for line in lines} == {("home", mesh["interface"], mesh["interface"])}
        assert lines[0][4] == "[]"
        assert all(mesh["address"] in line[4] for line in lines[1:])


def test_a_hook_that_fails_is_shown_and_keeps_nothing_from_working(tmp_path: Path) -> None:
    with end_at_last() as make:
        one = make(tmp_path / "one", preUp="/bin/false", postUp="/bin/sh -c 'echo no luck; exit 3'")
        two = make(tmp_path / "two")
        for node in (one, two):
            node.start()
        form_mesh("home", one, two)
        wait_for("all work", lambda: len(one.members("home")) == len(two.members("home")) == 2, 20)
        wait_for("both are shown", lambda: one.problems() == ["hook-failed", "hook-failed"], 15)
        said = [problem["message"] for problem in one.ask("status")["problems"]]
        assert "status 3: no luck" in said[1]
        assert "hook failed" in one.log()
        assert two.problems() == []


def test_a_hook_that_hangs_delays_its_mesh_alone_and_an_end_is_in_time(tmp_path: Path) -> None:
    slow = {"preUp": "/bin/sleep 300", "preDown": "/bin/sleep 300", "postDown": "/bin/sleep 300"}
    with end_at_last() as make:
        node = make(tmp_path / "one", hookTimeout=2, meshes={"slow": slow})
        node.start()
        waiting = node.popen("new-mesh", "slow")
        form_mesh("quick", node)
        assert node.meshes()["quick"]["state"] == "active"
        assert waiting.wait(30) == 0
        waiting.communicate()
        wait_for("it is shown", lambda: node.problems() == ["hook-failed"], 15)
        assert node.stop() == 0
        assert node.log().count("hook failed") == 3


def test_a_daemon_that_is_told_to_end_while_a_hook_runs_ends(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with end_at_last() as make:
        node: Daemon = make(tmp_path / "one", hookTimeout=300, preUp=f"/bin/sh -c 'echo > {started}; exec sleep 301'")
        node.start()
        waiting = node.popen("new-mesh", "home")
        wait_for("it runs", started.exists, 15)
        assert node.stop() == 0
        assert waiting.wait(20) == 1
        waiting.communicate()
