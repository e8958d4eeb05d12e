"""A mesh of thousands that has been there for long: made at once, by the documents that as many joins would have left.

The first host founded it; it invited the others by one invitation and let each in. What a node signs, it signs here
too; only the conversation of joining is left out, which would cost the square of their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from actors.virtual import WALL_START
from scenarios.simulated_gossip import GOSSIP_PORT
from scenarios.simulation import Host, World
from smeg.addresses import mesh_id
from smeg.authority import found
from smeg.certificates import Grant, new_countersignature, new_invite, new_node
from smeg.certificates import Role as NodeRole
from smeg.device import Endpoint
from smeg.keys import new_secret, node_key, x25519_public
from smeg.mesh_settings import MeshSettings
from smeg.records import seal_record
from smeg.stored import Contact, StoredMesh

WIREGUARD_PORT = 51820
AGE = 24 * 3600
"""seconds since the mesh was made."""
LIFETIME = 300 * 24 * 3600
CONTACTS = 8


@dataclass(frozen=True, slots=True)
class Papers:
    """What one host brings along."""

    stored: StoredMesh
    """With its own documents only."""
    documents: tuple[bytes, ...]
    """What makes it known to others, beside what all share."""


def populate(world: World, hosts: Sequence[Host], clients: Iterable[Host] = (), name: str = "demo") -> str:
    """Make these hosts members of a new mesh, on their disks; its id. They have not been started yet."""
    first, *others = hosts
    outside = set(clients)
    entropy, wall = first.runtime.entropy, WALL_START - AGE
    founded = found(name, first.identity, first.curve, new_secret(entropy), name, WIREGUARD_PORT, entropy, wall)
    assert founded.admin_seed is not None
    admin, own = (world.notary.read(raw).document for raw in founded.admission)
    assert founded.id == mesh_id(founded.root)
    seed = new_secret(entropy)
    grant = Grant(NodeRole.PEER, (), False, WALL_START + LIFETIME)
    invite = new_invite(admin, founded.admin_seed, node_key(seed), wall, len(hosts), WALL_START + LIFETIME, grant)
    papers = {first: _papers(first, founded, own.hash, NodeRole.PEER, ())}
    for host in others:
        role = NodeRole.CLIENT if host in outside else NodeRole.PEER
        wireguard = new_secret(host.runtime.entropy)
        certificate = new_node(
            invite,
            seed,
            node_key(host.identity),
            x25519_public(wireguard),
            x25519_public(host.curve),
            wall,
            replace(grant, role=role),
        )
        admitted = new_countersignature(certificate, own.hash, wall, first.identity)
        admission = (*founded.admission, invite.raw, certificate.raw, admitted.raw)
        stored = StoredMesh(founded.id, name, founded.root, name, WIREGUARD_PORT, wireguard, admission)
        papers[host] = _papers(host, stored, admitted.hash, role, (certificate.raw, admitted.raw))
    everybody = [raw for host in hosts for raw in papers[host].documents]
    world.know(founded.id, [*founded.admission, invite.raw, *everybody])
    peers = [host for host in hosts if host not in outside][:CONTACTS]
    contacts = tuple(Contact(host.station.curve, (Endpoint(host.address, GOSSIP_PORT),)) for host in peers)
    for host in hosts:
        host.disk.save_mesh(replace(papers[host].stored, contacts=contacts))
    return founded.id


def _papers(host: Host, stored: StoredMesh, credential: bytes, role: NodeRole, own: tuple[bytes, ...]) -> Papers:
    gossip = (Endpoint(host.address, GOSSIP_PORT),) if role is NodeRole.PEER else ()
    said = MeshSettings(host.name, role, gossip, keepalive=25).own_record(role, WIREGUARD_PORT)
    if role is NodeRole.CLIENT:
        said = replace(said, gossip=(), wireguard=())
    record = seal_record(stored.id, said, 1, credential, host.identity, host.key)
    stored = replace(stored, documents=(*stored.admission, record.raw))
    return Papers(stored, (*own, record.raw))
