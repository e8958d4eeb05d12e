"""What is kept on disk of one mesh, as a value. `edges.store` reads and writes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from smeg.card import BLANK, Card
from smeg.device import Endpoint
from smeg.keys import Secret
from smeg.static_clients import StaticClient


@dataclass(frozen=True, slots=True)
class Contact:
    """Where somebody of a mesh was last reachable: the way back in when the database is lost."""

    curve: bytes
    """32 bytes."""
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class StoredMesh:
    """One mesh of this node.

    The keys lie in files of mode 0600, the description in `mesh.json` beside them, the documents in the database, so
    that a lost database costs no key and no membership.
    """

    id: str
    name: str
    root: bytes
    """The mesh's Ed25519 root public key, 32 bytes."""
    interface: str
    listen_port: int
    wireguard: Secret = field(repr=False)
    admission: tuple[bytes, ...]
    """This node's own chain of certificates, signed bytes, root's child first."""
    contacts: tuple[Contact, ...] = ()
    root_seed: Secret | None = field(default=None, repr=False)
    """Only where the mesh was made, until its owner moves it away."""
    admin_seed: Secret | None = field(default=None, repr=False)
    documents: tuple[bytes, ...] = field(default=(), repr=False)
    """Every signed document known, own and others'."""
    statics: tuple[StaticClient, ...] = ()
    """Devices without a daemon that this node vouches for."""
    card: Card = BLANK
    """What this node's user says of it in this mesh."""
