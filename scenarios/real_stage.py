"""The real world as a stage: daemons in network namespaces with real WireGuard, which are really killed and cut off.

Everything lies in one `World`, so that nothing is left of it however the run ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from itertools import permutations
from pathlib import Path

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.abilities import Abilities
from scenarios.hosts import World
from scenarios.nat import Nat
from scenarios.reactor import Reactor
from scenarios.real_deeds import RealDeeds
from scenarios.real_forming import Forming
from scenarios.real_hosts import RealHost
from scenarios.real_limits import limits, moves_peers, needs_slow_links
from scenarios.real_packets import RealPackets
from scenarios.real_traffic import RealTraffic
from scenarios.real_views import Views
from scenarios.script import Begins, Group, Script
from scenarios.stage import Deed, Limit, Observer, Seen, Way
from scenarios.underlay import Underlay
from smeg.errors import LocalError
from smeg.shares import DEFAULT

MOST_HOSTS = 64
USUAL = 12
"""hosts, unless somebody asks for another number."""
SOMEWHERE = IPv6Address("2001:db8::1")
"""Where packets go to that leave a mesh by its default route: the first address of all would be the sender's own."""
REST_WITHIN = 60.0
SETTLED = 3.0
"""seconds for which all has to be at rest; with several meshes, or something behind somebody, twice that."""
PATROL = 0.5
"""seconds between two packets of a pair that look for circles."""
MOST_PATROLS = 200
"""Of such pairs."""
LINES = 3
"""of the log of a daemon that ended."""
_log = logging.getLogger(__name__)


class RealStage:
    kind = "real"

    def __init__(self, script: Script, nodes: int, patience: float, able: Abilities, logs: Path | None = None) -> None:
        """`patience` stretches all that is waited for by the stage itself; in the folder `logs` is left what daemons
        have written."""
        self._logs = logs
        self._script = script
        self._groups: dict[str, Group] = dict(script.names(nodes))
        self._patience = patience
        self._able = able
        self._reactor = Reactor()
        self._world: World | None = None
        self._rest_at = float("inf")
        self._observer: Observer | None = None
        self._deeds = RealDeeds(self)
        self._underlay: Underlay | None = None
        self.hosts: dict[str, RealHost] = {}
        self.views: dict[str, Views] = {}
        self._founders: dict[str, RealHost] = {}
        slowest = max((group.latency for group in self._groups.values()), default=0.0)
        added = max((event.action.by for event in script.timeline if isinstance(event.action, a.Delay)), default=0.0)
        self.packets = RealPackets(self._reactor, self.hosts, patience + 4 * (slowest + added))
        self.traffic = RealTraffic(self._reactor, self.packets.send, lambda: self.now, self.packets.patience)
        self._patrol = RealTraffic(self._reactor, self.packets.send, lambda: self.now, self.packets.patience)

    def limits(self, script: Script) -> list[Limit]:
        return limits(script, self._able)

    @property
    def now(self) -> float:
        return time.monotonic() - self._rest_at

    # Setting up.

    def set_up(self, observer: Observer) -> None:
        self._observer = observer
        self._world = World()
        self._make_hosts(self._world, observer)
        edges = [host.edge for host in self.hosts.values()]
        self._underlay = Underlay(self._world, edges, self._able.netem, needs_slow_links(self._script))
        for host in self.hosts.values():
            link = self.underlay.links.by_name[host.edge.link]
            link.delays["own"], link.losses["own"] = host.group.latency, host.group.loss
        forming = Forming(self._script, self._groups, self.hosts, self._wait)
        forming.start_all()
        for views in self.views.values():
            views.begin()
        self._founders = forming.form_meshes()
        self.underlay.apply()
        for host in self.hosts.values():
            if host.group.begins is Begins.OFF:
                host.lose_power()
        self._wait_for_rest()
        self._look_up()
        self.packets.begin()
        if any(isinstance(one.check, e.NoLoop) for one in self._script.expect):
            pairs = tuple(permutations(self.hosts, 2))
            self._patrol.begin(pairs[:: len(pairs) // MOST_PATROLS + 1], PATROL)
        self._rest_at = time.monotonic()

    def _make_hosts(self, world: World, observer: Observer) -> None:
        settings: dict[str, object] = {**self._script.settings, "backend": self._able.backend}
        if any(DEFAULT in group.advertises for group in self._groups.values()):
            settings["acceptDefaults"] = True
        deeds = [event.action for event in self._script.timeline]
        misled = any(isinstance(deed, a.Clock) for deed in deeds)
        queues = any(isinstance(one.check, e.Bounded) for one in self._script.expect)
        roams = moves_peers(self._script)
        may_fill = any(isinstance(deed, a.DiskFull) for deed in deeds)
        for number, (name, group) in enumerate(self._groups.items(), 1):
            host = self.hosts[name] = RealHost(world, self._reactor, name, group, self._patience)
            if group.nat:
                host.nat = Nat(world, host.host, f"nat{number}", number)
            bridge = {"advertiseRoutes": True} if group.name in self._script.bridges else {}
            host.prepare({**settings, **bridge}, misled, may_fill, roams and group.role == "peer")
            self.views[name] = Views(self._reactor, host, observer, self._patience, queues)

    def _wait_for_rest(self) -> None:
        led = len(self._script.meshes) > 1 or any(group.advertises for group in self._groups.values())
        quiet = SETTLED * (2 if led else 1)
        since = time.monotonic()

        def at_rest() -> bool:
            nonlocal since
            if self._unrest():
                since = time.monotonic()
            return time.monotonic() >= since + quiet

        end = time.monotonic() + REST_WITHIN * self._patience
        while not at_rest():
            if time.monotonic() > end:
                what = f"{self._script.name} is not at rest {REST_WITHIN * self._patience:g} s after its start"
                raise LocalError("never-at-rest", f"{what}: {self._unrest()}", "see whether its meshes can work")
            self.run(0.2)

    def _unrest(self) -> str:
        """What is not as it should be before the timeline begins."""
        off = {name for name, group in self._groups.items() if group.begins is Begins.OFF}
        for mesh in self._script.meshes:
            members = {name for name, group in self._groups.items() if mesh in self._script.meshes_of(group)}
            known = set()
            for name in members - off:
                seen = self.seen(name, mesh)
                if seen is None or seen.leader is None:
                    return f"{name} is not in {mesh}"
                if set(self.members(name, mesh)) != members or seen.silent != off & members:
                    return f"{name} has not found all others in {mesh}"
                known.add(seen.knows)
            if len(known) > 1:
                return f"the members of {mesh} know {len(known)} different things"
        return ""

    def _wait(self, seconds: float, what: str, until: Callable[[], bool]) -> None:
        """Raises `LocalError`."""
        limit = seconds * self._patience
        end = time.monotonic() + limit
        while not self._reactor.run(0.1, until):
            self._look_after_daemons()
            if time.monotonic() > end:
                raise LocalError("never-formed", f"not within {limit:g} s: {what}", "try again with more --patience")

    # Running.

    def run(self, seconds: float) -> None:
        """Raises `LocalError` when a daemon ends by itself."""
        self._reactor.run(seconds)
        self._look_after_daemons()
        if self._observer is not None and self.now >= 0:
            for host in self.packets.where_packets_went_around():
                self._observer.went_around((host, "somewhere", host))

    def _look_after_daemons(self) -> None:
        for host in self.hosts.values():
            if host.died:
                last = " ".join(host.log().strip().splitlines()[-LINES:])
                raise LocalError("daemon-ended", f"the daemon of {host.name} ended by itself: {last}", "see its log")

    def do(self, deed: Deed) -> None:
        self._deeds.do(deed)

    def notice(self, host: str, what: str) -> None:
        if self._observer is not None:
            self._observer.noticed(host, what)

    def close(self) -> None:
        """End the world, whether or not its logs can be left."""
        try:
            self._leave_logs()
        except OSError as error:
            # What was found out is worth more than they are.
            _log.warning("cannot leave the logs of the daemons: %s", error)
        for host in self.hosts.values():
            if host.pinger is not None:
                host.pinger.close()
        self._reactor.close()
        if self._world is not None:
            self._world.close()

    def _leave_logs(self) -> None:
        if self._logs is not None and self.hosts:
            self._logs.mkdir(parents=True, exist_ok=True)
            for name, host in self.hosts.items():
                (self._logs / f"{name}.log").write_text(host.log())

    @property
    def underlay(self) -> Underlay:
        assert self._underlay is not None, "the stage is set up"
        return self._underlay

    def mesh(self, name: str) -> str:
        return name or next(iter(self._script.meshes))

    def founder(self, mesh: str) -> RealHost:
        return self._founders[self.mesh(mesh)]

    # What is so.

    def seen(self, host: str, mesh: str) -> Seen | None:
        return self.views[host].seen(mesh) if self.hosts[host].up else None

    def members(self, host: str, mesh: str) -> Mapping[str, str]:
        view = self.views[host].by_mesh.get(mesh)
        return {name: str(row["address"]) for name, row in view.rows.items()} if view is not None else {}

    def is_member(self, host: str, mesh: str, name: str) -> bool:
        return name in self.members(host, mesh)

    def succession(self, mesh: str) -> tuple[str, ...]:
        ids = {
            name: str(row["node"])
            for views in self.views.values()
            for name, row in (views.by_mesh[mesh].rows.items() if mesh in views.by_mesh else ())
            if row["role"] == "peer"
        }
        # Letters come before digits in the alphabet of ids.
        return tuple(sorted(ids, key=lambda name: [(letter.isdigit(), letter) for letter in ids[name]]))

    def carrier(self, client: str) -> str | None:
        for view in self.views[client].by_mesh.values():
            row = view.rows.get(client)
            if row is not None and row["via"]:
                return str(row["via"][0]["name"])
        return None

    def _look_up(self) -> None:
        for views in self.views.values():
            for mesh, view in views.by_mesh.items():
                for name, row in view.rows.items():
                    self.packets.addresses[name, mesh] = row["address"]

    def whole_ways(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        self._look_up()
        return self.packets.trace([(sender, self.packets.address(sender, to)) for sender, to in pairs])

    def ways(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        self._look_up()
        return self.packets.deliver(pairs)

    def ways_out(self, senders: Sequence[str], prefix: IPv6Network) -> list[Way]:
        self._look_up()
        target = str(SOMEWHERE if SOMEWHERE in prefix else next(iter(prefix.hosts())))
        # Whoever is the last to answer is where it leaves, be there somebody behind it or not.
        return [replace(way, arrived=True) for way in self.packets.trace([(sender, target) for sender in senders])]

    def longest_outage(self) -> tuple[float, str]:
        return self.traffic.longest()

    def interfaces(self, host: str) -> int:
        return len(self.hosts[host].interfaces())

    def deepest_queue(self) -> int:
        return max((views.deepest for views in self.views.values()), default=0)

    def largest_memory(self) -> float | None:
        return max((host.largest for host in self.hosts.values()), default=None)

    def sent(self) -> Mapping[str, tuple[int, int]]:
        return {name: host.sent() for name, host in self.hosts.items()}

    def marks(self) -> tuple[str, ...]:
        return ()
