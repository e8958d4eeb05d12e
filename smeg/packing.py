"""Signed documents in little room: for those that are kept by the thousand and seldom read.

Most of a document is a signature and 32-byte values in base64. Those are kept as the bytes that they stand for; what is
left between them is nearly the same in all documents, and compressed against what it usually is. Unpacking gives the
exact bytes back. Nothing here checks what a document says.
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
"""Where a value stood. No JSON holds a bare zero byte."""
_END = b"\0\0"
_WINDOW = -10
"""1 KiB, more than what is packed at once mostly has; without header and checksum."""


def pack(documents: Iterable[bytes], mesh: str) -> bytes:
    """All of these in one; they have signatures, and bodies of JSON that name this mesh."""
    fixed: list[bytes] = []
    rest: list[bytes] = []
    for raw in documents:
        pieces = _VALUE.split(raw[SIGNATURE_BYTES:])
        fixed.append(raw[:SIGNATURE_BYTES])
        fixed += [a2b_base64(value.translate(FROM_URL) + b"=") for value in pieces[1::2]]
        rest.append(_HOLE.join(pieces[::2]))
    squeezer = zlib.compressobj(6, zlib.DEFLATED, _WINDOW, 4, zlib.Z_DEFAULT_STRATEGY, _usual(mesh))
    squeezed = squeezer.compress(_END.join(rest)) + squeezer.flush()
    return len(squeezed).to_bytes(2, "big") + squeezed + b"".join(fixed)


def unpack(packed: bytes, mesh: str) -> list[bytes]:
    """Inverse of `pack`."""
    start = 2 + int.from_bytes(packed[:2], "big")
    rest = zlib.decompressobj(_WINDOW, _usual(mesh)).decompress(packed[2:start]).split(_END)
    documents: list[bytes] = []
    for body in rest:
        pieces = body.split(_HOLE)
        end = start + SIGNATURE_BYTES
        whole = [packed[start:end], pieces[0]]
        for piece in pieces[1:]:
            whole += (b'"', base64(packed[end : end + KEY_BYTES]).encode(), b'"', piece)
            end += KEY_BYTES
        documents.append(b"".join(whole))
        start = end
    return documents


@lru_cache(maxsize=64)
def _usual(mesh: str) -> bytes:
    """What a node certificate and its countersignature say between their values, as this project writes them."""
    return (
        b'{"kind":"node","mesh":"%(mesh)b","issuer":"\0","key":"\0","wireguard":"\0","curve":"\0","serial":1800000000,'
        b'"role":"client","prefixes":["::/0"],"exit":true,"role":"peer","prefixes":[],"exit":false,"expires":1900000000}'
        b'\0\0{"kind":"countersignature","mesh":"%(mesh)b","certificate":"\0","by":"\0","at":1800000000}'
    ) % {b"mesh": mesh.encode()}
