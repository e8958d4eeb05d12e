"""Packing: the exact bytes come back, whatever a document says, and usual ones take little room."""

from __future__ import annotations

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from smeg.keys import base64
from smeg.packing import MAX_KNOWN, pack, unpack
from tests.builders import QUICK, MadeMesh

MESH = MadeMesh("packing")
GUEST = MESH.joined("guest", MESH.invite("one"), MESH.founder())
PAPERS = [GUEST.papers[-2].raw, GUEST.papers[-1].raw]
SIGNATURES = st.binary(min_size=64, max_size=64)
# Values as they should be, such as only look like it, and neighbours that share their quotes.
TEXTS = st.one_of(
    st.binary(min_size=32, max_size=32).map(base64),
    st.text("AB_-", min_size=42, max_size=44),
    st.just('","'),
    st.text(max_size=60),
)
BODIES = st.one_of(
    st.dictionaries(TEXTS, st.one_of(TEXTS, st.lists(TEXTS, max_size=3), st.integers(0, 2**53)), max_size=6),
    st.lists(TEXTS, max_size=6),
).map(orjson.dumps)


@QUICK
@given(st.lists(st.tuples(SIGNATURES, BODIES).map(b"".join), min_size=1, max_size=4))
@example([bytes(64) + b'"' + b"A" * 43 + b'"' + b"A" * 43 + b'"'])
@example([bytes(64) + b'"' + b"A" * 42 + b'B"'])
@example(PAPERS)
def test_what_is_packed_comes_back_byte_for_byte(documents: list[bytes]) -> None:
    assert unpack(pack(documents, MESH.id), MESH.id) == tuple(documents)


@QUICK
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_KNOWN + 1).map(tuple), SIGNATURES, TEXTS)
def test_what_is_known_anyway_comes_back_too(known: tuple[bytes, ...], signature: bytes, text: str) -> None:
    document = signature + orjson.dumps([text, *map(base64, known), base64(bytes(32))])
    assert unpack(pack([document, document], MESH.id, known), MESH.id, known) == (document, document)


def test_a_record_takes_little_more_than_its_signature() -> None:
    record = GUEST.record(1)
    assert len(pack([record.raw], MESH.id, (GUEST.key, GUEST.credential))) < 64 + 60


def test_a_node_certificate_and_its_countersignature_take_little_more_than_their_signatures_and_keys() -> None:
    assert len(pack(PAPERS, MESH.id)) < 2 * 64 + 6 * 32 + 60
