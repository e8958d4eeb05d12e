"""Prefixes as routing needs them: by the million, in tables and in order."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network
from typing import Any

REMEMBERED = 1 << 14


class Prefix(IPv6Network):
    """An `IPv6Network` of which hash and order are computed once: routing looks up and sorts them by the million."""

    def __init__(self, address: object, strict: bool = True) -> None:
        super().__init__(address, strict)
        self._place = int(self.network_address), self.prefixlen
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Prefix):
            return self._place == other._place
        return super().__eq__(other)

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, Prefix):
            return self._place < other._place
        return super().__lt__(other)


@lru_cache(maxsize=REMEMBERED)
def prefix(low: int, length: int) -> IPv6Network:
    """The prefix of so many bits that begins at this address; the same object for the same numbers, as a rule."""
    return Prefix((low, length))


@lru_cache(maxsize=REMEMBERED)
def read_prefix(text: str) -> IPv6Network | None:
    """What a text says that somebody else wrote, None if it is no prefix.

    A scope ("2001:db8::%1/48") would make equal prefixes compare as different.
    """
    try:
        return None if "%" in text else Prefix(text)
    except ValueError:
        return None
