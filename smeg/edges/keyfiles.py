"""Files that must be whole and private: written so that a crash leaves the old or the new one, read only when safe.

A write is temp + fsync + rename + fsync of the directory; whatever of that fails means not saved, and is said. A key
file is one line of standard base64, as `wg genkey` prints it. Nothing here follows a symbolic link to a key, mends a
mode by itself, or puts a byte of a key into an error.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smeg.errors import LocalError
from smeg.keys import Secret, from_wireguard_text, wireguard_text

KEY_LINE_BYTES = 45
"""44 characters of base64 for 32 bytes, and the newline."""
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_OTHERS = 0o077
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def store_failed(what: str, error: OSError) -> LocalError:
    """The `LocalError` (`store-failed`) for a system call that failed while doing `what`."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            hint = "free some space there, then try again"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            hint = "make it accessible to the user that runs the daemon, then try again"
        case _:
            hint = "check the disk and its file system, then try again"
    return LocalError("store-failed", f"cannot {what}: {error.strerror or type(error).__name__}", hint)


@contextmanager
def system_calls(what: str) -> Iterator[None]:
    """Say an `OSError` inside as `store_failed` does."""
    try:
        yield
    except OSError as error:
        raise store_failed(what, error) from error


def beside(path: Path, suffix: str) -> Path:
    """The path with more at the end of its name."""
    return path.with_name(path.name + suffix)


def private_folder(path: Path) -> None:
    """Make `path` with mode 0700, or make sure that an existing one is ours and private.

    Raises `LocalError`: `folder-exposed` when others have any access to it, `store-failed`.
    """
    try:
        try:
            path.mkdir(mode=PRIVATE_FOLDER, parents=True)
        except FileExistsError:
            status = path.stat()
        else:
            sync_folder(path.parent)
            return
    except OSError as error:
        raise store_failed(f"make the folder {path}", error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise LocalError("store-failed", f"{path} is not a folder", "name another folder, or move that file away")
    if status.st_uid not in (0, os.geteuid()):
        hint = f"chown {os.geteuid()} {shlex.quote(str(path))}"
        raise LocalError("folder-exposed", f"the folder {path} belongs to user {status.st_uid}", hint)
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        hint = f"chmod 700 {shlex.quote(str(path))}"
        raise LocalError("folder-exposed", f"the folder {path} is open to others (mode {mode:04o})", hint)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on disk. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_temporaries(folder: Path) -> None:
    """Remove what interrupted writes left in a folder. Raises `OSError`."""
    for name in os.listdir(folder):
        if _TEMPORARY.fullmatch(name):
            (folder / name).unlink(missing_ok=True)


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Replace `path`, whole or not at all, by `data` with exactly this mode, and have it on disk.

    Raises `LocalError` (`store-failed`). An error before the rename leaves the old file; an error of the last fsync
    leaves the new one, but nobody can say whether it would survive a power cut, so it counts as not saved.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    try:
        for name in os.listdir(path.parent):
            found = _TEMPORARY.fullmatch(name)
            if found and found[1] == path.name:
                path.with_name(name).unlink(missing_ok=True)
        descriptor = os.open(temporary, _CREATE, PRIVATE_FILE)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise store_failed(f"write {path}", error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_secret(path: Path, secret: Secret) -> None:
    """Write a key file of mode 0600. Raises `LocalError` (`store-failed`)."""
    write_file(path, (wireguard_text(secret.reveal()) + "\n").encode(), PRIVATE_FILE)


def read_secret(path: Path) -> Secret:
    """The key, 32 bytes, in a key file that nobody but us can read.

    Raises `LocalError`: `key-file-missing`; `key-file-exposed` when group or others have any access, somebody else than
    root or us owns it, or it is not a regular file; `key-file-damaged` when it is not one line of base64 of 32 bytes;
    `store-failed`.
    """
    quoted = shlex.quote(str(path))
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        raise LocalError("key-file-missing", f"there is no key file {path}", "restore it from a backup") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _not_regular(path) from None
        raise store_failed(f"read the key file {path}", error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path)
        if status.st_uid not in (0, os.geteuid()):
            hint = f"chown {os.geteuid()} {quoted} && chmod 600 {quoted}"
            raise LocalError("key-file-exposed", f"the key file {path} belongs to user {status.st_uid}", hint)
        if status.st_mode & _OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            message = f"the key file {path} is open to others (mode {mode:04o})"
            raise LocalError("key-file-exposed", message, f"chmod 600 {quoted}")
        return _parse(path, os.read(descriptor, KEY_LINE_BYTES + 1))
    except OSError as error:
        raise store_failed(f"read the key file {path}", error) from error
    finally:
        os.close(descriptor)


def _parse(path: Path, line: bytes) -> Secret:
    """The key in a key file's bytes. Writing it back must give the same bytes: base64 decoding alone forgives much."""
    try:
        key = from_wireguard_text(line.decode("ascii").removesuffix("\n"))
    except ValueError:
        # Not chained to what is raised below: a decoding error carries the bytes that it could not decode.
        key = b""
    if not key or (wireguard_text(key) + "\n").encode() != line:
        message = f"the key file {path} is not one line of base64 of 32 bytes"
        raise LocalError("key-file-damaged", message, "restore it from a backup")
    return Secret(key)


def _not_regular(path: Path) -> LocalError:
    hint = f"put the key itself there as a file, then chmod 600 {shlex.quote(str(path))}"
    return LocalError("key-file-exposed", f"the key file {path} is not a regular file", hint)
