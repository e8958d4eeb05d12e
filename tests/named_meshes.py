"""Meshes for the tests of names: members with a name and a card, and a zone that has heard of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from ipaddress import IPv6Address

from smeg import messages as m
from smeg.addresses import node_id
from smeg.card import BLANK, Card
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import Member, OwnRecord
from smeg.zone import Name, Zone
from tests.builders import WALL, Desk, MadeMesh

SERVER = IPv6Address("::1")
HOME = MadeMesh("home of names")


@cache
def member(mesh: str, number: int, name: str, card: Card = BLANK) -> Member:
    """The same number is the same node, whatever it is called."""
    made = MadeMesh(mesh)
    node = made.founder(f"node {number}")
    desk = Desk(made.id)
    desk.take([*node.certificates, node.record(1, OwnRecord(name, card=card)).raw])
    return desk.members[node.key]


def members(named: Iterable[tuple[str, Card]], mesh: str = HOME.label) -> Members:
    """One of each, in this order; not in the order of keys."""
    found = (member(mesh, number, name, card) for number, (name, card) in enumerate(named))
    return Members.of({each.key: each for each in found})


def alias(label: str) -> Card:
    return Card(label)


def zone_of(
    known: Mapping[NodeKey, Member], dead: Collection[NodeKey] = (), mesh: MadeMesh = HOME, name: str = "home"
) -> Zone:
    zone = Zone([SERVER], lambda: WALL)
    show(zone, known, dead, mesh, name)
    return zone


def show(
    zone: Zone,
    known: Mapping[NodeKey, Member],
    dead: Collection[NodeKey] = (),
    mesh: MadeMesh = HOME,
    name: str = "home",
) -> None:
    """Tell the zone of a mesh that works."""
    zone.hear(m.MeshStarted(mesh.id, name, "fd00::1", "smeg-home"))
    zone.hear(m.MembersChanged(mesh.id, 1, known if isinstance(known, Members) else Members.of(known)))
    zone.hear(m.LivenessChanged(mesh.id, 1, 1, None, frozenset(dead)))


def labels(text: str) -> Name:
    return tuple(text.split("."))


def id_of(one: Member) -> str:
    return node_id(one.key)
