"""How tests make meshes, nodes and what they sign: real keys from labels, so every run sees the same bytes.

Nothing here checks anything; `Desk` is one replica with all that judges for it, without a core around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from ipaddress import IPv6Network

from hypothesis import HealthCheck, settings

from smeg.addresses import mesh_id
from smeg.admission import Admission
from smeg.annexes import Annex, read_annex, seal_annex
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
from smeg.device import Endpoint
from smeg.documents import Document
from smeg.intake import Taken
from smeg.keys import NodeKey, Secret, node_key, x25519_public
from smeg.ledger import Ledger
from smeg.members import Members
from smeg.notary import Notary
from smeg.records import OwnRecord, Record, Remove, seal_evict, seal_leave, seal_record

WALL = 1_800_000_000
"""seconds since 1970: the moment at which tests play."""
DAY = 24 * 3600
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: enough examples to find something, few enough to run always."""
NOTARY = Notary(bound=50_000)
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
    given: Grant
    invite: Invite | None = None
    by: Node | None = None
    """Who let it in."""

    @property
    def key(self) -> NodeKey:
        return node_key(self.identity)

    @property
    def wireguard_key(self) -> bytes:
        return x25519_public(self.wireguard)

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

    def annex(self, label: str, counter: int = 1, body: bytes = b"said") -> Document:
        return seal_annex(self.mesh, self.key, label, counter, body, self.identity)

    def documents(self, counter: int = 1) -> list[bytes]:
        """All that makes this node known to somebody who knows nothing."""
        return [*self.certificates, self.record(counter).raw]


@dataclass
class MadeMesh:
    """A mesh with its root and its first admin, made from a label."""

    label: str
    persons: bool = False
    """Whether a node's identity follows from its label alone, so that it can be in several meshes."""
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
        allowed = given or grant(prefixes=("2001:db8::/32",))
        node = self._bare(label, serial)
        certificate = new_node(
            self.admin,
            self.admin_seed,
            node.key,
            x25519_public(node.wireguard),
            x25519_public(node.curve),
            serial,
            allowed,
        )
        return replace(node, papers=(self.admin, certificate), given=allowed)

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
        bare = self._bare(label, serial)
        return replace(bare, papers=tuple(papers), given=given or grant(), invite=invite, by=by)

    def evict(self, node: Node, admitted: Iterable[Node] = (), serial: int | None = None) -> Document:
        keep = frozenset(other.key[:8] for other in admitted)
        ended = node.serial if serial is None else serial
        invite = node.invite.document.hash if node.invite is not None else None
        return seal_evict(self.id, node.key, ended, self.admin, self.admin_seed, keep, "a test", invite)

    def _bare(self, label: str, serial: int) -> Node:
        base = f"{self.label}/node/{label}"
        identity = secret(f"person/{label}") if self.persons else secret(base)
        keys = identity, secret(f"{base}/wireguard"), secret(f"{base}/curve")
        return Node(label, self.id, *keys, serial, (self.admin,), grant())


@dataclass(frozen=True)
class Universe:
    """A mesh in which about everything has happened: overdrawn invites, evicts, leaves, rejoins, double counters."""

    mesh: MadeMesh
    nodes: tuple[Node, ...]
    """Every stay of every node: a node that came back is in it twice."""
    statements: tuple[tuple[Document, tuple[bytes, ...]], ...]
    """Records and removes, each with all certificates that it needs."""

    def by_credential(self) -> dict[bytes, Node]:
        return {node.credential: node for node in self.nodes}


@cache
def universe() -> Universe:
    mesh = MadeMesh("universe")
    founder, second = mesh.founder("founder"), mesh.founder("second", serial=3)
    one, three, late = mesh.invite("one"), mesh.invite("three", uses=3), mesh.invite("late", uses=9)
    client = grant(Role.CLIENT)
    a1, a2 = mesh.joined("a1", one, founder), mesh.joined("a2", one, second)
    a3 = mesh.joined("a3", one, a1)
    b1, b2 = mesh.joined("b1", three, founder), mesh.joined("b2", three, a1)
    b3, b4 = mesh.joined("b3", three, b2, given=client), mesh.joined("b4", three, b2)
    ghost = mesh.joined("ghost", late, b1)
    c1 = mesh.joined("c1", late, ghost)
    c2 = mesh.joined("c2", late, c1)
    short = mesh.joined("short", late, second, given=grant(expires=WALL + 10))
    back, again = mesh.joined("b2", late, founder, serial=5), mesh.joined("a1", late, second, serial=4)
    nodes = (founder, second, a1, a2, a3, b1, b2, b3, b4, c1, c2, short, back, again)
    other = OwnRecord("twin")
    documents: list[tuple[Document, Node]] = []
    for node in nodes:
        documents += [(node.record(counter + node.serial), node) for counter in (0, 1, 3)]
        documents.append((node.record(1 + node.serial, other), node))
    documents += [(node.leave(2, serial), node) for node, serial in ((a2, 1), (b1, 1), (b3, 1), (b1, 7), (second, 3))]
    documents += [(back.leave(9), back), (again.leave(6), again)]
    documents += [(mesh.evict(b1), b1), (mesh.evict(b1, [ghost]), b1), (mesh.evict(a1, [b2]), a1), (mesh.evict(a2), a2)]
    documents += [(mesh.evict(a1, [], 4), again), (mesh.evict(second), second), (mesh.evict(b4), b4)]
    return Universe(mesh, nodes, tuple((document, tuple(node.certificates)) for document, node in documents))


class Desk:
    """A ledger with its parts at hand. `take` lets documents in and judges what they changed."""

    def __init__(self, mesh: str, notary: Notary = NOTARY, ledger: Ledger | None = None) -> None:
        self.mesh = mesh
        self.notary = notary
        self.ledger = ledger or Ledger(mesh, notary)
        self.replica, self.chain = self.ledger.replica, self.ledger.chain
        self.roster, self.intake = self.ledger.roster, self.ledger.intake

    def take(self, documents: Iterable[bytes], wall: int = WALL) -> Taken:
        return self.ledger.take(documents, wall)

    def fork(self) -> Desk:
        return Desk(self.mesh, self.notary, self.ledger.fork())

    def admission(self, node: Node, wall: int = WALL) -> Admission:
        """The admitting side of `node`, which has to be a member here."""
        admission = Admission(
            self.chain, self.replica, self.roster, self.notary, node.identity, node.curve, lambda: wall
        )
        admission.credential = node.credential
        return admission

    @property
    def members(self) -> Members:
        return self.roster.members

    def everything(self) -> list[bytes]:
        statements = [s.document.raw for node in self.replica for s in self.replica.statements(node)]
        annexes = [annex.raw for node in self.replica for annex in self.replica.said(node)]
        return [*self.chain.documents(), *statements, *annexes]


def offered(documents: Iterable[bytes], notary: Notary = NOTARY) -> dict[bytes, Certificate]:
    """Certificates by hash, as `Chain` wants them."""
    found: dict[bytes, Certificate] = {}
    for raw in documents:
        statement = notary.read(raw)
        assert not isinstance(statement, (Record, Remove, Annex))
        found[statement.document.hash] = statement
    return found


def record_of(document: Document) -> Record:
    statement = NOTARY.read(document.raw)
    assert isinstance(statement, Record)
    return statement


def annex_of(document: Document) -> Annex:
    return read_annex(document)


def remove_of(document: Document) -> Remove:
    statement = NOTARY.read(document.raw)
    assert isinstance(statement, Remove)
    return statement
