"""Which of several equally short ways a flow takes: hashed, so that exits share it and only a dead one's part moves.

WireGuard takes a packet from a peer only if it would send to the packet's source by that same peer. So both directions
of a flow have to cross the same nodes, although its two ends choose without asking each other. They do if every way
has a cost that both see alike and no two ways have the same: then each end finds the cheapest, and any stretch of a
cheapest way is the cheapest between its own ends, whoever looks. Costs here are sums over the links of a way, each by a
hash of the mesh and of the two places that it joins, and over its bridges, each by its weight. The hash becomes the
logarithm of an exponential variate, so that what is added for a weight divides that variate (Gumbel's trick).

An end cannot tell the nodes of another mesh apart, only their prefix. So a mesh's prefix is cut into `PARTS` by the
first bits of the interface id, which are a hash themselves; a node's place in a mesh is the part that its address lies
in, and who shares a place with another shares its costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network
from math import log
from typing import TYPE_CHECKING

from smeg.prefixes import prefix

if TYPE_CHECKING:
    # The command line, which reads the configuration's defaults, waits for no cryptography.
    from smeg.keys import NodeKey

PART_BITS = 5
PARTS = 1 << PART_BITS
WHOLE = (1 << PARTS) - 1
"""All parts, as a mask."""
MAX_WEIGHT = 255
DEFAULT = prefix(0, 0)
OVERLAY_BITS = 64
"""Length of a mesh's prefix."""
_UNIT = 2.0**32
_ABOVE_ZERO = 46.0
"""The logarithm of a variate is never lower than minus this."""
_HEFT = 1.4
"""A way crosses two links of each bridge. With weights to this power, of bridges that differ in weight each gets its
share to within some hundredths."""


def part_of(address: IPv6Address) -> int:
    """In which part of its mesh an address lies."""
    return address.packed[8] >> 8 - PART_BITS


def prefixes(overlay: IPv6Network, mask: int) -> list[IPv6Network]:
    """These parts of a mesh's prefix, as few prefixes as can be, sorted."""
    base, length = int(overlay.network_address), OVERLAY_BITS + PART_BITS
    found, part = list[IPv6Network](), 0
    while part < PARTS:
        # The most parts from here on that are one prefix.
        size = part & -part or PARTS
        while size and ~mask >> part & (1 << size) - 1:
            size >>= 1
        if size:
            found.append(prefix(base | part << 128 - length, length + 1 - size.bit_length()))
        part += size or 1
    return found


@lru_cache(maxsize=1 << 12)
def links(mesh: str, place: int) -> tuple[int, ...]:
    """What it costs to pass between a place of a mesh and each of its parts."""
    name = mesh.encode()
    drawn = (_variate(name, bytes([min(place, part), max(place, part)])) for part in range(PARTS))
    return tuple(round((log(variate) + _ABOVE_ZERO) * _UNIT) for variate in drawn)


@lru_cache(maxsize=MAX_WEIGHT)
def heft(weight: int) -> int:
    """What it costs to pass through a bridge of this weight. It adds to the cost of links: so a bridge that chooses for
    others, and for itself as an end, need not know its own, and finds the same."""
    return round(_HEFT * log(MAX_WEIGHT / weight) * _UNIT)


@lru_cache(maxsize=1 << 12)
def tie(node: NodeKey) -> int:
    """What decides between two ways over the same places: the lesser sum of these over their nodes."""
    return int.from_bytes(blake2b(node, digest_size=8, person=b"smeg-tie").digest(), "big")


def rendezvous(node: NodeKey, prefix: IPv6Network, exits: Mapping[NodeKey, int]) -> NodeKey:
    """Which exit a node takes to a prefix, of some with weights: each as often as its weight says, and when one goes
    only those move that had it (rendezvous hashing, with logarithms for the weights)."""
    to = prefix.network_address.packed + bytes([prefix.prefixlen])
    return min(exits, key=lambda key: (_variate(node, key, to) / exits[key], key))


def shards(prefix: IPv6Network, bits: int) -> Iterable[IPv6Network]:
    """A prefix in `2**bits` parts, fewer if it is too long for so many."""
    return prefix.subnets(min(bits, 128 - prefix.prefixlen))


def _variate(*of: bytes) -> float:
    """An exponential variate: positive, with mean 1."""
    drawn = int.from_bytes(blake2b(b"".join(of), digest_size=8, person=b"smeg-share").digest(), "big")
    return -log((drawn + 0.5) / 2.0**64)
