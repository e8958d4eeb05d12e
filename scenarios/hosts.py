"""Hosts as network namespaces: a private network on one machine, in which real daemons can run and be killed.

A `World` is one process that holds a network, mount and process namespace with a bridge in it, the underlay switch. A
`Host` is a second process in there that holds its own network, mount and host name, with a private `/run` and one link
to the switch. Without root, all of it lies in a user namespace in which the caller is root.

Nothing here touches the machine's own network, and nothing outlives the `World`: its first process ends when the
pipe from its creator closes, by `close`, by an exception or by `kill -9`, and with it the kernel ends every process,
interface, mount and folder inside. A process that the creator forks without exec holds that pipe too.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from scenarios.installed import as_installed, path
from smeg.errors import LocalError, Problem

UNDERLAY_4 = IPv4Network("10.77.0.0/16")
UNDERLAY_6 = IPv6Network("fd77::/64")
HOME = "/run/home"
"""The state folder of every host, as seen inside it."""
TUN = "/dev/net/tun"
START_TIMEOUT = 20.0
"""seconds; for one namespace to be made, on a slow machine."""

_FORBIDDEN = {
    "/proc/sys/kernel/unprivileged_userns_clone": "0",
    "/proc/sys/user/max_user_namespaces": "0",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
}
"""Settings that keep users from making user namespaces, with the value that does."""

# The first process of the world ignores SIGCHLD, so that the kernel reaps what daemons leave to it.
_WORLD = """
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
ip link add underlay type bridge stp_state 0 forward_delay 0 mcast_snooping 0
ip link set underlay up
trap '' CHLD
echo ready
exec cat >/dev/null 2>&1
"""

# Process 1 is the world's, so `netns 1` is where the switch is. Without sysfs (refused in some containers) all but
# /sys/class/net works. Duplicate address detection would keep an IPv6 address from use for a second.
_HOST = """
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/home
[ /var/run -ef /run ] || mount --bind /run /var/run
mount -t sysfs sysfs /sys 2>/dev/null || true
hostname "$1"
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
echo 0 0 >/proc/sys/net/ipv4/ping_group_range
ip link set lo up
ip link add eth0 type veth peer name "$2" netns 1
ip address add "$3" dev eth0
ip address add "$4" dev eth0 nodad
ip link set eth0 up
nsenter --target=1 --net ip link set "$2" master underlay up
echo ready
exec cat >/dev/null 2>&1
"""


class Process:
    """A program that runs in a host. Ends with its world at the latest."""

    def __init__(self, entered: subprocess.Popen[bytes], argv: Sequence[str], log: Path) -> None:
        self.argv = tuple(argv)
        self.log = log
        """Where its output goes. Readable from outside the host, for as long as the host lives."""
        self._entered = entered
        self._stalled = False
        self._guard: subprocess.Popen[bytes] | None = None
        # A program that ended at once leaves only what entered the namespace for it, which has ended too.
        self.pid = _child_of(entered) or entered.pid
        """As the machine counts; `inside_pid` is what the host sees."""

    @property
    def inside_pid(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])

    @property
    def running(self) -> bool:
        if not self._stalled:
            _wake(self._entered)
        return self._entered.poll() is None

    def kill9(self) -> None:
        """End it as a power cut would. Returns when it is gone."""
        self._signal(signal.SIGKILL)
        self._unguard()
        _wait_for([self._entered])

    def terminate(self) -> None:
        """Ask it to end, as a service manager does. Returns at once."""
        self._signal(signal.SIGTERM)

    def stall(self) -> None:
        """Let it stand still, until `resume`."""
        if self._guard is None and self._entered.poll() is None:
            self._stalled = True
            # Should the creator be killed, this has what waits for the program go on, and reap it.
            argv = ["sh", "-c", f"cat; kill -CONT {self._entered.pid}"]
            self._guard = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
            self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._stalled:
            self._signal(signal.SIGCONT)
            self._unguard()

    def _unguard(self) -> None:
        self._stalled = False
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None
        _wake(self._entered)

    def wait(self, timeout: float) -> int:
        """Its exit status, negative for a signal. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        return self._entered.wait(timeout)

    def _signal(self, number: signal.Signals) -> None:
        if self._entered.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                _wait_for([self._entered])


class Host:
    """One machine of a world: its own network, host name and `/run`. Made by `World.host`."""

    def __init__(self, name: str, number: int, holder: _Holder) -> None:
        self.name = name
        self.number = number
        """From 1; decides the addresses."""
        self._holder = holder
        self._started: list[Process] = []
        self.folder = Path(f"/proc/{holder.pid}/root{HOME}")
        """Its state folder (`HOME` inside), as seen from outside."""

    @property
    def link(self) -> str:
        """Its end at the switch."""
        return f"host{self.number}"

    def address(self, family: Literal[4, 6]) -> IPv4Address | IPv6Address:
        """Of its link to the underlay: 10.77.x.y or fd77::x:y, where x.y is its number in base 256."""
        return address(self.number, family)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = 30.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in text mode, and keep its output.

        Raises `subprocess.CalledProcessError` on a status other than 0 unless `check` is false, and
        `subprocess.TimeoutExpired` after `timeout` seconds, when the command has been killed.
        """
        done = self._holder.run(argv, HOME, timeout, input, env)
        if check:
            done.check_returncode()
        return done

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path | None = None) -> Process:
        """Start a program that stays, in a session of its own. Its output is added to `log`, by default in `folder`."""
        log = log or self.folder / f"{Path(argv[0]).name}.log"
        with log.open("ab") as output:
            entered = subprocess.Popen(
                self._holder.enter(argv, HOME),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(env),
                start_new_session=True,
            )
        self._holder.follow(entered)
        process = Process(entered, argv, log)
        self._started = [one for one in self._started if one.running] + [process]
        return process

    def let_go(self) -> None:
        """Have nothing stand still any more: the world ends."""
        for process in self._started:
            process.resume()

    def converse(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program that is spoken with by pipes. It ends with the world, or when its standard input does."""
        return self._holder.converse(argv, HOME)

    def counters(self, name: str) -> str:
        """A file of its network in `/proc/net`, like `dev` or `snmp6`."""
        return Path(f"/proc/{self._holder.pid}/net/{name}").read_text()

    def spawn_shell(self) -> int:
        """A shell for a person, on this terminal, until they leave it. Its exit status."""
        shell = os.environ.get("SHELL", "/bin/sh")
        return subprocess.call(self._holder.enter([shell], HOME), env=_environment({"PS1": f"{self.name}$ "}))


class World:
    """A private network of hosts, from `with World() as world` to the end of the block or of this process."""

    def __init__(self) -> None:
        """Raises `LocalError` with code `no-namespaces` or `tool-missing`."""
        for tool in ("unshare", "nsenter", "ip"):
            if not shutil.which(tool, path=path()):
                raise LocalError("tool-missing", f"there is no `{tool}` here", "install util-linux and iproute2")
        namespaces = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._flags: list[str] = []
        if os.geteuid() != 0:
            namespaces += ["--user", "--map-root-user"]
            self._flags += ["--user", "--preserve-credentials"]
        self._holder = _Holder(["unshare", *namespaces, *_shell(_WORLD)], self._flags)
        self._hosts: dict[str, Host] = {}
        self._holders: list[_Holder] = []

    @staticmethod
    def check() -> Problem | None:
        """Why a world cannot be made here; None when it can. Finds out by making one, with a host."""
        try:
            with World() as world:
                world.host("probe")
        except LocalError as error:
            return error.problem
        return None

    @property
    def hosts(self) -> Mapping[str, Host]:
        return self._hosts

    def host(self, name: str) -> Host:
        """Add a host, linked to the underlay. `name` is its host name. Raises `LocalError`."""
        if name in self._hosts:
            raise LocalError("host-exists", f"there is a host {name!r} already", "choose another name")
        number = len(self._hosts) + 1
        addresses = [
            f"{address(number, 4)}/{UNDERLAY_4.prefixlen}",
            f"{address(number, 6)}/{UNDERLAY_6.prefixlen}",
        ]
        unshare = ["unshare", "--net", "--mount", "--uts", *_shell(_HOST), name, f"host{number}", *addresses]
        holder = _Holder(self._holder.enter(unshare, "/"), self._flags)
        self._holders.append(holder)
        self._hosts[name] = Host(name, number, holder)
        return self._hosts[name]

    def run(self, argv: Sequence[str], *, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command at the switch (`ip`, `bridge`, `tc`, `nft`), whatever its status, and keep its output."""
        return self._holder.run(argv, "/", timeout)

    def converse(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program at the switch that is spoken with by pipes."""
        return self._holder.converse(argv, "/")

    def wireguard(self) -> Literal["kernel", "userspace"]:
        """Which WireGuard the hosts can have, the kernel's if there is one. Raises `LocalError` `no-backend`."""
        if self.run(["ip", "link", "add", "probe", "type", "wireguard"]).returncode == 0:
            self.run(["ip", "link", "delete", "probe"])
            return "kernel"
        if not shutil.which("wireguard-go", path=path()):
            raise LocalError(
                "no-backend",
                "the kernel has no WireGuard, and there is no `wireguard-go`",
                "install wireguard-go, or a kernel with the wireguard module",
            )
        if self.run(["sh", "-c", f": <>{TUN}"]).returncode != 0:
            raise LocalError(
                "no-backend",
                f"the kernel has no WireGuard, and wireguard-go cannot open {TUN}",
                f"as root: modprobe tun && chmod 666 {TUN}; or run this as root",
            )
        return "userspace"

    def close(self) -> None:
        """End every process in it; returns when they are gone. Harmless when already closed."""
        for host in self._hosts.values():
            host.let_go()
        holders = (self._holder, *self._holders)
        for holder in holders:
            holder.release()
        processes = [process for holder in holders for process in holder.processes()]
        _wait_for(processes)
        for process in processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Holder:
    """The process that keeps namespaces alive, until its standard input closes."""

    def __init__(self, argv: Sequence[str], flags: Sequence[str]) -> None:
        """`argv` forks the holder and waits for it; `flags` are what `nsenter` needs besides to follow it in."""
        self._flags = tuple(flags)
        self._entered: list[subprocess.Popen[bytes]] = []
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(None),
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with self._process.stdout as said, self._process.stderr as complaints:
            ready, _, _ = select.select([said], [], [], START_TIMEOUT)
            if not ready or said.readline() != b"ready\n":
                self._process.kill()
                self.close()
                raise _refused(complaints.read().decode(errors="replace").strip() if ready else "it takes too long")
        pid = _child_of(self._process)
        if pid is None:
            self.close()
            raise _refused("their first process has ended")
        self.pid = pid

    def enter(self, argv: Sequence[str], folder: str) -> list[str]:
        """The command that runs `argv` in these namespaces, in a folder there."""
        # `--root`: entering a mount namespace would leave a chroot that the caller is in.
        namespaces = [f"--target={self.pid}", "--root", "--net", "--mount", "--uts", "--pid", *self._flags]
        return ["nsenter", *namespaces, f"--wdns={folder}", "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        folder: str,
        timeout: float,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its status. Kills it when waiting for it is broken off."""
        process = subprocess.Popen(
            self.enter(argv, folder),
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(env),
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            # What entered the namespace reaps its child, the command, and ends like it. Killed first, it would leave a
            # zombie to the machine's first process, and closing the world would wait until that one looks.
            for pid in children(process.pid) or [process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def converse(self, argv: Sequence[str], folder: str) -> subprocess.Popen[bytes]:
        entered = subprocess.Popen(
            self.enter(argv, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(None),
            start_new_session=True,
        )
        self.follow(entered)
        return entered

    def follow(self, entered: subprocess.Popen[bytes]) -> None:
        """Wait for it on closing, when the world has ended it."""
        self._entered = [process for process in self._entered if process.poll() is None] + [entered]

    def release(self) -> None:
        """Let all in these namespaces end, without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def processes(self) -> list[subprocess.Popen[bytes]]:
        return [self._process, *self._entered]

    def close(self) -> None:
        self.release()
        _wait_for(self.processes())


def address(number: int, family: Literal[4, 6]) -> IPv4Address | IPv6Address:
    """Of host `number` on the underlay: 10.77.x.y or fd77::x:y, where x.y is the number in base 256."""
    high, low = divmod(number, 256)
    return UNDERLAY_4[number] if family == 4 else UNDERLAY_6[high << 16 | low]


def _refused(complaint: str) -> LocalError:
    reason = next((f"{path} is {bad}" for path, bad in _FORBIDDEN.items() if _read(path) == bad), "")
    if os.geteuid() == 0:
        hint = "in a container: run it with --privileged"
    elif reason:
        hint = f"{reason}, which keeps users from making namespaces: ask root to change it, or run this as root"
    else:
        hint = "run this as root, or where users may make user namespaces"
    return LocalError("no-namespaces", f"private network namespaces cannot be made here: {complaint}", hint)


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """Of a process, those that run; none of one that has ended."""
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _child_of(process: subprocess.Popen[bytes]) -> int | None:
    """The pid of the program that `nsenter` or `unshare` has forked into its namespaces; None when it has ended."""
    while process.poll() is None:
        if forked := children(process.pid):
            return forked[0]
        time.sleep(0.001)
    return None


def _wake(entered: subprocess.Popen[bytes]) -> None:
    """`nsenter` stops itself when its child is stopped, and reaps nothing while it stands still."""
    if entered.poll() is None and _read(f"/proc/{entered.pid}/stat").rpartition(") ")[2].startswith("T"):
        with suppress(ProcessLookupError):
            os.kill(entered.pid, signal.SIGCONT)


def _wait_for(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Until all of these have ended. A namespace ends only when all that was in it is reaped."""
    left = list(processes)
    while left:
        for process in left:
            _wake(process)
        with suppress(subprocess.TimeoutExpired):
            left[0].wait(0.05)
        left = [process for process in left if process.poll() is None]


def _shell(script: str) -> list[str]:
    return ["sh", "-euc", script, "sh"]


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """The caller's, but with a home and without the folders that a session of the machine has."""
    own = {name: value for name, value in as_installed().items() if not name.startswith("XDG_")}
    return own | {"PATH": path(), "HOME": HOME} | dict(extra or {})
