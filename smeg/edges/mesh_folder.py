"""The folder of one mesh: its key files, and the `mesh.json` without which it does not count.

A key that replaces another waits beside it (`.next`) until `mesh.json` names it, so a crash leaves a whole old mesh or
a whole new one. It never deletes a root or admin key that might be the only authority over a mesh: such a folder is
renamed. Of the documents it knows nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from smeg.edges.keyfiles import (
    PRIVATE_FILE,
    beside,
    private_folder,
    read_secret,
    sync_folder,
    write_file,
    write_secret,
)
from smeg.edges.mesh_description import MAX_DESCRIPTION, PUBLIC_KEY_OF, Description, parse, secrets
from smeg.errors import LocalError, Problem
from smeg.keys import Secret, x25519_public
from smeg.stored import StoredMesh


class MeshFolder:
    """`path` ends in the mesh's id. Every method may raise `OSError`, and `LocalError` as `keyfiles` does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._description = path / "mesh.json"

    def is_mesh(self) -> bool:
        """Whether the mesh exists: was described, and not removed since."""
        return self._description.is_file()

    def read(self, problems: list[Problem]) -> StoredMesh:
        """The mesh without documents; a damaged root or admin key is only added to `problems`.

        Raises `ValueError` when the mesh is unfinished or damaged, `LocalError` (`mesh-newer`).
        """
        described = self._read_description()
        try:
            self._settle(described.keys)
            wireguard = read_secret(self.path / "wireguard.key")
        except LocalError as error:
            if error.problem.code not in ("key-file-missing", "key-file-damaged"):
                raise
            raise ValueError(error.problem.message) from error
        if x25519_public(wireguard) != described.keys["wireguard"]:
            raise ValueError("wireguard.key is not the key that mesh.json names")
        return StoredMesh(
            self.path.name,
            described.name,
            described.root,
            described.interface,
            described.listen_port,
            wireguard,
            described.admission,
            described.contacts,
            _authority(self.path / "root.key", problems),
            _authority(self.path / "admin.key", problems),
            statics=described.statics,
            card=described.card,
        )

    def prepare(self) -> bool:
        """Whether the mesh exists; what an earlier failure left of it is settled or out of the way afterwards."""
        if not os.path.lexists(self.path):
            return False
        try:
            self._settle(self._read_description().keys)
        except ValueError as error:
            self.set_aside(str(error))
            return False
        return True

    def stage(self, mesh: StoredMesh) -> None:
        """Write the key files; one that replaces another waits beside it until `describe`."""
        private_folder(self.path)
        for stem, key in secrets(mesh).items():
            path = self.path / f"{stem}.key"
            try:
                if read_secret(path) == key:
                    continue
                path = beside(path, ".next")
            except LocalError as error:
                if error.problem.code not in ("key-file-missing", "key-file-damaged"):
                    raise
            write_secret(path, key)

    def describe(self, description: bytes) -> None:
        """Replace `mesh.json`; from then on the mesh exists, and the staged keys are its keys."""
        write_file(self._description, description, PRIVATE_FILE)
        self._settle(parse(description, self.path.name).keys)

    def set_aside(self, reason: str) -> Problem | None:
        """Rename the folder if it holds what cannot be had again; remove what an unfinished join or removal left."""
        if not self._authority_files() and not set(os.listdir(self.path)) >= {"mesh.json", "wireguard.key"}:
            self.remove()
            return None
        aside = self._rename("damaged")
        message = f"the mesh in {self.path} was not loaded ({reason}); its folder was renamed to {aside.name}"
        hint = "restore mesh.json and the name, or join again; its keys are still there"
        return Problem("mesh-damaged", message, hint)

    def retire(self) -> Path | None:
        """The end of the mesh here: removed, or renamed without its WireGuard key if it holds a root or admin key.

        Returns the new name. Harmless when there is no folder.
        """
        if not self.path.is_dir():
            return None
        # Without a mesh.json it was never founded, and nobody else has ever heard of it.
        if not self._authority_files() or not self._description.exists():
            self.remove()
            return None
        kept = self._rename("left")
        for name in ("wireguard.key", "wireguard.key.next"):
            (kept / name).unlink(missing_ok=True)
        sync_folder(kept)
        return kept

    def remove(self) -> None:
        """Remove `mesh.json` first, then what would have the rest set aside, then the rest."""
        # Not before: it brings compressors along, 0.3 MB of each daemon.
        from shutil import rmtree

        self._description.unlink(missing_ok=True)
        sync_folder(self.path)
        for stem in ("root", "admin"):
            for suffix in (".key", ".key.next"):
                (self.path / f"{stem}{suffix}").unlink(missing_ok=True)
        rmtree(self.path)
        sync_folder(self.path.parent)

    def _read_description(self) -> Description:
        """What `mesh.json` says. Raises `ValueError` when there is none, or it is damaged."""
        try:
            with open(self._description, "rb") as file:
                data = file.read(MAX_DESCRIPTION + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ValueError("it has no mesh.json") from error
        return parse(data, self.path.name)

    def _settle(self, public: Mapping[str, bytes]) -> None:
        """Put waiting key files that `mesh.json` names in place, remove the others."""
        for stem, public_key in PUBLIC_KEY_OF.items():
            path = self.path / f"{stem}.key"
            waiting = beside(path, ".next")
            if os.path.lexists(waiting):
                if public_key(read_secret(waiting)) == public.get(stem):
                    os.replace(waiting, path)
                else:
                    waiting.unlink()
                sync_folder(self.path)

    def _authority_files(self) -> set[str]:
        """The names of the files in it that hold a root or admin key."""
        names = {f"{stem}.key{suffix}" for stem in ("root", "admin") for suffix in ("", ".next")}
        return set(os.listdir(self.path)) & names

    def _rename(self, why: str) -> Path:
        """Give the folder a name that is not loaded, and return it."""
        number = 1
        while os.path.lexists(aside := beside(self.path, f".{why}-{number}")):
            number += 1
        os.rename(self.path, aside)
        sync_folder(self.path.parent)
        return aside


def _authority(path: Path, problems: list[Problem]) -> Secret | None:
    """A root or admin key. A mesh runs without them, so a damaged one is only reported."""
    try:
        return read_secret(path)
    except LocalError as error:
        if error.problem.code == "key-file-damaged":
            problems.append(error.problem)
        elif error.problem.code != "key-file-missing":
            raise
    return None
