"""Devices without a daemon that an admin has evicted: how it is said, in an annex, and who is believed.

A device is no member, so no remove can name it. The node that holds the admin's key says by an annex of its own which
WireGuard keys count as no device any more, signed with the admin's key beside its certificate; so it proves itself,
whoever says it. The peer that vouched for one forgets it, and where that peer does not, all others do.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import lru_cache

import orjson

from smeg.addresses import mesh_id
from smeg.annexes import Annex
from smeg.certificates import AdminCertificate, read_certificate
from smeg.documents import parse
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, NodeKey, Secret, base64, from_base64, sign, verify

LABEL = "static-evicted"
"""Of the annex."""
MAX_EVICTED = 64
"""keys in one annex."""
_SIGNED = b"smegmesh/1/static-evicted\0"
NOBODY: frozenset[bytes] = frozenset()


def evictions(mesh: str, admin: AdminCertificate, seed: Secret, devices: Iterable[bytes]) -> bytes:
    """The body of the annex that evicts the devices with these WireGuard keys, at most `MAX_EVICTED`."""
    keys = sorted(devices)
    said = {
        "admin": base64(admin.document.raw),
        "devices": [base64(key) for key in keys],
        "signature": base64(sign(seed, _signed(mesh, keys))),
    }
    return orjson.dumps(said)


def evicted(
    mesh: str, members: Container[NodeKey], annexes: Mapping[NodeKey, Mapping[str, Annex]], wall: int
) -> frozenset[bytes]:
    """The WireGuard keys of all devices that were evicted by what `members` say. `wall` in seconds since 1970."""
    found = [
        keys
        for node, said in annexes.items()
        if LABEL in said and node in members and said[LABEL].body
        for keys, expires in (read_evictions(mesh, said[LABEL].body),)
        if expires > wall
    ]
    return NOBODY.union(*found) if found else NOBODY


@lru_cache(maxsize=1024)
def read_evictions(mesh: str, said: bytes) -> tuple[frozenset[bytes], int]:
    """Whom a body evicts, and until when its admin is one; nobody if it proves nothing."""
    try:
        return _read(mesh, said)
    except (ValueError, RemoteError):
        return NOBODY, 0


def _read(mesh: str, said: bytes) -> tuple[frozenset[bytes], int]:
    match orjson.loads(said):
        case {"admin": str(admin), "devices": list(devices), "signature": str(signature)} if 0 < len(
            devices
        ) <= MAX_EVICTED and all(isinstance(each, str) for each in devices):
            keys = [from_base64(each) for each in devices]
        case _:
            raise ValueError("no list of devices")
    certificate = read_certificate(*parse(from_base64(admin)))
    if not isinstance(certificate, AdminCertificate) or certificate.document.mesh != mesh:
        raise ValueError("no admin of this mesh")
    if mesh_id(certificate.root) != mesh or not certificate.document.signed_by(certificate.root):
        raise ValueError("an admin that the root does not know")
    if any(len(key) != KEY_BYTES for key in keys) or keys != sorted(set(keys)):
        raise ValueError("not different keys, in order")
    if not verify(certificate.key, from_base64(signature), _signed(mesh, keys)):
        raise ValueError("not signed by the admin")
    return frozenset(keys), certificate.grant.expires


def _signed(mesh: str, keys: Iterable[bytes]) -> bytes:
    return _SIGNED + mesh.encode() + b"\0" + b"".join(keys)
