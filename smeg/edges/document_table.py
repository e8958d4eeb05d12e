"""The SQLite table of signed documents: opaque bytes of each mesh, found again by their hash.

Opened when first needed, checked whole, and moved aside when it is damaged: what it holds can be learned again. It
never reads a document, bounds one, or says that one is saved before it is on disk.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from smeg.documents import document_hash
from smeg.edges.keyfiles import PRIVATE_FILE, beside, sync_folder, system_calls
from smeg.errors import LocalError, Problem

SCHEMA = 1
"""`PRAGMA user_version` of the database."""
MAX_DAMAGED = 5
"""How many damaged databases are kept."""
RELEARN = "nothing to do: keys are intact, and the documents are learned again from other members"

_DAMAGED_DATABASE = re.compile(r"state\.db\.damaged-(\d+)")
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_MISMATCH})
_UNREADABLE = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What `sqlite3` raises for a damaged database: names in it may be no text, and be part of an error."""
_WRITE_VERSION = 18
"""Offset in the database's header, https://www.sqlite.org/fileformat.html section 1.3: 1 is a journal, 2 a log."""
_CACHE = 256
"""KiB of pages: everything is read once, at the start."""
_INSERT = "INSERT INTO documents (mesh, hash, bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class DocumentTable:
    """One connection to the database at `path`, which excludes any other.

    Methods raise `LocalError`: `store-failed`; `database-newer`; `database-damaged` when the database turned out to be:
    it is then set aside, nothing is saved, and the next call writes into a fresh one.
    """

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
            self._problems.append(Problem("database-damaged", message, f"check the disk; {RELEARN}"))
            with suppress(LocalError), self._transaction() as database:
                database.executemany("DELETE FROM documents WHERE rowid = ?", broken)
        return {owner: tuple(documents) for owner, documents in found.items()}

    def replace(self, mesh: str, obsolete: Iterable[bytes], documents: Iterable[bytes]) -> None:
        """Drop the documents of a mesh with these hashes (BLAKE2b-256) and add others, all or nothing."""
        rows = _rows(mesh, documents)
        with self._transaction() as database:
            dropped = [(mesh, digest) for digest in obsolete]
            database.executemany("DELETE FROM documents WHERE mesh = ? AND hash = ?", dropped)
            database.executemany(_INSERT, rows)

    def replace_all(self, mesh: str, documents: Iterable[bytes]) -> None:
        """Drop whatever there is of a mesh and keep these instead, all or nothing."""
        rows = _rows(mesh, documents)
        with self._transaction() as database:
            database.execute("DELETE FROM documents WHERE mesh = ?", (mesh,))
            database.executemany(_INSERT, rows)

    def keep_only(self, meshes: set[str]) -> None:
        """Drop the documents of all other meshes."""
        with self._transaction() as database:
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

    def _connect(self) -> bool:
        with system_calls(f"open {self._path}"):
            fresh = not self._path.exists() or self._path.stat().st_size == 0
            if fresh:
                # A log without its database is of no use, and must not meet another one.
                for suffix in ("-wal", "-shm"):
                    beside(self._path, suffix).unlink(missing_ok=True)
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
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
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
    def _transaction(self) -> Iterator[sqlite3.Connection]:
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

    def _failure(self, error: sqlite3.Error | UnicodeDecodeError) -> LocalError:
        """What an error means. A damaged database is closed and moved aside first."""
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
            raise error
        code: int | None = getattr(error, "sqlite_errorcode", None)
        if code is None or code in _UNREADABLE or code & 0xFF in _DAMAGE:
            self.close()
            with system_calls(f"move the damaged {self._path} aside"):
                aside = self._quarantine()
            message = f"the database {self._path} is damaged ({error}); it was renamed to {aside.name}"
            failure = LocalError("database-damaged", message, RELEARN)
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
                beside(self._path, f".damaged-{number}{suffix}").unlink(missing_ok=True)
        aside = beside(self._path, f".damaged-{numbers[-1] + 1 if numbers else 1}")
        # The database first: a log that stays behind alone is removed when the fresh one begins.
        os.replace(self._path, aside)
        with suppress(FileNotFoundError):
            os.replace(beside(self._path, "-wal"), beside(aside, "-wal"))
        sync_folder(self._path.parent)
        return aside


def _rows(mesh: str, documents: Iterable[bytes]) -> list[tuple[str, bytes, bytes]]:
    return [(mesh, document_hash(document), document) for document in documents]
