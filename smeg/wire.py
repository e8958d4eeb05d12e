"""Gossip payloads as bytes: one letter that says what it is, then length-prefixed items. Bounded, strict, no surprises.

What the items mean is documented at each `Word`. Whatever does not parse raises `RemoteError` and goes no further.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import Enum

from smeg.errors import RemoteError

MAX_PAYLOAD = 60_000
"""bytes; a frame of 64 KiB holds it with its heads."""
MAX_ITEMS = 4096
_LENGTH = struct.Struct(">H")


class Word(bytes, Enum):
    """What a payload says."""

    DOCUMENTS = b"D"
    """Signed documents, issuers before what they issued."""
    STATE = b"S"
    """Likewise: all there is, for one who knew nothing. It is no news to anybody else."""
    ROOT = b"R"
    """The digest of everything, 8 bytes: the start of a repair."""
    PARTS = b"P"
    """Of each of some ranges its digits, and the digests of its sixteen parts."""
    LISTING = b"L"
    """Of each of some ranges its digits, and of each node in it the beginning of its key and its digest."""
    NEED = b"N"
    """Node keys, or their beginnings: send what there is of them, with all certificates."""
    WANT = b"W"
    """Likewise: send what is said of them, without the certificates."""
    HELD = b"H"
    """A node's key, then the names of the annexes of it that are held: send what else there is of it, without the
    certificates, and say what is lacking."""
    LACK = b"K"
    """Likewise, to somebody who holds others: send those."""
    ASK = b"A"
    """Guest: admin's, invite's and own node certificate, and proof that the WireGuard key is held."""
    PRESENT = b"I"
    """Guest or forgotten member: its digest of everything, then its own documents."""
    ADMITTED = b"Y"
    """To a guest: certificates, its countersignature last."""
    REFUSED = b"X"
    """To a guest: code, message, hint."""
    REFRESH = b"E"
    """The newest epoch and the tag of the list of members, then answers: see `refresh`."""
    BEAT = b"B"
    """Not items: see `watch.Beat`."""
    ACCUSE = b"C"
    """A member's key, and of what kind its death is."""
    CLAIMS = b"V"
    """Claims of death or life: see `verdicts.Claim`."""
    PING = b"?"
    PONG = b"!"


def pack(word: Word, items: Iterable[bytes]) -> bytes:
    """One payload. The items fit into it: that is the caller's business (`chunks`)."""
    parts = [word.value]
    for item in items:
        parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


def chunks(word: Word, items: Iterable[bytes]) -> Iterator[bytes]:
    """As many payloads as the items need, none larger than `MAX_PAYLOAD`."""
    waiting: list[bytes] = []
    size = 1
    for item in items:
        if waiting and (size + len(item) + 2 > MAX_PAYLOAD or len(waiting) == MAX_ITEMS):
            yield pack(word, waiting)
            waiting, size = [], 1
        waiting.append(item)
        size += len(item) + 2
    if waiting:
        yield pack(word, waiting)


def unpack(payload: bytes) -> tuple[Word, list[bytes]]:
    """Inverse of `pack`. Raises `RemoteError`."""
    try:
        word = Word(payload[:1])
    except ValueError as error:
        raise RemoteError("malformed", f"a gossip message of unknown kind {payload[:1]!r}") from error
    items: list[bytes] = []
    at = 1
    while at < len(payload):
        end = at + 2
        if end > len(payload) or len(items) == MAX_ITEMS:
            raise RemoteError("malformed", "a gossip message that ends inside an item, or has too many")
        end += _LENGTH.unpack_from(payload, at)[0]
        if end > len(payload):
            raise RemoteError("malformed", "a gossip message that ends inside an item")
        items.append(payload[at + 2 : end])
        at = end
    return word, items


def expect(items: list[bytes], *sizes: int | None) -> list[bytes]:
    """The items, checked for their number and sizes in bytes (None: any). Raises `RemoteError`."""
    if len(items) != len(sizes) or any(
        size is not None and len(item) != size for item, size in zip(items, sizes, strict=True)
    ):
        raise RemoteError("malformed", "a gossip message whose items have the wrong number or sizes")
    return items
