"""Several meshes of routing tables with real certificates and signatures, between which everything arrives at once.

What each says in a mesh becomes annexes as `Mesh` would publish them. No time passes unless a test lets it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network
from typing import cast

from smeg import messages as m
from smeg.addresses import overlay_address
from smeg.annexes import Annex
from smeg.certificates import Grant
from smeg.documents import document_hash
from smeg.keys import NodeKey, node_key
from smeg.members import Members
from smeg.offer_labels import bodies
from smeg.records import Route
from smeg.route_policy import MeshPolicy, RoutePolicy
from smeg.routed_mesh import APART
from smeg.routing import GRACE, RoutingTable
from smeg.ways import Offer
from tests.builders import WALL, Desk, MadeMesh, Node, grant, secret

Papers = dict[tuple[str, NodeKey], tuple[bytes, ...]]
"""The certificates that prove somebody to be in a mesh."""
PLAIN = RoutePolicy()
BRIDGE = RoutePolicy(general=MeshPolicy(bridge=True))
WIDE = grant(prefixes=("2001:db8::/32",), exit_allowed=True)


@dataclass
class Daemon:
    label: str
    papers: dict[str, Node]
    """By mesh id."""
    table: RoutingTable
    routes: dict[str, m.RoutesChanged] = field(default_factory=dict)
    offers: dict[str, m.OffersChanged] = field(default_factory=dict)
    alarms: list[m.Alarm] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Codes of what is wrong now, by mesh."""
    admitted: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """What it was told of its own papers, by mesh id."""
    alive: bool = True

    @property
    def key(self) -> NodeKey:
        return node_key(secret(f"person/{self.label}"))

    def address(self, mesh: MadeMesh) -> IPv6Address:
        return overlay_address(mesh.id, self.papers[mesh.id].wireguard_key)

    def vias(self, mesh: MadeMesh, own: bool = False) -> dict[IPv6Network, NodeKey]:
        """Through whom each prefix is reached in a mesh."""
        said = self.routes.get(mesh.id)
        routes: tuple[Route, ...] = () if said is None else said.own_routes if own else said.routes
        assert len({route.prefix for route in routes}) == len(routes)
        return {route.prefix: route.via for route in routes}


class Meshes:
    def __init__(self, *labels: str) -> None:
        self.meshes = {label: MadeMesh(label, persons=True) for label in labels}
        self.daemons: dict[str, Daemon] = {}
        self.annexes: dict[str, dict[NodeKey, dict[str, Annex]]] = {mesh.id: {} for mesh in self.meshes.values()}
        self.names: dict[str, str] = {}
        """By id: of meshes that are called otherwise than here."""
        self.now = 100.0
        self._version = 0

    def __getitem__(self, label: str) -> MadeMesh:
        return self.meshes[label]

    def add(self, label: str, within: str, policy: RoutePolicy = PLAIN, given: Grant = WIDE) -> Daemon:
        """A daemon in the meshes of these letters."""
        papers = {self[each].id: self[each].founder(label, given=given) for each in within}
        table = RoutingTable(node_key(secret(f"person/{label}")), policy, lambda: WALL)
        made = self.daemons[label] = Daemon(label, papers, table)
        return made

    def members(self, mesh: str) -> Members:
        desk = Desk(mesh)
        for daemon in self.daemons.values():
            if mesh in daemon.papers:
                desk.take(daemon.papers[mesh].documents())
        return desk.members

    def settle(self, *daemons: Daemon) -> None:
        """Tell everybody of everything, until nobody says anything new."""
        names = {mesh.id: label for label, mesh in self.meshes.items()} | self.names
        self._version += 1
        dead = frozenset(daemon.key for daemon in self.daemons.values() if not daemon.alive)
        for mesh in names:
            members = self.members(mesh)
            for daemon in self._living(mesh):
                self._tell(daemon, m.MembersChanged(mesh, self._version, members))
                self._tell(daemon, m.LivenessChanged(mesh, self._version, 1, None, dead))
                self._admit(daemon, mesh)
                self._tell(daemon, m.MeshStarted(mesh, names[mesh], "", "smeg0"))
        for _ in range(50):
            if self._round():
                continue
            # Who was told routes just before is told the newest ones a little later.
            self.now += APART
            if not self._round():
                return
        raise AssertionError("it never comes to rest")

    def wait(self, seconds: float = GRACE) -> None:
        self.now += seconds
        self.settle()

    def say(self, mesh: str, author: NodeKey, annexes: Iterable[Annex]) -> None:
        """What somebody publishes, instead of what it said before."""
        self.annexes[mesh][author] = {annex.label: annex for annex in annexes}

    def _admit(self, daemon: Daemon, mesh: str) -> None:
        certificates = tuple(daemon.papers[mesh].certificates)
        if daemon.admitted.get(mesh) != certificates:
            daemon.admitted[mesh] = certificates
            self._tell(daemon, m.Admitted(mesh, certificates))

    def _living(self, mesh: str) -> list[Daemon]:
        return [daemon for daemon in self.daemons.values() if daemon.alive and mesh in daemon.papers]

    def _tell(self, daemon: Daemon, message: object) -> None:
        assert isinstance(message, m.MembersChanged | m.LivenessChanged | m.Admitted | m.MeshStarted | m.AnnexesChanged)
        said = daemon.table.handle(message, self.now)
        daemon.alarms += [alarm for alarm in said if isinstance(alarm, m.Alarm)]

    def _round(self) -> bool:
        spoke = False
        for mesh, said in self.annexes.items():
            for daemon in self._living(mesh):
                self._tell(daemon, m.AnnexesChanged(mesh, 1, dict(said)))
        for daemon in self.daemons.values():
            for message in daemon.table.settle(self.now) if daemon.alive else ():
                match message:
                    case m.RoutesChanged():
                        daemon.routes[message.mesh] = message
                    case m.OffersChanged():
                        daemon.offers[message.mesh] = message
                        spoke |= self._publish(daemon, message)
                    case m.Alarm():
                        daemon.alarms.append(message)
                    case m.RouteProblems(mesh):
                        daemon.problems[mesh] = [problem.code for problem in message.problems]
        return spoke

    def _publish(self, daemon: Daemon, said: m.OffersChanged) -> bool:
        found = bodies(said.mesh, said.offers, said.passports, secret(f"person/{daemon.label}"))
        before = self.annexes[said.mesh].get(daemon.key, {})
        if {label: annex.body for label, annex in before.items()} == found:
            return False
        self.say(said.mesh, daemon.key, [annex(said.mesh, daemon.key, label, body) for label, body in found.items()])
        return True


def annex(mesh: str, node: NodeKey, label: str, body: bytes) -> Annex:
    return Annex(mesh, document_hash(label.encode() + body), b"", node, label, 1, body)


def bridging(**changes: object) -> RoutePolicy:
    return replace(BRIDGE, **changes)  # type: ignore[arg-type]


def chain() -> Meshes:
    """Four meshes in a chain, with a node at each end."""
    world = Meshes("a", "b", "c", "d")
    for label, within in (("one", "a"), ("four", "d")):
        world.add(label, within)
    for label, within in (("ab", "ab"), ("bc", "bc"), ("cd", "cd")):
        world.add(label, within, BRIDGE)
    world.settle()
    return world


class Mute:
    """A table that hears and says nothing."""

    def handle(self, message: object, now: float) -> list[object]:
        return []

    def settle(self, now: float) -> list[object]:
        return []


def mute(world: Meshes, liar: Daemon) -> None:
    """Somebody whose own daemon says nothing: a test speaks for it."""
    liar.alive = False
    world.settle()
    liar.alive = True
    world.daemons.pop(liar.label)
    world.daemons[liar.label] = replace(liar, table=cast(RoutingTable, Mute()))


def forge(world: Meshes, liar: Daemon, *offers: Offer, papers: Papers | None = None) -> None:
    """Let somebody say in mesh a what its own daemon would not. `papers` are of other meshes."""
    mesh = world["a"].id
    own: Papers = {(mesh, liar.key): tuple(liar.papers[mesh].certificates)}
    seed = secret(f"person/{liar.label}")
    said = bodies(mesh, {offer.prefix: offer for offer in offers}, own | (papers or {}), seed)
    mute(world, liar)
    world.say(mesh, liar.key, [annex(mesh, liar.key, label, body) for label, body in said.items()])
