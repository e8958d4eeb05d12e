"""From the ways that are taken to a prefix to the routes of interfaces: parts of a mesh, and whom of several exits.

Between bridges the ways themselves say who has which part. Between members that have the prefix behind themselves each
node chooses for itself, by rendezvous hashing.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Network

from smeg.keys import NodeKey
from smeg.path_vector import Taken
from smeg.records import Route
from smeg.shares import DEFAULT, prefixes, rendezvous, shards

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""What a default route is split into: its other parts carry nothing (RFC 4291, section 2.4)."""


def chosen_routes(
    own: NodeKey, prefix: IPv6Network, taken: tuple[Taken, ...], shard_bits: int
) -> list[tuple[str, Route]]:
    """The routes of the node `own` to a prefix, each with its mesh."""
    if not taken:
        return []
    if taken[0].way.hops[0].mesh:
        return [(each.mesh, Route(part, each.via, True)) for each in taken for part in prefixes(prefix, each.mask)]
    if len(taken) == 1:
        return [(taken[0].mesh, Route(prefix, taken[0].via))]
    meshes = {each.via: each.mesh for each in taken}
    weights = {each.via: each.way.hops[0].weight for each in taken}
    return [
        (meshes[via], Route(part, via))
        for part in _split(prefix, shard_bits)
        for via in [rendezvous(own, part, weights)]
    ]


def _split(prefix: IPv6Network, bits: int) -> Iterable[IPv6Network]:
    if not bits:
        return [prefix]
    return [prefix, *shards(GLOBAL_UNICAST, bits)] if prefix == DEFAULT else shards(prefix, bits)
