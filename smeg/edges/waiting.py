"""Waiting for several ZeroMQ sockets at once by one descriptor, and which of them are worth reading then.

A poll over ZeroMQ sockets asks every one of them, before and after it waits. Their descriptors only tell that something
happened since a socket was asked last, and whatever is done with a socket may count as asking: so each is remembered as
unsure until it was asked again.
"""

from __future__ import annotations

import select

import zmq

from smeg.edges.routers import readable


class Waiting:
    """For the sockets of one thread, which nobody else polls."""

    def __init__(self, *sockets: zmq.Socket[bytes]) -> None:
        self._epoll = select.epoll()
        self._sockets = {int(socket.getsockopt(zmq.FD)): socket for socket in sockets}
        for descriptor in self._sockets:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._unsure = set(sockets)

    @property
    def descriptor(self) -> int:
        """Can be read when one of the sockets may have something; not for what is `pending` already."""
        return self._epoll.fileno()

    def touched(self, *sockets: zmq.Socket[bytes]) -> None:
        """Something was done with these, so their descriptors may have fallen silent."""
        self._unsure.update(sockets)

    def drained(self, socket: zmq.Socket[bytes]) -> None:
        """It was asked last of all, and has nothing."""
        self._unsure.discard(socket)

    def take(self) -> set[zmq.Socket[bytes]]:
        """Those that may have something. They stay unsure until they are `drained` or asked by `pending`."""
        self._unsure.update(self._sockets[descriptor] for descriptor, _ in self._epoll.poll(0))
        return set(self._unsure)

    def pending(self) -> bool:
        """Whether one has something of which the descriptor may say nothing any more."""
        if self._unsure:
            self._unsure = {socket for socket in self._unsure if readable(socket)}
        return bool(self._unsure)

    def close(self) -> None:
        """Before the sockets are. May be called again."""
        self._epoll.close()
