"""The range digest: equal exactly when the contents are, and a way to what differs that costs no more than that."""

from __future__ import annotations

import tracemalloc
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from smeg.keys import NodeKey
from smeg.range_digest import DIGEST_BYTES, EMPTY, LEAF, MAX_DEPTH, RangeDigest
from tests.builders import QUICK

# Few different beginnings, so that some ranges are crowded and some trees deep.
KEYS = st.tuples(st.binary(min_size=1, max_size=2), st.integers(0, 40)).map(
    lambda pair: NodeKey(pair[0].ljust(31, b"\x11") + bytes([pair[1]]))
)
DIGESTS = st.sampled_from([bytes([value]) * 8 for value in range(3)])
CONTENTS = st.dictionaries(KEYS, DIGESTS, max_size=80)


def tree(content: dict[NodeKey, bytes]) -> RangeDigest:
    made = RangeDigest()
    for key, digest in content.items():
        made.set(key, digest)
    return made


def differing(ours: RangeDigest, theirs: RangeDigest, digits: str = "") -> set[NodeKey]:
    """Narrow down as two replicas do: by parts while a range is large on either side, then by listing."""
    if ours.of(digits) == theirs.of(digits):
        return set()
    if max(ours.size(digits), theirs.size(digits)) > LEAF and len(digits) < MAX_DEPTH:
        return {key for part in "0123456789abcdef" for key in differing(ours, theirs, digits + part)}
    left, right = ours.listing(digits), theirs.listing(digits)
    return {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


@QUICK
@given(CONTENTS, CONTENTS)
def test_digests_are_equal_exactly_when_contents_are(left: dict[NodeKey, bytes], right: dict[NodeKey, bytes]) -> None:
    assert (tree(left).of() == tree(right).of()) == (left == right)


@QUICK
@given(CONTENTS, CONTENTS)
def test_narrowing_finds_exactly_what_differs(base: dict[NodeKey, bytes], changes: dict[NodeKey, bytes]) -> None:
    other = {**base, **changes}
    expected = {key for key in other if base.get(key) != other[key]}
    assert differing(tree(base), tree(other)) == expected
    assert differing(tree(other), tree(base)) == expected


@QUICK
@given(CONTENTS.flatmap(lambda content: st.permutations(sorted(content.items()))), DIGESTS)
def test_the_order_of_insertion_and_earlier_values_leave_no_trace(
    items: list[tuple[NodeKey, bytes]], earlier: bytes
) -> None:
    made = RangeDigest()
    for key, _ in reversed(items):
        made.set(key, earlier)
        made.of()
    for key, digest in items:
        made.set(key, digest)
        made.of(key.hex()[:3])
    assert made.of() == tree(dict(sorted(items))).of()
    assert list(made) == sorted(key for key, _ in items)
    assert len(made) == made.size("") == len(items)


@QUICK
@given(CONTENTS, st.text(alphabet="0123456789abcdef", max_size=MAX_DEPTH))
def test_a_range_holds_the_keys_that_begin_with_its_digits(content: dict[NodeKey, bytes], digits: str) -> None:
    made = tree(content)
    expected = {key: digest for key, digest in content.items() if key.hex().startswith(digits)}
    assert made.listing(digits) == expected
    assert made.size(digits) == len(expected)
    assert (made.of(digits) == EMPTY) == (not expected)


def spread(count: int) -> dict[NodeKey, bytes]:
    keys = (blake2b(index.to_bytes(2, "big"), digest_size=32).digest() for index in range(count))
    return {NodeKey(key): b"8 bytes." for key in keys}


def test_one_difference_among_thousands_is_found_in_a_few_ranges() -> None:
    content = spread(3000)
    ours, theirs = tree(content), tree(content)
    changed = list(content)[1234]
    theirs.set(changed, bytes(8))
    digits, compared = "", 0
    while theirs.size(digits) > LEAF:
        parts = zip(ours.parts(digits), theirs.parts(digits), strict=True)
        (unequal,) = [index for index, (left, right) in enumerate(parts) if left != right]
        digits, compared = f"{digits}{unequal:x}", compared + 1
    assert compared <= 4
    assert changed in theirs.listing(digits)


def test_asking_for_ever_longer_names_of_a_range_fills_no_memory() -> None:
    content = spread(500)
    made = tree(content)
    made.of()
    tracemalloc.start()
    for key in content:
        for depth in range(MAX_DEPTH + 1):
            made.of(key.hex()[:depth])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Less than a digest for every name that was asked for.
    assert held < len(content) * MAX_DEPTH * DIGEST_BYTES / 4


@QUICK
@given(CONTENTS, CONTENTS, CONTENTS)
def test_a_fork_and_its_origin_change_each_on_its_own(
    base: dict[NodeKey, bytes], ours: dict[NodeKey, bytes], theirs: dict[NodeKey, bytes]
) -> None:
    origin = tree(base)
    fork = origin.fork()
    for made, changes in ((origin, ours), (fork, theirs)):
        made.of()
        for key, digest in changes.items():
            made.set(key, digest)
    for made, changes in ((origin, ours), (fork, theirs)):
        assert made.listing("") == {**base, **changes}
        assert made.of() == tree({**base, **changes}).of()


def by_definition(content: dict[NodeKey, bytes], digits: str = "") -> bytes:
    within = sorted((key, digest) for key, digest in content.items() if key.hex().startswith(digits))
    parts = [key + digest for key, digest in within]
    if len(within) > LEAF and len(digits) < MAX_DEPTH:
        parts = [by_definition(content, digits + part) for part in "0123456789abcdef"]
    return blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest() if within else EMPTY


@QUICK
@given(CONTENTS, st.text(alphabet="0123456789abcdef", max_size=5))
def test_a_digest_is_what_the_definition_says(content: dict[NodeKey, bytes], digits: str) -> None:
    """Other replicas compute it too, perhaps in another version."""
    for name in (digits, next(iter(content), b"").hex()[: len(digits)]):
        assert tree(content).of(name) == by_definition(content, name)
        assert tree(content).parts(name) == [by_definition(content, name + part) for part in "0123456789abcdef"]
