"""What the members of one mesh offer there, verified: the entry to the path vector.

An offer counts while who makes it is a live member, every hop of it is signed and proven, and the user's filter lets it
in. Only who offers something is ever looked at, so that a change among thousands of members costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Network

from smeg.addresses import node_id
from smeg.annexes import Annex
from smeg.certificates import Grant
from smeg.errors import Problem, RemoteError
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.notary import Notary
from smeg.offer_labels import offered, papers, read_offer
from smeg.passports import Passports
from smeg.records import Member, Standing
from smeg.route_policy import MeshPolicy
from smeg.shares import DEFAULT
from smeg.ways import Offer, Offers, check_offer

NEVER = tuple(IPv6Network(text) for text in ("::/127", "fe80::/10", "ff00::/8"))
"""Unspecified and loopback, link-local, multicast: no route may cover any of it."""
WIDEST = 8
"""The shortest length of a prefix that is not the default route: two halves of everything would be one by stealth."""
GrantHere = Callable[[str, NodeKey], Grant | None]
"""What a member of one of this node's own meshes may do there."""


@dataclass(slots=True)
class _Speaker:
    """Somebody who offers something, and what it was judged by."""

    annexes: Mapping[str, Annex]
    standing: Standing
    overlays: frozenset[IPv6Network]
    passports: Passports
    offers: dict[IPv6Network, tuple[bytes, Offer]]
    """By prefix, with the hash of the annex."""
    until: int | None
    """Seconds since 1970 at which a certificate that it rests on expires."""


class HeardOffers:
    """`own` is this node, whose own offers are not heard."""

    def __init__(self, mesh: str, own: NodeKey, notary: Notary) -> None:
        self._mesh = mesh
        self._own = own
        self._notary = notary
        self.members = Members()
        self.pruned: frozenset[NodeKey] = frozenset()
        self.annexes: Mapping[NodeKey, Mapping[str, Annex]] = {}
        self._speakers: dict[NodeKey, _Speaker] = {}
        self._told: dict[NodeKey, Offers] = {}
        self.problems: list[Problem] = []
        """Of what did not count since they were last taken."""

    def update(
        self, policy: MeshPolicy, overlays: frozenset[IPv6Network], here: GrantHere, wall: int
    ) -> dict[NodeKey, Offers]:
        """What members offer now, of those of whom that changed. `overlays` are the prefixes of all own meshes."""
        changed: dict[NodeKey, Offers] = {}
        for node in sorted(self.annexes.keys() | self._told.keys()):
            offers = self._offers(node, policy, overlays, here, wall)
            before = self._told.get(node, {})
            if offers.keys() != before.keys() or any(offers[prefix] is not before[prefix] for prefix in offers):
                changed[node] = offers
                if offers:
                    self._told[node] = offers
                else:
                    self._told.pop(node, None)
        return changed

    def said(self) -> Mapping[NodeKey, Offers]:
        """All that counts now."""
        return self._told

    def passports(self, node: NodeKey) -> Passports | None:
        """What a speaker's papers prove."""
        speaker = self._speakers.get(node)
        return speaker.passports if speaker is not None else None

    def next_expiry(self) -> int | None:
        """Seconds since 1970."""
        return min((s.until for s in self._speakers.values() if s.until is not None), default=None)

    def _offers(
        self, node: NodeKey, policy: MeshPolicy, overlays: frozenset[IPv6Network], here: GrantHere, wall: int
    ) -> Offers:
        member, annexes = self.members.get(node), self.annexes.get(node)
        if member is None or annexes is None or node == self._own:
            self._speakers.pop(node, None)
            return {}
        speaker = self._speakers.get(node)
        if speaker is None or not _still(speaker, member, annexes, overlays, wall):
            speaker = self._speakers[node] = self._judge(member, annexes, overlays, here, wall)
        if node in self.pruned:
            return {}
        found = {prefix: offer for prefix, (_, offer) in speaker.offers.items()}
        return {prefix: offer for prefix, offer in found.items() if _wanted(prefix, policy)}

    def _judge(
        self,
        member: Member,
        annexes: Mapping[str, Annex],
        overlays: frozenset[IPv6Network],
        here: GrantHere,
        wall: int,
    ) -> _Speaker:
        before = self._speakers.get(member.key)
        passports = _passports(tuple(papers(annexes)), self._notary)
        unchanged = (
            before is not None
            and (before.passports, before.standing, before.overlays) == (passports, member.standing, overlays)
            and not _expired(before, wall)
        )

        def allowed(mesh: str, node: NodeKey) -> Grant | None:
            return here(mesh, node) or passports.grant(mesh, node, wall)

        offers: dict[IPv6Network, tuple[bytes, Offer]] = {}
        for prefix, annex in sorted(offered(annexes).items()):
            known = before.offers.get(prefix) if before is not None else None
            if unchanged and known is not None and known[0] == annex.hash:
                offers[prefix] = known
                continue
            try:
                # An offer that is the same stays the same object: nothing has to be chosen anew for it.
                offer = known[1] if known is not None and known[0] == annex.hash else read_offer(prefix, annex)
                check_offer(offer, self._mesh, member.key, allowed)
                _check_prefix(offer, overlays)
            except RemoteError as error:
                self._note(member, prefix, error)
            else:
                offers[prefix] = (annex.hash, offer)
        return _Speaker(annexes, member.standing, overlays, passports, offers, passports.next_expiry(wall))

    def _note(self, member: Member, prefix: IPv6Network, error: RemoteError) -> None:
        what = f"{member.record.name} ({node_id(member.key)[:8]}) offers {prefix}, which does not count"
        hint = "an admin can invite it with --prefix or --exit, or evict it"
        self.problems.append(Problem("route-refused", f"{what}: {error.problem.message}", hint))


@lru_cache(maxsize=64)
def _passports(brought: tuple[bytes, ...], notary: Notary) -> Passports:
    """A speaker's papers are the same each time that one of its offers changes, and in all meshes."""
    return Passports(brought, notary)


def _expired(speaker: _Speaker, wall: int) -> bool:
    return speaker.until is not None and wall >= speaker.until


def _still(
    speaker: _Speaker, member: Member, annexes: Mapping[str, Annex], overlays: frozenset[IPv6Network], wall: int
) -> bool:
    """Whether what a speaker was judged by is what there is now."""
    same = speaker.annexes is annexes and speaker.standing is member.standing and speaker.overlays == overlays
    return same and not _expired(speaker, wall)


def _wanted(prefix: IPv6Network, policy: MeshPolicy) -> bool:
    return policy.accept_defaults if prefix == DEFAULT else policy.imports.passes(prefix)


def _check_prefix(offer: Offer, overlays: Iterable[IPv6Network]) -> None:
    prefix = offer.prefix
    if prefix == DEFAULT or offer.overlay:
        return
    if prefix.prefixlen < WIDEST:
        raise RemoteError("not-allowed", f"{prefix} is wider than a /{WIDEST}")
    if any(prefix.overlaps(never) for never in (*NEVER, *overlays)):
        raise RemoteError("not-allowed", f"{prefix} covers what no route may")
