"""A few words of HTML and SVG, and small images, all within one file: nothing is ever loaded from elsewhere."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from struct import pack

Colour = tuple[int, int, int, int]
"""Red, green, blue, and how opaque; each 0 to 255."""


def tag(name: str, content: str = "", **attributes: object) -> str:
    """An element around what is markup already. `class_` is written `class`, and `stroke_width` `stroke-width`."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value) if isinstance(value, float) else str(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{said}>{content}</{name}>"


def words(text: object) -> str:
    """Text that is no markup."""
    return escape(str(text))


def number(value: float) -> str:
    """As few digits as a picture needs."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def seconds(value: float) -> str:
    """A time for people: `4.2 s`, `3 min 20 s`, `1 h 5 min`."""
    if value < 100:
        return f"{number(round(value, 1))} s"
    minutes, left = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def volume(value: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def picture(rows: Sequence[bytes], palette: Sequence[Colour]) -> str:
    """A PNG as a `data:` address; each byte of a row is a place in the palette. Rows are equally long, not empty."""
    head = pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    colours = b"".join(bytes(colour[:3]) for colour in palette)
    opaque = bytes(colour[3] for colour in palette)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    chunks = ((b"IHDR", head), (b"PLTE", colours), (b"tRNS", opaque), (b"IDAT", body), (b"IEND", b""))
    image = b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return "data:image/png;base64," + b64encode(image).decode()
