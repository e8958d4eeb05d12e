"""The control socket: where this machine's users ask the daemon for something, over `ipc://`.

Who may ask is settled before a byte is read: the folder and the socket are the daemon's user's alone, and libzmq closes
every connection whose process (`SO_PEERCRED`, see unix(7)) runs as anybody else but root. A group that the
configuration names may pass through the folder and connect, too. `ControlServer` is the daemon's end and never waits;
`call` is the other end, and finds out at once when nobody is there to answer.
"""

from __future__ import annotations

import math
import os
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq

from smeg.edges.control_group import find_group, give_to_group, open_to_group
from smeg.errors import LocalError, Problem, RemoteError
from smeg.requests import (
    MAX_REPLY,
    MAX_REQUEST,
    Command,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

MAX_PATH = zmq.IPC_PATH_MAX_LEN
"""bytes; a longer path fits no socket address."""
_LINGER = 250
"""milliseconds that `close` may wait for an answer on its way to its asker."""
_HANDSHAKE = 3000
"""milliseconds until a connection that says nothing is closed."""
_LOOK = 0.5
"""seconds between two looks at whether the daemon still lives, while its answer is awaited."""


def _address(path: Path) -> str:
    name = os.fsencode(path)
    if len(name) > MAX_PATH:
        message = f"the path of the control socket has {len(name)} bytes, at most {MAX_PATH} are possible: {path}"
        raise LocalError("socket-path-too-long", message, "choose a shorter runtimeDir")
    try:
        return f"ipc://{name.decode()}"
    except UnicodeDecodeError:
        message = "the path of the control socket is not UTF-8"
        raise LocalError("socket-path-unusable", message, "choose another runtimeDir") from None


class ControlServer:
    """Listens from construction to `close`. Owned by one thread, as every ZeroMQ socket is.

    Raises `LocalError`: `already-running` when another daemon holds the folder, `folder-exposed` when others can get
    into it, `no-such-group`, `socket-path-too-long`, `socket-path-unusable`, `socket-unguarded`, `store-failed`.
    """

    def __init__(self, path: Path, group: str = "") -> None:
        """`group` is the name of one whose members may ask, too."""
        # These know of keys, and so of a library that is slow to import; the command line imports this module too.
        from smeg.edges.keyfiles import private_folder
        from smeg.edges.lock import StateLock

        address = _address(path)
        self._group = find_group(group) if group else None
        if self._group is None:
            private_folder(path.parent)
        else:
            open_to_group(path.parent, self._group)
        # Held before the bind, because libzmq would take the path away from a living daemon.
        self._lock = StateLock(path.parent)
        self._path = path
        self._context = zmq.Context()
        self.dropped = 0
        """Answers whose asker had gone, or did not read."""
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        """For polling only."""
        try:
            self._bind(address)
        except BaseException:
            self.close()
            raise

    def _bind(self, address: str) -> None:
        with suppress(FileNotFoundError):
            # libzmq removes whatever is there.
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                message = f"{self._path} exists and is not a socket"
                raise LocalError("socket-path-unusable", message, "move it away, or choose another runtimeDir")
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST)
        self.socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE)
        self.socket.setsockopt(zmq.LINGER, _LINGER)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            # The filter is a set: each call adds one.
            self.socket.setsockopt(zmq.IPC_FILTER_UID, os.geteuid())
            self.socket.setsockopt(zmq.IPC_FILTER_UID, 0)
            if self._group is not None:
                self.socket.setsockopt(zmq.IPC_FILTER_GID, self._group)
        except zmq.ZMQError as error:
            message = "this libzmq cannot tell who connects to a local socket"
            raise LocalError("socket-unguarded", message, "install pyzmq from its own wheels") from error
        before = os.umask(0o177)
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            message = f"cannot listen on {self._path}: {error.strerror}"
            raise LocalError("socket-path-unusable", message, "choose another runtimeDir") from error
        finally:
            os.umask(before)
        if self._group is not None:
            give_to_group(self._path, self._group)

    def receive(self) -> tuple[bytes, Command] | None:
        """The next request with its asker, or None when there is none now. Malformed ones are answered here."""
        while True:
            try:
                asker, *frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                match frames:
                    case [b"", data]:
                        return asker, decode_request(data)
                raise RemoteError("bad-request", "a request is one frame after an empty one")
            except RemoteError as error:
                self.reply(asker, error.problem)

    def reply(self, asker: bytes, answer: Mapping[str, Any] | Problem) -> None:
        """Answer a request. An answer that cannot be sent as it is becomes the problem with it."""
        try:
            data = encode_reply(answer)
        except LocalError as error:
            data = encode_reply(error.problem)
        try:
            self.socket.send_multipart([asker, b"", data], zmq.NOBLOCK)
        except zmq.ZMQError:
            self.dropped += 1

    def close(self) -> None:
        """Stop listening; socket file and lock file are gone afterwards. Harmless when done twice."""
        if self._context.closed:
            return
        self.socket.close()
        # Waits until libzmq has let go of the path.
        self._context.term()
        with suppress(OSError):
            if stat.S_ISSOCK(self._path.lstat().st_mode):
                self._path.unlink()
        self._lock.close()


def call(path: Path, command: str, arguments: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Ask the daemon behind `path` for something, and return the result it answers within `timeout` seconds.

    Raises `LocalError`: `daemon-not-running` and `no-permission`, both at once; `daemon-stopped`; `timeout`; what
    `encode_request` raises; and every problem that the daemon answers, with its own code. Raises `RemoteError` when
    what is answered is not an answer.
    """
    deadline = time.monotonic() + timeout
    request = encode_request(Command(command, arguments))
    address = _address(path)
    _reach(path)
    context = zmq.Context()
    try:
        asking: zmq.Socket[bytes] = context.socket(zmq.REQ)
        asking.setsockopt(zmq.MAXMSGSIZE, MAX_REPLY)
        asking.connect(address)
        asking.send(request, zmq.NOBLOCK)
        while not asking.poll(_milliseconds(deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                message = f"smeg-node did not answer {command} within {timeout:g} s; it may still carry it out"
                raise LocalError("timeout", message, "see `smeg-cli status`, or give it more time by --timeout")
            _still(path)
        answer = decode_reply(asking.recv())
    except zmq.ZMQError as error:
        message = f"cannot speak to smeg-node: {error.strerror}"
        raise LocalError("control-failed", message, "try again") from error
    finally:
        context.destroy(linger=0)
    if isinstance(answer, Problem):
        raise LocalError(answer.code, answer.message, answer.hint)
    return answer


def _milliseconds(left: float) -> int:
    return math.ceil(1000 * min(_LOOK, max(left, 0.0)))


def _still(path: Path) -> None:
    try:
        _reach(path)
    except LocalError as error:
        message = "smeg-node stopped before it answered"
        raise LocalError("daemon-stopped", message, "see its log, and start it again") from error


def _reach(path: Path) -> None:
    """See that somebody listens and lets us in. A connection of our own tells, where ZeroMQ would try for ever."""
    try:
        status = path.stat()
        if not stat.S_ISSOCK(status.st_mode):
            raise _not_running(f"{path} is not a socket")
        if os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
            raise _no_permission(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(str(path))
    except BlockingIOError:
        # Its queue is full: somebody is there.
        return
    except PermissionError:
        raise _no_permission(path) from None
    except (FileNotFoundError, NotADirectoryError):
        raise _not_running(f"there is no {path}") from None
    except ConnectionRefusedError:
        raise _not_running(f"{path} was left behind by one that died") from None
    except OSError as error:
        message = f"cannot reach {path}: {error.strerror}"
        raise LocalError("control-failed", message, "check the path") from error


def _not_running(why: str) -> LocalError:
    hint = "start smeg-node, or name the socket of the one that runs by --socket"
    return LocalError("daemon-not-running", f"smeg-node is not running: {why}", hint)


def _no_permission(path: Path) -> LocalError:
    hint = "run this as the user that runs smeg-node, or as root"
    return LocalError("no-permission", f"user {os.geteuid()} may not use {path}", hint)
