"""The core of one mesh's liveness: the leader, the refresh, the fast path beside it, and who is thought dead.

The leader is the lowest key among the live peers. Each interval it starts the next epoch; everybody who sees an epoch
answers it (`refresh`). Beside it those next to each other on the rings watch each other, and what enough of them find
is flooded (`watch`, `verdicts`, `doubt`). The rules that keep the living from being pruned:

1. A member is pruned only when three epochs in a row were seen here and it answered none of them. A jump of epochs
   starts the count anew.
2. When no epoch comes for three intervals the leader is pruned and the next lowest expected, as often as needed.
3. An answer to a later epoch than that of the pruning clears it. Whoever hears that it is thought dead says otherwise,
   unless that is old: then its answers do.
4. A member counts as having answered the epoch in which it became known here.
5. Who stood still itself (a stopped process, a suspended machine) judges nobody by what it missed.

The leader has no other power, and being pruned removes nobody: some of the pruned is told the newest every two seconds.
Any member can say that an epoch began, and each costs the whole mesh a flood: those that come too fast are not entered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from smeg import messages as m
from smeg.core import Message
from smeg.doubt import DOUBT_PATIENCE, Doubt
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, NodeKey
from smeg.members import Members
from smeg.refresh import FAN_OUT, KEPT_EPOCHS, SILENT_EPOCHS, Refresh, read
from smeg.rings import NOBODY
from smeg.verdicts import CLAIM_BYTES, MAX_INCARNATION, Claim, Kind, Verdicts
from smeg.watch import BEAT_BYTES, BEAT_EVERY, BEAT_HEAD, STALLED, Accusation, Beat, Watch
from smeg.wire import Word, chunks, expect, pack, unpack

CLAIMS_WINDOW = 0.05
"""seconds between two messages with claims; the first goes at once."""
REVIVE_EVERY = 2.0
"""seconds between two attempts to reach somebody who was pruned."""
TELL_AGAIN = 1.0
"""seconds between two hints to one member that it is behind, or thought dead."""
HURRY = 1.1
"""intervals without an epoch after which one who doubts starts one itself: the leader may be on the other side."""
MANY = 8
"""thought dead at once: rather a partition."""
EMPTY_ROOT = bytes(8)


@dataclass(frozen=True, slots=True)
class Detection:
    """How the dead are found. Times in seconds."""

    interval: float = 5.0
    """Between two epochs."""
    suspect_after: float = 3.0
    restart_grace: float = 30.0
    fast: bool = True
    """Whether neighbours beat to each other; without it the refresh alone finds the dead."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a heartbeat is made of."""

    refresh: type[Refresh] = Refresh
    verdicts: type[Verdicts] = Verdicts
    watch: type[Watch] = Watch
    doubt: type[Doubt] = Doubt


USUAL = Parts()


class Heartbeat:
    def __init__(self, mesh: str, own: NodeKey, detection: Detection, random: Random, parts: Parts = USUAL) -> None:
        self._mesh = mesh
        self._own = own
        self._fast = detection.fast
        self._random = random
        self._members = Members()
        self._refresh = parts.refresh(own, detection.interval, random)
        self._verdicts = parts.verdicts(detection.restart_grace)
        self._watch = parts.watch(own, detection.suspect_after, self._verdicts)
        self._doubt = parts.doubt(random)
        self._observers: tuple[NodeKey, ...] = ()
        self._links: list[NodeKey] = []
        """Whom news is flooded to."""
        self._shunned: frozenset[NodeKey] = frozenset()
        """A client's own peers that are silent: it is nobody's judge, but goes to others."""
        self._root = EMPTY_ROOT
        self._version = 0
        self._arranged: object = None
        self._told: object = None
        self._told_watched: tuple[NodeKey, ...] = ()
        self._last_leader: NodeKey | None = None
        self._heard_at = 0.0
        self._is_peer = False
        self._dead_bits: tuple[object, int] = (None, 0)
        self._next_epoch_at: float | None = None
        self._pass_on_at: float | None = None
        self._pass_on_to_all = False
        self._fresh_epochs: set[int] = set()
        self._ask_at: float | None = None
        self._revive_at: float | None = None
        self._hurry = HURRY
        self._claims: dict[NodeKey, tuple[Claim, NodeKey | None]] = {}
        """News to be flooded, and who brought it."""
        self._flood_at: float | None = None
        self._flooded_at = -CLAIMS_WINDOW
        self._many_until = 0.0
        """Until when many dead ones count as a partition's."""
        self._hinted: dict[NodeKey, float] = {}
        self._stirred = True
        """Whether anything happened since the last `settle` but beats that say what is known."""
        self._agreed = b""
        """How the beat of somebody begins who knows what this node knows; empty for nobody's."""
        self._agreed_for: tuple[int, bytes, int] | None = None
        self._deadline: float | None = None

    @property
    def _interval(self) -> float:
        return self._refresh.interval

    # The contract of a core.

    def begin(self, now: float) -> list[Message]:
        self._heard_at = now
        self._ask_at = now + self._random.uniform(0, self._interval)
        self._revive_at = now + self._random.uniform(0, REVIVE_EVERY)
        if self._fast:
            self._watch.begin(now + self._random.uniform(0, BEAT_EVERY))
        return []

    def handle(self, message: Message, now: float) -> list[Message]:
        if isinstance(message, m.Received) and self._hear_nothing_new(message, now):
            return []
        self._stirred = True
        match message:
            case m.Received() if message.sender is not None:
                try:
                    return self._receive(message.sender, message.payload, now)
                except RemoteError:
                    return []
            case m.Tick():
                return self._tick(now)
            case m.MembersChanged():
                self._meet(message.members, now)
            case m.RootChanged():
                self._root = message.root
            case m.LinkRefused() if self._fast:
                return self._accuse_if(self._watch.refused(message.member, now), message.member, Kind.DOWN, now)
            case m.LinkSilent() if self._fast:
                return self._accuse_if(self._watch.unreachable(message.member, now), message.member, Kind.GONE, now)
        return []

    def settle(self, now: float) -> list[Message]:
        if not self._stirred:
            return []
        out = self._settle(now)
        self._stirred = False
        said = (self._refresh.epoch, self._root, self._verdicts.tag)
        if said != self._agreed_for:
            self._agreed, self._agreed_for = self._own_beat(now)[:BEAT_HEAD] if self._fast else b"", said
        self._deadline = self._next_deadline()
        return out

    def _settle(self, now: float) -> list[Message]:
        shunned = NOBODY if self._is_peer else frozenset(self._watch.overdue)
        state = (self._verdicts.version, self._members.ranks, self._members.rings, shunned)
        if state == self._arranged:
            return []
        self._arranged, self._shunned = state, shunned
        self._arrange(now)
        leader = self.leader
        if leader != self._last_leader:
            # Whoever leads now had no time yet to let us hear of it.
            self._last_leader, self._heard_at = leader, now
        if leader != self._own:
            self._next_epoch_at = None
        elif self._next_epoch_at is None:
            self._next_epoch_at = now + self._share() * self._interval
        out: list[Message] = []
        watched = self._watch.watched if self._fast else ()
        if watched != self._told_watched:
            self._told_watched = watched
            self._version += 1
            out.append(m.Watched(self._mesh, self._version, watched))
        told = (leader, self._verdicts.version, self._members.ranks, shunned)
        if told != self._told:
            self._told = told
            self._version += 1
            pruned, down = self._verdicts.pruned, self._verdicts.down | shunned
            epoch = self._refresh.epoch
            out.append(m.LivenessChanged(self._mesh, self._version, epoch, leader, pruned, down - pruned))
        return out

    def _share(self) -> float:
        """The part of an interval that a new leader waits: two that believe they lead seldom start at once."""
        return self._random.random() if self._refresh.epoch else 0.0

    def next_deadline(self) -> float | None:
        return self._next_deadline() if self._stirred else self._deadline

    def _next_deadline(self) -> float | None:
        silent = self._silence_ends() if self._last_leader not in (None, self._own) else None
        deadlines = (
            self._next_epoch_at,
            self._pass_on_at,
            self._ask_at,
            self._revive_at,
            self._flood_at,
            silent,
            self._refresh.ripens_at(),
            self._verdicts.next_deadline(),
            self._doubt.next_deadline(),
            self._watch.next_deadline() if self._fast else None,
        )
        return min((at for at in deadlines if at is not None), default=None)

    @property
    def leader(self) -> NodeKey | None:
        """The lowest live peer."""
        return next((key for key in self._members.rings.peers if key not in self._verdicts), None)

    # Members.

    def _meet(self, members: Members, now: float) -> None:
        before, self._members = self._members, members
        self._is_peer = members.rings.is_peer(self._own)
        if members.ranks is before.ranks:
            return
        moves = members.ranks.since(before.ranks)
        for key in [before.ranks.keys[rank] for rank in moves.gone]:
            self._verdicts.forget(key)
            self._doubt.forget(key)
            self._hinted.pop(key, None)
        if before:
            self._watch.meet([members.ranks.keys[rank] for rank in moves.come], now)
        else:
            self._watch.meet_all(now)
        self._refresh.meet(members.ranks)
        if self._last_leader in (None, self._own):
            self._heard_at = now

    def _arrange(self, now: float) -> None:
        rings, verdicts, own = self._members.rings, self._verdicts, self._own
        self._watch.arrange(rings, now)
        if len(self._verdicts) > MANY:
            self._many_until = now + 2 * self._interval
        hanging = rings.hanging(own, verdicts) if self._is_peer else []
        # Clients hear the beats of their peers, or they could not tell when to go to others.
        self._observers = tuple(dict.fromkeys([*rings.observers(own, verdicts), *hanging]))
        dead = {*self._shunned} if self._shunned else None
        near = rings.neighbours(own, verdicts)
        if dead is not None:
            near = [key for key in near if key not in dead] + rings.upstream(own, _Either(verdicts, dead))
        self._links = list(dict.fromkeys(near))

    def _everybody_near(self) -> list[NodeKey]:
        """Neighbours on the rings, and those that were adopted."""
        return list(dict.fromkeys([*self._links, *self._doubt.adopted])) if self._doubt.adopted else self._links

    # Incoming.

    def _receive(self, sender: NodeKey, payload: bytes, now: float) -> list[Message]:
        if payload[:1] == Word.BEAT.value:
            return self._receive_beat(sender, payload, now) if self._fast else []
        word, items = unpack(payload)
        match word:
            case Word.REFRESH:
                return self._receive_refresh(sender, items, now)
            case Word.CLAIMS:
                return self._receive_claims(sender, items, now)
            case Word.ACCUSE:
                key, kind = expect(items, KEY_BYTES, 1)
                if kind[0] not in (Kind.DOWN, Kind.GONE):
                    raise RemoteError("malformed", "an accusation of nothing")
                accusation = Accusation(NodeKey(key), Kind(kind[0]))
                self._watch.accused_by(sender, accusation, now)
                return self._judge(accusation.subject, now)
            case Word.PING:
                self._doubt.adopt(sender, now)
                return [self._send(sender, pack(Word.PONG, []))]
            case Word.PONG:
                if self._doubt.adopt(sender, now):
                    return [self._send(sender, self._refresh.everything())]
                return []
        raise RemoteError("malformed", f"{word.name} has no place in the refresh")

    def _hear_nothing_new(self, message: m.Received, now: float) -> bool:
        """Whether this is a beat of somebody alive who knows what this node knows: nearly every message is."""
        payload, sender = message.payload, message.sender
        if payload[:BEAT_HEAD] != self._agreed or len(payload) != BEAT_BYTES or self._stirred:
            return False
        if sender is None or sender in self._verdicts:
            return False
        edge = self._watch.edges.get(sender)
        if edge is None:
            return True
        if edge.overdue or edge.root_differs_at is not None or edge.claims_differ_at is not None:
            return False
        self._watch.heard(edge, sender, Beat.stall_in(payload), now)
        return True

    def _own_beat(self, now: float) -> bytes:
        beat = Beat(self._refresh.epoch, self._root, self._verdicts.tag, self._watch.stall(now))
        return beat.pack(Word.BEAT.value)

    def _receive_beat(self, sender: NodeKey, payload: bytes, now: float) -> list[Message]:
        edge = self._watch.edges.get(sender)
        beat = Beat.unpack(payload)
        self._refresh.check(beat.epoch)
        out = self._enter(beat.epoch, now) if self._refresh.admits(beat.epoch, now) else []
        if sender in self._verdicts:
            # It refutes, or its answers will.
            if self._may_hint(sender, now):
                claim = self._verdicts.about(sender)
                out += [self._send(sender, pack(Word.CLAIMS, [claim.pack()]))] if claim is not None else []
                out.append(self._send(sender, self._refresh.everything()))
        elif beat.epoch < self._refresh.epoch:
            seen = self._refresh.seen_at(self._refresh.epoch)
            if seen is not None and now > seen + TELL_AGAIN and self._may_hint(sender, now):
                out.append(self._send(sender, self._refresh.everything()))
        edge = self._watch.edges.get(sender)
        if edge is None:
            return out
        self._watch.heard(edge, sender, beat.stall, now)
        edge.root_differs_at, repair = self._watch.differs(edge.root_differs_at, beat.root == self._root, now)
        if repair:
            out.append(m.RootDiffers(self._mesh, sender))
        same = beat.claims == self._verdicts.tag
        edge.claims_differ_at, repair = self._watch.differs(edge.claims_differ_at, same, now)
        if repair:
            raw = [claim.pack() for claim in self._verdicts.held()]
            out += [self._send(sender, payload) for payload in chunks(Word.CLAIMS, raw)]
        return out

    def _may_hint(self, key: NodeKey, now: float) -> bool:
        if key not in self._members or now < self._hinted.get(key, -TELL_AGAIN) + TELL_AGAIN:
            return False
        self._hinted[key] = now
        return True

    def _receive_refresh(self, sender: NodeKey, items: list[bytes], now: float) -> list[Message]:
        epoch, tag, answers = read(items)
        self._refresh.check(epoch)
        out: list[Message] = []
        behind = epoch < self._refresh.epoch
        if self._refresh.admits(epoch, now):
            out += self._enter(epoch, now)
        for answered, bits in [*self._refresh.merge(sender, tag, answers), *self._refresh.vouch(sender, epoch)]:
            self._fresh_epochs.add(answered)
            if self._pass_on_at is None:
                self._pass_on_at = now + self._refresh.window
            if len(self._verdicts):
                self._clear_answered(answered, bits)
        if behind and self._may_hint(sender, now):
            out.append(self._send(sender, self._refresh.everything()))
        return out

    def _clear_answered(self, epoch: int, bits: int) -> None:
        state = (self._verdicts.version, self._refresh.ranks)
        if self._dead_bits[0] != state:
            ranks = [self._refresh.ranks.rank(key) for key in self._verdicts.everybody()]
            self._dead_bits = (state, sum(1 << rank for rank in ranks if rank is not None))
        for key in self._refresh.keys(bits & self._dead_bits[1]):
            if self._verdicts.answered(key, epoch):
                # Who returns brings others back: this may be the end of a partition.
                self._pass_on_to_all = True

    def _receive_claims(self, sender: NodeKey, items: list[bytes], now: float) -> list[Message]:
        out: list[Message] = []
        for raw in items:
            if len(raw) != CLAIM_BYTES:
                raise RemoteError("malformed", "a claim of the wrong length")
            claim = Claim.unpack(raw)
            self._refresh.check(claim.epoch)
            if claim.member == self._own:
                out += self._refute(claim, sender, now)
            elif claim.member in self._members and claim.epoch <= self._refresh.epoch + KEPT_EPOCHS:
                self._take(claim, sender, now)
        return out + self._flood_if_due(now)

    def _refute(self, claim: Claim, sender: NodeKey, now: float) -> list[Message]:
        """Say that this node lives, unless its answers to later epochs do: a partition leaves many old claims."""
        if claim.kind is Kind.ALIVE:
            return []
        own = self._verdicts.newest(self._own)
        if own is not None and claim.incarnation < own.incarnation:
            # It has said so, and one did not hear it.
            return [self._send(sender, pack(Word.CLAIMS, [own.pack()]))] if self._may_hint(sender, now) else []
        if self._answers_refute(claim):
            return [self._send(sender, self._refresh.everything())] if self._may_hint(sender, now) else []
        epoch = max(self._refresh.epoch, claim.epoch)
        if claim.kind is Kind.GONE and self._after_partition(now):
            return self._enter(epoch + 1, now)
        self._take(Claim(self._own, claim.incarnation + 1, epoch, Kind.ALIVE), None, now)
        return []

    def _answers_refute(self, claim: Claim) -> bool:
        return self._verdicts.outlives(self._refresh.epoch, claim) or claim.incarnation >= MAX_INCARNATION

    def _after_partition(self, now: float) -> bool:
        """Whether many will hear that they are thought dead: one epoch, which all answer, is less than their words."""
        return len(self._verdicts) > MANY or now < self._many_until

    def _take(self, claim: Claim, source: NodeKey | None, now: float) -> None:
        answered = self._refresh.answered_since(claim.member, claim.epoch + (claim.kind is Kind.DOWN))
        if self._verdicts.take(claim, now, answered):
            if claim.kind is Kind.ALIVE:
                # It could not answer the epochs in which it was dead.
                self._forgive(claim.member)
            self._claims[claim.member] = (claim, source)
            if self._flood_at is None:
                self._flood_at = max(now, self._flooded_at + CLAIMS_WINDOW)

    def _forgive(self, member: NodeKey) -> None:
        self._refresh.excuse(member)

    # Accusing.

    def _accuse_if(self, said: bool, subject: NodeKey, kind: Kind, now: float) -> list[Message]:
        if not said:
            return []
        return [*self._say(Accusation(subject, kind)), *self._judge(subject, now)]

    def _say(self, accusation: Accusation) -> list[Message]:
        if not self._is_peer:
            return []
        to = tuple(self._watch.co_observers(accusation.subject))
        payload = pack(Word.ACCUSE, [accusation.subject, bytes([accusation.kind])])
        return [m.Spread(self._mesh, m.Channel.HEARTBEAT, to, payload)] if to else []

    def _judge(self, subject: NodeKey, now: float) -> list[Message]:
        if not self._is_peer or self._verdicts.is_pruned(subject):
            return []
        # Of both kinds the milder: if one was refused, the host lives. Once that is known, only its silence is news.
        kinds = (Kind.GONE,) if self._verdicts.is_down(subject) else (Kind.DOWN, Kind.GONE)
        kind = next((kind for kind in kinds if self._watch.convicted(Accusation(subject, kind), now)), None)
        if kind is not None:
            incarnation = self._verdicts.incarnation(subject)
            self._take(Claim(subject, incarnation, self._refresh.epoch, kind), None, now)
        return self._flood_if_due(now)

    def _flood_if_due(self, now: float) -> list[Message]:
        if self._flood_at is None or now < self._flood_at:
            return []
        news, self._claims, self._flood_at, self._flooded_at = self._claims, {}, None, now
        sources = {source for _, source in news.values()}
        only_source = sources if len(sources) == 1 else set()
        to = tuple(key for key in self._everybody_near() if key not in only_source)
        raw = [claim.pack() for claim, _ in news.values()]
        return [m.Spread(self._mesh, m.Channel.HEARTBEAT, to, payload) for payload in chunks(Word.CLAIMS, raw)]

    # The refresh.

    def _enter(self, epoch: int, now: float) -> list[Message]:
        """A new epoch began: answer it and pass it on at once."""
        self._refresh.enter(epoch, now)
        self._heard_at = now
        self._hurry = HURRY + self._random.random() / 5
        self._verdicts.answered(self._own, epoch)
        self._fresh_epochs.add(epoch)
        if self._pass_on_at is None:
            self._pass_on_at = now + self._refresh.window
        if self._next_epoch_at is not None:
            self._next_epoch_at = now + self._interval
        near = self._everybody_near()
        return [m.EpochSeen(self._mesh, epoch), *self._tell(near, {epoch})]

    def _tell(self, to: Iterable[NodeKey], epochs: Iterable[int]) -> list[Message]:
        receivers = tuple(to)
        if not receivers:
            return []
        payload = self._refresh.message(receivers, epochs)
        return [m.Spread(self._mesh, m.Channel.HEARTBEAT, receivers, payload)]

    def _pass_on(self) -> list[Message]:
        """Tell some of those near what is new."""
        epochs, self._fresh_epochs = self._fresh_epochs, set()
        near = list(dict.fromkeys([*self._everybody_near(), *self._observers, *self._watch.edges]))
        if epochs <= {self._refresh.epoch}:
            near = self._refresh.lacking(near)
        if self._pass_on_to_all:
            self._pass_on_to_all = False
        elif len(near) > FAN_OUT:
            near = self._random.sample(near, FAN_OUT)
        return self._tell(near, epochs or {self._refresh.epoch})

    def _send(self, to: NodeKey, payload: bytes) -> m.SendMember:
        return m.SendMember(self._mesh, m.Channel.HEARTBEAT, to, payload)

    # Time.

    def _silence_ends(self) -> float:
        """When the silence of the leader has consequences."""
        intervals = self._hurry if self._doubt and self._is_peer else SILENT_EPOCHS
        return self._heard_at + intervals * self._interval

    def _tick(self, now: float) -> list[Message]:
        out: list[Message] = []
        self._excuse(now)
        if self._fast:
            out += self._beat(now)
        if self._next_epoch_at is not None and now >= self._next_epoch_at:
            self._next_epoch_at = now + self._interval
            out += self._enter(self._refresh.epoch + 1, now)
        if self._pass_on_at is not None and now >= self._pass_on_at:
            self._pass_on_at = None
            out += self._pass_on()
        if self._ask_at is not None and now >= self._ask_at:
            # Whoever missed an epoch learns of the newest by asking.
            self._ask_at = now + self._interval
            if self._links:
                out += self._tell([self._random.choice(self._links)], {self._refresh.epoch})
        if self._revive_at is not None and now >= self._revive_at:
            self._revive_at = now + REVIVE_EVERY
            out += self._revive()
        self._verdicts.lapse(now)
        out += self._leader_silent(now)
        ripe = self._refresh.ripe(now)
        if ripe is not None:
            self._refresh.judged = ripe
            for key in self._refresh.silent(ripe):
                if not self._verdicts.is_pruned(key) and not self._verdicts.is_down(key):
                    self._verdicts.prune(key, ripe, now)
        return out + self._flood_if_due(now)

    def _excuse(self, now: float) -> None:
        """When this node stood still, what was said meanwhile waits to be read: that time counts for nobody."""
        due = self._deadline
        late = now - due if due is not None else 0.0
        if late > SILENT_EPOCHS * self._interval:
            self._heard_at, self._refresh.judged = now, self._refresh.epoch
        elif late > STALLED:
            self._heard_at += late
            self._refresh.stood_still(late)

    def _revive(self) -> list[Message]:
        """When each half of a mesh has pruned the other, nobody else would ever bring them together."""
        dead = [key for key in self._verdicts.everybody() if self._members.rings.is_peer(key)]
        return [self._send(self._random.choice(dead), self._refresh.everything())] if dead else []

    def _leader_silent(self, now: float) -> list[Message]:
        leader = self.leader
        if leader in (None, self._own) or now < self._silence_ends():
            return []
        if self._doubt and now < self._heard_at + SILENT_EPOCHS * self._interval:
            return self._enter(self._refresh.epoch + 1, now)
        assert leader is not None
        self._verdicts.prune(leader, self._refresh.epoch, now)
        self._heard_at = now
        return []

    def _beat(self, now: float) -> list[Message]:
        out: list[Message] = []
        if self._watch.due(now):
            if self._own in self._members and self._observers:
                out.append(m.Spread(self._mesh, m.Channel.HEARTBEAT, self._observers, self._own_beat(now)))
            self._doubt.consider(self._watch.silent_share(now, DOUBT_PATIENCE), now)
        for accusation in self._watch.accuse(now):
            out += self._say(accusation)
            out += self._judge(accusation.subject, now)
        others = self._doubt.pings(self._members.rings.peers, now)
        to = tuple(key for key in others if key != self._own)
        if to:
            out.append(m.Spread(self._mesh, m.Channel.HEARTBEAT, to, pack(Word.PING, [])))
        return out


class _Either:
    def __init__(self, first: Verdicts, second: set[NodeKey]) -> None:
        self._first = first
        self._second = second

    def __contains__(self, key: object) -> bool:
        return key in self._first or key in self._second
