"""The refresh as time passes: who leads, when the next epoch begins, and how its answers travel.

1. The leader is the lowest key among the live peers; each interval it starts the next epoch, and who hears of one
   answers it and passes it on at once.
2. When no epoch comes for three intervals the leader is pruned and the next lowest expected, as often as needed. Who
   doubts that it hears all starts one itself a little after the interval.
3. Answers are gathered for a window and passed on to two of those around. A client, on whom few answers would happen
   to fall, is told all of them once, when they are in and before it judges.
4. Who lacks answers of the living an epoch later asks two of those around for what they have: a rumour that dies out
   early, or a message that was lost, condemns nobody.
5. Each of the pruned is told the newest by a few every two seconds, for ever.

What an epoch and an answer are is `refresh`'s; this decides when and to whom.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from smeg import messages as m
from smeg.circle import TELL_AGAIN, Circle
from smeg.core import Message
from smeg.doubt import Doubt
from smeg.keys import NodeKey
from smeg.refresh import FAN_OUT, SILENT_EPOCHS, Refresh, ranks_in, read
from smeg.verdicts import Verdicts

REVIVE_EVERY = 2.0
"""seconds between two times that it is tried to reach somebody who was pruned."""
REVIVERS = 8
"""How many try it with each of them, on average, if there are as many: were it all of thousands, a host that is off
would be dialled a thousand times a second."""
RETURNED = 2
"""intervals more until a leader that has come back, or may well live, is given up."""
HURRY = 1.1
"""intervals without an epoch after which one who doubts starts one itself: the leader may be on the other side."""
TELL_CLIENTS = 0.8
"""of the time in which answers may come: then clients are told those that came."""
FETCH_AFTER = 0.4
FETCH_EVERY = 0.3
"""of that time: when answers to the epoch before that are still missing are asked for, and how soon again."""


class Epochs:
    def __init__(
        self,
        mesh: str,
        own: NodeKey,
        refresh: Refresh,
        verdicts: Verdicts,
        doubt: Doubt,
        circle: Circle,
        random: Random,
    ) -> None:
        self._mesh = mesh
        self._own = own
        self._refresh = refresh
        self._verdicts = verdicts
        self._doubt = doubt
        self._circle = circle
        self._random = random
        self._expected: NodeKey | None = None
        """The leader whose epochs are waited for."""
        self._heard_at = 0.0
        """When an epoch came last, or when the leader became it."""
        self._hurry = HURRY
        self._spared = False
        """Whether the leader has got more time already."""
        self._next_epoch_at: float | None = None
        self._pass_on_at: float | None = None
        self._pass_on_to_all = False
        self._fresh: set[int] = set()
        """Epochs to which there are answers that were not passed on."""
        self._clients_at: float | None = None
        self._fetch_at: float | None = None
        """When to see whether answers are missing."""
        self._ask_at: float | None = None
        self._revive_at: float | None = None
        self._dead_bits: tuple[object, int] = (None, 0)
        self._dead_peers: tuple[object, tuple[NodeKey, ...]] = (None, ())

    @property
    def _interval(self) -> float:
        return self._refresh.interval

    def begin(self, now: float) -> None:
        self._heard_at = now
        self._ask_at = now + self._random.uniform(0, self._interval)
        self._revive_at = now + self._random.uniform(0, REVIVE_EVERY)

    def next_deadline(self) -> float | None:
        silent = self._silence_ends() if self._waits_for() is not None else None
        deadlines = (
            self._next_epoch_at,
            self._pass_on_at,
            self._clients_at,
            self._fetch_at,
            self._ask_at,
            self._revive_at,
            silent,
            self._refresh.ripens_at(),
        )
        return min((at for at in deadlines if at is not None), default=None)

    # Who leads.

    @property
    def leader(self) -> NodeKey | None:
        """The lowest live peer."""
        return next((key for key in self._circle.members.rings.peers if key not in self._verdicts), None)

    def meet(self, now: float) -> None:
        """The list of members is another."""
        if self._expected in (None, self._own):
            self._heard_at = now

    def follow(self, now: float) -> NodeKey | None:
        """Who leads now, and what this node has to do for it."""
        leader = self.leader
        if leader != self._expected:
            # Whoever leads now had no time yet to let us hear of it.
            self._heard_at = now + self._learns(leader)
            self._expected, self._spared = leader, False
        if leader != self._own:
            self._next_epoch_at = None
        elif self._next_epoch_at is None:
            self._next_epoch_at = now + self._share() * self._interval
        return leader

    def _learns(self, leader: NodeKey | None) -> float:
        """The seconds more that a leader has who returned: it may wait itself for one before it, of whom only the
        refresh has found that it is dead.
        """
        if leader is None or self._expected is None or leader > self._expected:
            return 0.0
        return RETURNED * self._interval

    def _share(self) -> float:
        """The part of an interval that a new leader waits: two that believe they lead seldom start at once."""
        return self._random.random() if self._refresh.epoch else 0.0

    def _waits_for(self) -> NodeKey | None:
        """Whose epochs; nobody's, if it has just become another's turn and that is not followed yet."""
        return self._expected if self._expected not in (self._own, None) and self._expected == self.leader else None

    def _silence_ends(self) -> float:
        """When the silence of the leader has consequences."""
        intervals = self._hurry if self._doubt and self._circle.is_peer else SILENT_EPOCHS
        return self._heard_at + intervals * self._interval

    def miss_leader(self, now: float, spare: bool) -> list[Message]:
        """What follows from the silence of the leader, if it has lasted. `spare`: it is heard, and may only wait itself
        for one before it, or nobody is; then it has longer."""
        leader = self._waits_for()
        if leader is None or now < self._silence_ends():
            return []
        if self._doubt and now < self._heard_at + SILENT_EPOCHS * self._interval:
            return self.enter(self._refresh.epoch + 1, now)
        if spare and not self._spared:
            self._heard_at, self._spared = self._heard_at + RETURNED * self._interval, True
            return []
        self._verdicts.prune(leader, self._refresh.epoch, now)
        self._heard_at = now
        return []

    def stood_still(self, late: float, now: float) -> None:
        """This node did, for so many seconds: that time counts for nobody."""
        self._refresh.missed(late)
        if late > SILENT_EPOCHS * self._interval:
            self._heard_at, self._refresh.judged = now, self._refresh.epoch
        else:
            self._heard_at += late
            self._refresh.stood_still(late)

    # Epochs and answers.

    def hear(self, epoch: int, now: float) -> list[Message]:
        """Somebody is in this epoch."""
        return self.enter(epoch, now) if self._refresh.admits(epoch, now) else []

    def enter(self, epoch: int, now: float) -> list[Message]:
        """A new epoch began: answer it and pass it on at once."""
        self._refresh.enter(epoch, now)
        self._heard_at, self._spared = now, False
        self._hurry = HURRY + self._random.random() / 5
        self._verdicts.answered(self._own, epoch)
        self._fresh.add(epoch)
        if self._pass_on_at is None:
            self._pass_on_at = now + self._refresh.window
        if self._clients_at is None and self._circle.clients():
            self._clients_at = now + TELL_CLIENTS * self._refresh.grace
        self._fetch_at = now + FETCH_AFTER * self._refresh.grace
        if self._next_epoch_at is not None:
            self._next_epoch_at = now + self._interval
        return [m.EpochSeen(self._mesh, epoch), *self._tell(self._circle.near(), {epoch})]

    def receive(self, sender: NodeKey, items: list[bytes], now: float) -> list[Message]:
        """Take answers over. Raises `RemoteError`."""
        epoch, tag, answers = read(items)
        self._refresh.check(epoch)
        behind = epoch < self._refresh.epoch
        out = self.hear(epoch, now)
        for answered, bits in [*self._refresh.merge(sender, tag, answers), *self._refresh.vouch(sender, epoch)]:
            self._fresh.add(answered)
            if self._pass_on_at is None:
                self._pass_on_at = now + self._refresh.window
            if len(self._verdicts):
                self._clear_answered(answered, bits)
        if behind and self._circle.may_hint(sender, now):
            out.append(self.everything(sender))
        elif not answers and self._circle.may_hint(sender, now):
            out += self._tell([sender], {self._refresh.epoch - 1, self._refresh.epoch})
        return out

    def remind(self, sender: NodeKey, epoch: int, now: float) -> list[Message]:
        """Somebody is still in an earlier epoch, although the newest began a while ago."""
        seen = self._refresh.seen_at(self._refresh.epoch)
        late = epoch < self._refresh.epoch and seen is not None and now > seen + TELL_AGAIN
        return [self.everything(sender)] if late and self._circle.may_hint(sender, now) else []

    def everything(self, to: NodeKey) -> m.SendMember:
        """All answers that are remembered, for somebody who was away."""
        return self._circle.send(to, self._refresh.everything())

    def _dead(self) -> int:
        """Who is thought dead, bits by rank."""
        state = (self._verdicts.version, self._refresh.ranks)
        if self._dead_bits[0] != state:
            ranks = [self._refresh.ranks.rank(key) for key in self._verdicts.everybody()]
            self._dead_bits = (state, sum(1 << rank for rank in ranks if rank is not None))
        return self._dead_bits[1]

    def _clear_answered(self, epoch: int, bits: int) -> None:
        keys = self._refresh.ranks.keys
        few = bits.bit_count() < len(self._verdicts)
        for rank in ranks_in(bits if few else bits & self._dead()):
            if self._verdicts.answered(keys[rank], epoch):
                # Its answer may be old, and it may have had no time for those after it.
                self._refresh.excuse(keys[rank])
                # Who returns brings others back: this may be the end of a partition.
                self._pass_on_to_all = True

    def judge(self, now: float) -> None:
        """Prune who answered none of the last epochs."""
        ripe = self._refresh.ripe(now)
        if ripe is None:
            return
        self._refresh.judged = ripe
        for key in self._refresh.silent(ripe):
            if not self._verdicts.is_pruned(key) and not self._verdicts.is_down(key):
                self._verdicts.prune(key, ripe, now)

    # Time.

    def tick(self, now: float) -> list[Message]:
        out: list[Message] = []
        if self._next_epoch_at is not None and now >= self._next_epoch_at:
            self._next_epoch_at = now + self._interval
            out += self.enter(self._refresh.epoch + 1, now)
        if self._pass_on_at is not None and now >= self._pass_on_at:
            self._pass_on_at = None
            out += self._pass_on()
        if self._clients_at is not None and now >= self._clients_at:
            self._clients_at = None
            out += self._tell_clients()
        if self._fetch_at is not None and now >= self._fetch_at:
            out += self._fetch(now)
        if self._ask_at is not None and now >= self._ask_at:
            # Whoever missed an epoch learns of the newest by asking.
            self._ask_at = now + self._interval
            if self._circle.links:
                out += self._tell([self._random.choice(self._circle.links)], {self._refresh.epoch})
        if self._revive_at is not None and now >= self._revive_at:
            self._revive_at = now + REVIVE_EVERY
            out += self._revive()
        return out

    def _pass_on(self) -> list[Message]:
        """Tell some of those around what is new."""
        epochs, self._fresh = self._fresh, set()
        around = self._circle.around()
        if epochs <= {self._refresh.epoch}:
            around = self._refresh.lacking(around)
        if self._pass_on_to_all:
            self._pass_on_to_all = False
            around = [*around, *self._circle.hanging]
        elif len(around) > FAN_OUT:
            around = self._random.sample(around, FAN_OUT)
        return self._tell(around, epochs or {self._refresh.epoch})

    def _fetch(self, now: float) -> list[Message]:
        """Ask for answers of the living that are missing, as long as they would come before they are judged."""
        seen = self._refresh.seen_at(self._refresh.epoch)
        again = now + FETCH_EVERY * self._refresh.grace
        missing = self._refresh.missing() & ~self._dead()
        self._fetch_at = again if missing and seen is not None and again < seen + self._refresh.grace else None
        around = self._circle.around()
        if not missing or not around:
            return []
        to = self._random.sample(around, min(FAN_OUT, len(around)))
        return self._circle.spread(to, self._refresh.request())

    def _tell_clients(self) -> list[Message]:
        """The epoch before too: with short intervals a newer one has begun by now."""
        return self._tell(self._circle.clients(), {self._refresh.epoch - 1, self._refresh.epoch})

    def _tell(self, to: Iterable[NodeKey], epochs: Iterable[int]) -> list[Message]:
        receivers = tuple(to)
        return self._circle.spread(receivers, self._refresh.message(receivers, epochs)) if receivers else []

    def _revive(self) -> list[Message]:
        """When each half of a mesh has pruned the other, nobody else would ever bring them together."""
        dead = self._dialable()
        living = len(self._circle.members) - len(self._verdicts)
        if not dead or self._random.random() * living >= REVIVERS * len(dead):
            return []
        return [self.everything(self._random.choice(dead))]

    def _dialable(self) -> tuple[NodeKey, ...]:
        """Who is thought dead and could be dialled."""
        rings = self._circle.members.rings
        state = (self._verdicts.version, rings)
        if self._dead_peers[0] != state:
            self._dead_peers = (state, tuple(key for key in self._verdicts.everybody() if rings.is_peer(key)))
        return self._dead_peers[1]
