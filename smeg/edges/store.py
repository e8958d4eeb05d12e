"""What this node keeps on disk: its keys, its meshes, and every signed document it knows.

Keys and descriptions are files, each replaced whole; documents are opaque bytes in SQLite, found again by their hash. A
lost database therefore costs neither a key nor a membership. A mesh exists when its `mesh.json` does: that is written
last and removed first. What is damaged is renamed aside and reported. Nothing here reads a document, deletes a key that
might be the only authority over a mesh, or says that something is saved before it is on disk.

    lock  identity.key  curve.key  state.db  meshes/<mesh id>/{mesh.json, wireguard.key, admin.key, root.key}
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from smeg.documents import MAX_REMOVE
from smeg.edges.document_table import RELEARN, DocumentTable
from smeg.edges.keyfiles import (
    clear_temporaries,
    private_folder,
    read_secret,
    store_failed,
    system_calls,
    write_secret,
)
from smeg.edges.lock import StateLock
from smeg.edges.mesh_description import encode
from smeg.edges.mesh_folder import MeshFolder
from smeg.errors import LocalError, Problem
from smeg.keys import Entropy, Secret, new_secret
from smeg.messages import Loaded
from smeg.stored import StoredMesh

_MESH_ID = re.compile(r"[a-z2-7]{1,63}")
_SET_ASIDE = re.compile(r"([a-z2-7]{1,63})\.damaged-\d+")


class Store:
    """The state folder, held from construction to `close`; for one thread at a time.

    Every method may raise `LocalError` `store-failed` (disk full, I/O error, no access): then what was asked is not
    saved, and may be asked again. Construction also raises `already-running` and `folder-exposed`.
    """

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        private_folder(folder)
        self._folder = folder
        self._meshes = folder / "meshes"
        self._entropy = entropy
        self._lock = StateLock(folder)
        self._documents = DocumentTable(folder / "state.db")
        self._closed = False

    def load(self) -> Loaded:
        """Everything, with what was found damaged in `problems`; keys of this node are made when there are none.

        Problem codes: `database-damaged`, `mesh-damaged`, `mesh-newer`, `key-file-damaged`, `store-failed`. Raises
        `LocalError`: `key-file-exposed` (any key), `key-file-damaged` and `key-file-missing` (this node's own keys; the
        latter when there are meshes already, which new keys would not open), `database-newer`, `store-failed`.
        """
        self._check_open()
        problems: list[Problem] = []
        with system_calls(f"read the state in {self._folder}"):
            clear_temporaries(self._folder)
            private_folder(self._meshes)
            used = any(self._meshes.glob("*/mesh.json"))
            identity = self._own_key(self._folder / "identity.key", used)
            curve = self._own_key(self._folder / "curve.key", used)
            if self._documents.open() and used:
                message = f"the database {self._folder / 'state.db'} was missing or empty; a fresh one has begun"
                problems.append(Problem("database-damaged", message, RELEARN))
            meshes, untouched = self._load_meshes(problems)
        documents = self._documents.read()
        with suppress(LocalError):
            # Rows of unfinished joins and forgotten meshes: where they can't go now, they go at the next start.
            self._documents.keep_only(untouched.union(mesh.id for mesh in meshes))
        problems.extend(self.take_problems())
        loaded = tuple(replace(mesh, documents=documents.get(mesh.id, ())) for mesh in meshes)
        return Loaded(identity, curve, loaded, tuple(problems))

    def load_mesh(self, mesh: str) -> StoredMesh:
        """One mesh again; see `take_problems` afterwards, for a database found damaged leaves it without documents.

        Raises `LocalError`: `mesh-unknown`, `mesh-damaged`, `mesh-newer`, `key-file-exposed`.
        """
        folder = self._known(mesh)
        with system_calls(f"read {folder.path}"):
            try:
                stored = folder.read([])
            except ValueError as error:
                hint = "restart the daemon: it sets the damaged folder aside"
                raise LocalError("mesh-damaged", f"{folder.path} is damaged: {error}", hint) from error
        return replace(stored, documents=self._documents.read(mesh).get(mesh, ()))

    def take_problems(self) -> tuple[Problem, ...]:
        """What was found damaged, and set aside, since the last call or `load`."""
        return self._documents.take_problems()

    def save_mesh(self, mesh: StoredMesh) -> None:
        """Keep a mesh, new or changed, all or nothing; its documents are added to those already kept.

        Of a mesh that exists, documents may be kept though the rest then fails: they are signed and only ever merge. A
        root or admin seed that is None leaves an existing key file alone. Raises `LocalError`: `mesh-invalid`.
        """
        self._check_open()
        folder = self._folder_of(mesh.id)
        description = encode(mesh)
        _check_sizes(mesh.documents)
        with system_calls(f"save mesh {mesh.id} in {folder.path}"):
            private_folder(self._meshes)
            known = folder.prepare()
            try:
                folder.stage(mesh)
                if known:
                    self._documents.replace(mesh.id, (), mesh.documents)
                else:
                    self._documents.replace_all(mesh.id, mesh.documents)
                folder.describe(description)
            except BaseException:
                if not known:
                    with suppress(OSError):
                        folder.remove()
                raise

    def save_documents(self, mesh: str, documents: tuple[bytes, ...]) -> None:
        """Add documents to a mesh, all or none. Raises as `replace_documents`."""
        self.replace_documents(mesh, (), documents)

    def replace_documents(self, mesh: str, obsolete_hashes: tuple[bytes, ...], documents: tuple[bytes, ...]) -> None:
        """Drop the documents of these hashes (BLAKE2b-256) and add others, all or nothing; unknown hashes are ignored.

        Raises `LocalError`: `mesh-unknown`, `mesh-invalid`; `database-damaged` when the database turned out to be: it
        is then set aside, nothing is saved, and the next call writes into a fresh one.
        """
        self._known(mesh)
        _check_sizes(documents)
        self._documents.replace(mesh, obsolete_hashes, documents)

    def forget_mesh(self, mesh: str) -> Path | None:
        """Remove a mesh with its keys and documents. Harmless when there is none; after a failure, do it again.

        A root or admin key may be the only authority over a mesh that others are still in: the folder of such a mesh is
        renamed, loses only its WireGuard key, and is returned.
        """
        self._check_open()
        folder = self._folder_of(mesh)
        with system_calls(f"remove {folder.path}"):
            kept = folder.retire()
        self._documents.replace_all(mesh, ())
        return kept

    def close(self) -> None:
        """Close the database, then let go of the folder. Harmless when done twice."""
        self._closed = True
        self._documents.close()
        self._lock.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LocalError("store-failed", f"the store in {self._folder} is closed", "restart the daemon")

    def _folder_of(self, mesh: str) -> MeshFolder:
        if not _MESH_ID.fullmatch(mesh):
            raise LocalError("mesh-invalid", f"{mesh[:80]!r} is no mesh id", "a mesh id is lower-case base32")
        return MeshFolder(self._meshes / mesh)

    def _known(self, mesh: str) -> MeshFolder:
        self._check_open()
        folder = self._folder_of(mesh)
        # Otherwise documents that arrive late would be kept for a mesh that was forgotten.
        if not folder.is_mesh():
            raise LocalError("mesh-unknown", f"no mesh {mesh} is kept in {self._folder}", "see `smeg-cli status`")
        return folder

    def _own_key(self, path: Path, used: bool) -> Secret:
        if os.path.lexists(path) or used:
            return read_secret(path)
        secret = new_secret(self._entropy)
        write_secret(path, secret)
        return secret

    def _load_meshes(self, problems: list[Problem]) -> tuple[list[StoredMesh], set[str]]:
        """The meshes without documents, and the ids of those that are on disk but not loaded."""
        meshes: list[StoredMesh] = []
        untouched: set[str] = set()
        for name in sorted(os.listdir(self._meshes)):
            path = self._meshes / name
            if (aside := _SET_ASIDE.fullmatch(name)) is not None:
                untouched.add(aside[1])
            if not _MESH_ID.fullmatch(name) or path.is_symlink() or not path.is_dir():
                continue
            folder = MeshFolder(path)
            try:
                clear_temporaries(path)
                meshes.append(folder.read(problems))
            except ValueError as error:
                problem = folder.set_aside(str(error))
                if problem is not None:
                    untouched.add(name)
                    problems.append(problem)
            except OSError as error:
                untouched.add(name)
                problems.append(store_failed(f"read {path}", error).problem)
            except LocalError as error:
                if error.problem.code not in ("store-failed", "mesh-newer"):
                    raise
                untouched.add(name)
                problems.append(error.problem)
        return meshes, untouched


def _check_sizes(documents: Iterable[bytes]) -> None:
    for document in documents:
        if not 0 < len(document) <= MAX_REMOVE:
            message = f"a document of {len(document)} bytes cannot be kept: the bound is {MAX_REMOVE}"
            raise LocalError("mesh-invalid", message, "split it")
