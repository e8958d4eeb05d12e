"""What a founder signs for its mesh, and what those sign whom it lets in: the documents that as many joins would leave.

Only the conversation of joining is left out, which for thousands would cost the square of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from smeg.authority import found
from smeg.certificates import EVERYWHERE, Grant, new_countersignature, new_invite, new_node
from smeg.certificates import Role as NodeRole
from smeg.device import Endpoint
from smeg.documents import Document, parse
from smeg.keys import NodeKey, Secret, new_secret, node_key
from smeg.mesh_settings import MeshSettings
from smeg.records import seal_record

GOSSIP_PORT = 51800
WIREGUARD_PORT = 51820
AGE = 24 * 3600
"""seconds since the mesh was made."""
LIFETIME = 300 * 24 * 3600


class Papers:
    """Of a mesh that this identity founded `AGE` ago, and that has room for so many members.

    `wall` is now, in seconds since 1970; `entropy` gives so many bytes; members that are `trusted` may lead anywhere.
    """

    def __init__(
        self,
        name: str,
        identity: Secret,
        curve: Secret,
        members: int,
        wall: int,
        entropy: Callable[[int], bytes],
        trusted: bool = False,
    ) -> None:
        self._founder = identity
        self._since, self._expires = wall - AGE, wall + LIFETIME
        wireguard = new_secret(entropy)
        self.mesh = found(name, identity, curve, wireguard, name, WIREGUARD_PORT, entropy, self._since)
        assert self.mesh.admin_seed is not None
        admin, own = (parse(raw)[0] for raw in self.mesh.admission)
        self.credential = own.hash
        """Of the founder."""
        self._seed = new_secret(entropy)
        self._prefixes = EVERYWHERE if trusted else ()
        grant = Grant(NodeRole.PEER, self._prefixes, trusted, self._expires)
        self._trusted = trusted
        self.invite = new_invite(
            admin, self.mesh.admin_seed, node_key(self._seed), self._since, members, self._expires, grant
        )
        self.shared = (*self.mesh.admission, self.invite.raw)
        """Signed bytes on which all members rest."""

    def admit(
        self, key: NodeKey, wireguard: bytes, curve: bytes, role: NodeRole, expires: int | None = None
    ) -> tuple[Document, Document]:
        """A node's certificate, and the founder's countersignature: its credential. The keys are public ones; it
        `expires`, in seconds since 1970, or lives as long as the mesh's.
        """
        grant = Grant(role, self._prefixes, self._trusted, self._expires if expires is None else expires)
        certificate = new_node(self.invite, self._seed, key, wireguard, curve, self._since, grant)
        return certificate, new_countersignature(certificate, self.credential, self._since, self._founder)

    def record(
        self,
        name: str,
        address: str,
        credential: bytes,
        identity: Secret,
        role: NodeRole,
        via: tuple[NodeKey, ...] = (),
        extra: Mapping[str, str] | None = None,
    ) -> bytes:
        """What a node says first of itself, with `extra` fields; a client says nothing to dial, but who carries it."""
        said = MeshSettings(name, role, (Endpoint(address, GOSSIP_PORT),), keepalive=25)
        own = said.own_record(role, WIREGUARD_PORT)
        if role is NodeRole.CLIENT:
            own = replace(own, gossip=(), wireguard=(), via=via)
        if extra is not None:
            own = replace(own, extra=extra)
        return seal_record(self.mesh.id, own, 1, credential, identity, node_key(identity)).raw
