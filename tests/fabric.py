"""Packets on their way through WireGuard devices, as values: by the longest match out, and by the source in."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address

from smeg.certificates import Role
from smeg.device import DeviceState
from smeg.keys import NodeKey
from smeg.members import Members

FAR = 20
"""hops after which a packet has gone around."""


class Fabric:
    """Some members' devices; those without one are dead."""

    def __init__(self, members: Members, devices: Mapping[NodeKey, DeviceState]) -> None:
        self._members = members
        self.devices = devices
        keys = {member.standing.wireguard: key for key, member in members.items()}
        self._owners = {
            key: {prefix: keys[peer.public_key] for peer in device.peers.values() for prefix in peer.allowed_ips}
            for key, device in devices.items()
        }

    def owner(self, at: NodeKey, address: IPv6Address) -> NodeKey | None:
        """To whom a device sends packets for an address, and from whom alone it takes those of it."""
        found = [prefix for prefix in self._owners[at] if address in prefix]
        return self._owners[at][max(found, key=lambda prefix: prefix.prefixlen)] if found else None

    def walk(self, start: NodeKey, source: IPv6Address, to: IPv6Address, careless: bool = False) -> list[NodeKey]:
        """Where a packet comes, one after another, until it is there or thrown away; `careless` devices do not look at
        where it comes from."""
        path = [start]
        while len(path) < FAR:
            at = path[-1]
            home = any(address.ip == to for address in self.devices[at].addresses)
            if home or (at != start and self._members[at].role is Role.CLIENT):
                break
            onwards = self.owner(at, to)
            if onwards is None or onwards not in self.devices:
                break
            if self.owner(onwards, source) != at and not careless:
                break
            path.append(onwards)
        return path
