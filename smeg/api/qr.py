"""A token as a QR code (ISO/IEC 18004), for who has only a camera."""

from __future__ import annotations

import io

import segno


def svg(text: str) -> str | None:
    """An SVG picture of its own, dark on light whatever is around it; None for more than a code can hold."""
    try:
        code = segno.make(text, error="l", micro=False)
    except segno.DataOverflowError:
        return None
    out = io.BytesIO()
    code.save(out, kind="svg", border=4, scale=4, dark="#000", light="#fff", xmldecl=False, svgns=True)
    return out.getvalue().decode()
