"""Ed25519 signatures: what was signed passes, and of what was not nothing does, not even what the curve would allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.keys import Secret, node_key, sign, verify
from tests.builders import QUICK, secret
from tests.test_addresses import NOT_CANONICAL, SMALL_ORDER

SEED = secret("signer")
KEY = node_key(SEED)
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


@QUICK
@given(st.binary(max_size=200), st.integers(0, 511))
def test_a_signature_passes_as_it_was_made_and_with_no_bit_changed(message: bytes, bit: int) -> None:
    signature = sign(SEED, message)
    assert verify(KEY, signature, message)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify(KEY, bytes(changed), message)
    assert not verify(KEY, signature, message + b".")
    assert not verify(node_key(secret("another")), signature, message)


def test_the_vector_of_rfc_8032_is_made_and_passes() -> None:
    seed = Secret(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert (node_key(seed), sign(seed, b"\x72")) == (key, signature)
    assert verify(key, signature, b"\x72")


@pytest.mark.parametrize("times", range(1, 15))
def test_a_signature_with_the_groups_order_added_is_another_and_is_refused(times: int) -> None:
    """Whoever relays a document could else give it another hash."""
    signature = sign(SEED, b"message")
    scalar = int.from_bytes(signature[32:], "little") + times * GROUP_ORDER
    assert not verify(KEY, signature[:32] + scalar.to_bytes(32, "little"), b"message")


@pytest.mark.parametrize("key", [*SMALL_ORDER, *NOT_CANONICAL])
@pytest.mark.parametrize("point", [*SMALL_ORDER, *NOT_CANONICAL])
def test_a_key_of_small_order_signs_nothing(key: str, point: str) -> None:
    """Under such a key one signature would pass for many messages."""
    for message in range(16):
        assert not verify(bytes.fromhex(key), bytes.fromhex(point) + bytes(32), bytes([message]))


@pytest.mark.parametrize("key", [b"", KEY[:-1], KEY + b"\0"])
def test_a_key_of_the_wrong_length_is_no_key(key: bytes) -> None:
    assert not verify(key, sign(SEED, b"message"), b"message")


@pytest.mark.parametrize("length", [0, 32, 63])
def test_a_signature_of_the_wrong_length_is_none(length: int) -> None:
    """Nor is one that takes its last bytes from the message, or lends it some."""
    signature = sign(SEED, b"message")
    assert not verify(KEY, signature[:length], signature[length:] + b"message")
    assert not verify(KEY, signature + b"mess", b"age")
