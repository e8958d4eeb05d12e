"""X25519: public keys, and proofs of possession that only the holders of the two secrets can make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from smeg.errors import RemoteError
from smeg.keys import Secret, node_key, possession, sign, x25519_public
from tests.builders import secret

ONE, OTHER = secret("one"), secret("other")


def test_the_vector_of_rfc_7748_is_a_public_key() -> None:
    """Section 5.2: 9 times the point 9."""
    public = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert x25519_public(Secret((9).to_bytes(32, "little"))).hex() == public


def test_a_proof_rests_on_the_value_that_rfc_7748_says() -> None:
    """Section 5.2, the first vector."""
    own = Secret(bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"))
    other = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    shared = bytes.fromhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    proof = hashlib.blake2b(b"message", key=shared, digest_size=32, person=b"smeg-possession").digest()
    assert possession(own, other, b"message") == proof


def test_both_ends_make_the_same_proof_and_nobody_else_does() -> None:
    proof = possession(ONE, x25519_public(OTHER), b"message")
    assert proof == possession(OTHER, x25519_public(ONE), b"message")
    assert proof != possession(OTHER, x25519_public(ONE), b"another")
    assert proof != possession(secret("third"), x25519_public(ONE), b"message")


@pytest.mark.parametrize("other", [b"", bytes(31), bytes(33), x25519_public(ONE)[:-1], x25519_public(ONE) + b"\0"])
def test_what_is_no_key_proves_nothing(other: bytes) -> None:
    with pytest.raises(RemoteError):
        possession(ONE, other, b"message")


@pytest.mark.parametrize(
    "use",
    [node_key, x25519_public, lambda part: sign(part, b""), lambda part: possession(part, x25519_public(ONE), b"")],
)
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_secret_of_the_wrong_length_is_never_used(use: Callable[[Secret], bytes], length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        use(Secret(b"x" * length))
