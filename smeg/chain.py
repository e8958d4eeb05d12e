"""The pool of verified certificates of one mesh, and what each credential proves.

A credential is the document that admits a node: a countersignature by a peer, or a node certificate that an admin
issued itself. A certificate enters the pool only with all its ancestors, so whatever is in it goes back to the root
key, offline. Nothing here looks at a clock, at removes or at how often an invite was used: `roster.Roster` judges
those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

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
from smeg.keys import NodeKey
from smeg.notary import Notary, check_mesh
from smeg.records import Standing

USES_SLACK = 64
"""Credentials of one invite beyond twice its uses that are still looked at: partitions may overdraw, floods may not."""


class MissingDocuments(RemoteError):
    """A chain cannot be followed for want of these; who sent the rest can be asked."""

    def __init__(self, hashes: frozenset[bytes]) -> None:
        super().__init__("missing-documents", f"{len(hashes)} certificates are missing")
        self.hashes = hashes


class Chain:
    def __init__(self, mesh: str, notary: Notary) -> None:
        self.mesh = mesh
        self._notary = notary
        self._pool: dict[bytes, Certificate] = {}
        self._standings: dict[bytes, Standing] = {}
        self._users: dict[bytes, set[NodeKey]] = {}
        self._credentials: dict[bytes, bytes] = {}
        self._given: dict[bytes, int] = {}

    def __contains__(self, certificate: bytes) -> bool:
        return certificate in self._pool

    def __len__(self) -> int:
        return len(self._pool)

    def certificate(self, certificate: bytes) -> Certificate | None:
        return self._pool.get(certificate)

    def credential_of(self, certificate: bytes) -> Standing | None:
        """What admits the node of this certificate, if anything in the pool does: the lowest hash."""
        found = self._credentials.get(certificate)
        return None if found is None else self._standings[found]

    def users(self, invite: bytes) -> frozenset[NodeKey]:
        """Everybody whom a peer ever let in by this invite, as far as is known here."""
        return frozenset(self._users.get(invite, ()))

    def documents(self, since: int = 0) -> list[bytes]:
        """Everything that came after the first `since`, ancestors before descendants."""
        return [certificate.document.raw for certificate in islice(self._pool.values(), since, None)]

    def standing(self, credential: bytes) -> Standing | None:
        """What a credential in the pool proves."""
        return self._standings.get(credential)

    def lineage(self, credential: bytes) -> list[bytes]:
        """Raw documents that somebody who has the countersigner's chain needs to follow this one."""
        certificate = self._pool[credential]
        if isinstance(certificate, Countersignature):
            above = self.lineage_of_certificate(certificate.certificate)
            return [*above, certificate.document.raw]
        return self.lineage_of_certificate(credential)

    def lineage_of_certificate(self, certificate: bytes) -> list[bytes]:
        """The chain of issuers, root's child first."""
        line: list[bytes] = []
        at: Certificate | None = self._pool[certificate]
        while at is not None:
            line.append(at.document.raw)
            at = None if isinstance(at, (AdminCertificate, Countersignature)) else self._pool[at.issuer]
        return line[::-1]

    def ancestry(self, credentials: Iterable[bytes]) -> list[bytes]:
        """Raw documents of everything that these rest on, ancestors first, each once."""
        wanted: set[bytes] = set()
        open_ones = list(credentials)
        while open_ones:
            at = open_ones.pop()
            if at not in wanted:
                wanted.add(at)
                open_ones.extend(_parents(self._pool[at]))
        return [certificate.document.raw for key, certificate in self._pool.items() if key in wanted]

    def establish(self, credential: bytes, offered: Mapping[bytes, Certificate]) -> Standing:
        """Verify a credential with what is offered, and keep it and its ancestors.

        Raises `MissingDocuments`, or `RemoteError` when something in the chain is not as it should be.
        """
        known = self._standings.get(credential)
        if known is not None:
            return known
        entered: list[bytes] = []
        try:
            self._follow(credential, offered, entered)
        finally:
            self._drop_unused(entered)
        standing = self._standings.get(credential)
        if standing is None:
            raise RemoteError("no-credential", "a node certificate without a peer's countersignature admits nobody")
        return standing

    def _follow(self, credential: bytes, offered: Mapping[bytes, Certificate], entered: list[bytes]) -> None:
        """Enter a certificate after its ancestors. What rests on something missing is looked at once, never again."""
        missing: set[bytes] = set()
        stuck: set[bytes] = set()
        stack = [credential]
        while stack:
            at = stack[-1]
            certificate = offered.get(at)
            if at in self._pool or at in stuck:
                stack.pop()
            elif certificate is None:
                missing.add(at)
                stuck.add(at)
            else:
                absent = [p for p in _parents(certificate) if p not in self._pool and p not in stuck]
                if absent:
                    stack.extend(absent)
                elif missing:
                    stuck.add(at)
                else:
                    self._enter(certificate)
                    entered.append(at)
        if missing:
            raise MissingDocuments(frozenset(missing))

    def _drop_unused(self, entered: list[bytes]) -> None:
        """Forget node certificates that nobody countersigned: whoever has a token makes as many as it likes."""
        for key in entered:
            counts = key in self._standings or key in self._credentials
            if isinstance(self._pool[key], NodeCertificate) and not counts:
                del self._pool[key]

    def establish_issuer(self, certificate: bytes, offered: Mapping[bytes, Certificate]) -> AdminCertificate:
        """Verify and keep an admin certificate. Raises as `establish`."""
        found = self._pool.get(certificate) or offered.get(certificate)
        if found is None:
            raise MissingDocuments(frozenset({certificate}))
        if not isinstance(found, AdminCertificate):
            raise RemoteError("malformed", "what should be an admin's certificate is another")
        if certificate not in self._pool:
            self._enter(found)
        return found

    def check_request(self, certificate: NodeCertificate, offered: Mapping[bytes, Certificate]) -> InviteCertificate:
        """Verify a node certificate that asks for a countersignature; keep its issuers only. Raises `RemoteError`."""
        invite = self._pool.get(certificate.issuer) or offered.get(certificate.issuer)
        if not isinstance(invite, InviteCertificate):
            raise RemoteError("malformed", "a request to join without its invitation")
        if certificate.issuer not in self._pool:
            self.establish_issuer(invite.issuer, offered)
            self._enter(invite)
        self._check_node(certificate, invite)
        return invite

    def _enter(self, certificate: Certificate) -> None:
        """Verify one whose parents are in the pool, then keep it."""
        check_mesh(certificate.document, self.mesh)
        key = certificate.document.hash
        match certificate:
            case AdminCertificate():
                if mesh_id(certificate.root) != self.mesh:
                    raise RemoteError("wrong-root", "an admin's certificate by another mesh's root")
                self._check_signature(certificate, certificate.root)
            case InviteCertificate():
                admin = self._pool[certificate.issuer]
                if not isinstance(admin, AdminCertificate):
                    raise RemoteError("malformed", "an invitation that no admin issued")
                self._check_signature(certificate, admin.key)
                certificate.grant.check_within(admin.grant)
            case NodeCertificate():
                issuer = self._pool[certificate.issuer]
                if not isinstance(issuer, (AdminCertificate, InviteCertificate)):
                    raise RemoteError("malformed", "a node certificate that neither admin nor invitation issued")
                self._check_node(certificate, issuer)
                if isinstance(issuer, AdminCertificate):
                    self._standings[key] = _standing(certificate, key, issuer.document.hash, None, None)
            case Countersignature():
                self._standings[key] = self._check_countersignature(certificate)
        self._pool[key] = certificate

    def _check_node(self, certificate: NodeCertificate, issuer: AdminCertificate | InviteCertificate) -> None:
        check_mesh(certificate.document, self.mesh)
        self._check_signature(certificate, issuer.key)
        certificate.grant.check_within(issuer.grant)

    def _check_countersignature(self, countersignature: Countersignature) -> Standing:
        certificate = self._pool[countersignature.certificate]
        by = self._standings.get(countersignature.by)
        if not isinstance(certificate, NodeCertificate) or by is None:
            raise RemoteError("malformed", "a countersignature that names no certificate or no credential")
        invite = self._pool[certificate.issuer]
        if not isinstance(invite, InviteCertificate):
            raise RemoteError("malformed", "a countersignature where none is needed")
        if by.role is not Role.PEER or by.node == certificate.key:
            raise RemoteError("no-authority", "a countersignature by somebody who is not a peer, or by oneself")
        if countersignature.at >= by.expires:
            raise RemoteError("no-authority", "a countersignature by somebody whose own certificate had expired")
        if countersignature.at > invite.deadline:
            raise RemoteError("token-expired", "a countersignature after the invitation had expired")
        given = self._given.get(certificate.issuer, 0)
        if given >= 2 * invite.uses + USES_SLACK:
            raise RemoteError("invite-flooded", "an invitation was used far more often than it allows")
        self._check_signature(countersignature, by.node)
        key = countersignature.document.hash
        self._given[certificate.issuer] = given + 1
        self._credentials[certificate.document.hash] = min(key, self._credentials.get(certificate.document.hash, key))
        self._users.setdefault(invite.document.hash, set()).add(certificate.key)
        return _standing(certificate, countersignature.document.hash, invite.issuer, invite.document.hash, by)

    def _check_signature(self, certificate: Certificate, key: bytes) -> None:
        if not self._notary.signed(certificate.document, key):
            raise RemoteError("bad-signature", f"a {certificate.document.kind.value} whose signature does not match")


def _parents(certificate: Certificate) -> tuple[bytes, ...]:
    match certificate:
        case AdminCertificate():
            return ()
        case InviteCertificate() | NodeCertificate():
            return (certificate.issuer,)
        case Countersignature():
            return (certificate.certificate, certificate.by)


def _standing(
    certificate: NodeCertificate, credential: bytes, admin: bytes, invite: bytes | None, by: Standing | None
) -> Standing:
    grant = certificate.grant
    return Standing(
        certificate.key,
        certificate.wireguard,
        certificate.curve,
        certificate.serial,
        grant.role,
        grant.prefixes,
        grant.exit,
        grant.expires,
        credential,
        admin,
        invite,
        by.node if by is not None else None,
        by.serial if by is not None else -1,
        by,
    )
