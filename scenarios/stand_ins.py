"""What simulated hosts have instead of a disk, a resolver, a console and a network interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from actors.base import Actor, Address
from actors.device import DeviceActor
from actors.routing_table import RoutingTableActor
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.core import Message
from smeg.device import Endpoint
from smeg.documents import document_hash
from smeg.errors import LocalError
from smeg.keys import Secret
from smeg.stored import StoredMesh


class Listener(Protocol):
    """Who sits at a console."""

    def hear(self, message: Message) -> None: ...


class Console(Actor):
    """Plays the control actor: takes requests from the scenario, and passes on what it hears."""

    role = Role.CONTROL

    def __init__(self, runtime: Runtime, incarnation: int, supervisor: Address, listener: Listener) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._listener = listener

    def begin(self, now: float) -> Iterable[Message]:
        return [m.ControlReady()]

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        if isinstance(message, m.Request):
            return [message]
        self._listener.hear(message)
        return ()


class MemoryDisk:
    """A disk that a crash of its host does not touch. See `actors.store.Disk`."""

    def __init__(self, identity: Secret, curve: Secret) -> None:
        self._identity = identity
        self._curve = curve
        self._meshes: dict[str, StoredMesh] = {}
        self._documents: dict[str, dict[bytes, bytes]] = {}

    def load(self) -> m.Loaded:
        return m.Loaded(self._identity, self._curve, tuple(self.load_mesh(mesh) for mesh in sorted(self._meshes)))

    def load_mesh(self, mesh: str) -> StoredMesh:
        if mesh not in self._meshes:
            raise LocalError("mesh-unknown", f"no mesh {mesh} on this disk")
        return replace(self._meshes[mesh], documents=tuple(self._documents[mesh].values()))

    def save_mesh(self, mesh: StoredMesh) -> None:
        self._meshes[mesh.id] = mesh
        self._documents.setdefault(mesh.id, {})
        self.save_documents(mesh.id, mesh.documents)

    def save_documents(self, mesh: str, documents: tuple[bytes, ...]) -> None:
        self.replace_documents(mesh, (), documents)

    def replace_documents(self, mesh: str, obsolete_hashes: tuple[bytes, ...], documents: tuple[bytes, ...]) -> None:
        if mesh not in self._documents:
            raise LocalError("mesh-unknown", f"no mesh {mesh} on this disk")
        for key in obsolete_hashes:
            self._documents[mesh].pop(key, None)
        self._documents[mesh].update((document_hash(raw), raw) for raw in documents)

    def forget_mesh(self, mesh: str) -> None:
        self._meshes.pop(mesh, None)
        self._documents.pop(mesh, None)

    def close(self) -> None:
        pass


class LiteralUnderlay:
    """Endpoints of literal addresses need no resolving. See `actors.device.Underlay`."""

    def choose(self, endpoints: tuple[Endpoint, ...], now: float) -> Endpoint | None:
        return endpoints[0] if endpoints else None

    def listen(self, resolved: Callable[[], None]) -> None:
        pass

    def close(self) -> None:
        pass


class NoDevice(DeviceActor):
    """A device actor without a device, where thousands of nodes would each plan thousands of peers."""

    def begin(self, now: float) -> Iterable[Message]:
        return [m.DeviceReady(self.mesh, "none", "dry-run", 51820)]

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        return ()


class NoRoutes(RoutingTableActor):
    """A routing table that chooses nothing, of a node whose choice is of no account to anybody else."""

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        return ()
