"""The demonstration: three nodes on one machine become a mesh, one is killed, and comes back.

Each node is the real daemon in a host of a private network (`scenarios.hosts`). What is done is shown as the commands
that a person would type there. It changes nothing on this machine and leaves nothing behind. With KEEP=1 in the
environment it ends in a shell on the first host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from typing import TypedDict

from scenarios.hosts import Host, Process, World
from smeg.errors import LocalError

NAMES = ("alice", "bob", "carol")
MESH = "demo"
PATIENCE = 60.0
"""seconds that any one thing may take before the demonstration gives up."""
LOG_LINES = 15
"""of a daemon's log, shown when something fails."""

CONFIG = """\
stateDir: /run/home/state
publicEndpoint: {endpoint}
heartBeatInterval: 1
backend: {backend}
"""
WIREGUARD = {"kernel": "the kernel's WireGuard", "userspace": "wireguard-go (the kernel here has no WireGuard)"}


class Member(TypedDict):
    """What `smeg-cli --json members` says of one member, as far as it is looked at here."""

    name: str
    address: str
    state: str


class Failed(Exception):
    """Something did not come about, on a host."""

    def __init__(self, host: Host, what: str) -> None:
        super().__init__(f"{host.name}: {what}")
        self.host = host


def main() -> int:
    """Exit status 0 when all held, 1 when not."""
    try:
        with World() as world:
            tell_the_story(world)
    except LocalError as error:
        print(f"\n{error.problem.message}\n{error.problem.hint}", file=sys.stderr)
        return 1
    except Failed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    print("The hosts are gone, and all that ran in them: nothing is left behind.")
    return 0


def tell_the_story(world: World) -> None:
    started = time.monotonic()
    try:
        backend = world.wireguard()
        say(f"Three hosts on a private network, with {WIREGUARD[backend]}")
        hosts = [world.host(name) for name in NAMES]
        for host in hosts:
            text = CONFIG.format(endpoint=host.address(4), backend=backend)
            (host.folder / "node.yaml").write_text(text)
        daemons = {host.name: start_node(host) for host in hosts}

        say("A mesh, and an invitation to it")
        make_mesh(hosts)

        say("Every pair talks over the mesh")
        addresses = {member["name"]: member["address"] for member in members(hosts[0])}
        ping_all(hosts, addresses)

        alice, bob, carol = hosts
        say("A daemon is killed: its host says so, and the others know at once")
        show(bob, f"kill -9 {daemons[bob.name].inside_pid}")
        daemons[bob.name].kill9()
        for host in (alice, carol):
            wait(host, f"{host.name} knows that bob's daemon is down", partial(sees, host, bob, "daemon-down"))
        print(type_in(alice, ["smeg-cli", "members", MESH]), end="")
        print("  its tunnels run on: bob has time to come back")
        ping_all([alice, bob], addresses)

        say("It starts again, and is who it was")
        start_node(bob)
        for host in (alice, carol):
            wait(host, f"{host.name} sees bob back", partial(sees, host, bob, "alive"))
        again = {member["name"]: member["address"] for member in members(alice)}
        if again != addresses:
            raise Failed(bob, f"came back with the address {again[bob.name]}, and had {addresses[bob.name]}")
        print(f"  bob still has {again[bob.name]}")
        ping_all(hosts, addresses)
        say(f"All of it held, in {time.monotonic() - started:.0f} seconds.")
    except Failed as failure:
        # Now, since the logs go with the world.
        print_log(failure.host)
        raise
    if os.environ.get("KEEP") == "1":
        keep(alice)


def start_node(host: Host) -> Process:
    """Returns when the daemon answers."""
    argv = ["smeg-node", "--config", "node.yaml"]
    show(host, f"{' '.join(argv)} &")
    daemon = host.start(argv)

    def answers() -> bool:
        if not daemon.running:
            raise Failed(host, "smeg-node has ended")
        return host.run(["smeg-cli", "status"], check=False).returncode == 0

    wait(host, "it answers", answers)
    return daemon


def make_mesh(hosts: Sequence[Host]) -> None:
    first, *others = hosts
    type_in(first, ["smeg-cli", "new-mesh", MESH])
    invite = ["smeg-cli", "invite", MESH, "--uses", str(len(others)), "--expires", "1h", "--role", "peer"]
    token = type_in(first, invite, redirect=" >token")
    for host in others:
        type_in(host, ["smeg-cli", "join-mesh", "-"], given=token, redirect=" <token")
    for host in hosts:
        wait(host, f"{host.name} knows all", partial(knows_all, host, hosts))
    print(type_in(first, ["smeg-cli", "members", MESH]), end="")


def ping_all(hosts: Sequence[Host], addresses: dict[str, str]) -> None:
    for one, other in permutations(hosts, 2):
        argv = ["ping", "-c1", "-W1", addresses[other.name]]
        show(one, " ".join(argv))
        wait(one, f"{other.name} answers", partial(succeeds, one, argv))


def keep(host: Host) -> None:
    say(f"A shell on {host.name}: try `smeg-cli status`. All hosts end with it (exit, or Ctrl-D).")
    host.spawn_shell()


def members(host: Host) -> list[Member]:
    """As `host` sees them; none while it cannot say."""
    done = host.run(["smeg-cli", "--json", "members", MESH], check=False)
    if done.returncode != 0:
        return []
    found: list[Member] = json.loads(done.stdout)["members"]
    return found


def knows_all(host: Host, hosts: Sequence[Host]) -> bool:
    return sorted((m["name"], m["state"]) for m in members(host)) == sorted((other.name, "alive") for other in hosts)


def sees(host: Host, other: Host, state: str) -> bool:
    return any(member["name"] == other.name and member["state"] == state for member in members(host))


def succeeds(host: Host, argv: Sequence[str]) -> bool:
    return host.run(argv, check=False).returncode == 0


def type_in(host: Host, argv: Sequence[str], given: str | None = None, redirect: str = "") -> str:
    """Show a command, run it, and return what it prints. `redirect` is shown only. Raises `Failed`."""
    show(host, " ".join(argv) + redirect)
    try:
        return host.run(argv, input=given).stdout
    except subprocess.CalledProcessError as error:
        raise Failed(host, f"`{' '.join(argv)}` failed with status {error.returncode}:\n{error.stderr}") from None
    except subprocess.TimeoutExpired as error:
        raise Failed(host, f"`{' '.join(argv)}` did not end within {error.timeout:.0f} s") from None


def wait(host: Host, what: str, condition: Callable[[], bool]) -> None:
    """Ask again and again, visibly. Raises `Failed` after `PATIENCE`."""
    started = time.monotonic()
    print(f"  {what} ", end="", flush=True)
    while not condition():
        if time.monotonic() - started > PATIENCE:
            print()
            raise Failed(host, f"waited {PATIENCE:.0f} s in vain until {what}")
        print(".", end="", flush=True)
        time.sleep(0.25)
    print(f"({time.monotonic() - started:.1f} s)", flush=True)


def say(what: str) -> None:
    print(f"\n{what}", flush=True)


def show(host: Host, command: str) -> None:
    print(f"{host.name}$ {command}", flush=True)


def print_log(host: Host) -> None:
    log = host.folder / "smeg-node.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    if lines:
        print(f"\nThe end of {host.name}'s log:", *lines[-LOG_LINES:], sep="\n  ", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
