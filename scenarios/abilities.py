"""What this machine can do of what the real world of a scenario needs, found out by doing it in a scratch world."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from scenarios.hosts import Host, World

_BRIDGE = (
    "add table bridge probe; add chain bridge probe c { type filter hook forward priority 0 ; };"
    ' add rule bridge probe c iifname "host1" drop'
)
_LOSS = "add rule bridge probe c numgen random mod 100 < 5 drop"
_DOUBLES = (
    'add table netdev probe; add chain netdev probe c { type filter hook egress device "host1" priority 0 ; };'
    ' add rule netdev probe c numgen random mod 100 < 5 dup to "host1"'
)
_FRAMES = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW).setsockopt(263, 15, 1)"
_NAT = (
    "add table ip probe; add chain ip probe c { type nat hook postrouting priority 100 ; };"
    ' add rule ip probe c oifname "eth0" masquerade'
)


@dataclass(frozen=True, slots=True)
class Abilities:
    backend: Literal["kernel", "userspace"]
    """Which WireGuard there is."""
    drops: bool
    """Whether the switch can keep hosts apart."""
    loses: bool
    """Whether it can drop at random."""
    netem: bool
    slows: bool
    """By netem, or by a program between a link and the switch."""
    doubles: bool
    """By netem or without it."""
    translates: bool
    """Whether a host can be a NAT."""


def find_out() -> Abilities:
    """Raises `LocalError` where daemons and their WireGuard cannot run in namespaces at all."""
    with World() as world:
        host = world.host("probe")
        backend = world.wireguard()
        drops = _nft(world, _BRIDGE)
        netem = _netem(world, host)
        return Abilities(
            backend,
            drops,
            drops and _nft(world, _LOSS),
            netem,
            netem or world.run([sys.executable, "-I", "-S", "-c", _FRAMES]).returncode == 0,
            netem or _nft(world, _DOUBLES),
            host.run(["nft", _NAT], check=False).returncode == 0,
        )


def _nft(world: World, rules: str) -> bool:
    return world.run(["nft", rules]).returncode == 0


def _netem(world: World, host: Host) -> bool:
    return world.run(["tc", "qdisc", "add", "dev", host.link, "root", "netem", "delay", "1ms"]).returncode == 0
