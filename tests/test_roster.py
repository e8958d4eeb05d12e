"""The roster: a member is exactly what the definition says, whatever the order in which it was learnt."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.addresses import overlay_address
from smeg.keys import NodeKey, x25519_public
from smeg.records import Action, Record, Remove
from smeg.roster import Roster, Verdict
from tests.builders import NOTARY, QUICK, WALL, Desk, MadeMesh, Node, grant, universe

MESH = MadeMesh("roster")
FOUNDER, SECOND = MESH.founder("founder"), MESH.founder("second")
ORDERS = st.lists(st.sampled_from(range(len(universe().statements))), max_size=70)


@cache
def deliveries() -> tuple[tuple[Record | Remove, tuple[bytes, ...]], ...]:
    """Every statement of the universe, with all bytes that it needs to count."""
    found = []
    for document, papers in universe().statements:
        statement = NOTARY.read(document.raw)
        assert isinstance(statement, (Record, Remove))
        found.append((statement, (*papers, document.raw)))
    return tuple(found)


def definition(desk: Desk, wall: int) -> dict[NodeKey, Verdict]:
    """What everybody is, from the replica's statements and what the universe was made of: no index, no chain."""
    stays = universe().by_credential()
    records, evicts, leaves = desk.replica.records, desk.replica.evicts, desk.replica.leaves
    stay_of = {key: stays[record.credential] for key, record in records.items()}

    def evicted(stay: Node, evict: Remove) -> bool:
        return stay.serial <= evict.serial or (stay.invite is not None and stay.invite.document.hash == evict.invite)

    def cut_off(node: Node) -> bool:
        if node.by is None:
            return False
        evict = evicts.get(node.by.key)
        kept = evict is None or not evicted(node.by, evict) or node.key[:8] in evict.admitted
        return not kept or cut_off(node.by)

    def judge(key: NodeKey) -> Verdict:
        stay, record = stay_of[key], records[key]
        for remove in [held[key] for held in (evicts, leaves) if key in held]:
            later = remove.serial > stay.serial
            same = remove.serial == stay.serial
            if later or (same and (remove.action is Action.EVICT or record.counter <= remove.counter)):
                return Verdict.REMOVED
        if key in evicts and evicted(stay, evicts[key]):
            return Verdict.REMOVED
        if cut_off(stay):
            return Verdict.ORPHANED
        same_invite = [k for k, s in stay_of.items() if s.invite is not None and s.invite == stay.invite]
        users = [k for k in same_invite if k not in evicts and not cut_off(stay_of[k])]
        uses = {universe().mesh.invite("one").document: 1, universe().mesh.invite("three", 3).document: 3}
        if stay.invite is not None and len(users) > uses.get(stay.invite.document, 9):
            return Verdict.QUARANTINED
        return Verdict.EXPIRED if stay.given.expires <= wall else Verdict.MEMBER

    return {key: judge(key) for key in records}


def agrees(desk: Desk, wall: int = WALL) -> None:
    """The roster kept up to date is the definition, and is what a new one makes of the same replica."""
    expected = definition(desk, wall)
    members = [key for key, verdict in sorted(expected.items()) if verdict is Verdict.MEMBER]
    quarantined = {key for key, verdict in expected.items() if verdict is Verdict.QUARANTINED}
    assert {key: desk.roster.verdict(key, wall) for key in expected} == expected
    assert list(desk.members) == members
    assert set(desk.roster.quarantined) == quarantined
    assert desk.roster.expired == {key for key, verdict in expected.items() if verdict is Verdict.EXPIRED}
    anew = Roster(desk.mesh, desk.replica, desk.chain)
    anew.update(desk.replica, wall)
    assert anew.members == desk.members
    assert set(anew.quarantined) == set(desk.roster.quarantined)


def told(desk: Desk) -> tuple[object, ...]:
    return desk.members, desk.roster.quarantined, desk.roster.expired


@QUICK
@given(ORDERS, st.integers(-20, 20))
def test_after_every_statement_the_roster_is_what_the_definition_says(order: list[int], ahead: int) -> None:
    desk = Desk(universe().mesh.id)
    for step, index in enumerate(order):
        before, version = told(desk), desk.roster.version
        desk.take(deliveries()[index][1], WALL + ahead)
        assert (told(desk) != before) == (desk.roster.version != version)
        if step % 5 == 4 or step == len(order) - 1:
            agrees(desk, WALL + ahead)


@QUICK
@given(ORDERS, st.lists(st.integers(-20, 20), min_size=1, max_size=6))
def test_a_clock_that_goes_on_or_back_is_judged_as_if_it_had_always_been_so(order: list[int], moves: list[int]) -> None:
    desk = Desk(universe().mesh.id)
    chunk = len(order) // len(moves) + 1
    for at, move in enumerate(moves):
        desk.roster.expire(WALL + move)
        for index in order[at * chunk : (at + 1) * chunk]:
            desk.take(deliveries()[index][1], WALL + move)
        agrees(desk, WALL + move)


@QUICK
@given(ORDERS, st.integers(-20, 20))
def test_members_and_expired_together_are_the_same_by_all_clocks(order: list[int], ahead: int) -> None:
    desks = Desk(universe().mesh.id), Desk(universe().mesh.id)
    for index in order:
        for desk, wall in zip(desks, (WALL, WALL + ahead), strict=True):
            desk.take(deliveries()[index][1], wall)
        one, other = ({*desk.members, *desk.roster.expired} for desk in desks)
        assert one == other


@QUICK
@given(ORDERS.flatmap(lambda order: st.tuples(st.just(order), st.permutations(order))))
def test_replicas_that_lost_different_messages_agree_after_they_compared(orders: tuple[list[int], list[int]]) -> None:
    desks = [Desk(universe().mesh.id), Desk(universe().mesh.id)]
    for desk, order, lost in zip(desks, orders, (2, 3), strict=True):
        for position, index in enumerate(order):
            if position % 5 != lost:
                desk.take(deliveries()[index][1])
    for _ in range(2):
        desks[0].take(desks[1].everything())
        desks[1].take(desks[0].everything())
    assert desks[0].replica == desks[1].replica
    assert desks[0].replica.digest.of() == desks[1].replica.digest.of()
    assert desks[0].members == desks[1].members
    assert set(desks[0].roster.quarantined) == set(desks[1].roster.quarantined)
    agrees(desks[0])


def desk_with(*nodes: Node) -> Desk:
    desk = Desk(MESH.id)
    for node in nodes:
        desk.take(node.documents())
    return desk


def test_a_member_has_the_address_that_everyone_computes() -> None:
    desk = desk_with(FOUNDER)
    member = desk.members[FOUNDER.key]
    assert member.address == overlay_address(MESH.id, x25519_public(FOUNDER.wireguard), 0)


def test_an_overdrawn_invite_quarantines_all_its_users_and_one_evict_frees_the_rest() -> None:
    invite = MESH.invite("two", uses=2)
    users = [MESH.joined(f"user {index}", invite, by) for index, by in enumerate((FOUNDER, SECOND, FOUNDER))]
    sides = [desk_with(FOUNDER, SECOND, *users), desk_with(FOUNDER, SECOND, *users[::-1])]
    for desk in sides:
        assert set(desk.roster.quarantined) == {user.key for user in users}
        assert set(desk.members) == {FOUNDER.key, SECOND.key}
        desk.take([MESH.admin.raw, MESH.evict(users[1]).raw])
        assert set(desk.roster.quarantined) == frozenset()
        assert set(desk.members) == {FOUNDER.key, SECOND.key, users[0].key, users[2].key}


def test_a_leave_gives_no_use_back() -> None:
    invite = MESH.invite("one")
    users = [MESH.joined(f"user {index}", invite, FOUNDER) for index in range(2)]
    desk = desk_with(FOUNDER, *users)
    desk.take([users[0].leave(5).raw])
    assert desk.roster.verdict(users[1].key, WALL) is Verdict.QUARANTINED


def test_an_evicted_user_cannot_overdraw_again_by_leaving_under_a_later_serial() -> None:
    invite = MESH.invite("one")
    users = [MESH.joined(f"user {index}", invite, FOUNDER) for index in range(2)]
    desk = desk_with(FOUNDER, *users)
    desk.take([MESH.evict(users[0]).raw])
    desk.take([users[0].leave(9, serial=users[0].serial + 1).raw])
    assert desk.roster.verdict(users[1].key, WALL) is Verdict.MEMBER


def test_what_an_evicted_peer_countersigned_is_orphaned_but_for_whom_the_evict_keeps() -> None:
    invite = MESH.invite("many", uses=9)
    peer = MESH.joined("peer", invite, FOUNDER)
    kept, smuggled = MESH.joined("kept", invite, peer), MESH.joined("smuggled", invite, peer)
    for documents in ([MESH.evict(peer, [kept])], [MESH.evict(peer, [kept]), peer.leave(9, serial=99)]):
        desk = desk_with(FOUNDER, peer, kept)
        desk.take(document.raw for document in documents)
        desk.take(smuggled.documents())
        assert desk.roster.verdict(kept.key, WALL) is Verdict.MEMBER
        assert desk.roster.verdict(smuggled.key, WALL) is Verdict.ORPHANED


@pytest.mark.parametrize("between_is_known", [False, True])
@pytest.mark.parametrize("evict_first", [False, True])
def test_an_evicted_peer_lets_nobody_in_by_way_of_a_straw_man(between_is_known: bool, evict_first: bool) -> None:
    """It countersigns a second key of its own, and with that a third: the line ends at the evicted one."""
    invite = MESH.invite("many", uses=9)
    peer = MESH.joined("peer", invite, FOUNDER)
    straw = MESH.joined("straw", invite, peer)
    smuggled = MESH.joined("smuggled", invite, straw)
    desk = desk_with(FOUNDER, peer)
    steps = [[MESH.evict(peer).raw], straw.documents() if between_is_known else [], smuggled.documents()]
    for documents in steps if evict_first else steps[::-1]:
        desk.take(documents)
    assert desk.roster.verdict(smuggled.key, WALL) is Verdict.ORPHANED
    assert set(desk.members) == {FOUNDER.key}


def test_what_a_peer_countersigned_under_a_newer_certificate_stands() -> None:
    invite = MESH.invite("many", uses=9)
    first, again = MESH.joined("peer", MESH.invite("first"), FOUNDER), MESH.joined("peer", invite, FOUNDER, serial=2)
    guest = MESH.joined("guest", invite, again)
    desk = desk_with(FOUNDER, first, replace(again, label="again"), guest)
    desk.take([again.record(4).raw, MESH.evict(first).raw])
    assert {guest.key, again.key} <= set(desk.members)


@pytest.mark.parametrize("evict_first", [False, True])
def test_an_evicted_node_has_no_second_certificate_up_its_sleeve(evict_first: bool) -> None:
    """With one token it may have got many certificates, of any serial, before it was evicted under the first."""
    invite = MESH.invite("many", uses=9)
    shown, hidden = MESH.joined("peer", invite, FOUNDER), MESH.joined("peer", invite, FOUNDER, serial=2**53 - 1)
    smuggled = MESH.joined("smuggled", invite, hidden)
    desk = desk_with(FOUNDER, shown)
    steps = [[MESH.evict(shown).raw], [*hidden.certificates, hidden.record(9).raw], smuggled.documents()]
    for documents in steps if evict_first else steps[::-1]:
        desk.take(documents)
    assert desk.roster.verdict(shown.key, WALL) is Verdict.REMOVED
    assert desk.roster.verdict(smuggled.key, WALL) is Verdict.ORPHANED
    invited_again = MESH.joined("peer", MESH.invite("another"), FOUNDER, serial=2**53 - 1)
    desk.take([*invited_again.certificates, invited_again.record(10).raw])
    assert desk.roster.verdict(shown.key, WALL) is Verdict.MEMBER


def test_one_members_update_does_not_judge_everybody_again() -> None:
    """A mesh of thousands may have come in by one invitation: an update has to cost the same in it."""
    invite = MESH.invite("crowd", uses=60)
    crowd = [MESH.joined(f"crowd {index}", invite, FOUNDER) for index in range(60)]
    desk = desk_with(FOUNDER, *crowd)
    assert len(desk.members) == 61
    judged: list[NodeKey] = []
    original = desk.roster.verdict

    class Counting(Roster):
        def verdict(self, node: NodeKey, wall: int) -> Verdict:
            judged.append(node)
            return original(node, wall)

    counting = Counting(desk.mesh, desk.replica, desk.chain)
    counting.update(desk.replica, WALL)
    judged.clear()
    desk.replica.add(NOTARY.read(crowd[7].record(9).raw))  # type: ignore[arg-type]
    counting.update([crowd[7].key], WALL)
    assert judged == [crowd[7].key]


def test_who_expires_goes_at_its_time_and_not_before() -> None:
    node = MESH.founder("short", given=grant(expires=WALL + 100))
    desk = desk_with(FOUNDER, node)
    assert desk.roster.next_expiry == WALL + 100
    assert not desk.roster.expire(WALL + 99)
    assert desk.roster.expire(WALL + 100)
    assert set(desk.members) == {FOUNDER.key}
    assert desk.roster.expire(WALL + 50)
    assert set(desk.members) == {FOUNDER.key, node.key}


def test_an_invite_is_void_once_a_user_was_evicted() -> None:
    invite = MESH.invite("many", uses=9)
    user = MESH.joined("user", invite, FOUNDER)
    desk = desk_with(FOUNDER, user)
    assert not desk.roster.void(invite.document.hash)
    desk.take([MESH.evict(user).raw, user.leave(9, serial=9).raw])
    assert desk.roster.void(invite.document.hash)
