"""What `plan` answers: how an interface is set, and what would change, now or if some nodes were gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smeg import messages as m
from smeg.device import (
    AddAddress,
    AddRoute,
    DeviceState,
    Endpoint,
    Operation,
    RemoveAddress,
    RemovePeer,
    RemoveRoute,
    SetInterface,
    SetPeer,
)
from smeg.errors import LocalError
from smeg.keys import NodeKey, wireguard_text
from smeg.mesh_view import MeshView
from smeg.plan import difference
from smeg.records import Member
from smeg.wanted import View, wanted


def describe(view: MeshView) -> dict[str, Any]:
    """The interface as `wg showconf` would say it, with the members' names. Raises `LocalError`."""
    plan, names = _applied(view), _names(view)
    return {
        "mesh": {"name": view.name, "id": view.id},
        "interface": view.interface,
        "public_key": wireguard_text(plan.public_key),
        "listen_port": plan.listen_port,
        "mtu": plan.mtu,
        "addresses": [str(address) for address in plan.addresses],
        "routes": [str(route) for route in (*plan.routes, *plan.unmarked_routes)],
        "own_routes": [str(route) for route in plan.own_routes],
        "peers": [
            {
                "name": names.get(key, ""),
                "public_key": wireguard_text(key),
                "endpoint": str(peer.endpoint) if peer.endpoint is not None else None,
                "allowed_ips": [str(prefix) for prefix in peer.allowed_ips],
                "keepalive": peer.keepalive,
            }
            for key, peer in sorted(plan.peers.items(), key=lambda item: (names.get(item[0], ""), item[0]))
        ],
    }


def changes(
    view: MeshView, own: NodeKey, routes: m.RoutesChanged | None, without: frozenset[NodeKey], keepalive: int
) -> list[dict[str, Any]]:
    """What would be done to the interface with these routes, and if these nodes were gone. Raises `LocalError`."""
    now = _applied(view)
    chosen = (routes.routes, routes.own_routes) if routes is not None else ((), ())
    pruned = view.pruned | without
    wish = View(view.id, own, view.table, pruned, chosen[0], now.listen_port, now.mtu, keepalive, chosen[1])

    def choose(members: Sequence[Member]) -> list[Endpoint | None]:
        """As it is: which endpoint a name stands for is not asked here."""
        peers = ((member, now.peers.get(member.standing.wireguard)) for member in members)
        return [p.endpoint if p is not None else next(iter(member.record.wireguard), None) for member, p in peers]

    then = wanted(wish, choose)
    operations = difference(now, then, {key: peer.endpoint for key, peer in then.peers.items() if peer.endpoint}) \
        if then is not None else ()  # fmt: skip
    names = _names(view)
    return [_row(operation, now, names) for operation in operations]


def _applied(view: MeshView) -> DeviceState:
    if view.plan is None:
        raise LocalError("no-plan", f"the device of {view.name} is not set up yet", "see `smeg-cli status`")
    return view.plan


def _names(view: MeshView) -> dict[bytes, str]:
    return {member.standing.wireguard: member.record.name for member in view.table.values()}


def _row(operation: Operation, now: DeviceState, names: Mapping[bytes, str]) -> dict[str, Any]:
    """One operation: what is done, to whom, and which prefixes are gained and lost."""
    match operation:
        case SetInterface(listen_port, mtu):
            return _change("set-interface", f"port {listen_port}, MTU {mtu}")
        case AddAddress(address):
            return _change("add-address", "", gains=[str(address)])
        case RemoveAddress(address):
            return _change("remove-address", "", loses=[str(address)])
        case AddRoute(prefix, table):
            return _change("add-route", table.value, gains=[str(prefix)])
        case RemoveRoute(prefix, table):
            return _change("remove-route", table.value, loses=[str(prefix)])
        case RemovePeer(key):
            gone = [str(prefix) for prefix in now.peers[key].allowed_ips] if key in now.peers else []
            return _change("remove-peer", names.get(key) or wireguard_text(key), loses=gone)
        case SetPeer(peer):
            before = now.peers.get(peer.public_key)
            had = set(before.allowed_ips) if before is not None else set()
            gains = [str(prefix) for prefix in peer.allowed_ips if prefix not in had]
            loses = [str(prefix) for prefix in sorted(had - set(peer.allowed_ips))]
            what = "add-peer" if before is None else "set-peer"
            return _change(what, names.get(peer.public_key) or wireguard_text(peer.public_key), gains, loses)


def _change(what: str, subject: str, gains: list[str] | None = None, loses: list[str] | None = None) -> dict[str, Any]:
    return {"operation": what, "subject": subject, "gains": gains or [], "loses": loses or []}
