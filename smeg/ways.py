"""A way to a prefix, from bridge to bridge, each hop signed by who added it.

A hop says which mesh its bridge crosses and into which it offers, and signs that with all hops before it. So whoever
passes a way on can neither leave a bridge out nor offer the way into another mesh; and who claims to cross a mesh has
to be a member of it, which `passports` prove to strangers. Only a new way, by bridges that would be lying about
themselves, could be shorter.
"""

from __future__ import annotations

import struct
from base64 import b32decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Network

from smeg.addresses import MESH_ID, MESH_ID_BYTES, overlay_prefix
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, SIGNATURE_BYTES, NodeKey, Secret, base32, sign, verify
from smeg.shares import MAX_WEIGHT, PARTS, WHOLE

MAX_HOPS = 16
"""meshes that a way crosses."""
_HOP = struct.Struct(f">{MESH_ID_BYTES}s{KEY_BYTES}sBBBI")
HOP_BYTES = _HOP.size + SIGNATURE_BYTES
_NO_MESH = bytes(MESH_ID_BYTES)
_DOMAIN = b"smegmesh/1/hop\0"


@dataclass(frozen=True, slots=True)
class Hop:
    """A bridge on a way."""

    mesh: str
    """Which mesh it crosses towards the prefix; empty for whoever has the prefix behind itself."""
    node: NodeKey
    near: int
    """Its place in that mesh."""
    far: int
    """Its place in the mesh into which it offers."""
    weight: int = 1
    mask: int = WHOLE
    """The parts of the prefix for which it takes this way."""
    signature: bytes = b""

    def pack(self) -> bytes:
        """`HOP_BYTES` on the wire."""
        return self._said() + self.signature

    def _said(self) -> bytes:
        return _HOP.pack(_mesh_bytes(self.mesh), self.node, self.near, self.far, self.weight, self.mask)

    def covered(self, prefix: IPv6Network, into: str, before: bytes) -> bytes:
        """What its signature covers; `before` is that of the hop before it, empty for the first."""
        to = prefix.network_address.packed + bytes([prefix.prefixlen])
        return _DOMAIN + to + _mesh_bytes(into) + before + self._said()


@dataclass(frozen=True, slots=True)
class Way:
    """How some parts of a prefix are reached."""

    hops: tuple[Hop, ...]
    """The nearest to the prefix first; the last is who offers it."""

    @property
    def mask(self) -> int:
        return self.hops[-1].mask

    def pack(self) -> bytes:
        return b"".join(hop.pack() for hop in self.hops)


@dataclass(frozen=True, slots=True)
class Offer:
    """What one bridge offers into one mesh for one prefix. All its ways are equally long and no two share a part."""

    prefix: IPv6Network
    ways: tuple[Way, ...]

    @property
    def length(self) -> int:
        return len(self.ways[0].hops)


Offers = Mapping[IPv6Network, Offer]
Allowed = Callable[[str, NodeKey], tuple[IPv6Network, ...] | None]
"""What a member of a mesh may offer by its certificate there; None for who is not proven to be one."""


def seal_way(way: Way, prefix: IPv6Network, into: str, seed: Secret) -> Way:
    """Sign the last hop, which is this node's own."""
    *before, own = way.hops
    signature = sign(seed, own.covered(prefix, into, before[-1].signature if before else b""))
    return Way((*before, replace(own, signature=signature)))


def unpack_way(raw: bytes) -> Way:
    """Inverse of `Way.pack`: form and bounds only. Raises `RemoteError`."""
    count, rest = divmod(len(raw), HOP_BYTES)
    if rest or not 1 <= count <= MAX_HOPS:
        raise RemoteError("malformed", f"a way of {len(raw)} bytes: 1 to {MAX_HOPS} hops of {HOP_BYTES} are allowed")
    hops: list[Hop] = []
    for at in range(0, len(raw), HOP_BYTES):
        mesh, node, near, far, weight, mask = _HOP.unpack_from(raw, at)
        if near >= PARTS or far >= PARTS or not 1 <= weight <= MAX_WEIGHT or not mask:
            raise RemoteError("malformed", "a hop whose place, weight or parts are out of bounds")
        named = "" if mesh == _NO_MESH else base32(mesh)
        signature = raw[at + _HOP.size : at + HOP_BYTES]
        hops.append(Hop(named, NodeKey(node), near, far, weight, mask, signature))
    return Way(tuple(hops))


def check_offer(offer: Offer, into: str, by: NodeKey, allowed: Allowed) -> None:
    """Raise `RemoteError` unless everything that `by` offers into a mesh is as it claims."""
    taken = 0
    for way in offer.ways:
        if way.hops[-1].node != by:
            raise RemoteError("forged-way", "a way that somebody else offers")
        if len(way.hops) != offer.length or way.mask & taken:
            raise RemoteError("forged-way", "an offer whose ways differ in length or share a part")
        taken |= way.mask
        _check_way(way, offer.prefix, into, allowed)
    granted = allowed(into, by)
    if granted is None or not _inside(offer.prefix, granted):
        raise RemoteError("not-allowed", f"{offer.prefix} is not within what its certificate allows")


def _check_way(way: Way, prefix: IPv6Network, into: str, allowed: Allowed) -> None:
    first = way.hops[0]
    entered = [hop.mesh for hop in way.hops[1:]] + [into]
    crossed = [hop.mesh for hop in way.hops if hop.mesh] + [into]
    if len(set(crossed)) < len(crossed) or "" in entered:
        raise RemoteError("looping-way", "a way that crosses a mesh twice")
    if first.mesh and prefix != overlay_prefix(first.mesh):
        raise RemoteError("forged-way", f"{prefix} is not the prefix of the mesh where its way ends")
    if not first.mesh and (granted := allowed(entered[0], first.node)) is not None and not _inside(prefix, granted):
        raise RemoteError("not-allowed", f"{prefix} is not within what the certificate of its origin allows")
    before, mask = b"", WHOLE
    for hop, mesh in zip(way.hops, entered, strict=True):
        if hop.mask & ~mask:
            raise RemoteError("forged-way", "a hop that takes parts which the one before it does not")
        if allowed(hop.mesh or mesh, hop.node) is None:
            raise RemoteError("unproven-way", "a hop through a mesh by somebody who does not prove to be in it")
        if not verify(hop.node, hop.signature, hop.covered(prefix, mesh, before)):
            raise RemoteError("bad-signature", "a hop that its bridge did not sign as it stands")
        before, mask = hop.signature, hop.mask


def _inside(prefix: IPv6Network, granted: tuple[IPv6Network, ...]) -> bool:
    return any(prefix.subnet_of(wider) for wider in granted)


def _mesh_bytes(mesh: str) -> bytes:
    if not mesh:
        return _NO_MESH
    assert MESH_ID.match(mesh), mesh
    return b32decode(mesh.upper())
