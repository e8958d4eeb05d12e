"""Who let whom in: the chain root → admin → invite → node, and the countersignature that admits a node.

Each certificate names its issuer by hash and only narrows what the issuer may. `chain.Chain` verifies; nothing here
looks at a clock or at other members.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Network

from smeg.addresses import mesh_id
from smeg.documents import Document, Fields, Kind, encode, seal
from smeg.errors import RemoteError
from smeg.keys import NodeKey, Secret, node_key

MAX_SERIAL = 2**53 - 1
MAX_TIME = 2**40
"""seconds since 1970: a bound, not a date anyone reaches."""
MAX_USES = 100_000
EVERYWHERE = (IPv6Network("::/0"),)


class Role(StrEnum):
    """What a node is to the others."""

    PEER = "peer"
    """Reachable from outside, forwards for its clients, may admit."""
    CLIENT = "client"
    """Behind NAT: dials out and is never dialled."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the holder of a certificate may be and do."""

    role: Role
    """The widest: a peer's issuer may make clients, not the other way round."""
    prefixes: tuple[IPv6Network, ...]
    """What routes it may advertise, beside its own address."""
    exit: bool
    """Whether it may advertise a default route."""
    expires: int
    """seconds since 1970."""

    def check_within(self, issuer: Grant) -> None:
        """Raise `RemoteError` (`too-broad`) unless this only narrows `issuer`."""
        if self.role is Role.PEER and issuer.role is not Role.PEER:
            raise RemoteError("too-broad", "a certificate makes a peer where its issuer may only make clients")
        if self.exit and not issuer.exit:
            raise RemoteError("too-broad", "a certificate allows a default route where its issuer may not")
        if self.expires > issuer.expires:
            raise RemoteError("too-broad", "a certificate lives longer than its issuer")
        for prefix in self.prefixes:
            if not any(prefix.subnet_of(wider) for wider in issuer.prefixes):
                raise RemoteError("too-broad", f"a certificate allows {prefix}, which its issuer may not")


def grant_fields(grant: Grant) -> dict[str, object]:
    return {
        "role": grant.role.value,
        "prefixes": [str(prefix) for prefix in grant.prefixes],
        "exit": grant.exit,
        "expires": grant.expires,
    }


def _read_grant(fields: Fields) -> Grant:
    try:
        role = Role(fields.text("role", 10))
    except ValueError as error:
        raise RemoteError("malformed", "a certificate whose role is neither peer nor client") from error
    return _grant(role, fields.prefixes("prefixes"), fields.flag("exit"), fields.integer("expires", 0, MAX_TIME))


@lru_cache(maxsize=256)
def _grant(role: Role, prefixes: tuple[IPv6Network, ...], exit_allowed: bool, expires: int) -> Grant:
    """Nearly all members of a mesh were given the same: one object."""
    return Grant(role, prefixes, exit_allowed, expires)


@dataclass(frozen=True, slots=True)
class AdminCertificate:
    """Signed by the root key, which it carries: the mesh id is that key's hash."""

    document: Document
    root: bytes
    key: NodeKey
    serial: int
    grant: Grant


@dataclass(frozen=True, slots=True)
class InviteCertificate:
    """Signed by an admin, for a key that stands in the token."""

    document: Document
    issuer: bytes
    """Hash of the admin certificate."""
    key: NodeKey
    serial: int
    deadline: int
    """seconds since 1970 until which a peer may countersign."""
    uses: int
    grant: Grant


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """Signed by the invite's key, or by an admin for a node of its own. Binds the node's three keys together."""

    document: Document
    issuer: bytes
    """Hash of the invite or admin certificate."""
    key: NodeKey
    wireguard: bytes
    curve: bytes
    serial: int
    """Grows with every certificate of one node."""
    grant: Grant


@dataclass(frozen=True, slots=True)
class Countersignature:
    """Signed by a peer that saw a use left. A node certificate from an invite counts only with one."""

    document: Document
    certificate: bytes
    """Hash of the node certificate."""
    by: bytes
    """Hash of the countersigner's own credential."""
    at: int
    """seconds since 1970."""


Certificate = AdminCertificate | InviteCertificate | NodeCertificate | Countersignature


def new_admin(root_seed: Secret, admin: NodeKey, serial: int, grant: Grant) -> Document:
    root = node_key(root_seed)
    fields = {"root": encode(root), "key": encode(admin), "serial": serial, **grant_fields(grant)}
    return seal(Kind.ADMIN, mesh_id(root), fields, root_seed)


def new_invite(
    admin: Document, admin_seed: Secret, key: NodeKey, serial: int, uses: int, deadline: int, grant: Grant
) -> Document:
    fields = {"issuer": encode(admin.hash), "key": encode(key), "serial": serial, "uses": uses, "deadline": deadline}
    return seal(Kind.INVITE, admin.mesh, {**fields, **grant_fields(grant)}, admin_seed)


def new_node(
    issuer: Document, seed: Secret, key: NodeKey, wireguard: bytes, curve: bytes, serial: int, grant: Grant
) -> Document:
    """`seed` is the issuer's: the invite's one-use key, or an admin's."""
    fields = {"issuer": encode(issuer.hash), "key": encode(key), "wireguard": encode(wireguard)}
    return seal(
        Kind.NODE, issuer.mesh, {**fields, "curve": encode(curve), "serial": serial, **grant_fields(grant)}, seed
    )


def new_countersignature(certificate: Document, by: bytes, at: int, seed: Secret) -> Document:
    """`by` is the hash of the countersigner's credential, `seed` its identity."""
    fields = {"certificate": encode(certificate.hash), "by": encode(by), "at": at}
    return seal(Kind.COUNTERSIGNATURE, certificate.mesh, fields, seed)


def read_certificate(document: Document, fields: Fields | None = None) -> Certificate:
    """What a certificate says; nothing is verified yet. `fields` are its own, if they were read already.

    Raises `RemoteError`.
    """
    fields = fields or document.fields()
    match document.kind:
        case Kind.ADMIN:
            return AdminCertificate(
                document,
                bytes(fields.signer("root")),
                fields.signer("key"),
                fields.integer("serial", 0, MAX_SERIAL),
                _read_grant(fields),
            )
        case Kind.INVITE:
            return InviteCertificate(
                document,
                fields.digest("issuer"),
                fields.signer("key"),
                fields.integer("serial", 0, MAX_SERIAL),
                fields.integer("deadline", 0, MAX_TIME),
                fields.integer("uses", 1, MAX_USES),
                _read_grant(fields),
            )
        case Kind.NODE:
            return NodeCertificate(
                document,
                fields.digest("issuer"),
                fields.signer("key"),
                fields.exchange_key("wireguard"),
                fields.exchange_key("curve"),
                fields.integer("serial", 0, MAX_SERIAL),
                _read_grant(fields),
            )
        case Kind.COUNTERSIGNATURE:
            return Countersignature(
                document, fields.digest("certificate"), fields.digest("by"), fields.integer("at", 0, MAX_TIME)
            )
        case _:
            raise RemoteError("malformed", f"a {document.kind.value} where a certificate belongs")
