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
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from smeg.device import MAX_INTERFACE_NAME, Endpoint
from smeg.documents import MAX_REMOVE, document_hash
from smeg.edges.keyfiles import (
    PRIVATE_FILE,
    clear_temporaries,
    private_folder,
    read_secret,
    store_failed,
    sync_folder,
    write_file,
    write_secret,
)
from smeg.edges.lock import StateLock
from smeg.errors import LocalError, Problem
from smeg.keys import KEY_BYTES, Entropy, Secret, base64, from_base64, new_secret, node_key, x25519_public
from smeg.messages import Loaded
from smeg.stored import Contact, StoredMesh

SCHEMA = 1
"""`PRAGMA user_version` of the database."""
FORMAT = 1
"""`format` of `mesh.json`."""
MAX_DESCRIPTION = 1 << 20
"""bytes of a `mesh.json`."""
MAX_ADMISSION = 4096
"""Certificates: who was let in by who was let in … has a long chain."""
MAX_CONTACTS = 256
MAX_ENDPOINTS = 32
MAX_DAMAGED = 5
"""How many damaged databases are kept."""

_MESH_ID = re.compile(r"[a-z2-7]{1,63}")
_SET_ASIDE = re.compile(r"([a-z2-7]{1,63})\.damaged-\d+")
_DAMAGED_DATABASE = re.compile(r"state\.db\.damaged-(\d+)")
_INTERFACE = re.compile(rf"(?!\.{{1,2}}\Z)[A-Za-z0-9_=+.-]{{1,{MAX_INTERFACE_NAME}}}")
_PUBLIC: Mapping[str, Callable[[Secret], bytes]] = {"wireguard": x25519_public, "admin": node_key, "root": node_key}
"""The key files of a mesh by their stem, and how the public key comes from each."""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_MISMATCH})
_UNREADABLE = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What `sqlite3` raises for a damaged database: names in it may be no text, and be part of an error."""
_WRITE_VERSION = 18
"""Offset in the database's header, https://www.sqlite.org/fileformat.html section 1.3: 1 is a journal, 2 a log."""
_INSERT = "INSERT INTO documents (mesh, hash, bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


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
        self._documents = _Documents(folder / "state.db")
        self._closed = False

    def load(self) -> Loaded:
        """Everything, with what was found damaged in `problems`; keys of this node are made when there are none.

        Problem codes: `database-damaged`, `mesh-damaged`, `mesh-newer`, `key-file-damaged`, `store-failed`. Raises
        `LocalError`: `key-file-exposed` (any key), `key-file-damaged` and `key-file-missing` (this node's own keys; the
        latter when there are meshes already, which new keys would not open), `database-newer`, `store-failed`.
        """
        self._check_open()
        problems: list[Problem] = []
        with _system_calls(f"read the state in {self._folder}"):
            clear_temporaries(self._folder)
            private_folder(self._meshes)
            used = any(self._meshes.glob("*/mesh.json"))
            identity = self._own_key(self._folder / "identity.key", used)
            curve = self._own_key(self._folder / "curve.key", used)
            if self._documents.open() and used:
                message = f"the database {self._folder / 'state.db'} was missing or empty; a fresh one has begun"
                problems.append(Problem("database-damaged", message, _RELEARN))
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
        with _system_calls(f"read {folder}"):
            try:
                stored = self._read_mesh(folder, [])
            except ValueError as error:
                hint = "restart the daemon: it sets the damaged folder aside"
                raise LocalError("mesh-damaged", f"{folder} is damaged: {error}", hint) from error
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
        seeds = {"wireguard": mesh.wireguard, "admin": mesh.admin_seed, "root": mesh.root_seed}
        keys = {stem: seed for stem, seed in seeds.items() if seed is not None}
        public = {stem: _PUBLIC[stem](key) for stem, key in keys.items()}
        description = _encode(mesh, public)
        rows = _rows(mesh.id, mesh.documents)
        with _system_calls(f"save mesh {mesh.id} in {folder}"):
            private_folder(self._meshes)
            known = self._prepare(folder)
            try:
                private_folder(folder)
                for stem, key in keys.items():
                    _stage(folder, stem, key)
                with self._documents.transaction() as database:
                    if not known:
                        database.execute("DELETE FROM documents WHERE mesh = ?", (mesh.id,))
                    database.executemany(_INSERT, rows)
                write_file(folder / "mesh.json", description, PRIVATE_FILE)
                _settle(folder, public)
            except BaseException:
                if not known:
                    with suppress(OSError):
                        _remove(folder)
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
        rows = _rows(mesh, documents)
        with self._documents.transaction() as database:
            obsolete = [(mesh, digest) for digest in obsolete_hashes]
            database.executemany("DELETE FROM documents WHERE mesh = ? AND hash = ?", obsolete)
            database.executemany(_INSERT, rows)

    def forget_mesh(self, mesh: str) -> Path | None:
        """Remove a mesh with its keys and documents. Harmless when there is none; after a failure, do it again.

        A root or admin key may be the only authority over a mesh that others are still in: the folder of such a mesh is
        renamed, loses only its WireGuard key, and is returned.
        """
        self._check_open()
        folder = self._folder_of(mesh)
        kept: Path | None = None
        with _system_calls(f"remove {folder}"):
            if folder.is_dir():
                # Without a mesh.json it was never founded, and nobody else has ever heard of it.
                if _authority_files(folder) and (folder / "mesh.json").exists():
                    kept = _rename(folder, "left")
                    for name in ("wireguard.key", "wireguard.key.next"):
                        (kept / name).unlink(missing_ok=True)
                    sync_folder(kept)
                else:
                    _remove(folder)
        with self._documents.transaction() as database:
            database.execute("DELETE FROM documents WHERE mesh = ?", (mesh,))
        return kept

    def close(self) -> None:
        """Close the database, then let go of the folder. Harmless when done twice."""
        self._closed = True
        self._documents.close()
        self._lock.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LocalError("store-failed", f"the store in {self._folder} is closed", "restart the daemon")

    def _folder_of(self, mesh: str) -> Path:
        if not _MESH_ID.fullmatch(mesh):
            raise LocalError("mesh-invalid", f"{mesh[:80]!r} is no mesh id", "a mesh id is lower-case base32")
        return self._meshes / mesh

    def _known(self, mesh: str) -> Path:
        self._check_open()
        folder = self._folder_of(mesh)
        # Otherwise documents that arrive late would be kept for a mesh that was forgotten.
        if not (folder / "mesh.json").is_file():
            raise LocalError("mesh-unknown", f"no mesh {mesh} is kept in {self._folder}", "see `smeg-cli status`")
        return folder

    def _own_key(self, path: Path, used: bool) -> Secret:
        if os.path.lexists(path) or used:
            return read_secret(path)
        secret = new_secret(self._entropy)
        write_secret(path, secret)
        return secret

    def _prepare(self, folder: Path) -> bool:
        """Whether the mesh exists; what an earlier failure left of it is settled or out of the way afterwards."""
        if not os.path.lexists(folder):
            return False
        try:
            _settle(folder, _parse(_read_description(folder), folder.name).keys)
        except ValueError as error:
            _set_aside(folder, str(error))
            return False
        return True

    def _load_meshes(self, problems: list[Problem]) -> tuple[list[StoredMesh], set[str]]:
        """The meshes without documents, and the ids of those that are on disk but not loaded."""
        meshes: list[StoredMesh] = []
        untouched: set[str] = set()
        for name in sorted(os.listdir(self._meshes)):
            folder = self._meshes / name
            if (aside := _SET_ASIDE.fullmatch(name)) is not None:
                untouched.add(aside[1])
            if not _MESH_ID.fullmatch(name) or folder.is_symlink() or not folder.is_dir():
                continue
            try:
                clear_temporaries(folder)
                meshes.append(self._read_mesh(folder, problems))
            except ValueError as error:
                problem = _set_aside(folder, str(error))
                if problem is not None:
                    untouched.add(name)
                    problems.append(problem)
            except OSError as error:
                untouched.add(name)
                problems.append(store_failed(f"read {folder}", error).problem)
            except LocalError as error:
                if error.problem.code not in ("store-failed", "mesh-newer"):
                    raise
                untouched.add(name)
                problems.append(error.problem)
        return meshes, untouched

    def _read_mesh(self, folder: Path, problems: list[Problem]) -> StoredMesh:
        """A mesh without documents. Raises `ValueError` when it is unfinished or damaged, `LocalError`, `OSError`."""
        described = _parse(_read_description(folder), folder.name)
        try:
            _settle(folder, described.keys)
            wireguard = read_secret(folder / "wireguard.key")
        except LocalError as error:
            if error.problem.code not in ("key-file-missing", "key-file-damaged"):
                raise
            raise ValueError(error.problem.message) from error
        if x25519_public(wireguard) != described.keys["wireguard"]:
            raise ValueError("wireguard.key is not the key that mesh.json names")
        return StoredMesh(
            folder.name,
            described.name,
            described.root,
            described.interface,
            described.listen_port,
            wireguard,
            described.admission,
            described.contacts,
            _authority(folder / "root.key", problems),
            _authority(folder / "admin.key", problems),
        )


_RELEARN = "nothing to do: keys are intact, and the documents are learned again from other members"


class _Documents:
    """The database: opened when first needed, moved aside when damaged. One connection, which excludes any other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._problems: list[Problem] = []

    def open(self) -> bool:
        """Open or begin the database; a damaged one is set aside first. Returns whether there was none."""
        if self._connection is not None:
            return False
        try:
            return self._connect()
        except _ERRORS as error:
            failure = self._failure(error)
            if failure.problem.code != "database-damaged":
                raise failure from error
        try:
            self._connect()
        except _ERRORS as error:
            raise self._failure(error) from error
        return False

    def _connect(self) -> bool:
        with _system_calls(f"open {self._path}"):
            fresh = not self._path.exists() or self._path.stat().st_size == 0
            if fresh:
                # A log without its database is of no use, and must not meet another one.
                for suffix in ("-wal", "-shm"):
                    _beside(self._path, suffix).unlink(missing_ok=True)
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
                sync_folder(self._path.parent)
            with open(self._path, "rb") as file:
                header = file.read(_WRITE_VERSION + 1)
        if header[_WRITE_VERSION:] > b"\x02":
            # SQLite would open it, check it, find it sound, and refuse every write.
            raise sqlite3.DatabaseError("its header is wrong")
        connection = sqlite3.connect(self._path, timeout=0.5, isolation_level=None, check_same_thread=False)
        try:
            # Exclusive before the first access: no shared-memory file, and nobody else gets in between.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA:
                message = f"the database {self._path} has version {version}; this program knows {SCHEMA}"
                raise LocalError("database-newer", message, "use the newer program, or another state folder")
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise LocalError("store-failed", f"no write-ahead log beside {self._path}", "use a local file system")
            connection.execute("PRAGMA synchronous = FULL")
            with suppress(sqlite3.OperationalError):
                # After an fsync error the log may hold pages that are in memory only: write them anew.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # Not quick_check: an index that differs from its table could swallow a row that is to be saved.
            if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the integrity check failed")
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            if version == 0 and not tables:
                connection.executescript(
                    "BEGIN; CREATE TABLE documents (mesh TEXT NOT NULL, hash BLOB NOT NULL, bytes BLOB NOT NULL,"
                    f" PRIMARY KEY (mesh, hash)); PRAGMA user_version = {SCHEMA}; COMMIT"
                )
            elif version != SCHEMA:
                raise sqlite3.DatabaseError(f"version {version} has never been")
            columns = connection.execute("SELECT name FROM pragma_table_info('documents')").fetchall()
            if columns != [("mesh",), ("hash",), ("bytes",)]:
                raise sqlite3.DatabaseError("the tables are not those of smegmesh")
        except BaseException as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                # These statements are right, so what they are said about is not.
                raise sqlite3.DatabaseError(str(error)) from error
            raise
        self._connection = connection
        return fresh

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is executed inside is on disk afterwards, or none of it is. Raises `LocalError`."""
        self.open()
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if connection.in_transaction:
                self.close()
            if isinstance(error, _ERRORS):
                raise self._failure(error) from error
            raise

    def read(self, mesh: str | None = None) -> dict[str, tuple[bytes, ...]]:
        """Documents by mesh, of one or of all, in the order in which they were saved; what has changed is dropped."""
        self.open()
        assert self._connection is not None
        found: defaultdict[str, list[bytes]] = defaultdict(list)
        broken: list[tuple[int]] = []
        query = "SELECT rowid, mesh, hash, bytes FROM documents WHERE ?1 IS NULL OR mesh = ?1 ORDER BY rowid"
        try:
            with closing(self._connection.execute(query, (mesh,))) as rows:
                for row, owner, digest, data in rows:
                    if isinstance(owner, str) and isinstance(data, bytes) and document_hash(data) == digest:
                        found[owner].append(data)
                    else:
                        broken.append((row,))
        except _ERRORS as error:
            failure = self._failure(error)
            if failure.problem.code != "database-damaged":
                raise failure from error
            self.open()
            return {}
        if broken:
            message = f"{len(broken)} documents in {self._path} had changed on the disk and were dropped"
            self._problems.append(Problem("database-damaged", message, f"check the disk; {_RELEARN}"))
            with suppress(LocalError), self.transaction() as database:
                database.executemany("DELETE FROM documents WHERE rowid = ?", broken)
        return {owner: tuple(documents) for owner, documents in found.items()}

    def keep_only(self, meshes: set[str]) -> None:
        """Drop the documents of all other meshes."""
        with self.transaction() as database:
            kept = {row[0] for row in database.execute("SELECT DISTINCT mesh FROM documents")}
            database.executemany("DELETE FROM documents WHERE mesh = ?", [(mesh,) for mesh in kept - meshes])

    def take_problems(self) -> tuple[Problem, ...]:
        """What was found damaged since the last call."""
        problems, self._problems = tuple(self._problems), []
        return problems

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _failure(self, error: sqlite3.Error | UnicodeDecodeError) -> LocalError:
        """What an error means. A damaged database is closed and moved aside first."""
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
            raise error
        code: int | None = getattr(error, "sqlite_errorcode", None)
        if code is None or code in _UNREADABLE or code & 0xFF in _DAMAGE:
            self.close()
            with _system_calls(f"move the damaged {self._path} aside"):
                aside = self._quarantine()
            message = f"the database {self._path} is damaged ({error}); it was renamed to {aside.name}"
            failure = LocalError("database-damaged", message, _RELEARN)
            self._problems.append(failure.problem)
            return failure
        hint = "check the disk and its file system, then try again"
        if code & 0xFF == sqlite3.SQLITE_FULL:
            hint = "free some space there, then try again"
        return LocalError("store-failed", f"cannot use the database {self._path}: {error}", hint)

    def _quarantine(self) -> Path:
        matches = (_DAMAGED_DATABASE.fullmatch(name) for name in os.listdir(self._path.parent))
        numbers = sorted(int(match[1]) for match in matches if match)
        for number in numbers[: max(0, len(numbers) - MAX_DAMAGED + 1)]:
            for suffix in ("", "-wal"):
                _beside(self._path, f".damaged-{number}{suffix}").unlink(missing_ok=True)
        aside = _beside(self._path, f".damaged-{numbers[-1] + 1 if numbers else 1}")
        # The database first: a log that stays behind alone is removed when the fresh one begins.
        os.replace(self._path, aside)
        with suppress(FileNotFoundError):
            os.replace(_beside(self._path, "-wal"), _beside(aside, "-wal"))
        sync_folder(self._path.parent)
        return aside


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def _system_calls(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_failed(what, error) from error


@dataclass(frozen=True, slots=True)
class _Description:
    """What `mesh.json` says."""

    name: str
    root: bytes
    interface: str
    listen_port: int
    keys: Mapping[str, bytes]
    """Public keys of the key files, by stem; `wireguard` always."""
    admission: tuple[bytes, ...]
    contacts: tuple[Contact, ...]


def _encode(mesh: StoredMesh, public: Mapping[str, bytes]) -> bytes:
    """The `mesh.json` of a mesh. Raises `LocalError` (`mesh-invalid`) for what could not be read again."""
    body = {
        "format": FORMAT,
        "id": mesh.id,
        "name": mesh.name,
        "root": base64(mesh.root),
        "interface": mesh.interface,
        "listenPort": mesh.listen_port,
        "keys": {stem: base64(key) for stem, key in public.items()},
        "admission": [base64(document) for document in mesh.admission],
        "contacts": [
            {
                "curve": base64(contact.curve),
                "endpoints": [{"host": endpoint.host, "port": endpoint.port} for endpoint in contact.endpoints],
            }
            for contact in mesh.contacts
        ],
    }
    try:
        encoded = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        _parse(encoded, mesh.id)
    except (ValueError, TypeError) as error:
        message = f"mesh {mesh.id} cannot be kept: {error}"
        raise LocalError("mesh-invalid", message, "check what was asked for") from error
    return encoded


def _parse(data: bytes, mesh: str) -> _Description:
    """Inverse of `_encode`, strict. Raises `ValueError`; `LocalError` (`mesh-newer`) for a later format."""
    if len(data) > MAX_DESCRIPTION:
        raise ValueError(f"mesh.json is longer than {MAX_DESCRIPTION} bytes")
    value: object = orjson.loads(data)
    match value:
        case {"format": int(version)} if version > FORMAT:
            message = f"mesh.json of mesh {mesh} has format {version}; this program knows {FORMAT}"
            raise LocalError("mesh-newer", message, "use the newer program, or another state folder")
        case {
            "format": 1,
            "id": str(id_),
            "name": str(name),
            "root": str(root),
            "interface": str(interface),
            "listenPort": int(port),
            "keys": {"wireguard": str(), **others} as keys,
            "admission": list(admission),
            "contacts": list(contacts),
        }:
            pass
        case _:
            raise ValueError("mesh.json lacks a field, or one has the wrong type")
    if id_ != mesh:
        raise ValueError("mesh.json is another mesh's")
    if not 0 < len(name.encode()) <= 255 or not _INTERFACE.fullmatch(interface) or not _is_port(port):
        raise ValueError("mesh.json has a name, interface or port that cannot be")
    if not others.keys() <= _PUBLIC.keys() or len(admission) > MAX_ADMISSION or len(contacts) > MAX_CONTACTS:
        raise ValueError("mesh.json has too many keys, certificates or contacts")
    return _Description(
        name,
        _octets(root, KEY_BYTES),
        interface,
        port,
        {stem: _octets(key, KEY_BYTES) for stem, key in keys.items()},
        tuple(_octets(document) for document in admission),
        tuple(_contact(contact) for contact in contacts),
    )


def _octets(value: object, length: int | None = None) -> bytes:
    data = from_base64(value) if isinstance(value, str) else b""
    if not data or (length is not None and len(data) != length):
        raise ValueError("mesh.json has bytes that cannot be")
    return data


def _is_port(value: object) -> bool:
    return type(value) is int and 0 <= value <= 65535


def _contact(value: object) -> Contact:
    match value:
        case {"curve": curve, "endpoints": list(endpoints)} if len(endpoints) <= MAX_ENDPOINTS:
            return Contact(_octets(curve, KEY_BYTES), tuple(_endpoint(endpoint) for endpoint in endpoints))
    raise ValueError("mesh.json has a contact that cannot be")


def _endpoint(value: object) -> Endpoint:
    match value:
        case {"host": str(host), "port": int(port)} if 0 < len(host) <= 255 and _is_port(port):
            return Endpoint(host, port)
    raise ValueError("mesh.json has an endpoint that cannot be")


def _rows(mesh: str, documents: tuple[bytes, ...]) -> list[tuple[str, bytes, bytes]]:
    for document in documents:
        if not 0 < len(document) <= MAX_REMOVE:
            message = f"a document of {len(document)} bytes cannot be kept: the bound is {MAX_REMOVE}"
            raise LocalError("mesh-invalid", message, "split it")
    return [(mesh, document_hash(document), document) for document in documents]


def _read_description(folder: Path) -> bytes:
    """The bytes of `mesh.json`. Raises `ValueError` when there is none, `OSError`."""
    try:
        with open(folder / "mesh.json", "rb") as file:
            return file.read(MAX_DESCRIPTION + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ValueError("it has no mesh.json") from error


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


def _stage(folder: Path, stem: str, key: Secret) -> None:
    """Write a key file; one that replaces another waits beside it until `mesh.json` names it."""
    path = folder / f"{stem}.key"
    try:
        if read_secret(path) == key:
            return
        path = _beside(path, ".next")
    except LocalError as error:
        if error.problem.code not in ("key-file-missing", "key-file-damaged"):
            raise
    write_secret(path, key)


def _settle(folder: Path, public: Mapping[str, bytes]) -> None:
    """Put waiting key files that `mesh.json` names in place, remove the others. Raises `LocalError`, `OSError`."""
    for stem, public_key in _PUBLIC.items():
        path = folder / f"{stem}.key"
        waiting = _beside(path, ".next")
        if os.path.lexists(waiting):
            if public_key(read_secret(waiting)) == public.get(stem):
                os.replace(waiting, path)
            else:
                waiting.unlink()
            sync_folder(folder)


def _set_aside(folder: Path, reason: str) -> Problem | None:
    """Rename a folder that holds what cannot be had again; remove one that an unfinished join or removal left."""
    if not _authority_files(folder) and not set(os.listdir(folder)) >= {"mesh.json", "wireguard.key"}:
        _remove(folder)
        return None
    aside = _rename(folder, "damaged")
    message = f"the mesh in {folder} was not loaded ({reason}); its folder was renamed to {aside.name}"
    return Problem("mesh-damaged", message, "restore mesh.json and the name, or join again; its keys are still there")


def _authority_files(folder: Path) -> set[str]:
    """The names of the files in it that hold a root or admin key."""
    return set(os.listdir(folder)) & {f"{stem}.key{suffix}" for stem in ("root", "admin") for suffix in ("", ".next")}


def _rename(folder: Path, why: str) -> Path:
    """Give a mesh's folder a name that is not loaded, and return it. Raises `OSError`."""
    number = 1
    while os.path.lexists(aside := _beside(folder, f".{why}-{number}")):
        number += 1
    os.rename(folder, aside)
    sync_folder(folder.parent)
    return aside


def _remove(folder: Path) -> None:
    """Remove a mesh's folder, `mesh.json` first, then what would have the rest set aside. Raises `OSError`."""
    (folder / "mesh.json").unlink(missing_ok=True)
    sync_folder(folder)
    for stem in ("root", "admin"):
        for suffix in (".key", ".key.next"):
            (folder / f"{stem}{suffix}").unlink(missing_ok=True)
    shutil.rmtree(folder)
    sync_folder(folder.parent)
