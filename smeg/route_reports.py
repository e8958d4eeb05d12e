"""What `routes` and `why` answer: the ways that are known, which are taken, and by which rule.

Pure functions of the newest snapshots and of a `forecast`. What the interface is set to counts where the two differ:
the forecast gives reasons, the plan says what is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from smeg.addresses import host_prefix, node_id, overlay_prefix
from smeg.carriers import tunnels
from smeg.certificates import Role
from smeg.device_names import find_device
from smeg.forecast import Forecast
from smeg.keys import NodeKey
from smeg.mesh_view import SHORT, MeshView, find_places
from smeg.offer_labels import offered
from smeg.path_vector import Taken
from smeg.records import Route
from smeg.shares import DEFAULT, part_of
from smeg.static_clients import static_clients
from smeg.ways import Hop, Offer

Views = Mapping[str, MeshView]


@dataclass(frozen=True, slots=True)
class Reports:
    own: NodeKey
    views: Views
    """By mesh id."""
    forecast: Forecast
    wall: int
    """seconds since 1970."""
    _leading: dict[str, dict[IPv6Network, list[Route]]] = field(default_factory=dict)
    """By mesh id and by offered prefix: the routes that lead there."""

    # All routes.

    def routes(self, only: MeshView | None) -> dict[str, Any]:
        """A row for each way that somebody offers, the taken ones first; and what this node offers itself."""
        views = [only] if only is not None else list(self.views.values())
        rows = [self._own_mesh(view) for view in views]
        for prefix in self.forecast.table.ways.prefixes():
            ways = self._ranked(prefix)
            rows += [self._way(prefix, way, ways) for way in ways if only is None or way.mesh == only.id]
        offers = [row for view in views if view.offers is not None for row in self._offers(view)]
        return {"routes": rows, "offers": offers}

    def _own_mesh(self, view: MeshView) -> dict[str, Any]:
        return {
            "mesh": view.name,
            "prefix": str(overlay_prefix(view.id)),
            "via": None,
            "node": None,
            "path": [view.name],
            "bridges": [],
            "state": "chosen",
            "parts": [str(overlay_prefix(view.id))],
            "rule": "this node is in the mesh",
        }

    def _way(self, prefix: IPv6Network, way: Taken, ways: list[Taken]) -> dict[str, Any]:
        view = self.views[way.mesh]
        parts = [route.prefix for route in self._chosen(view, prefix) if route.via == way.via]
        state, rule = self._state(way, ways, bool(parts))
        return {
            "mesh": view.name,
            "prefix": str(prefix),
            "via": view.called(way.via),
            "node": node_id(way.via),
            "path": [view.name, *(self._mesh_name(hop) for hop in reversed(way.way.hops) if hop.mesh)],
            "bridges": [self._bridge_name(view, hop) for hop in reversed(way.way.hops)],
            "state": state,
            "parts": [str(part) for part in parts],
            "rule": rule,
        }

    def _state(self, way: Taken, ways: list[Taken], chosen: bool) -> tuple[str, str]:
        shortest = min(len(other.way.hops) for other in ways)
        length = len(way.way.hops)
        equal = [other for other in ways if len(other.way.hops) == shortest]
        if length > shortest:
            return "longer", f"crosses {_meshes(length)}, the shortest {_meshes(shortest)}"
        if len(equal) == 1:
            words = (
                "the only way" if len(ways) == 1 else f"the shortest of {len(ways)} ways, across {_meshes(shortest)}"
            )
            return ("chosen" if chosen else "waiting"), words
        by = "rendezvous hash of this node and the prefix" if way.is_exit else "the least hashed cost, part by part"
        return ("chosen" if chosen else "standby"), f"one of {len(equal)} equally short ways: {by}"

    def _offers(self, view: MeshView) -> Iterable[dict[str, Any]]:
        assert view.offers is not None
        for prefix, offer in sorted(view.offers.offers.items()):
            path = [self._mesh_name(hop) for hop in reversed(offer.ways[0].hops) if hop.mesh]
            behind = f"behind {_origin(offer)}" if not offer.overlay else ""
            yield {"mesh": view.name, "prefix": str(prefix), "path": path, "behind": behind}

    def _ranked(self, prefix: IPv6Network) -> list[Taken]:
        """All ways to a prefix: shorter ones first, then in the order of their names."""
        found = self.forecast.table.ways.candidates(prefix)
        return sorted(found, key=lambda way: (len(way.way.hops), way.mesh, way.via))

    def _chosen(self, view: MeshView, prefix: IPv6Network) -> list[Route]:
        """What leads to a prefix in a mesh, or to parts of it."""
        if view.id not in self._leading:
            self._leading[view.id] = self._by_prefix(view.routes.routes if view.routes is not None else ())
        return self._leading[view.id].get(prefix, [])

    def _by_prefix(self, routes: Iterable[Route]) -> dict[IPv6Network, list[Route]]:
        """Each route under the longest prefix that is offered and holds it."""
        offered = set(self.forecast.table.ways.prefixes())
        lengths = sorted({prefix.prefixlen for prefix in offered}, reverse=True)
        found: dict[IPv6Network, list[Route]] = {}
        for route in routes:
            at = route.prefix
            wider = (at.supernet(new_prefix=length) for length in lengths if length <= at.prefixlen)
            found.setdefault(next((prefix for prefix in wider if prefix in offered), at), []).append(route)
        return found

    # One destination.

    def why(self, text: str) -> dict[str, Any]:
        """Each step of a packet from here to a destination. Raises `LocalError` for what is none."""
        to, named = self._destination(text)
        answer: dict[str, Any] = {"destination": str(to), "name": named, "reached": True, "steps": [], "problem": ""}
        view = next((view for view in self.views.values() if to in overlay_prefix(view.id)), None)
        try:
            if view is not None:
                answer["steps"] = self._within(view, to)
            else:
                answer["steps"] = self._beyond(to)
        except _Unreached as error:
            answer["reached"], answer["problem"] = False, str(error)
        return answer

    def _destination(self, text: str) -> tuple[IPv6Address, str]:
        try:
            to = IPv6Address(text)
        except ValueError:
            device = self._device_called(text)
            if device is not None:
                return device
            places = find_places(self.views, text)
        else:
            return to, self._name_at(to)
        view, key = places[0]
        if len(places) > 1:
            # In several meshes: the way inside one mesh is the shortest, whichever it is.
            view, key = min(places, key=lambda place: place[0].name)
        return view.table[key].address, f"{view.called(key)} in {view.name}"

    def _device_called(self, text: str) -> tuple[IPv6Address, str] | None:
        """A device without a daemon, in the first mesh that has one of this name. Raises `LocalError`."""
        for view in sorted(self.views.values(), key=lambda view: view.name):
            annexes = view.annexes.annexes if view.annexes is not None else {}
            devices = static_clients(view.id, view.table, annexes, self.wall)
            address = find_device(devices, view.table, text)
            if address is not None:
                peer, client = devices[address]
                return address, f"{client.name} of {view.called(peer)} in {view.name}"
        return None

    def _name_at(self, to: IPv6Address) -> str:
        for view in self.views.values():
            key = view.table.at(to)
            if key is not None:
                return f"{view.called(key)} in {view.name}"
        return ""

    def _within(self, view: MeshView, to: IPv6Address) -> list[dict[str, str]]:
        """Inside one of this node's meshes."""
        key = view.table.at(to)
        if key is None:
            return self._device(view, to)
        if key == self.own:
            return []
        if key in view.pruned:
            raise _Unreached(f"{view.called(key)} is in {view.name}, but thought dead: `smeg-cli members {view.name}`")
        return self._carried(view, to, key, f"{view.called(key)} has the address {to}")

    def _device(self, view: MeshView, to: IPv6Address) -> list[dict[str, str]]:
        """To a device without a daemon, by way of the peer that vouches for it."""
        prefix = host_prefix(to)
        peers = view.plan.peers.values() if view.plan is not None else ()
        if any(peer.allowed_ips == (prefix,) for peer in peers):
            return [_step(view.name, "here", str(to), "this node vouches for the device with this address")]
        routes = view.routes.routes if view.routes is not None else ()
        via = next((route.via for route in routes if route.prefix == prefix), None)
        if via is None:
            raise _Unreached(f"nobody in {view.name} has the address {to}")
        name = view.called(via)
        if via in view.pruned:
            raise _Unreached(f"{name}, which vouches for the device with this address, is thought dead")
        steps = self._carried(view, to, via, f"{name} vouches for the device with the address {to}")
        return [*steps, _step(view.name, name, str(to), f"it has its tunnel with {name}")]

    def _carried(self, view: MeshView, to: IPv6Address, key: NodeKey, rule: str) -> list[dict[str, str]]:
        """The steps to a member: one where there is a tunnel to it, more where peers carry what is for it."""
        first = self._carrier(view, to)
        if first is None or first == key:
            return [_step(view.name, "here", view.called(key), rule)]
        words = f"there is no tunnel to {view.called(key)}: {view.called(first)} carries what is for it"
        steps, at = [_step(view.name, "here", view.called(first), words)], first
        member = view.table[key]
        found = tunnels(member, view.table, view.pruned) if member.role is Role.CLIENT else None
        if found is not None and not found.leads(first):
            words = f"{view.called(key)} is a client, and {view.called(found.carrier)} its carrier"
            steps.append(_step(view.name, view.called(at), view.called(found.carrier), words))
            at = found.carrier
        return [*steps, _step(view.name, view.called(at), view.called(key), rule)]

    def _carrier(self, view: MeshView, to: IPv6Address) -> NodeKey | None:
        """The member to which the interface sends what is for an address; None while there is no interface."""
        if view.plan is None:
            return None
        allowed = ((prefix.prefixlen, key) for key, peer in view.plan.peers.items() for prefix in peer.allowed_ips
                   if to in prefix)  # fmt: skip
        longest = max(allowed, default=None)
        if longest is None:
            return None
        return next((key for key, member in view.table.items() if member.standing.wireguard == longest[1]), None)

    def _beyond(self, to: IPv6Address) -> list[dict[str, str]]:
        """Through other members to another mesh, or to what is behind somebody."""
        routes = [
            (route.prefix.prefixlen, view.id, route)
            for view in self.views.values()
            for route in (view.routes.routes if view.routes is not None else ())
            if to in route.prefix
        ]
        if not routes:
            raise _Unreached(self._why_no_route(to))
        _, mesh, route = max(routes, key=lambda found: (found[0], found[1]))
        view = self.views[mesh]
        way, ways = self._way_of(view, route, to)
        if way is None:
            return self._carried(view, to, route.via, f"{route.prefix} is reached through {view.called(route.via)}")
        _, rule = self._state(way, ways, chosen=True)
        what = f"{route.prefix} is the longest route to {to}: {rule}"
        steps = self._carried(view, to, route.via, what)
        *before, last = way.way.hops
        at, mesh_name = self._bridge_name(view, last), self._mesh_name(last)
        for hop in reversed(before):
            following = self._bridge_name(view, hop)
            steps.append(_step(mesh_name, at, following, f"{at} says so in its signed offer"))
            at, mesh_name = following, self._mesh_name(hop)
        origin = way.way.hops[0]
        if origin.mesh:
            steps.append(_step(mesh_name, at, str(to), f"{at} is in the mesh of this address"))
        else:
            steps.append(_step("", at, str(to), f"{at} has it behind itself"))
        return steps

    def _way_of(self, view: MeshView, route: Route, to: IPv6Address) -> tuple[Taken | None, list[Taken]]:
        """The way that a route follows, and all that lead to the same prefix."""
        for prefix in sorted(self.forecast.table.ways.prefixes(), key=lambda prefix: -prefix.prefixlen):
            if prefix == DEFAULT or route.prefix.subnet_of(prefix):
                ways = self._ranked(prefix)
                mine = [way for way in ways if way.mesh == view.id and way.via == route.via]
                for way in sorted(mine, key=lambda way: len(way.way.hops)):
                    if way.is_exit or not way.way.hops[0].mesh or way.mask >> part_of(to) & 1:
                        return way, ways
        return None, []

    def _why_no_route(self, to: IPv6Address) -> str:
        table = self.forecast.table.ways
        holding = [prefix for prefix in table.prefixes() if to in prefix]
        if holding:
            return f"{holding[-1]} is offered, but no way to it is taken at this moment"
        if to.is_global and self._knows_an_exit():
            return f"nobody offers {to}, and no default route is taken: set acceptDefaults to send it through an exit"
        return f"no member of this node's meshes offers a prefix that holds {to}"

    def _knows_an_exit(self) -> bool:
        heard = (view.annexes.annexes.values() for view in self.views.values() if view.annexes is not None)
        return any(DEFAULT in offered(said) for some in heard for said in some)

    # Names.

    def _mesh_name(self, hop: Hop) -> str:
        view = self.views.get(hop.mesh)
        return view.name if view is not None else hop.mesh_name or hop.mesh[:SHORT]

    def _bridge_name(self, view: MeshView, hop: Hop) -> str:
        return view.called(hop.node) if hop.node in view.table else hop.name or view.called(hop.node)


class _Unreached(Exception):
    """Why a packet does not arrive, in words."""


def _step(mesh: str, at: str, to: str, rule: str) -> dict[str, str]:
    return {"mesh": mesh, "from": at, "to": to, "rule": rule}


def _meshes(hops: int) -> str:
    return "one mesh" if hops == 1 else f"{hops} meshes"


def _origin(offer: Offer) -> str:
    return offer.ways[0].hops[0].name
