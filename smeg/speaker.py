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
from smeg.offer_labels import is_paper, offered_prefix, papers, read_offer
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
        self._read: dict[str, _Read] = {}
        """By label: what an annex offers."""
        self._counted: dict[str, Offer] = {}
        """Those of them that count. Of one prefix there is one: others are not written as prefixes are."""
        self._refused: dict[str, str] = {}
        """And why the others do not."""
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
        changed = set[str]()
        if fresh:
            cost, changed = self._take(annexes)
            self._allowance.spend(now, cost)
        if self._still(member.standing, overlays, wall):
            # What counted still does.
            changed |= self._refused.keys()
        else:
            changed |= self._read.keys()
        self._judged = member.standing, overlays, wall
        self.until = self.passports.next_expiry(wall)
        return self._judge(changed, member, overlays, here, wall)

    def _still(self, standing: Standing, overlays: frozenset[IPv6Network], wall: int) -> bool:
        """Whether all is as it was when this was judged."""
        if self._judged is None:
            return False
        then, known, at = self._judged
        # A clock that goes back makes certificates valid again.
        expired = wall < at or (self.until is not None and wall >= self.until)
        return then is standing and known == overlays and not expired

    def _take(self, annexes: Mapping[str, Annex]) -> tuple[int, set[str]]:
        """Read what is new in these: what it cost, in bytes, and the labels under which something else stands now."""
        cost = LOOK_BASE * len(annexes)
        before, self._annexes = self._annexes, annexes
        changed = {label for label, annex in annexes.items() if before.get(label) is not annex}
        changed |= {label for label in before if label not in annexes}
        if any(map(is_paper, changed)):
            brought = tuple(papers(annexes))
            if brought != self._papers:
                if not set(self._papers) <= set(brought):
                    # Some of it may have been what proved an offer.
                    self._judged = None
                self._papers, self.passports = brought, _prove(brought, self._notary)
                cost += sum(map(len, brought)) // PAPER_SHARE
        for label in sorted(changed):
            prefix, annex = offered_prefix(label), annexes.get(label)
            if prefix is None or annex is None or not annex.body:
                self._read.pop(label, None)
            else:
                cost += len(annex.body)
                self._read[label] = self._verify(prefix, annex)
        return cost, changed

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

    def _judge(
        self, labels: Iterable[str], member: Member, overlays: frozenset[IPv6Network], here: GrantHere, wall: int
    ) -> Problem | None:
        """Which of what stands under these labels counts; about the others nothing has changed."""

        def allowed(mesh: str, node: NodeKey) -> Grant | None:
            return here(mesh, node) or self.passports.grant(mesh, node, wall)

        refused = dict(self._refused)
        for label in sorted(labels):
            self._counted.pop(label, None)
            refused.pop(label, None)
            found = self._read.get(label)
            try:
                if isinstance(found, RemoteError):
                    raise found
                if found is not None:
                    check_allowed(found, self._into, self._node, allowed)
                    _check_prefix(found, overlays)
                    self._counted[label] = found
            except RemoteError as error:
                refused[label] = error.problem.message
        offers = {offer.prefix: offer for offer in self._counted.values()}
        before, self._refused = self._refused, dict(sorted(refused.items()))
        if offers.keys() != self.offers.keys() or any(offers[prefix] is not self.offers[prefix] for prefix in offers):
            self.offers = offers
        if refused != before:
            self.problem = self._problem(member, list(self._refused)) if refused else None
        new = [label for label, why in self._refused.items() if before.get(label) != why]
        return self._problem(member, new) if new else None

    def _problem(self, member: Member, refused: list[str]) -> Problem:
        """One for all of them: a member may offer a thousand."""
        first, more = refused[0], len(refused) - 1
        others = f", and {more} others likewise" if more else ""
        what = f"{member.record.name} ({node_id(self._node)[:8]}) offers {offered_prefix(first)}, which does not count"
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
