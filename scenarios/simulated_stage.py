"""The simulated world as a stage: real actors in virtual time, thousands of hosts, every run the same for its seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise
from math import ceil, inf

from actors.wiring import Role
from scenarios import expectations as e
from scenarios.actions import Traffic
from scenarios.later_version import UNKNOWN_FIELDS
from scenarios.packets import End, Packets
from scenarios.players import Player, Seat
from scenarios.population import populate
from scenarios.script import SETTINGS, Begins, Group, Script
from scenarios.simulated_deeds import Deeds
from scenarios.simulated_limits import limits
from scenarios.simulation import Host, World
from scenarios.stage import Deed, Limit, Observer, Seen, Way
from scenarios.tunnels import Tunnels
from smeg.device import DeviceState, WgPeer
from smeg.errors import LocalError
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.membership import Membership
from smeg.route_policy import MeshPolicy, RoutePolicy
from smeg.shares import DEFAULT

WARM_UP = 12.0
"""seconds until hosts that have started are at rest, at least."""
REST_WITHIN = 60.0
NEEDS_DEVICES = (e.Reachable, e.Unreachable, e.NoLoop, e.SharesWithin, e.LeadsThrough, e.NoInterfaceLeft, Traffic)


class Theatre(World):
    """The hosts of a script, called as it calls them. They are told whose they are before they are made."""

    def __init__(self, seed: int, names: Iterable[str], stage: SimulatedStage, planned: bool) -> None:
        self._names = list(names)
        self._stage = stage
        self._planned = planned
        super().__init__(seed, len(self._names), handshake_interval=0.0)
        self.runtime.tracing = False

    def make_host(self, number: int) -> Host:
        return Player(self, number, self._names[number - 1], self._stage, self._planned)


class SimulatedStage:
    kind = "simulated"

    def __init__(self, script: Script, nodes: int, seed: int) -> None:
        self._script = script
        self.groups: dict[str, Group] = dict(script.names(nodes))
        said = [*(event.action for event in script.timeline), *(one.check for one in script.expect)]
        said += [event.after for event in script.timeline if event.after is not None]
        self._planned = any(isinstance(one, NEEDS_DEVICES) for one in said)
        clients = (name for name, group in self.groups.items() if group.role == "client")
        self._wakers = frozenset(clients if self._planned else ())
        """Clients that have tunnels."""
        self._looks_for_circles = any(isinstance(one, e.NoLoop) for one in said)
        self.world = Theatre(seed, self.groups, self, self._planned)
        self.players = {host.name: host for host in self.world.hosts if isinstance(host, Player)}
        self.names = {player.key: name for name, player in self.players.items()}
        self.tunnels = Tunnels(self.world.network)
        self.packets = Packets(self.tunnels.find)
        self.ids: dict[str, str] = {}
        """Of meshes, by name."""
        self._called: dict[str, str] = {}
        self.founders: dict[str, Player] = {}
        self._observer: Observer | None = None
        self._rest_at = inf
        self._trace = blake2b(digest_size=16)
        self._marks: list[str] = []
        self._silent: tuple[frozenset[NodeKey], frozenset[str]] = (frozenset(), frozenset())
        self._deeds = Deeds(self)
        self.world.network.recorder = self._sent

    def limits(self, script: Script) -> list[Limit]:
        return limits(script)

    @property
    def now(self) -> float:
        return self.world.runtime.time - self._rest_at

    # Running.

    def set_up(self, observer: Observer) -> None:
        self._observer = observer
        for name, group in self.groups.items():
            self.players[name].later = group.speaks == "later"
        for mesh in self._script.meshes:
            self._make_mesh(mesh)
        default = any(DEFAULT in group.advertises for group in self.groups.values())
        settings = {SETTINGS[key]: value for key, value in self._script.settings.items()}
        for name, group in self.groups.items():
            player = self.players[name]
            player.remembers = group.begins is not Begins.OUTSIDE
            player.behind = frozenset(group.advertises)
            policy = MeshPolicy(bridge=group.name in self._script.bridges, accept_defaults=default)
            routes = RoutePolicy(player.behind, probed=bool(player.behind), general=policy)
            player.arguments = {**settings, "role": group.role, "routes": routes}
            self._deeds.set_link(player, own_delay=group.latency, own_loss=group.loss)
            if group.begins is not Begins.OFF:
                player.begin()
        self.run(self._warm_up)
        end = self.world.runtime.time + REST_WITHIN
        while not self._at_rest():
            if self.world.runtime.time > end:
                what = f"{self._script.name} is not at rest {REST_WITHIN:g} s after its start"
                raise LocalError("never-at-rest", what, "see whether its meshes and settings can work")
            self.run(1.0)
        self._rest_at = self.world.runtime.time

    @property
    def _warm_up(self) -> float:
        return WARM_UP * min(2, len(self._script.meshes))

    def _make_mesh(self, mesh: str) -> None:
        hosts = [
            self.players[name] for name, group in self.groups.items() if mesh in self._script.meshes_of(group)
        ]  # fmt: skip
        # Whoever founds it is a peer, and up.
        ordered = sorted(hosts, key=lambda host: (self._is_client(host), self._begins_off(host)))
        clients = [host for host in ordered if self._is_client(host)]
        trusted = any(group.advertises for group in self.groups.values())
        said = {host: self.groups[host.name].certified for host in ordered[1:]}
        certified: dict[Host, int] = {host: ceil(term + self._warm_up) for host, term in said.items() if term}
        later: dict[Host, Mapping[str, str]] = {host: UNKNOWN_FIELDS for host in hosts if host.later}
        found = populate(self.world, ordered, clients, mesh, trusted, certified, later)
        self.ids[mesh], self._called[found] = found, mesh
        self.founders[mesh] = ordered[0]

    def _is_client(self, player: Player) -> bool:
        return self.groups[player.name].role == "client"

    def _begins_off(self, player: Player) -> bool:
        return self.groups[player.name].begins is Begins.OFF

    def _at_rest(self) -> bool:
        off = frozenset(player.key for player in self.players.values() if self._begins_off(player))
        for player in self.players.values():
            meshes = self._script.meshes_of(self.groups[player.name])
            for mesh in meshes if player.key not in off else ():
                seat = self._seat(player.name, mesh)
                members = seat.members.members if seat is not None and seat.members is not None else {}
                if seat is None or seat.leader is None or seat.silent != off & members.keys():
                    return False
        return True

    def run(self, seconds: float) -> None:
        """Raises `LocalError` when an actor fails, which none may by itself."""
        try:
            self.world.run(seconds)
        except RuntimeError as failure:
            what = f"{failure}: {failure.__cause__!r}"
            raise LocalError("actor-failed", what, "that is a defect of the daemon: see the traceback") from failure
        while len(self._marks) + 1 <= self.now + 1e-9:
            self._marks.append(self._trace.hexdigest()[:16])

    def do(self, deed: Deed) -> None:
        self._deeds.do(deed)

    def close(self) -> None:
        pass

    # What the players say.

    def _sent(self, source: str, target: str, payload: bytes) -> None:
        self._trace.update(f"{self.world.runtime.time:.9f} {source} {target} {len(payload)} ".encode() + payload)
        if source in self._wakers:
            self.players[source].dial(self.players[target])

    def tell_trace(self, *words: str) -> None:
        """Something that happened, for the digest of all that did."""
        self._trace.update(f"{self.world.runtime.time:.9f} {' '.join(words)}\n".encode())

    def thought(
        self,
        player: Player,
        mesh: str,
        gone: frozenset[NodeKey],
        back: frozenset[NodeKey],
        pruned: frozenset[NodeKey],
    ) -> None:
        lost, found, ended = (tuple(sorted(self.names[key] for key in keys)) for keys in (gone, back, pruned))
        called = self._called.get(mesh, mesh)
        self.tell_trace(player.name, called, "-", *lost, "+", *found, "x", *ended)
        if self._observer is not None:
            self._observer.changed_mind(player.name, called, lost, found, ended)

    def applied(self, player: Player, mesh: str, plan: DeviceState) -> None:
        self.tell_trace(player.name, "applied", mesh, str(len(plan.peers)))
        if not self._looks_for_circles or self.now < 0:
            self.packets.put(player.name, mesh, plan)
            return
        for prefix in self.packets.moved(player.name, mesh, plan):
            for to in (prefix[0], prefix[-1]):
                circle = self.packets.circle(player.name, to)
                if circle and self._observer is not None:
                    self._observer.went_around(circle)

    def spoke(self, player: Player, key: bytes, peer: WgPeer) -> bool:
        to = self.tunnels.find(player.name, peer)
        if to is None or not self._passes(player.name, to):
            return False
        there = self.packets.states.get(to, {}).values()
        taken = any(state.public_key == peer.public_key and key in state.peers for state in there)
        if taken:
            self.tunnels.spoke(player.name, key, to)
        return taken

    def removed(self, player: Player, device: DeviceState) -> None:
        states = self.packets.states.get(player.name, {})
        for mesh in [mesh for mesh, state in states.items() if state.public_key == device.public_key]:
            del states[mesh]
        self.tunnels.removed(player.name, device)

    def noticed(self, player: Player, what: str) -> None:
        if self._observer is not None:
            self._observer.noticed(player.name, what)

    # What is so.

    def _seat(self, host: str, mesh: str) -> Seat | None:
        return self.players[host].seats.get(self.ids[mesh])

    def seen(self, host: str, mesh: str) -> Seen | None:
        player, seat = self.players[host], self._seat(host, mesh)
        if seat is None or player.console is None:
            return None
        core = self._membership(player, self.ids[mesh])
        if core is None:
            return None
        leader = self.names.get(seat.leader) if seat.leader is not None else None
        # Equal documents should make equal lists of members, too.
        listed = seat.members.members.ranks.tag if seat.members is not None else b""
        return Seen((core.ledger.replica.digest.of(), listed), self._named(seat.silent), leader)

    def _named(self, keys: frozenset[NodeKey]) -> frozenset[str]:
        """Most think the same."""
        if self._silent[0] != keys:
            self._silent = keys, frozenset(self.names[key] for key in keys)
        return self._silent[1]

    def _membership(self, player: Player, mesh: str) -> Membership | None:
        for inbox in player.runtime.inboxes:
            actor = inbox.actor
            if actor is None or actor.role is not Role.MEMBERSHIP or actor.mesh != mesh:
                continue
            # Of a mesh that was left and joined again there is an ended one, too.
            if not actor.actor_stopped.is_set():
                core = vars(actor)["core"]
                return core if isinstance(core, Membership) else None
        return None

    def members(self, host: str, mesh: str) -> Mapping[str, str]:
        seat = self._seat(host, mesh)
        if seat is None or seat.members is None:
            return {}
        return {self.names[key]: str(member.address) for key, member in seat.members.members.items()}

    def is_member(self, host: str, mesh: str, name: str) -> bool:
        seat = self._seat(host, mesh)
        return seat is not None and seat.members is not None and self.players[name].key in seat.members.members

    def succession(self, mesh: str) -> tuple[str, ...]:
        found = self._seat(self.founders[mesh].name, mesh)
        seats = [found, *(player.seats.get(self.ids[mesh]) for player in self.players.values())]
        tables = (seat.members.members for seat in seats if seat is not None and seat.members is not None)
        table = next(tables, Members())
        return tuple(self.names[key] for key in sorted(table) if not self._is_client(self.players[self.names[key]]))

    def carrier(self, client: str) -> str | None:
        for seat in self.players[client].seats.values():
            member = seat.members.members.get(self.players[client].key) if seat.members is not None else None
            if member is not None and member.record.via:
                return self.names[member.record.via[0]]
        return None

    def way(self, sender: str, to: str) -> Way:
        ends = self._ends(sender, to)
        return self._walk(sender, *ends) if ends is not None else Way((sender,), False, "has no address")

    def send(self, sender: str, to: str) -> bool:
        """Whether a packet arrives; whoever it comes by learns from where."""
        ends = self._ends(sender, to)
        if ends is None:
            return False
        walk = self.packets.walk(sender, *ends)
        for (here, there), key in zip(pairwise(walk.hosts), walk.keys, strict=True):
            if not self._passes(here, there):
                return False
            if walk.end is not End.DEAD or there != walk.hosts[-1]:
                self.tunnels.spoke(here, key, there)
        return walk.end is End.ARRIVED

    def _ends(self, sender: str, to: str) -> tuple[IPv6Address, IPv6Address] | None:
        """The addresses by which two hosts reach each other."""
        shared = [mesh for mesh in self.players[to].seats if mesh in self.players[sender].seats]
        source, target = self._address(sender, shared), self._address(to, shared)
        return (source, target) if source is not None and target is not None else None

    def ways(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        return [self.way(*pair) for pair in pairs]

    def whole_ways(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        return self.ways(pairs)

    def ways_out(self, senders: Sequence[str], prefix: IPv6Network) -> list[Way]:
        return [self._way_out(sender, prefix) for sender in senders]

    def _way_out(self, sender: str, prefix: IPv6Network) -> Way:
        source = self._address(sender, [])
        if source is None:
            return Way((sender,), False, "has no address")
        way = self._walk(sender, source, next(iter(prefix.hosts())))
        # Who has no interface for it has taken it, and sends it on to what is not played here.
        return replace(way, arrived=way.end == End.NO_ROUTE.value)

    def _address(self, name: str, meshes: list[str]) -> IPv6Address | None:
        """Of a host in the first of these meshes, or in its first."""
        player = self.players[name]
        found = (player.seats[mesh].address(player.key) for mesh in (*meshes, *player.seats))
        return next((address for address in found if address is not None), None)

    def _walk(self, sender: str, source: IPv6Address, target: IPv6Address) -> Way:
        walk = self.packets.walk(sender, source, target)
        for number, (here, there) in enumerate(pairwise(walk.hosts), 1):
            if not self._passes(here, there):
                return Way(walk.hosts[:number], False, f"lost between {here} and {there}")
        if walk.end in (End.DEAD, End.NOT_TAKEN):
            return Way(walk.hosts[:-1], False, f"{walk.end.value} at {walk.hosts[-1]}")
        return Way(walk.hosts, walk.end is End.ARRIVED, walk.end.value)

    def _passes(self, here: str, there: str) -> bool:
        return self.world.network.passes(self.players[here].station, self.players[there].station)

    def longest_outage(self) -> tuple[float, str]:
        return self._deeds.traffic.longest()

    def interfaces(self, host: str) -> int:
        return len(self.players[host].devices)

    def deepest_queue(self) -> int:
        return max(player.deepest_queue() for player in self.players.values())

    def largest_memory(self) -> float | None:
        return None

    def sent(self) -> Mapping[str, tuple[int, int]]:
        stations = {name: player.station for name, player in self.players.items()}
        return {name: (station.messages, station.volume) for name, station in stations.items()}

    def marks(self) -> tuple[str, ...]:
        return (*self._marks, self._trace.hexdigest()[:16])
