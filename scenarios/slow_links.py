"""Slows links down where the kernel has no netem: `slow_links.py PORT:FAR...`, spoken with by standard input.

Between each port, which leads to a host, and its far end, which leads to the switch, this program passes frames on. A
line `PORT DELAY STRAGGLE` has all frames of a link take `DELAY` seconds from now on, each way, and a share of those to
the host up to `LATE` seconds more, so that others overtake them. Needs nothing but the standard library.
"""

from __future__ import annotations

import heapq
import os
import random
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from itertools import count

LATE = 0.04
"""seconds."""
MOST_FRAMES = 50_000
"""on their way; more are lost."""
BATCH = 64
LARGEST = 1 << 17
"""bytes of a frame, whose segments the kernel has not cut yet."""
_ALL = 0x0003
_SOL_PACKET, _VNET_HDR = 263, 15
_OUTGOING = 4


@dataclass(slots=True)
class Pace:
    """Of a link."""

    delay: float = 0.0
    straggle: float = 0.0

    def towards_host(self, chance: random.Random) -> float:
        """seconds that one frame takes."""
        return self.delay + (chance.uniform(0, LATE) if chance.random() < self.straggle else 0.0)


@dataclass(slots=True)
class Air:
    """All frames on their way."""

    chance: random.Random
    _waiting: list[tuple[float, int, socket.socket, bytes]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def put(self, at: float, out: socket.socket, frame: bytes) -> None:
        if len(self._waiting) < MOST_FRAMES:
            heapq.heappush(self._waiting, (at, next(self._order), out, frame))

    def next_at(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None

    def deliver(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, _, out, frame = heapq.heappop(self._waiting)
            send(out, frame)


def open_port(name: str) -> socket.socket:
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    # Each frame with what the kernel has left undone of it: checksums, and cutting into segments.
    one.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    one.bind((name, 0))
    one.setblocking(False)
    return one


def send(out: socket.socket, frame: bytes) -> None:
    try:
        out.send(frame)
    except OSError:
        # A link that is down, or a full queue: on a wire it would be lost, too.
        return


def receive(one: socket.socket) -> list[bytes]:
    frames: list[bytes] = []
    try:
        for _ in range(BATCH):
            frame, (_, _, kind, *_) = one.recvfrom(LARGEST)
            if kind != _OUTGOING:
                frames.append(frame)
    except OSError:
        # Nothing more, or the link went down.
        return frames
    return frames


def main() -> None:
    air, paces, ways = Air(random.Random()), dict[str, Pace](), dict[socket.socket, tuple[socket.socket, Pace, bool]]()
    for pair in sys.argv[1:]:
        port, far = pair.split(":")
        paces[port] = Pace()
        near_end, far_end = open_port(port), open_port(far)
        ways[near_end], ways[far_end] = (far_end, paces[port], False), (near_end, paces[port], True)
    os.write(1, b"ready\n")
    sources: list[socket.socket | int] = [0, *ways]
    rest = b""
    while True:
        now, wake = time.monotonic(), air.next_at()
        wait = None if wake is None else max(0.0, wake - now)
        for ready in select.select(sources, [], [], wait)[0]:
            if isinstance(ready, int):
                data = os.read(0, 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for port, delay, straggle in (line.decode().split() for line in lines):
                    paces[port].delay, paces[port].straggle = float(delay), float(straggle)
                continue
            out, pace, to_host = ways[ready]
            now = time.monotonic()
            for frame in receive(ready):
                takes = pace.towards_host(air.chance) if to_host else pace.delay
                if takes:
                    air.put(now + takes, out, frame)
                else:
                    send(out, frame)
        air.deliver(time.monotonic())


if __name__ == "__main__":
    main()
