"""A daemon's device without the daemon: sets an interface up as standard input says, then dies or puts it away.

`python -m tests.device_on_host KIND leave` is killed with the interface in place, `... end` adopts and removes it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from ipaddress import IPv6Interface, IPv6Network
from typing import Any

from smeg.device import DeviceState, Endpoint, InterfaceSpec, WgPeer
from smeg.edges.backends import open_backend
from smeg.keys import Secret
from smeg.plan import difference

PORT = 51820
GOSSIP_PORT = 51800


def spec(seed: int) -> InterfaceSpec:
    return InterfaceSpec("smeg-test", Secret(bytes([seed]) * 32), PORT, 1420, (GOSSIP_PORT,))


def wish(now: DeviceState, given: dict[str, Any]) -> DeviceState:
    def prefixes(name: str) -> tuple[IPv6Network, ...]:
        return tuple(sorted(IPv6Network(text) for text in given.get(name, ())))

    peers = {}
    for peer in given["peers"]:
        key = bytes.fromhex(peer["key"])
        allowed = tuple(sorted(IPv6Network(text) for text in peer["allowed"]))
        peers[key] = WgPeer(key, allowed, Endpoint(peer["host"], PORT))
    return replace(
        now,
        addresses=(IPv6Interface(given["address"]),),
        routes=prefixes("main"),
        unmarked_routes=prefixes("unmarked"),
        own_routes=prefixes("own"),
        peers=peers,
    )


def main(kind: str, then: str) -> None:
    given = json.load(sys.stdin)
    backend = open_backend(kind, "wireguard-go", spec(given["seed"]))
    now = backend.read()
    goal = wish(now, given)
    backend.apply(difference(now, goal, {}))
    assert backend.read() == goal, (backend.read(), goal)
    if then == "leave":
        os.kill(os.getpid(), signal.SIGKILL)
    print("unmarked before:", *map(str, now.unmarked_routes))
    backend.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
