"""What one member offers in one mesh, judged: verified once, looked at again when something changes, at a bounded cost.

Each offer is read and its signatures are verified once; whether its hops are proven, and its prefix allowed, is a
matter of look-ups. Whoever says something new without end is looked at ever later: what it said before stands until
then. Equal offers and papers are one object for all who hold them, in all meshes of a daemon and in a simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from ipaddress import IPv6Network
from weakref import WeakValueDictionary

from smeg.addresses import node_id
from smeg.allowance import Allowance
from smeg.annexes import Annex
from smeg.certificates import Grant
from smeg.errors import Problem, RemoteError
from smeg.keys import NodeKey
from smeg.notary import Notary
from smeg.offer_labels import offered, papers, read_offer
from smeg.passports import Passports
from smeg.records import Member, Standing
from smeg.shares import DEFAULT
from smeg.ways import Offer, check_allowed, check_signed

NEVER = tuple(IPv6Network(text) for text in ("::/127", "fe80::/10", "ff00::/8"))
"""Unspecified and loopback, link-local, multicast: no route may cover any of it."""
WIDEST = 8
"""The shortest length of a prefix that is not the default route: two halves of everything would be one by stealth."""
LOOK_RATE = 128 * 1024.0
LOOK_BURST = 16 * 1024 * 1024.0
"""bytes of one member's annexes that are verified: in a second, and at once after a rest, twice all that it can say."""
LOOK_BASE = 16
"""bytes that count for each annex that is only looked at."""
PAPER_SHARE = 4
"""Of papers a quarter counts: most of them were verified before."""
GrantHere = Callable[[str, NodeKey], Grant | None]
"""What a member of one of this node's own meshes may do there."""
_Read = Offer | RemoteError

_offers: WeakValueDictionary[tuple[str, NodeKey, str, bytes], Offer] = WeakValueDictionary()
"""By mesh, author, label and body: whole, and each hop signed."""
_passports: WeakValueDictionary[bytes, Passports] = WeakValueDictionary()
"""By the hash of all papers."""


class Speaker:
    """Of the member `node` in the mesh `into`."""

    def __init__(self, into: str, node: NodeKey, notary: Notary) -> None:
        self._into = into
        self._node = node
        self._notary = notary
        self._annexes: Mapping[str, Annex] = {}
        self._judged: tuple[Standing, frozenset[IPv6Network], int] | None = None
        """By which standing, own meshes and time (seconds since 1970) the offers count that do."""
        self._papers: tuple[bytes, ...] = ()
        self._read: dict[IPv6Network, tuple[bytes, _Read]] = {}
        """By prefix: the hash of the annex, and what it says."""
        self._refused: dict[IPv6Network, str] = {}
        self.problem: Problem | None = None
        """That some of its offers do not count now."""
        self._allowance = Allowance(LOOK_RATE, LOOK_BURST)
        self.passports = Passports((), notary)
        """What its papers prove."""
        self.offers: Mapping[IPv6Network, Offer] = {}
        """Those that count: another object when one of them changes."""
        self.until: int | None = None
        """Seconds since 1970 at which a certificate that they rest on expires."""
        self.look_at: float | None = None
        """When to look at what is put off, in monotonic seconds."""

    def look(
        self,
        member: Member,
        annexes: Mapping[str, Annex],
        overlays: frozenset[IPv6Network],
        here: GrantHere,
        wall: int,
        now: float,
    ) -> Problem | None:
        """Judge by what is known now. `overlays` are the prefixes of all own meshes; a problem is told once."""
        self.look_at = None
        fresh = annexes is not self._annexes
        if fresh and not self._allowance.holds(now):
            self.look_at, fresh = now + self._allowance.wait(), False
        if not fresh and self._still(member.standing, overlays, wall):
            return None
        if fresh:
            self._allowance.spend(now, self._take(annexes))
        self._judged = member.standing, overlays, wall
        self.until = self.passports.next_expiry(wall)
        return self._judge(member, overlays, here, wall)

    def _still(self, standing: Standing, overlays: frozenset[IPv6Network], wall: int) -> bool:
        """Whether all is as it was when this was judged."""
        if self._judged is None:
            return False
        then, known, at = self._judged
        # A clock that goes back makes certificates valid again.
        expired = wall < at or (self.until is not None and wall >= self.until)
        return then is standing and known == overlays and not expired

    def _take(self, annexes: Mapping[str, Annex]) -> int:
        """Read what is new in these; what it cost, in bytes."""
        cost = LOOK_BASE * len(annexes)
        self._annexes = annexes
        brought = tuple(papers(annexes))
        if brought != self._papers:
            self._papers, self.passports = brought, _prove(brought, self._notary)
            cost += sum(map(len, brought)) // PAPER_SHARE
        read: dict[IPv6Network, tuple[bytes, _Read]] = {}
        for prefix, annex in sorted(offered(annexes).items()):
            known = self._read.get(prefix)
            if known is None or known[0] != annex.hash:
                cost += len(annex.body)
                known = annex.hash, self._verify(prefix, annex)
            read[prefix] = known
        self._read = read
        return cost

    def _verify(self, prefix: IPv6Network, annex: Annex) -> _Read:
        name = (self._into, self._node, annex.label, annex.body)
        found = _offers.get(name)
        if found is None:
            try:
                found = read_offer(prefix, annex)
                check_signed(found, self._into, self._node)
            except RemoteError as error:
                return error
            _offers[name] = found
        return found

    def _judge(self, member: Member, overlays: frozenset[IPv6Network], here: GrantHere, wall: int) -> Problem | None:
        def allowed(mesh: str, node: NodeKey) -> Grant | None:
            return here(mesh, node) or self.passports.grant(mesh, node, wall)

        offers: dict[IPv6Network, Offer] = {}
        refused: dict[IPv6Network, str] = {}
        for prefix, (_, found) in self._read.items():
            try:
                if isinstance(found, RemoteError):
                    raise found
                check_allowed(found, self._into, self._node, allowed)
                _check_prefix(found, overlays)
            except RemoteError as error:
                refused[prefix] = error.problem.message
            else:
                offers[prefix] = found
        before, self._refused = self._refused, refused
        if offers.keys() != self.offers.keys() or any(offers[prefix] is not self.offers[prefix] for prefix in offers):
            self.offers = offers
        if refused != before:
            self.problem = self._problem(member, list(refused)) if refused else None
        new = [prefix for prefix, why in refused.items() if before.get(prefix) != why]
        return self._problem(member, new) if new else None

    def _problem(self, member: Member, refused: list[IPv6Network]) -> Problem:
        """One for all of them: a member may offer a thousand."""
        first, more = refused[0], len(refused) - 1
        others = f", and {more} others likewise" if more else ""
        what = f"{member.record.name} ({node_id(self._node)[:8]}) offers {first}, which does not count"
        hint = "an admin can invite it with --prefix or --exit, or evict it"
        return Problem("route-refused", f"{what}: {self._refused[first]}{others}", hint)


def _prove(brought: tuple[bytes, ...], notary: Notary) -> Passports:
    digest = blake2b(b"".join(blake2b(raw, digest_size=32).digest() for raw in brought), digest_size=32).digest()
    found = _passports.get(digest)
    if found is None:
        found = _passports[digest] = Passports(brought, notary)
    return found


def _check_prefix(offer: Offer, overlays: Iterable[IPv6Network]) -> None:
    prefix = offer.prefix
    if prefix == DEFAULT or offer.overlay:
        return
    if prefix.prefixlen < WIDEST:
        raise RemoteError("not-allowed", f"{prefix} is wider than a /{WIDEST}")
    if any(prefix.overlaps(never) for never in (*NEVER, *overlays)):
        raise RemoteError("not-allowed", f"{prefix} covers what no route may")
