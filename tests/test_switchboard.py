"""Between members and connections: what passes follows from the proven key alone, mesh by mesh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.addresses import MESH_ID
from smeg.certificates import Role
from smeg.device import Endpoint
from smeg.errors import RemoteError
from smeg.keys import x25519_public
from smeg.members import Members
from smeg.messages import Channel
from smeg.switchboard import Switchboard
from tests.builders import QUICK, Desk, MadeMesh, Node, grant

HOME, WORK = MadeMesh("home"), MadeMesh("work")
FOUNDER, OTHER = HOME.founder(), WORK.founder()
CLIENT = HOME.joined("client", HOME.invite("clients"), FOUNDER, given=grant(Role.CLIENT))
STRANGER = bytes(range(32))
PLACE = (Endpoint("192.0.2.9", 1),)


def changed(mesh: MadeMesh, nodes: Iterable[Node]) -> m.MembersChanged:
    desk = Desk(mesh.id)
    for node in nodes:
        desk.take(node.documents())
    return m.MembersChanged(mesh.id, desk.roster.version, Members.of(desk.members))


def board() -> Switchboard:
    made = Switchboard()
    made.members_changed(changed(HOME, [FOUNDER, CLIENT]))
    made.members_changed(changed(WORK, [OTHER]))
    return made


def curve(node: Node) -> bytes:
    return x25519_public(node.curve)


def passes(made: Switchboard, key: bytes, mesh: str, channel: Channel) -> bool:
    try:
        received = made.receive(key, mesh, channel.value, b"payload")
    except RemoteError as error:
        if error.problem.code != "not-a-member":
            raise
        return False
    assert (received.mesh, received.channel, received.curve, received.payload) == (mesh, channel, key, b"payload")
    return True


@pytest.mark.parametrize("channel", Channel)
def test_a_stranger_may_ask_to_be_let_in_and_nothing_else(channel: Channel) -> None:
    assert passes(board(), STRANGER, HOME.id, channel) == (channel is Channel.JOIN)


@pytest.mark.parametrize("channel", Channel)
def test_a_member_of_one_mesh_is_a_stranger_in_another(channel: Channel) -> None:
    assert passes(board(), curve(FOUNDER), HOME.id, channel)
    assert passes(board(), curve(FOUNDER), WORK.id, channel) == (channel is Channel.JOIN)


@pytest.mark.parametrize("channel", Channel)
def test_whom_we_dialled_may_answer_in_that_mesh_and_claim_nothing(channel: Channel) -> None:
    made = board()
    made.dialled(m.Dial(HOME.id, STRANGER, PLACE))
    assert passes(made, STRANGER, HOME.id, channel) == (channel is not Channel.HEARTBEAT)
    assert passes(made, STRANGER, WORK.id, channel) == (channel is Channel.JOIN)


def test_the_sender_is_whose_key_was_proven() -> None:
    assert board().receive(curve(CLIENT), HOME.id, b"M", b"").sender == CLIENT.key
    assert board().receive(STRANGER, HOME.id, b"J", b"").sender is None


def test_who_is_evicted_is_a_stranger_from_then_on() -> None:
    made = board()
    made.members_changed(changed(HOME, [FOUNDER]))
    assert not passes(made, curve(CLIENT), HOME.id, Channel.MEMBERSHIP)
    assert curve(CLIENT) not in made.curves
    with pytest.raises(RemoteError):
        made.line(m.SendMember(HOME.id, Channel.MEMBERSHIP, CLIENT.key, b""))


@QUICK
@given(st.binary(max_size=40), st.text(max_size=40) | st.just(HOME.id), st.binary(max_size=3))
def test_any_head_is_a_message_or_an_error_about_others(key: bytes, mesh: str, channel: bytes) -> None:
    try:
        received = board().receive(key, mesh, channel, b"")
    except RemoteError:
        return
    assert MESH_ID.match(received.mesh)
    assert received.channel is Channel.JOIN
    assert received.sender is None


def test_a_peer_is_dialled_where_its_record_says_and_a_client_nowhere() -> None:
    to_peer = board().line(m.SendMember(HOME.id, Channel.MEMBERSHIP, FOUNDER.key, b""))
    assert (to_peer.curve, to_peer.endpoints) == (curve(FOUNDER), (Endpoint("192.0.2.1", 51800),))
    to_client = board().line(m.SendMember(HOME.id, Channel.MEMBERSHIP, CLIENT.key, b""))
    assert (to_client.curve, to_client.endpoints) == (curve(CLIENT), ())


def test_a_key_leads_to_its_holders_and_to_where_they_are_dialled_mesh_by_mesh() -> None:
    made = board()
    assert made.members_with(curve(FOUNDER)) == [(HOME.id, FOUNDER.key)]
    assert made.places(curve(FOUNDER)) == (Endpoint("192.0.2.1", 51800),)
    assert made.members_with(curve(CLIENT)) == [(HOME.id, CLIENT.key)]
    assert made.places(curve(CLIENT)) == ()
    assert made.members_with(STRANGER) == []
    assert made.places(STRANGER) == ()


def test_a_guest_is_reached_where_it_was_dialled_or_over_its_own_connection() -> None:
    made = board()
    guest = m.SendGuest(HOME.id, Channel.WELCOME, STRANGER, b"")
    assert made.line(guest).endpoints == ()
    made.dialled(m.Dial(HOME.id, STRANGER, PLACE))
    assert made.line(guest).endpoints == PLACE


def test_of_two_members_who_claim_one_curve_key_the_lower_keeps_it() -> None:
    nodes = sorted((HOME.founder(f"twin {index}") for index in range(2)), key=lambda node: node.key)
    message = changed(HOME, nodes)
    low, high = (message.members[node.key] for node in nodes)
    standing = replace(high.standing, curve=low.standing.curve)
    claimed = {low.key: low, high.key: type(high)(high.key, high.record, standing, high.address)}
    made = Switchboard()
    made.members_changed(m.MembersChanged(HOME.id, 1, Members.of(claimed)))
    assert made.receive(curve(nodes[0]), HOME.id, b"M", b"").sender == low.key


def test_a_mesh_that_stopped_leaves_nothing_behind() -> None:
    made = board()
    made.dialled(m.Dial(HOME.id, STRANGER, PLACE))
    assert made.meshes_of(STRANGER) == [HOME.id]
    made.mesh_stopped(HOME.id)
    assert [curve(node) in made.curves for node in (OTHER, FOUNDER, CLIENT)] == [True, False, False]
    assert made.meshes_of(STRANGER) == made.meshes_of(curve(FOUNDER)) == []
    assert not passes(made, STRANGER, HOME.id, Channel.WELCOME)
