"""The control protocol as bytes: what the command line and the REST service say to the daemon, and what it answers.

A request is `{"version": 1, "command": str, "arguments": {…}}`; an answer is `{"version": 1, "ok": true, "result":
{…}}` or `{"version": 1, "ok": false, "error": {"code", "message", "hint"}}`. Unknown fields beside these are ignored.
Which commands there are, and whether their arguments make sense, is not known here. No byte of a request, which may
hold a token, ever gets into an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from smeg.errors import LocalError, Problem, RemoteError

VERSION = 1
MAX_REQUEST = 64 * 1024
"""bytes."""
MAX_REPLY = 16 * 1024 * 1024
"""bytes."""
_COMMAND = re.compile(r"[a-z][a-z0-9-]{0,63}")
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Command:
    """A request, well-formed; its command may still be unknown and its arguments wrong."""

    name: str
    arguments: Mapping[str, Any] = field(repr=False)
    """May hold a token: never logged."""


def encode_request(command: Command) -> bytes:
    """Raises `LocalError`: `bad-request` when it cannot be said in JSON, `request-too-big` beyond `MAX_REQUEST`."""
    if not _COMMAND.fullmatch(command.name):
        raise LocalError("bad-request", "a command is 1 to 64 of a-z, 0-9 and -")
    data = _dumps({"version": VERSION, "command": command.name, "arguments": dict(command.arguments)}, "bad-request")
    if len(data) > MAX_REQUEST:
        raise LocalError("request-too-big", f"a request of {len(data)} bytes; at most {MAX_REQUEST} are sent")
    return data


def decode_request(data: bytes) -> Command:
    """Raises `RemoteError`: `request-too-big`, `bad-request`, `version-unknown`."""
    if len(data) > MAX_REQUEST:
        raise RemoteError("request-too-big", f"a request of {len(data)} bytes; at most {MAX_REQUEST} are read")
    fields = _fields(data, "bad-request", "request")
    name, arguments = fields.get("command"), fields.get("arguments")
    if not isinstance(name, str) or not _COMMAND.fullmatch(name):
        raise RemoteError("bad-request", "the request names no command")
    if not isinstance(arguments, dict):
        raise RemoteError("bad-request", "the request's arguments are not an object")
    return Command(name, arguments)


def encode_reply(answer: Mapping[str, Any] | Problem) -> bytes:
    """Raises `LocalError`: `bad-reply` when it cannot be said in JSON, `reply-too-big` beyond `MAX_REPLY`."""
    match answer:
        case Problem(code, message, hint):
            error = {"code": code, "message": message, "hint": hint}
            data = _dumps({"version": VERSION, "ok": False, "error": error}, "bad-reply")
        case result:
            data = _dumps({"version": VERSION, "ok": True, "result": dict(result)}, "bad-reply")
    if len(data) > MAX_REPLY:
        raise LocalError("reply-too-big", f"an answer of {len(data)} bytes; at most {MAX_REPLY} are sent")
    return data


def decode_reply(data: bytes) -> dict[str, Any] | Problem:
    """The result, or what the daemon says is wrong.

    Raises `RemoteError`: `reply-too-big`, `bad-reply`, `version-unknown`.
    """
    if len(data) > MAX_REPLY:
        raise RemoteError("reply-too-big", f"an answer of {len(data)} bytes; at most {MAX_REPLY} are read")
    fields = _fields(data, "bad-reply", "answer")
    match fields:
        case {"ok": True, "result": dict() as result}:
            return result
        case {"ok": False, "error": {"code": str(code), "message": str(message), "hint": str(hint)}}:
            if _CODE.fullmatch(code):
                return Problem(code, message, hint)
    raise RemoteError("bad-reply", "the answer holds neither a result nor an error")


def _dumps(content: dict[str, object], code: str) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError:
        # The exception's own words may show the content.
        raise LocalError(code, "it holds a value that JSON cannot say") from None


def _fields(data: bytes, code: str, what: str) -> dict[str, Any]:
    try:
        fields = orjson.loads(data)
    except ValueError:
        # The exception holds all of the bytes.
        raise RemoteError(code, f"the {what} is not JSON") from None
    if not isinstance(fields, dict):
        raise RemoteError(code, f"the {what} is not a JSON object")
    version = fields.get("version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise RemoteError(code, f"the {what} has no version")
    if version != VERSION:
        raise RemoteError(
            "version-unknown",
            f"the {what} is of version {version} of the control protocol; version {VERSION} is spoken here",
            "use smeg-cli and smeg-node of the same release",
        )
    return fields
