"""Topologies drawn from chance: groups of hosts, their meshes, and the bridges between these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Network
from itertools import pairwise
from random import Random

from scenarios.script import Begins, Group
from scenarios.script_values import Seconds, Share

BEHIND = IPv6Network("2001:db8:1::/48")


@dataclass(frozen=True, slots=True)
class Topology:
    hosts: tuple[Group, ...]
    meshes: dict[str, tuple[str, ...]]
    bridges: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def founders(self) -> dict[str, str]:
        """By mesh: the host that founds it, the first peer of its groups as they stand under `hosts`."""
        return {mesh: f"{next(self._able(mesh))}-1" for mesh in self.meshes}

    def _able(self, mesh: str) -> Iterator[str]:
        for group in self.hosts:
            member = group.name in self.meshes[mesh] or mesh in self.bridges.get(group.name, ())
            if member and group.role == "peer" and group.begins is Begins.MEMBER:
                yield group.name

    def members(self, mesh: str) -> list[str]:
        """Groups whose hosts are in a mesh from the start, up or not."""
        return [
            group.name
            for group in self.hosts
            if group.begins is not Begins.OUTSIDE
            and (group.name in self.meshes[mesh] or mesh in self.bridges.get(group.name, ()))
        ]


def draw_topology(chance: Random) -> Topology:
    kinds = (_flat, _bridged, _chain, _exits)
    (kind,) = chance.choices(kinds, (10, 5, 3, 3))
    return kind(chance)


def _flat(chance: Random) -> Topology:
    groups = [Group("peers", chance.randint(3, 10))]
    if chance.random() < 0.6:
        groups.append(_clients(chance, chance.randint(1, 4)))
    if chance.random() < 0.3:
        latency, loss = Seconds(chance.randint(5, 30) / 100), Share(chance.randint(0, 3) / 100)
        groups.append(Group("far", chance.randint(1, 2), latency=latency, loss=loss))
    if chance.random() < 0.2:
        groups.append(Group("sleepers", chance.randint(1, 2), begins=Begins.OFF))
    if chance.random() < 0.5:
        groups.append(Group("guests", chance.randint(1, 3), begins=Begins.OUTSIDE))
    return Topology(tuple(groups), {"m": tuple(group.name for group in groups)})


def _bridged(chance: Random) -> Topology:
    groups = [Group("left", chance.randint(2, 6)), Group("right", chance.randint(2, 5))]
    meshes: dict[str, tuple[str, ...]] = {"a": ("left",), "b": ("right",)}
    if chance.random() < 0.4:
        groups.append(_clients(chance, chance.randint(1, 3)))
        meshes["a"] += ("clients",)
    if chance.random() < 0.3:
        groups.append(Group("guests", chance.randint(1, 2), begins=Begins.OUTSIDE))
    groups.append(Group("edge", chance.randint(1, 3)))
    return Topology(tuple(groups), meshes, {"edge": ("a", "b")})


def _chain(chance: Random) -> Topology:
    """Three or four meshes in a row, or in a ring."""
    names = "abcd"[: chance.randint(3, 4)]
    groups = [Group(f"in-{name}", chance.randint(1, 3)) for name in names]
    meshes: dict[str, tuple[str, ...]] = {name: (f"in-{name}",) for name in names}
    pairs = list(pairwise(names))
    if chance.random() < 0.5:
        pairs.append((names[-1], names[0]))
    bridges: dict[str, tuple[str, ...]] = {f"from-{one}-to-{other}": (one, other) for one, other in pairs}
    groups += [Group(name, chance.randint(1, 2)) for name in bridges]
    return Topology(tuple(groups), meshes, bridges)


def _exits(chance: Random) -> Topology:
    groups = [Group("peers", chance.randint(3, 6)), Group("exits", 2, advertises=(BEHIND,))]
    if chance.random() < 0.5:
        groups.append(_clients(chance, chance.randint(1, 2)))
    return Topology(tuple(groups), {"m": tuple(group.name for group in groups)})


def _clients(chance: Random, count: int) -> Group:
    group = Group("clients", count, role="client", nat=True)
    return replace(group, latency=Seconds(chance.randint(1, 10) / 100)) if chance.random() < 0.3 else group
