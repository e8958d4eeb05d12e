"""The core of this node's own part in one mesh: founding, joining, resuming, what it says, inviting, evicting, leaving.

A state machine: `NEXT` says where it may go, `handle` what counts in which state, `_saved` and `_save_failed` what
follows from each save. What it publishes is on disk first. It says `MeshStarted` once the node is admitted and its
record saved, and `MeshStopped` when the mesh is over here, with the reason; it takes nothing down itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from random import Random

from smeg import messages as m
from smeg.addresses import overlay_address, overlay_prefix
from smeg.authority import Authority
from smeg.card_requests import COMMANDS as CARD_COMMANDS
from smeg.card_requests import revised
from smeg.certificates import Role
from smeg.company import Company
from smeg.core import Message
from smeg.device_evictions import read_evictions
from smeg.errors import LocalError, Problem, RemoteError
from smeg.introduction import Introduction
from smeg.joining import Joining, JoinKeys, Stage
from smeg.keys import Entropy, node_key, x25519_public
from smeg.mesh_settings import Keys, MeshSettings, Origin
from smeg.notary import Notary
from smeg.own_carrier import OwnCarrier
from smeg.own_devices import OwnDevices
from smeg.own_offers import OwnOffers
from smeg.own_record import OwnRecordWriter
from smeg.own_standing import trouble
from smeg.records import Record, Standing
from smeg.remembered import about, remember
from smeg.roster import Verdict
from smeg.saving import Purpose, Save, Saving
from smeg.second_daemon import CODE, SecondDaemon
from smeg.static_clients import COMMANDS as STATIC_COMMANDS
from smeg.static_clients import StaticClient
from smeg.static_clients import revised as revised_statics
from smeg.stored import Contact, StoredMesh
from smeg.tokens import MAX_CONTACTS, Token
from smeg.wire import Word, chunks

ALONE = 3.0
"""seconds after which a joiner counts as started although nobody's records have come yet."""
REPUBLISH_AFTER = 1.0
"""seconds that lie at least between two records."""
LEAVE_LINGER = 1.0
"""seconds that a leave has to spread before the mesh is taken down."""
FAREWELLS = 4
"""peers that are told of a leave beside the neighbours: those may end at that moment, and nobody would say it again."""
CONTACTS_AFTER = 5.0
"""seconds from a change of members until it is looked whether the stored contacts still hold: others may come."""
CONTACTS_EVERY = 60.0
"""seconds between two such looks."""


class State(Enum):
    WAITING = "waiting for the device"
    JOINING = "joining"
    SAVING = "saving"
    SETTLING = "waiting for the others' records"
    ACTIVE = "active"
    LEAVING = "leaving"
    OVER = "over"


NEXT: Mapping[State, frozenset[State]] = {
    State.WAITING: frozenset({State.JOINING, State.SAVING, State.OVER}),
    State.JOINING: frozenset({State.SAVING, State.OVER}),
    State.SAVING: frozenset({State.SETTLING, State.OVER}),
    State.SETTLING: frozenset({State.ACTIVE, State.OVER}),
    State.ACTIVE: frozenset({State.LEAVING, State.OVER}),
    State.LEAVING: frozenset({State.ACTIVE, State.OVER}),
    State.OVER: frozenset(),
}
"""Only a joiner has somebody to ask before it saves; a leave that cannot be saved leads back."""


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
        self._node = node_key(keys.identity)
        # Of a large mesh the documents are much, and most are the others'.
        self._stored = replace(stored, documents=about(self._node, stored.documents))
        self._mesh = stored.id
        self._origin = origin
        self._keys = keys
        self._settings = settings
        self._notary = notary
        self._random = random
        self._wall = wall
        self._token = token
        self._authority = Authority(self._stored, notary, entropy, wall)
        self._state = State.WAITING
        self._joining: Joining | None = None
        self._own: OwnRecordWriter | None = None
        self._offers = OwnOffers(stored.id, self._node, keys.identity)
        self._company = Company(self._node)
        self._introduction = Introduction(self._node)
        self._carrier = OwnCarrier(self._node)
        self._saving = Saving(stored.id)
        self._unsaid = False
        """Whether the own record that goes with `ENTRY` is not on disk yet."""
        self._removed = False
        self._verdict = Verdict.MEMBER.value
        self._second = SecondDaemon(stored.name)
        self._left = False
        self._stop_at: float | None = None
        self._settled_at: float | None = None
        self._republish_at: float = 0.0
        self._look_at: float | None = None
        self._looked_at = -CONTACTS_EVERY
        """When it will be, and was, looked whether the stored contacts still hold."""
        self._statics_before = stored.statics
        """Likewise."""
        self._devices = OwnDevices(stored.id, wall)
        self._evicting: tuple[int, str] | None = None
        """Ticket of who waits for the eviction of a device, and its name."""
        self._vouched = 0
        """How often it was said for which devices this node vouches."""
        self._card_before = stored.card
        """What holds again if the newest cannot be saved."""

    # The contract of a core.

    def begin(self, now: float) -> list[Message]:
        return []

    def handle(self, message: Message, now: float) -> list[Message]:
        match self._state, message:
            case State.WAITING, m.DeviceReady():
                return self._device_ready(message, now)
            case State.WAITING, m.DeviceFailed() if self._origin is not Origin.RESUMED:
                return self._end(message.problem)
            case State.JOINING, m.Received(channel=m.Channel.WELCOME):
                return self._answered(message, now)
            case State.JOINING, m.LinkFailed() if self._joining is not None:
                self._joining.link_failed(message, now)
                return self._after_joining(now)
            case _, m.Saved(ticket=ticket) if save := self._saving.get(ticket):
                return self._saved(save, now)
            case _, m.SaveFailed(ticket=ticket) if save := self._saving.get(ticket):
                return self._save_failed(save, message.problem, now)
            case _, m.MembersChanged():
                return self._members_changed(message, now)
            case _, m.OffersChanged() | m.AnnexesChanged():
                self._devices.hear(message)
                if self._offers.hear(message, now) and self._second.settled(now):
                    self._second.contradicted(now)
            case _, m.LivenessChanged():
                self._company.see(message)
                self._carrier.hear(message)
            case _, m.RoutesChanged():
                self._carrier.hear(message)
            case _, m.Request():
                return self._request(message, now)
            case _, m.SelfConfigured():
                settings = self._settings
                self._settings = replace(
                    settings,
                    name=message.name,
                    gossip=message.gossip,
                    keepalive=message.keepalive,
                    provisional=message.provisional,
                )
                if self._own is not None:
                    role = self._own.standing.role
                    wanted = self._settings.own_record(role, self._stored.listen_port)
                    self._own.identify(wanted, message.provisional)
            case state, m.Tick() if state is not State.OVER:
                return self._tick(now)
        return []

    def settle(self, now: float) -> list[Message]:
        """Publish what changed in what this node says of itself, not too often."""
        if self._own is not None:
            self._carrier.settle(self._own, now)
        at = self._offers_at()
        documents = self._offers.revise(now) if at is not None and now >= at else ()
        out: list[Message] = [m.Alarm(self._mesh, problem) for problem in self._offers.take_problems()]
        if self._offers.room_again:
            self._offers.room_again = False
            out.append(m.AlarmOver(self._mesh, "too-many-offers"))
        problem, over = self._second.news(now)
        out += [m.Alarm(self._mesh, problem)] if problem is not None else []
        out += [m.AlarmOver(self._mesh, CODE)] if over else []
        if documents:
            # The record waits, with a floor that voids what these replace.
            ticket, name = self._evicting or (None, "")
            self._evicting = None
            return out + self._saving.keep_own(Purpose.ANNEXES, documents, now, ticket, {"evicted": name})
        return out + self._forget_evicted(now) + self._revise(now)

    def _revise(self, now: float) -> list[Message]:
        at = self._revise_at()
        document = self._own.revise() if self._own is not None and at is not None and now >= at else None
        if document is None:
            return []
        self._republish_at = now + REPUBLISH_AFTER
        return self._saving.keep_own(Purpose.RECORD, (document.raw,), now)

    def next_deadline(self) -> float | None:
        if self._state is State.OVER:
            return None
        joining = self._joining.next_deadline() if self._joining is not None else None
        settled = self._settled_at if self._state is State.SETTLING else None
        own = (self._revise_at(), self._offers_at(), self._carrier.next_deadline(), self._second.next_deadline())
        introduction = self._introduction.next_deadline() if self._inside else None
        mine = (joining, settled, introduction, self._stop_at, self._look_at, *own)
        return min((at for at in (*mine, self._saving.next_deadline()) if at is not None), default=None)

    def _revise_at(self) -> float | None:
        """When to write the own record anew; None while it says what it should, or the last is not on disk yet."""
        if self._own is None or not self._own.has_news() or not self._may_publish():
            return None
        return 0.0 if self._own.has_moved() else max(self._republish_at, self._second.quiet_until)

    def _offers_at(self) -> float | None:
        """Likewise for the own annexes."""
        due = self._offers.due() if self._may_publish() else None
        return max(due, self._second.quiet_until) if due is not None else None

    def _may_publish(self) -> bool:
        return self._inside and not self._saving.publishes()

    @property
    def _record(self) -> Record:
        """The newest own record: there is one from `SAVING` on."""
        assert self._own is not None and self._own.record is not None
        return self._own.record

    @property
    def _inside(self) -> bool:
        return self._state in (State.SETTLING, State.ACTIVE)

    def _enter(self, state: State) -> None:
        assert state in NEXT[self._state], f"from {self._state} to {state}"
        self._state = state

    # Beginning.

    def _device_ready(self, ready: m.DeviceReady, now: float) -> list[Message]:
        self._stored = replace(self._stored, interface=ready.interface, listen_port=ready.listen_port)
        if self._token is not None:
            keys = JoinKeys(self._node, self._stored.wireguard, self._keys.curve)
            self._enter(State.JOINING)
            grant = self._settings.ask_for(self._token.invite.grant)
            self._joining = Joining(self._token, keys, grant, self._notary, now, self._wall())
            return self._after_joining(now)
        known = remember(self._stored, self._node, self._notary)
        self._left = known.left
        own = self._writer(known.standing)
        if known.record is not None:
            own.resume(known.record)
        elif self._origin is Origin.RESUMED:
            own.lost(self._random)
        self._offers.begin(own, known.annexes, now)
        # Nobody to wait for: a founder is alone, and who resumes has its members on disk.
        return self._save_all(own, now, settled_at=now)

    def _writer(self, standing: Standing) -> OwnRecordWriter:
        wanted = self._settings.own_record(standing.role, self._stored.listen_port, self._stored.card)
        return OwnRecordWriter(self._mesh, self._keys.identity, wanted, standing, self._settings.provisional)

    def _answered(self, message: m.Received, now: float) -> list[Message]:
        assert self._joining is not None
        try:
            self._joining.answer(message, now)
        except RemoteError as error:
            return self._end(error.problem)
        return self._after_joining(now)

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
        own = self._writer(joining.standing)
        if joining.counter:
            # Nothing counts any more of what this node said in an earlier stay.
            own.go_on_above(joining.counter)
            own.raise_floor(joining.counter + 1)
        self._offers.begin(own, (), now)
        admission = tuple(joining.chain.ancestry([joining.standing.credential]))
        let_in = next(contact for contact in joining.token.contacts if contact.curve == joining.contact_curve)
        contacts = dict.fromkeys((let_in, *joining.token.contacts))
        self._stored = replace(self._stored, admission=admission, contacts=tuple(contacts))
        return self._save_all(own, now, settled_at=now + ALONE)

    def _save_all(self, own: OwnRecordWriter, now: float, settled_at: float) -> list[Message]:
        """Write the mesh's files and the own record; at the latest at `settled_at` the mesh counts as started."""
        self._enter(State.SAVING)
        self._own = own
        self._unsaid = own.revise() is not None
        self._stored = replace(self._stored, documents=(*self._stored.admission, self._record.raw))
        self._settled_at = settled_at
        return self._saving.keep_mesh(Purpose.ENTRY, self._stored, now, self._stored.documents)

    # What the store answers.

    def _saved(self, save: Save, now: float) -> list[Message]:
        self._saving.settle(save)
        out: list[Message] = [m.Publish(self._mesh, save.publish)] if save.publish else []
        match save.purpose:
            case Purpose.ENTRY:
                out += self._entered(now)
            case Purpose.EVICT | Purpose.CARD | Purpose.ANNEXES if save.request is not None:
                out.append(m.Reply(save.request, save.result))
            case Purpose.STATICS:
                out += self._vouch()
                out += [m.Reply(save.request, save.result)] if save.request is not None else []
            case Purpose.LEAVE:
                self._stop_at = now + LEAVE_LINGER
                to = self._company.some_peers(FAREWELLS, self._random)
                payloads = chunks(Word.DOCUMENTS, save.publish) if to else ()
                out += [m.Spread(self._mesh, m.Channel.MEMBERSHIP, to, payload) for payload in payloads]
        return out

    def _save_failed(self, save: Save, problem: Problem, now: float) -> list[Message]:
        match save.purpose:
            case Purpose.RECORD | Purpose.ANNEXES:
                return []
            case Purpose.ENTRY if self._origin is Origin.RESUMED:
                # All this was on disk before; a disk that is full now must not end a mesh that works.
                return [] if self._unsaid else self._saved(save, now)
        self._saving.settle(save)
        match save.purpose:
            case Purpose.ENTRY:
                return self._end(problem)
            case Purpose.CARD if self._own is not None:
                self._stored = replace(self._stored, card=self._card_before)
                self._own.unsay(self._card_before)
            case Purpose.STATICS:
                self._stored = replace(self._stored, statics=self._statics_before)
            case Purpose.LEAVE:
                self._enter(State.ACTIVE)
        return [m.Reply(save.request, problem=problem)] if save.request is not None else []

    def _entered(self, now: float) -> list[Message]:
        self._enter(State.SETTLING)
        self._second.begin(now)
        self._republish_at = now + REPUBLISH_AFTER
        # Who knows others from its disk is known to them, and a repair tells what it missed: thousands that start at
        # once and ask for everything would move gigabytes.
        if self._company.alone():
            self._introduction.begin(now, welcomed=self._origin is Origin.JOINED)
        out: list[Message] = [m.Countersign(self._mesh, self._record.credential)]
        if self._removed and self._origin is Origin.RESUMED:
            out += self._end(self._why_removed())
        return out

    # Living.

    def _members_changed(self, message: m.MembersChanged, now: float) -> list[Message]:
        self._company.see(message)
        self._carrier.hear(message)
        self._devices.hear(message)
        if self._own is not None and self._own.see(message.members):
            self._second.contradicted(now)
        self._removed = message.own_verdict == Verdict.REMOVED.value
        if self._removed and self._inside:
            return self._end(self._why_removed())
        if not self._company.alone():
            self._introduction.hear(message.members, self._stored.contacts)
            if self._state is State.SETTLING:
                self._settled_at = now
        if self._look_at is None:
            self._look_at = max(now + CONTACTS_AFTER, self._looked_at + CONTACTS_EVERY)
        return self._warned(message.own_verdict)

    def _warned(self, verdict: str) -> list[Message]:
        """Say that this node is no member any more, once each time: nobody else will tell it."""
        before, self._verdict = self._verdict, verdict
        if verdict == before:
            return []
        over, problem = trouble(before, self._stored.name), trouble(verdict, self._stored.name)
        ended: list[Message] = [m.AlarmOver(self._mesh, over.code)] if over is not None else []
        return [*ended, m.Alarm(self._mesh, problem)] if problem is not None else ended

    def _why_removed(self) -> Problem | None:
        """None when it was by this node's own will, and the daemon ended before all of it was done."""
        if self._left:
            return None
        hint = "ask an admin of the mesh for a new token if this was a mistake"
        return Problem("evicted", f"an admin evicted this node from {self._stored.name}", hint)

    def _refresh_contacts(self, now: float) -> list[Message]:
        """Keep on disk where some peers are reached, in case the database is lost."""
        if self._look_at is None or now < self._look_at:
            return []
        if self._state is not State.ACTIVE or self._saving.waits_for(Purpose.CARD):
            self._look_at = now + CONTACTS_AFTER
            return []
        self._look_at, self._looked_at = None, now
        contacts = self._company.contacts(MAX_CONTACTS)
        if not contacts or contacts == self._stored.contacts:
            return []
        self._stored = replace(self._stored, contacts=contacts, documents=())
        return self._saving.keep_mesh(Purpose.CONTACTS, self._stored, now)

    def _tick(self, now: float) -> list[Message]:
        if self._stop_at is not None and now >= self._stop_at:
            return self._end(None)
        out: list[Message] = []
        if self._joining is not None:
            out += self._after_joining(now)
        if self._settled_at is not None and now >= self._settled_at and self._state is State.SETTLING:
            self._settled_at = None
            out += self._start()
        if self._inside:
            out += self._introduction.tick(self._stored, self._record, now)
        return out + self._refresh_contacts(now) + self._saving.again(now)

    def _start(self) -> list[Message]:
        assert self._own is not None
        self._enter(State.ACTIVE)
        address = overlay_address(self._mesh, self._own.standing.wireguard, self._record.collision)
        started = m.MeshStarted(self._mesh, self._stored.name, str(address), self._stored.interface)
        return [started, m.Admitted(self._mesh, self._stored.admission), *self._vouch()]

    def _vouch(self) -> list[Message]:
        """For the devices without a daemon that are on disk."""
        clients = self._stored.statics
        self._offers.vouch(clients)
        self._vouched += 1
        return [m.StaticsServed(self._mesh, self._vouched, clients)]

    # Requests.

    def _request(self, request: m.Request, now: float) -> list[Message]:
        try:
            if self._state is not State.ACTIVE:
                raise LocalError("mesh-not-ready", f"{self._stored.name} is {self._state.value}", "try again soon")
            match request.command:
                case "invite":
                    own = Contact(x25519_public(self._keys.curve), self._record.gossip)
                    contacts = (own, *self._company.contacts(MAX_CONTACTS - 1))
                    token = self._authority.invite(request.arguments, contacts)
                    return [m.Reply(request.ticket, {"token": token.reveal().decode()})]
                case "evict":
                    return self._evict(request, now)
                case "leave-mesh":
                    return self._leave(request, now)
                case command if command in CARD_COMMANDS:
                    return self._say(request, now)
                case command if command in STATIC_COMMANDS:
                    return self._change_statics(request, now)
                case command:
                    raise LocalError("unknown-command", f"a mesh does not know the command {command!r}")
        except LocalError as error:
            return [m.Reply(request.ticket, problem=error.problem)]

    def _forget_evicted(self, now: float) -> list[Message]:
        """Vouch no more for devices that an admin has evicted."""
        if self._state is not State.ACTIVE or self._saving.waits_for(Purpose.STATICS):
            return []
        before = self._stored.statics
        after = self._devices.left(before)
        if after == before:
            return []
        self._statics_before = before
        self._stored = replace(self._stored, statics=after, documents=())
        return self._saving.keep_mesh(Purpose.STATICS, self._stored, now)

    def _evict_device(self, request: m.Request, device: StaticClient) -> list[Message]:
        if self._evicting is not None:
            raise LocalError("busy", "another device is being evicted", "try again in a moment")
        before, _ = read_evictions(self._mesh, self._offers.evictions)
        if device.wireguard in before:
            return [m.Reply(request.ticket, {"evicted": device.name})]
        self._offers.evict(self._authority.evict_devices(self._devices.evicting(before, device)))
        # The answer comes when it is on disk.
        self._evicting = request.ticket, device.name
        return []

    def _evict(self, request: m.Request, now: float) -> list[Message]:
        text = str(request.arguments.get("node", ""))
        device = self._devices.find(text)
        if device is not None:
            return self._evict_device(request, device)
        target = self._company.find(text)
        reason = str(request.arguments.get("reason", ""))
        documents = self._authority.evict(target, self._company.let_in_by(target.key), reason)
        return self._saving.keep_own(Purpose.EVICT, documents, now, request.ticket, {"evicted": target.record.name})

    def _say(self, request: m.Request, now: float) -> list[Message]:
        """Change what this node's user says of it, and publish that at once."""
        assert self._own is not None
        if self._saving.waits_for(Purpose.CARD):
            raise LocalError("busy", "another change of what this node says is being saved", "try again in a moment")
        before = self._stored.card
        card = revised(before, request.command, request.arguments)
        result = card.json()
        if card == before:
            return [m.Reply(request.ticket, result)]
        if card.alias != before.alias:
            self._company.check_alias(card.alias)
        self._own.say(card)
        document = self._own.revise()
        assert document is not None, "what it says has changed"
        self._card_before, self._republish_at = before, now + REPUBLISH_AFTER
        self._stored = replace(self._stored, card=card, documents=(document.raw,))
        return self._saving.keep_mesh(Purpose.CARD, self._stored, now, (document.raw,), request.ticket, result)

    def _change_statics(self, request: m.Request, now: float) -> list[Message]:
        """Vouch for a device without a daemon, or no more, once that is on disk."""
        assert self._own is not None
        standing, before = self._own.standing, self._stored.statics
        if standing.role is not Role.PEER or not self._record.wireguard:
            hint = "do this on a peer of the mesh"
            raise LocalError("static-needs-peer", "nobody can dial this node, so it carries no static client", hint)
        if self._saving.waits_for(Purpose.STATICS):
            raise LocalError("busy", "another change of static clients is being saved", "try again in a moment")
        after = revised_statics(before, request.command, request.arguments, self._wall(), standing.expires)
        result: dict[str, object] = {"name": request.arguments.get("name")}
        if request.command == "add-static":
            client = after[-1]
            result |= {
                "address": str(overlay_address(self._mesh, client.wireguard)),
                "prefix": str(overlay_prefix(self._mesh)),
                "expires": client.expires,
                "endpoints": [str(endpoint) for endpoint in self._record.wireguard],
            }
        self._statics_before = before
        self._stored = replace(self._stored, statics=after, documents=())
        return self._saving.keep_mesh(Purpose.STATICS, self._stored, now, (), request.ticket, result)

    def _leave(self, request: m.Request, now: float) -> list[Message]:
        assert self._own is not None
        self._enter(State.LEAVING)
        document = self._own.leave()
        return self._saving.keep_own(Purpose.LEAVE, (document.raw,), now, request.ticket)

    def _end(self, problem: Problem | None) -> list[Message]:
        if self._state is State.OVER:
            return []
        self._enter(State.OVER)
        return [m.MeshStopped(self._mesh, problem)]
