"""The token of the API: a line of text in a file that its own user alone can read, made at the first start."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import stat
from pathlib import Path

from smeg.cli.files import PRIVATE, new_file
from smeg.errors import LocalError
from smeg.keys import Secret

_FORM = re.compile(r"[\x21-\x7e]{32,512}")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def usual_token_file(state_dir: Path) -> Path:
    return state_dir / "api.token"


def read_or_make_token(path: Path) -> Secret:
    """The token in the file; 256 random bits if there is none yet.

    Raises `LocalError`: `token-file-exposed`, `token-file-damaged`, `token-file-unreadable`, `file-failed`.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return _make(path)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise LocalError("token-file-unreadable", message, "name another by --token-file") from None
    try:
        return Secret(_read(path, descriptor))
    finally:
        os.close(descriptor)


def _read(path: Path, descriptor: int) -> bytes:
    status, quoted = os.fstat(descriptor), shlex.quote(str(path))
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        message = f"{path} is not a file of this user"
        raise LocalError("token-file-exposed", message, "name another by --token-file")
    if mode & 0o077:
        message = f"{path} is open to others (mode {mode:04o}): its token may be known"
        raise LocalError("token-file-exposed", message, f"rm {quoted}, and a new one is made at the next start")
    text = os.read(descriptor, 1024).decode("ascii", "replace").strip()
    if not _FORM.fullmatch(text):
        message = f"{path} does not hold one line of 32 to 512 characters"
        raise LocalError("token-file-damaged", message, f"rm {quoted}, and a new one is made at the next start")
    return text.encode()


def _make(path: Path) -> Secret:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make the folder {path.parent}: {error.strerror}"
        raise LocalError("file-failed", message, "name another file by --token-file") from None
    token = secrets.token_urlsafe(32)
    with new_file(path, PRIVATE) as write:
        write(f"{token}\n")
    return Secret(token.encode())
