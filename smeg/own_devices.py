"""Devices without a daemon, as this node's own part in a mesh needs them: whom an evict is about, and which of its own
an admin has evicted.

All from what `MembersChanged` and `AnnexesChanged` said last. It never sends or saves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smeg import messages as m
from smeg.annexes import Annex
from smeg.core import Message
from smeg.device_evictions import MAX_EVICTED, evicted
from smeg.device_names import find_device
from smeg.errors import LocalError
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.static_clients import LABEL, StaticClient, static_clients


class OwnDevices:
    """`wall` gives seconds since 1970."""

    def __init__(self, mesh: str, wall: Callable[[], int]) -> None:
        self._mesh = mesh
        self._wall = wall
        self._members = Members()
        self._annexes: Mapping[NodeKey, Mapping[str, Annex]] = {}
        self._news = False
        """Whether something was heard since `left` was asked."""

    def hear(self, message: Message) -> None:
        self._news = True
        match message:
            case m.MembersChanged():
                self._members = message.members
            case m.AnnexesChanged():
                self._annexes = message.annexes

    def find(self, text: str) -> StaticClient | None:
        """The device that is meant, if one is. Raises `LocalError` for several."""
        known = static_clients(self._mesh, self._members, self._annexes, self._wall())
        address = find_device(known, self._members, text)
        return None if address is None else known[address][1]

    def left(self, clients: tuple[StaticClient, ...]) -> tuple[StaticClient, ...]:
        """Those of this node that no admin has evicted."""
        if not clients or not self._news:
            return clients
        self._news = False
        gone = evicted(self._mesh, self._members, self._annexes, self._wall())
        return tuple(client for client in clients if client.wireguard not in gone) if gone else clients

    def evicting(self, before: frozenset[bytes], device: StaticClient) -> frozenset[bytes]:
        """What to evict from now on: of those `before` only whom somebody still vouches for, if there are too many.

        Raises `LocalError`.
        """
        now = before | {device.wireguard}
        if len(now) > MAX_EVICTED:
            vouching = {node: {LABEL: said[LABEL]} for node, said in self._annexes.items() if LABEL in said}
            vouched = static_clients(self._mesh, self._members, vouching, self._wall())
            now &= {client.wireguard for _, client in vouched.values()} | {device.wireguard}
        if len(now) > MAX_EVICTED:
            message = f"{MAX_EVICTED} devices are evicted already for which somebody still vouches"
            raise LocalError("too-many-evicted", message, "evict the peers that vouch for them")
        return now
