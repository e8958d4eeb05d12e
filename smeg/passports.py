"""Who is proven to be a member of a mesh that this node is not in: by the certificates that a bridge brought along.

They go back to the mesh's root key, of which the mesh's id is the hash, so nobody has to be asked. What is not known is
whether somebody was evicted there since: its certificate's expiry bounds that.
"""

from __future__ import annotations

from collections.abc import Iterable

from smeg.annexes import Annex
from smeg.certificates import Certificate, Countersignature, Grant, NodeCertificate
from smeg.chain import Chain
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.notary import Notary
from smeg.records import Record, Remove, Standing


class Passports:
    """What one bridge's papers prove."""

    def __init__(self, papers: Iterable[bytes], notary: Notary) -> None:
        self._chains: dict[str, Chain] = {}
        self._standings: dict[tuple[str, NodeKey], Standing] = {}
        for mesh, offered in _by_mesh(papers, notary).items():
            chain = self._chains[mesh] = Chain(mesh, notary)
            for key, certificate in offered.items():
                if isinstance(certificate, Countersignature | NodeCertificate):
                    self._establish(chain, key, offered)

    def _establish(self, chain: Chain, key: bytes, offered: dict[bytes, Certificate]) -> None:
        try:
            standing = chain.establish(key, offered)
        except RemoteError:
            # Not this one: a node certificate alone, or something that is missing. What matters is what is proven.
            return
        place = chain.mesh, standing.node
        known = self._standings.get(place)
        if known is None or known.expires < standing.expires:
            self._standings[place] = standing

    def grant(self, mesh: str, node: NodeKey, wall: int) -> Grant | None:
        """What a node may do in a mesh; None when nothing proves, at this time, that it is a member."""
        standing = self._standings.get((mesh, node))
        return standing.grant if standing is not None and standing.expires > wall else None

    def papers(self, mesh: str, node: NodeKey) -> tuple[bytes, ...]:
        """The certificates that prove it, issuers first."""
        standing = self._standings.get((mesh, node))
        return tuple(self._chains[mesh].ancestry([standing.credential])) if standing is not None else ()

    def next_expiry(self, wall: int) -> int | None:
        """Seconds since 1970, of the first to expire after `wall`."""
        return min((s.expires for s in self._standings.values() if s.expires > wall), default=None)


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
