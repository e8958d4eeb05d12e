"""What a node does with routes by its user's will: what it offers, what it takes, whether it bridges, mesh by mesh.

Values only, made from the configuration; `routing` acts on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Network

from smeg.shares import DEFAULT


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """Whether what a prefix holds passes."""

    prefix: IPv6Network
    passes: bool

    def __str__(self) -> str:
        return f"{'' if self.passes else '!'}{self.prefix}"


@dataclass(frozen=True, slots=True)
class PrefixFilter:
    """Rules in order: the first that holds a route decides. What none holds passes if all rules only refuse."""

    rules: tuple[PrefixRule, ...] = ()

    def passes(self, prefix: IPv6Network) -> bool:
        found = next((rule.passes for rule in self.rules if prefix.subnet_of(rule.prefix)), None)
        return not any(rule.passes for rule in self.rules) if found is None else found


@dataclass(frozen=True, slots=True)
class MeshPolicy:
    """For one mesh."""

    bridge: bool = False
    """Whether it is offered to the other meshes that are bridged, and they to it."""
    accept_defaults: bool = False
    """Whether a default route through an exit of the mesh is taken."""
    imports: PrefixFilter = PrefixFilter()
    exports: PrefixFilter = PrefixFilter()


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    behind: frozenset[IPv6Network] = frozenset()
    """What this node itself leads to: `DEFAULT` for an exit."""
    weight: int = 1
    """The share of this node among redundant bridges and exits, against the others'."""
    shard_bits: int = 0
    """A prefix with several exits is split into two to the power of this many parts."""
    probed: bool = False
    """Whether what is behind this node is offered only while a probe reaches beyond it."""
    general: MeshPolicy = MeshPolicy()
    meshes: Mapping[str, MeshPolicy] = field(default_factory=dict)
    """By name or id, where it is another than in general."""

    def of(self, mesh: str, name: str) -> MeshPolicy:
        return self.meshes.get(mesh) or self.meshes.get(name) or self.general

    @property
    def is_exit(self) -> bool:
        return DEFAULT in self.behind
