"""One attempt to reach any of several addresses by TCP, without waiting: begun, looked at now and then, and closed."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterable
from contextlib import suppress

from smeg.config_values import PublicEndpoint


class Dialling:
    """`mark` is set on the connections where this process may, so that no tunnel of its own carries them."""

    def __init__(self, targets: Iterable[PublicEndpoint], mark: int) -> None:
        self._sockets: list[socket.socket] = []
        self.reached = False
        """Whether one was accepted."""
        for target in targets:
            self._dial(target, mark)

    def look(self) -> bool:
        """Whether this has come to an end: something was reached, or nothing can be any more."""
        if self._sockets and not self.reached:
            poller = select.poll()
            for one in self._sockets:
                poller.register(one, select.POLLOUT)
            ended = {descriptor for descriptor, _ in poller.poll(0)}
            for one in [one for one in self._sockets if one.fileno() in ended]:
                self._end(one, one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return self.reached or not self._sockets

    def close(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets.clear()

    def _dial(self, target: PublicEndpoint, mark: int) -> None:
        one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with suppress(PermissionError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        self._sockets.append(one)
        error = one.connect_ex((target.host, target.port or 0))
        if error != errno.EINPROGRESS:
            self._end(one, error)

    def _end(self, one: socket.socket, error: int) -> None:
        self.reached |= error == 0
        self._sockets.remove(one)
        one.close()
