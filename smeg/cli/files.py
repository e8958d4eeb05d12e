"""New files: never over what is there, never through a link that somebody else made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smeg.errors import LocalError


@contextmanager
def new_file(path: Path, mode: int) -> Iterator[Callable[[str], None]]:
    """A new file of this mode, and what writes text into it; removed again when the block raises.

    Raises `LocalError`: `file-exists`, `file-failed`.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise LocalError("file-exists", f"{path} exists", "remove it, or name another file") from None
    except OSError as error:
        raise LocalError("file-failed", f"cannot make {path}: {error.strerror}", "name another file") from error

    def write(text: str) -> None:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(text.encode())
            os.fsync(descriptor)
        except OSError as error:
            raise LocalError("file-failed", f"cannot write {path}: {error.strerror}", "name another file") from error

    try:
        yield write
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)


PRIVATE, PUBLIC = 0o600, 0o644
