"""Hosts as namespaces: what they share, what they keep to themselves, and that nothing of them stays behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Literal

import pytest

from scenarios.hosts import Host, World

SOURCES = Path(__file__).parent.parent
NOBODY = "65534"

# A creator with two hosts, a started program, and a grandchild that has left its parents.
CREATOR = """
import json, os, sys
from scenarios.hosts import World
with World() as world:
    one, two = world.host("one"), world.host("two")
    started = one.start(["sleep", "1000"])
    one.start(["sleep", "1002"]).stall()
    one.run(["sh", "-c", "setsid sleep 1001 >/dev/null 2>&1 &"])
    ping = [one.run(["ping", "-c1", "-W2", str(two.address(family))], check=False).stderr for family in (4, 6)]
    print(json.dumps({"space": os.readlink(f"/proc/{started.pid}/ns/pid"), "errors": ping}), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def world() -> Iterator[World]:
    if problem := World.check():
        pytest.skip(str(problem))
    with World() as made:
        yield made


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline, pause = time.monotonic() + seconds, Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        pause.wait(0.01)


def space_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/pid")


def processes_in(space: str) -> list[int]:
    """The living processes in a process namespace; zombies have no namespace any more."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if space_of(int(entry.name)) == space:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def children_of(pid: int) -> set[int]:
    """All the way down."""
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return set()
    return set(direct).union(*(children_of(child) for child in direct))


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def ping(host: Host, target: str) -> subprocess.CompletedProcess[str]:
    return host.run(["ping", "-c1", "-W2", target], check=False)


def pids(host: Host, name: str) -> list[int]:
    """As the host sees them."""
    found = host.run(["sh", "-c", f"grep -lx {name} /proc/[0-9]*/comm"], check=False).stdout.splitlines()
    return [int(path.split("/")[2]) for path in found]


@pytest.mark.parametrize("family", [4, 6])
def test_two_hosts_reach_each_other_at_once(world: World, family: Literal[4, 6]) -> None:
    one, two = world.host("one"), world.host("two")
    assert ping(one, str(two.address(family))).returncode == 0
    assert ping(two, str(one.address(family))).returncode == 0


def test_nothing_leads_out_of_the_world(world: World) -> None:
    host = world.host("one")
    for target in ("192.0.2.1", "2001:db8::1"):
        assert "unreachable" in ping(host, target).stderr
    assert host.run(["ip", "-json", "link"]).stdout.count('"ifname"') == 2


def test_a_host_has_its_own_name_folders_processes_and_settings(world: World) -> None:
    one, two = world.host("one"), world.host("two")
    setting = "/proc/sys/net/ipv6/conf/all/forwarding"
    one.run(["sh", "-c", f"echo 1 >{setting}; echo mine >/var/run/mark; echo state >state"])

    assert one.run(["hostname"]).stdout == "one\n"
    assert one.run(["cat", setting, "/run/mark", "/run/home/state"]).stdout == "1\nmine\nstate\n"
    assert (one.folder / "state").read_text() == "state\n"
    assert two.run(["cat", setting]).stdout == "0\n"
    assert two.run(["ls", "/run/mark", "/run/home/state"], check=False).stdout == ""
    assert not Path("/run/mark").exists()
    assert str(os.getpid()) not in one.run(["ls", "/proc"]).stdout.split()
    assert one.run(["ls", "/sys/class/net"]).stdout.split() == ["eth0", "lo"]


def test_a_command_gets_its_input_and_tells_its_status(world: World) -> None:
    host = world.host("one")
    assert host.run(["cat"], input="a token").stdout == "a token"
    assert host.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    with pytest.raises(subprocess.CalledProcessError):
        host.run(["false"])


def test_a_command_past_its_time_is_killed(world: World) -> None:
    host = world.host("one")
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["sleep", "1000"], timeout=0.1)
    until(lambda: pids(host, "sleep") == [])


def test_a_program_can_be_followed_and_ended(world: World) -> None:
    host = world.host("one")
    program = host.start(["sh", "-c", "echo said; exec sleep 1000"])
    until(lambda: program.log.read_text() == "said\n")
    assert Path(f"/proc/{program.pid}/comm").read_text() in {"sh\n", "sleep\n"}
    until(lambda: pids(host, "sleep") == [program.inside_pid])
    program.kill9()
    assert program.wait(1) == -signal.SIGKILL

    other = host.start(["sleep", "1000"])
    other.terminate()
    assert other.wait(20) == -signal.SIGTERM
    assert not other.running
    other.kill9()


def test_a_program_that_cannot_start_has_ended(world: World) -> None:
    program = world.host("one").start(["no-such-program"])
    assert program.wait(20) == 127
    assert "no-such-program" in program.log.read_text()
    program.kill9()


def test_wireguard_has_the_same_name_in_two_hosts_at_once(world: World) -> None:
    if not shutil.which("wireguard-go") or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("wireguard-go, or access to /dev/net/tun, is missing")
    hosts = [world.host("one"), world.host("two")]
    programs = [host.start(["wireguard-go", "--foreground", "wg0"]) for host in hosts]
    for host, program in zip(hosts, programs, strict=True):
        socket = host.folder.parent / "wireguard/wg0.sock"
        until(lambda socket=socket: socket.is_socket())  # type: ignore[misc]
        assert host.run(["ip", "link", "show", "wg0"]).returncode == 0
        assert program.running
    assert not Path("/run/wireguard/wg0.sock").exists()


@pytest.mark.kernel
def test_the_kernels_wireguard_has_the_same_name_in_two_hosts_at_once(world: World) -> None:
    assert world.wireguard() == "kernel"
    for name in ("one", "two"):
        world.host(name).run(["ip", "link", "add", "wg0", "type", "wireguard"])


def test_a_program_that_stands_still_goes_on_and_can_be_ended(world: World) -> None:
    host = world.host("one")
    counting = host.start(["sh", "-c", "while :; do echo; sleep 0.01; done"])
    until(lambda: counting.log.stat().st_size > 3)
    counting.stall()
    until(lambda: state_of(counting.pid) == "T")
    stood = counting.log.stat().st_size
    counting.resume()
    until(lambda: counting.log.stat().st_size > stood)
    counting.stall()
    counting.kill9()
    assert not counting.running


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_closing_leaves_nothing() -> None:
    if problem := World.check():
        pytest.skip(str(problem))

    def outside() -> list[str]:
        return [Path("/proc/self/mounts").read_text(), *sorted(os.listdir("/sys/class/net"))]

    before, children = outside(), children_of(os.getpid())
    with World() as world:
        host = world.host("one")
        started = host.start(["sh", "-c", "trap '' TERM HUP INT; sleep 1000 & sleep 1000"])
        host.start(["sleep", "1000"]).stall()
        space, folder = space_of(started.pid), host.folder
        assert len(processes_in(space)) >= 3
    assert processes_in(space) == []
    assert children_of(os.getpid()) == children
    assert outside() == before
    assert not folder.exists()


def test_a_creator_killed_by_9_leaves_nothing(world: World) -> None:
    creator, said = start_creator([sys.executable])
    with creator:
        helpers = children_of(creator.pid)
        assert len(processes_in(str(said["space"]))) >= 5
        creator.kill()
    until(lambda: processes_in(str(said["space"])) == [])
    until(lambda: all(map(ended, helpers)))


def test_a_user_who_is_not_root_has_hosts_too(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("all the other tests are this one, as this is not root")
    code = "from scenarios.hosts import World; print(World.check() or '', end='')"
    for python in (sys.executable, "/usr/bin/python3"):
        argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python]
        checked = subprocess.run([*argv, "-c", code], cwd=SOURCES, capture_output=True, text=True, check=False)
        if checked.returncode == 0:
            break
    else:
        pytest.skip(f"no Python here that user {NOBODY} may run on {SOURCES}")
    if checked.stdout:
        pytest.skip(checked.stdout)
    creator, said = start_creator(argv)
    with creator:
        assert said["errors"] == ["", ""]
        creator.communicate("")
    assert creator.returncode == 0
    until(lambda: processes_in(str(said["space"])) == [])


def test_where_namespaces_are_refused_it_says_so() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give up what it takes")
    code = "from scenarios.hosts import World; print(World.check().code)"
    argv = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", code]
    assert subprocess.run(argv, cwd=SOURCES, capture_output=True, text=True, check=True).stdout == "no-namespaces\n"


def start_creator(python: list[str]) -> tuple[subprocess.Popen[str], dict[str, object]]:
    """Running, with what it said once its hosts were there."""
    creator = subprocess.Popen(
        [*python, "-c", CREATOR],
        cwd=SOURCES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert creator.stdout is not None
    said: dict[str, object] = json.loads(creator.stdout.readline() or "null")
    return creator, said
