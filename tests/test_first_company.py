"""A joiner's membership core: it says that it is not alone as soon as it knows, and of all the others once."""

from __future__ import annotations

from random import Random

from smeg import messages as m
from smeg.ledger import Ledger
from smeg.membership import Membership
from smeg.wire import Word, pack
from tests.builders import NOTARY, WALL, MadeMesh

MESH = MadeMesh("first company")
OWN, *OTHERS = (MESH.founder(f"member {number}") for number in range(4))


def test_who_was_alone_says_so_at_the_first_documents_and_waits_for_the_rest() -> None:
    ledger = Ledger(MESH.id, NOTARY)
    made = Membership(
        MESH.id, OWN.key, OWN.identity, OWN.curve, ledger, Random(1), lambda: WALL, 1e6, tuple(OWN.documents())
    )
    made.begin(0.0)
    told = []
    for other in OTHERS:
        payload = pack(Word.DOCUMENTS, other.documents())
        out = made.handle(m.Received(MESH.id, m.Channel.MEMBERSHIP, None, b"", payload), 1.0)
        told.append([len(message.members) for message in out if isinstance(message, m.MembersChanged)])
    assert told == [[2], [], []]
    assert [len(message.members) for message in made.settle(1.0) if isinstance(message, m.MembersChanged)] == [4]
