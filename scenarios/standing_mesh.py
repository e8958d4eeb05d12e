"""A real daemon that has long been in a mesh of thousands: what as many joins would have left is written into its state
folder before it starts.

It founded the mesh and let everybody in by one invitation. Of the others there are only the keys and the documents.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

from scenarios.daemons import Daemon, loopback
from smeg.authority import found
from smeg.certificates import Grant, new_countersignature, new_invite, new_node
from smeg.certificates import Role as NodeRole
from smeg.device import Endpoint
from smeg.documents import parse
from smeg.edges.store import Store
from smeg.keys import NodeKey, Secret, new_secret, node_key, x25519_public
from smeg.mesh_settings import MeshSettings
from smeg.records import seal_record
from smeg.stored import Contact, StoredMesh

GOSSIP_PORT = 51800
WIREGUARD_PORT = 51820
AGE = 24 * 3600
"""seconds since the mesh was made."""
LIFETIME = 300 * 24 * 3600
FIRST_NUMBER = 256
"""Of those who are no daemons: their addresses begin after the daemons'."""


@dataclass(frozen=True, slots=True)
class Person:
    """One of the others: who it is, and where it would listen."""

    key: NodeKey
    curve: Secret
    address: str


@dataclass(frozen=True, slots=True)
class StandingMesh:
    id: str
    founder: NodeKey
    others: tuple[Person, ...]


def fill(daemon: Daemon, name: str, members: int) -> StandingMesh:
    """Make a mesh of so many, of which `daemon` is one. It has not been started yet."""
    store = Store(daemon.state, os.urandom)
    try:
        own = store.load()
        wall = int(time.time()) - AGE
        mesh = found(name, own.identity, own.curve, new_secret(os.urandom), name, WIREGUARD_PORT, os.urandom, wall)
        assert mesh.admin_seed is not None
        admin, credential = (parse(raw)[0] for raw in mesh.admission)
        seed = new_secret(os.urandom)
        expires = wall + LIFETIME
        grant = Grant(NodeRole.PEER, (), False, expires)
        invite = new_invite(admin, mesh.admin_seed, node_key(seed), wall, members, expires, grant)
        documents = [*mesh.admission, _record(mesh, daemon.name, daemon.address, credential.hash, own.identity)]
        documents.append(invite.raw)
        others = []
        for number in range(members - 1):
            identity, curve = new_secret(os.urandom), new_secret(os.urandom)
            wireguard, address = x25519_public(new_secret(os.urandom)), loopback(FIRST_NUMBER + number)
            key = node_key(identity)
            certificate = new_node(invite, seed, key, wireguard, x25519_public(curve), wall, grant)
            admitted = new_countersignature(certificate, credential.hash, wall, own.identity)
            record = _record(mesh, f"m{number}", address, admitted.hash, identity)
            documents += [certificate.raw, admitted.raw, record]
            others.append(Person(key, curve, address))
        store.save_mesh(replace(mesh, documents=tuple(documents)))
    finally:
        store.close()
    return StandingMesh(mesh.id, node_key(own.identity), tuple(others))


def contact(daemon: Daemon) -> tuple[NodeKey, Contact]:
    """Who a daemon is that does not run, and where it will be reached; its keys are made by this if need be."""
    store = Store(daemon.state, os.urandom)
    try:
        own = store.load()
    finally:
        store.close()
    return node_key(own.identity), Contact(x25519_public(own.curve), (Endpoint(daemon.address, GOSSIP_PORT),))


def _record(mesh: StoredMesh, name: str, address: str, credential: bytes, identity: Secret) -> bytes:
    said = MeshSettings(name, NodeRole.PEER, (Endpoint(address, GOSSIP_PORT),), keepalive=25)
    own = said.own_record(NodeRole.PEER, WIREGUARD_PORT)
    return seal_record(mesh.id, own, 1, credential, identity, node_key(identity)).raw
