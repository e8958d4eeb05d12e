"""From raw documents to the replica: what counts, what is refused under which code, and that nothing else happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.documents import Document, Kind, seal
from smeg.records import MAX_STEP, OwnRecord, seal_evict, seal_leave, seal_record
from tests.builders import NOTARY, QUICK, WALL, Desk, MadeMesh, grant, universe

MESH = MadeMesh("intake")
FOUNDER = MESH.founder()
INVITE = MESH.invite("many", uses=5)
GUEST = MESH.joined("guest", INVITE, FOUNDER)
EVERYTHING = sorted({raw for document, papers in universe().statements for raw in (*papers, document.raw)})


def desk() -> Desk:
    made = Desk(MESH.id)
    made.take([*FOUNDER.documents(2), *GUEST.documents(2)])
    return made


def refused(made: Desk, *documents: bytes) -> dict[str, int]:
    """The codes with which documents are refused, after which everything is as it was."""
    before, counted = made.everything(), made.intake.refused.copy()
    taken = made.take(documents)
    assert not taken.changed
    assert not taken.certificates
    assert made.everything() == before
    return dict(made.intake.refused - counted)


def test_what_counts_is_told_once_with_its_certificates() -> None:
    made = Desk(MESH.id)
    taken = made.take(GUEST.documents())
    assert set(taken.changed) == taken.first_seen == {GUEST.key}
    assert taken.certificates == GUEST.certificates
    again = made.take(GUEST.documents())
    assert [again.changed, again.certificates, again.first_seen, again.obsolete] == [{}, [], set(), []]


def test_a_newer_record_makes_the_older_obsolete_and_a_replayed_one_nothing() -> None:
    made = desk()
    newer = GUEST.record(7)
    assert made.take([newer.raw]).obsolete == [GUEST.record(2).hash]
    digest = made.replica.digest.of()
    assert refused(made, GUEST.record(2).raw) == {}
    assert made.replica.digest.of() == digest


def test_two_records_with_one_counter_raise_an_alarm_on_every_replica() -> None:
    twins = [GUEST.record(5), GUEST.record(5, OwnRecord("twin"))]
    winners = set()
    for order in (twins, twins[::-1]):
        made = desk()
        alarms = [problem.code for document in order for problem in made.take([document.raw]).alarms]
        assert alarms == ["double-counter"]
        winners.add(made.members[GUEST.key].record.document.raw)
    assert winners == {min(twins, key=lambda document: document.hash).raw}


def test_a_record_that_its_node_did_not_sign_is_refused() -> None:
    forged = seal_record(MESH.id, OwnRecord("x"), 9, GUEST.credential, FOUNDER.identity, GUEST.key)
    assert refused(desk(), forged.raw) == {"bad-signature": 1}


def test_a_record_under_another_nodes_credential_is_refused() -> None:
    borrowed = seal_record(MESH.id, OwnRecord("x"), 9, FOUNDER.credential, GUEST.identity, GUEST.key)
    assert refused(desk(), borrowed.raw) == {"wrong-credential": 1}


def test_a_record_whose_counter_leaps_is_refused_and_its_author_goes_on() -> None:
    made = desk()
    assert refused(made, GUEST.record(3 + MAX_STEP).raw) == {"counter-step": 1}
    made.take([GUEST.record(3).raw])
    assert made.members[GUEST.key].record.counter == 3


def test_a_record_whose_certificates_are_missing_is_asked_for() -> None:
    made = Desk(MESH.id)
    for absent in range(len(GUEST.certificates)):
        papers = [raw for at, raw in enumerate(GUEST.certificates) if at != absent]
        taken = made.take([*papers, GUEST.record().raw])
        if taken.incomplete:
            assert taken.incomplete == {GUEST.key}
            assert made.members == {}


def test_only_an_admin_evicts() -> None:
    made = desk()
    by_member = seal_evict(MESH.id, FOUNDER.key, 1, MESH.admin, GUEST.identity, frozenset(), "")
    assert refused(made, by_member.raw) == {"bad-signature": 1}
    by_certificate = seal_evict(MESH.id, FOUNDER.key, 1, GUEST.papers[-1], GUEST.identity, frozenset(), "")
    assert refused(made, by_certificate.raw) == {"malformed": 1}
    by_other = MadeMesh("other")
    assert refused(made, by_other.admin.raw, by_other.evict(FOUNDER).raw) == {"wrong-mesh": 2}


def test_only_the_node_itself_leaves() -> None:
    made = desk()
    for_another = seal_leave(MESH.id, FOUNDER.key, 1, 9, GUEST.identity)
    assert refused(made, for_another.raw) == {"bad-signature": 1}
    assert refused(Desk(MESH.id), GUEST.leave(5).raw) == {"unknown-node": 1}


def test_a_leave_counts_although_it_comes_before_the_record_in_one_message() -> None:
    made = Desk(MESH.id)
    made.take([GUEST.leave(5).raw, *GUEST.documents(4)])
    assert made.members == {}
    made.take([GUEST.record(6).raw])
    assert GUEST.key in made.members


def test_an_evict_of_somebody_unknown_waits_for_it() -> None:
    made = Desk(MESH.id)
    made.take([MESH.admin.raw, MESH.evict(GUEST).raw])
    made.take(GUEST.documents())
    assert made.members == {}


def test_one_bad_document_does_not_spoil_the_rest_of_its_message() -> None:
    made = Desk(MESH.id)
    made.take([b"", b"x" * 100, *FOUNDER.certificates, bytes(64) + b"{}", FOUNDER.record().raw])
    assert set(made.members) == {FOUNDER.key}
    assert made.intake.refused == {"malformed": 2, "unknown-kind": 1}


def test_node_certificates_without_countersignature_are_neither_kept_nor_stored() -> None:
    made = desk()
    flood = [MESH.certificate(f"flood {index}", INVITE).raw for index in range(10)]
    assert refused(made, *flood) == {}
    fields = seal_record(
        MESH.id, OwnRecord("x"), 9, MESH.certificate("flood 1", INVITE).hash, GUEST.identity, GUEST.key
    )
    assert refused(made, *flood, fields.raw) == {"no-credential": 1}


def test_a_broader_certificate_is_refused_by_its_name() -> None:
    broad = MESH.joined("broad", INVITE, FOUNDER, given=grant(prefixes=("2001::/16",)))
    assert refused(desk(), *broad.documents())["too-broad"] >= 1


def test_a_document_of_a_future_kind_is_refused_alone() -> None:
    body = seal(Kind.RECORD, MESH.id, {}, GUEST.identity).raw.replace(b'"record"', b'"future"')
    assert refused(desk(), body) == {"unknown-kind": 1}


@QUICK
@given(st.lists(st.sampled_from(range(len(EVERYTHING))), max_size=60), st.integers(1, 7))
def test_documents_in_any_order_and_any_portions_come_to_the_same_in_the_end(order: list[int], portion: int) -> None:
    """Whatever came first and was of no use then, the other side still has."""
    made, other = Desk(universe().mesh.id), Desk(universe().mesh.id)
    for at in range(0, len(order), portion):
        made.take(EVERYTHING[index] for index in order[at : at + portion])
    other.take(EVERYTHING[index] for index in order)
    for _ in range(2):
        made.take(other.everything())
        other.take(made.everything())
    assert made.replica == other.replica
    assert made.members == other.members


@QUICK
@given(st.lists(st.sampled_from(universe().statements), max_size=25))
def test_a_replica_that_is_kept_on_disk_comes_back_the_same(
    order: list[tuple[Document, tuple[bytes, ...]]],
) -> None:
    """What is told as new and not as obsolete is all that is needed."""
    made, disk = Desk(universe().mesh.id), dict[bytes, bytes]()
    for document, papers in order:
        taken = made.take([*papers, document.raw])
        statements = [s.document.raw for found in taken.changed.values() for s in found]
        for raw in (*taken.certificates, *statements):
            disk[NOTARY.read(raw).document.hash] = raw
        for obsolete in taken.obsolete:
            del disk[obsolete]
    again = Desk(universe().mesh.id)
    again.take(sorted(disk.values()))
    assert again.replica == made.replica
    assert again.members == made.members


@pytest.mark.parametrize("wall", [WALL, WALL + 301 * 24 * 3600])
def test_expiry_is_judged_when_asked_and_not_by_what_is_kept(wall: int) -> None:
    made = Desk(MESH.id)
    made.take(GUEST.documents(), wall)
    assert (GUEST.key in made.members) == (wall == WALL)
    assert GUEST.key in made.replica.records
