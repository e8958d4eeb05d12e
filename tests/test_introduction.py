"""How a node that knows nobody makes itself known: few contacts at a time, all of them in the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.introduction import AGAIN, Introduction
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import read_record
from smeg.stored import Contact, StoredMesh
from tests.builders import Desk, MadeMesh

MESH = MadeMesh("introduction")
OWN = MESH.founder("own")
RECORD = read_record(OWN.record(1))
OTHERS = [MESH.founder(f"other {number}") for number in range(8)]
DESK = Desk(MESH.id)
for each in (OWN, *OTHERS):
    DESK.take(each.documents())
CONTACTS = tuple(Contact(DESK.members[each.key].standing.curve, ()) for each in OTHERS)


def known(count: int) -> Members:
    """This node, and so many of its contacts."""
    return Members.of({each.key: DESK.members[each.key] for each in (OWN, *OTHERS[:count])})


def stored(contacts: tuple[Contact, ...]) -> StoredMesh:
    return StoredMesh(MESH.id, "home", OWN.key, "smeg0", 51820, OWN.wireguard, tuple(OWN.certificates), contacts)


def asked(introduction: Introduction, contacts: tuple[Contact, ...], attempts: int) -> list[list[bytes]]:
    """Whom each attempt asks; whoever is, is dialled first."""
    mesh, found = stored(contacts), []
    for _ in range(attempts):
        at = introduction.next_deadline()
        assert at is not None
        assert introduction.tick(mesh, RECORD, at - 0.1) == []
        out = introduction.tick(mesh, RECORD, at)
        found.append([message.to for message in out if isinstance(message, m.SendGuest)])
        assert [message.curve for message in out if isinstance(message, m.Dial)] == found[-1]
        assert introduction.next_deadline() == at + AGAIN
    return found


@given(st.binary(min_size=32, max_size=32), st.integers(0, 8))
def test_one_is_asked_then_two_then_four_and_none_twice_before_all_were(own: bytes, count: int) -> None:
    introduction = Introduction(NodeKey(own))
    introduction.begin(10.0, welcomed=False)
    rounds = asked(introduction, CONTACTS[:count], 6)
    assert [len(each) for each in rounds] == [min(2**attempt, count) for attempt in range(6)]
    said = [curve for each in rounds for curve in each][:count]
    assert len(set(said)) == count


def test_who_was_just_let_in_asks_first_who_did_it_and_others_spread() -> None:
    def first(own: bytes, welcomed: bool) -> bytes:
        introduction = Introduction(NodeKey(own))
        introduction.begin(10.0, welcomed)
        return asked(introduction, CONTACTS, 1)[0][0]

    keys = [bytes([number]) * 32 for number in range(64)]
    assert {first(key, welcomed=True) for key in keys} == {CONTACTS[0].curve}
    assert {first(key, welcomed=False) for key in keys} == {contact.curve for contact in CONTACTS}


def begun(welcomed: bool) -> Introduction:
    introduction = Introduction(OWN.key)
    introduction.begin(10.0, welcomed)
    return introduction


def over(introduction: Introduction) -> bool:
    return introduction.next_deadline() is None and introduction.tick(stored(CONTACTS), RECORD, 99.0) == []


def test_who_knows_half_of_its_contacts_asks_nobody_more() -> None:
    introduction = begun(welcomed=False)
    introduction.hear(known(3), CONTACTS)
    assert not over(introduction)
    introduction.hear(known(4), CONTACTS)
    assert over(introduction)


def test_who_was_let_in_asks_nobody_more_as_soon_as_anybody_is_known() -> None:
    introduction = begun(welcomed=True)
    introduction.hear(known(1), CONTACTS)
    assert over(introduction)


def test_who_knows_few_of_its_contacts_asks_each_of_them_at_most_once_more() -> None:
    introduction = begun(welcomed=False)
    for _ in range(4):
        introduction.hear(known(1), CONTACTS)
        asked(introduction, CONTACTS, 1)
    introduction.hear(known(1), CONTACTS)
    assert over(introduction)
