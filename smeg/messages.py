"""The whole vocabulary: every message that passes between actors, as frozen values.

Messages that describe state are whole snapshots with a version: a lost or doubled one is harmless, the newest counts.
`mesh` is always a mesh id. Times are monotonic seconds, sizes are bytes. `actors/wiring.py` says who hears what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Network
from typing import Any

from smeg.annexes import Annex
from smeg.device import DeviceState, Endpoint, Handshake
from smeg.errors import Problem
from smeg.forwarding import Mode
from smeg.hooks import Hooks
from smeg.keys import NodeKey, Secret, interned
from smeg.members import Members
from smeg.records import Member, Route
from smeg.route_policy import RoutePolicy
from smeg.static_clients import StaticClient
from smeg.stored import StoredMesh
from smeg.ways import Offer


class Channel(bytes, Enum):
    """Which actor of a mesh a gossip message is for; the first byte on the wire after the mesh id."""

    MEMBERSHIP = b"M"
    HEARTBEAT = b"H"
    JOIN = b"J"
    """A guest asks to be admitted: the only channel that a non-member may use."""
    WELCOME = b"W"
    """The answer to a guest, from whom it dialled."""


# Between the runtime and an actor


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer that an actor set for itself has run out."""


@dataclass(frozen=True, slots=True)
class Readable:
    """One of the sockets that an actor watches can be read."""


# Gossip


@dataclass(frozen=True, slots=True)
class Received:
    """A gossip message that passed the transport's checks."""

    mesh: str
    channel: Channel
    sender: NodeKey | None
    """The member whose CURVE key the connection proved; None for a guest."""
    curve: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class SendMember:
    """Send to a member, over whatever connection reaches it; dropped and counted when none can be made in time."""

    mesh: str
    channel: Channel
    to: NodeKey
    payload: bytes


@dataclass(frozen=True, slots=True)
class Spread:
    """The same `SendMember` for several members."""

    mesh: str
    channel: Channel
    to: tuple[NodeKey, ...]
    payload: bytes


@dataclass(frozen=True, slots=True)
class SendGuest:
    """Send to a CURVE key that is not (yet) a member: the two ends of joining."""

    mesh: str
    channel: Channel
    to: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Make a connection to a CURVE key at these endpoints, in turn, until one answers."""

    mesh: str
    curve: bytes
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """A place that was dialled for a mesh did not answer; the next is tried."""

    mesh: str
    curve: bytes
    endpoint: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class Watched:
    """The members whose connections this node keeps an eye on: one that ends is dialled again at once, to see why."""

    mesh: str
    version: int
    members: tuple[NodeKey, ...]


@dataclass(frozen=True, slots=True)
class LinkRefused:
    """Where a watched member listened, its host now says that nobody does: its daemon is down, the host is not."""

    mesh: str
    member: NodeKey


@dataclass(frozen=True, slots=True)
class LinkSilent:
    """Where a watched member listened, nothing answers at all."""

    mesh: str
    member: NodeKey


@dataclass(frozen=True, slots=True)
class LinkRestored:
    """A watched member is connected with again after its connection had ended: what lies between may have changed."""

    mesh: str
    member: NodeKey


@dataclass(frozen=True, slots=True)
class ControlReady:
    """The command line can reach this daemon, and no other of the same user's."""


@dataclass(frozen=True, slots=True)
class GossipReady:
    """The bound socket accepts connections."""

    port: int
    addresses: tuple[str, ...]
    """Literal addresses under which this host seems to be reached."""


@dataclass(frozen=True, slots=True)
class AddressesFound:
    """Under which addresses this host seems to be reached now, where that has changed."""

    version: int
    local: tuple[str, ...]
    """Its own, as in `GossipReady`."""
    seen: tuple[str, ...]
    """Those that other members see, if enough of them agree."""


@dataclass(frozen=True, slots=True)
class GossipCounted:
    """What the transport has moved and dropped since it started."""

    counters: Mapping[str, int]


# Membership


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """All members of a mesh."""

    mesh: str
    version: int
    members: Members
    quarantined: Mapping[NodeKey, Member] = field(default_factory=dict)
    """Not members while an invite is overdrawn."""
    own_verdict: str = "member"
    """What this replica says of its own node: see `roster.Verdict`."""
    gone: tuple[tuple[NodeKey, str], ...] = ()
    """Who was a member in the snapshot before, and why no more: `leave`, `evict`, or another `roster.Verdict`."""
    expired: frozenset[NodeKey] = frozenset()
    """Who would be a member by a clock that is behind."""


@dataclass(frozen=True, slots=True)
class AnnexesChanged:
    """All annexes that a mesh's replica holds, by author and label; also of nodes that are no members now."""

    mesh: str
    version: int
    annexes: Mapping[NodeKey, Mapping[str, Annex]]


@dataclass(frozen=True, slots=True)
class RootChanged:
    """The digest of all that this replica knows, 8 bytes: equal replicas have equal ones."""

    mesh: str
    root: bytes


@dataclass(frozen=True, slots=True)
class RootDiffers:
    """A member's replica has differed from this one for longer than news takes."""

    mesh: str
    member: NodeKey


@dataclass(frozen=True, slots=True)
class Learned:
    """Signed documents that are new here, to be kept on disk exactly as they are."""

    mesh: str
    documents: tuple[bytes, ...]
    obsolete: tuple[bytes, ...] = ()
    """Hashes of documents that these replace."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Signed documents of this node's own that are on disk and may go on the wire."""

    mesh: str
    documents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Countersign:
    """From now on this node may let others in: its own credential, by hash."""

    mesh: str
    credential: bytes


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should see: a double counter, a collision, a refused claim."""

    mesh: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class AlarmOver:
    """What an alarm was about is so no longer."""

    mesh: str
    code: str


# Liveness


@dataclass(frozen=True, slots=True)
class LivenessChanged:
    """Who is alive as this node sees it. Pruned members stay members; no traffic is sent to them."""

    mesh: str
    version: int
    epoch: int
    leader: NodeKey | None
    pruned: frozenset[NodeKey]
    down: frozenset[NodeKey] = frozenset()
    """Whose daemon is down while its host lives: not pruned; they neither lead nor gossip, their tunnels stay."""

    @property
    def silent(self) -> frozenset[NodeKey]:
        """Who takes no part in gossip."""
        return interned(self.pruned | self.down) if self.down else self.pruned


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the live members that this node watches hold, by what they said since this node's own replica changed."""

    mesh: str
    version: int
    root: bytes
    """Digest of this node's replica."""
    agreeing: frozenset[NodeKey]
    """They hold the same."""
    others: frozenset[NodeKey]
    """They hold something else, or have said nothing since."""


@dataclass(frozen=True, slots=True)
class Detected:
    """Members whom this node watches are pruned: the seconds since each gave its last sign of life."""

    mesh: str
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EpochSeen:
    """The refresh goes on."""

    mesh: str
    epoch: int


# Routing and device


@dataclass(frozen=True, slots=True)
class RoutesChanged:
    """The routes chosen for one mesh's device, beside every member's own address."""

    mesh: str
    version: int
    routes: tuple[Route, ...]
    own_routes: tuple[Route, ...] = ()
    """For packets from this node's own address in the mesh, where they go another way."""


@dataclass(frozen=True, slots=True)
class RouteProblems:
    """What is wrong now with the routes of a mesh. Each was an `Alarm` when it began."""

    mesh: str
    version: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """What the configuration says to the whole daemon, read again."""

    name: str
    keepalive: int
    """seconds; for clients."""
    routes: RoutePolicy


@dataclass(frozen=True, slots=True)
class SelfConfigured:
    """What this node's record in a mesh is to say from now on."""

    mesh: str
    name: str
    gossip: tuple[Endpoint, ...]
    keepalive: int
    """seconds; for clients."""
    provisional: bool = False
    """Whether what the record says already of where this node is dialled stays."""


@dataclass(frozen=True, slots=True)
class DeviceConfigured:
    """How a mesh's interface is to be from now on."""

    mesh: str
    mtu: int
    keepalive: int
    """seconds; for clients."""
    forwarding: Mode
    bridges: bool
    leads_beyond: bool
    hooks: Hooks


@dataclass(frozen=True, slots=True)
class StaticsServed:
    """Devices without a daemon that this node vouches for."""

    mesh: str
    version: int
    clients: tuple[StaticClient, ...]


@dataclass(frozen=True, slots=True)
class OffersChanged:
    """What this node offers into a mesh: ways whose last hop is its own and not signed yet."""

    mesh: str
    version: int
    offers: Mapping[IPv6Network, Offer]
    passports: Mapping[tuple[str, NodeKey], tuple[bytes, ...]]
    """For each hop of these ways, by the mesh that it crosses and its bridge, the certificates that prove it to be a
    member there."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """By which certificates this node is a member of a mesh, issuers first: for those who are not in it."""

    mesh: str
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class UplinkChanged:
    """Whether this node reaches what its user named to prove that it leads anywhere."""

    version: int
    reached: bool


@dataclass(frozen=True, slots=True)
class NamesServed:
    """Where names are answered, how often they were asked for, and what keeps that from being so everywhere."""

    version: int
    places: tuple[str, ...]
    asked: int
    dropped: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class MetricsServed:
    """Where metrics can be had, or why not."""

    version: int
    place: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class MetricsAsked:
    """Somebody waits for the page of metrics."""


@dataclass(frozen=True, slots=True)
class MetricsPage:
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A host name of the underlay has become known."""


@dataclass(frozen=True, slots=True)
class DeviceReady:
    """The interface exists and is up."""

    mesh: str
    interface: str
    backend: str
    listen_port: int


@dataclass(frozen=True, slots=True)
class DeviceApplied:
    """The device looks as the plan says."""

    mesh: str
    version: int
    plan: DeviceState
    """What it looks like now."""
    operations: Mapping[str, int] = field(default_factory=dict)
    """How often each kind was done since the actor began."""


@dataclass(frozen=True, slots=True)
class DeviceFailed:
    """The device could not be made to look as the plan says; it is tried again."""

    mesh: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class DeviceWarned:
    """What keeps traffic from passing although the device looks as the plan says; nothing when all is well."""

    mesh: str
    version: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class HandshakesSeen:
    """By WireGuard public key."""

    mesh: str
    handshakes: Mapping[bytes, Handshake]


# Store


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the disk holds at start."""

    identity: Secret = field(repr=False)
    curve: Secret = field(repr=False)
    meshes: tuple[StoredMesh, ...]
    problems: tuple[Problem, ...] = ()
    """What was found damaged, and what was done about it."""


@dataclass(frozen=True, slots=True)
class SaveMesh:
    """Keep a mesh's keys, description and documents. Answered by `Saved` or `SaveFailed` with the same ticket."""

    mesh: StoredMesh
    ticket: int


@dataclass(frozen=True, slots=True)
class SaveOwn:
    """Keep own documents, then say so: a counter is on disk before it is on the wire."""

    mesh: str
    documents: tuple[bytes, ...]
    ticket: int


@dataclass(frozen=True, slots=True)
class ForgetMesh:
    mesh: str


@dataclass(frozen=True, slots=True)
class LoadMesh:
    """Read one mesh again, to start its actors anew. Answered by `MeshLoaded` or `StoreFailed`."""

    mesh: str


@dataclass(frozen=True, slots=True)
class MeshLoaded:
    stored: StoredMesh


@dataclass(frozen=True, slots=True)
class MeshForgotten:
    mesh: str
    kept: str = ""
    """The folder where the keys of the mesh's authority were set aside, if this node held any."""


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The disk refused; `mesh` is empty when it is not about one."""

    mesh: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Saved:
    mesh: str
    ticket: int


@dataclass(frozen=True, slots=True)
class SaveFailed:
    mesh: str
    ticket: int
    problem: Problem


# Requests from people


@dataclass(frozen=True, slots=True)
class Request:
    """A command from the control endpoint. `arguments` is checked by who carries it out."""

    ticket: int
    command: str
    arguments: Mapping[str, Any] = field(repr=False)
    """May hold a token: never logged."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a `Request`: a result, or a problem."""

    ticket: int
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    problem: Problem | None = None


# The life of meshes and actors


@dataclass(frozen=True, slots=True)
class MeshKnown:
    """A mesh of this node, and how far it is: starting, active, restarting."""

    mesh: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class MeshStarted:
    """A mesh works: this node is admitted and its record is on disk."""

    mesh: str
    name: str
    address: str
    interface: str


@dataclass(frozen=True, slots=True)
class MeshStopped:
    """A mesh is over here: left, evicted, or never begun, with the reason."""

    mesh: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class ActorState:
    """One actor as `status` shows it."""

    name: str
    state: str
    restarts: int
    last_error: str


@dataclass(frozen=True, slots=True)
class Supervised:
    """All actors of the daemon."""

    version: int
    actors: tuple[ActorState, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class ActorFailed:
    """An actor raised; the runtime says so to `Node`."""

    name: str
    incarnation: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class ActorStopped:
    """An actor has ended and let go of what it held."""

    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Release:
    """Remove what you hold outside this process: interface, routes, socket. The mesh or the daemon is ending."""


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the configuration file again."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the daemon in order."""
