"""One daemon a state folder: a lock file that its holder's death releases.

The lock is the kernel's (`flock`), not the file's presence, so a file that a crash left behind locks nobody out. The
file holds the pid of the holder, for people. Nothing here waits for the lock or takes it from a living holder.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from smeg.edges.keyfiles import PRIVATE_FILE, store_failed
from smeg.errors import LocalError

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS = 100
"""How often the file may vanish between opening and locking it; each time another holder has come and gone."""


class StateLock:
    """Holds `folder/lock` from construction to `close`.

    Raises `LocalError`: `already-running` when another holds it, `store-failed`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._descriptor: int | None = self._take()
        with suppress(OSError):
            # The pid is for people: a full disk must not keep the daemon from starting.
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _take(self) -> int:
        for _ in range(_ATTEMPTS):
            try:
                descriptor = os.open(self._path, _OPEN, PRIVATE_FILE)
            except OSError as error:
                raise store_failed(f"open the lock file {self._path}", error) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its last holder may have removed the file since we opened it: then the lock is on nothing.
                if self._names(descriptor):
                    return descriptor
            except BlockingIOError:
                problem = self._taken(descriptor)
                os.close(descriptor)
                raise problem from None
            except OSError as error:
                os.close(descriptor)
                raise store_failed(f"lock {self._path}", error) from error
            os.close(descriptor)
        raise LocalError("store-failed", f"cannot lock {self._path}: it keeps vanishing", "see what removes it")

    def _names(self, descriptor: int) -> bool:
        """Whether the path still leads to the open file."""
        try:
            return os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _taken(self, descriptor: int) -> LocalError:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        folder = self._path.parent
        if not pid.isdecimal():
            hint = "stop it first, or use another state folder"
            return LocalError("already-running", f"another process uses {folder}", hint)
        hint = f"stop process {pid} first, or use another state folder"
        return LocalError("already-running", f"a daemon with pid {pid} already uses {folder}", hint)

    def close(self) -> None:
        """Release the lock and remove its file. Harmless when done twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError):
            # Removed while still held: whoever locks the removed file afterwards sees that it has lost its name.
            if self._names(descriptor):
                self._path.unlink()
        os.close(descriptor)
