"""How tests make meshes, nodes and what they sign: real keys from labels, so every run sees the same bytes.

Nothing here checks anything; `Desk` is one replica with all that judges for it, without a core around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from ipaddress import IPv6Network

from smeg.addresses import mesh_id
from smeg.admission import Admission
from smeg.certificates import (
    EVERYWHERE,
    Certificate,
    Grant,
    Role,
    new_admin,
    new_countersignature,
    new_invite,
    new_node,
)
from smeg.chain import Chain
from smeg.device import Endpoint
from smeg.documents import Document
from smeg.intake import Intake, Taken
from smeg.keys import NodeKey, Secret, node_key, x25519_public
from smeg.notary import Notary
from smeg.records import Member, OwnRecord, Record, Remove, seal_evict, seal_leave, seal_record
from smeg.replica import Replica
from smeg.roster import Roster

WALL = 1_800_000_000
"""seconds since 1970: the moment at which tests play."""
DAY = 24 * 3600
NOTARY = Notary()
"""Shared by all tests: a signature that was checked once is not checked again."""


def secret(label: str) -> Secret:
    """A seed of 32 bytes that follows from the label alone."""
    return Secret(blake2b(label.encode(), digest_size=32, person=b"smeg-test").digest())


def grant(
    role: Role = Role.PEER,
    prefixes: tuple[str, ...] = (),
    expires: int = WALL + 300 * DAY,
    exit_allowed: bool | None = None,
) -> Grant:
    return Grant(role, tuple(IPv6Network(prefix) for prefix in prefixes), bool(exit_allowed), expires)


@dataclass(frozen=True)
class Invite:
    """An invitation and the one-use key in its token."""

    document: Document
    seed: Secret


@dataclass(frozen=True)
class Node:
    """A node with its keys, and the papers under which it belongs to one mesh."""

    label: str
    mesh: str
    identity: Secret
    wireguard: Secret
    curve: Secret
    serial: int
    papers: tuple[Document, ...]
    """All certificates from the admin's on; the last one is the credential."""

    @property
    def key(self) -> NodeKey:
        return node_key(self.identity)

    @property
    def credential(self) -> bytes:
        return self.papers[-1].hash

    @property
    def certificates(self) -> list[bytes]:
        return [paper.raw for paper in self.papers]

    def record(self, counter: int = 1, own: OwnRecord | None = None) -> Document:
        own = own or OwnRecord(self.label, (Endpoint("192.0.2.1", 51800),), (Endpoint("192.0.2.1", 51820),))
        return seal_record(self.mesh, own, counter, self.credential, self.identity, self.key)

    def leave(self, counter: int, serial: int | None = None) -> Document:
        return seal_leave(self.mesh, self.key, self.serial if serial is None else serial, counter, self.identity)

    def documents(self, counter: int = 1) -> list[bytes]:
        """All that makes this node known to somebody who knows nothing."""
        return [*self.certificates, self.record(counter).raw]


@dataclass
class MadeMesh:
    """A mesh with its root and its first admin, made from a label."""

    label: str
    root: Secret = field(init=False)
    admin_seed: Secret = field(init=False)
    admin: Document = field(init=False)

    def __post_init__(self) -> None:
        self.root, self.admin_seed = secret(f"{self.label}/root"), secret(f"{self.label}/admin")
        self.admin = new_admin(
            self.root, node_key(self.admin_seed), 1, Grant(Role.PEER, EVERYWHERE, True, WALL + 3000 * DAY)
        )

    @property
    def id(self) -> str:
        return mesh_id(node_key(self.root))

    def invite(self, label: str, uses: int = 1, deadline: int = WALL + DAY, given: Grant | None = None) -> Invite:
        seed = secret(f"{self.label}/invite/{label}")
        allowed = given or grant(prefixes=("2001:db8::/32",))
        document = new_invite(self.admin, self.admin_seed, node_key(seed), WALL, uses, deadline, allowed)
        return Invite(document, seed)

    def founder(self, label: str = "founder", serial: int = 1, given: Grant | None = None) -> Node:
        """A node to which the admin itself gave its certificate."""
        node = self._bare(label, serial)
        certificate = new_node(
            self.admin,
            self.admin_seed,
            node.key,
            x25519_public(node.wireguard),
            x25519_public(node.curve),
            serial,
            given or grant(prefixes=("2001:db8::/32",)),
        )
        return replace(node, papers=(self.admin, certificate))

    def certificate(self, label: str, invite: Invite, serial: int = 1, given: Grant | None = None) -> Document:
        """What a joiner makes with its token."""
        node = self._bare(label, serial)
        return new_node(
            invite.document,
            invite.seed,
            node.key,
            x25519_public(node.wireguard),
            x25519_public(node.curve),
            serial,
            given or grant(),
        )

    def joined(
        self, label: str, invite: Invite, by: Node, serial: int = 1, at: int = WALL, given: Grant | None = None
    ) -> Node:
        """A node that `by` let in, whether it should have or not."""
        certificate = self.certificate(label, invite, serial, given)
        countersignature = new_countersignature(certificate, by.credential, at, by.identity)
        papers = dict.fromkeys((*by.papers, invite.document, certificate, countersignature))
        return replace(self._bare(label, serial), papers=tuple(papers))

    def evict(self, node: Node, admitted: Iterable[Node] = (), serial: int | None = None) -> Document:
        keep = frozenset(other.key[:8] for other in admitted)
        ended = node.serial if serial is None else serial
        return seal_evict(self.id, node.key, ended, self.admin, self.admin_seed, keep, "a test")

    def _bare(self, label: str, serial: int) -> Node:
        base = f"{self.label}/node/{label}"
        return Node(
            label, self.id, secret(base), secret(f"{base}/wireguard"), secret(f"{base}/curve"), serial, (self.admin,)
        )


class Desk:
    """One replica with chain, roster and intake. `take` lets documents in and judges what they changed."""

    def __init__(self, mesh: str, notary: Notary = NOTARY) -> None:
        self.mesh = mesh
        self.notary = notary
        self.replica = Replica()
        self.chain = Chain(mesh, notary)
        self.roster = Roster(mesh, self.replica, self.chain)
        self.intake = Intake(mesh, self.replica, self.chain, notary)

    def take(self, documents: Iterable[bytes], wall: int = WALL) -> Taken:
        taken = self.intake.take(documents)
        self.roster.update(taken.changed, wall)
        return taken

    def admission(self, node: Node, wall: int = WALL) -> Admission:
        """The admitting side of `node`, which has to be a member here."""
        admission = Admission(
            self.chain, self.replica, self.roster, self.notary, node.identity, node.curve, lambda: wall
        )
        admission.credential = node.credential
        return admission

    @property
    def members(self) -> dict[NodeKey, Member]:
        return self.roster.members

    def everything(self) -> list[bytes]:
        statements = [s.document.raw for node in self.replica for s in self.replica.statements(node)]
        return [*self.chain.documents(), *statements]


def offered(documents: Iterable[bytes], notary: Notary = NOTARY) -> dict[bytes, Certificate]:
    """Certificates by hash, as `Chain` wants them."""
    found: dict[bytes, Certificate] = {}
    for raw in documents:
        statement = notary.read(raw)
        assert not isinstance(statement, (Record, Remove))
        found[statement.document.hash] = statement
    return found


def record_of(document: Document) -> Record:
    statement = NOTARY.read(document.raw)
    assert isinstance(statement, Record)
    return statement


def remove_of(document: Document) -> Remove:
    statement = NOTARY.read(document.raw)
    assert isinstance(statement, Remove)
    return statement
