"""The invitation as text: all that a joiner needs, in one line that says so when it was damaged.

`smeg1.` and base64 of `length (2 bytes) ‖ checksum (6 bytes) ‖ JSON`. The JSON holds the mesh's name, where to dial
with which CURVE keys, the admin's and the invite's certificate, and the seed of the invite's key: a token is a
secret. `docs/tokens.md` has vectors. Expiry and uses are judged by who lets the joiner in; the joiner only saves
itself the way.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from smeg.addresses import mesh_id
from smeg.certificates import AdminCertificate, InviteCertificate, read_certificate
from smeg.documents import Document, read
from smeg.endpoints import MAX_ENDPOINTS, parse_endpoint
from smeg.errors import LocalError, RemoteError
from smeg.keys import KEY_BYTES, Secret, base64, from_base64, node_key
from smeg.stored import Contact

HEAD = "smeg1."
CHECKSUM_BYTES = 6
MAX_TOKEN = 16384
"""characters."""
MAX_CONTACTS = 8
MESH_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
"""A mesh's name is a DNS label."""


@dataclass(frozen=True, slots=True)
class Token:
    """An invitation, read and consistent in itself."""

    name: str
    admin: AdminCertificate
    invite: InviteCertificate
    seed: Secret = field(repr=False)
    contacts: tuple[Contact, ...]

    @property
    def mesh(self) -> str:
        return self.admin.document.mesh


def write_token(name: str, admin: Document, invite: Document, seed: Secret, contacts: tuple[Contact, ...]) -> Secret:
    """The token's text, as bytes in a `Secret`."""
    content = orjson.dumps(
        {
            "name": name,
            "dial": [
                {"curve": base64(contact.curve), "endpoints": [str(endpoint) for endpoint in contact.endpoints]}
                for contact in contacts
            ],
            "admin": base64(admin.raw),
            "invite": base64(invite.raw),
            "seed": base64(seed.reveal()),
        }
    )
    head = len(content).to_bytes(2, "big") + _checksum(content)
    return Secret((HEAD + base64(head + content)).encode())


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=CHECKSUM_BYTES, person=b"smeg-token").digest()


def read_token(text: str) -> Token:
    """The token in `text`; blanks and line breaks that a mail or a terminal put in are dropped. Raises `LocalError`."""
    content = _content("".join(text.split()))
    try:
        fields = orjson.loads(content)
        contacts = tuple(_contact(entry) for entry in fields["dial"][:MAX_CONTACTS])
        admin = read_certificate(read(from_base64(fields["admin"])))
        invite = read_certificate(read(from_base64(fields["invite"])))
        seed = Secret(from_base64(fields["seed"]))
        name = fields["name"]
        if not isinstance(name, str) or not MESH_NAME.match(name):
            raise ValueError("the mesh's name is not a DNS label")
        if not isinstance(admin, AdminCertificate) or not isinstance(invite, InviteCertificate):
            raise ValueError("its certificates are of the wrong kind")
        if admin.document.mesh != mesh_id(admin.root) or invite.document.mesh != admin.document.mesh:
            raise ValueError("its certificates are of different meshes")
        if invite.issuer != admin.document.hash:
            raise ValueError("its invitation is not by its admin")
        if len(seed.reveal()) != KEY_BYTES or node_key(seed) != invite.key:
            raise ValueError("its key is not the one that was invited")
    except (RemoteError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LocalError("token-damaged", f"this token cannot be read: {error}", "ask for a new one") from error
    return Token(name, admin, invite, seed, contacts)


def _contact(entry: dict[str, object]) -> Contact:
    curve, endpoints = entry["curve"], entry["endpoints"]
    if not isinstance(curve, str) or not isinstance(endpoints, list) or len(endpoints) > MAX_ENDPOINTS:
        raise ValueError("a place to dial is malformed")
    key = from_base64(curve)
    if len(key) != KEY_BYTES:
        raise ValueError("a CURVE key has 32 bytes")
    return Contact(key, tuple(parse_endpoint(str(endpoint)) for endpoint in endpoints))


def _content(text: str) -> bytes:
    """The JSON bytes, after every check that tells one kind of damage from another."""
    if not text:
        raise LocalError("token-empty", "no token was given", "paste the whole line that `smeg-cli invite` printed")
    if not text.startswith(HEAD):
        if re.match(r"smeg\d+\.", text):
            raise LocalError("token-newer", "this token is of another version of smegmesh", "upgrade, then try again")
        raise LocalError("token-damaged", f"a token begins with {HEAD!r}, this does not", "copy the whole line")
    if len(text) > MAX_TOKEN:
        raise LocalError("token-damaged", f"a token of {len(text)} characters is too long", "copy only the one line")
    coded = text[len(HEAD) :]
    strange = next((letter for letter in coded if not re.match(r"[A-Za-z0-9_-]", letter)), None)
    if strange is not None:
        raise LocalError("token-damaged", f"a token has no {strange!r} in it", "copy it again, exactly")
    # Decoded leniently first: a cut token ends anywhere, also inside a base64 group.
    whole = _lenient(coded)
    length = int.from_bytes(whole[:2], "big")
    head = 2 + CHECKSUM_BYTES
    expected = len(HEAD) + -(-(head + length) * 4 // 3)
    if len(whole) < head or len(text) < expected:
        raise LocalError(
            "token-cut", f"this token is cut short: {len(text)} of {expected} characters", "copy the whole line"
        )
    if len(text) > expected or base64(whole) != coded or _checksum(whole[head:]) != whole[2:head]:
        raise LocalError("token-altered", "this token was altered: its checksum differs", "copy it again, exactly")
    return whole[head:]


def _lenient(coded: str) -> bytes:
    usable = coded[: len(coded) - (1 if len(coded) % 4 == 1 else 0)]
    return urlsafe_b64decode(usable + "=" * (-len(usable) % 4))
