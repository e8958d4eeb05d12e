"""This node's own annexes: everybody comes to hold exactly what it wants to say, whatever it forgets in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg import own_annexes
from smeg.annexes import MAX_ANNEXES, Annex, read_annex
from smeg.documents import read
from smeg.members import Members
from smeg.own_annexes import MAX_WITHDRAWN, MOST, OwnAnnexes
from smeg.own_offers import AFTER_START, AFTER_SURPRISE, APART, OwnOffers
from smeg.own_record import OwnRecordWriter
from smeg.records import OwnRecord, Record
from smeg.replica import Replica
from smeg.ways import Hop, Offer, Way
from tests.builders import QUICK, Desk, MadeMesh, record_of

MESH = MadeMesh("own annexes")
NODE = MESH.founder()
DESK = Desk(MESH.id)
DESK.take(NODE.documents())
MEMBER = DESK.members[NODE.key]
STANDING = MEMBER.standing


class Author:
    """A node, what it has on its disk, and a replica elsewhere that hears all that it publishes."""

    def __init__(self) -> None:
        self.elsewhere = Replica()
        self.disk: list[Annex] = []
        self.records: list[Record] = []
        self.counters: list[int] = []
        self.start()
        self.write_record()

    def start(self) -> None:
        self.record = OwnRecordWriter(MESH.id, NODE.identity, OwnRecord("own"), STANDING)
        if self.records:
            self.record.resume(self.records[-1])
        self.own = OwnAnnexes(MESH.id, NODE.identity, self.record, self.disk)

    def lose_everything(self, random: Random) -> None:
        """As after a loss of the database, once others have told what they know, and that is on disk again."""
        self.disk, self.records = [], []
        self.start()
        self.record.lost(random)
        self.own = OwnAnnexes(MESH.id, NODE.identity, self.record)
        self.write_record()
        self.record.see(Members.of({NODE.key: replace(MEMBER, record=self.elsewhere.records[NODE.key])}))
        self.write_record()
        self.own.see(self.elsewhere.said(NODE.key))
        self.disk += self.elsewhere.said(NODE.key)

    def write_record(self) -> None:
        document = self.record.revise()
        if document is not None:
            self.records.append(record_of(document))
            self.counters.append(self.records[-1].counter)
            self.elsewhere.add(self.records[-1])

    def want(self, bodies: Mapping[str, bytes]) -> list[Annex]:
        kept = {label: body for label, body in self.standing.items() if bodies.get(label) == body}
        written = [read_annex(read(raw)) for raw in self.own.want(bodies)]
        for annex in written:
            self.disk.append(annex)
            self.counters.append(annex.counter)
            self.elsewhere.attach(annex)
            held = self.elsewhere.annexes[NODE.key]
            assert all(label in held and held[label].body == kept[label] for label in kept), "at every moment"
        return written

    @property
    def standing(self) -> dict[str, bytes]:
        """What stands elsewhere."""
        return {annex.label: annex.body for annex in self.elsewhere.said(NODE.key) if annex.body}


BODIES = st.dictionaries(st.sampled_from([f"label {n}" for n in range(12)]), st.sampled_from([b"a", b"b"]), max_size=12)
EVENTS = st.lists(st.one_of(BODIES, st.sampled_from(["restart", "loss", "record"])), max_size=15)


@QUICK
@given(EVENTS, st.randoms(use_true_random=False))
def test_what_is_wanted_stands_everywhere_through_restarts_losses_and_floors(
    events: list[dict[str, bytes] | str], random: Random
) -> None:
    author = Author()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_annexes, "MAX_WITHDRAWN", 3)
        for event in events:
            match event:
                case "restart":
                    author.start()
                case "loss":
                    author.lose_everything(random)
                case "record":
                    author.write_record()
                case dict():
                    author.want(event)
                    assert author.standing == event
                    assert author.want(event) == [], "said once"
        author.write_record()
    wanted = [event for event in events if isinstance(event, dict)]
    assert author.standing == (wanted[-1] if wanted else {})
    if "loss" not in events:
        assert len(set(author.counters)) == len(author.counters), "no counter is given twice"


def test_only_what_differs_is_written() -> None:
    author = Author()
    author.want({"a": b"1", "b": b"2", "c": b"3"})
    written = author.want({"a": b"1", "b": b"changed", "d": b"4"})
    assert [(annex.label, annex.body) for annex in written] == [("c", b""), ("b", b"changed"), ("d", b"4")]


def test_many_withdrawals_raise_the_floor_and_leave_nothing_but_what_stands() -> None:
    author = Author()
    for number in range(MAX_WITHDRAWN):
        author.want({"stays": b"1", f"label {number}": b"1"})
    author.want({"stays": b"1"})
    assert not author.record.has_news()
    assert len(author.elsewhere.said(NODE.key)) == 1 + MAX_WITHDRAWN
    author.want({"stays": b"1", "last": b"1"})
    author.want({"stays": b"1"})
    assert author.record.has_news()
    author.write_record()
    assert author.records[-1].floor > 0
    assert [annex.label for annex in author.elsewhere.said(NODE.key)] == ["stays"]
    author.start()
    assert author.want({"stays": b"1"}) == []


def test_all_that_stands_may_change_at_once() -> None:
    author = Author()
    for generation in range(4):
        wanted = {f"{generation}/{number}": b"said" for number in range(MOST)}
        author.want(wanted)
        assert author.standing == wanted
        assert len(author.elsewhere.said(NODE.key)) <= MAX_ANNEXES
    author.write_record()
    assert len(author.elsewhere.said(NODE.key)) == MOST


def test_what_does_not_fit_is_said_once_and_withdrawn_and_the_rest_is_published() -> None:
    author = Author()
    author.want({"grows": b"small", "other": b"1"})
    for _ in range(2):
        author.want({"grows": bytes(8000), "other": b"2"})
    assert author.standing == {"other": b"2"}
    assert [problem.code for problem in author.own.problems] == ["annex-too-large"]


# When.

PREFIX = IPv6Network("2001:db8:1::/48")
OFFERED = m.OffersChanged(MESH.id, 1, {PREFIX: Offer(PREFIX, (Way((Hop("", NODE.key, 0, 3),)),))}, {})
NOTHING = m.OffersChanged(MESH.id, 2, {}, {})


def known(*annexes: Annex) -> m.AnnexesChanged:
    return m.AnnexesChanged(MESH.id, 1, {NODE.key: {annex.label: annex for annex in annexes}})


def offers(*annexes: Annex, now: float = 0.0) -> tuple[OwnOffers, OwnRecordWriter]:
    made = OwnOffers(MESH.id, NODE.key, NODE.identity)
    record = OwnRecordWriter(MESH.id, NODE.identity, OwnRecord("own"), STANDING)
    made.begin(record, annexes, now)
    return made, record


def labels(documents: tuple[bytes, ...]) -> dict[str, bool]:
    """Whether something stands there from now on, by label."""
    return {annex.label: bool(annex.body) for annex in (read_annex(read(raw)) for raw in documents)}


OLD = read_annex(NODE.annex("offer:2001:db8:9::/48", 7))


def test_nothing_is_published_before_it_is_known_what_to_offer() -> None:
    made, _ = offers(OLD)
    made.hear(known(OLD, read_annex(NODE.annex("unheard of", 9))), 1.0)
    assert made.due() is None
    assert made.revise(1000.0) == ()


def test_what_is_offered_is_published_and_what_stood_on_disk_withdrawn_after_a_moment() -> None:
    made, record = offers(OLD)
    made.hear(OFFERED, 0.5)
    assert made.due() == AFTER_START
    assert made.revise(AFTER_START - 0.1) == ()
    assert labels(made.revise(AFTER_START)) == {OLD.label: False, f"offer:{PREFIX}": True}
    assert record.counter == OLD.counter + 2
    assert made.due() is None


def test_who_has_said_nothing_yet_need_not_wait_but_publications_lie_apart() -> None:
    made, _ = offers(now=5.0)
    made.hear(OFFERED, 5.0)
    assert labels(made.revise(5.0)) == {f"offer:{PREFIX}": True}
    made.hear(NOTHING, 5.01)
    assert made.due() == pytest.approx(5.0 + APART)
    assert made.revise(5.05) == ()
    assert labels(made.revise(5.0 + APART)) == {f"offer:{PREFIX}": False}


def test_what_is_offered_again_as_before_is_not_published_again() -> None:
    made, _ = offers()
    made.hear(OFFERED, 0.0)
    documents = made.revise(0.0)
    made.hear(known(*(read_annex(read(raw)) for raw in documents)), 0.1)
    assert made.due() is None
    made.hear(OFFERED, 1.0)
    assert made.revise(1.0) == ()


@pytest.mark.parametrize("early", [True, False])
def test_who_lost_its_database_withdraws_what_others_still_know_of_it(early: bool) -> None:
    made = OwnOffers(MESH.id, NODE.key, NODE.identity)
    record = OwnRecordWriter(MESH.id, NODE.identity, OwnRecord("own"), STANDING)
    if early:
        made.hear(known(OLD), 0.0)
    made.begin(record, (), 0.0)
    made.hear(OFFERED, 0.0)
    made.revise(0.0)
    made.hear(known(OLD), 1.0)
    assert made.due() == (AFTER_START if early else 1.0 + AFTER_SURPRISE)
    withdrawn = labels(made.revise(10.0))
    assert withdrawn[OLD.label] is False
    assert record.counter > OLD.counter


def test_what_cannot_be_published_is_a_problem() -> None:
    made, _ = offers()
    made.hear(m.OffersChanged(MESH.id, 1, OFFERED.offers, {(MESH.id, NODE.key): (bytes(8000),)}), 0.0)
    assert labels(made.revise(0.0)) == {f"offer:{PREFIX}": True}
    assert [problem.code for problem in made.take_problems()] == ["annex-too-large"]
    assert made.take_problems() == []


def test_more_than_there_is_room_for_is_said_once_and_the_rest_is_published() -> None:
    made, _ = offers()
    behind = list(IPv6Network("2001:db8::/32").subnets(new_prefix=43))[: MOST + 5]
    ways = (Way((Hop("", NODE.key, 0, 3),)),)
    codes: list[str] = []
    for turn in (0, 1):
        made.hear(
            m.OffersChanged(MESH.id, 3 + turn, {prefix: Offer(prefix, ways) for prefix in behind[turn:]}, {}), turn
        )
        published = labels(made.revise(float(turn)))
        codes += [problem.code for problem in made.take_problems()]
        assert turn or 0 < len(published) <= MOST
    assert codes == ["too-many-offers"]
