"""Signed documents in little room: for those that are kept by the thousand and seldom read.

Most of a document is a signature and 32-byte values in base64. Those are kept as the bytes that they stand for, or not
at all when whoever keeps the document knows them anyway; what is left between them is nearly the same in all documents,
and compressed against what it usually is. Unpacking gives the exact bytes back. Nothing here checks what a document
says.
"""

from __future__ import annotations

import re
import zlib
from binascii import a2b_base64
from collections.abc import Iterable
from functools import lru_cache

from smeg.keys import FROM_URL, KEY_BYTES, SIGNATURE_BYTES, base64

_VALUE = re.compile(rb'"([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"')
"""32 bytes in base64: the last letter has two bits that are not used."""
_HOLE = b'"\0"'
_PLACE = re.compile(rb'"([\0-\x08])"')
"""Where a value stood: a hole, or the number of a known value. No JSON holds such bytes bare."""
MAX_KNOWN = 8
_END = b"\0\0"
_WINDOW = -10
"""1 KiB, more than what is packed at once mostly has; without header and checksum."""


def pack(documents: Iterable[bytes], mesh: str, known: tuple[bytes, ...] = ()) -> bytes:
    """All of these in one; they have signatures, and bodies of JSON that name this mesh.

    `known` are at most `MAX_KNOWN` values that `unpack` will be told again.
    """
    numbers = {value: b'"%c"' % number for number, value in enumerate(known[:MAX_KNOWN], 1)}
    fixed: list[bytes] = []
    rest: list[bytes] = []

    def stand_in(found: re.Match[bytes]) -> bytes:
        value = a2b_base64(found[1].translate(FROM_URL) + b"=")
        number = numbers.get(value)
        if number is None:
            fixed.append(value)
        return number or _HOLE

    for raw in documents:
        fixed.append(raw[:SIGNATURE_BYTES])
        rest.append(_VALUE.sub(stand_in, raw[SIGNATURE_BYTES:]))
    squeezer = zlib.compressobj(6, zlib.DEFLATED, _WINDOW, 4, zlib.Z_DEFAULT_STRATEGY, _usual(mesh))
    squeezed = squeezer.compress(_END.join(rest)) + squeezer.flush()
    return len(squeezed).to_bytes(2, "big") + squeezed + b"".join(fixed)


@lru_cache(maxsize=64)
def unpack(packed: bytes, mesh: str, known: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
    """Inverse of `pack`. What is new is mostly wanted several times in a row."""
    at = 2 + int.from_bytes(packed[:2], "big")
    rest = zlib.decompressobj(_WINDOW, _usual(mesh)).decompress(packed[2:at]).split(_END)
    documents: list[bytes] = []
    for body in rest:
        whole = [packed[at : at + SIGNATURE_BYTES]]
        at += SIGNATURE_BYTES
        text, *pieces = _PLACE.split(body)
        whole.append(text)
        for number, text in zip(pieces[::2], pieces[1::2], strict=True):
            if number == b"\0":
                value = packed[at : at + KEY_BYTES]
                at += KEY_BYTES
            else:
                value = known[number[0] - 1]
            whole += (b'"', base64(value).encode(), b'"', text)
        documents.append(b"".join(whole))
    return tuple(documents)


@lru_cache(maxsize=64)
def _usual(mesh: str) -> bytes:
    """What a record, and a node certificate with its countersignature, say between their values, as this project writes
    them; the known values are numbered in the order of the fields."""
    return (
        b'{"kind":"record","mesh":"%(mesh)b","node":"\1","counter":1,"credential":"\2","name":"","collision":0,'
        b'"gossip":["10.0.0.1:51800"],"wireguard":["10.0.0.1:51820"],"keepalive":25}\0\0'
        b'{"kind":"node","mesh":"%(mesh)b","issuer":"\1","key":"\2","wireguard":"\3","curve":"\4","serial":1800000000,'
        b'"role":"client","prefixes":["::/0"],"exit":true,"role":"peer","prefixes":[],"exit":false,"expires":1900000000}'
        b'\0\0{"kind":"countersignature","mesh":"%(mesh)b","certificate":"\5","by":"\6","at":1800000000}'
    ) % {b"mesh": mesh.encode()}
