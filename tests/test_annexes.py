"""What a node says beside its record: the documents, and which of them count when they come in any order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smeg import replica as replica_module
from smeg.allowance import Allowances
from smeg.annexes import MAX_AHEAD, MAX_LABEL, Annex, seal_annex
from smeg.documents import Document, Kind, encode, read, seal
from smeg.errors import LocalError, RemoteError
from smeg.intake import ANNEX_BYTES_RATE, ANNEXES_BURST
from smeg.records import OwnRecord, Record, Remove
from smeg.replica import Outcome, Replica
from tests.builders import NOTARY, QUICK, WALL, Desk, MadeMesh, Node, annex_of, record_of, remove_of

MESH = MadeMesh("annexes")
FOUNDER = MESH.founder()
GUEST = MESH.joined("guest", MESH.invite("guest"), FOUNDER)


def standing_at(node: Node, counter: int, floor: int) -> Document:
    return node.record(counter, OwnRecord(node.label, floor=floor))


# Documents.


@QUICK
@given(st.text(min_size=1, max_size=40).filter(str.isprintable), st.integers(1, 2**40), st.binary(max_size=3000))
def test_what_was_sealed_is_read(label: str, counter: int, body: bytes) -> None:
    document = GUEST.annex(label, counter, body)
    found = NOTARY.read(document.raw)
    assert isinstance(found, Annex)
    assert (found.mesh, found.hash, found.raw) == (MESH.id, document.hash, document.raw)
    assert (found.node, found.label, found.counter, found.body) == (GUEST.key, label, counter, body)
    assert NOTARY.signed(found, GUEST.key)
    assert not NOTARY.signed(found, FOUNDER.key)


@pytest.mark.parametrize(
    ("label", "body", "code"),
    [
        ("", b"", "annex-label"),
        ("x" * (MAX_LABEL + 1), b"", "annex-label"),
        ("é" * (MAX_LABEL // 2 + 1), b"", "annex-label"),
        ("line\nbreak", b"", "annex-label"),
        ("large", bytes(6000), "annex-too-large"),
    ],
)
def test_what_nobody_would_read_is_not_sealed(label: str, body: bytes, code: str) -> None:
    with pytest.raises(LocalError) as refused:
        GUEST.annex(label, 1, body)
    assert refused.value.problem.code == code
    assert refused.value.problem.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": ""},
        {"label": "x" * (MAX_LABEL + 1)},
        {"label": "a\x1b[2J"},
        {"label": 7},
        {"body": "?"},
        {"body": "é"},
        {"body": 7},
        {"body": "A" * 9000},
        {"counter": 0},
        {"counter": 2**53},
        {"counter": True},
        {"node": encode(bytes(32))},
        {"node": "short"},
    ],
)
def test_an_annex_that_is_malformed_is_refused(wrong: dict[str, object]) -> None:
    fields = {"node": encode(GUEST.key), "label": "x", "counter": 1, "body": encode(b"said"), **wrong}
    with pytest.raises(RemoteError):
        NOTARY.read(seal(Kind.ANNEX, MESH.id, fields, GUEST.identity).raw)


def test_a_record_without_a_floor_is_written_as_ever() -> None:
    assert b"floor" not in GUEST.record(3).raw
    assert record_of(GUEST.record(3)).floor == 0
    assert record_of(standing_at(GUEST, 3, 2)).floor == 2


# Merging.

NODES = tuple(MESH.founder(f"author {number}") for number in range(3))
FEW = 5
"""Labels of one node that there is room for here."""


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "MAX_ANNEXES", FEW)


Said = Record | Remove | Annex


@cache
def everything() -> tuple[Said, ...]:
    """Of each node records whose floors rise, annexes under more labels than there is room for, some with counters that
    were given twice, withdrawals, and an end."""
    said: list[Said] = []
    for node in NODES:
        said += [record_of(standing_at(node, counter, floor)) for counter, floor in ((1, 0), (8, 4), (15, 9))]
        for counter in range(1, 18):
            label = f"label {counter * 5 % 8}"
            said.append(annex_of(node.annex(label, counter, b"" if counter % 4 == 0 else b"said")))
            if counter % 3 == 0:
                said.append(annex_of(node.annex(label, counter, b"twin")))
                said.append(annex_of(node.annex(f"other {label}", counter)))
    said += [remove_of(NODES[0].leave(20)), remove_of(MESH.evict(NODES[1]))]
    return tuple(said)


SUBSETS = st.lists(st.sampled_from(range(len(everything()))), max_size=60)


def offer(made: Replica, said: Said) -> Outcome:
    match said:
        case Record():
            return made.add(said)
        case Remove():
            return made.remove(said)
        case Annex():
            return made.attach(said)


def replica(which: Sequence[int]) -> Replica:
    made = Replica()
    for index in which:
        offer(made, everything()[index])
    return made


def merged(*replicas: Replica) -> Replica:
    made = Replica()
    for other in replicas:
        made.merge(other)
    return made


@QUICK
@given(SUBSETS, SUBSETS, SUBSETS)
def test_merge_is_commutative_associative_and_idempotent(one: list[int], two: list[int], three: list[int]) -> None:
    a, b, c = replica(one), replica(two), replica(three)
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(a, a) == a == merged(a, Replica())


@QUICK
@given(SUBSETS.flatmap(lambda which: st.tuples(st.just(which), st.permutations(which * 2))))
def test_order_and_duplication_leave_no_trace(orders: tuple[list[int], list[int]]) -> None:
    first, second = replica(orders[0]), replica(orders[1])
    assert first == second
    assert first.digest.of() == second.digest.of()


@QUICK
@given(SUBSETS, SUBSETS)
def test_digests_are_equal_exactly_when_replicas_are(one: list[int], two: list[int]) -> None:
    a, b = replica(one), replica(two)
    assert (a.digest.of() == b.digest.of()) == (a == b)


@QUICK
@given(SUBSETS)
def test_of_each_label_the_newest_counts_if_it_is_above_the_floor_and_among_the_newest(which: list[int]) -> None:
    made = replica(which)
    offered = [everything()[index] for index in which]
    for node in NODES:
        records = [said for said in offered if isinstance(said, Record) and said.node == node.key]
        floor = max((record.floor for record in records), default=0)
        newest: dict[str, Annex] = {}
        for said in offered:
            if isinstance(said, Annex) and said.node == node.key and said.counter >= floor:
                known = newest.get(said.label)
                newest[said.label] = said if known is None or said.order > known.order else known
        kept = sorted(newest.values(), key=lambda annex: annex.order)[-FEW:]
        assert {annex.hash for annex in made.said(node.key)} == {annex.hash for annex in kept}
        assert (node.key in made.annexes) == bool(kept)


@QUICK
@given(SUBSETS, SUBSETS)
def test_a_fork_changes_on_its_own(base: list[int], later: list[int]) -> None:
    origin = replica(base)
    fork = origin.fork()
    for index in later:
        offer(fork, everything()[index])
    assert origin == replica(base)
    assert fork == replica([*base, *later])
    assert fork.digest.of() == replica([*base, *later]).digest.of()


@QUICK
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=6), st.lists(st.integers(1, 12), max_size=12))
def test_replicas_agree_in_the_end_about_a_node_whose_floor_sinks_too(
    floors: list[tuple[int, int]], counters: list[int]
) -> None:
    said: list[Said] = [record_of(standing_at(GUEST, counter, floor)) for counter, floor in floors]
    said += [annex_of(GUEST.annex(f"label {counter % 7}", counter)) for counter in counters]
    one, other = Replica(), Replica()
    for statement in said:
        offer(one, statement)
    for statement in reversed(said):
        offer(other, statement)
    for _ in range(2):
        one.merge(other)
        other.merge(one)
    assert one == other


def test_a_node_without_annexes_has_the_digest_that_it_would_have_if_there_were_none() -> None:
    plain, voided = Replica(), Replica()
    record = record_of(standing_at(GUEST, 9, 5))
    plain.add(record)
    voided.attach(annex_of(GUEST.annex("x", 4)))
    assert voided.digest.of() != plain.digest.of()
    voided.add(record)
    assert voided.digest.of() == plain.digest.of()


def test_a_withdrawn_label_stays_withdrawn_until_the_floor_passes_it() -> None:
    made = Replica()
    for document in (GUEST.annex("x", 2), GUEST.annex("x", 3, b""), GUEST.annex("x", 2)):
        made.attach(annex_of(document))
    assert [annex.body for annex in made.said(GUEST.key)] == [b""]
    made.add(record_of(standing_at(GUEST, 5, 4)))
    assert made.said(GUEST.key) == []
    assert made.attach(annex_of(GUEST.annex("x", 2))) is Outcome.OLDER


# What is taken in.


def desk() -> Desk:
    made = Desk(MESH.id)
    made.take([*FOUNDER.documents(), *GUEST.documents()])
    return made


def refused(made: Desk, *documents: bytes, now: float | None = None) -> dict[str, int]:
    digest = made.replica.digest.of()
    made.ledger.take(documents, WALL, now)
    assert made.replica.digest.of() == digest
    return dict(made.intake.refused)


def test_an_annex_counts_and_tells_what_it_replaces() -> None:
    made = desk()
    first, second = GUEST.annex("x", 2), GUEST.annex("x", 3, b"more")
    taken = made.take([first.raw])
    assert [annex.raw for annex in taken.annexes] == [first.raw]
    assert (taken.obsolete, taken.changed) == ([], {})
    taken = made.take([second.raw, first.raw])
    assert [annex.raw for annex in taken.annexes] == [second.raw]
    assert taken.obsolete == [first.hash]
    assert made.take([first.raw, second.raw]).annexes == []


def test_an_annex_that_its_node_did_not_sign_is_refused() -> None:
    forged = seal_annex(MESH.id, GUEST.key, "x", 2, b"said", FOUNDER.identity)
    assert refused(desk(), forged.raw) == {"bad-signature": 1}


def test_an_annex_of_another_mesh_is_refused() -> None:
    assert refused(desk(), MadeMesh("elsewhere").founder().annex("x").raw) == {"wrong-mesh": 1}


def test_an_annex_of_somebody_unknown_waits_for_its_record() -> None:
    made = Desk(MESH.id)
    annex = GUEST.annex("x")
    taken = made.take([annex.raw])
    assert (taken.annexes, taken.waiting) == ([], [annex.raw])
    taken = made.take([annex.raw, *FOUNDER.documents(), *GUEST.documents()])
    assert [found.raw for found in taken.annexes] == [annex.raw]


def test_an_annex_whose_counter_leaps_is_refused_and_its_author_goes_on() -> None:
    made = desk()
    assert refused(made, GUEST.annex("x", MAX_AHEAD + 2).raw) == {"counter-step": 1}
    made.take([GUEST.annex("x", MAX_AHEAD + 1).raw, GUEST.record(MAX_AHEAD + 2).raw])
    assert made.members[GUEST.key].record.counter == MAX_AHEAD + 2
    assert len(made.replica.said(GUEST.key)) == 1


def test_two_annexes_with_one_counter_are_reported_once_and_the_lower_hash_wins_in_any_order() -> None:
    twins = [GUEST.annex("x", 5), GUEST.annex("x", 5, b"twin")]
    for order in (twins, twins[::-1]):
        made = desk()
        alarms = [problem.code for document in (*order, *order) for problem in made.take([document.raw]).alarms]
        assert alarms == ["double-counter"]
        assert [annex.hash for annex in made.replica.said(GUEST.key)] == [min(twin.hash for twin in twins)]


def test_what_a_new_floor_voids_is_obsolete() -> None:
    made = desk()
    old = [GUEST.annex("a", 2), GUEST.annex("b", 3)]
    new = GUEST.annex("a", 5)
    made.take([document.raw for document in (*old, new)])
    record = GUEST.record(6, OwnRecord("guest", floor=4))
    assert set(made.take([record.raw]).obsolete) == {old[1].hash, GUEST.record().hash}
    assert [annex.raw for annex in made.replica.said(GUEST.key)] == [new.raw]


def test_a_flood_of_annexes_is_taken_in_up_to_a_bound_and_starves_neither_its_author_nor_others() -> None:
    made = desk()
    flood = [GUEST.annex("x", counter).raw for counter in range(2, 1500)]
    for raw in flood:
        made.ledger.take([raw], WALL, 1.0)
    assert made.intake.refused == {"author-rate": len(flood) - int(ANNEXES_BURST)}
    assert made.ledger.take([FOUNDER.annex("x", 2).raw, GUEST.record(2).raw], WALL, 1.0).annexes
    assert made.members[GUEST.key].record.counter == 2
    made.ledger.take([flood[-1]], WALL, 2.0)
    assert [annex.raw for annex in made.replica.said(GUEST.key)] == [flood[-1]]


def test_large_annexes_are_taken_in_more_slowly_than_small_ones() -> None:
    made = desk()
    flood = [GUEST.annex("x", counter, bytes(5500)).raw for counter in range(2, 40)]
    made.ledger.take([flood[0]], WALL, 1.0)
    made.intake._annex_bytes = Allowances(ANNEX_BYTES_RATE, 4 * len(flood[0]), None, 9)
    for raw in flood[1:]:
        made.ledger.take([raw], WALL, 1.0)
    assert made.intake.refused == {"author-rate": len(flood) - 5}
    made.ledger.take([flood[-1]], WALL, 2.0)
    assert [annex.raw for annex in made.replica.said(GUEST.key)] == [flood[-1]]


@pytest.mark.parametrize("evicted", [True, False])
@pytest.mark.parametrize("order", [1, -1])
def test_of_who_was_removed_nothing_is_kept_whatever_came_first(order: int, evicted: bool) -> None:
    made = desk()
    remove = MESH.evict(GUEST) if evicted else GUEST.leave(9)
    documents = [GUEST.annex("x", 2), GUEST.annex("y", 3), remove]
    obsolete: list[bytes] = []
    for document in documents[::order]:
        obsolete += made.take([document.raw]).obsolete
    assert GUEST.key not in made.replica.annexes
    assert set(obsolete) == ({documents[0].hash, documents[1].hash} if order == 1 else set())
    assert made.replica.digest.of() == desk_with(remove).replica.digest.of()


def desk_with(remove: Document) -> Desk:
    made = desk()
    made.take([remove.raw])
    return made


def test_who_comes_back_may_say_something_again() -> None:
    made = desk_with(MESH.evict(GUEST))
    again = MESH.joined("guest", MESH.invite("again"), FOUNDER, serial=2)
    made.take([*again.certificates, again.record(5, OwnRecord("guest", floor=5)).raw])
    made.take([GUEST.annex("x", 2).raw, GUEST.annex("x", 6).raw])
    assert [annex.counter for annex in made.replica.said(GUEST.key)] == [6]


@QUICK
@given(st.lists(st.integers(0, 7), max_size=20))
@example([0, 4, 6, 0])
@example([0, 5, 6, 0])
def test_what_came_lately_is_passed_over_and_the_replica_is_as_if_it_were_not(which: list[int]) -> None:
    again = MESH.joined("guest", MESH.invite("again"), FOUNDER, serial=2)
    parts: list[list[bytes]] = [
        *([annex.raw] for annex in (GUEST.annex("x", 2), GUEST.annex("x", 3), GUEST.annex("x", 3, b"twin"))),
        [GUEST.annex("y", 7).raw],
        [GUEST.leave(5).raw],
        [MESH.evict(GUEST).raw],
        [*again.certificates, again.record(6, OwnRecord("guest")).raw],
        [*again.certificates, again.record(7, OwnRecord("guest", floor=3)).raw],
    ]
    lately, anew = desk(), desk()
    for place, number in enumerate(which):
        # Half a second apart, so that nobody says too much.
        lately.ledger.take(parts[number], WALL, place / 2)
        anew.take(parts[number])
    assert lately.replica.digest.of() == anew.replica.digest.of()


def test_what_others_forge_in_an_authors_name_does_not_use_its_allowance_up() -> None:
    made = desk()
    forged = seal_annex(MESH.id, GUEST.key, "x", 2, b"said", FOUNDER.identity).raw
    for _ in range(int(ANNEXES_BURST) + 10):
        made.ledger.take([forged], WALL, 1.0)
    assert made.ledger.take([GUEST.annex("x", 2).raw], WALL, 1.0).annexes


def test_more_labels_than_there_is_room_for_leave_the_newest_and_nothing_on_disk_of_the_rest() -> None:
    made = desk()
    documents = [GUEST.annex(f"label {counter}", counter) for counter in range(2, 20)]
    taken = made.take([document.raw for document in documents])
    kept = [annex.raw for annex in made.replica.said(GUEST.key)]
    assert kept == [document.raw for document in documents[-FEW:]]
    assert [annex.raw for annex in taken.annexes] == kept


@QUICK
@given(st.lists(st.sampled_from(everything()), max_size=50), st.integers(1, 7))
def test_what_is_kept_on_disk_comes_back_the_same(order: list[Said], portion: int) -> None:
    """What is told as new and not as obsolete is all that is needed."""
    made, disk = Desk(MESH.id), dict[bytes, bytes]()
    papers = [raw for node in NODES for raw in node.certificates]
    for at in range(0, len(order), portion):
        taken = made.take([*papers, *(said.raw for said in order[at : at + portion])])
        for obsolete in taken.obsolete:
            disk.pop(obsolete, None)
        new = [said.raw for found in taken.changed.values() for said in found]
        new += [*taken.certificates, *(annex.raw for annex in taken.annexes)]
        disk.update((read(raw).hash, raw) for raw in new)
    again = Desk(MESH.id)
    again.take(sorted(disk.values()))
    assert again.replica == made.replica
    assert sorted(disk.values()) == sorted(made.everything())
