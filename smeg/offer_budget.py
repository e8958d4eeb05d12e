"""Which offers a bridge makes when there is no room for all: as many of each that it hears from, and so on from there.

A member of one mesh may make up hundreds of meshes of its own and offer ways into them. Bridges pass that on, and the
room in which each says what it offers is bounded. So it is shared out like the ways themselves branch, hop by hop:
whoever offers much, or pretends that others beyond it do, fills its own share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network
from itertools import chain, zip_longest

from smeg.keys import NodeKey
from smeg.ways import Offer, places

Papers = Mapping[tuple[str, NodeKey], tuple[bytes, ...]]
"""By mesh and node: the certificates that prove it to be a member there."""


@dataclass(frozen=True, slots=True)
class Chosen:
    offers: Mapping[IPv6Network, Offer]
    passports: Papers
    """What proves their hops."""
    left_out: int
    """How many there is no room for."""


def choose(into: str, offers: Mapping[IPv6Network, Offer], passports: Papers, most: int) -> Chosen:
    """As many as fit into `most` annexes, one for each offer and one for each certificate."""
    kept: dict[IPv6Network, Offer] = {}
    found: dict[tuple[str, NodeKey], tuple[bytes, ...]] = {}
    papers: set[bytes] = set()
    for offer in _in_turn(sorted(offers.values(), key=lambda offer: (offer.length, offer.prefix)), 1):
        needed = {place: passports[place] for way in offer.ways for place in places(way, into) if place in passports}
        more = set(chain.from_iterable(needed.values())) - papers
        if len(kept) + len(papers) + len(more) < most:
            kept[offer.prefix] = offer
            found |= needed
            papers |= more
    return Chosen(kept, found, len(offers) - len(kept))


def _in_turn(offers: list[Offer], depth: int) -> Iterable[Offer]:
    """In the order in which they get room: `depth` hops of their ways, the nearest ones, are the same."""
    ending = [offer for offer in offers if offer.length == depth]
    branches: dict[NodeKey, list[Offer]] = {}
    for offer in offers:
        if offer.length > depth:
            branches.setdefault(offer.ways[0].hops[-depth - 1].node, []).append(offer)
    ordered = [_in_turn(branch, depth + 1) for _, branch in sorted(branches.items())]
    rounds = chain.from_iterable(zip_longest(*ordered))
    return [*ending, *(offer for offer in rounds if offer is not None)]
