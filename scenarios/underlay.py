"""What befalls the links of the real world: rules at its switch that drop, and queues that delay.

The rules are nftables' of the bridge family, written anew as a whole whenever something changes, so that what holds is
always what `Links` says. Delays, and messages that overtake others, need the kernel's netem; doubles need it or
nftables' `dup`. Links are named as the switch names them; times are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from subprocess import CompletedProcess
from typing import Literal

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

    def rules(self) -> str:
        """For the switch, as nftables reads them."""
        lines = []
        for side in self.sides:
            if side:
                lines.append(f"iifname {_set(side)} oifname != {_set(side)} drop")
        for name, link in self.by_name.items():
            if link.mute:
                lines.append(f'iifname "{name}" drop')
            if link.deaf:
                lines.append(f'oifname "{name}" drop')
            if link.loss > 0:
                lost = f"numgen random mod {PARTS} < {round(link.loss * PARTS)} drop"
                lines += [f'iifname "{name}" {lost}', f'oifname "{name}" {lost}']
        body = "\n".join(f"    {line}" for line in lines)
        chain = f"  chain through {{\n    type filter hook forward priority 0\n{body}\n  }}\n"
        return f"add table bridge faults\ndelete table bridge faults\ntable bridge faults {{\n{chain}}}\n"

    def doubling(self) -> str:
        """What doubles messages where there is no netem."""
        chains = ""
        if self.duplicate > 0:
            some = f"numgen random mod {PARTS} < {round(self.duplicate * PARTS)}"
            chains = "".join(
                f'  chain {name} {{\n    type filter hook egress device "{name}" priority 0\n'
                f'    {some} dup to "{name}"\n  }}\n'
                for name in self.by_name
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


def _set(names: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in sorted(names)) + " }"


class Underlay:
    """The switch of a world, and the hosts that are linked to it."""

    def __init__(self, world: World, hosts: Mapping[str, Host], netem: bool) -> None:
        """`hosts` by the switch's name for their links."""
        self._world = world
        self._hosts = hosts
        self._netem = netem
        self.links = Links({name: Link() for name in hosts})
        self._queues: dict[tuple[str, str], list[str]] = {}
        self._doubles = False

    def apply(self) -> None:
        """Let what `links` says be so. Raises `LocalError`."""
        self._run(self._world.run(["nft", self.links.rules()]))
        if self._netem:
            for name, host in self._hosts.items():
                self._queue(name, name, self.links.towards_host(name), self._world.run)
                self._queue(name, "eth0", self.links.from_host(name), partial(host.run, check=False))
        elif self.links.duplicate > 0 or self._doubles:
            self._doubles = True
            self._run(self._world.run(["nft", self.links.doubling()]))

    def cut(self, name: str, state: Literal["up", "down"]) -> None:
        """Pull a cable, or plug it in again."""
        self._run(self._world.run(["ip", "link", "set", name, state]))

    def _queue(self, name: str, device: str, told: list[str], run: Callable[[list[str]], _Ran]) -> None:
        if told == self._queues.get((name, device), []):
            return
        self._queues[name, device] = told
        argv = ["tc", "qdisc", "replace" if told else "delete", "dev", device, "root"]
        self._run(run([*argv, "netem", "limit", MOST_QUEUED, *told] if told else argv))

    def _run(self, done: _Ran) -> None:
        if done.returncode != 0:
            what = f"{' '.join(done.args[:6])[:60]} is refused: {done.stderr.strip()[:200]}"
            raise LocalError("underlay-refused", what, "see what this kernel has: nftables of the bridge family, netem")
