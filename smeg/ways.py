"""A way to a prefix, from bridge to bridge, each hop signed by who added it.

A hop says which mesh its bridge crosses and into which it offers, and signs that with all hops before it. So whoever
passes a way on can neither leave a bridge out nor offer the way into another mesh; and who claims to cross a mesh has
to be a member of it, which `passports` prove to strangers. Only a new way, by bridges that would be lying about
themselves, could be shorter.
"""

from __future__ import annotations

import struct
from base64 import b32decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv6Network

from smeg.addresses import MESH_ID, MESH_ID_BYTES, overlay_prefix
from smeg.certificates import Grant
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, SIGNATURE_BYTES, NodeKey, Secret, base32, sign, verify
from smeg.shares import DEFAULT, MAX_WEIGHT, PARTS, WHOLE

MAX_HOPS = 16
"""meshes that a way crosses."""
_HOP = struct.Struct(f">{MESH_ID_BYTES}s{KEY_BYTES}sBBBI")
HOP_BYTES = _HOP.size + 2 + SIGNATURE_BYTES
"""Of a hop without names."""
MAX_NAME = 63
MAX_WAYS = 5600
"""bytes of all ways of one offer: what fits into a document. With short names that is some forty hops, those that
several ways share counted once."""
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
    name: str = ""
    """What its bridge is called: for people, as the next."""
    mesh_name: str = ""
    signature: bytes = b""

    def pack(self) -> bytes:
        """`HOP_BYTES` on the wire, and the names."""
        return self._said() + self.signature

    def _said(self) -> bytes:
        fixed = _HOP.pack(_mesh_bytes(self.mesh), self.node, self.near, self.far, self.weight, self.mask)
        return fixed + _text(self.name) + _text(self.mesh_name)

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


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Offer:
    """What one bridge offers into one mesh for one prefix. All its ways are equally long and no two share a part."""

    prefix: IPv6Network
    ways: tuple[Way, ...]

    @property
    def length(self) -> int:
        return len(self.ways[0].hops)

    @property
    def overlay(self) -> bool:
        """Whether it leads into a mesh, not to a prefix behind somebody."""
        return bool(self.ways[0].hops[0].mesh)


Offers = Mapping[IPv6Network, Offer]
Allowed = Callable[[str, NodeKey], Grant | None]
"""What a member of a mesh may do by its certificate there; None for who is not proven to be one."""


def seal_way(way: Way, prefix: IPv6Network, into: str, seed: Secret) -> Way:
    """Sign the last hop, which is this node's own."""
    *before, own = way.hops
    signature = sign(seed, own.covered(prefix, into, before[-1].signature if before else b""))
    return Way((*before, replace(own, signature=signature)))


def pack_ways(ways: Iterable[Way]) -> bytes:
    """Several ways to one prefix, as the tree that they are: each hop once, after the number of the one before it."""
    numbers: dict[tuple[Hop, ...], int] = {(): 0}
    entries: list[bytes] = []
    for way in ways:
        for length in range(1, len(way.hops) + 1):
            hops = way.hops[:length]
            if hops not in numbers:
                numbers[hops] = len(numbers)
                entries.append(bytes([numbers[hops[:-1]]]) + hops[-1].pack())
    return b"".join(entries)


def unpack_ways(raw: bytes) -> tuple[Way, ...]:
    """Inverse of `pack_ways`: form and bounds only. Raises `RemoteError`."""
    if not 0 < len(raw) <= MAX_WAYS:
        raise RemoteError("malformed", f"ways of {len(raw)} bytes: the bound is {MAX_WAYS}")
    known: list[tuple[Hop, ...]] = [()]
    before: set[int] = set()
    at = 0
    while at < len(raw):
        number = raw[at]
        if number >= len(known) or len(known[number]) == MAX_HOPS:
            raise RemoteError("malformed", f"a hop that follows none, or more than {MAX_HOPS}")
        before.add(number)
        hop, at = _unpack_hop(raw, at + 1)
        known.append((*known[number], hop))
    return tuple(Way(hops) for number, hops in enumerate(known) if number not in before)


def _unpack_hop(raw: bytes, at: int) -> tuple[Hop, int]:
    """The hop that begins there, and where it ends."""
    if len(raw) - at < HOP_BYTES:
        raise RemoteError("malformed", "a hop that is cut short")
    mesh, node, near, far, weight, mask = _HOP.unpack_from(raw, at)
    if near >= PARTS or far >= PARTS or not 1 <= weight <= MAX_WEIGHT or not mask:
        raise RemoteError("malformed", "a hop whose place, weight or parts are out of bounds")
    name, at = _read_text(raw, at + _HOP.size)
    mesh_name, at = _read_text(raw, at)
    end = at + SIGNATURE_BYTES
    if end > len(raw):
        raise RemoteError("malformed", "a hop that is cut short")
    named = "" if mesh == _NO_MESH else base32(mesh)
    return Hop(named, NodeKey(node), near, far, weight, mask, name, mesh_name, raw[at:end]), end


def _text(text: str) -> bytes:
    raw = text.encode("ascii", "replace")[:MAX_NAME]
    return bytes([len(raw)]) + raw


def _read_text(raw: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + raw[at] if at < len(raw) else len(raw) + 1
    text = raw[at + 1 : end]
    if end > len(raw) or len(text) > MAX_NAME or not text.isascii() or not text.decode("ascii").isprintable():
        raise RemoteError("malformed", "a hop whose name is cut short, too long or not printable")
    return text.decode("ascii"), end


def check_offer(offer: Offer, into: str, by: NodeKey, allowed: Allowed) -> None:
    """Raise `RemoteError` unless everything that `by` offers into a mesh is as it claims, and within what its
    certificate allows. The way into another mesh needs no permission: that it leads there is proven."""
    check_signed(offer, into, by)
    check_allowed(offer, into, by, allowed)


def check_signed(offer: Offer, into: str, by: NodeKey) -> None:
    """Raise `RemoteError` unless an offer is whole and each hop of it signed: what costs most, and stays so."""
    taken = 0
    for way in offer.ways:
        if way.hops[-1].node != by:
            raise RemoteError("forged-way", "a way that somebody else offers")
        if len(way.hops) != offer.length or way.mask & taken or bool(way.hops[0].mesh) != offer.overlay:
            raise RemoteError("forged-way", "an offer whose ways differ in length or in kind, or share a part")
        taken |= way.mask
        _check_hops(way, offer.prefix, into)


def check_allowed(offer: Offer, into: str, by: NodeKey, allowed: Allowed) -> None:
    """Raise `RemoteError` unless each hop is by a member, and the prefix within what certificates allow."""
    for way in offer.ways:
        where = places(way, into)
        if any(allowed(*place) is None for place in where):
            raise RemoteError("unproven-way", "a hop through a mesh by somebody who does not prove to be in it")
        granted = allowed(*where[0]) if not offer.overlay else None
        if granted is not None and not may_offer(granted, offer.prefix):
            what = f"{offer.prefix} is not within what the certificate of its origin allows"
            raise RemoteError("not-allowed", what)
    granted = allowed(into, by)
    if granted is None or not (offer.overlay or may_offer(granted, offer.prefix)):
        raise RemoteError("not-allowed", f"{offer.prefix} is not within what its certificate allows")


def may_offer(granted: Grant, prefix: IPv6Network) -> bool:
    """Whether a certificate allows a prefix behind its holder. All of it is asked for by name."""
    if prefix == DEFAULT:
        return granted.exit
    return any(prefix.subnet_of(wider) for wider in granted.prefixes)


def places(way: Way, into: str) -> list[tuple[str, NodeKey]]:
    """Of each hop the mesh that its bridge has to be a member of, and the bridge."""
    return [(hop.mesh or mesh, hop.node) for hop, mesh in zip(way.hops, _entered(way, into), strict=True)]


def _entered(way: Way, into: str) -> list[str]:
    """Into which mesh each hop offers."""
    return [*(hop.mesh for hop in way.hops[1:]), into]


def _check_hops(way: Way, prefix: IPv6Network, into: str) -> None:
    first, entered = way.hops[0], _entered(way, into)
    crossed = [hop.mesh for hop in way.hops if hop.mesh] + [into]
    if len(set(crossed)) < len(crossed) or "" in entered:
        raise RemoteError("looping-way", "a way that crosses a mesh twice")
    if first.mesh and prefix != overlay_prefix(first.mesh):
        raise RemoteError("forged-way", f"{prefix} is not the prefix of the mesh where its way ends")
    before, mask = b"", WHOLE
    for hop, mesh in zip(way.hops, entered, strict=True):
        if hop.mask & ~mask:
            raise RemoteError("forged-way", "a hop that takes parts which the one before it does not")
        if not _signed(hop.node, hop.signature, hop.covered(prefix, mesh, before)):
            raise RemoteError("bad-signature", "a hop that its bridge did not sign as it stands")
        before, mask = hop.signature, hop.mask


@lru_cache(maxsize=1 << 12)
def _signed(node: NodeKey, signature: bytes, covered: bytes) -> bool:
    """Offers are looked at again whenever a certificate changes, and the first hops are the same in many."""
    return verify(node, signature, covered)


def _mesh_bytes(mesh: str) -> bytes:
    if not mesh:
        return _NO_MESH
    assert MESH_ID.match(mesh), mesh
    return b32decode(mesh.upper())
