"""Signed documents: a signature over exact bytes, and strict reading of what the bytes say.

Every document is `signature (64 bytes) ‖ body`, the body a JSON object with a `kind`. The signature covers a prefix
of the kind's own and the body, so no document passes for another kind. Bytes are stored and relayed as they came and
never made again to verify them, so fields that this version does not know survive. Nothing here decides whose
signature counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from ipaddress import IPv6Network
from sys import intern
from typing import Any

import orjson

from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, SIGNATURE_BYTES, NodeKey, Secret, base64, check_ed25519, from_base64, sign, verify

MAX_DOCUMENT = 8192
"""bytes, signature included."""
MAX_REMOVE = 49152
"""bytes: an evict lists whom the evicted peer had let in."""
HASH_BYTES = 32
MAX_PREFIXES = 64


class Kind(StrEnum):
    """What a document is; part of what is signed."""

    ADMIN = "admin"
    INVITE = "invite"
    NODE = "node"
    COUNTERSIGNATURE = "countersignature"
    RECORD = "record"
    REMOVE = "remove"
    ANNEX = "annex"


_KINDS: Mapping[object, Kind] = {kind.value: kind for kind in Kind}
_PREFIXES = {kind: b"smegmesh/1/" + kind.value.encode() + b"\0" for kind in Kind}


@dataclass(frozen=True, slots=True)
class Document:
    """Signed bytes, read but not yet believed: `signed_by` says whether a key signed them."""

    kind: Kind
    mesh: str
    raw: bytes = field(repr=False)
    hash: bytes
    """BLAKE2b-256 of `raw`: how other documents name this one."""

    def fields(self) -> Fields:
        """Read the body again: it is not kept as objects, for there are thousands of these."""
        return Fields(self.kind, orjson.loads(self.raw[SIGNATURE_BYTES:]))

    def signed_by(self, key: bytes) -> bool:
        return verify(key, self.raw[:SIGNATURE_BYTES], signed_part(self.kind, self.raw[SIGNATURE_BYTES:]))


def signed_part(kind: Kind, body: bytes) -> bytes:
    """What a signature of this kind covers."""
    return _PREFIXES[kind] + body


def seal(kind: Kind, mesh: str, fields: Mapping[str, Any], seed: Secret) -> Document:
    """Make and sign a document. `fields` are JSON values; bytes stand in them as `keys.base64`."""
    body = {"kind": kind.value, "mesh": mesh, **fields}
    encoded = orjson.dumps(body)
    raw = sign(seed, signed_part(kind, encoded)) + encoded
    return Document(kind, mesh, raw, document_hash(raw))


def document_hash(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=HASH_BYTES).digest()


def read(raw: bytes) -> Document:
    """The document in these bytes, its signature not yet checked. Raises `RemoteError`."""
    return parse(raw)[0]


def parse(raw: bytes) -> tuple[Document, Fields]:
    """Likewise, with the fields of its body."""
    if not SIGNATURE_BYTES < len(raw) <= MAX_REMOVE:
        raise RemoteError("malformed", f"a document of {len(raw)} bytes: the bounds are 65 and {MAX_REMOVE}")
    try:
        body = orjson.loads(raw[SIGNATURE_BYTES:])
    except orjson.JSONDecodeError as error:
        raise RemoteError("malformed", f"a document that is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RemoteError("malformed", "a document that is not a JSON object")
    named = body.get("kind")
    kind = _KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        raise RemoteError("unknown-kind", f"a document of unknown kind {str(named)[:40]!r}")
    if len(raw) > MAX_DOCUMENT and kind is not Kind.REMOVE:
        raise RemoteError("malformed", f"a {kind.value} of {len(raw)} bytes: the bound is {MAX_DOCUMENT}")
    fields = Fields(kind, body)
    # One string for all documents of a mesh.
    return Document(kind, intern(fields.text("mesh", 64)), raw, document_hash(raw)), fields


class Fields:
    """Strict access to the fields of a body: each reader returns a checked value or raises `RemoteError`."""

    __slots__ = ("_body", "_kind")

    def __init__(self, kind: Kind, body: Mapping[str, Any]) -> None:
        self._kind = kind
        self._body = body

    def _wrong(self, name: str, expected: str) -> RemoteError:
        return RemoteError("malformed", f"{self._kind.value} document: field {name!r} is not {expected}")

    def text(self, name: str, longest: int, default: str | None = None) -> str:
        value = self._body.get(name, default)
        if not isinstance(value, str) or len(value.encode()) > longest or not value.isprintable():
            raise self._wrong(name, f"printable text of at most {longest} bytes")
        return value

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self._body.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}")
        return value

    def some(self, names: Collection[str]) -> dict[str, object]:
        """Those of these fields that are there, unchecked."""
        return {name: self._body[name] for name in names if name in self._body}

    def flag(self, name: str) -> bool:
        value = self._body.get(name, False)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def octets(self, name: str, length: int) -> bytes:
        value = self._body.get(name)
        try:
            data = from_base64(value) if isinstance(value, str) and len(value) <= 2 * length + 4 else b""
        except ValueError:
            data = b""
        if len(data) != length:
            raise self._wrong(name, f"{length} bytes in base64")
        return data

    def blob(self, name: str, longest: int) -> bytes:
        value = self._body.get(name, "")
        if not isinstance(value, str):
            raise self._wrong(name, "base64")
        try:
            data = from_base64(value)
        except ValueError as error:
            raise self._wrong(name, "base64") from error
        if len(data) > longest:
            raise self._wrong(name, f"at most {longest} bytes")
        return data

    def digest(self, name: str) -> bytes:
        return self.octets(name, HASH_BYTES)

    def optional_digest(self, name: str) -> bytes:
        """Empty when the field is absent."""
        return self.digest(name) if name in self._body else b""

    def signer(self, name: str) -> NodeKey:
        return check_ed25519(self.octets(name, KEY_BYTES))

    def exchange_key(self, name: str) -> bytes:
        key = self.octets(name, KEY_BYTES)
        if key == bytes(KEY_BYTES):
            raise self._wrong(name, "an X25519 key")
        return key

    def node_keys(self, name: str, most: int) -> tuple[NodeKey, ...]:
        """Different ones, in the order that they have; none when the field is absent."""
        texts = self.texts(name, most, 2 * KEY_BYTES)
        try:
            found = tuple(NodeKey(from_base64(text)) for text in texts)
        except ValueError as error:
            raise self._wrong(name, "a list of keys in base64") from error
        if any(len(key) != KEY_BYTES for key in found) or len(set(found)) != len(found):
            raise self._wrong(name, f"a list of different keys of {KEY_BYTES} bytes")
        return found

    def texts(self, name: str, most: int, longest: int) -> tuple[str, ...]:
        value = self._body.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(name, f"a list of at most {most}")
        for item in value:
            if not isinstance(item, str) or len(item.encode()) > longest or not item.isprintable():
                raise self._wrong(name, f"a list of printable texts of at most {longest} bytes each")
        return tuple(value)

    def prefixes(self, name: str) -> tuple[IPv6Network, ...]:
        texts = self.texts(name, MAX_PREFIXES, 50)
        try:
            # A scope ("fe80::%1") means nothing elsewhere, and would make equal prefixes compare as different.
            found = tuple(IPv6Network(text) for text in texts if "%" not in text)
        except ValueError as error:
            raise self._wrong(name, f"a list of IPv6 prefixes ({error})") from error
        if len(found) != len(texts):
            raise self._wrong(name, "a list of IPv6 prefixes without scopes")
        return found


def encode(data: bytes) -> str:
    """Bytes as a JSON field holds them."""
    return base64(data)
