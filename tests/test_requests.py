"""The control protocol: what is said is heard, and what is not the protocol is refused without being repeated."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smeg.errors import LocalError, Problem, RemoteError
from smeg.requests import (
    MAX_REPLY,
    MAX_REQUEST,
    Command,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

SECRET = "smeg1.secret"
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), json, max_size=4)
names = st.from_regex(r"[a-z][a-z0-9-]{0,63}", fullmatch=True)


@given(names, objects)
def test_a_request_is_heard_as_it_was_said(name: str, arguments: dict[str, Any]) -> None:
    heard = decode_request(encode_request(Command(name, arguments)))
    assert (heard.name, heard.arguments) == (name, arguments)


@given(objects)
def test_a_result_is_heard_as_it_was_said(result: dict[str, Any]) -> None:
    assert decode_reply(encode_reply(result)) == result


@given(names, st.text(), st.text())
def test_a_problem_is_heard_as_it_was_said(code: str, message: str, hint: str) -> None:
    problem = Problem(code, message, hint)
    assert decode_reply(encode_reply(problem)) == problem


@given(st.binary() | json.map(orjson.dumps) | objects.map(lambda fields: orjson.dumps({"version": 1, **fields})))
@example(b"[" * 60000)
@example(b'{"version": true, "command": "status", "arguments": {}}')
@example(b'{"version": 1, "ok": true, "result": []}')
@example(b'{"version": 1, "ok": 1, "result": {}}')
@example(b'{"version": 1, "ok": false, "error": {"code": "A B", "message": "", "hint": ""}}')
@example(b'{"version": 1, "ok": false, "error": {"code": "x", "message": "no hint"}}')
def test_bytes_that_are_not_the_protocol_are_their_fault(data: bytes) -> None:
    for decode in (decode_request, decode_reply):
        with pytest.raises(RemoteError):
            decode(data)


@pytest.mark.parametrize("version", [0, 2, -1, 10**9])
def test_another_version_is_named_and_says_what_to_do(version: int) -> None:
    for decode in (decode_request, decode_reply):
        with pytest.raises(RemoteError) as caught:
            decode(orjson.dumps({"version": version, "ok": True, "result": {}, "command": "x", "arguments": {}}))
        assert caught.value.problem.code == "version-unknown"
        assert str(version) in caught.value.problem.message
        assert "same release" in caught.value.problem.hint


def test_unknown_fields_are_ignored() -> None:
    data = orjson.dumps({"version": 1, "command": "status", "arguments": {}, "later": 1})
    assert decode_request(data) == Command("status", {})


@pytest.mark.parametrize("name", ["", "Status", "-x", "a" * 65, "new mesh", "a\n", None, 1])
def test_what_is_not_a_commands_name_is_refused(name: object) -> None:
    with pytest.raises(RemoteError):
        decode_request(orjson.dumps({"version": 1, "command": name, "arguments": {}}))
    if isinstance(name, str):
        with pytest.raises(LocalError):
            encode_request(Command(name, {}))


def test_a_request_has_a_size_that_neither_end_exceeds() -> None:
    room = MAX_REQUEST - len(encode_request(Command("x", {"a": ""})))
    assert len(encode_request(Command("x", {"a": "a" * room}))) == MAX_REQUEST
    with pytest.raises(LocalError) as ours:
        encode_request(Command("x", {"a": "a" * (room + 1)}))
    with pytest.raises(RemoteError) as theirs:
        decode_request(b" " * (MAX_REQUEST + 1))
    assert ours.value.problem.code == theirs.value.problem.code == "request-too-big"


def test_a_reply_has_a_size_that_neither_end_exceeds() -> None:
    with pytest.raises(LocalError) as ours:
        encode_reply({"a": "a" * MAX_REPLY})
    with pytest.raises(RemoteError) as theirs:
        decode_reply(b" " * (MAX_REPLY + 1))
    assert ours.value.problem.code == theirs.value.problem.code == "reply-too-big"


@pytest.mark.parametrize("value", [{1}, 2**70, "\ud800", b"bytes"])
def test_what_json_cannot_say_is_our_fault(value: object) -> None:
    with pytest.raises(LocalError):
        encode_request(Command("x", {"a": value}))
    with pytest.raises(LocalError):
        encode_reply({"a": value})


@pytest.mark.parametrize(
    "data",
    [
        f'{{"version": 1, "command": "join-mesh", "arguments": {{"token": "{SECRET}"',
        f'{{"version": 2, "command": "join-mesh", "arguments": {{"token": "{SECRET}"}}}}',
        f'{{"version": 1, "command": "{SECRET}", "arguments": {{}}}}',
        f'{{"version": 1, "command": "join-mesh", "arguments": "{SECRET}"}}',
    ],
)
def test_a_token_in_a_malformed_request_is_in_no_error(data: str) -> None:
    with pytest.raises(RemoteError) as caught:
        decode_request(data.encode())
    assert SECRET not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


def test_a_token_is_not_in_the_repr_of_a_request() -> None:
    assert SECRET not in repr(Command("join-mesh", {"token": SECRET}))
