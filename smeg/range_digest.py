"""A hash tree over keyed digests, to find what differs between two replicas at a cost that follows the difference.

Keys are cut into hexadecimal digits; a range is named by the digits that its keys begin with. The digest of a range
with more than `LEAF` keys is the hash of its sixteen parts' digests, of a smaller one the hash of its keys and their
digests. Hashes of hashes, not sums: nobody can make changes that cancel out. What was computed is kept until a key in
it changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b

from smeg.keys import NodeKey

DIGEST_BYTES = 8
FAN_OUT = 16
LEAF = 16
"""keys; a range of at most this many is listed rather than divided."""
MAX_DEPTH = 64
EMPTY = bytes(DIGEST_BYTES)


class RangeDigest:
    def __init__(self) -> None:
        self._keys: list[NodeKey] = []
        self._digests: dict[NodeKey, bytes] = {}
        self._ranges: dict[str, bytes] = {}
        self._deepest = 0

    def set(self, key: NodeKey, digest: bytes) -> None:
        """Give a key its digest, 8 bytes."""
        if key not in self._digests:
            self._keys.insert(bisect_left(self._keys, key), key)
        self._digests[key] = digest
        digits = key.hex()
        for depth in range(self._deepest + 1):
            self._ranges.pop(digits[:depth], None)

    def __iter__(self) -> Iterator[NodeKey]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, digits: str = "") -> bytes:
        """The digest of a range; `EMPTY` when nothing lies in it."""
        known = self._ranges.get(digits)
        if known is None:
            low, high = self._bounds(digits)
            if low == high:
                return EMPTY
            if high - low <= LEAF or len(digits) >= MAX_DEPTH:
                content = b"".join(key + self._digests[key] for key in self._keys[low:high])
            else:
                content = b"".join(self.parts(digits))
            known = blake2b(content, digest_size=DIGEST_BYTES).digest()
            # Not for a single key: whoever asks for ever longer names of its range would fill the memory.
            if high - low > 1:
                self._ranges[digits] = known
                self._deepest = max(self._deepest, len(digits))
        return known

    def parts(self, digits: str) -> list[bytes]:
        """The digests of the sixteen parts of a range."""
        return [self.of(f"{digits}{part:x}") for part in range(FAN_OUT)]

    def size(self, digits: str) -> int:
        """How many keys lie in a range."""
        low, high = self._bounds(digits)
        return high - low

    def listing(self, digits: str) -> dict[NodeKey, bytes]:
        """The keys of a range with their digests."""
        low, high = self._bounds(digits)
        return {key: self._digests[key] for key in self._keys[low:high]}

    def _bounds(self, digits: str) -> tuple[int, int]:
        if not digits:
            return 0, len(self._keys)
        low = bytes.fromhex(digits.ljust(MAX_DEPTH, "0"))
        high = bytes.fromhex(digits.ljust(MAX_DEPTH, "f"))
        first = bisect_left(self._keys, low)
        last = bisect_left(self._keys, high, lo=first)
        return first, last + (last < len(self._keys) and self._keys[last] == high)
