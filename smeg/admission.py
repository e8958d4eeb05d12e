"""Letting a guest in: what a peer checks before it countersigns, each refusal with its own code.

Any peer that still sees a use left may do it; no particular node has to be up. What was countersigned counts at once in
this peer's own pool, so one use is never given twice by one peer.
"""

from __future__ import annotations

from collections.abc import Callable

from smeg.annexes import Annex
from smeg.certificates import (
    Certificate,
    Countersignature,
    InviteCertificate,
    NodeCertificate,
    Role,
    new_countersignature,
)
from smeg.chain import Chain
from smeg.errors import RemoteError
from smeg.keys import Secret, possession
from smeg.notary import Notary, check_mesh
from smeg.records import Record, Remove, Standing
from smeg.replica import Replica
from smeg.roster import Roster


class Admission:
    """`identity` is this node's seed, `curve` its CURVE secret; `wall` gives seconds since 1970."""

    def __init__(
        self,
        chain: Chain,
        replica: Replica,
        roster: Roster,
        notary: Notary,
        identity: Secret,
        curve: Secret,
        wall: Callable[[], int],
    ) -> None:
        self._chain = chain
        self._replica = replica
        self._roster = roster
        self._notary = notary
        self._identity = identity
        self._curve = curve
        self._wall = wall
        self.credential: bytes | None = None
        """This node's own, once it is a member."""

    def countersign(self, documents: list[bytes], proof: bytes, curve: bytes) -> Standing:
        """Admit the holder of CURVE key `curve` by the certificates in `documents`. Raises `RemoteError`."""
        own = self._own_standing()
        offered: dict[bytes, Certificate] = {}
        certificate: NodeCertificate | None = None
        for raw in documents:
            statement = self._notary.read(raw)
            check_mesh(statement, self._chain.mesh)
            if isinstance(statement, (Record, Remove, Annex)):
                raise RemoteError("malformed", "a request to join with other documents than certificates")
            offered[statement.document.hash] = statement
            if isinstance(statement, NodeCertificate):
                certificate = statement
        if certificate is None:
            raise RemoteError("malformed", "a request to join without a node certificate")
        invite = self._chain.check_request(certificate, offered)
        self._check_keys(certificate, proof, curve)
        self._check_removes(certificate)
        known = self._known_countersignature(certificate)
        if known is not None:
            return known
        self._check_policy(certificate, invite)
        signed = new_countersignature(certificate.document, own.credential, self._wall(), self._identity)
        countersignature = self._notary.read(signed.raw)
        assert isinstance(countersignature, Countersignature)
        return self._chain.establish(signed.hash, {**offered, signed.hash: countersignature})

    def _own_standing(self) -> Standing:
        standing = self._chain.standing(self.credential) if self.credential else None
        if standing is None or self._roster.get(standing.node) is None:
            raise RemoteError("not-a-member", "who was asked is not a member itself", "dial another member")
        if standing.role is not Role.PEER:
            raise RemoteError("no-authority", "who was asked is a client, which cannot admit", "dial a peer")
        return standing

    def _check_keys(self, certificate: NodeCertificate, proof: bytes, curve: bytes) -> None:
        if certificate.curve != curve:
            raise RemoteError("key-mismatch", "the certificate names another CURVE key than the connection proves")
        if proof != possession(self._curve, certificate.wireguard, certificate.document.raw):
            raise RemoteError("no-possession", "the WireGuard key's holder did not sign this request")
        for member in self._roster.members.values():
            if member.key != certificate.key and (
                member.standing.wireguard == certificate.wireguard or member.standing.curve == certificate.curve
            ):
                raise RemoteError("key-taken", "another member has this WireGuard or CURVE key")

    def _known_countersignature(self, certificate: NodeCertificate) -> Standing | None:
        """What was given for the very same certificate before: asking twice is harmless."""
        return self._chain.credential_of(certificate.document.hash)

    def _check_policy(self, certificate: NodeCertificate, invite: InviteCertificate) -> None:
        wall = self._wall()
        if invite.deadline < wall:
            raise RemoteError("token-expired", "this token has expired", "ask for a new one")
        if certificate.grant.expires <= wall:
            raise RemoteError("grant-expired", "the membership that this token gives has ended", "ask for a new one")
        invitation = invite.document.hash
        if self._roster.void(invitation):
            raise RemoteError(
                "token-revoked", "a user of this token was evicted, and the token with it", "ask for a new one"
            )
        if len(self._chain.users(invitation) - {certificate.key}) >= invite.uses:
            raise RemoteError(
                "token-used", f"this token was used up ({invite.uses} of {invite.uses})", "ask for a new one"
            )

    def _check_removes(self, certificate: NodeCertificate) -> None:
        evict, leave = self._replica.evicts.get(certificate.key), self._replica.leaves.get(certificate.key)
        if evict is not None and evict.serial >= certificate.serial:
            raise RemoteError("evicted", "this node was evicted", "an admin has to invite it anew")
        if leave is not None and leave.serial > certificate.serial:
            raise RemoteError("old-serial", "this certificate is older than one that has ended", "join again")
