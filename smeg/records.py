"""What a node says of itself (`Record`) and what ends a membership (`Remove`), and a member as the others see it.

A record has one writer, its node, and one counter. Reading checks form and bounds; `chain.Chain` says whether the
writer may write it, `replica.Replica` which of two counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network

from smeg.card import BLANK, Card, read_card
from smeg.card import FIELDS as CARD_FIELDS
from smeg.certificates import MAX_SERIAL, Grant, Role
from smeg.device import Endpoint
from smeg.documents import HASH_BYTES, Document, Fields, Kind, encode, seal
from smeg.endpoints import MAX_ENDPOINTS, is_dialable, parse_endpoint
from smeg.errors import RemoteError
from smeg.keys import NodeKey, Secret
from smeg.packing import pack, unpack

MAX_COUNTER = 2**53 - 1
MAX_STEP = 2**32
"""The largest step of one update: what no honest node ever makes in one go."""
MAX_RECORD = 4096
"""bytes."""
MAX_VIA = 40
"""How many peers a client can name with which it keeps tunnels."""
MAX_ADMITTED = 4000
"""How many nodes one evict can keep in that the evicted peer had admitted."""
PREFIX_BYTES = 8
"""How much of a node key stands in that list."""


@dataclass(frozen=True, slots=True)
class Record:
    """A node's own words, of one moment. There is one for each member: what was signed is kept packed."""

    mesh: str
    held: bytes = field(repr=False)
    """The hash of the document, and what was signed, packed."""
    node: NodeKey
    counter: int
    credential: bytes
    """Hash of the countersignature that admits the node, or of its certificate when an admin issued that itself."""
    name: str
    collision: int
    """How often a lower key had this node's overlay address already."""
    gossip: tuple[Endpoint, ...]
    wireguard: tuple[Endpoint, ...]
    via: tuple[NodeKey, ...] = ()
    """Of a client: its carrier, the peer through which it is reached; then peers with which it keeps direct tunnels."""
    floor: int = 0
    """Annexes of this node with a lower counter are void."""
    card: Card = BLANK

    @property
    def hash(self) -> bytes:
        """Of the document."""
        return self.held[:HASH_BYTES]

    @property
    def order(self) -> tuple[int, bytes]:
        """Bigger is newer; at one counter the lower hash wins, everywhere."""
        return self.counter, bytes(255 - octet for octet in self.hash)

    @property
    def keepalive(self) -> int:
        """seconds; what others need not know, but `wg show` readers ask for. Read anew each time."""
        return _keepalive(self.document.fields())

    @property
    def raw(self) -> bytes:
        """What was signed, unpacked each time."""
        return unpack(self.held[HASH_BYTES:], self.mesh, (self.node, self.credential))[0]

    @property
    def document(self) -> Document:
        return Document(Kind.RECORD, self.mesh, self.raw, self.hash)


class Action(StrEnum):
    LEAVE = "leave"
    EVICT = "evict"


@dataclass(frozen=True, slots=True)
class Remove:
    """The end of a membership: signed by the node itself, or by an admin."""

    document: Document = field(repr=False)
    node: NodeKey
    serial: int
    """The certificate that it ends, and all before it."""
    action: Action
    counter: int
    """For `leave`: the writer's counter, above its last record's."""
    by: bytes
    """Hash of the admin certificate; empty for `leave`."""
    admitted: frozenset[bytes]
    """First 8 bytes of the keys whose countersignature by the evicted node stands."""
    invite: bytes = b""
    """For `evict`: hash of the invite by which the node was in, empty for none."""

    @property
    def order(self) -> tuple[int, int, bytes]:
        """Of two of one action the bigger wins: a later certificate's, then the later leave, then the lower hash."""
        hash_order = bytes(255 - octet for octet in self.hash)
        return self.serial, self.counter, hash_order

    @property
    def hash(self) -> bytes:
        return self.document.hash

    @property
    def raw(self) -> bytes:
        return self.document.raw

    def covers(self, serial: int, counter: int) -> bool:
        """Whether a record at `counter` under the certificate `serial` is ended by this."""
        if self.serial != serial:
            return serial < self.serial
        return self.action is Action.EVICT or counter <= self.counter

    def ends_invite(self, invite: bytes | None) -> bool:
        """Whether what the node has by this invite is ended whatever its serial: it may have got several at once."""
        return invite is not None and invite == self.invite


@dataclass(frozen=True, slots=True)
class Standing:
    """What a verified chain of signatures says of a node. Facts only: expiry and overdraft are judged later."""

    node: NodeKey
    wireguard: bytes
    curve: bytes
    serial: int
    grant: Grant
    credential: bytes
    certificate: bytes
    """Hash of the node certificate; the credential itself when an admin issued that."""
    admin: bytes
    """Hash of the admin certificate at the head."""
    invite: bytes | None
    """Hash of the invite; None when an admin issued the certificate itself."""
    above: Standing | None = field(default=None, repr=False, compare=False)
    """The standing under which the countersigner signed; None when an admin issued the certificate itself."""
    papers: bytes = field(default=b"", repr=False, compare=False)
    """The node certificate and the countersignature, packed by the pool."""

    @property
    def role(self) -> Role:
        return self.grant.role

    @property
    def prefixes(self) -> tuple[IPv6Network, ...]:
        return self.grant.prefixes

    @property
    def expires(self) -> int:
        return self.grant.expires

    @property
    def countersigner(self) -> NodeKey | None:
        return None if self.above is None else self.above.node

    def line(self) -> Iterator[Standing]:
        """This one, then those that it rests on, up to one that an admin gave."""
        at: Standing | None = self
        while at is not None:
            yield at
            at = at.above


@dataclass(frozen=True, slots=True)
class Member:
    """A node that belongs to the mesh: its words and its standing."""

    key: NodeKey
    record: Record
    standing: Standing
    address: IPv6Address

    @property
    def role(self) -> Role:
        return self.standing.role


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix that is reached through a member of the same mesh."""

    prefix: IPv6Network
    via: NodeKey
    overlay: bool = False
    """Whether it is of a mesh, or a part of one: no host has such a prefix on a link of its own."""


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """What a node puts into its own record; `seal_record` signs it."""

    name: str
    gossip: tuple[Endpoint, ...] = ()
    wireguard: tuple[Endpoint, ...] = ()
    keepalive: int = 0
    collision: int = 0
    via: tuple[NodeKey, ...] = ()
    floor: int = 0
    card: Card = BLANK
    extra: Mapping[str, str] = field(default_factory=dict)


def seal_record(mesh: str, own: OwnRecord, counter: int, credential: bytes, seed: Secret, node: NodeKey) -> Document:
    fields: dict[str, object] = {
        "node": encode(node),
        "counter": counter,
        "credential": encode(credential),
        "name": own.name,
        "collision": own.collision,
        "gossip": [str(endpoint) for endpoint in own.gossip],
        "wireguard": [str(endpoint) for endpoint in own.wireguard],
        "keepalive": own.keepalive,
    }
    if own.via:
        fields["via"] = [encode(key) for key in own.via]
    if own.floor:
        fields["floor"] = own.floor
    fields.update(own.card.fields())
    return seal(Kind.RECORD, mesh, {**own.extra, **fields}, seed)


def read_record(document: Document, fields: Fields | None = None) -> Record:
    """`fields` are the document's, if they were read already. Raises `RemoteError`."""
    if len(document.raw) > MAX_RECORD:
        raise RemoteError("malformed", f"a record of {len(document.raw)} bytes: the bound is {MAX_RECORD}")
    fields = fields or document.fields()
    node, credential = fields.signer("node"), fields.digest("credential")
    _keepalive(fields)  # Not kept, but no record has a wrong one.
    return Record(
        document.mesh,
        document.hash + pack([document.raw], document.mesh, (node, credential)),
        node,
        fields.integer("counter", 1, MAX_COUNTER),
        credential,
        fields.text("name", 63),
        fields.integer("collision", 0, 255, 0),
        _endpoints(fields, "gossip"),
        _endpoints(fields, "wireguard"),
        fields.node_keys("via", MAX_VIA),
        fields.integer("floor", 0, MAX_COUNTER, 0),
        _card(fields),
    )


def unite(record: Record, standing: Standing) -> None:
    """Let a record hold the very bytes that its standing holds: equal ones, and of thousands the copies add up."""
    assert (record.node, record.credential) == (standing.node, standing.credential)
    object.__setattr__(record, "node", standing.node)
    object.__setattr__(record, "credential", standing.credential)


def _keepalive(fields: Fields) -> int:
    return fields.integer("keepalive", 0, 65535, 0)


def _card(fields: Fields) -> Card:
    try:
        return read_card(fields.some(CARD_FIELDS))
    except ValueError as error:
        raise RemoteError("malformed", f"a record that cannot be read: {error}") from error


def _endpoints(fields: Fields, name: str) -> tuple[Endpoint, ...]:
    """Literal addresses or DNS names. An address nobody can dial is refused: it would aim us at ourselves."""
    found = tuple(parse_endpoint(text) for text in fields.texts(name, MAX_ENDPOINTS, 260))
    for endpoint in found:
        if not is_dialable(endpoint.host):
            raise RemoteError("malformed", f"a record with the endpoint {endpoint}, which nobody can dial")
    return found


def seal_leave(mesh: str, node: NodeKey, serial: int, counter: int, seed: Secret) -> Document:
    fields = {"node": encode(node), "serial": serial, "action": Action.LEAVE.value, "counter": counter}
    return seal(Kind.REMOVE, mesh, fields, seed)


def seal_evict(
    mesh: str,
    node: NodeKey,
    serial: int,
    admin: Document,
    seed: Secret,
    admitted: frozenset[bytes],
    reason: str,
    invite: bytes | None = None,
) -> Document:
    """`admitted` are first 8 bytes of node keys, at most `MAX_ADMITTED`; `invite` is the hash of the node's own."""
    fields = {
        "node": encode(node),
        "serial": serial,
        "action": Action.EVICT.value,
        "by": encode(admin.hash),
        "admitted": encode(b"".join(sorted(admitted))),
        "reason": reason,
    }
    if invite is not None:
        fields["invite"] = encode(invite)
    return seal(Kind.REMOVE, mesh, fields, seed)


def read_remove(document: Document, fields: Fields | None = None) -> Remove:
    """`fields` are the document's, if they were read already. Raises `RemoteError`."""
    fields = fields or document.fields()
    try:
        action = Action(fields.text("action", 10))
    except ValueError as error:
        raise RemoteError("malformed", f"a remove that cannot be read: {error}") from error
    evict = action is Action.EVICT
    blob = fields.blob("admitted", MAX_ADMITTED * PREFIX_BYTES)
    admitted = frozenset(blob[at : at + PREFIX_BYTES] for at in range(0, len(blob), PREFIX_BYTES))
    return Remove(
        document,
        fields.signer("node"),
        fields.integer("serial", 0, MAX_SERIAL),
        action,
        0 if evict else fields.integer("counter", 1, MAX_COUNTER),
        fields.digest("by") if evict else b"",
        admitted,
        fields.optional_digest("invite") if evict else b"",
    )
