"""The pool of verified certificates of one mesh: what is kept of each, and what can be asked of them.

A certificate is in it only with all its ancestors. Of node certificates and countersignatures, which are many, what
they prove is kept, and their bytes packed. All maps are persistent: a fork shares them until one side changes. Nothing
here verifies: `chain.Chain` says what enters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Self

from immutables import Map

from smeg.certificates import (
    AdminCertificate,
    Certificate,
    Countersignature,
    InviteCertificate,
    NodeCertificate,
)
from smeg.keys import NodeKey
from smeg.notary import Notary
from smeg.packing import pack, unpack
from smeg.records import Standing


class Pool:
    __slots__ = ("_credentials", "_fresh", "_issuers", "_notary", "_standings", "mesh")

    def __init__(self, mesh: str, notary: Notary) -> None:
        self.mesh = mesh
        self._notary = notary
        self._issuers: Map[bytes, AdminCertificate | InviteCertificate] = Map()
        self._standings: Map[bytes, Standing] = Map()
        """By credential."""
        self._credentials: Map[bytes, bytes] = Map()
        """Countersigned node certificate → the lowest countersignature of it."""
        self._fresh: dict[bytes, bytes] = {}
        """Raw, by hash: what entered since the last `drain`."""

    def fork(self) -> Self:
        """Another with the same content, which changes on its own."""
        made = type(self)(self.mesh, self._notary)
        made._issuers, made._standings = self._issuers, self._standings
        made._credentials, made._fresh = self._credentials, dict(self._fresh)
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

    def resting_on(self, nodes: Iterable[NodeKey]) -> set[NodeKey]:
        """Everybody whom one of these ever let in, and whom those did, and so on. Looks at all credentials."""
        admitted: defaultdict[NodeKey, list[NodeKey]] = defaultdict(list)
        for standing in self._standings.values():
            if standing.above is not None:
                admitted[standing.above.node].append(standing.node)
        found: set[NodeKey] = set()
        open_ones = list(nodes)
        while open_ones:
            below = [node for node in admitted[open_ones.pop()] if node not in found]
            found.update(below)
            open_ones += below
        return found

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
        issuers = self.lineage_of_certificate(standing.invite or standing.admin)
        return [*issuers, *self._unpack(standing)]

    def lineage_of_certificate(self, issuer: bytes) -> list[bytes]:
        """The chain of issuers down to this one's certificate, root's child first."""
        line: list[bytes] = []
        above: tuple[bytes, ...] = (issuer,)
        while above:
            line.append(self._issuers[above[0]].document.raw)
            above = parents(self._issuers[above[0]])
        return line[::-1]

    def ancestry(self, credentials: Iterable[bytes]) -> list[bytes]:
        """Raw documents of everything that these rest on, ancestors first, each once. Issuers' hashes will do too."""
        return [raw for _, bundle in self.bundles(credentials) for raw in bundle]

    def bundles(self, credentials: Iterable[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
        """Likewise, by credential: a node certificate and its countersignature are of no use without each other.

        One after another, for unpacked they are several times as large.
        """
        found: set[bytes] = set()
        certificates: set[bytes] = set()
        stack = list(credentials)[::-1]
        while stack:
            standing = self._standings.get(stack[-1])
            absent = [above for above in self._above(stack[-1], standing) if above not in found]
            if absent:
                stack.extend(absent)
                continue
            at = stack.pop()
            if at in found:
                continue
            found.add(at)
            if standing is None:
                yield at, [self._issuers[at].document.raw]
            else:
                yield at, list(self._unpack(standing))[standing.certificate in certificates :]
                certificates.add(standing.certificate)

    def _above(self, certificate: bytes, standing: Standing | None) -> tuple[bytes, ...]:
        """The issuer and the credential on which this one rests at once."""
        if standing is None:
            return parents(self._issuers[certificate])
        issuer = standing.invite or standing.admin
        return (issuer,) if standing.above is None else (issuer, standing.above.credential)

    def _raw(self, certificate: bytes) -> bytes:
        issuer = self._issuers.get(certificate)
        if issuer is not None:
            return issuer.document.raw
        credential = self._credentials.get(certificate)
        if credential is not None:
            return self._unpack(self._standings[credential])[0]
        return self._unpack(self._standings[certificate])[-1]

    def _unpack(self, standing: Standing) -> tuple[bytes, ...]:
        """The node certificate, and the countersignature if there is one."""
        return unpack(standing.papers, self.mesh, _values(standing))

    def _keep_issuer(self, certificate: AdminCertificate | InviteCertificate) -> None:
        self._issuers = self._issuers.set(certificate.document.hash, certificate)
        self._fresh[certificate.document.hash] = certificate.document.raw

    def _keep(self, standing: Standing, *papers: Certificate) -> None:
        """`papers` are the node certificate and its countersignature."""
        packed = pack([paper.document.raw for paper in papers], self.mesh, _values(standing))
        standing = replace(standing, papers=packed)
        self._standings = self._standings.set(standing.credential, standing)
        for paper in papers:
            if paper.document.hash not in self._credentials:
                self._fresh[paper.document.hash] = paper.document.raw
        if standing.above is not None:
            lowest = min(standing.credential, self._credentials.get(standing.certificate, standing.credential))
            self._credentials = self._credentials.set(standing.certificate, lowest)


def _values(standing: Standing) -> tuple[bytes, ...]:
    """What its papers name and it holds anyway, in the order of their fields."""
    own = (standing.invite or standing.admin, standing.node, standing.wireguard, standing.curve)
    return own if standing.above is None else (*own, standing.certificate, standing.above.credential)


def parents(certificate: Certificate) -> tuple[bytes, ...]:
    """The hashes that a certificate names."""
    match certificate:
        case AdminCertificate():
            return ()
        case InviteCertificate() | NodeCertificate():
            return (certificate.issuer,)
        case Countersignature():
            return (certificate.certificate, certificate.by)
