"""The meshes of a daemon: what `Node` remembers of each, and which a person may begin or ask.

A plain object in one actor's hands: what it refuses it raises, and it starts nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from actors.runtime import Runtime
from smeg import authority
from smeg import messages as m
from smeg.core import Message
from smeg.device import MAX_INTERFACE_NAME
from smeg.errors import LocalError, Problem
from smeg.keys import new_secret
from smeg.mesh_settings import Keys, Origin
from smeg.mesh_view import find_mesh
from smeg.naming import interface_name
from smeg.stored import StoredMesh
from smeg.tokens import Token, read_token

MAX_MESHES = 64
KEPT_TICKETS = 256


@dataclass(slots=True)
class MeshEntry:
    """A mesh of this node, as `Node` sees it."""

    stored: StoredMesh
    origin: Origin
    token: Token | None = None
    tickets: list[int] = field(default_factory=list)
    """The requests that wait for this mesh to start or to be gone."""
    asked: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_TICKETS))
    """Requests that were passed on to its `Mesh`: answered here should it fail. Answering twice is harmless."""
    started: bool = False
    stopping: bool = False
    restarting: bool = False
    """Its actors failed and are not started again yet."""
    cleaned: bool = False
    """A device actor that failed was replaced by one that only removes the interface."""
    disk: m.LoadMesh | m.ForgetMesh | None = None
    """What the store was asked and has not answered: asked again when the store was replaced."""
    problem: Problem | None = None

    def known(self) -> m.MeshKnown:
        """How far it is, for those who show it."""
        joining = "joining" if self.origin is Origin.JOINED else "starting"
        return m.MeshKnown(self.stored.id, self.stored.name, "restarting" if self.restarting else joining)

    def answer(self, result: Mapping[str, object] | None, problem: Problem | None = None) -> list[Message]:
        """Tell everybody who waits for the mesh."""
        tickets, self.tickets = self.tickets, []
        return [m.Reply(ticket, result, problem) for ticket in tickets]

    def expect(self, request: m.Request) -> None:
        """This request is passed on to the mesh, which answers it, or ends."""
        if request.command == "leave-mesh":
            self.tickets = [*self.tickets[-KEPT_TICKETS:], request.ticket]
        else:
            self.asked.append(request.ticket)

    def interrupt(self) -> list[Message]:
        """Tell everybody whose request was passed on that nothing comes of it."""
        asked = list(self.asked)
        self.asked.clear()
        return [m.Reply(ticket, problem=self.interrupted) for ticket in asked]

    @property
    def interrupted(self) -> Problem:
        name = self.stored.name
        return Problem("interrupted", f"{name} ended or was restarted before it answered", "see `smeg-cli status`")


class Meshes(dict[str, MeshEntry]):
    """By mesh id."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime

    def resume(self, stored: Iterable[StoredMesh]) -> None:
        """Those that were on disk."""
        self.update((mesh.id, MeshEntry(mesh, Origin.RESUMED)) for mesh in stored)

    def found(self, name: str, keys: Keys, ticket: int) -> MeshEntry:
        """A new mesh, for a request. Raises `LocalError`."""
        self._check_room()
        if any(entry.stored.name == name for entry in self.values()):
            raise LocalError("name-taken", f"this node is already in a mesh called {name}", "choose another name")
        entropy = self._runtime.entropy
        wireguard, wall = new_secret(entropy), self._runtime.wall()
        stored = authority.found(name, keys.identity, keys.curve, wireguard, "", 0, entropy, wall)
        return self._add(MeshEntry(stored, Origin.FOUNDED, None, [ticket]))

    def join(self, text: str, ticket: int) -> MeshEntry:
        """The mesh of a token, for a request. Raises `LocalError`."""
        token = read_token(text)
        self._check_room()
        entry = self.get(token.mesh)
        if entry is not None and (entry.stopping or (entry.origin is Origin.JOINED and not entry.started)):
            message = f"this node is joining {token.name} already, or just ending it"
            raise LocalError("mesh-not-ready", message, "wait a moment, then see `smeg-cli list-meshes`")
        if entry is not None:
            raise LocalError(
                "already-joined", f"this node is already in mesh {token.name}", "see `smeg-cli list-meshes`"
            )
        if token.invite.deadline < self._runtime.wall():
            raise LocalError("token-expired", "this token has expired", "ask for a new one, or check this host's clock")
        wireguard = new_secret(self._runtime.entropy)
        stored = StoredMesh(token.mesh, token.name, token.admin.root, "", 0, wireguard, ())
        return self._add(MeshEntry(stored, Origin.JOINED, token, [ticket]))

    def working(self, text: str) -> MeshEntry:
        """The mesh that a person means. Raises `LocalError`, also while it does not work."""
        names = {mesh: entry.stored.name for mesh, entry in self.items()}
        entry = find_mesh(names, text, self)
        name = entry.stored.name
        if not entry.started or entry.stopping:
            raise LocalError("mesh-not-ready", f"{name} is starting or ending", "try again soon")
        if entry.restarting:
            raise LocalError("mesh-not-ready", f"{name} is being restarted", "try again soon")
        return entry

    def _add(self, entry: MeshEntry) -> MeshEntry:
        taken = {other.stored.interface for other in self.values()}
        entry.stored = replace(entry.stored, interface=interface_name(entry.stored.name, entry.stored.id, taken))
        assert len(entry.stored.interface.encode()) <= MAX_INTERFACE_NAME
        self[entry.stored.id] = entry
        return entry

    def _check_room(self) -> None:
        if len(self) >= MAX_MESHES:
            raise LocalError("too-many-meshes", f"a node can be in {MAX_MESHES} meshes", "leave one first")
