"""Letting a group of this host use the control socket: for a service without privileges, like `smeg-api`.

Its members may pass through the folder of the socket, not list it, and connect. An owner may give a file to a group
that its process is in (chown(2)), so no capability is needed: the service manager makes the daemon a member.
"""

from __future__ import annotations

import grp
import os
import shlex
import stat
from pathlib import Path

from smeg.errors import LocalError

_FOLDER, _SOCKET = 0o710, 0o660


def find_group(name: str) -> int:
    """The number of a group. Raises `LocalError` (`no-such-group`)."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        hint = f"make it by `groupadd --system {name}`, or name another as controlGroup"
        raise LocalError("no-such-group", f"this host has no group {name}", hint) from None


def open_to_group(folder: Path, group: int) -> None:
    """Make a folder of mode 0710, or make sure that an existing one is ours and no more open than that.

    Raises `LocalError`: `folder-exposed`, `store-failed`, `not-in-group`.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        message = f"cannot make the folder {folder}: {error.strerror}"
        raise LocalError("store-failed", message, "choose another runtimeDir") from error
    mode, quoted = stat.S_IMODE(status.st_mode), shlex.quote(str(folder))
    if status.st_uid not in (0, os.geteuid()):
        hint = f"chown {os.geteuid()} {quoted}"
        raise LocalError("folder-exposed", f"the folder {folder} belongs to user {status.st_uid}", hint)
    if mode & 0o077 & ~_FOLDER or (mode & 0o070 and status.st_gid != group):
        message = f"the folder {folder} is open to others (mode {mode:04o}, group {status.st_gid})"
        raise LocalError("folder-exposed", message, f"chmod 700 {quoted}")
    _give(folder, group, _FOLDER)


def give_to_group(path: Path, group: int) -> None:
    """Let a group connect to a socket of ours. Raises `LocalError` (`not-in-group`)."""
    _give(path, group, _SOCKET)


def _give(path: Path, group: int, mode: int) -> None:
    try:
        os.chown(path, -1, group)
        path.chmod(mode)
    except OSError as error:
        name = grp.getgrgid(group).gr_name
        hint = f"run smeg-node as a member of it; under systemd: SupplementaryGroups={name}"
        raise LocalError("not-in-group", f"cannot give {path} to the group {name}: {error.strerror}", hint) from error
