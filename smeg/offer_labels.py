"""How ways and what proves them stand in annexes: a label for each prefix, and one for each certificate.

The certificates of all bridges on a bridge's ways have most of their issuers in common, so each stands for itself,
once. Nothing here is verified but form.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Network

from smeg.annexes import Annex
from smeg.documents import document_hash
from smeg.errors import RemoteError
from smeg.keys import NodeKey, Secret, base32
from smeg.prefixes import read_prefix
from smeg.ways import MAX_WAYS, Offer, Way, pack_ways, seal_way, unpack_ways

_OFFER = "offer:"
_PAPER = "paper:"
_HASH = 16
"""bytes of a certificate's hash in its label: nobody else's count, so it need only tell one's own apart."""


def bodies(
    mesh: str,
    offers: Mapping[IPv6Network, Offer],
    passports: Mapping[tuple[str, NodeKey], tuple[bytes, ...]],
    seed: Secret,
) -> dict[str, bytes]:
    """What a bridge's annexes in a mesh say: its offers, signed, and the certificates that prove their hops."""
    proofs = {_PAPER + base32(document_hash(raw)[:_HASH]): raw for papers in passports.values() for raw in papers}
    # Proofs first: they are written and told in this order, and an offer without them counts for nobody.
    found = dict(sorted(proofs.items()))
    for prefix, offer in sorted(offers.items()):
        found[f"{_OFFER}{prefix}"] = _packed([seal_way(way, prefix, mesh, seed) for way in offer.ways])
    return found


def _packed(ways: list[Way]) -> bytes:
    """As many as one annex holds: those with the most parts."""
    packed, kept = b"", list[Way]()
    for way in sorted(ways, key=lambda way: (-way.mask.bit_count(), way.mask)):
        more = pack_ways([*kept, way])
        if len(more) <= MAX_WAYS:
            packed, kept = more, [*kept, way]
    return packed


def is_paper(label: str) -> bool:
    """Whether a certificate stands under this label."""
    return label.startswith(_PAPER)


def papers(annexes: Mapping[str, Annex]) -> list[bytes]:
    """The certificates among somebody's annexes."""
    found = [(label, annex.body) for label, annex in annexes.items() if is_paper(label) and annex.body]
    return [body for _, body in sorted(found)]


def offered(annexes: Mapping[str, Annex]) -> dict[IPv6Network, Annex]:
    """Those of somebody's annexes that offer a prefix; others' labels are not ours to judge."""
    found: dict[IPv6Network, Annex] = {}
    for label, annex in annexes.items():
        prefix = offered_prefix(label)
        if prefix is not None and annex.body:
            found[prefix] = annex
    return found


def offered_prefix(label: str) -> IPv6Network | None:
    """For which prefix an annex of this label is an offer, if for any."""
    return read_prefix(label.removeprefix(_OFFER)) if label.startswith(_OFFER) else None


def read_offer(prefix: IPv6Network, annex: Annex) -> Offer:
    """What an annex offers. Raises `RemoteError`."""
    ways = unpack_ways(annex.body)
    if str(prefix) != annex.label.removeprefix(_OFFER):
        raise RemoteError("malformed", f"an offer of {annex.label[:60]}, which is not how a prefix is written")
    return Offer(prefix, ways)
