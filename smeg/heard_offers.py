"""What the members of one mesh offer there, verified: the entry to the path vector.

An offer counts while who makes it is a live member, every hop of it is signed and proven (`speaker`), and the user's
filter lets it in. The ways over other bridges that somebody had before it was away count no sooner than it has had time
to withdraw them: meanwhile they may have become longer ones, through those who would now go by it.

Only who offers something is ever looked at, so that a change among thousands of members costs little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network

from smeg.annexes import Annex
from smeg.errors import Problem
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.notary import Notary
from smeg.own_offers import AFTER_START
from smeg.passports import Passports
from smeg.route_policy import MeshPolicy
from smeg.shares import DEFAULT
from smeg.speaker import GrantHere, Speaker
from smeg.ways import Offers

BACK = AFTER_START + 1.0
"""seconds before the ways of somebody who comes back count again: it withdraws them after `AFTER_START`, and then
everybody hears of it."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """What of a speaker's offers the user's filter lets in."""

    offers: Offers
    policy: MeshPolicy
    passed: Offers


class HeardOffers:
    """`own` is this node, whose own offers are not heard."""

    def __init__(self, mesh: str, own: NodeKey, notary: Notary) -> None:
        self._mesh = mesh
        self._own = own
        self._notary = notary
        self.members = Members()
        self._pruned: frozenset[NodeKey] = frozenset()
        self.annexes: Mapping[NodeKey, Mapping[str, Annex]] = {}
        self._speakers: dict[NodeKey, Speaker] = {}
        self._passed: dict[NodeKey, _Passed] = {}
        self._told: dict[NodeKey, Offers] = {}
        self._back: dict[NodeKey, float] = {}
        """Who has come back, and when all that it offers counts again."""
        self.problems: list[Problem] = []
        """Of what did not count since they were last taken."""
        self.proven_anew = False
        """Whether anybody's papers have changed since this was last set to False."""

    def judge(self, pruned: frozenset[NodeKey], now: float) -> None:
        """These count as dead from now on, and no others."""
        self._back = {node: at for node, at in self._back.items() if node not in pruned and at > now}
        self._back |= {node: now + BACK for node in self._pruned - pruned if node in self._speakers}
        self._pruned = pruned

    def update(
        self, policy: MeshPolicy, overlays: frozenset[IPv6Network], here: GrantHere, wall: int, now: float
    ) -> dict[NodeKey, Offers]:
        """What members offer now, of those of whom that changed. `overlays` are the prefixes of all own meshes."""
        changed: dict[NodeKey, Offers] = {}
        self._back = {node: at for node, at in self._back.items() if at > now}
        for node in sorted(self.annexes.keys() | self._told.keys()):
            offers = self._offers(node, policy, overlays, here, wall, now)
            before = self._told.get(node, {})
            if offers is before:
                continue
            if offers.keys() != before.keys() or any(offers[prefix] is not before[prefix] for prefix in offers):
                changed[node] = offers
            if offers:
                self._told[node] = offers
            else:
                self._told.pop(node, None)
        return changed

    def refused(self) -> list[Problem]:
        """Of what does not count now, one for each member whose offers these are."""
        return [speaker.problem for _, speaker in sorted(self._speakers.items()) if speaker.problem is not None]

    def said(self) -> Mapping[NodeKey, Offers]:
        """All that counts now."""
        return self._told

    def passports(self, node: NodeKey) -> Passports | None:
        """What a speaker's papers prove."""
        speaker = self._speakers.get(node)
        return speaker.passports if speaker is not None else None

    @property
    def speaks(self) -> bool:
        """Whether anybody offers something, so that its certificates may expire."""
        return bool(self._speakers)

    def next_look(self) -> float | None:
        """When somebody is looked at again who had said too much, or has come back, in monotonic seconds."""
        put_off = [speaker.look_at for speaker in self._speakers.values() if speaker.look_at is not None]
        return min([*put_off, *self._back.values()], default=None)

    def _offers(
        self,
        node: NodeKey,
        policy: MeshPolicy,
        overlays: frozenset[IPv6Network],
        here: GrantHere,
        wall: int,
        now: float,
    ) -> Offers:
        member, annexes = self.members.get(node), self.annexes.get(node)
        if member is None or annexes is None or node == self._own:
            self._speakers.pop(node, None)
            self._passed.pop(node, None)
            return {}
        speaker = self._speakers.get(node)
        if speaker is None:
            speaker = self._speakers[node] = Speaker(self._mesh, node, self._notary)
        proven = speaker.passports
        problem = speaker.look(member, annexes, overlays, here, wall, now)
        self.problems += [problem] if problem is not None else []
        self.proven_anew |= speaker.passports is not proven
        if node in self._pruned:
            return {}
        offers = self._let_in(node, speaker.offers, policy)
        if node not in self._back:
            return offers
        return {prefix: offer for prefix, offer in offers.items() if offer.length == 1}

    def _let_in(self, node: NodeKey, offers: Offers, policy: MeshPolicy) -> Offers:
        known = self._passed.get(node)
        if known is None or known.offers is not offers or known.policy is not policy:
            held_back = [prefix for prefix in offers if not _wanted(prefix, policy)]
            passed = {p: offer for p, offer in offers.items() if p not in held_back} if held_back else offers
            known = self._passed[node] = _Passed(offers, policy, passed)
        return known.passed


def _wanted(prefix: IPv6Network, policy: MeshPolicy) -> bool:
    return policy.accept_defaults if prefix == DEFAULT else policy.imports.passes(prefix)
