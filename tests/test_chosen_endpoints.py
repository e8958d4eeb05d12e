"""Which endpoint a member is reached by: asked for once, and again when the underlay may have moved."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from ipaddress import IPv6Network

from smeg.chosen_endpoints import ChosenEndpoints
from smeg.device import Endpoint
from smeg.records import Member, OwnRecord
from tests.builders import Desk, MadeMesh

OVERLAY = IPv6Network("fd00:1::/64")
HERE, THERE, INSIDE = Endpoint("192.0.2.1", 1), Endpoint("2001:db8::1", 1), Endpoint("fd00:1::5", 1)


class Underlay:
    """Leads to what it is told, and keeps what it was asked."""

    def __init__(self, *reached: Endpoint) -> None:
        self.reached = reached
        self.asked: list[tuple[Endpoint, ...]] = []

    def choose(self, endpoints: tuple[Endpoint, ...], now: float) -> Endpoint | None:
        self.asked.append(endpoints)
        return next((endpoint for endpoint in endpoints if endpoint in self.reached), None)


@cache
def somebody() -> Member:
    mesh = MadeMesh("home")
    node, desk = mesh.founder("own"), Desk(mesh.id)
    desk.take([*node.certificates, node.record(1, OwnRecord(node.label, (), (HERE, THERE))).raw])
    return desk.members[node.key]


def test_it_asks_once_until_the_member_names_other_endpoints() -> None:
    underlay, member = Underlay(HERE, THERE), somebody()
    chosen = ChosenEndpoints(underlay.choose, OVERLAY)
    assert [chosen.of([member], 0.0) for _ in range(3)] == [[HERE]] * 3
    assert underlay.asked == [(HERE, THERE)]
    moved = replace(member, record=replace(member.record, wireguard=(THERE,)))
    assert chosen.of([moved], 0.0) == [THERE]


def test_a_look_finds_out_that_the_underlay_has_moved() -> None:
    underlay, member = Underlay(HERE), somebody()
    chosen = ChosenEndpoints(underlay.choose, OVERLAY)
    assert chosen.of([member], 0.0) == [HERE]
    assert not chosen.look_again([member], 1.0)
    underlay.reached = (THERE,)
    assert chosen.of([member], 2.0) == [HERE]
    assert chosen.look_again([member], 3.0)
    assert chosen.of([member], 3.0) == [THERE]
    assert len(underlay.asked) == 3


def test_the_only_address_of_a_member_is_not_asked_for_again_but_a_name_is() -> None:
    underlay, member = Underlay(HERE, THERE), somebody()
    addressed = replace(member, record=replace(member.record, wireguard=(THERE,)))
    chosen = ChosenEndpoints(underlay.choose, OVERLAY)
    assert chosen.of([addressed], 0.0) == [THERE]
    assert not chosen.look_again([addressed], 1.0)
    assert chosen.of([addressed], 1.0) == [THERE]
    assert underlay.asked == [(THERE,)]
    resolved = iter([HERE, THERE])
    named = replace(member, record=replace(member.record, wireguard=(Endpoint("gate.example", 1),)))
    chosen = ChosenEndpoints(lambda endpoints, now: next(resolved), OVERLAY)
    assert chosen.of([named], 0.0) == [HERE]
    assert chosen.look_again([named], 1.0)
    assert chosen.of([named], 1.0) == [THERE]


def test_an_endpoint_inside_the_mesh_is_never_asked_for_and_its_owner_is_named() -> None:
    underlay, member = Underlay(INSIDE, THERE), somebody()
    liar = replace(member, record=replace(member.record, wireguard=(INSIDE, THERE)))
    chosen = ChosenEndpoints(underlay.choose, OVERLAY)
    assert chosen.of([liar], 0.0) == [THERE]
    assert underlay.asked == [(THERE,)]
    (problem,) = chosen.problems()
    assert problem.code == "endpoint-inside-mesh"
    assert member.record.name in problem.message
    assert chosen.of([member], 1.0) == [THERE]
    assert chosen.problems() == []
