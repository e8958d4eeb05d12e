"""`smeg-node`: reads the configuration, starts the actors, and ends them in order when it is told to.

SIGTERM and SIGINT end it; a second one ends it at once. SIGHUP has it read its configuration again. Exit status 0 after
an orderly end, 1 when it could not start.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import math
import os
import queue
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import is_dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import click

from actors.base import Actor, Address
from actors.cast import Cast, Reloaded, Settings
from actors.control import ControlActor
from actors.endings import STAGES
from actors.gossip import CLIENT_LIMITS, GossipActor
from actors.logs import configure_logs
from actors.node import Node
from actors.prober import ProberActor
from actors.runtime import Runtime
from actors.threads import ThreadedRuntime
from actors.wiring import Role
from smeg import __version__
from smeg.config import Config, defaults, parse
from smeg.edges.backends import open_backend
from smeg.edges.hook_run import check_trusted
from smeg.edges.resolver import Resolver
from smeg.edges.store import Store
from smeg.errors import LocalError, Problem
from smeg.mesh_settings import Keys
from smeg.messages import Reload, Shutdown
from smeg.reloading import compare

M_ARENA_MAX, M_MMAP_THRESHOLD = -8, -3
"""Of `malloc.h` of the GNU C library."""
LARGE = 32 * 1024
"""bytes; what is larger goes back to the system at once when it is free. Payloads are, when a whole mesh comes."""
KEYS_OF: Mapping[Role, tuple[str, ...]] = {
    Role.PROBER: ("exitProbe",),
    Role.DNS: ("dnsAddress", "dnsPort", "dnsResolved"),
    Role.METRICS: ("metricsListen",),
}
"""By which keys these actors are made."""
TIDY_EVERY = 30.0
"""seconds."""
END_LIMIT = sum(limit for _, limit in STAGES) + 2.0
"""seconds that an orderly end may take in all."""


def production(config: Config, runtime: ThreadedRuntime) -> Cast:
    """The actors that touch the real world."""
    settings = Settings(
        config.name,
        role=config.role,
        keepalive=config.keep_alive_wg,
        public_endpoints=config.public_endpoint,
        ip_discovery=config.ip_discovery,
        wireguard_port=config.wireguard_port,
        mtu=config.mtu,
        forwarding=config.forwarding,
        heartbeat_interval=config.heart_beat_interval,
        suspect_after=config.suspect_after,
        restart_grace=config.restart_grace,
        repair_interval=config.repair_interval,
        handshake_interval=0.0 if config.backend == "dry-run" else 5.0,
        routes=config.routes,
        hooks=config.hooks,
    )
    return Cast(
        settings,
        lambda: Store(config.state_dir, runtime.entropy),
        lambda world, n, node, keys: _gossip(config, world, n, node, keys),
        lambda world, n, node, keys: ControlActor(
            world,
            n,
            node,
            keys,
            config.control_socket,
            config.name,
            config.routes,
            config.keep_alive_wg,
            config.control_group,
        ),
        lambda spec: open_backend(config.backend, config.wireguard_program, spec),
        Resolver,
        prober=(lambda world, n, node, keys: ProberActor(world, n, node, config.exit_probe))
        if config.exit_probe
        else None,
        metrics=(lambda world, n, node, keys: _metrics(config, world, n, node)) if config.metrics_listen else None,
        dns=(lambda world, n, node, keys: _dns(config, world, n, node)) if config.dns_address else None,
    )


def _dns(config: Config, runtime: Runtime, incarnation: int, node: Address) -> Actor:
    # It takes time to import, and 4 MB: only who serves names pays for it.
    from actors.dns import DnsActor

    # Without an interface there is nothing that resolved could be told about.
    resolved = config.dns_resolved and config.backend != "dry-run"
    return DnsActor(runtime, incarnation, node, config.dns_address, config.dns_port, resolved)


def _metrics(config: Config, runtime: Runtime, incarnation: int, node: Address) -> Actor:
    from actors.metrics import MetricsActor

    (place,) = config.metrics_listen
    return MetricsActor(runtime, incarnation, node, ip_address(place.host), place.port or 0)


def _gossip(config: Config, runtime: Runtime, incarnation: int, node: Address, keys: Keys) -> GossipActor:
    """A client dials out only: what it binds nobody else can reach, and is not asked for."""
    if config.role == "client":
        return GossipActor(runtime, incarnation, node, keys, "127.0.0.1", 0, CLIENT_LIMITS)
    return GossipActor(runtime, incarnation, node, keys, config.gossip_address, config.gossip_port)


def read_config(path: Path | None) -> Config:
    """The configuration in a file, or the defaults. Raises `LocalError` with every mistake."""
    base = defaults(socket.gethostname(), os.geteuid() == 0, os.environ)
    if path is None:
        return base
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError("config-unreadable", f"cannot read {path}: {error}", "name a file that exists") from error
    config = parse(text, str(path), base)
    if config.hooks.any:
        check_trusted(path)
    return config


def be_frugal() -> None:
    """Spend little memory and time on keeping house: a daemon lives long, and does little."""
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # Else the C library gives each thread an arena of its own, each with free space that no other uses.
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
    for each in gc.get_objects():
        if isinstance(each, type) and is_dataclass(each) and "__slots__" in vars(each):
            _let_go_of_the_first(each)
    # What is there now stays: no collection has to look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _let_go_of_the_first(made: type) -> None:
    """`dataclass(slots=True)` makes a class a second time. Of a frozen one, what refuses to change it holds on to the
    first, of which nobody else knows: two kilobytes each."""
    for name in ("__setattr__", "__delattr__"):
        for cell in getattr(vars(made).get(name), "__closure__", None) or ():
            if isinstance(cell.cell_contents, type) and cell.cell_contents.__qualname__ == made.__qualname__:
                cell.cell_contents = made


def tidy() -> None:
    """Give back what the C library keeps for later: after a join of thousands it is a megabyte."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


class Reloading:
    """Reads the file again that the daemon was started with: see `Cast.reload`."""

    def __init__(self, read: Callable[[], Config], running: Config, runtime: ThreadedRuntime) -> None:
        self._read = read
        self._running = running
        self._runtime = runtime

    def __call__(self) -> Reloaded:
        change = compare(self._running, self._read())
        self._running = change.effective
        configure_logs(self._running.log_level, self._running.log_format)
        replaced = tuple(role for role, keys in KEYS_OF.items() if change.changes(*keys))
        cast = replace(production(self._running, self._runtime), reload=self)
        return Reloaded(cast, change.at_once, change.restart, replaced)


def serve(config: Config, read: Callable[[], Config] | None = None) -> Problem | None:
    """Run until told to end; what went wrong, if the daemon could not work. `read` reads the configuration again."""
    be_frugal()
    runtime = ThreadedRuntime()
    ended: queue.SimpleQueue[Problem | None] = queue.SimpleQueue()
    reload = Reloading(read, config, runtime) if read is not None else None
    node = Node(runtime, replace(production(config, runtime), reload=reload), ended.put)
    address = Address(node)

    def stop(number: int, frame: object) -> None:
        # A second signal ends the process the hard way, and so does the alarm when the orderly end takes too long.
        signal.signal(number, signal.SIG_DFL)
        signal.alarm(math.ceil(END_LIMIT))
        address.tell(Shutdown())

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda number, frame: address.tell(Reload()))
    node._start_actor_loop()
    node.open()
    while True:
        with suppress(queue.Empty):
            return ended.get(timeout=TIDY_EVERY)
        tidy()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "path", type=click.Path(path_type=Path), help="YAML file; see docs/configuration.md.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Instead of the configuration's stateDir.")
@click.option("--check", is_flag=True, help="Only check the configuration.")
@click.version_option(__version__, prog_name="smeg-node")
def main(path: Path | None, state_dir: Path | None, check: bool) -> None:
    """Be a node of WireGuard meshes: run the daemon in the foreground until SIGTERM."""
    faulthandler.enable()

    def read() -> Config:
        found = read_config(path)
        return replace(found, state_dir=state_dir) if state_dir is not None else found

    try:
        config = read()
        if check:
            click.echo("the configuration is right")
            return
        configure_logs(config.log_level, config.log_format)
        problem = serve(config, read if path is not None else None)
    except LocalError as error:
        problem = error.problem
    if problem is not None:
        click.echo(f"error: {problem.message}", err=True)
        if problem.hint:
            click.echo(f"hint: {problem.hint}", err=True)
        sys.exit(1)
