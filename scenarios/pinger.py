"""Sends single packets of one host and says what became of each: `pinger.py [PORT]`, spoken with by pipes.

A line `NUMBER ADDRESS HOPS` on standard input sends an ICMPv6 echo with this hop limit. For each that comes to an end
a line on standard output has its number, `reply`, `exceeded`, `unreachable` or `failed`, and who said so. With a port
it also accepts TCP connections there, and closes them. Needs nothing but the standard library.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from ipaddress import IPv6Address

REQUEST, REPLY = 128, 129
UNREACHABLE, EXCEEDED = 1, 3
WORDS = {REPLY: "reply", UNREACHABLE: "unreachable", EXCEEDED: "exceeded"}
_ICMP6_FILTER = 1
_HEAD = struct.Struct("!BBHHHQ")
"""Type, code, checksum, identifier, sequence number, and the number that was given."""
_PADDING = bytes(40)
_ERROR_HEAD, _IPV6_HEAD = 8, 40


def open_socket() -> socket.socket:
    """Raises `PermissionError` without the right to send packets of one's own making."""
    one = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    blocked = bytearray(b"\xff" * 32)
    for kind in WORDS:
        word = kind >> 5
        value = int.from_bytes(blocked[4 * word : 4 * word + 4], sys.byteorder) & ~(1 << (kind & 31))
        blocked[4 * word : 4 * word + 4] = value.to_bytes(4, sys.byteorder)
    one.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(blocked))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    one.setblocking(False)
    return one


def echo(identifier: int, number: int) -> bytes:
    """The kernel reckons the checksum."""
    return _HEAD.pack(REQUEST, 0, 0, identifier, number & 0xFFFF, number) + _PADDING


def read(message: bytes, identifier: int) -> tuple[int, str] | None:
    """Which echo of this process a message is about, and what became of it; None for what is about none."""
    if len(message) < _ERROR_HEAD or message[0] not in WORDS:
        return None
    inner = message if message[0] == REPLY else message[_ERROR_HEAD + _IPV6_HEAD :]
    if len(inner) < _HEAD.size:
        return None
    kind, _, _, found, _, number = _HEAD.unpack_from(inner)
    if found != identifier or kind != (REPLY if message[0] == REPLY else REQUEST):
        return None
    return number, WORDS[message[0]]


def _say(number: int, what: str, who: str) -> None:
    os.write(1, f"{number} {what} {who}\n".encode())


def _send(one: socket.socket, identifier: int, line: str) -> None:
    number, address, hops = line.split()
    limit = [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("i", int(hops)))]
    try:
        one.sendmsg([echo(identifier, int(number))], limit, 0, (address, 0))
    except OSError as error:
        _say(int(number), "failed", (error.strerror or "unknown").replace(" ", "-"))


def _receive(one: socket.socket, identifier: int) -> None:
    while True:
        try:
            message, sender = one.recvfrom(2048)
        except BlockingIOError:
            return
        except OSError:
            # What an earlier packet met is told by a message of its own.
            continue
        found = read(message, identifier)
        if found is not None:
            _say(*found, str(IPv6Address(sender[0].partition("%")[0])))


def main() -> None:
    one, identifier, rest = open_socket(), os.getpid() & 0xFFFF, b""
    sources: list[socket.socket | int] = [0, one]
    listener = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6) if len(sys.argv) > 1 else None
    sources += [listener] if listener is not None else []
    os.write(1, b"ready\n")
    while True:
        for ready in select.select(sources, [], [])[0]:
            if ready is one:
                _receive(one, identifier)
            elif ready is listener and listener is not None:
                listener.accept()[0].close()
            else:
                data = os.read(0, 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    _send(one, identifier, line.decode())


if __name__ == "__main__":
    main()
