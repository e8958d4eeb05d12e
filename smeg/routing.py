"""The core of the routing table: which prefixes are reached through which member, in every mesh of this daemon.

A route counts only if it lies inside what its origin's certificate allows and covers nothing of the overlay. Of several
members that offer one prefix the lowest live key is taken.
"""

from __future__ import annotations

from ipaddress import IPv6Network

from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.core import Message
from smeg.records import Member, Route

NEVER = tuple(IPv6Network(text) for text in ("::/127", "fe80::/10", "ff00::/8"))
"""Unspecified and loopback, link-local, multicast: no route may cover any of it, so neither may a default route."""


class RoutingTable:
    def __init__(self) -> None:
        self._members: dict[str, m.MembersChanged] = {}
        self._pruned: dict[str, m.LivenessChanged] = {}
        self._told: dict[str, tuple[Route, ...]] = {}
        self._dirty: set[str] = set()
        self._version = 0

    def begin(self, now: float) -> list[Message]:
        return []

    def handle(self, message: Message, now: float) -> list[Message]:
        match message:
            case m.MembersChanged():
                self._members[message.mesh] = message
                self._dirty.add(message.mesh)
            case m.LivenessChanged():
                self._pruned[message.mesh] = message
                self._dirty.add(message.mesh)
            case m.MeshStopped():
                for table in (self._members, self._pruned, self._told):
                    table.pop(message.mesh, None)
                self._dirty.discard(message.mesh)
        return []

    def settle(self, now: float) -> list[Message]:
        out: list[Message] = []
        for mesh in sorted(self._dirty):
            routes = self._choose(mesh)
            if self._told.get(mesh) != routes:
                self._told[mesh] = routes
                self._version += 1
                out.append(m.RoutesChanged(mesh, self._version, routes))
        self._dirty.clear()
        return out

    def next_deadline(self) -> float | None:
        return None

    def _choose(self, mesh: str) -> tuple[Route, ...]:
        if mesh not in self._members:
            return ()
        liveness = self._pruned.get(mesh)
        pruned = liveness.pruned if liveness is not None else frozenset()
        chosen: dict[str, Route] = {}
        for member in self._members[mesh].members.routed:
            if member.key not in pruned:
                for prefix in member.record.routes:
                    if _allowed(mesh, member, prefix):
                        chosen.setdefault(str(prefix), Route(prefix, member.key))
        return tuple(sorted(chosen.values(), key=lambda route: route.prefix))


def _allowed(mesh: str, member: Member, prefix: IPv6Network) -> bool:
    if prefix.overlaps(overlay_prefix(mesh)) or any(prefix.overlaps(never) for never in NEVER):
        return False
    return any(prefix.subnet_of(wider) for wider in member.standing.prefixes)
