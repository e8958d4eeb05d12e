"""The names of devices without a daemon within one mesh: which label leads to which of them.

The name that a peer gave a device means every device of that name in the mesh, unless it means a member: no peer takes
a member's name away by vouching for a device. Before the label of its peer it means that one device alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv6Address

from smeg.keys import NodeKey
from smeg.static_clients import StaticClient

Devices = Mapping[IPv6Address, tuple[NodeKey, StaticClient]]
"""By address, each with its peer."""


class DeviceNames:
    def __init__(self) -> None:
        self._devices: Devices = {}
        self._called: dict[str, dict[NodeKey, IPv6Address]] = {}

    def take(self, devices: Devices) -> bool:
        """These count now; whether that makes a difference."""
        if devices == self._devices:
            return False
        self._devices, self._called = devices, {}
        for address, (peer, client) in devices.items():
            # A peer gives no name twice.
            self._called.setdefault(client.name, {})[peer] = address
        return True

    def __iter__(self) -> Iterator[IPv6Address]:
        return iter(self._devices)

    def labels(self) -> Collection[str]:
        return self._called.keys()

    def called(self, label: str) -> Mapping[NodeKey, IPv6Address]:
        """The addresses of all that have this name, by their peers."""
        return self._called.get(label, {})

    def at(self, address: IPv6Address) -> tuple[NodeKey, str] | None:
        """Whose device has an address, and how it calls it."""
        found = self._devices.get(address)
        return (found[0], found[1].name) if found is not None else None
