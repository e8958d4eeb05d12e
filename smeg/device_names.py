"""The names of devices without a daemon within one mesh: which label leads to which of them.

The name that a peer gave a device means every device of that name in the mesh, unless it means a member: no peer takes
a member's name away by vouching for a device. Before the label of its peer it means that one device alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv6Address

from smeg.errors import LocalError
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import Member
from smeg.static_clients import StaticClient

Devices = Mapping[IPv6Address, tuple[NodeKey, StaticClient]]
"""By address, each with its peer."""


def find_device(devices: Devices, members: Members, text: str) -> IPv6Address | None:
    """The device of this name or address, or named NAME.PEER; None where there is none, or where a member is called so.

    `devices` are those that `members` vouch for. Raises `LocalError` (`ambiguous-node`).
    """
    named = [
        (address, f"{client.name}.{members[peer].record.name}")
        for address, (peer, client) in devices.items()
        if text.lower() in (client.name, str(address), *(f"{client.name}.{label}" for label in _called(members[peer])))
    ]
    if not named or any(text in _called(member) for member in members.values()):
        return None
    if len(named) > 1:
        could = ", ".join(full for _, full in named[:5])
        message = f"{text!r} could be any of the devices {could}"
        raise LocalError("ambiguous-node", message, "give one of these, or an address")
    return named[0][0]


def _called(member: Member) -> tuple[str, ...]:
    """By its user's words, not by its id."""
    alias = member.record.card.alias
    return (member.record.name, alias) if alias else (member.record.name,)


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
