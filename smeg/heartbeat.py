"""The core of one mesh's liveness: the leader, the refresh, the fast path beside it, and who is thought dead.

The leader is the lowest key among the live peers. Each interval it starts the next epoch; everybody who sees an epoch
answers it (`refresh`, `epochs`). Beside it those next to each other on the rings watch each other, and what enough of
them find is flooded (`watch`, `verdicts`, `claims`, `doubt`). The rules that keep the living from being pruned:

1. A member is pruned only when three epochs in a row were seen here and it answered none of them. A jump of epochs
   starts the count anew.
2. When no epoch comes for three intervals the leader is pruned and the next lowest expected, as often as needed.
3. An answer to a later epoch than that of the pruning clears it. Whoever hears that it is thought dead says otherwise,
   unless that is old: then its answers do.
4. A member counts as having answered the epoch in which it became known here.
5. Who stood still itself (a stopped process, a suspended machine), or was cut off and heard nobody at all, judges
   nobody by what it missed.

The leader has no other power, and being pruned removes nobody: some of the pruned is told the newest every two seconds.
Any member can say that an epoch began, and each costs the whole mesh a flood: those that come too fast are not entered.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from smeg import messages as m
from smeg.allowance import Allowances
from smeg.circle import Circle
from smeg.claims import Claims
from smeg.core import UNMOVED, Message
from smeg.doubt import DOUBT_PATIENCE, Doubt
from smeg.epochs import Epochs
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, NodeKey, interned
from smeg.members import Members
from smeg.refresh import SILENT_EPOCHS, Refresh
from smeg.rings import NOBODY
from smeg.verdicts import Kind, Verdicts
from smeg.watch import (
    BEAT_BYTES,
    BEAT_EVERY,
    BEAT_HEAD,
    DIFFERS,
    NEWCOMER,
    REPAIR_AGAIN,
    STALLED,
    Accusation,
    Beat,
    Watch,
)
from smeg.wire import Word, expect, pack, unpack

EMPTY_ROOT = bytes(8)
ARRANGE_AGAIN = 0.05
"""seconds between two looks at what follows from who is thought dead: many die at once, and are heard of one by one."""
CATCH_UP = 1.0
"""seconds after it stood still in which a node does nothing about who is dead: what it reads first was said meanwhile,
and what came after it is on its way."""
GUIDE_AGAIN = 0.5
"""seconds between two answers to a client that does not know who is dead: others die meanwhile."""
MAX_GUIDED = 1024
"""members whose last answer is remembered."""


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
    epochs: type[Epochs] = Epochs
    claims: type[Claims] = Claims


USUAL = Parts()


class Heartbeat:
    def __init__(self, mesh: str, own: NodeKey, detection: Detection, random: Random, parts: Parts = USUAL) -> None:
        self._mesh = mesh
        self._own = own
        self._fast = detection.fast
        self._deaf_after = DOUBT_PATIENCE * detection.suspect_after
        self._heard_at = 0.0
        """When anything was heard of anybody."""
        self._random = random
        self._refresh = parts.refresh(own, detection.interval, random)
        self._verdicts = parts.verdicts(detection.restart_grace)
        # Of whom the refresh alone has found dead, a new one learns by three epochs.
        learns = max(NEWCOMER, SILENT_EPOCHS * detection.interval + self._refresh.grace)
        self._watch = parts.watch(own, detection.suspect_after, self._verdicts, learns)
        self._doubt = parts.doubt(random)
        self._circle = Circle(mesh, own, self._verdicts, self._doubt)
        self._epochs = parts.epochs(mesh, own, self._refresh, self._verdicts, self._doubt, self._circle, random)
        self._claims = parts.claims(own, self._refresh, self._verdicts, self._circle, self._epochs)
        self._shunned: frozenset[NodeKey] = frozenset()
        """A client's own peers that are silent: it is nobody's judge, but goes to others."""
        self._guided = Allowances(1 / GUIDE_AGAIN, 1.0, None, MAX_GUIDED)
        self._compared = Allowances(1 / REPAIR_AGAIN, 1.0, None, MAX_GUIDED)
        self._root = EMPTY_ROOT
        self._root_at = 0.0
        """Since when the own replica has been as it is."""
        self._all_agree = False
        """Whether all who are watched and live were said to hold the same."""
        self._told_agreed: object = None
        self._version = 0
        self._arranged: tuple[object, ...] = ()
        """From what it was worked out last who is with whom: members and who is shunned, then who is thought dead."""
        self._arranged_at = -ARRANGE_AGAIN
        self._arrange_at: float | None = None
        self._caught_up_at = 0.0
        self._told: object = None
        self._told_watched: tuple[NodeKey, ...] = ()
        self._stirred = True
        """Whether anything happened since the last `settle` but beats that say what is known."""
        self._agreed = b""
        """How the beat of somebody begins who knows what this node knows; empty for nobody's."""
        self._agreed_for: tuple[int, bytes, int] | None = None
        self._deadline: float | None = None

    # The contract of a core.

    def begin(self, now: float) -> list[Message]:
        self._heard_at = now
        self._epochs.begin(now)
        if self._fast:
            self._watch.begin(now + self._random.uniform(0, BEAT_EVERY))
        return []

    def handle(self, message: Message, now: float) -> list[Message]:
        if isinstance(message, m.Received):
            deaf, self._heard_at = now - self._heard_at, now
            if deaf > self._deaf_after and self._tells_of_silence(message.sender):
                self._stirred = True
                self._watch.was_cut_off(now)
                # Who looks around may be all that is left, and each time it is heard all others are waited for anew.
                if self._fast and message.payload[:1] == Word.PING.value:
                    self._doubt.begin(now)
            elif self._hear_nothing_new(message, now):
                return UNMOVED
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
                self._meet(message.members, message.expired, now)
            case m.RootChanged():
                self._root, self._root_at, self._all_agree = message.root, now, False
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

    def next_deadline(self) -> float | None:
        return self._next_deadline() if self._stirred else self._deadline

    def _next_deadline(self) -> float | None:
        deadlines = (
            self._epochs.next_deadline(),
            self._claims.next_deadline(),
            self._verdicts.next_deadline(),
            self._doubt.next_deadline(),
            self._watch.next_deadline() if self._fast else None,
            self._arrange_at,
        )
        return min((at for at in deadlines if at is not None), default=None)

    # Members, and who is with whom.

    def _meet(self, members: Members, expired: frozenset[NodeKey], now: float) -> None:
        before = self._circle.members
        self._circle.meet(members)
        self._refresh.meet(members.ranks.change(expired, ()), members.ranks)
        if members.ranks is before.ranks:
            return
        moves = members.ranks.since(before.ranks)
        for key in [before.ranks.keys[rank] for rank in moves.gone]:
            self._verdicts.forget(key)
            self._doubt.forget(key)
            self._circle.forget(key)
        if before:
            self._watch.meet([members.ranks.keys[rank] for rank in moves.come], now)
        else:
            self._watch.meet_all(now, not self._circle.is_peer)
        self._epochs.meet(now)

    def _settle(self, now: float) -> list[Message]:
        members = self._circle.members
        shunned = NOBODY if self._circle.is_peer else frozenset(self._watch.overdue)
        state = (members.ranks, members.rings, shunned, self._verdicts.version)
        if state == self._arranged:
            self._arrange_at = None
            return []
        again = self._arranged_at + ARRANGE_AGAIN if state[:-1] == self._arranged[:-1] else now
        at = max(again, self._caught_up_at)
        if now < at:
            self._arrange_at = at
            return []
        self._arranged, self._arranged_at, self._arrange_at, self._shunned = state, now, None, shunned
        found = self._detected(now)
        self._watch.arrange(members.rings, now)
        before = self._circle.links
        self._circle.arrange(self._watch, shunned)
        self._all_agree = False
        self._claims.arrange(now)
        new = [key for key in self._circle.links if key not in before] if before else []
        return [*self._claims.tell_recent(new, now), *self._tell(self._epochs.follow(now)), *found]

    def _detected(self, now: float) -> list[Message]:
        """Say how long it took to find those who are pruned and were watched until now."""
        silent = [edge.heard_at for key, edge in self._watch.edges.items() if self._verdicts.is_pruned(key)]
        after = tuple(now - at for at in silent if at <= now)
        return [m.Detected(self._mesh, after)] if after else []

    def _tell(self, leader: NodeKey | None) -> list[Message]:
        """Say who is watched and who is thought dead, where that is news."""
        out: list[Message] = []
        watched = self._watch.watched if self._fast else ()
        if watched != self._told_watched:
            self._told_watched = watched
            self._version += 1
            out.append(m.Watched(self._mesh, self._version, watched))
        told = (leader, self._verdicts.version, self._circle.members.ranks, self._shunned)
        if told != self._told:
            self._told = told
            self._version += 1
            pruned, down = self._verdicts.pruned, self._verdicts.down | self._shunned
            epoch = self._refresh.epoch
            out.append(m.LivenessChanged(self._mesh, self._version, epoch, leader, pruned, interned(down - pruned)))
        return out

    # Incoming.

    def _receive(self, sender: NodeKey, payload: bytes, now: float) -> list[Message]:
        if payload[:1] == Word.BEAT.value:
            return self._receive_beat(sender, payload, now) if self._fast else []
        word, items = unpack(payload)
        match word:
            case Word.REFRESH:
                return self._epochs.receive(sender, items, now)
            case Word.CLAIMS:
                out = self._claims.receive(sender, items, now)
                if self._fast and self._claims.unheard is not None:
                    self._doubt.begin(now)
                return out
            case Word.ACCUSE:
                key, kind = expect(items, KEY_BYTES, 1)
                if kind[0] not in (Kind.DOWN, Kind.GONE):
                    raise RemoteError("malformed", "an accusation of nothing")
                accusation = Accusation(NodeKey(key), Kind(kind[0]))
                self._watch.accused_by(sender, accusation, now)
                known = self._claims.inform(sender, accusation.subject, accusation.kind, now)
                return [*known, *self._judge(accusation.subject, now)]
            case Word.PING:
                self._doubt.adopt(sender, now)
                return [self._circle.send(sender, pack(Word.PONG, []))]
            case Word.PONG:
                return [self._epochs.everything(sender)] if self._doubt.adopt(sender, now) else []
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

    def _tells_of_silence(self, sender: NodeKey | None) -> bool:
        """Whether to hear this one, after nobody, means that it was this node that was cut off. A client has only two:
        when both are dead it hears nobody until it has found others, and those say nothing of the two."""
        return self._circle.is_peer or sender in self._watch.edges

    def _alone(self, now: float) -> bool:
        """Whether this is a client that hears nobody: those that it goes by may be gone, and it has to find others."""
        return not self._circle.is_peer and self._hears_nobody(now)

    def _is_cut_off(self, now: float) -> bool:
        """Whether this node hears nobody of several: what it accuses others of is its own fault. Where it alone watches
        somebody, it alone would judge, and otherwise it takes one more whose beats are lost."""
        return self._hears_nobody(now) and sum(key not in self._verdicts for key in self._watch.edges) > 1

    def _hears_nobody(self, now: float) -> bool:
        return now > self._heard_at + self._deaf_after

    def _own_beat(self, now: float) -> bytes:
        beat = Beat(self._refresh.epoch, self._root, self._verdicts.tag, self._watch.stall(now))
        return beat.pack(Word.BEAT.value)

    def _receive_beat(self, sender: NodeKey, payload: bytes, now: float) -> list[Message]:
        beat = Beat.unpack(payload)
        self._refresh.check(beat.epoch)
        out = self._epochs.hear(beat.epoch, now)
        if sender in self._verdicts:
            out += self._claims.warn(sender, now)
        else:
            out += self._epochs.remind(sender, beat.epoch, now)
        edge = self._watch.edges.get(sender)
        if edge is None:
            return [*out, *self._guide(sender, beat, now)]
        self._watch.heard(edge, sender, beat.stall, now)
        self._all_agree &= beat.root == self._root
        edge.root_differs_at, repair = self._watch.differs(edge.root_differs_at, beat.root == self._root, now)
        if repair:
            out.append(m.RootDiffers(self._mesh, sender))
        same = beat.claims == self._verdicts.tag
        edge.claims_differ_at, repair = self._watch.differs(edge.claims_differ_at, same, now)
        if repair:
            out += self._claims.tell_all(sender)
        return out

    def _guide(self, sender: NodeKey, beat: Beat, now: float) -> list[Message]:
        """Somebody that this node does not watch beats to it, and so may know less: of who is a member, or dead."""
        if sender not in self._circle.members:
            return []
        out: list[Message] = []
        client = not self._circle.members.rings.is_peer(sender)
        if client and beat.claims != self._verdicts.tag and self._guided.take(sender, now):
            # If this node has forgotten, having started anew, the client tells it: it hears that they differ.
            out += [*self._claims.tell_all(sender), self._circle.send(sender, self._own_beat(now))]
        settled = now > self._root_at + DIFFERS
        if settled and beat.root != self._root and self._compared.take(sender, now):
            out.append(m.RootDiffers(self._mesh, sender))
        return out

    def _agree(self, now: float) -> list[Message]:
        """Say who holds what this node holds, as long as not all those who are watched do, and once when they do."""
        if self._all_agree:
            return []
        live = {key: edge for key, edge in self._watch.edges.items() if key not in self._verdicts}
        same = frozenset(
            key for key, edge in live.items() if self._root_at < edge.heard_at <= now and edge.root_differs_at is None
        )
        self._all_agree = len(same) == len(live)
        told = (self._root, same, frozenset(live.keys() - same))
        if told == self._told_agreed:
            return []
        self._told_agreed = told
        self._version += 1
        return [m.Agreed(self._mesh, self._version, *told)]

    # Accusing.

    def _accuse_if(self, said: bool, subject: NodeKey, kind: Kind, now: float) -> list[Message]:
        if not said:
            return []
        return self._accuse(Accusation(subject, kind), now)

    def _accuse(self, accusation: Accusation, now: float) -> list[Message]:
        # A host that refuses is heard, in a way.
        if accusation.kind is Kind.GONE and self._is_cut_off(now):
            return []
        return [*self._say(accusation), *self._judge(accusation.subject, now)]

    def _say(self, accusation: Accusation) -> list[Message]:
        if not self._circle.is_peer:
            return []
        payload = pack(Word.ACCUSE, [accusation.subject, bytes([accusation.kind])])
        return self._circle.spread(self._watch.co_observers(accusation.subject), payload)

    def _judge(self, subject: NodeKey, now: float) -> list[Message]:
        if not self._circle.is_peer or self._verdicts.is_pruned(subject):
            return []
        # Of both kinds the milder: if one was refused, the host lives. Once that is known, only its silence is news.
        kinds = (Kind.GONE,) if self._verdicts.is_down(subject) else (Kind.DOWN, Kind.GONE)
        kind = next((kind for kind in kinds if self._watch.convicted(Accusation(subject, kind), now)), None)
        if kind is not None:
            self._claims.make(subject, kind, now)
        return self._claims.flood_if_due(now)

    # Time.

    def _tick(self, now: float) -> list[Message]:
        self._excuse(now)
        out = self._beat(now) if self._fast else []
        out += self._epochs.tick(now)
        self._verdicts.lapse(now)
        spare = self._fast and (self._alone(now) or self._watch.hears(self._epochs.leader, now))
        out += self._epochs.miss_leader(now, spare)
        self._epochs.judge(now)
        return out + self._claims.flood_if_due(now)

    def _excuse(self, now: float) -> None:
        """When this node stood still, what was said meanwhile waits to be read: that time counts for nobody."""
        due = self._deadline
        late = now - due if due is not None else 0.0
        if late > min(STALLED, SILENT_EPOCHS * self._refresh.interval):
            self._epochs.stood_still(late, now)
        if late > self._deaf_after:
            self._caught_up_at = now + CATCH_UP

    def _beat(self, now: float) -> list[Message]:
        out: list[Message] = []
        if self._watch.due(now):
            if self._own in self._circle.members:
                out += self._circle.spread(self._circle.audience(), self._own_beat(now))
            self._doubt.consider(self._watch.silent_share(now, DOUBT_PATIENCE), now)
            out += self._agree(now)
        for accusation in self._watch.accuse(now):
            out += self._accuse(accusation, now)
        others = [key for key in self._doubt.pings(self._circle.members.rings.peers, now) if key != self._own]
        if others:
            out += self._circle.spread(others, pack(Word.PING, []))
            out += self._claims.refute_among(others)
        return out
