"""What is known of one mesh where people ask: the newest snapshot of each of its actors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from smeg import messages as m
from smeg.addresses import node_id
from smeg.authority import find_member
from smeg.core import Message
from smeg.device import DeviceState, Handshake
from smeg.errors import LocalError, Problem
from smeg.keys import NodeKey
from smeg.members import Members

V = TypeVar("V")
SHORT = 12
"""characters of an id that stand for a name."""


@dataclass(slots=True)
class MeshView:
    id: str
    name: str
    state: str = "starting"
    interface: str = ""
    backend: str = ""
    address: str = ""
    epoch: int = 0
    started: m.MeshStarted | None = None
    members: m.MembersChanged | None = None
    liveness: m.LivenessChanged | None = None
    annexes: m.AnnexesChanged | None = None
    admitted: m.Admitted | None = None
    root: bytes = b""
    """Digest of the replica."""
    agreed: m.Agreed | None = None
    offers: m.OffersChanged | None = None
    routes: m.RoutesChanged | None = None
    device_problem: Problem | None = None
    warnings: tuple[Problem, ...] = ()
    route_problems: tuple[Problem, ...] = ()
    plan: DeviceState | None = None
    handshakes: dict[bytes, Handshake] = field(default_factory=dict)

    def hear(self, message: Message, node: NodeKey) -> None:
        """Take in a snapshot of this mesh; `node` is this one."""
        match message:
            case m.MeshStarted():
                self.started = message
                self.state, self.address, self.interface = "active", message.address, message.interface
            case m.MembersChanged():
                self.members = message
                own = message.members.get(node)
                self.address = str(own.address) if own is not None else self.address
            case m.LivenessChanged():
                self.liveness = message
            case m.AnnexesChanged():
                self.annexes = message
            case m.Admitted():
                self.admitted = message
            case m.OffersChanged():
                self.offers = message
            case m.RoutesChanged():
                self.routes = message
            case m.RootChanged():
                self.root = message.root
            case m.Agreed():
                self.agreed = message
            case m.EpochSeen():
                self.epoch = message.epoch
            case m.DeviceReady():
                self.interface, self.backend, self.device_problem = message.interface, message.backend, None
            case m.DeviceApplied():
                self.device_problem, self.plan = None, message.plan
            case m.DeviceWarned():
                self.warnings = message.problems
            case m.RouteProblems():
                self.route_problems = message.problems
            case m.DeviceFailed():
                self.device_problem = message.problem
            case m.HandshakesSeen():
                self.handshakes = dict(message.handshakes)

    @property
    def table(self) -> Members:
        """The members, nobody while they are not known."""
        return self.members.members if self.members is not None else Members()

    @property
    def pruned(self) -> frozenset[NodeKey]:
        return self.liveness.pruned if self.liveness is not None else frozenset()

    def name_problems(self, node: NodeKey) -> list[Problem]:
        """That what this node is called leads to another, who has its name or, with a lower key, its alias as alias."""
        own = self.table.get(node)
        if own is None:
            return []
        found: list[Problem] = []
        for kind, label in (("alias", own.record.card.alias), ("name", own.record.name)):
            claimed = [key for key, member in self.table.table.items() if label and member.record.card.alias == label]
            holder = min(claimed, default=node)
            if holder != node:
                message = f"the {kind} {label} of this node in {self.name} is the alias of {self.called(holder)} too"
                hint = f"that one is found by it; `smeg-cli put-alias {self.name} ALIAS` gives this node another"
                found.append(Problem(f"{kind}-taken", message, hint))
        return found

    def called(self, key: NodeKey) -> str:
        """A member's name; of somebody else the beginning of its id."""
        member = self.table.get(key)
        return member.record.name if member is not None else node_id(key)[:SHORT]


def find_mesh(names: dict[str, str], text: str, values: dict[str, V]) -> V:
    """Resolve a mesh named by its name, its id or a unique beginning of either. Raises `LocalError`."""
    exact = [mesh for mesh, name in names.items() if text in (mesh, name)]
    found = exact or [mesh for mesh, name in names.items() if text and (mesh.startswith(text) or name.startswith(text))]
    if not found:
        known = ", ".join(sorted(names.values()))
        none = "this node is in none: `smeg-cli new-mesh NAME` makes one, `smeg-cli join-mesh FILE` joins one"
        hint = f"meshes of this node: {known}" if known else none
        raise LocalError("unknown-mesh", f"no mesh here is called {text!r}", hint)
    if len(found) > 1:
        could = ", ".join(f"{names[mesh]} ({mesh[:12]})" for mesh in sorted(found))
        raise LocalError("ambiguous-mesh", f"{text!r} could be any of {could}", "give more of the name or the id")
    return values[found[0]]


def find_places(views: Mapping[str, MeshView], text: str) -> list[tuple[MeshView, NodeKey]]:
    """One node, in each mesh where it is a member, by its name, its id or a unique beginning of that. Raises
    `LocalError`."""
    everybody = {key: member for view in views.values() for key, member in view.table.items()}
    key = find_member(everybody, text).key
    return [(view, key) for view in views.values() if key in view.table]
