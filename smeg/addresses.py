"""Names and addresses that everyone can recompute: mesh id, overlay prefix, interface id. Nothing is assigned.

The mesh id is the hash of the root public key. The mesh id hashed gives the first 64 bits of every overlay address (a
unique local address, RFC 4193), the WireGuard public key hashed gives the last 64. `docs/addresses.md` has vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network

from smeg.keys import KEY_BYTES, NodeKey, base32
from smeg.prefixes import prefix

MESH_ID_BYTES = 20
MESH_ID = re.compile(r"[a-z2-7]{32}\Z")
"""The form of a mesh id: 160 bits in base32, a DNS label."""
MAX_COLLISION = 255
NODE_ID = 52
"""characters of a node's id."""
_PADDING = 5 * NODE_ID - 8 * KEY_BYTES
"""bits that the last of them has beyond the key."""
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def mesh_id(root: bytes) -> str:
    """The id, 32 characters, of the mesh whose root public key this is."""
    return base32(blake2b(root, digest_size=MESH_ID_BYTES, person=b"smeg-mesh-id").digest())


@lru_cache(maxsize=64)
def overlay_prefix(mesh: str) -> IPv6Network:
    """The mesh's /64: `fd`, then the first 56 bits of the hashed mesh id."""
    digest = blake2b(mesh.encode("ascii"), digest_size=7, person=b"smeg-prefix").digest()
    return prefix(int.from_bytes(b"\xfd" + digest + bytes(8), "big"), 64)


def overlay_address(mesh: str, wireguard: bytes, collision: int = 0) -> IPv6Address:
    """The address of a WireGuard public key in a mesh. `collision` counts how often a lower node key had it already.

    Interface id 0 is the subnet-router anycast address (RFC 4291, 2.6.1); the first that is not 0 is taken.
    """
    interface_id = bytes(8)
    attempt = 0
    while interface_id == bytes(8):
        seed = wireguard + bytes([collision, attempt])
        interface_id = blake2b(seed, digest_size=8, person=b"smeg-interface").digest()
        attempt += 1
    return IPv6Address(overlay_prefix(mesh).network_address.packed[:8] + interface_id)


class _Host(IPv6Network):
    """The prefix of one address, with nothing of its own but that: there is one of each member."""

    netmask = IPv6Address(2**128 - 1)
    _prefixlen = 128

    def __init__(self, address: object, strict: bool = True) -> None:
        if isinstance(address, IPv6Address):
            self.network_address = address
        else:
            # Made of another, as its supernet.
            super().__init__(address, strict)


def host_prefix(address: IPv6Address) -> IPv6Network:
    """The /128 of an address, which it shares: 80 bytes, where `ipaddress` takes 500."""
    return _Host(address)


def node_id(key: NodeKey) -> str:
    """A node key as people write it: base32, 52 characters; commands take any unique beginning."""
    return base32(key)


def ids_beginning(text: str) -> Callable[[NodeKey], bool]:
    """Which keys have an id that begins like this: of thousands no id has to be written for it."""
    digits = [_BASE32.find(letter) for letter in text.lower()]
    if not 0 < len(digits) <= NODE_ID or -1 in digits:
        return lambda key: False
    beginning, rest = 0, 5 * (NODE_ID - len(digits))
    for digit in digits:
        beginning = beginning << 5 | digit
    return lambda key: int.from_bytes(key, "big") << _PADDING >> rest == beginning
