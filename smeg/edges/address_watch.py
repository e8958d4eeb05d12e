"""Whether addresses of this host have changed: the kernel says so at once (rtnetlink), to whoever asks."""

from __future__ import annotations

import socket
from contextlib import suppress

_GROUPS = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h."""
_READ_AT_ONCE = 64


class AddressWatch:
    """Needs no privilege. Where the kernel refuses, `descriptors` is empty and nothing is ever told."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        with suppress(OSError):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._socket.setblocking(False)
            self._socket.bind((0, _GROUPS))
        self._told = bytearray(1)
        """Nobody looks at it: this is asked whenever anything wakes the gossip, and room for it all would cost more."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of what can be read when something has changed."""
        return (self._socket.fileno(),) if self._socket is not None else ()

    def changed(self) -> bool:
        """Whether something has since this was asked last. Which address it was is not told."""
        if self._socket is None:
            return False
        found = False
        for _ in range(_READ_AT_ONCE):
            try:
                self._socket.recv_into(self._told)
            except BlockingIOError:
                break
            except OSError:
                # More than the kernel keeps (ENOBUFS): something has changed for sure.
                pass
            found = True
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
