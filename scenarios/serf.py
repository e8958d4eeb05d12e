"""HashiCorp serf on the same machine, for comparison: agents join, are killed, and are missed.

    python -m scenarios.serf --agents 60 [--quick] [--json]

Each agent has a loopback address of its own and the defaults of its `lan` profile. When an agent learns something it
logs it at once; the logs come here by pipes, so nothing is asked of anybody while something is measured.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self

import click

from scenarios.daemons import SUBNET, TooLate, usage
from scenarios.figures import Result
from scenarios.measurement import as_json, conclude

MISSING = "there is no `serf` here; on Debian: apt-get install serf"
PATIENCE = 60.0
SETTLE = 5.0
MIB = 2**20
_EVENT = re.compile(rb"serf: (EventMember\w+): (\S+) ")


class Agent:
    """One `serf agent`, and when it learned of whom."""

    def __init__(self, number: int) -> None:
        self.name = f"n{number}"
        self.address = f"127.{SUBNET}.{number >> 8}.{number & 0xFF}"
        self.heard: dict[tuple[str, str], float] = {}
        """Event and name → when it came last, on the monotonic clock."""
        argv = ["serf", "agent", f"-node={self.name}", f"-bind={self.address}:7946", f"-rpc-addr={self.address}:7373"]
        if shutil.which("setpriv"):
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        self.process = subprocess.Popen(
            [*argv, "-log-level=info"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        os.set_blocking(self.output, False)
        self._rest = b""

    def read(self) -> bool:
        """Take in what it has written; False when there will be no more."""
        data = os.read(self.output, 65536)
        now = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if (found := _EVENT.search(line + b" ")) is not None:
                self.heard[found[1].decode(), found[2].decode()] = now
        return bool(data)

    def knows(self, event: str, of: Agent, since: float) -> bool:
        return self.heard.get((event, of.name), -1.0) >= since


class Agents:
    """`with Agents() as agents`: at the end of the block all are gone."""

    def __init__(self) -> None:
        self.all: list[Agent] = []
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def add(self, count: int) -> list[Agent]:
        made = [Agent(number) for number in range(len(self.all) + 1, len(self.all) + 1 + count)]
        for agent in made:
            self._selector.register(agent.output, selectors.EVENT_READ, agent)
        self.all += made
        return made

    def join(self, agents: Sequence[Agent], to: Agent) -> None:
        """Returns when each has been told that it did."""
        for agent in agents:
            argv = ["serf", "join", f"-rpc-addr={agent.address}:7373", f"{to.address}:7946"]
            until = time.monotonic() + PATIENCE
            # Until its RPC port listens.
            while not succeeds(argv):
                if time.monotonic() > until:
                    raise TooLate(f"{agent.name} does not join within {PATIENCE:g} s")
                time.sleep(0.1)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > until:
                raise TooLate(f"not within {PATIENCE:g} s: {what}")
            time.sleep(0.02)

    def _read(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.1):
                if not key.data.read():
                    self._selector.unregister(key.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for agent in self.all:
            with suppress(ProcessLookupError):
                agent.process.kill()
        for agent in self.all:
            agent.process.wait()
        self._over.set()
        self._reader.join()
        self._selector.close()
        for agent in self.all:
            assert agent.process.stdout is not None
            agent.process.stdout.close()


def succeeds(argv: Sequence[str]) -> bool:
    """Raises `TooLate` when it hangs."""
    try:
        return subprocess.run(argv, capture_output=True, timeout=PATIENCE, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        raise TooLate(f"`{' '.join(argv)}` hangs for {PATIENCE:g} s") from None


def measure(agents: int = 60, *, quick: bool = False, seed: int = 1) -> Result:
    """All of it; one skipped row when there is no serf. Raises `TooLate`."""
    result = Result()
    if not shutil.which("serf"):
        result.skip("serf", MISSING)
        return result
    with Agents() as world:
        form(world, agents, result)
        idle(world, 5.0 if quick else 20.0, result)
        victims = Random(seed).sample(world.all[1:], 2 if quick else 8)
        living = list(world.all)
        for victim in victims[: 1 if quick else 3]:
            kill(world, living, [victim], "serf: killed, known to the others", result)
            time.sleep(SETTLE)
        together = victims[1 if quick else 3 :]
        kill(world, living, together, f"serf: {len(together)} killed at once, known to the others", result)
    return result


def form(world: Agents, count: int, result: Result) -> None:
    first, *others = world.add(count - 1)
    time.sleep(SETTLE)
    started = time.monotonic()
    world.join(others, first)
    result.add(f"serf: {len(others)} have joined, one after another", time.monotonic() - started, "s")
    world.until(lambda: knows_all(world.all, world.all), "all know all")
    known = time.monotonic() - started
    result.add(f"serf: {len(others)} have joined, and all know all", known, "s")
    time.sleep(SETTLE)
    (last,) = world.add(1)
    time.sleep(SETTLE)
    started = time.monotonic()
    world.join([last], first)
    world.until(lambda: knows_all(world.all[:-1], [last]) and knows_all([last], world.all), "one more is known")
    known_at = [agent.heard["EventMemberJoin", last.name] - started for agent in world.all[:-1]]
    result.spread("serf: one more joins, and is known", known_at, "s")


def knows_all(those: Sequence[Agent], others: Sequence[Agent]) -> bool:
    return all(("EventMemberJoin", other.name) in agent.heard for agent in those for other in others)


def idle(world: Agents, seconds: float, result: Result) -> None:
    time.sleep(SETTLE)
    before = {agent: usage(agent.process.pid) for agent in world.all}
    started = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - started
    after = {agent: usage(agent.process.pid) for agent in world.all}
    cpu = [100 * (after[agent].cpu - before[agent].cpu) / took for agent in world.all]
    result.mean_and_max("serf: CPU of an idle agent", cpu, "% of a core")
    result.mean_and_max("serf: resident memory", [used.resident / MIB for used in after.values()], "MiB")
    result.mean_and_max("serf: open descriptors", [float(used.descriptors) for used in after.values()], "")


def kill(world: Agents, living: list[Agent], victims: Sequence[Agent], figure: str, result: Result) -> None:
    """`kill -9` of all these at once. `living` loses them."""
    at: dict[Agent, float] = {}
    for victim in victims:
        living.remove(victim)
        at[victim] = time.monotonic()
        victim.process.kill()
    world.until(
        lambda: all(agent.knows("EventMemberFailed", victim, at[victim]) for agent in living for victim in victims),
        f"{', '.join(victim.name for victim in victims)} known as failed",
    )
    result.spread(figure, [a.heard["EventMemberFailed", v.name] - at[v] for a in living for v in victims], "s")


@click.command()
@click.option("--agents", default=60, show_default=True, type=click.IntRange(12, 4000), help="How many are started.")
@click.option("--quick", is_flag=True, help="Fewer deaths, shorter waits.")
@as_json
def main(agents: int, quick: bool, as_json: bool) -> None:
    """Measure serf on this machine, for comparison."""
    conclude(lambda: measure(agents, quick=quick), as_json)


if __name__ == "__main__":
    main()
