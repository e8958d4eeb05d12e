"""A host of the real world: its namespace, its daemon as a process that can be killed, and its disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv6Network
from pathlib import Path

from scenarios.consoles import Console
from scenarios.echoes import Pinger
from scenarios.hosts import HOME, Host, Process, World
from scenarios.nat import Nat
from scenarios.reactor import Reactor
from scenarios.script import Group
from scenarios.wrong_clocks import SITECUSTOMIZE
from smeg.errors import LocalError
from smeg.shares import DEFAULT

ENDING_AGAIN = 0.1
"""seconds between two looks at whether a daemon that is to be started again has ended."""
CLOCK = f"{HOME}/clock"
MISLED = f"{HOME}/misled"
STATE = f"{HOME}/state"
DISK = "8m"
"""Size of a disk that may become full."""
BEHIND = IPv6Network("fd78::/64")
"""Where the probes of exits look."""
PROBE_PORT = 443


class RealHost:
    def __init__(self, world: World, reactor: Reactor, name: str, group: Group, patience: float) -> None:
        self.name = name
        self.group = group
        self._world = world
        self._reactor = reactor
        self._patience = patience
        self.host = world.host(name)
        self.nat: Nat | None = None
        self.daemon: Process | None = None
        self.off = False
        self.paused = False
        self._ending = False
        self._again = False
        self._moves = 0
        self._roams = False
        self._environment: dict[str, str] = {}
        self._settings: Mapping[str, object] = {}
        self.called = name
        """As its configuration says."""
        self.largest = 0.0
        """MiB: the most that a daemon of this host ever took."""
        run = self.host.folder.parent
        self.eyes = Console(reactor, run / "smegmesh" / "control.sock", 5.0 * patience)
        self.hands = Console(reactor, run / "smegmesh" / "control.sock", 60.0 * patience)
        self.pinger: Pinger | None = None

    # Before the daemon runs.

    def prepare(self, settings: Mapping[str, object], misled: bool, may_fill: bool, roams: bool = False) -> None:
        """Write the configuration, and what its faults need. Who `roams` finds its addresses itself."""
        self._roams = roams
        # Else only some of the packets that end here are answered; not every kernel has the second.
        self.host.run(["sysctl", "-qw", "net.ipv6.icmp.ratelimit=0"])
        self.host.run(["sysctl", "-qew", "net.ipv4.icmp_msgs_burst=10000"], check=False)
        if self.group.families == "ipv4":
            self.host.run(["ip", "-6", "address", "flush", "dev", "eth0", "scope", "global"])
        elif self.group.families == "ipv6":
            self.host.run(["ip", "-4", "address", "flush", "dev", "eth0"])
        if self.group.advertises:
            self.reach(reached=True)
        self._settings = settings
        self._configure(self.group)
        if may_fill:
            self.host.run(["mkdir", "-p", "-m", "700", STATE])
            self.host.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", STATE])
        if misled:
            self.set_clock(0.0, 1.0)
            (self.host.folder / "misled").mkdir()
            (self.host.folder / "misled" / "sitecustomize.py").write_text(SITECUSTOMIZE.format(path=CLOCK))
            self._environment = {"PYTHONPATH": MISLED}
        self.pinger = Pinger(self._reactor, self.host, PROBE_PORT if self.group.advertises else None)

    def _configure(self, group: Group) -> None:
        keys = {"name": self.called, "stateDir": STATE, "role": group.role, **self._leads(group), **self._settings}
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())
        (self.host.folder / "node.yaml").write_text(text)

    def _leads(self, group: Group) -> dict[str, object]:
        keys: dict[str, object] = {} if self._roams else {"publicEndpoint": self._endpoints()}
        if group.role == "peer":
            keys["forwarding"] = "host"
        if group.advertises:
            keys["advertise"] = [str(prefix) for prefix in group.advertises if prefix != DEFAULT]
            keys["advertiseDefaults"] = DEFAULT in group.advertises
            keys["exitProbe"] = f"[{self._probed()}]:{PROBE_PORT}"
        return keys

    def _endpoints(self) -> list[str]:
        families: tuple[int, ...] = {"both": (4, 6), "ipv4": (4,), "ipv6": (6,)}[self.group.families]
        return [str(self.host.address(4 if family == 4 else 6)) for family in families]

    def _probed(self) -> str:
        return str(BEHIND[self.host.number])

    # The daemon.

    @property
    def up(self) -> bool:
        return self.daemon is not None and self.daemon.running and not self._ending

    @property
    def died(self) -> bool:
        """Whether the daemon has ended, though nobody wanted it."""
        return self.daemon is not None and not self.daemon.running and not self._ending

    def begin(self) -> None:
        """Start the daemon, unless it is up; one that is just ending is started when it has."""
        if self.up:
            return
        if self._ending and self.daemon is not None and self.daemon.running:
            self._again = True
            self._reactor.call(ENDING_AGAIN, self._begin_again)
            return
        self._ending = self._again = self.paused = False
        if self.off:
            self.off = False
            self._plug("up")
        argv = ["smeg-node", "--config", "node.yaml"]
        self.daemon = self.host.start(argv, env=self._environment)

    def _begin_again(self) -> None:
        if self._again:
            self.begin()

    def end(self) -> None:
        """As a service manager does."""
        if self.up and self.daemon is not None:
            self._ending = True
            self.daemon.terminate()

    def die(self) -> None:
        self._ending = self._again = self.paused = False
        if self.daemon is not None:
            self.daemon.kill9()
        self.daemon = None

    def lose_power(self) -> None:
        """Silent at once, and nothing stays but what is on the disk."""
        self._plug("down")
        self.off = True
        self.die()
        for interface in self.interfaces():
            self.host.run(["ip", "link", "delete", interface], check=False)

    def stand_still(self) -> None:
        if self.up and self.daemon is not None:
            self.paused = True
            self.daemon.stall()

    def go_on(self) -> None:
        if self.paused and self.daemon is not None:
            self.paused = False
            self.daemon.resume()

    def measure(self) -> None:
        """Look at what the daemon takes."""
        if self.daemon is not None:
            with suppress(OSError):
                self.largest = max(self.largest, peak_memory(self.daemon.pid))

    def log(self) -> str:
        with suppress(OSError):
            return (self.host.folder / "smeg-node.log").read_text(errors="replace")
        return ""

    # The network.

    @property
    def edge(self) -> Host:
        """What is linked to the switch: this host, or the NAT before it."""
        return self.nat.router if self.nat is not None else self.host

    def _plug(self, state: str) -> None:
        self._world.run(["ip", "link", "set", self.host.link, state]).check_returncode()

    def move(self) -> None:
        """Another address outside, as if it had been carried elsewhere."""
        if self.nat is not None:
            self.nat.move()
            return
        before, self._moves = self._moves, self._moves + 1
        for family in (4, 6):
            old, new = (self.host.address(4 if family == 4 else 6) + 256 * moves for moves in (before, self._moves))
            if str(old) in self.host.run(["ip", f"-{family}", "address", "show", "dev", "eth0"]).stdout:
                length = 16 if family == 4 else 64
                self.host.run(["ip", "address", "del", f"{old}/{length}", "dev", "eth0"])
                self.host.run(["ip", "address", "add", f"{new}/{length}", "dev", "eth0"])

    def interfaces(self) -> list[str]:
        names = (line.partition(":")[0].strip() for line in self.host.counters("dev").splitlines())
        return [name for name in names if name.startswith("smeg-")]

    def sent(self) -> tuple[int, int]:
        """Packets and bytes, by its link to the underlay."""
        line = next(line for line in self.host.counters("dev").splitlines() if line.strip().startswith("eth0:"))
        fields = line.partition(":")[2].split()
        return int(fields[9]), int(fields[8])

    def ended_by_hop_limit(self) -> int:
        """How many packets ended here because they had gone too far, or were broken otherwise."""
        lines = (line.split() for line in self.host.counters("snmp6").splitlines())
        return next((int(count) for name, count in lines if name == "Ip6InHdrErrors"), 0)

    def reach(self, reached: bool) -> None:
        """Whether what its probe looks for is there."""
        verb = "replace" if reached else "del"
        argv = ["ip", "-6", "address", verb, f"{self._probed()}/128", "dev", "lo"]
        self.host.run(argv, check=False)

    # The disk.

    def fill_disk(self) -> None:
        script = f"dd if=/dev/zero of={STATE}/filler bs=64k; dd if=/dev/zero bs=512 >>{STATE}/filler; true"
        self.host.run(["sh", "-c", script])

    def free_disk(self) -> None:
        self.host.run(["rm", "-f", f"{STATE}/filler"])

    def corrupt(self) -> None:
        """The database, not the keys."""
        for path in (self.host.folder / "state").glob("state.db*"):
            path.write_bytes(b"\xa5" * max(4096, path.stat().st_size))

    def become(self, other: RealHost) -> None:
        """A copy of another host, but for the address. Raises `LocalError` while the daemon is up."""
        if self.daemon is not None and self.daemon.running:
            raise LocalError("daemon-up", f"the daemon of {self.name} is up: it would not notice another state")
        self.die()
        state = self.host.folder / "state"
        for old in state.iterdir() if state.exists() else ():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        # As it is at one moment.
        stands = other.up and not other.paused
        if stands:
            other.stand_still()
        shutil.copytree(other.host.folder / "state", state, dirs_exist_ok=True)
        if stands:
            other.go_on()
        self.called, self._settings = other.called, other._settings
        self._configure(other.group)
        if other.group.advertises:
            self.reach(reached=True)

    def set_clock(self, ahead: float, rate: float) -> None:
        """Seconds that the wall clock is ahead; seconds that the monotonic clock counts in a second."""
        new = self.host.folder / "clock.new"
        new.write_text(f"{ahead} {rate}\n")
        new.rename(self.host.folder / "clock")


def peak_memory(pid: int) -> float:
    """MiB. Raises `OSError` when there is no such process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)
