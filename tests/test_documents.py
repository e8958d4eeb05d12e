"""Signed documents: nothing but an error about others comes of any bytes, and nothing altered counts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smeg.card import MAX_CARD, Card, Service
from smeg.device import Endpoint
from smeg.documents import MAX_DOCUMENT, MAX_REMOVE, Kind, encode, read, seal, signed_part
from smeg.errors import RemoteError
from smeg.keys import SIGNATURE_BYTES, NodeKey, sign
from smeg.notary import Notary
from smeg.records import (
    MAX_ADMITTED,
    MAX_COUNTER,
    MAX_RECORD,
    MAX_VIA,
    OwnRecord,
    read_record,
    read_remove,
    seal_evict,
    seal_record,
)
from tests.builders import NOTARY, QUICK, Desk, MadeMesh, Node, secret

MESH = MadeMesh("documents")
FOUNDER = MESH.founder()
INVITE = MESH.invite("one")
GUEST = MESH.joined("guest", INVITE, FOUNDER)
RECORD = GUEST.record(2, OwnRecord("guest", (Endpoint("192.0.2.1", 51800),), via=(FOUNDER.key,)))
SPECIMENS = [
    MESH.admin,
    INVITE.document,
    GUEST.papers[-2],
    GUEST.papers[-1],
    RECORD,
    GUEST.leave(3),
    MESH.evict(GUEST, [FOUNDER]),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = sorted({name for document in SPECIMENS for name in orjson.loads(document.raw[SIGNATURE_BYTES:])})


def body(raw: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(raw[SIGNATURE_BYTES:])
    return fields


def survives(raw: bytes) -> None:
    """Reading these bytes gives a statement, or an error about others."""
    try:
        statement = Notary().read(raw)
    except RemoteError:
        return
    assert statement.document.raw == raw


@QUICK
@given(st.binary(max_size=300))
@example(bytes(64) + b"{}")
@example(bytes(64) + b"[" * 5000)
@example(bytes(64) + b'{"kind":"record","mesh":"\\ud800"}')
@example(bytes(64) + b'{"kind":["record"],"mesh":""}')
@example(bytes(64) + b"\xff\xfe")
@example(b"")
@example(bytes(MAX_REMOVE + 1))
def test_any_bytes_are_a_statement_or_an_error_about_others(data: bytes) -> None:
    survives(data)
    survives(bytes(SIGNATURE_BYTES) + data)


@QUICK
@given(st.sampled_from(SPECIMENS), st.sampled_from(FIELDS), JSON)
def test_any_value_in_any_field_is_read_or_an_error_about_others(document: Any, name: str, value: object) -> None:
    encoded = orjson.dumps({**body(document.raw), name: value})
    survives(document.raw[:SIGNATURE_BYTES] + encoded)


@QUICK
@given(st.sampled_from(SPECIMENS), st.sampled_from(FIELDS))
def test_a_missing_field_is_a_default_or_an_error_about_others(document: Any, name: str) -> None:
    fields = body(document.raw)
    fields.pop(name, None)
    survives(document.raw[:SIGNATURE_BYTES] + orjson.dumps(fields))


@pytest.mark.parametrize("document", SPECIMENS, ids=lambda document: f"{document.kind}")
def test_one_bit_flipped_anywhere_keeps_a_document_from_counting(document: Any) -> None:
    """Every seventh bit, which meets every byte of it, in a bundle where the rest is as it was made."""
    bundle = [*GUEST.certificates, RECORD.raw, GUEST.leave(3).raw, MESH.evict(GUEST, [FOUNDER]).raw]
    bundle = list(dict.fromkeys(bundle))
    at = bundle.index(document.raw)
    notary = Notary(bound=10_000)
    for bit in range(0, len(document.raw) * 8, 7):
        altered = bytearray(document.raw)
        altered[bit // 8] ^= 1 << bit % 8
        desk = Desk(MESH.id, notary)
        desk.take([*bundle[:at], bytes(altered), *bundle[at + 1 :]])
        kept = desk.everything()
        assert bytes(altered) not in kept
        assert document.raw not in kept


@QUICK
@given(st.sampled_from(SPECIMENS), st.sampled_from(list(Kind)))
def test_a_signature_counts_for_its_own_kind_only(document: Any, kind: Kind) -> None:
    content = document.raw[SIGNATURE_BYTES:]
    signature = sign(FOUNDER.identity, signed_part(kind, content))
    assert read(signature + content).signed_by(FOUNDER.key) == (kind is document.kind)


def test_unknown_fields_and_odd_spelling_survive_as_they_were_signed() -> None:
    content = orjson.dumps({**body(GUEST.record(2).raw), "future": {"a": [1, None]}}, option=orjson.OPT_INDENT_2)
    raw = sign(GUEST.identity, signed_part(Kind.RECORD, content)) + content
    desk = Desk(MESH.id)
    desk.take([*GUEST.certificates, raw])
    assert desk.members[GUEST.key].record.document.raw == raw
    second = Desk(MESH.id)
    second.take(desk.everything())
    assert raw in second.everything()
    assert second.replica == desk.replica


def test_a_certificate_with_unknown_fields_admits_and_is_relayed_as_it_was_signed() -> None:
    content = orjson.dumps({"future": 1, **body(INVITE.document.raw)})
    raw = sign(MESH.admin_seed, signed_part(Kind.INVITE, content)) + content
    guest = MESH.joined("guest", type(INVITE)(read(raw), INVITE.seed), FOUNDER)
    desk = Desk(MESH.id)
    desk.take(guest.documents())
    assert guest.key in desk.members
    assert raw in desk.everything()


def test_documents_of_another_mesh_are_refused_one_by_one() -> None:
    other = MadeMesh("another")
    stranger = other.founder()
    desk = Desk(MESH.id)
    desk.take([*stranger.documents(), other.evict(stranger).raw, stranger.leave(5).raw])
    assert desk.intake.refused == {"wrong-mesh": 5}
    assert desk.everything() == []


def test_a_document_that_only_claims_this_mesh_is_refused() -> None:
    """The root key decides, not the name: another root signs for our mesh id."""
    fields = body(MESH.admin.raw)
    fields["root"] = body(MadeMesh("another").admin.raw)["root"]
    forged = seal(Kind.ADMIN, MESH.id, {k: v for k, v in fields.items() if k not in ("kind", "mesh")}, secret("x"))
    desk = Desk(MESH.id)
    desk.take([forged.raw])
    assert desk.intake.refused == {"wrong-root": 1}


@pytest.mark.parametrize(
    "prefix", ["fe80::%1/64", "2001:db8:1::%a/48", "2001:db8::1/48", "192.0.2.0/24", "x", "::/129"]
)
def test_a_certificate_with_something_else_than_prefixes_is_refused(prefix: str) -> None:
    raw = INVITE.document.raw
    fields = {**body(raw), "prefixes": [prefix]}
    with pytest.raises(RemoteError) as refused:
        Notary().read(raw[:SIGNATURE_BYTES] + orjson.dumps(fields))
    assert refused.value.problem.code == "malformed"


@pytest.mark.parametrize(
    "via",
    [["x"], ["A" * 42], ["é"], [encode(bytes(31))], [encode(bytes(32))] * 2, [1], "A", [f"{n:043}" for n in range(17)]],
)
def test_a_record_with_something_else_than_different_keys_of_peers_is_refused(via: object) -> None:
    fields = {**body(GUEST.record(2).raw), "via": via}
    document = read(GUEST.record(2).raw[:SIGNATURE_BYTES] + orjson.dumps(fields))
    with pytest.raises(RemoteError) as refused:
        read_record(document)
    assert refused.value.problem.code == "malformed"


@pytest.mark.parametrize("count", [0, 1, MAX_VIA])
def test_a_record_names_up_to_so_many_peers_and_says_nothing_where_it_names_none(count: int) -> None:
    via = tuple(NodeKey(secret(f"peer {number}").reveal()) for number in range(count))
    document = GUEST.record(1, OwnRecord("x", via=via))
    assert read_record(document).via == via
    assert (b'"via"' in document.raw) == (count > 0)
    assert read_record(document).document == document


def test_a_client_that_says_as_much_as_it_may_has_a_record_that_fits() -> None:
    via = tuple(NodeKey(secret(f"peer {number}").reveal()) for number in range(MAX_VIA))
    texts = (f"a={'x' * 253}",) * 4
    services = (Service("a" * 15, 65535, text=texts), Service("b" * 15, 65535, text=(f"a={'x' * 36}",)))
    card = Card("a" * 63, "d" * 256, services)
    assert MAX_CARD - 48 < len(orjson.dumps(card.fields())) <= MAX_CARD
    own = OwnRecord("n" * 63, keepalive=65535, collision=255, via=via, floor=MAX_COUNTER, card=card)
    assert len(GUEST.record(MAX_COUNTER, own).raw) <= MAX_RECORD


def sized(node: Node, room: int) -> bytes:
    """A record of exactly so many bytes."""
    empty = node.record(1, OwnRecord("x", extra={"pad": ""}))
    return node.record(1, OwnRecord("x", extra={"pad": "p" * (room - len(empty.raw))})).raw


def test_a_record_may_have_so_many_bytes_and_no_more() -> None:
    desk = Desk(MESH.id)
    desk.take([*FOUNDER.certificates, sized(FOUNDER, MAX_RECORD + 1)])
    assert desk.members == {}
    desk.take([sized(FOUNDER, MAX_RECORD)])
    assert FOUNDER.key in desk.members
    with pytest.raises(RemoteError):
        NOTARY.read(bytes(64) + orjson.dumps({"kind": "record", "mesh": "", "pad": "p" * MAX_DOCUMENT}))


@pytest.mark.parametrize("host", ["::", "0.0.0.0", "ff02::1", "224.0.0.1"])
def test_an_endpoint_that_nobody_can_dial_is_refused(host: str) -> None:
    own = OwnRecord("x", (Endpoint(host, 5),))
    with pytest.raises(RemoteError):
        read_record(seal_record(MESH.id, own, 1, FOUNDER.credential, FOUNDER.identity, FOUNDER.key))


def test_the_largest_evict_is_read_and_fits_into_a_gossip_message() -> None:
    admitted = frozenset(index.to_bytes(8, "big") for index in range(MAX_ADMITTED))
    document = seal_evict(MESH.id, GUEST.key, 1, MESH.admin, MESH.admin_seed, admitted, "r" * 200)
    assert len(document.raw) <= MAX_REMOVE
    assert read_remove(read(document.raw)).admitted == admitted


def test_what_the_notary_keeps_is_bounded_in_number_and_bytes() -> None:
    notary = Notary(bound=4, bound_bytes=3000)
    records = [GUEST.record(counter).raw for counter in range(1, 12)]
    for record in records:
        notary.signed(notary.read(record), GUEST.key)
    assert [statement.document.raw for statement in notary._read.values()] == records[-4:]
    short = len(MESH.evict(GUEST, [FOUNDER]).raw)
    large = seal_evict(MESH.id, GUEST.key, 1, MESH.admin, MESH.admin_seed, frozenset(), "r" * (3000 - short))
    assert 2900 < len(large.raw) <= 3000
    notary.read(large.raw)
    assert [statement.document.hash for statement in notary._read.values()] == [large.hash]
    assert len(notary._signed) <= 4


def test_a_signature_is_checked_once() -> None:
    notary = Notary()
    record = notary.read(GUEST.record(1).raw)
    assert all(notary.signed(record, GUEST.key) for _ in range(5))
    assert not notary.signed(record, FOUNDER.key)
    assert notary.verified == 2
