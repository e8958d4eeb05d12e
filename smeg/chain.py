"""What may enter the pool of certificates, and what each credential proves.

A credential is the document that admits a node: a countersignature by a peer, or a node certificate that an admin
issued itself. A certificate enters the pool only with all its ancestors, so whatever is in it goes back to the root
key, offline. Nothing here looks at a clock, at removes or at how often an invite was used: `roster.Roster` judges
those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from immutables import Map

from smeg.addresses import mesh_id
from smeg.certificates import (
    AdminCertificate,
    Certificate,
    Countersignature,
    InviteCertificate,
    NodeCertificate,
    Role,
)
from smeg.errors import RemoteError
from smeg.notary import Notary, check_mesh
from smeg.pool import Pool, parents
from smeg.records import Standing

USES_SLACK = 64
"""Credentials of one invite beyond twice its uses that are still looked at: partitions may overdraw, floods may not."""


class MissingDocuments(RemoteError):
    """A chain cannot be followed for want of these; who sent the rest can be asked."""

    def __init__(self, hashes: frozenset[bytes]) -> None:
        super().__init__("missing-documents", f"{len(hashes)} certificates are missing")
        self.hashes = hashes


class Chain(Pool):
    __slots__ = ("_entering", "_given")

    def __init__(self, mesh: str, notary: Notary) -> None:
        super().__init__(mesh, notary)
        self._given: Map[bytes, int] = Map()
        """Credentials of each invite."""
        self._entering: dict[bytes, NodeCertificate] = {}
        """Verified while a chain is followed, and kept if a countersignature of it is."""

    def fork(self) -> Self:
        made = super().fork()
        made._given = self._given
        return made

    def establish(self, credential: bytes, offered: Mapping[bytes, Certificate]) -> Standing:
        """Verify a credential with what is offered, and keep it and its ancestors.

        Raises `MissingDocuments`, or `RemoteError` when something in the chain is not as it should be.
        """
        known = self._standings.get(credential)
        if known is not None:
            return known
        try:
            self._follow(credential, offered)
        finally:
            # Whoever has a token makes as many node certificates as it likes: without countersignature none is kept.
            self._entering.clear()
        standing = self._standings.get(credential)
        if standing is None:
            raise RemoteError("no-credential", "a node certificate without a peer's countersignature admits nobody")
        return standing

    def _follow(self, credential: bytes, offered: Mapping[bytes, Certificate]) -> None:
        """Enter a certificate after its ancestors. What rests on something missing is looked at once, never again."""
        missing: set[bytes] = set()
        stuck: set[bytes] = set()
        stack = [credential]
        while stack:
            at = stack[-1]
            certificate = offered.get(at)
            if at in self or at in self._entering or at in stuck:
                stack.pop()
            elif certificate is None:
                missing.add(at)
                stuck.add(at)
            else:
                unknown = [p for p in parents(certificate) if p not in self and p not in self._entering]
                absent = [p for p in unknown if p not in stuck]
                if absent:
                    stack.extend(absent)
                elif missing:
                    stuck.add(at)
                else:
                    self._enter(certificate)
        if missing:
            raise MissingDocuments(frozenset(missing))

    def establish_issuer(self, certificate: bytes, offered: Mapping[bytes, Certificate]) -> AdminCertificate:
        """Verify and keep an admin certificate. Raises as `establish`."""
        found = self._issuers.get(certificate) or offered.get(certificate)
        if found is None and certificate not in self:
            raise MissingDocuments(frozenset({certificate}))
        if not isinstance(found, AdminCertificate):
            raise RemoteError("malformed", "what should be an admin's certificate is another")
        if certificate not in self._issuers:
            self._enter(found)
        return found

    def check_request(self, certificate: NodeCertificate, offered: Mapping[bytes, Certificate]) -> InviteCertificate:
        """Verify a node certificate that asks for a countersignature; keep its issuers only. Raises `RemoteError`."""
        invite = self._issuers.get(certificate.issuer) or offered.get(certificate.issuer)
        if not isinstance(invite, InviteCertificate):
            raise RemoteError("malformed", "a request to join without its invitation")
        if certificate.issuer not in self._issuers:
            self.establish_issuer(invite.issuer, offered)
            self._enter(invite)
        self._check_node(certificate, invite)
        return invite

    def _enter(self, certificate: Certificate) -> None:
        """Verify one whose parents are in the pool, then keep it."""
        check_mesh(certificate, self.mesh)
        key = certificate.document.hash
        match certificate:
            case AdminCertificate():
                if mesh_id(certificate.root) != self.mesh:
                    raise RemoteError("wrong-root", "an admin's certificate by another mesh's root")
                self._check_signature(certificate, certificate.root)
                self._keep_issuer(certificate)
            case InviteCertificate():
                admin = self._issuers.get(certificate.issuer)
                if not isinstance(admin, AdminCertificate):
                    raise RemoteError("malformed", "an invitation that no admin issued")
                self._check_signature(certificate, admin.key)
                certificate.grant.check_within(admin.grant)
                self._keep_issuer(certificate)
            case NodeCertificate():
                issuer = self._issuers.get(certificate.issuer)
                if issuer is None:
                    raise RemoteError("malformed", "a node certificate that neither admin nor invitation issued")
                self._check_node(certificate, issuer)
                if isinstance(issuer, AdminCertificate):
                    self._keep(_standing(certificate, key, issuer.document.hash, None, None), certificate)
                else:
                    self._entering[key] = certificate
            case Countersignature():
                self._enter_countersignature(certificate)

    def _check_node(self, certificate: NodeCertificate, issuer: AdminCertificate | InviteCertificate) -> None:
        check_mesh(certificate, self.mesh)
        self._check_signature(certificate, issuer.key)
        certificate.grant.check_within(issuer.grant)

    def _enter_countersignature(self, countersignature: Countersignature) -> None:
        named = countersignature.certificate
        certificate = self._entering.get(named) or self.certificate(named)
        by = self._standings.get(countersignature.by)
        if not isinstance(certificate, NodeCertificate) or by is None:
            raise RemoteError("malformed", "a countersignature that names no certificate or no credential")
        invite = self._issuers[certificate.issuer]
        if not isinstance(invite, InviteCertificate):
            raise RemoteError("malformed", "a countersignature where none is needed")
        if by.role is not Role.PEER or by.node == certificate.key:
            raise RemoteError("no-authority", "a countersignature by somebody who is not a peer, or by oneself")
        if countersignature.at >= by.expires:
            raise RemoteError("no-authority", "a countersignature by somebody whose own certificate had expired")
        if countersignature.at > invite.deadline:
            raise RemoteError("token-expired", "a countersignature after the invitation had expired")
        given = self._given.get(invite.document.hash, 0)
        if given >= 2 * invite.uses + USES_SLACK:
            raise RemoteError("invite-flooded", "an invitation was used far more often than it allows")
        self._check_signature(countersignature, by.node)
        key, invitation = countersignature.document.hash, invite.document.hash
        self._keep(_standing(certificate, key, invite.issuer, invitation, by), certificate, countersignature)
        self._given = self._given.set(invitation, given + 1)

    def _check_signature(self, certificate: Certificate, key: bytes) -> None:
        if not self._notary.signed(certificate, key):
            raise RemoteError("bad-signature", f"a {certificate.document.kind.value} whose signature does not match")


def _standing(
    certificate: NodeCertificate, credential: bytes, admin: bytes, invite: bytes | None, by: Standing | None
) -> Standing:
    return Standing(
        certificate.key,
        certificate.wireguard,
        certificate.curve,
        certificate.serial,
        certificate.grant,
        credential,
        certificate.document.hash,
        admin,
        invite,
        by,
    )
