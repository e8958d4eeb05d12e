"""Tokens: the vector of docs/tokens.md, what damage is called, and that nothing else ever comes of a text."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smeg.certificates import Grant
from smeg.device import Endpoint
from smeg.documents import Document
from smeg.errors import LocalError
from smeg.keys import Secret, base64, from_base64
from smeg.stored import Contact
from smeg.tokens import HEAD, MAX_CONTACTS, _checksum, read_token, write_token
from tests.builders import QUICK, MadeMesh
from tests.test_addresses import vectors
from tests.test_documents import JSON

VECTOR = vectors("tokens.md", "token")
TEXT: str = VECTOR["text"]
MESH = MadeMesh("tokens")
INVITE = MESH.invite("one")
CONTACTS = (Contact(bytes(range(32)), (Endpoint("192.0.2.1", 51800), Endpoint("::1", 5))),)
OWN = write_token("home", MESH.admin, INVITE.document, INVITE.seed, CONTACTS).reveal().decode()
CONTENT: dict[str, Any] = orjson.loads(from_base64(OWN[len(HEAD) :])[8:])


def said(grant: Grant) -> dict[str, object]:
    prefixes = [str(prefix) for prefix in grant.prefixes]
    return {"role": grant.role.value, "prefixes": prefixes, "exit": grant.exit, "expires": grant.expires}


def coded(content: object) -> str:
    """A token text around any JSON value, its checksum right."""
    data = content if isinstance(content, bytes) else orjson.dumps(content)
    return HEAD + base64(len(data).to_bytes(2, "big") + _checksum(data) + data)


def code(text: str) -> str:
    with pytest.raises(LocalError) as refused:
        read_token(text)
    return refused.value.problem.code


def test_the_documented_token_says_what_is_documented() -> None:
    token = read_token(TEXT)
    assert (token.name, token.mesh, token.admin.root.hex()) == (VECTOR["name"], VECTOR["mesh_id"], VECTOR["root_key"])
    assert token.seed.reveal().hex() == VECTOR["seed"]
    assert {
        "hash": token.admin.document.hash.hex(),
        "key": token.admin.key.hex(),
        "serial": token.admin.serial,
        **said(token.admin.grant),
    } == VECTOR["admin"]
    assert {
        "hash": token.invite.document.hash.hex(),
        "issuer": token.invite.issuer.hex(),
        "key": token.invite.key.hex(),
        "serial": token.invite.serial,
        "uses": token.invite.uses,
        "deadline": token.invite.deadline,
        **said(token.invite.grant),
    } == VECTOR["invite"]
    dial = [{"curve": c.curve.hex(), "endpoints": [str(e) for e in c.endpoints]} for c in token.contacts]
    assert dial == VECTOR["dial"]


def test_the_documented_certificates_are_signed_by_whom_they_name() -> None:
    token = read_token(TEXT)
    assert token.admin.document.signed_by(token.admin.root)
    assert token.invite.document.signed_by(token.admin.key)


@pytest.mark.parametrize("vector", vectors("tokens.md", "damaged"))
def test_documented_damage_has_the_documented_code(vector: dict[str, str]) -> None:
    assert code(vector["text"]) == vector["code"]


def test_what_is_written_reads_back_the_same() -> None:
    token = read_token(OWN)
    again = write_token(token.name, token.admin.document, token.invite.document, token.seed, token.contacts)
    assert again == Secret(OWN.encode())
    assert token.contacts == CONTACTS


@QUICK
@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.sampled_from(" \t\r\n\u00a0")), max_size=20))
def test_blanks_that_a_mail_puts_in_do_no_harm(blanks: list[tuple[int, str]]) -> None:
    text = TEXT
    for at, blank in blanks:
        text = text[:at] + blank + text[at:]
    assert read_token(text) == read_token(TEXT)


@QUICK
@given(st.integers(1, len(TEXT) - 1))
def test_a_token_cut_anywhere_is_refused_and_called_cut_once_its_head_is_there(length: int) -> None:
    found = code(TEXT[:length])
    assert found == ("token-cut" if length >= len(HEAD) else "token-damaged")


@QUICK
@given(st.integers(len(HEAD), len(TEXT) - 1), st.sampled_from("ABCXYZabcxyz0189-_"))
def test_one_letter_changed_is_never_accepted(at: int, letter: str) -> None:
    altered = TEXT[:at] + letter + TEXT[at + 1 :]
    if altered != TEXT:
        assert code(altered) in ("token-altered", "token-cut")


@QUICK
@given(st.text(max_size=200) | st.text(alphabet="ABCabc019-_", max_size=200).map(HEAD.__add__))
@example("smeg٣.")
@example(HEAD)
@example(HEAD + "A")
@example(HEAD + "A" * 20_000)
@example("\ud800")
def test_any_text_is_refused_with_an_error_about_here(text: str) -> None:
    assert code(text).startswith("token-")


@QUICK
@given(JSON | st.binary(max_size=60))
def test_any_content_under_a_right_checksum_is_refused_as_damaged(content: object) -> None:
    assert code(coded(content)) == "token-damaged"


@QUICK
@given(st.sampled_from(sorted(CONTENT)), JSON)
@example("dial", {"a": 1})
@example("dial", [None])
@example("dial", [{"curve": 5, "endpoints": []}])
@example("name", "Home")
@example("name", "home\n")
def test_any_value_in_any_field_is_read_or_refused_as_damaged(name: str, value: object) -> None:
    try:
        token = read_token(coded({**CONTENT, name: value}))
    except LocalError as error:
        if error.problem.code != "token-damaged":
            raise
    else:
        assert name == "dial"
        assert token.contacts in ((), CONTACTS)


def test_unknown_fields_are_ignored() -> None:
    assert read_token(coded({**CONTENT, "future": [1]})).invite.key == read_token(OWN).invite.key


OTHER = MadeMesh("another")


@pytest.mark.parametrize(
    ("admin", "invite", "seed"),
    [
        (OTHER.admin, INVITE.document, INVITE.seed),
        (MESH.admin, OTHER.invite("one").document, OTHER.invite("one").seed),
        (MESH.admin, INVITE.document, MESH.invite("two").seed),
        (MESH.admin, MESH.admin, MESH.admin_seed),
        (INVITE.document, INVITE.document, INVITE.seed),
    ],
    ids=["admin of another mesh", "invite of another mesh", "another seed", "no invite", "no admin"],
)
def test_parts_that_do_not_belong_together_are_refused(admin: Document, invite: Document, seed: Secret) -> None:
    assert code(write_token("home", admin, invite, seed, CONTACTS).reveal().decode()) == "token-damaged"


def test_a_mesh_id_that_is_not_the_root_keys_hash_is_refused() -> None:
    """Whoever writes a token chooses every text in it; a mesh's id also names its folder."""
    fields = {**orjson.loads(MESH.admin.raw[64:]), "mesh": "../../elsewhere"}
    forged = base64(MESH.admin.raw[:64] + orjson.dumps(fields))
    assert code(coded({**CONTENT, "admin": forged})) == "token-damaged"


def test_only_the_first_few_contacts_are_read() -> None:
    dial = CONTENT["dial"] * (MAX_CONTACTS + 3)
    assert len(read_token(coded({**CONTENT, "dial": dial})).contacts) == MAX_CONTACTS


def test_a_token_does_not_show_its_seed() -> None:
    token = read_token(OWN)
    for text in (repr(token), str(token)):
        assert base64(token.seed.reveal()) not in text
        assert repr(token.seed.reveal()) not in text
