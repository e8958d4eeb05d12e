"""The path vector: what bridges offer into each mesh, which way this node takes to each prefix, what it offers on.

A bridge offers into one mesh the prefixes of its others, each with the meshes that the way crosses. A way through an
own mesh is a loop; the shortest is taken; of equally short ones `shares` picks for each part of the prefix. Where the
choice is this node's alone, between members that have one prefix behind themselves, all of them are given.

No packet goes in a circle, not even while news is on its way, as long as that takes less than `HOLD`. Every node has a
*distance* to a prefix: the meshes that its way crosses. It changes at once to a way that is no longer than its
distance. When all those are gone it says so first and has no way at all for `HOLD`, in which everybody hears of it;
then it may take a longer one. What it offered before it was started anew binds it likewise. So whoever sends to a node
is further away than that node is, at every moment.

Nothing here looks at signatures, or at what a certificate allows: that was done before an offer came here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Network
from itertools import pairwise
from math import inf

from smeg.addresses import overlay_prefix
from smeg.keys import NodeKey
from smeg.shares import OVERLAY_BITS, PARTS, WHOLE, heft, links, tie
from smeg.ways import MAX_HOPS, Hop, Offer, Offers, Way

HOLD = 1.0
"""seconds without a way before a longer one is taken: four times what news takes to reach a mesh of thousands."""
NO_LINKS = (0,) * PARTS


@dataclass(frozen=True, slots=True)
class Taken:
    """The way that this node takes to some parts of a prefix: in which mesh, and through whom."""

    mesh: str
    way: Way
    mask: int

    @property
    def via(self) -> NodeKey:
        return self.way.hops[-1].node

    @property
    def is_exit(self) -> bool:
        """Whether the member has the prefix behind itself."""
        return not self.way.hops[-1].mesh


@dataclass(slots=True)
class Side:
    """One own mesh."""

    place: int
    """Of this node."""
    bridged: bool
    """Whether it is offered to the other meshes, and they to it."""
    offers: dict[NodeKey, Offers] = field(default_factory=dict)
    """By who lives."""


@dataclass(slots=True)
class _State:
    distance: int | None = None
    """None while there is no way."""
    taken: tuple[Taken, ...] = ()
    held_until: float | None = None
    stands_until: float = 0.0
    """How long an offer from before the start of this node may stand."""


class PathVector:
    """`behind` are the prefixes that this node itself has behind it."""

    def __init__(self, own: NodeKey, behind: Iterable[IPv6Network] = (), weight: int = 1) -> None:
        self._own = own
        self._weight = weight
        self._behind = frozenset(behind)
        self._sides: dict[str, Side] = {}
        self._overlays: dict[IPv6Network, str] = {}
        """The prefixes of the own meshes."""
        self._states: dict[IPv6Network, _State] = {}
        self._dirty: set[IPv6Network] = set()
        self._elsewhere = False
        """Whether the own meshes, or what is behind this node, have changed since the last look."""
        self._lost: set[IPv6Network] = set()
        """What was an own mesh's or behind this node before."""

    # What is known.

    def join(self, mesh: str, place: int, bridged: bool) -> None:
        """This node is in a mesh, at this place."""
        side = self._sides.get(mesh)
        if side is None:
            self._sides[mesh] = Side(place, bridged)
        elif (side.place, side.bridged) != (place, bridged):
            side.place, side.bridged = place, bridged
        else:
            return
        self._move()

    def leave(self, mesh: str) -> None:
        side = self._sides.pop(mesh, None)
        if side is not None:
            self._dirty |= {prefix for offers in side.offers.values() for prefix in offers}
            self._lost.add(overlay_prefix(mesh))
            self._move()

    def lead(self, behind: Iterable[IPv6Network]) -> None:
        """From now on these prefixes are behind this node."""
        before, self._behind = self._behind, frozenset(behind)
        if before != self._behind:
            self._lost |= before
            self._elsewhere = True

    def weigh(self, weight: int) -> None:
        """From now on this node has that weight. All is chosen and offered anew, also if it had it before."""
        self._weight = weight
        self._elsewhere = True

    def _move(self) -> None:
        self._overlays = {overlay_prefix(mesh): mesh for mesh in self._sides}
        self._elsewhere = True

    def hear(self, mesh: str, node: NodeKey, offers: Offers) -> None:
        """All that a member offers now: nothing if it is no member any more, or not alive."""
        side = self._sides[mesh]
        before = side.offers.get(node, {})
        if offers:
            side.offers[node] = offers
        else:
            side.offers.pop(node, None)
        self._dirty |= {p for p in before.keys() | offers.keys() if before.get(p) is not offers.get(p)}

    def stand(self, prefix: IPv6Network, distance: int, until: float) -> None:
        """What this node offered before it started stands until then, and others follow it: it is bound by that."""
        state = self._states.setdefault(prefix, _State())
        state.distance = distance if state.distance is None else min(distance, state.distance)
        state.stands_until = until
        self._dirty.add(prefix)

    # What follows.

    def settle(self, now: float) -> set[IPv6Network]:
        """Choose anew where something changed; the prefixes of which the way or the own offers may be others now."""
        due = {prefix for prefix, state in self._states.items() if (state.held_until or now + 1.0) <= now}
        if self._elsewhere:
            heard = {prefix for side in self._sides.values() for offers in side.offers.values() for prefix in offers}
            due |= heard | self._states.keys() | self._lost
        changed: set[IPv6Network] = set()
        for prefix in sorted(self._dirty | due | self._within(self._dirty)):
            state = self._states.setdefault(prefix, _State())
            before = state.taken
            self._choose(prefix, state, now)
            if state.taken != before:
                changed.add(prefix)
            if not state.taken and state.held_until is None:
                del self._states[prefix]
        if self._elsewhere:
            changed |= due | self._overlays.keys() | self._behind | self._lost
        self._dirty.clear()
        self._lost.clear()
        self._elsewhere = False
        return changed

    def next_deadline(self) -> float | None:
        return min((s.held_until for s in self._states.values() if s.held_until is not None), default=None)

    def _choose(self, prefix: IPv6Network, state: _State, now: float) -> None:
        found = self.candidates(prefix)
        shortest = min((len(taken.way.hops) for taken in found), default=None)
        followed = self._is_followed() or now < state.stands_until
        if state.distance is not None and followed and (shortest is None or shortest > state.distance):
            if state.held_until is None:
                state.held_until = max(now, state.stands_until) + HOLD
            if now < state.held_until:
                state.taken = ()
                return
        state.distance, state.held_until = shortest, None
        state.taken = self._share([taken for taken in found if len(taken.way.hops) == shortest])

    def candidates(self, prefix: IPv6Network) -> list[Taken]:
        """All ways to a prefix that are offered and are no loops."""
        if prefix in self._behind or prefix in self._overlays:
            return []
        sides = self._sides
        offers = [
            (mesh, offer)
            for mesh, side in sides.items()
            for offered in side.offers.values()
            if (offer := offered.get(prefix)) is not None
        ]
        if self._is_followed() and any(sides[mesh].bridged for mesh, _ in offers):
            # What others send through this node may pass between the meshes that it bridges, and no others.
            offers = [(mesh, offer) for mesh, offer in offers if sides[mesh].bridged]
        if any(not offer.overlay for _, offer in offers) and self._is_within_a_mesh(prefix):
            offers = [(mesh, offer) for mesh, offer in offers if offer.overlay]
        return [
            Taken(mesh, way, way.mask)
            for mesh, offer in offers
            for way in offer.ways
            if len(way.hops) <= MAX_HOPS and not any(hop.mesh in sides for hop in way.hops)
        ]

    def _is_within_a_mesh(self, prefix: IPv6Network) -> bool:
        """Whether a prefix lies in that of a mesh to which somebody proves a way: nobody has it behind itself."""
        if prefix.prefixlen < OVERLAY_BITS:
            return False
        overlay = prefix.supernet(new_prefix=OVERLAY_BITS)
        offered = (offers.get(overlay) for side in self._sides.values() for offers in side.offers.values())
        return any(offer is not None and offer.overlay for offer in offered)

    def _within(self, overlays: Iterable[IPv6Network]) -> set[IPv6Network]:
        """What is offered inside of these."""
        looked_at = {prefix for prefix in overlays if prefix.prefixlen == OVERLAY_BITS}
        if not looked_at:
            return set()
        offered = (prefix for side in self._sides.values() for offers in side.offers.values() for prefix in offers)
        longer = (prefix for prefix in offered if prefix.prefixlen > OVERLAY_BITS)
        return {prefix for prefix in longer if prefix.supernet(new_prefix=OVERLAY_BITS) in looked_at}

    def _is_followed(self) -> bool:
        """Whether anybody may send to others through this node."""
        return sum(side.bridged for side in self._sides.values()) > 1

    def _share(self, found: list[Taken]) -> tuple[Taken, ...]:
        """For each part of a prefix the cheapest of some equally long ways."""
        if len(found) <= 1:
            return tuple(found)
        if not self._is_followed() and all(taken.is_exit for taken in found):
            return tuple(sorted(found, key=lambda taken: (taken.mesh, taken.via)))
        costs = [self._costs(taken) for taken in found]
        masks: dict[int, int] = {}
        for part, offered in enumerate(zip(*costs, strict=True)):
            best = min(range(len(found)), key=offered.__getitem__)
            if found[best].way.mask >> part & 1:
                masks[best] = masks.get(best, 0) | 1 << part
        taken = [replace(found[best], mask=mask) for best, mask in masks.items()]
        return tuple(sorted(taken, key=lambda one: one.mask & -one.mask))

    def _costs(self, taken: Taken) -> list[tuple[float, int]]:
        """Of a way from here to each part of a prefix: infinite to those that it does not reach. Both ends of a way
        find the same."""
        way = taken.way
        first, ties = way.hops[0], sum(tie(hop.node) for hop in way.hops)
        ends = links(first.mesh, first.near) if first.mesh else NO_LINKS
        beyond = sum(links(hop.mesh, before.far)[hop.near] for before, hop in pairwise(way.hops))
        beyond += links(taken.mesh, way.hops[-1].far)[self._sides[taken.mesh].place]
        # Not of who has the prefix behind itself: the other end knows nothing of that.
        beyond += sum(heft(hop.weight) for hop in way.hops if hop.mesh)
        return [(end + beyond if way.mask >> part & 1 else inf, ties) for part, end in enumerate(ends)]

    # What it says.

    def prefixes(self) -> list[IPv6Network]:
        """All that somebody offers, sorted."""
        offered = (offers for side in self._sides.values() for offers in side.offers.values())
        return sorted({prefix for offers in offered for prefix in offers})

    def taken(self, prefix: IPv6Network) -> tuple[Taken, ...]:
        """The ways to a prefix that are taken, none if it cannot be reached. No two share a part, but for exits: of
        those that reach the same, whoever asks takes one."""
        state = self._states.get(prefix)
        return state.taken if state is not None else ()

    def offer(self, mesh: str, prefix: IPv6Network) -> Offer | None:
        """What this node offers into one of its meshes for a prefix."""
        side = self._sides[mesh]
        if prefix in self._behind:
            return Offer(prefix, (Way((Hop("", self._own, 0, side.place, self._weight),)),))
        if not side.bridged:
            return None
        towards = self._overlays.get(prefix)
        if towards is not None:
            beyond = towards != mesh and self._sides[towards].bridged
            return Offer(prefix, (Way((self._hop(towards, side, WHOLE),)),)) if beyond else None
        known = (taken for taken in self.taken(prefix) if taken.mesh != mesh and self._sides[taken.mesh].bridged)
        # Nobody reads a way that is longer than the longest.
        onward = [taken for taken in known if len(taken.way.hops) < MAX_HOPS]
        ways = tuple(Way((*taken.way.hops, self._hop(taken.mesh, side, taken.mask))) for taken in onward)
        return Offer(prefix, ways) if ways else None

    def _hop(self, towards: str, into: Side, mask: int) -> Hop:
        return Hop(towards, self._own, self._sides[towards].place, into.place, self._weight, mask)
