"""One own mesh as the routing table keeps it: what is heard there, what is routed there, and what is offered there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Network

from smeg import messages as m
from smeg.addresses import host_prefix
from smeg.certificates import Grant
from smeg.chosen_routes import chosen_routes
from smeg.errors import Problem
from smeg.heard_offers import HeardOffers
from smeg.keys import NodeKey
from smeg.notary import Notary
from smeg.path_vector import PathVector
from smeg.records import Route
from smeg.route_policy import MeshPolicy
from smeg.shares import DEFAULT
from smeg.static_clients import static_clients
from smeg.ways import Offer

APART = 0.1
"""seconds between two changes of one device's routes: the first is told at once, what follows it closely together."""
Routes = dict[IPv6Network, tuple[Route, ...]]


class RoutedMesh:
    """`own` is this node."""

    def __init__(self, mesh: str, own: NodeKey, notary: Notary) -> None:
        self.id = mesh
        self._own = own
        self.heard = HeardOffers(mesh, own, notary)
        self.policy = MeshPolicy()
        self.started_at: float | None = None
        self.name = ""
        self.place: int | None = None
        """Of this node; None until it takes part in routing."""
        self.alone: PathVector | None = None
        """For packets from this node's address here, where it has others too."""
        self.offers: dict[IPv6Network, Offer] = {}
        self.own_papers: tuple[bytes, ...] = ()
        self.began = False
        """Whether it is known what was offered before the start."""
        self.told: dict[IPv6Network, Offer] = {}
        """What is offered as it was told last."""
        self.untold_offers: set[IPv6Network] = set()
        """Where that is not what is offered now."""
        self.said = False
        """Whether offers have been told since what proves them changed."""
        self.problems: tuple[Problem, ...] = ()
        """Those that were told last."""
        self._statics: Routes = {}
        """Of devices without a daemon, through the peers that vouch for them."""
        self._routes: Routes = {}
        self._own_routes: Routes = {}
        self._routed = False
        """Whether the device has been told since routes changed."""
        self.untold_routes: set[IPv6Network] = set()
        """Where it has not been told what is forwarded whither."""
        self._route_at = 0.0
        """When it may be told next."""

    # What is heard.

    def grant(self, node: NodeKey) -> Grant | None:
        """What a member may do here."""
        member = self.heard.members.get(node)
        return member.standing.grant if member is not None else None

    def hear_statics(self, wall: int) -> None:
        """Route to devices without a daemon, of which annexes tell."""
        found = static_clients(self.id, self.heard.members, self.heard.annexes, wall)
        statics: Routes = {
            (prefix := host_prefix(address)): (Route(prefix, via, True),)
            for address, (via, _) in found.items()
            if via != self._own
        }
        if statics != self._statics:
            self._statics, self._routed = statics, False

    @property
    def speaks(self) -> bool:
        """Whether anybody's certificate counts that may expire."""
        return self.heard.speaks or bool(self._statics)

    def look_from_here(self, behind: Iterable[IPv6Network], among_others: bool) -> None:
        """Keep a table for the address of this node here, if it has others too."""
        assert self.place is not None
        if not among_others:
            self.alone = None
            self._routed &= not self._own_routes
            self._own_routes.clear()
            return
        if self.alone is None:
            self.alone = PathVector(self._own, behind)
            self.alone.join(self.id, self.place, bridged=False)
            for node, offers in (*self.heard.said().items(), (self._own, dict(self.offers))):
                self.alone.hear(self.id, node, offers)
        self.alone.join(self.id, self.place, bridged=False)

    # What follows.

    def route(self, prefix: IPv6Network, chosen: tuple[Route, ...]) -> None:
        """From now on a prefix is reached so: by none if `chosen` is empty."""
        if _set(self._routes, prefix, chosen):
            self._routed = False
            self.untold_routes.add(prefix)

    def settle(self, now: float, shard_bits: int) -> None:
        """Route anew what is sent from the own address, where that goes another way than what is forwarded."""
        if self.alone is None:
            return
        for prefix in sorted(self.alone.settle(now)):
            routes = chosen_routes(self._own, prefix, self.alone.taken(prefix), shard_bits)
            found = tuple(route for _, route in routes if route.via != self._own)
            self._routed &= not _set(self._own_routes, prefix, found if prefix != DEFAULT else ())

    def offer(self, prefix: IPv6Network, offer: Offer | None) -> None:
        """From now on this is offered here for a prefix."""
        if offer == self.offers.get(prefix):
            return
        self.untold_offers.add(prefix)
        if offer is None:
            del self.offers[prefix]
        else:
            self.offers[prefix] = offer
        if self.alone is not None:
            self.alone.hear(self.id, self._own, dict(self.offers))

    def tell_offers(self, prefixes: Iterable[IPv6Network]) -> dict[IPv6Network, Offer]:
        """All that others are to know from now on, if they hear of these prefixes what is offered now."""
        self.said = True
        for prefix in prefixes:
            offer = self.offers.get(prefix)
            if offer is None:
                self.told.pop(prefix, None)
            else:
                self.told[prefix] = offer
            self.untold_offers.discard(prefix)
        return dict(self.told)

    def forget_through(self, mesh: str) -> None:
        """Nothing that was told leads through this mesh any more: the node is not in it."""
        through = [
            prefix for prefix, offer in self.told.items() if any(way.hops[-1].mesh == mesh for way in offer.ways)
        ]
        for prefix in through:
            del self.told[prefix]
            self.said = False

    def next_telling(self) -> float | None:
        """When the device has to be told of routes."""
        return self._route_at if self.place is not None and not self._routed else None

    def tell_routes(self, version: int, now: float) -> m.RoutesChanged:
        """What the device is to know from now on."""
        self._routed, self._route_at = True, now + APART
        self.untold_routes.clear()
        beside = {prefix: chosen for prefix, chosen in self._own_routes.items() if self._routes.get(prefix) != chosen}
        return m.RoutesChanged(self.id, version, _sorted({**self._routes, **self._statics}), _sorted(beside))


def _set(routes: Routes, prefix: IPv6Network, chosen: tuple[Route, ...]) -> bool:
    """Whether that changes anything."""
    if routes.get(prefix, ()) == chosen:
        return False
    if chosen:
        routes[prefix] = chosen
    else:
        routes.pop(prefix, None)
    return True


def _sorted(routes: Mapping[IPv6Network, tuple[Route, ...]]) -> tuple[Route, ...]:
    return tuple(sorted((route for chosen in routes.values() for route in chosen), key=lambda route: route.prefix))
