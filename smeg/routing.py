"""The core of the routing table: which prefixes are reached in which mesh and through whom, and what is offered on.

`heard_offers` says what counts of what members offer, `path_vector` which ways are taken, `routed_mesh` what of that is
routed and offered in one mesh, and this joins them for all meshes of the daemon. Out come the routes of each mesh's
device and the offers that `mesh` signs and publishes.

A node in several meshes has an address in each. What it sends from its address in a mesh has to take the way that an
ordinary member there, at that address, would take: only for that one do the others expect it. So beside the table for
what it forwards there is one for each address, which knows its own mesh alone and this node's offers in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv6Network

from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.annexes import Annex
from smeg.certificates import Grant
from smeg.chosen_routes import chosen_routes
from smeg.core import Message
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.notary import Notary
from smeg.offer_labels import offered, read_offer
from smeg.own_offers import AFTER_START
from smeg.path_vector import PathVector
from smeg.route_policy import RoutePolicy
from smeg.route_problems import advertise_refused, bridged_around, name_doubled
from smeg.routed_mesh import RoutedMesh
from smeg.shares import DEFAULT, part_of
from smeg.ways import MAX_NAME, Offer, Way, may_offer, places

GRACE = 3.0
"""seconds after its start in which nothing is said in a mesh while other meshes are still starting: a daemon that comes
back would else withdraw what it offered, and offer it again."""
STANDS = max(GRACE, AFTER_START) + 0.2
"""seconds in which offers from before the start have been withdrawn."""
MOST_PROBLEMS = 8
"""of one mesh that are told of at a time."""
EXPIRY_EVERY = 60.0
"""seconds between two looks whether a certificate of another mesh has expired, by the wall clock."""


class RoutingTable:
    """`wall` gives seconds since 1970."""

    def __init__(
        self, own: NodeKey, policy: RoutePolicy, wall: Callable[[], int], notary: Notary | None = None
    ) -> None:
        self._own = own
        self._policy = policy
        self._wall = wall
        self._notary = notary or Notary()
        self._sides: dict[str, RoutedMesh] = {}
        self._reached = False
        """Whether a probe reached beyond this node."""
        self._behind = frozenset() if policy.probed else policy.behind
        """What this node leads to now."""
        self._table = PathVector(own, self._behind, policy.weight)
        self._dirty: set[str] = set()
        """Meshes of which something was heard."""
        self._overlays: frozenset[IPv6Network] = frozenset()
        self._version = 0
        self._refused: dict[tuple[str, IPv6Network], bool] = {}
        """What is behind this node and may not be offered, in which mesh; whether that was told."""
        self._expiry_at: float | None = None
        self._around: frozenset[tuple[str, str]] = frozenset()
        """Which own mesh that is not bridged is, by others, with which that is."""

    # The contract of a core.

    def begin(self, now: float) -> list[Message]:
        return []

    def handle(self, message: Message, now: float) -> list[Message]:
        match message:
            case m.MembersChanged():
                self._side(message.mesh).heard.members = message.members
            case m.LivenessChanged():
                self._side(message.mesh).heard.judge(message.pruned, now)
            case m.AnnexesChanged():
                side = self._side(message.mesh)
                side.heard.annexes = message.annexes
                if not side.began:
                    side.began = True
                    self._stand(message.annexes.get(self._own, {}), now)
            case m.Admitted():
                self._side(message.mesh).own_papers = message.certificates
                for side in self._sides.values():
                    # What was said may lack them.
                    side.said = False
            case m.MeshStarted():
                side = self._side(message.mesh)
                side.name = message.name
                side.started_at = now if side.started_at is None else side.started_at
                return self._set_policies()
            case m.MeshStopped():
                self._sides.pop(message.mesh, None)
                self._refused = {place: told for place, told in self._refused.items() if place[0] != message.mesh}
                self._table.leave(message.mesh)
                for side in self._sides.values():
                    side.forget_through(message.mesh)
                return self._set_policies()
            case m.UplinkChanged():
                self._reached = message.reached
                self._lead()
            case m.Reconfigured():
                # What is probed from now on was not before, and is taken to be reached until a probe says otherwise.
                self._reached = self._reached if self._policy.probed and message.routes.probed else True
                self._policy = message.routes
                self._lead()
                self._table.weigh(self._policy.weight)
                for side in self._sides.values():
                    if side.alone is not None:
                        side.alone.weigh(1)
                return self._set_policies()
            case m.Tick():
                self._dirty |= {mesh for mesh, side in self._sides.items() if self._expired(side, now)}
        return []

    def settle(self, now: float) -> list[Message]:
        out: list[Message] = []
        overlays = frozenset(map(overlay_prefix, self._sides))
        for mesh in sorted(self._dirty & self._sides.keys() if overlays == self._overlays else self._sides):
            out += self._hear(mesh, overlays, now)
        if any(side.heard.proven_anew for side in self._sides.values()):
            for side in self._sides.values():
                # What is passed on may rest on them.
                side.heard.proven_anew = side.said = False
        if self._expiry_at is None or now >= self._expiry_at:
            speaks = any(side.speaks for side in self._sides.values())
            self._expiry_at = now + EXPIRY_EVERY if speaks else None
        self._overlays = overlays
        self._dirty.clear()
        out += self._look_around()
        self._look_from_each()
        self._move(self._table.settle(now))
        for side in self._sides.values():
            side.settle(now, self._policy.shard_bits)
        meshes = sorted(self._sides)
        for mesh in meshes:
            out += self._tell_routes(mesh, now)
        for mesh in meshes:
            out += self._tell_offers(mesh, now)
            out += self._tell_refused(mesh)
            out += self._tell_problems(mesh)
        return out

    def next_deadline(self) -> float | None:
        held = [at for table in self._tables() if (at := table.next_deadline()) is not None]
        ahead = self._ahead()
        taking_part = (side for side in self._sides.values() if side.place is not None)
        unsaid = (side for side in taking_part if not side.said or side.untold_offers - ahead)
        waiting = [side.started_at + GRACE for side in unsaid if side.started_at is not None]
        put_off = [at for side in self._sides.values() if (at := side.heard.next_look()) is not None]
        expiry = [] if self._expiry_at is None else [self._expiry_at]
        untold = [at for side in self._sides.values() if (at := side.next_telling()) is not None]
        return min([*held, *waiting, *put_off, *expiry, *untold], default=None)

    def _stand(self, own: Mapping[str, Annex], now: float) -> None:
        """Others go by what stands of this node's offers until it is withdrawn."""
        for prefix, annex in offered(own).items():
            with suppress(RemoteError):
                self._table.stand(prefix, read_offer(prefix, annex).length - 1, now + STANDS)

    def _lead(self) -> None:
        self._behind = self._policy.behind if self._reached or not self._policy.probed else frozenset()
        for table in self._tables():
            table.lead(self._behind)

    def _tables(self) -> list[PathVector]:
        return [self._table, *(side.alone for side in self._sides.values() if side.alone is not None)]

    @property
    def ways(self) -> PathVector:
        """To be looked at: by which ways which prefix is reached."""
        return self._table

    def _side(self, mesh: str) -> RoutedMesh:
        self._dirty.add(mesh)
        return self._sides.setdefault(mesh, RoutedMesh(mesh, self._own, self._notary))

    def _set_policies(self) -> list[Message]:
        """What is set for a mesh by its name is for one mesh: who makes another chooses what to call it."""
        names = Counter(side.name for side in self._sides.values())
        doubled = self._doubled()
        out: list[Message] = []
        for mesh, side in self._sides.items():
            policy = self._policy.of(mesh, "" if names[side.name] > 1 else side.name)
            if policy != side.policy:
                side.policy = policy
                self._dirty.add(mesh)
            if mesh in doubled:
                out.append(m.Alarm(mesh, name_doubled(side.name, mesh)))
        return out

    def _doubled(self) -> frozenset[str]:
        """Own meshes of one name under which something is set."""
        names = Counter(side.name for side in self._sides.values())
        return frozenset(
            mesh
            for mesh, side in self._sides.items()
            if side.name and names[side.name] > 1 and side.name in self._policy.meshes
        )

    def _expired(self, side: RoutedMesh, now: float) -> bool:
        """Whether somebody has to be looked at again, by one of the two clocks."""
        look_at = side.heard.next_look()
        # Also where nothing has expired: the clock may have gone back.
        return (look_at is not None and look_at <= now) or (self._expiry_at is not None and self._expiry_at <= now)

    # What is heard.

    def _hear(self, mesh: str, overlays: frozenset[IPv6Network], now: float) -> list[Message]:
        side = self._sides[mesh]
        own = side.heard.members.get(self._own)
        if own is None or side.started_at is None:
            return []
        place = part_of(own.address)
        side.place = place
        self._table.join(mesh, place, side.policy.bridge)
        side.hear_statics(self._wall())
        changed = side.heard.update(side.policy, overlays, self._grant, self._wall(), now)
        for node, offers in changed.items():
            self._table.hear(mesh, node, offers)
            if side.alone is not None:
                side.alone.hear(mesh, node, offers)
        problems, side.heard.problems = side.heard.problems, []
        return [m.Alarm(mesh, problem) for problem in problems]

    def _grant(self, mesh: str, node: NodeKey) -> Grant | None:
        """What a member of one of the own meshes may do there."""
        side = self._sides.get(mesh)
        return side.grant(node) if side is not None else None

    def _look_around(self) -> list[Message]:
        """Say so where others join meshes that this node keeps apart: it cannot tell the packets of one, that pass
        through it, from those of the other."""
        sides = {mesh: side for mesh, side in self._sides.items() if side.place is not None}
        apart = {mesh for mesh, side in sides.items() if not side.policy.bridge}
        bridged = sides.keys() - apart
        before, self._around = self._around, frozenset()
        if apart and len(bridged) > 1:
            heard = (
                (mesh, offer) for mesh in bridged for o in sides[mesh].heard.said().values() for offer in o.values()
            )
            ways = ((mesh, way) for mesh, offer in heard for way in offer.ways)
            self._around = frozenset((hop.mesh, mesh) for mesh, way in ways for hop in way.hops if hop.mesh in apart)
        names = (
            (mesh, self._sides[mesh].name, self._sides[other].name) for mesh, other in sorted(self._around - before)
        )
        return [m.Alarm(mesh, bridged_around(name, other)) for mesh, name, other in names]

    def _look_from_each(self) -> None:
        """Keep a table for each address, where there are several."""
        taking_part = [side for side in self._sides.values() if side.place is not None]
        for side in taking_part:
            side.look_from_here(self._behind, among_others=len(taking_part) > 1)

    # What follows.

    def _move(self, changed: Iterable[IPv6Network]) -> None:
        """Route and offer anew what is reached otherwise now."""
        for prefix in sorted(changed):
            routes = chosen_routes(self._own, prefix, self._table.taken(prefix), self._policy.shard_bits)
            for mesh, side in self._sides.items():
                if side.place is None:
                    continue
                side.route(prefix, tuple(route for via, route in routes if via == mesh))
                self._offer(mesh, side, prefix)

    def _offer(self, mesh: str, side: RoutedMesh, prefix: IPv6Network) -> None:
        offer = self._table.offer(mesh, prefix)
        if offer is None:
            self._refused.pop((mesh, prefix), None)
        else:
            offer = self._named(offer, side) if self._may_offer(mesh, side, offer) else None
        side.offer(prefix, offer)

    def _named(self, offer: Offer, side: RoutedMesh) -> Offer:
        """With the names that people in other meshes have no other way to know."""
        own = side.heard.members[self._own].record.name
        ways = []
        for way in offer.ways:
            *before, last = way.hops
            crossed = self._sides[last.mesh].name if last.mesh else ""
            ways.append(Way((*before, replace(last, name=own[:MAX_NAME], mesh_name=crossed[:MAX_NAME]))))
        return Offer(offer.prefix, tuple(ways))

    def _may_offer(self, mesh: str, side: RoutedMesh, offer: Offer) -> bool:
        prefix, own = offer.prefix, prefix_is_own(offer, self._own)
        if not side.policy.exports.passes(prefix) and prefix != DEFAULT:
            return False
        # A default route that was heard is for this node: others choose their exits themselves.
        if prefix == DEFAULT and not own:
            return False
        granted = self._grant(mesh, self._own)
        allowed = offer.overlay or (granted is not None and may_offer(granted, prefix))
        if own and not allowed:
            self._refused.setdefault((mesh, prefix), False)
        else:
            self._refused.pop((mesh, prefix), None)
        return allowed

    # What is said.

    def _tell_routes(self, mesh: str, now: float) -> list[Message]:
        side = self._sides[mesh]
        route_at = side.next_telling()
        if route_at is None or now < route_at:
            return []
        self._version += 1
        return [side.tell_routes(self._version, now)]

    def _ahead(self) -> frozenset[IPv6Network]:
        """What is chosen otherwise than some device has been told."""
        return frozenset().union(*(side.untold_routes for side in self._sides.values()))

    def _tell_offers(self, mesh: str, now: float) -> list[Message]:
        """Who hears of an offer sends by it at once, so the devices come first. What is withdrawn waits for nobody."""
        side = self._sides[mesh]
        if side.place is None or not self._ready(side, now):
            return []
        ahead = self._ahead() if side.untold_offers else frozenset()
        ripe = [prefix for prefix in side.untold_offers if prefix not in ahead or prefix not in side.offers]
        if side.said and not ripe:
            return []
        self._version += 1
        offers = side.tell_offers(ripe)
        return [m.OffersChanged(mesh, self._version, offers, self._passports(mesh, offers.values()))]

    def _tell_refused(self, mesh: str) -> list[Message]:
        refused = sorted(prefix for (place, prefix), told in self._refused.items() if place == mesh and not told)
        self._refused.update(((mesh, prefix), True) for prefix in refused)
        return [m.Alarm(mesh, advertise_refused(prefix)) for prefix in refused]

    def _tell_problems(self, mesh: str) -> list[Message]:
        """Say what is wrong now, where that has changed; so much of it as a person reads."""
        side = self._sides[mesh]
        found = [advertise_refused(prefix) for place, prefix in sorted(self._refused) if place == mesh]
        found += [bridged_around(side.name, self._sides[other].name) for apart, other in sorted(self._around)
                  if apart == mesh and other in self._sides]  # fmt: skip
        found += [name_doubled(side.name, mesh)] if mesh in self._doubled() else []
        problems = (*found, *side.heard.refused())[:MOST_PROBLEMS]
        if problems == side.problems:
            return []
        side.problems = problems
        self._version += 1
        return [m.RouteProblems(mesh, self._version, problems)]

    def _ready(self, side: RoutedMesh, now: float) -> bool:
        assert side.started_at is not None
        return now >= side.started_at + GRACE or all(each.place is not None for each in self._sides.values())

    def _passports(self, into: str, offers: Iterable[Offer]) -> dict[tuple[str, NodeKey], tuple[bytes, ...]]:
        """What proves each hop of these."""
        found: dict[tuple[str, NodeKey], tuple[bytes, ...]] = {}
        for way in (way for offer in offers for way in offer.ways):
            brought = way.hops[-2].node if len(way.hops) > 1 else self._own
            for place in places(way, into):
                if place not in found:
                    found[place] = self._papers(place, way.hops[-1].mesh, brought)
        return found

    def _papers(self, place: tuple[str, NodeKey], heard_in: str, brought: NodeKey) -> tuple[bytes, ...]:
        """What proves somebody to be in a mesh: own papers, or those that came with the way."""
        mesh, node = place
        if node == self._own:
            return self._sides[mesh].own_papers
        passports = self._sides[heard_in].heard.passports(brought)
        return passports.papers(mesh, node) if passports is not None else ()


def prefix_is_own(offer: Offer, own: NodeKey) -> bool:
    """Whether the prefix is behind this node itself."""
    first = offer.ways[0].hops[0]
    return not first.mesh and first.node == own
