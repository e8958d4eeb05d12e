"""The pool of verified certificates of one mesh, and what each credential proves.

A credential is the document that admits a node: a countersignature by a peer, or a node certificate that an admin
issued itself. A certificate enters the pool only with all its ancestors, so whatever is in it goes back to the root
key, offline. Nothing here looks at a clock, at removes or at how often an invite was used: `roster.Roster` judges
those.

Of node certificates and countersignatures, which are many, what they prove is kept, and their bytes packed. All maps
are persistent: a fork shares them until one side changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
from smeg.keys import NodeKey
from smeg.notary import Notary, check_mesh
from smeg.packing import pack, unpack
from smeg.records import Standing

USES_SLACK = 64
"""Credentials of one invite beyond twice its uses that are still looked at: partitions may overdraw, floods may not."""


class MissingDocuments(RemoteError):
    """A chain cannot be followed for want of these; who sent the rest can be asked."""

    def __init__(self, hashes: frozenset[bytes]) -> None:
        super().__init__("missing-documents", f"{len(hashes)} certificates are missing")
        self.hashes = hashes


class Chain:
    __slots__ = (
        "_credentials",
        "_entering",
        "_fresh",
        "_given",
        "_issuers",
        "_notary",
        "_papers",
        "_standings",
        "mesh",
    )

    def __init__(self, mesh: str, notary: Notary) -> None:
        self.mesh = mesh
        self._notary = notary
        self._issuers: Map[bytes, AdminCertificate | InviteCertificate] = Map()
        self._papers: Map[bytes, bytes] = Map()
        """Credential → packed: the node certificate, and the countersignature if it has one."""
        self._standings: Map[bytes, Standing] = Map()
        self._credentials: Map[bytes, bytes] = Map()
        """Countersigned node certificate → the lowest countersignature of it."""
        self._given: Map[bytes, int] = Map()
        self._fresh: dict[bytes, bytes] = {}
        """Raw, by hash: what entered since the last `drain`."""
        self._entering: dict[bytes, NodeCertificate] = {}
        """Verified while a chain is followed, and kept if a countersignature of it is."""

    def fork(self) -> Chain:
        """Another with the same content, which changes on its own."""
        made = Chain(self.mesh, self._notary)
        made._issuers, made._papers, made._standings = self._issuers, self._papers, self._standings
        made._credentials, made._given, made._fresh = self._credentials, self._given, dict(self._fresh)
        return made

    def __contains__(self, certificate: bytes) -> bool:
        return certificate in self._issuers or certificate in self._standings or certificate in self._credentials

    def __len__(self) -> int:
        return len(self._issuers) + len(self._standings) + len(self._credentials)

    def certificate(self, certificate: bytes) -> Certificate | None:
        """What one in the pool says; read again unless it is an issuer's."""
        if certificate in self._issuers or certificate not in self:
            return self._issuers.get(certificate)
        found = self._notary.read(self._raw(certificate))
        assert isinstance(found, (NodeCertificate, Countersignature)), "nothing else is packed"
        return found

    def issuer(self, certificate: bytes) -> AdminCertificate | InviteCertificate | None:
        return self._issuers.get(certificate)

    def credential_of(self, certificate: bytes) -> Standing | None:
        """What admits the node of this certificate, if anything in the pool does: the lowest hash."""
        found = self._credentials.get(certificate)
        return None if found is None else self._standings[found]

    def users(self, invite: bytes) -> frozenset[NodeKey]:
        """Everybody whom a peer ever let in by this invite, as far as is known here. Looks at all credentials."""
        return frozenset(standing.node for standing in self._standings.values() if standing.invite == invite)

    def documents(self) -> list[bytes]:
        """Everything, ancestors before descendants."""
        return self.ancestry(sorted((*self._issuers, *self._standings)))

    def drain(self) -> list[bytes]:
        """What entered since this was asked last, raw, ancestors before descendants."""
        fresh, self._fresh = self._fresh, {}
        return list(fresh.values())

    def standing(self, credential: bytes) -> Standing | None:
        """What a credential in the pool proves."""
        return self._standings.get(credential)

    def lineage(self, credential: bytes) -> list[bytes]:
        """Raw documents that somebody who has the countersigner's chain needs to follow this one."""
        standing = self._standings[credential]
        if standing.certificate == credential:
            return self.lineage_of_certificate(credential)
        return [*self.lineage_of_certificate(standing.certificate), self._raw(credential)]

    def lineage_of_certificate(self, certificate: bytes) -> list[bytes]:
        """The chain of issuers, root's child first."""
        line = [self._raw(certificate)]
        parents = self._parents(certificate)
        while parents:
            line.append(self._raw(parents[0]))
            parents = self._parents(parents[0])
        return line[::-1]

    def ancestry(self, credentials: Iterable[bytes]) -> list[bytes]:
        """Raw documents of everything that these rest on, ancestors first, each once."""
        found: dict[bytes, bytes] = {}
        stack = list(credentials)[::-1]
        while stack:
            absent = [parent for parent in self._parents(stack[-1]) if parent not in found]
            if absent:
                stack.extend(absent)
            else:
                at = stack.pop()
                found.setdefault(at, self._raw(at))
        return list(found.values())

    def _parents(self, certificate: bytes) -> tuple[bytes, ...]:
        """What one in the pool names; an issuer first."""
        issuer = self._issuers.get(certificate)
        if issuer is not None:
            return _parents(issuer)
        standing = self._standings.get(certificate)
        if standing is None:
            standing = self._standings[self._credentials[certificate]]
            assert standing.invite is not None, "only who comes by an invite needs a countersignature"
            return (standing.invite,)
        if standing.above is None:
            return (standing.admin,)
        return standing.certificate, standing.above.credential

    def _raw(self, certificate: bytes) -> bytes:
        issuer = self._issuers.get(certificate)
        if issuer is not None:
            return issuer.document.raw
        credential = self._credentials.get(certificate)
        if credential is not None:
            return unpack(self._papers[credential], self.mesh)[0]
        return unpack(self._papers[certificate], self.mesh)[-1]

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
                there = (self, self._entering, stuck)
                absent = [p for p in _parents(certificate) if not any(p in held for held in there)]
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
        check_mesh(certificate.document, self.mesh)
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

    def _keep_issuer(self, certificate: AdminCertificate | InviteCertificate) -> None:
        self._issuers = self._issuers.set(certificate.document.hash, certificate)
        self._fresh[certificate.document.hash] = certificate.document.raw

    def _keep(self, standing: Standing, *papers: Certificate) -> None:
        """`papers` are the node certificate and its countersignature."""
        raws = [paper.document.raw for paper in papers]
        self._standings = self._standings.set(standing.credential, standing)
        self._papers = self._papers.set(standing.credential, pack(raws, self.mesh))
        for paper in papers:
            if paper.document.hash not in self._credentials:
                self._fresh[paper.document.hash] = paper.document.raw

    def _check_node(self, certificate: NodeCertificate, issuer: AdminCertificate | InviteCertificate) -> None:
        check_mesh(certificate.document, self.mesh)
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
        key, paper, invitation = countersignature.document.hash, certificate.document.hash, invite.document.hash
        self._keep(_standing(certificate, key, invite.issuer, invitation, by), certificate, countersignature)
        self._given = self._given.set(invitation, given + 1)
        self._credentials = self._credentials.set(paper, min(key, self._credentials.get(paper, key)))

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
        certificate.document.hash,
        admin,
        invite,
        by.node if by is not None else None,
        by.serial if by is not None else -1,
        by,
    )
