"""The ledger: a fork is worth a ledger of its own, and costs next to nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from smeg.intake import MAX_PACES
from smeg.ledger import Ledger
from smeg.roster import Roster
from smeg.wire import MAX_PAYLOAD, unpack
from tests.builders import DAY, NOTARY, QUICK, WALL, Desk, MadeMesh, grant, universe

MESH = MadeMesh("ledger")
FOUNDER = MESH.founder()
ORDERS = st.lists(st.sampled_from(range(len(universe().statements))), max_size=25)


def taken(made: Desk, order: Iterable[int]) -> Desk:
    for index in order:
        document, papers = universe().statements[index]
        made.take([*papers, document.raw])
    return made


def same(one: Desk, other: Desk) -> None:
    """Whatever can be asked of a ledger has the same answer in both."""
    assert one.replica == other.replica
    assert list(one.replica) == list(other.replica)
    assert one.replica.digest.of() == other.replica.digest.of()
    assert one.everything() == other.everything()
    assert list(one.members.items()) == list(other.members.items())
    assert list(one.roster.quarantined.items()) == list(other.roster.quarantined.items())
    assert one.roster.next_expiry == other.roster.next_expiry
    for node in one.replica:
        assert one.roster.get(node) == one.members.get(node)
        assert one.roster.verdict(node, WALL) == other.roster.verdict(node, WALL)
    for key in universe().by_credential():
        assert one.chain.standing(key) == other.chain.standing(key)
    for label, uses in (("one", 1), ("three", 3), ("late", 9)):
        invite = universe().mesh.invite(label, uses).document.hash
        assert one.chain.users(invite) == other.chain.users(invite)
        assert one.roster.void(invite) == other.roster.void(invite)
    assert one.ledger.repair.opening() == other.ledger.repair.opening()
    assert one.ledger.repair.documents(one.replica) == other.ledger.repair.documents(other.replica)


def fresh() -> Desk:
    return Desk(universe().mesh.id)


@QUICK
@given(ORDERS, ORDERS, ORDERS, ORDERS)
def test_forks_that_changed_are_what_ledgers_from_scratch_are(
    base: list[int], ours: list[int], theirs: list[int], later: list[int]
) -> None:
    origin = taken(fresh(), base)
    fork = origin.fork()
    same(origin, fork)
    taken(origin, ours)
    same(fork, taken(fresh(), base))
    taken(fork, theirs)
    third = taken(fork.fork(), later)
    same(origin, taken(fresh(), [*base, *ours]))
    same(fork, taken(fresh(), [*base, *theirs]))
    same(third, taken(fresh(), [*base, *theirs, *later]))


@QUICK
@given(ORDERS, ORDERS, st.integers(-20, 20))
def test_a_fork_judges_expiry_on_its_own(base: list[int], later: list[int], move: int) -> None:
    origin = taken(fresh(), base)
    fork = origin.fork()
    fork.roster.expire(WALL + move)
    same(origin, taken(fresh(), base))
    taken(fork, later)
    anew = Roster(fork.mesh, fork.replica, fork.chain)
    anew.update(fork.replica, WALL)
    fork.roster.update(fork.replica, WALL)
    assert fork.members == anew.members


def test_a_fork_of_a_large_ledger_is_small_and_so_is_what_one_change_adds() -> None:
    invite = MESH.invite("crowd", uses=300)
    crowd = [MESH.joined(f"crowd {index}", invite, FOUNDER) for index in range(300)]
    origin = Ledger(MESH.id, NOTARY)
    for node in crowd:
        origin.take(node.documents(), WALL)
    origin.replica.digest.of()
    newer = crowd[7].record(2).raw
    NOTARY.read(newer)
    assert len(origin.roster.members) == 301 - 1
    origin.fork().take([newer], WALL)
    tracemalloc.start()
    forks = [origin.fork() for _ in range(100)]
    each = tracemalloc.get_traced_memory()[0] / len(forks)
    for fork in forks:
        fork.take([newer], WALL)
        assert len(fork.roster.members) == 300
        fork.replica.digest.of()
    changed = tracemalloc.get_traced_memory()[0] / len(forks)
    tracemalloc.stop()
    assert each < 3 * 1024
    assert changed < 12 * 1024
    assert {fork.roster.members[crowd[7].key].record.counter for fork in forks} == {2}
    assert origin.roster.members[crowd[7].key].record.counter == 1


def test_every_payload_of_a_repair_can_be_used_when_those_before_it_were() -> None:
    """A node certificate without its countersignature would be forgotten, and all that rests on it asked for."""
    invite = MESH.invite("line", uses=200)
    made, node = Desk(MESH.id), FOUNDER
    for index in range(200):
        node = MESH.joined(f"line {index}", invite, replace(node, papers=node.papers[-1:]))
        made.take([*FOUNDER.certificates, *node.certificates, node.record().raw])
    payloads = made.ledger.repair.documents(made.replica)
    assert len(payloads) > 2
    assert all(len(payload) <= MAX_PAYLOAD for payload in payloads)
    joiner = Desk(MESH.id)
    for payload in payloads:
        assert not joiner.take(unpack(payload)[1]).incomplete
    same(made, joiner)


def test_the_members_of_a_ledger_are_one_table_until_they_change() -> None:
    made = Desk(MESH.id)
    made.take(FOUNDER.documents())
    before, fork = made.members, made.fork()
    made.take(FOUNDER.documents())
    assert made.members is before
    assert fork.members is before
    other = MESH.founder("other", given=grant(expires=WALL + DAY))
    made.take(other.documents())
    assert list(made.members) == sorted([FOUNDER.key, other.key])
    assert list(before) == list(fork.members) == [FOUNDER.key]


def test_how_much_an_author_sent_is_remembered_for_some_and_not_for_long() -> None:
    invite = MESH.invite("authors", uses=40)
    authors = [MESH.joined(f"author {index}", invite, FOUNDER) for index in range(40)]
    made = Desk(MESH.id)
    for author in authors:
        made.intake.take(author.documents(), 0.0)
    paces = made.intake._paces
    assert len(paces) == 0, "what is new is not too fast"
    made.intake.take([author.record(2).raw for author in authors], 0.0)
    assert len(paces) == 40 <= MAX_PACES
    made.intake.take([FOUNDER.record(1).raw, authors[0].record(3).raw], 10.0)
    made.intake.take([FOUNDER.record(2).raw], 20.0)
    assert len(paces) == 1, "that of who came last"
