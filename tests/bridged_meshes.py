"""Many meshes joined by bridges, as their path vectors alone see them: who is in which mesh, and news that takes time.

No actor and no signature: a world small enough to look at every node after every event.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network
from random import Random

from smeg.addresses import mesh_id, overlay_prefix
from smeg.keys import NodeKey
from smeg.path_vector import PathVector
from smeg.shares import part_of
from smeg.ways import Offer, Offers

NEWS = (0.03, 0.5)
"""seconds that a change takes to reach somebody."""
NOTICE = (2.6, 3.5)
"""seconds until somebody thinks the dead dead, and the same for all within this."""


def mesh(number: int) -> str:
    return mesh_id(number.to_bytes(32, "big"))


def key(number: int) -> NodeKey:
    return NodeKey(blake2b(number.to_bytes(4, "big"), digest_size=32).digest())


class Box:
    """A daemon."""

    def __init__(self, number: int, meshes: Iterable[str], behind: Iterable[IPv6Network] = (), weight: int = 1) -> None:
        self.number = number
        self.weight = weight
        self.key = key(number)
        self.meshes = tuple(meshes)
        self.alive = True
        self.behind = tuple(behind)
        self.start()

    def start(self) -> None:
        self.table = PathVector(self.key, self.behind, self.weight)
        self.said: dict[str, dict[IPv6Network, Offer]] = {each: {} for each in self.meshes}
        for each in self.meshes:
            self.table.join(each, self.place(each), bridged=True)

    def address(self, of: str) -> IPv6Address:
        host = blake2b(self.key + of.encode(), digest_size=8).digest()
        return IPv6Address(overlay_prefix(of).network_address.packed[:8] + host)

    def place(self, of: str) -> int:
        return part_of(self.address(of))


class World:
    def __init__(self, seed: int, boxes: Iterable[Box]) -> None:
        self.random = Random(seed)
        self.boxes = list(boxes)
        self.by_key = {box.key: box for box in self.boxes}
        self.members: dict[str, list[Box]] = {}
        for box in self.boxes:
            for each in box.meshes:
                self.members.setdefault(each, []).append(box)
        self.overlays = {overlay_prefix(each): each for each in self.members}
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._versions: dict[tuple[str, NodeKey, NodeKey], int] = {}
        self._version = 0
        self.thinks_dead: dict[NodeKey, set[NodeKey]] = {box.key: set() for box in self.boxes}
        self.loops: list[str] = []
        self.moved_at = 0.0
        """When a choice changed last."""
        for box in self.boxes:
            self._settle(box)

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = end

    def rest(self) -> None:
        """Until nothing happens any more."""
        while self._events:
            self.run(self._events[0][0] - self.now)

    # What happens.

    def _settle(self, box: Box) -> None:
        if not box.alive:
            return
        changed = box.table.settle(self.now)
        if changed:
            self.moved_at = self.now
            self._look_for_loops(box, changed)
        deadline = box.table.next_deadline()
        if deadline is not None:
            self.at(deadline, lambda: self._settle(box))
        for each in box.meshes:
            said = box.said[each]
            offers = {prefix: box.table.offer(each, prefix) for prefix in changed}
            news = {prefix: offer for prefix, offer in offers.items() if offer != said.get(prefix)}
            if news:
                kept = {prefix: offer for prefix, offer in said.items() if prefix not in news}
                box.said[each] = kept | {prefix: offer for prefix, offer in news.items() if offer is not None}
                self._version += 1
                for other in self.members[each]:
                    if other is not box:
                        self._tell(each, box, other, box.said[each], self._version)

    def _tell(self, each: str, box: Box, other: Box, offers: Offers, version: int) -> None:
        def arrive() -> None:
            known = (each, box.key, other.key)
            if other.alive and self._versions.get(known, 0) < version:
                self._versions[known] = version
                if box.key not in self.thinks_dead[other.key]:
                    other.table.hear(each, box.key, offers)
                    self._settle(other)

        self.at(self.now + self.random.uniform(*NEWS), arrive)

    def kill(self, box: Box) -> None:
        box.alive = False
        when = self.now + self.random.uniform(*NOTICE)
        for other in {member for each in box.meshes for member in self.members[each]} - {box}:
            self.at(when + self.random.uniform(*NEWS), lambda other=other: self._miss(other, box))  # type: ignore[misc]

    def _miss(self, other: Box, box: Box) -> None:
        if box.alive or not other.alive:
            return
        self.thinks_dead[other.key].add(box.key)
        for each in {*box.meshes} & {*other.meshes}:
            other.table.hear(each, box.key, {})
        self._settle(other)

    def start(self, box: Box) -> None:
        box.alive = True
        box.start()
        self.thinks_dead[box.key] = {other.key for other in self.boxes if not other.alive}
        for each in box.meshes:
            for other in self.members[each]:
                if other is not box and other.alive:
                    self.thinks_dead[other.key].discard(box.key)
                    self._version += 1
                    self._tell(each, other, box, other.said[each], self._version)
        self._settle(box)

    # What is so.

    def walk(self, box: Box, to: str, part: int) -> list[Box]:
        """Where a packet from here to a part of a mesh goes; it ends in the mesh, at the dead, or where nobody knows
        on. In a circle it comes back to one of those before."""
        passed = [box]
        while to not in passed[-1].meshes and passed[-1].alive:
            taken = passed[-1].table.taken(overlay_prefix(to))
            via = next((one.via for one in taken if one.mask >> part & 1), None)
            if via is None:
                break
            passed.append(self.by_key[via])
            if passed[-1] in passed[:-1]:
                break
        return passed

    def arrives(self, passed: list[Box], to: str) -> bool:
        return to in passed[-1].meshes and passed[-1].alive

    def _look_for_loops(self, box: Box, changed: set[IPv6Network]) -> None:
        for prefix in sorted(changed & self.overlays.keys()):
            for part in [one.mask.bit_length() - 1 for one in box.table.taken(prefix)]:
                passed = self.walk(box, self.overlays[prefix], part)
                if passed[-1] in passed[:-1]:
                    self.loops.append(f"{self.now:.3f}: {[each.number for each in passed]}")
