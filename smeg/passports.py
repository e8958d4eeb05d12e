"""Who is proven to be a member of a mesh that this node is not in: by the certificates that a bridge brought along.

They go back to the mesh's root key, of which the mesh's id is the hash, so nobody has to be asked. What is not known is
whether somebody was evicted there since: its certificate's expiry bounds that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from weakref import WeakValueDictionary

from smeg.annexes import Annex
from smeg.certificates import Certificate, Countersignature, Grant, NodeCertificate
from smeg.chain import Chain
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.notary import Notary
from smeg.records import Record, Remove, Standing


class _Proof:
    """What papers of one mesh prove."""

    __slots__ = ("__weakref__", "chain", "standings")

    def __init__(self, mesh: str, offered: Mapping[bytes, Certificate], notary: Notary) -> None:
        self.chain = Chain(mesh, notary)
        self.standings: dict[NodeKey, Standing] = {}
        for key, certificate in offered.items():
            if isinstance(certificate, Countersignature | NodeCertificate):
                self._establish(key, offered)

    def _establish(self, key: bytes, offered: Mapping[bytes, Certificate]) -> None:
        try:
            standing = self.chain.establish(key, offered)
        except RemoteError:
            # Not this one: a node certificate alone, or something that is missing. What matters is what is proven.
            return
        known = self.standings.get(standing.node)
        if known is None or known.expires < standing.expires:
            self.standings[standing.node] = standing


_proofs: WeakValueDictionary[tuple[str, frozenset[bytes]], _Proof] = WeakValueDictionary()
"""By mesh and the hashes of the papers: where one paper comes to hundreds, those of the other meshes stay proven."""


class Passports:
    """What one bridge's papers prove."""

    def __init__(self, papers: Iterable[bytes], notary: Notary) -> None:
        self._proofs = {mesh: _prove(mesh, offered, notary) for mesh, offered in _by_mesh(papers, notary).items()}

    def grant(self, mesh: str, node: NodeKey, wall: int) -> Grant | None:
        """What a node may do in a mesh; None when nothing proves, at this time, that it is a member."""
        proof = self._proofs.get(mesh)
        standing = proof.standings.get(node) if proof is not None else None
        return standing.grant if standing is not None and standing.expires > wall else None

    def papers(self, mesh: str, node: NodeKey) -> tuple[bytes, ...]:
        """The certificates that prove it, issuers first."""
        proof = self._proofs.get(mesh)
        standing = proof.standings.get(node) if proof is not None else None
        return tuple(proof.chain.ancestry([standing.credential])) if proof is not None and standing is not None else ()

    def next_expiry(self, wall: int) -> int | None:
        """Seconds since 1970, of the first to expire after `wall`."""
        standings = (standing for proof in self._proofs.values() for standing in proof.standings.values())
        return min((standing.expires for standing in standings if standing.expires > wall), default=None)


def _prove(mesh: str, offered: Mapping[bytes, Certificate], notary: Notary) -> _Proof:
    name = mesh, frozenset(offered)
    found = _proofs.get(name)
    if found is None:
        found = _proofs[name] = _Proof(mesh, offered, notary)
    return found


def _by_mesh(papers: Iterable[bytes], notary: Notary) -> dict[str, dict[bytes, Certificate]]:
    found: dict[str, dict[bytes, Certificate]] = {}
    for raw in papers:
        try:
            statement = notary.read(raw)
        except RemoteError:
            continue
        if not isinstance(statement, Record | Remove | Annex):
            found.setdefault(statement.document.mesh, {})[statement.document.hash] = statement
    return found
