"""A simulated mesh of thousands that has been there for long, made at once: the first host founded it, and let the
others in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from actors.virtual import WALL_START
from scenarios.papers import GOSSIP_PORT, WIREGUARD_PORT, Papers
from scenarios.simulation import Host, World
from smeg.certificates import Role as NodeRole
from smeg.device import Endpoint
from smeg.keys import new_secret, x25519_public
from smeg.rings import Rings
from smeg.stored import Contact, StoredMesh

CONTACTS = 8


def populate(
    world: World,
    hosts: Sequence[Host],
    clients: Iterable[Host] = (),
    name: str = "demo",
    trusted: bool = False,
    certified: Mapping[Host, int] | None = None,
    extra: Mapping[Host, Mapping[str, str]] | None = None,
) -> str:
    """Make these hosts members of a new mesh, on their disks; its id. They have not been started yet. If they are
    `trusted` their certificates let them lead anywhere; those in `certified` have them for so many seconds from now,
    and those in `extra` say these fields in their records.
    """
    first, *others = hosts
    outside = set(clients)
    papers = Papers(name, first.identity, first.curve, len(hosts), WALL_START, first.runtime.entropy, trusted)
    founded = papers.mesh
    rings = Rings.of(tuple(sorted(host.key for host in hosts if host not in outside)))
    documents = list(papers.shared)
    record = papers.record(first.name, first.address, papers.credential, first.identity, NodeRole.PEER)
    documents.append(record)
    stored = {first: replace(founded, documents=(*founded.admission, record))}
    for host in others:
        role = NodeRole.CLIENT if host in outside else NodeRole.PEER
        wireguard = new_secret(host.runtime.entropy)
        certificate, credential = papers.admit(
            host.key, x25519_public(wireguard), x25519_public(host.curve), role, _expires(certified, host)
        )
        via = rings.favourites(host.key)[:1] if role is NodeRole.CLIENT else ()
        more = (extra or {}).get(host)
        record = papers.record(host.name, host.address, credential.hash, host.identity, role, via, more)
        documents += [certificate.raw, credential.raw, record]
        admission = (*papers.shared, certificate.raw, credential.raw)
        mesh = StoredMesh(founded.id, name, founded.root, name, WIREGUARD_PORT, wireguard, admission)
        stored[host] = replace(mesh, documents=(*admission, record))
    world.know(founded.id, documents)
    peers = [host for host in hosts if host not in outside][:CONTACTS]
    contacts = tuple(Contact(host.station.curve, (Endpoint(host.address, GOSSIP_PORT),)) for host in peers)
    for host in hosts:
        host.disk.save_mesh(replace(stored[host], contacts=contacts))
    return founded.id


def _expires(certified: Mapping[Host, int] | None, host: Host) -> int | None:
    seconds = (certified or {}).get(host)
    return None if seconds is None else WALL_START + seconds
