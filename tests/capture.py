"""What passes the interfaces of meshes on a host: `python -m tests.capture` writes a line for each ping.

A line has the interface, `in` or `out`, whether it is a `request` or a `reply`, source, destination, identifier,
sequence number and hop limit; for what ended on the way `exceeded` stands alone in place of the kind.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

OURS = "smeg-"
_ALL = 0x0003
_OUTGOING = 4
"""`PACKET_OUTGOING`, packet(7)."""
_ICMPV6 = 58
_KINDS = {128: "request", 129: "reply", 3: "exceeded"}
READY = "ready"


@dataclass(frozen=True, slots=True)
class Seen:
    interface: str
    direction: str
    kind: str
    source: str
    destination: str
    identifier: int
    sequence: int
    hops: int

    @property
    def passage(self) -> tuple[object, ...]:
        """What is the same only for one packet that passes one place twice."""
        return (self.interface, self.direction, self.kind, self.source, self.destination, self.identifier,
                self.sequence)  # fmt: skip

    @staticmethod
    def read(text: str) -> list[Seen]:
        """The lines that are whole."""
        rows = (line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [Seen(*row[:5], *map(int, row[5:])) for row in rows if len(row) == 8]  # type: ignore[arg-type]


def parse(interface: str, outgoing: bool, packet: bytes) -> Seen | None:
    """A packet from its IPv6 header on; None for what is no ping."""
    if len(packet) < 48 or packet[0] >> 4 != 6 or packet[6] != _ICMPV6 or packet[40] not in _KINDS:
        return None
    source, destination = (str(IPv6Address(packet[at : at + 16])) for at in (8, 24))
    identifier, sequence = struct.unpack_from("!HH", packet, 44)
    direction = "out" if outgoing else "in"
    return Seen(interface, direction, _KINDS[packet[40]], source, destination, identifier, sequence, packet[7])


def main() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL)) as tap:
        print(READY, flush=True)
        while True:
            packet, (interface, _, kind, *_) = tap.recvfrom(2048)
            seen = parse(interface, kind == _OUTGOING, packet) if interface.startswith(OURS) else None
            if seen is not None:
                fields = (seen.interface, seen.direction, seen.kind, seen.source, seen.destination)
                print(*fields, seen.identifier, seen.sequence, seen.hops, flush=True)


if __name__ == "__main__":
    main()
