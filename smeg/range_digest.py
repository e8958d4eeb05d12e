"""A hash tree over keyed digests, to find what differs between two replicas at a cost that follows the difference.

Keys are cut into hexadecimal digits; a range is named by the digits that its keys begin with. The digest of a range
with more than `LEAF` keys is the hash of its sixteen parts' digests, of a smaller one the hash of its keys and their
digests. Hashes of hashes, not sums: nobody can make changes that cancel out.

The tree is persistent: a change makes new nodes from the root to one leaf and shares all others, so a fork costs
nothing and thousands of replicas that hold the same keep it once. Its shape follows from its keys alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b

from smeg.keys import KEY_BYTES, NodeKey

DIGEST_BYTES = 8
FAN_OUT = 16
LEAF = 16
"""keys; a range of at most this many is listed rather than divided."""
MAX_DEPTH = 2 * KEY_BYTES
"""digits of a whole key."""
EMPTY = bytes(DIGEST_BYTES)


class _Leaf:
    """At most `LEAF` keys, sorted, and their digests. A leaf without keys is a part in which nothing lies."""

    __slots__ = ("_digest", "digests", "keys")

    def __init__(self, keys: tuple[NodeKey, ...], digests: bytes) -> None:
        self.keys = keys
        self.digests = digests
        """One after another: each as an object of its own would take six times as much."""
        self._digest: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.keys)

    def digest(self) -> bytes:
        if self._digest is None:
            self._digest = _hash(b"".join([key + digest for key, digest in self.items()]))
        return self._digest

    def with_key(self, key: NodeKey, digest: bytes, depth: int) -> _Node:
        at = bisect_left(self.keys, key)
        after = at + (at < len(self.keys) and self.keys[at] == key)
        keys = (*self.keys[:at], key, *self.keys[after:])
        digests = _cut(self.digests, 0, at) + digest + _cut(self.digests, after)
        return _divided(keys, digests, depth)

    def within(self, digits: str) -> _Leaf:
        """The keys that begin with these digits, as a leaf of its own."""
        low = bisect_left(self.keys, bytes.fromhex(digits.ljust(MAX_DEPTH, "0")))
        high = low
        while high < len(self.keys) and self.keys[high].hex().startswith(digits):
            high += 1
        return _Leaf(self.keys[low:high], _cut(self.digests, low, high))

    def items(self) -> Iterator[tuple[NodeKey, bytes]]:
        digests = self.digests
        each = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
        return zip(self.keys, each, strict=True)


class _Branch:
    """More than `LEAF` keys in sixteen parts, one a digit."""

    __slots__ = ("_digest", "parts", "size")

    def __init__(self, parts: tuple[_Node, ...], size: int) -> None:
        self.parts = parts
        self.size = size
        self._digest: bytes | None = None

    def digest(self) -> bytes:
        if self._digest is None:
            self._digest = _hash(b"".join([part.digest() for part in self.parts]))
        return self._digest

    def with_key(self, key: NodeKey, digest: bytes, depth: int) -> _Branch:
        at = _digit(key, depth)
        before = self.parts[at]
        after = before.with_key(key, digest, depth + 1)
        return _Branch((*self.parts[:at], after, *self.parts[at + 1 :]), self.size - before.size + after.size)

    def items(self) -> Iterator[tuple[NodeKey, bytes]]:
        for part in self.parts:
            yield from part.items()


_Node = _Leaf | _Branch
_NOTHING = _Leaf((), b"")


class RangeDigest:
    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node = _NOTHING

    def fork(self) -> RangeDigest:
        """Another with the same content, which changes on its own."""
        made = RangeDigest()
        made._root = self._root
        return made

    def set(self, key: NodeKey, digest: bytes) -> None:
        """Give a key its digest, 8 bytes."""
        self._root = self._root.with_key(key, digest, 0)

    def __iter__(self) -> Iterator[NodeKey]:
        return (key for key, _ in self._root.items())

    def __len__(self) -> int:
        return self._root.size

    def of(self, digits: str = "") -> bytes:
        """The digest of a range; `EMPTY` when nothing lies in it."""
        return self._range(digits).digest()

    def parts(self, digits: str) -> list[bytes]:
        """The digests of the sixteen parts of a range."""
        node = self._range(digits)
        if isinstance(node, _Branch):
            return [part.digest() for part in node.parts]
        return [node.within(f"{digits}{part:x}").digest() if node.keys else EMPTY for part in range(FAN_OUT)]

    def size(self, digits: str) -> int:
        """How many keys lie in a range."""
        return self._range(digits).size

    def listing(self, digits: str) -> dict[NodeKey, bytes]:
        """The keys of a range with their digests."""
        return dict(self._range(digits).items())

    def _range(self, digits: str) -> _Node:
        """The node of a range; for a part of a leaf one that nobody keeps."""
        node = self._root
        for digit in digits:
            if isinstance(node, _Leaf):
                return node.within(digits)
            node = node.parts[int(digit, 16)]
        return node


def _divided(keys: tuple[NodeKey, ...], digests: bytes, depth: int) -> _Node:
    """The node at this depth that holds these keys, sorted."""
    if len(keys) <= LEAF or depth >= MAX_DEPTH:
        return _Leaf(keys, digests) if keys else _NOTHING
    parts: list[_Node] = []
    low = 0
    for part in range(FAN_OUT):
        high = low
        while high < len(keys) and _digit(keys[high], depth) == part:
            high += 1
        parts.append(_divided(keys[low:high], _cut(digests, low, high), depth + 1))
        low = high
    return _Branch(tuple(parts), len(keys))


def _cut(digests: bytes, low: int, high: int | None = None) -> bytes:
    """Those from one number up to another."""
    return digests[low * DIGEST_BYTES : None if high is None else high * DIGEST_BYTES]


def _digit(key: NodeKey, depth: int) -> int:
    octet = key[depth >> 1]
    return octet & 15 if depth & 1 else octet >> 4


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=DIGEST_BYTES).digest() if content else EMPTY
