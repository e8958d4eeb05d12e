"""Keys as values: Ed25519 identities, X25519 pairs for WireGuard and CURVE, and secrets that do not print.

Source: RFC 7748 and RFC 8032. libsodium computes; it refuses keys and points of small order, and signatures made from
others by adding the group's order. Keys that may sign are checked when they are read, too.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode, standard_b64decode, standard_b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import NewType, final
from weakref import WeakValueDictionary

from nacl.bindings import (
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from smeg.errors import RemoteError

NodeKey = NewType("NodeKey", bytes)
"""A node's Ed25519 public key, 32 bytes: its name in every map, ordered bytewise."""

_SETS: WeakValueDictionary[int, frozenset[NodeKey]] = WeakValueDictionary()
KEY_BYTES = 32
SIGNATURE_BYTES = 64
Entropy = Callable[[int], bytes]
"""Where random bytes come from: `os.urandom` in production, a seeded generator in the simulator."""

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_TO_URL = bytes.maketrans(b"+/", b"-_")
FROM_URL = bytes.maketrans(b"-_", b"+/")
"""From the URL-safe base64 alphabet to the standard one."""


def interned(keys: frozenset[NodeKey]) -> frozenset[NodeKey]:
    """The one object of this set in the process: thousands of simulated nodes think the same dead."""
    known = _SETS.get(hash(keys))
    if known is not None and known == keys:
        return known
    _SETS[hash(keys)] = keys
    return keys


@final
class Secret:
    """Secret bytes. `repr`, `str` and pickling never show them; `reveal` does, and is easy to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


def new_secret(entropy: Entropy) -> Secret:
    """A fresh seed, 32 bytes, for any of the key kinds here."""
    return Secret(entropy(KEY_BYTES))


def node_key(seed: Secret) -> NodeKey:
    """The Ed25519 public key of a seed."""
    public, _ = crypto_sign_seed_keypair(_whole(seed))
    return NodeKey(public)


def sign(seed: Secret, message: bytes) -> bytes:
    """An Ed25519 signature, 64 bytes."""
    _, private = crypto_sign_seed_keypair(_whole(seed))
    return crypto_sign(message, private)[:SIGNATURE_BYTES]


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is `key`'s over `message`. Never raises."""
    # The bindings read as many bytes of a key as there should be, whatever there are.
    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, key)
    except CryptoError:
        return False
    return True


def x25519_public(secret: Secret) -> bytes:
    """The X25519 public key, 32 bytes, as WireGuard and CURVE use it."""
    return crypto_scalarmult_base(_whole(secret))


def possession(secret: Secret, other: bytes, message: bytes) -> bytes:
    """Proof, 32 bytes, to the holder of X25519 key `other` that we hold `secret`, bound to `message`.

    A keyed BLAKE2b under the Diffie-Hellman value: either side can compute it, nobody else.
    """
    if len(other) != KEY_BYTES:
        raise RemoteError("bad-key", f"an X25519 key has {KEY_BYTES} bytes, this has {len(other)}")
    try:
        shared = crypto_scalarmult(_whole(secret), other)
    except CryptoError as error:
        raise RemoteError("bad-key", "an X25519 key of small order cannot prove anything") from error
    return hashlib.blake2b(message, key=shared, digest_size=32, person=b"smeg-possession").digest()


def _whole(secret: Secret) -> bytes:
    """Raises `ValueError` when it is not the whole secret of a key."""
    value = secret.reveal()
    if len(value) != KEY_BYTES:
        raise ValueError(f"a key's secret has {KEY_BYTES} bytes")
    return value


def check_ed25519(key: bytes) -> NodeKey:
    """`key` as a `NodeKey`, or `RemoteError` when it is not canonical or of small order.

    The eight small-order points have y in {0, 1, -1, ±y8}; y8 and -y8 solve d·y⁴ + 2·y² - 1 = 0 on the curve, which is
    cheaper to test than eight encodings: the doubling of an order-8 point has y = 0 exactly when that holds.
    """
    if len(key) != KEY_BYTES:
        raise RemoteError("bad-key", f"an Ed25519 key has 32 bytes, this has {len(key)}")
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    if y >= _P:
        raise RemoteError("bad-key", "an Ed25519 key is not in canonical form")
    y2 = y * y % _P
    if y in (0, 1, _P - 1) or (_D * y2 * y2 + 2 * y2 - 1) % _P == 0:
        raise RemoteError("bad-key", "an Ed25519 key of small order is nobody's")
    return NodeKey(key)


def base32(data: bytes) -> str:
    """Lower-case base32 without padding: what people read, and a valid DNS label up to 39 bytes."""
    return b32encode(data).decode().rstrip("=").lower()


def base64(data: bytes) -> str:
    """URL-safe base64 without padding: how bytes stand in JSON."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def from_base64(text: str) -> bytes:
    """Inverse of `base64`, strict: only the canonical text of some bytes is accepted. Raises `ValueError`."""
    encoded = text.encode("ascii")
    data = a2b_base64(encoded.translate(FROM_URL) + b"=" * (-len(encoded) % 4))
    # What was left out in reading, be it a foreign letter or bits at the end, is missed in writing.
    if b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=") != encoded:
        raise ValueError("not canonical base64")
    return data


def wireguard_text(key: bytes) -> str:
    """A key as `wg` prints it: standard base64 with padding."""
    return standard_b64encode(key).decode()


def from_wireguard_text(text: str) -> bytes:
    """Inverse of `wireguard_text`. Raises `ValueError`."""
    data = standard_b64decode(text)
    if len(data) != KEY_BYTES:
        raise ValueError("a WireGuard key has 32 bytes")
    return data
