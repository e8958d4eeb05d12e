"""What befalls the links of the real world: rules at its switch that drop, and queues that delay.

The rules are nftables' of the bridge family, written anew as a whole whenever something changes, so that what holds is
always what `Links` says. The kernel's netem delays messages, doubles them, and has some overtake others; where it is
missing `slow_links` and nftables' `dup` do. Links are named as the switch names them; times are in seconds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Literal

from scenarios import slow_links
from scenarios.hosts import Host, World
from smeg.errors import LocalError

PARTS = 10_000
"""In which shares are reckoned."""
STRAGGLE = 0.02
"""seconds that a message which is overtaken stays behind."""
MOST_QUEUED = "10000"
"""packets that wait at one end of a link."""
_Ran = CompletedProcess[str]


@dataclass(slots=True)
class Link:
    mute: bool = False
    """Nothing of what its host sends arrives."""
    deaf: bool = False
    """Nothing arrives at its host."""
    losses: dict[str, float] = field(default_factory=dict)
    """Shares, by what causes them."""
    delays: dict[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        passes = 1.0
        for share in self.losses.values():
            passes *= 1.0 - share
        return 1.0 - passes

    @property
    def delay(self) -> float:
        return sum(self.delays.values())


@dataclass(slots=True)
class Links:
    by_name: dict[str, Link]
    sides: tuple[frozenset[str], ...] = ()
    """Of a partition."""
    duplicate: float = 0.0
    straggle: float = 0.0
    ports: dict[str, str] = field(default_factory=dict)
    """What the switch calls those that it calls otherwise."""

    def port(self, name: str) -> str:
        return self.ports.get(name, name)

    def rules(self) -> str:
        """For the switch, as nftables reads them."""
        lines = []
        for side in self.sides:
            if side:
                ports = _set(map(self.port, side))
                lines.append(f"iifname {ports} oifname != {ports} drop")
        for name, link in ((self.port(name), link) for name, link in self.by_name.items()):
            if link.mute:
                lines.append(f'iifname "{name}" drop')
            if link.deaf:
                lines.append(f'oifname "{name}" drop')
            if link.loss > 0:
                lost = f"{_chance(link.loss)} drop"
                lines += [f'iifname "{name}" {lost}', f'oifname "{name}" {lost}']
        body = "\n".join(f"    {line}" for line in lines)
        chain = f"  chain through {{\n    type filter hook forward priority 0\n{body}\n  }}\n"
        return f"add table bridge faults\ndelete table bridge faults\ntable bridge faults {{\n{chain}}}\n"

    def doubling(self) -> str:
        """What doubles messages where there is no netem."""
        chains = ""
        if self.duplicate > 0:
            some = _chance(self.duplicate)
            chains = "".join(
                f'  chain {name} {{\n    type filter hook egress device "{name}" priority 0\n'
                f'    {some} dup to "{name}"\n  }}\n'
                for name in map(self.port, self.by_name)
            )
        return f"add table netdev doubles\ndelete table netdev doubles\ntable netdev doubles {{\n{chains}}}\n"

    def towards_host(self, name: str) -> list[str]:
        """What netem is told for the switch's end of a link; empty for nothing."""
        told = self.from_host(name)
        if self.straggle > 0:
            # Either those that do not overtake stay behind, or all vary so much that they overtake each other.
            behind = f"{STRAGGLE * 1000:g}ms"
            told = [*told, behind] if told else ["delay", behind, "reorder", f"{(1 - self.straggle) * 100:g}%"]
        if self.duplicate > 0:
            told += ["duplicate", f"{self.duplicate * 100:g}%"]
        return told

    def from_host(self, name: str) -> list[str]:
        """Likewise for its host's end."""
        delay = self.by_name[name].delay
        return ["delay", f"{delay * 1000:g}ms"] if delay > 0 else []


def _chance(share: float) -> str:
    """What holds for so many of the packets."""
    parts = round(share * PARTS)
    return f"numgen random mod {PARTS} < {parts}" if parts < PARTS else "meta length > 0"


def _set(names: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in sorted(names)) + " }"


class Underlay:
    """The switch of a world, and the hosts that are linked to it."""

    def __init__(self, world: World, hosts: Iterable[Host], netem: bool, slows: bool) -> None:
        """`slows`: whether links have to be slow at times, for which without netem a program stands between."""
        self._world = world
        self._hosts = {host.link: host for host in hosts}
        self._netem = netem
        self.links = Links({name: Link() for name in self._hosts})
        self._queues: dict[tuple[str, str], list[str]] = {}
        self._doubled = 0.0
        # None at first: a kernel that can drop nothing is not asked to.
        self._rules = self.links.rules()
        self._slow: subprocess.Popen[bytes] | None = None
        self._paces: dict[str, str] = {}
        if slows and not netem:
            self._slow = self._stand_between()

    def apply(self) -> None:
        """Let what `links` says be so. Raises `LocalError`."""
        rules = self.links.rules()
        if rules != self._rules:
            self._run(self._world.run(["nft", rules]))
            self._rules = rules
        if self._netem:
            for name, host in self._hosts.items():
                self._queue(name, name, self.links.towards_host(name), self._world.run)
                self._queue(name, "eth0", self.links.from_host(name), partial(host.run, check=False))
            return
        if self.links.duplicate != self._doubled:
            self._doubled = self.links.duplicate
            self._run(self._world.run(["nft", self.links.doubling()]))
        for name, link in self.links.by_name.items() if self._slow is not None else ():
            self._pace(name, f"{name} {link.delay} {self.links.straggle}\n")

    def cut(self, name: str, state: Literal["up", "down"]) -> None:
        """Pull a cable, or plug it in again."""
        self._run(self._world.run(["ip", "link", "set", name, state]))

    def _stand_between(self) -> subprocess.Popen[bytes]:
        for name, host in self._hosts.items():
            near, far = f"near{host.number}", f"far{host.number}"
            self.links.ports[name] = far
            for argv in (
                ("add", near, "type", "veth", "peer", "name", far),
                ("set", name, "nomaster"),
                ("set", near, "up"),
                ("set", far, "master", "underlay", "up"),
            ):
                self._run(self._world.run(["ip", "link", *argv]))
        pairs = [f"{name}:near{host.number}" for name, host in self._hosts.items()]
        slow = self._world.converse([sys.executable, "-I", "-S", str(Path(slow_links.__file__)), *pairs])
        assert slow.stdout is not None
        if slow.stdout.readline() != b"ready\n":
            raise LocalError("underlay-refused", "links cannot be slowed down", "play it where the kernel has netem")
        return slow

    def _pace(self, name: str, line: str) -> None:
        if self._slow is None or self._slow.stdin is None or self._paces.get(name) == line:
            return
        self._paces[name] = line
        self._slow.stdin.write(line.encode())
        self._slow.stdin.flush()

    def _queue(self, name: str, device: str, told: list[str], run: Callable[[list[str]], _Ran]) -> None:
        if told == self._queues.get((name, device), []):
            return
        self._queues[name, device] = told
        argv = ["tc", "qdisc", "replace" if told else "delete", "dev", device, "root"]
        self._run(run([*argv, "netem", "limit", MOST_QUEUED, *told] if told else argv))

    def _run(self, done: _Ran) -> None:
        if done.returncode != 0:
            what = f"{done.args[0]} is refused what it was told: {' '.join(done.stderr.split())[:200]}"
            raise LocalError("underlay-refused", what, "see what this kernel has: nftables of the bridge family, netem")
