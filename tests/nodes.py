"""Real daemons on real hosts: how the tests of what crosses a wire start nodes, ask them, and wait for something."""

from __future__ import annotations

import json
import os
import re
import select
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scenarios.hosts import Host, Process, World
from smeg.edges.routes import PROTOCOL
from smeg.errors import LocalError

PATIENCE = float(os.environ.get("SMEG_PATIENCE", "1"))
"""By how much deadlines are stretched: an emulated processor is ten times slower."""


def wait_for(what: str, holds: Callable[[], bool], seconds: float) -> float:
    """Wait until it holds; how many seconds that took. Fails when it takes longer than allowed."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds * PATIENCE:
            pytest.fail(f"not within {seconds * PATIENCE:g} s: {what}")
        select.select([], [], [], 0.05)
    return time.monotonic() - started


def make_world() -> World:
    """A world, or the test is skipped with the reason why this machine has none."""
    problem = World.check()
    if problem is not None:
        pytest.skip(str(problem))
    return World()


class Node:
    """A host with a daemon."""

    def __init__(self, host: Host, backend: str, family: int = 4, **keys: object) -> None:
        self.host = host
        self.name = host.name
        endpoint = host.address(4 if family == 4 else 6)
        settings = {
            "name": host.name,
            "stateDir": "/run/home/state",
            "publicEndpoint": str(endpoint),
            "heartBeatInterval": 1,
            "backend": backend,
            **keys,
        }
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())
        (host.folder / "node.yaml").write_text(text)
        self.daemon: Process | None = None

    def start(self) -> None:
        self.daemon = self.host.start(["smeg-node", "--config", "node.yaml"])
        wait_for(f"{self.name} answers", self._answers, 30)

    def _answers(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.running, f"the daemon of {self.name} ended:\n{self.log()}"
        return self.cli("status", check=False).returncode in (0, 3)

    def log(self) -> str:
        return (self.host.folder / "smeg-node.log").read_text()

    def cli(self, *argv: str, check: bool = True, input: str | None = None) -> Any:
        timeout = 40 * PATIENCE
        return self.host.run(
            ["smeg-cli", "--timeout", f"{timeout:g}", *argv], check=check, input=input, timeout=timeout + 5
        )

    def ask(self, *argv: str, input: str | None = None) -> Any:
        """The JSON that a command answers; its failure as `LocalError`."""
        done = self.cli("--json", *argv, check=False, input=input)
        answer = json.loads(done.stdout)
        if done.returncode not in (0, 3):
            error = answer.get("error", answer)
            raise LocalError(error["code"], error["message"], error["hint"])
        return answer

    def members(self, mesh: str) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.ask("members", mesh)["members"]}

    def states(self, mesh: str) -> dict[str, str]:
        return {name: row["state"] for name, row in self.members(mesh).items()}

    def address(self, mesh: str) -> str:
        return str(next(row["address"] for row in self.members(mesh).values() if row["self"]))

    def pings(self, address: str) -> bool:
        argv = ["ping", "-c1", f"-W{max(1, round(PATIENCE))}", address]
        return self.host.run(argv, check=False, timeout=10 * PATIENCE).returncode == 0

    def interfaces(self) -> list[str]:
        return re.findall(r"smeg-[^:@]*", self.host.run(["ip", "-o", "link"]).stdout)

    def wireguard_peers(self) -> set[str]:
        """The public keys that `wg show` names, of all interfaces."""
        lines = self.host.run(["wg", "show", "all", "peers"], check=False).stdout.split()
        return {word for word in lines if word.endswith("=")}


def showconf(text: str) -> dict[str, dict[str, str]]:
    """The peers of a `wg showconf`, by public key, each with its fields as text."""
    peers: dict[str, dict[str, str]] = {}
    for section in text.split("[Peer]")[1:]:
        fields = dict(line.split(" = ", 1) for line in section.strip().splitlines() if " = " in line)
        peers[fields.pop("PublicKey")] = fields
    return peers


def all_at_once(work: Iterable[Callable[[], object]], most: int = 8) -> None:
    """Do these side by side, not more than so many at one time; the first failure is raised."""
    with ThreadPoolExecutor(most) as pool:
        for done in [pool.submit(each) for each in work]:
            done.result()


def form_mesh(nodes: list[Node], mesh: str) -> None:
    """The first makes a mesh, the others join it one after another by one token."""
    first, *others = nodes
    first.ask("new-mesh", mesh)
    token = first.ask("invite", mesh, "--uses", str(max(1, len(others))))["token"]
    for node in others:
        node.ask("join-mesh", "-", input=token)


def left_over(node: Node) -> list[str]:
    """What an ended daemon has left on its host, beside its state."""
    found = [f"interface {name}" for name in node.interfaces()]
    routes = node.host.run(["ip", "-6", "route", "show", "table", "all"]).stdout
    found += [f"route {line}" for line in routes.splitlines() if "smeg-" in line]
    rules = node.host.run(["ip", "-6", "rule"]).stdout
    found += [f"rule {line}" for line in rules.splitlines() if f"proto {PROTOCOL}" in line]
    run = Path(node.host.folder).parent
    found += [f"file {path}" for path in (run / "smegmesh").glob("*")] if (run / "smegmesh").exists() else []
    found += [f"socket {path}" for path in (run / "wireguard").glob("*")] if (run / "wireguard").exists() else []
    found += [f"lock {path}" for path in (node.host.folder / "state").glob("lock")]
    # Hosts share their list of processes; what ended and waits to be reaped is its parent's affair.
    processes = node.host.run(["ps", "-eo", "netns,stat,args"]).stdout
    own = node.host.run(["readlink", "/proc/self/ns/net"]).stdout.strip("net:[]\n")
    lines = [line.split(None, 2) for line in processes.splitlines()]
    found += [f"process {line[2]}" for line in lines if line[0] == own and "Z" not in line[1] and "smeg" in line[2]]
    return found
