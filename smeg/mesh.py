"""The core of this node's own part in one mesh: founding, joining, resuming, its record, inviting, evicting, leaving.

What it publishes is on disk first. It says `MeshStarted` once the node is admitted and its record saved, and
`MeshStopped` when the mesh is over here, with the reason; `Node` then takes everything down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random

from smeg import messages as m
from smeg.addresses import overlay_address
from smeg.authority import Authority, find_member
from smeg.certificates import Role
from smeg.chain import Chain
from smeg.core import Message
from smeg.device import Endpoint
from smeg.endpoints import MAX_ENDPOINTS
from smeg.errors import LocalError, Problem, RemoteError
from smeg.joining import Joining, JoinKeys, Stage
from smeg.keys import Entropy, NodeKey, Secret, node_key, x25519_public
from smeg.membership import presentation
from smeg.notary import Notary
from smeg.own_record import OwnRecordWriter
from smeg.range_digest import EMPTY
from smeg.records import Action, Member, OwnRecord, Record, Remove, Standing, read_record
from smeg.roster import Verdict
from smeg.stored import Contact, StoredMesh
from smeg.tokens import MAX_CONTACTS, Token

ALONE = 3.0
"""seconds after which a joiner counts as started although nobody's records have come yet."""
PRESENT_EVERY = 2.0
"""seconds between attempts to be known by somebody, while nobody is known."""
REPUBLISH_AFTER = 1.0
"""seconds that lie at least between two records."""
LEAVE_LINGER = 1.0
"""seconds that a leave has to spread before the mesh is taken down."""
SAVE_AGAIN = 5.0
"""seconds after which what the store has not answered, or may not lose, is sent to it again."""
CONTACTS_EVERY = 60.0
"""seconds between two looks whether the stored contacts still hold."""


class Origin(Enum):
    """How this node comes to be in a mesh at this start."""

    FOUNDED = "founded"
    JOINED = "joined"
    RESUMED = "resumed"


class State(Enum):
    WAITING = "waiting for the device"
    JOINING = "joining"
    SAVING = "saving"
    SETTLING = "waiting for the others' records"
    ACTIVE = "active"
    LEAVING = "leaving"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What the daemon's configuration says for a mesh's own record."""

    name: str
    """The node's name, as others see it."""
    role: Role
    """What the node wants to be; an invitation may allow less."""
    gossip: tuple[Endpoint, ...]
    """Where others dial this host: literal addresses or DNS names."""
    keepalive: int = 0
    """seconds; counts for clients."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The daemon's secrets that a mesh needs."""

    identity: Secret = field(repr=False)
    curve: Secret = field(repr=False)


class Mesh:
    """`token` goes with `Origin.JOINED`. `wall` gives seconds since 1970."""

    def __init__(
        self,
        stored: StoredMesh,
        origin: Origin,
        keys: Keys,
        settings: MeshSettings,
        notary: Notary,
        random: Random,
        entropy: Entropy,
        wall: Callable[[], int],
        token: Token | None = None,
    ) -> None:
        self._stored = stored
        self._mesh = stored.id
        self._origin = origin
        self._keys = keys
        self._settings = settings
        self._notary = notary
        self._random = random
        self._wall = wall
        self._token = token
        self._node = node_key(keys.identity)
        self._authority = Authority(stored, notary, entropy, wall)
        self._state = State.WAITING
        self._joining: Joining | None = None
        self._standing: Standing | None = None
        self._writer: OwnRecordWriter | None = None
        self._record: Record | None = None
        self._interface = ""
        self._members: Mapping[NodeKey, Member] = {}
        self._quarantined: Mapping[NodeKey, Member] = {}
        self._ticket = 0
        self._pending: dict[int, tuple[bytes, ...]] = {}
        self._replies: dict[int, m.Reply] = {}
        self._saves: dict[int, m.SaveMesh | m.SaveOwn] = {}
        """What the store has not answered. Saving twice is harmless."""
        self._save_again_at: float | None = None
        self._unsaid = False
        """Whether the own record that goes with `SaveMesh` is not on disk yet."""
        self._removed = False
        self._left = False
        self._leave_save = 0
        self._leave_ticket = 0
        self._stop_at: float | None = None
        self._settled_at: float | None = None
        self._present_at: float | None = None
        self._republish_at: float = 0.0
        self._contacts_at: float = 0.0

    # The contract of a core.

    def begin(self, now: float) -> list[Message]:
        return []

    def handle(self, message: Message, now: float) -> list[Message]:
        match message:
            case m.DeviceReady() if self._state is State.WAITING:
                return self._device_ready(message, now)
            case m.DeviceFailed() if self._state is State.WAITING and self._origin is not Origin.RESUMED:
                return self._end(message.problem)
            case m.Received(channel=m.Channel.WELCOME) if self._joining is not None:
                try:
                    self._joining.answer(message, now)
                except RemoteError as error:
                    return self._end(error.problem)
                return self._after_joining(now)
            case m.LinkFailed() if self._joining is not None:
                self._joining.link_failed(message, now)
                return self._after_joining(now)
            case m.Saved():
                return self._saved(message.ticket, now)
            case m.SaveFailed():
                return self._save_failed(message, now)
            case m.MembersChanged():
                return self._members_changed(message, now)
            case m.Request():
                return self._request(message, now)
            case m.Tick():
                return self._tick(now)
        return []

    def settle(self, now: float) -> list[Message]:
        """Publish what changed in the own record, not too often."""
        if not self._has_news() or now < self._republish_at or self._pending:
            return []
        assert self._writer is not None and self._standing is not None
        document = self._writer.revise(self._standing.credential)
        if document is None:
            return []
        self._republish_at = now + REPUBLISH_AFTER
        self._record = read_record(document)
        self._ticket += 1
        self._pending[self._ticket] = (document.raw,)
        return self._save(m.SaveOwn(self._mesh, (document.raw,), self._ticket), now)

    def next_deadline(self) -> float | None:
        joining = self._joining.next_deadline() if self._joining is not None else None
        settled = self._settled_at if self._state is State.SETTLING else None
        deadlines = [joining, self._stop_at, settled, self._present_at, self._save_again_at]
        if self._has_news() and not self._pending:
            deadlines.append(self._republish_at)
        return min((at for at in deadlines if at is not None), default=None)

    def _has_news(self) -> bool:
        """Whether the own record should say something else than it does."""
        if self._writer is None or self._standing is None or self._state not in (State.SETTLING, State.ACTIVE):
            return False
        return self._writer.has_news(self._standing.credential)

    # Beginning.

    def _device_ready(self, ready: m.DeviceReady, now: float) -> list[Message]:
        self._interface = ready.interface
        self._stored = replace(self._stored, interface=ready.interface, listen_port=ready.listen_port)
        if self._token is not None:
            keys = JoinKeys(self._node, self._stored.wireguard, self._keys.curve)
            self._state = State.JOINING
            grant = self._token.invite.grant
            if self._settings.role is Role.CLIENT:
                grant = replace(grant, role=Role.CLIENT)
            self._joining = Joining(self._token, keys, grant, self._notary, now, self._wall())
            return self._after_joining(now)
        chain = Chain(self._mesh, self._notary)
        credential = chain_of(chain, self._stored.admission, self._notary)
        writer = self._new_writer(credential)
        self._left = self._has_left(credential.serial)
        own = self._newest_own_record()
        if own is not None:
            writer.resume(own)
            self._record = own
        elif self._origin is Origin.RESUMED:
            writer.lost(self._random)
        # Nobody to wait for: a founder is alone, and who resumes has its members on disk.
        return self._save_all(now, settled_at=now)

    def _new_writer(self, standing: Standing) -> OwnRecordWriter:
        self._standing = standing
        wanted = self._wanted()
        self._writer = OwnRecordWriter(self._mesh, self._node, self._keys.identity, wanted, standing.role)
        return self._writer

    def _wanted(self) -> OwnRecord:
        gossip, port = self._settings.gossip[:MAX_ENDPOINTS], self._stored.listen_port
        wireguard = tuple(dict.fromkeys(Endpoint(place.host, port) for place in gossip))
        assert self._standing is not None
        keepalive = self._settings.keepalive if self._standing.role is Role.CLIENT else 0
        return OwnRecord(self._settings.name, gossip, wireguard, keepalive)

    def _newest_own_record(self) -> Record | None:
        newest: Record | None = None
        for raw in self._stored.documents:
            statement = self._notary.read(raw)
            if isinstance(statement, Record) and statement.node == self._node:
                newest = statement if newest is None or statement.order > newest.order else newest
        return newest

    def _after_joining(self, now: float) -> list[Message]:
        joining = self._joining
        assert joining is not None
        if joining.stage is Stage.ASKING:
            out = joining.tick(now)
            if joining.stage is Stage.ASKING:
                return out
        self._joining = None
        if joining.stage is Stage.FAILED or joining.standing is None:
            return self._end(joining.problem)
        writer = self._new_writer(joining.standing)
        writer.counter = joining.counter
        admission = tuple(joining.chain.documents())
        contacts = (self._contact_first(joining), *(c for c in joining.token.contacts))
        self._stored = replace(self._stored, admission=admission, contacts=tuple(dict.fromkeys(contacts)))
        return self._save_all(now, settled_at=now + ALONE)

    def _contact_first(self, joining: Joining) -> Contact:
        return next(c for c in joining.token.contacts if c.curve == joining.contact_curve)

    def _save_all(self, now: float, settled_at: float) -> list[Message]:
        """Write the mesh's files and the own record; at the latest at `settled_at` the mesh counts as started."""
        assert self._writer is not None and self._standing is not None
        document = self._writer.revise(self._standing.credential)
        self._unsaid = document is not None
        if document is not None:
            self._record = read_record(document)
        own = (self._record.document.raw,) if self._record is not None else ()
        documents = (*self._stored.admission, *own)
        self._stored = replace(self._stored, documents=documents)
        self._state = State.SAVING
        self._settled_at = settled_at
        self._ticket += 1
        self._pending[self._ticket] = self._stored.documents
        return self._save(m.SaveMesh(self._stored, self._ticket), now)

    def _save(self, message: m.SaveMesh | m.SaveOwn, now: float) -> list[Message]:
        self._saves[message.ticket] = message
        if self._save_again_at is None:
            self._save_again_at = now + SAVE_AGAIN
        return [message]

    def _settle_save(self, ticket: int) -> None:
        """The store has answered, for good."""
        self._saves.pop(ticket, None)
        if not self._saves:
            self._save_again_at = None

    def _saved(self, ticket: int, now: float) -> list[Message]:
        if ticket not in self._saves:
            return []
        self._settle_save(ticket)
        documents = self._pending.pop(ticket, ())
        out: list[Message] = [m.Publish(self._mesh, documents)] if documents else []
        reply = self._replies.pop(ticket, None)
        if reply is not None:
            out.append(reply)
        if self._state is State.SAVING:
            assert self._standing is not None
            out.append(m.Countersign(self._mesh, self._standing.credential))
            self._state = State.SETTLING
            self._republish_at = now + REPUBLISH_AFTER
            self._present_at = now
            if self._removed and self._origin is Origin.RESUMED:
                out += self._end(self._why_removed())
        elif self._state is State.LEAVING and ticket == self._leave_save:
            self._stop_at = now + LEAVE_LINGER
        return out

    def _save_failed(self, message: m.SaveFailed, now: float) -> list[Message]:
        save = self._saves.get(message.ticket)
        if save is None:
            return []
        reply = self._replies.pop(message.ticket, None)
        if self._state is State.SAVING and self._origin is Origin.RESUMED:
            # All this was on disk before; a disk that is full now must not end a mesh that works.
            return [] if self._unsaid else self._saved(message.ticket, now)
        leaving = self._state is State.LEAVING and message.ticket == self._leave_save
        if reply is None and not leaving and isinstance(save, m.SaveOwn):
            # The own record: nobody waits for it, but it has to be said in the end. It is sent again.
            return []
        self._settle_save(message.ticket)
        self._pending.pop(message.ticket, None)
        if self._state is State.SAVING:
            return self._end(message.problem)
        if leaving:
            self._state = State.ACTIVE
            return [m.Reply(self._leave_ticket, problem=message.problem)]
        return [replace(reply, result=None, problem=message.problem)] if reply is not None else []

    # Living.

    def _members_changed(self, message: m.MembersChanged, now: float) -> list[Message]:
        self._members, self._quarantined = message.members, message.quarantined
        if self._writer is not None:
            self._writer.see(message.members)
        self._removed = message.own_verdict == Verdict.REMOVED.value
        if self._removed and self._state in (State.SETTLING, State.ACTIVE):
            return self._end(self._why_removed())
        if self._others() and self._state is State.SETTLING:
            self._settled_at = now
        if self._others():
            self._present_at = None
        return self._refresh_contacts(now)

    def _why_removed(self) -> Problem | None:
        """None when it was by this node's own will, and the daemon ended before all of it was done."""
        if self._left:
            return None
        hint = "ask an admin of the mesh for a new token if this was a mistake"
        return Problem("evicted", f"an admin evicted this node from {self._stored.name}", hint)

    def _has_left(self, serial: int) -> bool:
        """Whether what was on disk at the start says that this node leaves, this stay of it."""
        for raw in self._stored.documents:
            statement = self._notary.read(raw)
            if isinstance(statement, Remove) and statement.node == self._node and statement.serial >= serial:
                return statement.action is Action.LEAVE
        return False

    def _others(self) -> list[Member]:
        return [member for key, member in self._members.items() if key != self._node]

    def _refresh_contacts(self, now: float) -> list[Message]:
        """Keep on disk where some peers are reached, in case the database is lost."""
        if self._state is not State.ACTIVE or now < self._contacts_at:
            return []
        self._contacts_at = now + CONTACTS_EVERY
        contacts = self._peer_contacts(MAX_CONTACTS)
        if not contacts or contacts == self._stored.contacts:
            return []
        self._stored = replace(self._stored, contacts=contacts, documents=())
        self._ticket += 1
        return self._save(m.SaveMesh(self._stored, self._ticket), now)

    def _peer_contacts(self, most: int) -> tuple[Contact, ...]:
        return tuple(
            Contact(member.standing.curve, member.record.gossip)
            for member in self._others()
            if member.role is Role.PEER and member.record.gossip
        )[:most]

    def _tick(self, now: float) -> list[Message]:
        out: list[Message] = []
        if self._joining is not None:
            out += self._after_joining(now)
        if self._settled_at is not None and now >= self._settled_at and self._state is State.SETTLING:
            self._settled_at = None
            out += self._start()
        if self._stop_at is not None and now >= self._stop_at:
            out += self._end(None)
        if self._present_at is not None and now >= self._present_at:
            self._present_at = None if self._others() else now + PRESENT_EVERY
            out += self._present()
        if self._save_again_at is not None and now >= self._save_again_at:
            self._save_again_at = now + SAVE_AGAIN
            out += self._saves.values()
        return out

    def _start(self) -> list[Message]:
        self._state = State.ACTIVE
        assert self._standing is not None and self._record is not None
        address = overlay_address(self._mesh, self._standing.wireguard, self._record.collision)
        return [m.MeshStarted(self._mesh, self._stored.name, str(address), self._interface)]

    def _present(self) -> list[Message]:
        """Make ourselves known to the contacts, as long as nobody is known here."""
        if self._record is None or self._state not in (State.SETTLING, State.ACTIVE) or not self._stored.contacts:
            return []
        payload = presentation(EMPTY, list(self._stored.admission), self._record)
        out: list[Message] = []
        for contact in self._stored.contacts:
            out.append(m.Dial(self._mesh, contact.curve, contact.endpoints))
            out.append(m.SendGuest(self._mesh, m.Channel.JOIN, contact.curve, payload))
        return out

    # Requests.

    def _request(self, request: m.Request, now: float) -> list[Message]:
        try:
            if self._state is not State.ACTIVE:
                raise LocalError("mesh-not-ready", f"{self._stored.name} is {self._state.value}", "try again soon")
            match request.command:
                case "invite":
                    own = Contact(x25519_public(self._keys.curve), self._record.gossip if self._record else ())
                    contacts = (own, *self._peer_contacts(MAX_CONTACTS - 1))
                    token = self._authority.invite(request.arguments, contacts)
                    return [m.Reply(request.ticket, {"token": token.reveal().decode()})]
                case "evict":
                    return self._evict(request, now)
                case "leave-mesh":
                    return self._leave(request, now)
                case command:
                    raise LocalError("unknown-command", f"a mesh does not know the command {command!r}")
        except LocalError as error:
            return [m.Reply(request.ticket, problem=error.problem)]

    def _evict(self, request: m.Request, now: float) -> list[Message]:
        everybody = {**self._members, **self._quarantined}
        target = find_member(everybody, str(request.arguments.get("node", "")))
        if target.key == self._node:
            raise LocalError("evict-self", "this is the node itself", "use `smeg-cli leave-mesh`")
        # Also who has gone since, if a member rests on it: otherwise that member would go too.
        lines = (standing for member in everybody.values() for standing in member.standing.line())
        admitted = {standing.node for standing in lines if standing.countersigner == target.key}
        documents = self._authority.evict(target, sorted(admitted), str(request.arguments.get("reason", "")))
        self._ticket += 1
        self._pending[self._ticket] = documents
        self._replies[self._ticket] = m.Reply(request.ticket, {"evicted": target.record.name})
        return self._save(m.SaveOwn(self._mesh, documents, self._ticket), now)

    def _leave(self, request: m.Request, now: float) -> list[Message]:
        assert self._writer is not None and self._standing is not None
        self._state = State.LEAVING
        self._leave_ticket = request.ticket
        document = self._writer.leave(self._standing.serial)
        self._ticket += 1
        self._pending[self._ticket] = (document.raw,)
        self._leave_save = self._ticket
        return self._save(m.SaveOwn(self._mesh, (document.raw,), self._ticket), now)

    def _end(self, problem: Problem | None) -> list[Message]:
        if self._state is State.OVER:
            return []
        self._state = State.OVER
        self._stop_at = self._settled_at = self._present_at = self._save_again_at = None
        self._joining = None
        return [m.MeshStopped(self._mesh, problem)]


def chain_of(chain: Chain, admission: tuple[bytes, ...], notary: Notary) -> Standing:
    """What a stored admission proves: its last document is the credential. Raises `RemoteError`."""
    offered = {}
    last = b""
    for raw in admission:
        statement = notary.read(raw)
        if isinstance(statement, (Record, Remove)):
            raise RemoteError("malformed", "an admission holds certificates only")
        offered[statement.document.hash] = statement
        last = statement.document.hash
    return chain.establish(last, offered)
