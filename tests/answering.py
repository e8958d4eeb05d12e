"""A host that answers each ping by the link it came in by: `python -m tests.answering INTERFACE...`.

The kernel would answer all by one link, whichever its routes prefer; with `net.ipv6.icmp.echo_ignore_all` on it leaves
that to this.
"""

from __future__ import annotations

import select
import socket
import sys

READY = "ready"
_REQUEST, _REPLY = 128, 129


def listen(interface: str) -> socket.socket:
    one = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return one


def answer(one: socket.socket) -> None:
    message, said, _, sender = one.recvmsg(4096, socket.CMSG_SPACE(20))
    if message[:1] == bytes([_REQUEST]):
        # What came with it is the address that was asked and the link: the answer's source and way. The kernel
        # reckons the checksum.
        one.sendmsg([bytes([_REPLY]) + message[1:]], said, 0, sender)


def main() -> None:
    sockets = [listen(interface) for interface in sys.argv[1:]]
    print(READY, flush=True)
    while True:
        for one in select.select(sockets, [], [])[0]:
            answer(one)


if __name__ == "__main__":
    main()
