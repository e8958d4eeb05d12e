"""A real daemon that has long been in a mesh of thousands: what as many joins would have left is written into its state
folder before it starts.

It founded the mesh and let everybody in by one invitation. Of the others there are only the keys and the documents.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

from scenarios.daemons import Daemon, loopback
from scenarios.papers import GOSSIP_PORT, Papers
from smeg.certificates import Role as NodeRole
from smeg.device import Endpoint
from smeg.edges.store import Store
from smeg.keys import NodeKey, Secret, new_secret, node_key, x25519_public
from smeg.stored import Contact

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
        papers = Papers(name, own.identity, own.curve, members, int(time.time()), os.urandom)
        mesh = papers.mesh
        record = papers.record(daemon.name, daemon.address, papers.credential, own.identity, NodeRole.PEER)
        documents = [*papers.shared, record]
        others = []
        for number in range(members - 1):
            identity, curve = new_secret(os.urandom), new_secret(os.urandom)
            wireguard, address = x25519_public(new_secret(os.urandom)), loopback(FIRST_NUMBER + number)
            key = node_key(identity)
            certificate, credential = papers.admit(key, wireguard, x25519_public(curve), NodeRole.PEER)
            record = papers.record(f"m{number}", address, credential.hash, identity, NodeRole.PEER)
            documents += [certificate.raw, credential.raw, record]
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
