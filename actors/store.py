"""The actor that owns the disk: it writes what the others say, and says when it is there.

What was learned from others waits until the inbox is empty and goes in one transaction; a node's own documents are
written at once, because somebody waits for them. A disk that refuses is tried again; nothing is thrown away
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.core import Message
from smeg.errors import LocalError
from smeg.stored import StoredMesh

TRY_AGAIN = 5.0
"""seconds after the disk refused."""


class Disk(Protocol):
    """What `smeg.edges.store.Store` does, and the simulator's memory too. Methods raise `LocalError`."""

    def load(self) -> m.Loaded: ...

    def load_mesh(self, mesh: str) -> StoredMesh: ...

    def save_mesh(self, mesh: StoredMesh) -> None: ...

    def save_documents(self, mesh: str, documents: tuple[bytes, ...]) -> None: ...

    def replace_documents(
        self, mesh: str, obsolete_hashes: tuple[bytes, ...], documents: tuple[bytes, ...]
    ) -> None: ...

    def forget_mesh(self, mesh: str) -> Path | None: ...

    def close(self) -> None: ...


class StoreActor(Actor):
    role = Role.STORE

    def __init__(self, runtime: Runtime, incarnation: int, supervisor: Address, open_disk: Callable[[], Disk]) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._open_disk = open_disk
        self._disk: Disk | None = None
        self._learned: dict[str, tuple[list[bytes], list[bytes]]] = {}
        self._retry_at: float | None = None

    @property
    def disk(self) -> Disk:
        assert self._disk is not None, "begin opened it"
        return self._disk

    def begin(self, now: float) -> Iterable[Message]:
        self._disk = self._open_disk()
        return [self._disk.load()]

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.SaveMesh(mesh, ticket):
                return self._save(mesh.id, ticket, lambda: self.disk.save_mesh(mesh))
            case m.SaveOwn(mesh_id, documents, ticket):
                return self._save(mesh_id, ticket, lambda: self.disk.save_documents(mesh_id, documents))
            case m.Learned():
                learned, replaced = self._learned.setdefault(message.mesh, ([], []))
                learned += message.documents
                replaced += message.obsolete
            case m.LoadMesh(mesh_id):
                return self._load(mesh_id)
            case m.ForgetMesh(mesh_id):
                return self._forget(mesh_id)
        return []

    def settle(self, now: float) -> Iterable[Message]:
        if not self._learned or (self._retry_at is not None and now < self._retry_at):
            return []
        self._retry_at = None
        return self._write_learned(now)

    def next_deadline(self) -> float | None:
        return self._retry_at

    def close(self) -> None:
        if self._disk is not None:
            list(self._write_learned(self.runtime.now()))
            self._disk.close()

    def _save(self, mesh: str, ticket: int, write: Callable[[], None]) -> Iterable[Message]:
        try:
            write()
        except LocalError as error:
            return [m.SaveFailed(mesh, ticket, error.problem), m.StoreFailed(mesh, error.problem)]
        return [m.Saved(mesh, ticket)]

    def _write_learned(self, now: float) -> Iterable[Message]:
        for mesh, (documents, obsolete) in list(self._learned.items()):
            try:
                self.disk.replace_documents(mesh, tuple(obsolete), tuple(documents))
            except LocalError as error:
                if error.problem.code == "mesh-unknown":
                    del self._learned[mesh]
                    continue
                self._retry_at = now + TRY_AGAIN
                return [m.StoreFailed(mesh, error.problem)]
            del self._learned[mesh]
        return []

    def _load(self, mesh: str) -> Iterable[Message]:
        try:
            list(self._write_learned(self.runtime.now()))
            return [m.MeshLoaded(self.disk.load_mesh(mesh))]
        except LocalError as error:
            return [m.StoreFailed(mesh, error.problem)]

    def _forget(self, mesh: str) -> Iterable[Message]:
        self._learned.pop(mesh, None)
        try:
            kept = self.disk.forget_mesh(mesh)
        except LocalError as error:
            return [m.StoreFailed(mesh, error.problem), m.MeshForgotten(mesh)]
        return [m.MeshForgotten(mesh, str(kept or ""))]
