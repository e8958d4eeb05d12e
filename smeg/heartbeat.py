"""The core of one mesh's liveness: the leader, the refresh it starts, and who is pruned for not answering.

The leader is the lowest key among the live peers. Each interval it starts the next epoch; everybody who sees an epoch
answers it. Answers travel as a bitmap by rank in the sorted list of members, named by a hash of that list, and are
merged by OR, so that any way they take is right. The rules that keep the living from being pruned:

1. A member is pruned only when three epochs in a row were seen here and it answered none of them. A jump of epochs
   starts the count anew.
2. When no epoch comes for three intervals the leader is pruned and the next lowest expected, as often as needed.
3. An answer to a later epoch than that of the pruning clears it. Nobody's pruning is passed on to others.
4. A member counts as having answered the epoch in which it became known here.
5. Who stood still itself (a stopped process, a suspended machine) judges nobody by what it missed.

The leader has no other power, and being pruned removes nobody: one of the pruned is told the newest in every interval.
Any member can say that an epoch began, and each costs the whole mesh a flood: those that come too fast are not entered.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from hashlib import blake2b
from random import Random

from smeg import messages as m
from smeg.allowance import Allowance
from smeg.certificates import Role
from smeg.core import Message
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.records import Member
from smeg.rings import Rings
from smeg.wire import Word, expect, pack, unpack

SILENT_EPOCHS = 3
GRACE = 2.0
"""seconds after an epoch was seen in which its answers may still come; at most two intervals."""
KEPT_EPOCHS = 6
KEPT_LISTS = 4
"""Lists of members whose bitmaps can still be read: others may be a change behind."""
WINDOW = 0.25
"""seconds that answers are gathered before they are passed on."""
MAX_EPOCH = 2**62
MAX_JUMP = 2**32
"""Epochs that one message may skip. Nobody honest does, and whoever does cannot use the numbers up."""
EPOCHS_AT_ONCE = 4
EPOCHS_AN_INTERVAL = 2
"""How many epochs of others are entered at once, and then in each interval: an honest leader starts one."""
FIRST_EPOCH = 2**40
"""The highest epoch that somebody may hear first."""
_EPOCH = struct.Struct(">Q")


class Ranks:
    """A sorted list of members: what gives a bitmap its meaning."""

    def __init__(self, keys: tuple[NodeKey, ...]) -> None:
        self.keys = keys
        self.rank = {key: rank for rank, key in enumerate(keys)}
        self.tag = blake2b(b"".join(keys), digest_size=8).digest()
        self.size = (len(keys) + 7) // 8


class Heartbeat:
    """`interval` in seconds."""

    def __init__(self, mesh: str, own: NodeKey, interval: float, random: Random) -> None:
        self._mesh = mesh
        self._own = own
        self._interval = interval
        self._grace = min(GRACE, 2 * interval)
        self._random = random
        self._members: Mapping[NodeKey, Member] = {}
        self._lists: list[Ranks] = [Ranks(())]
        self._rings = Rings(())
        self._epoch = 0
        self._judged = 0
        self._seen: dict[int, float] = {}
        self._answers: dict[int, set[NodeKey]] = {}
        self._last_answer: dict[NodeKey, int] = {}
        self._pruned: dict[NodeKey, int] = {}
        self._version = 0
        self._told: tuple[NodeKey | None, frozenset[NodeKey]] | None = None
        self._heard_at = 0.0
        self._next_epoch_at: float | None = None
        self._pass_on_at: float | None = None
        self._beat_at: float | None = None
        self._entries = Allowance(EPOCHS_AN_INTERVAL / interval, EPOCHS_AT_ONCE)
        """For the epochs of others. One that finds no token is heard of again, or a later one is."""
        self._told_behind: dict[NodeKey, float] = {}
        """When who was behind was told the newest last."""
        self._ticked_at = 0.0

    def begin(self, now: float) -> list[Message]:
        self._heard_at = self._ticked_at = now
        self._beat_at = now + self._random.uniform(0, self._interval)
        return []

    @property
    def leader(self) -> NodeKey | None:
        """The lowest live peer."""
        return next((key for key, member in self._members.items() if self._may_lead(key, member)), None)

    def _may_lead(self, key: NodeKey, member: Member) -> bool:
        return member.role is Role.PEER and key not in self._pruned

    def handle(self, message: Message, now: float) -> list[Message]:
        match message:
            case m.MembersChanged():
                self._meet(message.members, now)
            case m.Received() if message.sender is not None:
                try:
                    return self._receive(message.sender, message.payload, now)
                except RemoteError:
                    return []
            case m.Tick():
                return self._tick(now)
        return []

    def settle(self, now: float) -> list[Message]:
        leader = self.leader
        if leader != self._own:
            self._next_epoch_at = None
        elif self._next_epoch_at is None:
            # A new leader waits a random part of the interval: two that believe it seldom start at once.
            share = self._random.random() if self._epoch else 0.0
            self._next_epoch_at = now + share * self._interval
        state = (leader, frozenset(self._pruned))
        if state == self._told:
            return []
        self._told = state
        self._version += 1
        live = [member for key, member in self._members.items() if key not in self._pruned]
        peers = (member.key for member in live if member.role is Role.PEER)
        self._rings = Rings(peers, (member.key for member in live if member.role is Role.CLIENT))
        return [m.LivenessChanged(self._mesh, self._version, self._epoch, leader, frozenset(self._pruned))]

    def next_deadline(self) -> float | None:
        leader_silent = (
            self._heard_at + SILENT_EPOCHS * self._interval if self.leader not in (None, self._own) else None
        )
        ripening = [seen + self._grace for epoch, seen in self._seen.items() if epoch > self._judged]
        prune = min(ripening, default=None)
        deadlines = (self._next_epoch_at, self._pass_on_at, self._beat_at, leader_silent, prune)
        return min((at for at in deadlines if at is not None), default=None)

    # Members.

    def _meet(self, members: Mapping[NodeKey, Member], now: float) -> None:
        for key in members.keys() - self._members.keys():
            self._last_answer[key] = self._epoch
        for key in self._members.keys() - members.keys():
            self._last_answer.pop(key, None)
            self._pruned.pop(key, None)
            self._told_behind.pop(key, None)
        if tuple(members) != self._lists[0].keys:
            self._lists = [Ranks(tuple(members)), *self._lists[: KEPT_LISTS - 1]]
            self._told = None
        alone = self.leader in (None, self._own)
        self._members = members
        if alone:
            # Whoever leads now had no time yet to let us hear of it.
            self._heard_at = now

    # The refresh.

    def _receive(self, sender: NodeKey, payload: bytes, now: float) -> list[Message]:
        word, items = unpack(payload)
        if word is not Word.REFRESH or not items:
            raise RemoteError("malformed", f"{word.name} has no place in the refresh")
        (head,) = expect(items[:1], 16)
        epoch = _EPOCH.unpack(head[:8])[0]
        highest = min(self._epoch + MAX_JUMP, MAX_EPOCH) if self._epoch else FIRST_EPOCH
        if epoch > highest or len(items) > KEPT_EPOCHS + 1:
            raise RemoteError("malformed", "a refresh beyond its bounds")
        out: list[Message] = []
        behind = epoch < self._epoch and now >= self._told_behind.get(sender, -WINDOW) + WINDOW
        if epoch > self._epoch and self._entries.take(now):
            out += self._enter(epoch, now)
        ranks = next((ranks for ranks in self._lists if ranks.tag == head[8:]), None)
        if ranks is not None:
            news = False
            for item in items[1:]:
                answered, bitmap = int.from_bytes(item[:8], "big"), item[8:]
                if len(bitmap) == ranks.size and answered in self._answers:
                    news |= self._merge(answered, bitmap, ranks)
            if news and self._pass_on_at is None:
                self._pass_on_at = now + WINDOW
        if behind:
            self._told_behind[sender] = now
            out.append(self._refresh_for(sender))
        return out

    def _merge(self, epoch: int, bitmap: bytes, ranks: Ranks) -> bool:
        """Take over answers; whether any was new."""
        known = self._answers[epoch]
        found = int.from_bytes(bitmap, "little")
        news = False
        while found:
            lowest = found & -found
            rank = lowest.bit_length() - 1
            found ^= lowest
            if rank < len(ranks.keys):
                key = ranks.keys[rank]
                if key not in known and key in self._members:
                    known.add(key)
                    self._hear(key, epoch)
                    news = True
        return news

    def _hear(self, key: NodeKey, epoch: int) -> None:
        if epoch > self._last_answer.get(key, 0):
            self._last_answer[key] = epoch
        if key in self._pruned and epoch > self._pruned[key]:
            del self._pruned[key]

    def _enter(self, epoch: int, now: float) -> list[Message]:
        """A new epoch began: answer it and pass it on at once."""
        self._epoch = epoch
        self._heard_at = now
        self._seen[epoch] = now
        self._answers[epoch] = {self._own}
        self._last_answer[self._own] = epoch
        self._pruned.pop(self._own, None)
        for old in [known for known in self._seen if known <= epoch - KEPT_EPOCHS]:
            del self._seen[old], self._answers[old]
        self._pass_on_at = now + WINDOW
        if self._next_epoch_at is not None:
            self._next_epoch_at = now + self._interval
        return [m.EpochSeen(self._mesh, epoch), *self._spread()]

    def _spread(self) -> list[Message]:
        return [self._refresh_for(key) for key in self._rings.neighbours(self._own)]

    def _refresh_for(self, to: NodeKey) -> m.SendMember:
        ranks = self._lists[0]
        items = [_EPOCH.pack(self._epoch) + ranks.tag]
        for epoch in sorted(self._answers)[-KEPT_EPOCHS:]:
            bits = sum(1 << ranks.rank[key] for key in self._answers[epoch] if key in ranks.rank)
            items.append(_EPOCH.pack(epoch) + bits.to_bytes(ranks.size, "little"))
        return m.SendMember(self._mesh, m.Channel.HEARTBEAT, to, pack(Word.REFRESH, items))

    # Time.

    def _tick(self, now: float) -> list[Message]:
        out: list[Message] = []
        if now - self._ticked_at > SILENT_EPOCHS * self._interval:
            # A tick comes in every interval: this node stood still, and what was said meanwhile waits to be read.
            self._heard_at, self._judged = now, self._epoch
        self._ticked_at = now
        if self._next_epoch_at is not None and now >= self._next_epoch_at:
            self._next_epoch_at = now + self._interval
            out += self._enter(self._epoch + 1, now)
        if self._pass_on_at is not None and now >= self._pass_on_at:
            self._pass_on_at = None
            out += self._spread()
        if self._beat_at is not None and now >= self._beat_at:
            # Whoever was thought dead, or missed an epoch, learns of the newest by asking.
            self._beat_at = now + self._interval
            neighbours = self._rings.neighbours(self._own)
            if neighbours:
                out.append(self._refresh_for(self._random.choice(neighbours)))
            # When each half of a mesh has pruned the other, nobody else would ever bring them together.
            pruned = [key for key in sorted(self._pruned) if self._members[key].role is Role.PEER]
            if pruned:
                out.append(self._refresh_for(self._random.choice(pruned)))
        self._prune(now)
        return out

    def _prune(self, now: float) -> None:
        leader = self.leader
        if leader not in (None, self._own) and now >= self._heard_at + SILENT_EPOCHS * self._interval:
            self._pruned[leader] = self._epoch
            self._heard_at = now
        ripe = max((epoch for epoch, seen in self._seen.items() if now >= seen + self._grace), default=0)
        if ripe > self._judged:
            self._judged = ripe
            for key in self._unanswered(ripe):
                self._pruned[key] = ripe

    def _unanswered(self, epoch: int) -> list[NodeKey]:
        """Members that answered neither this epoch nor the two before it nor a later one, if all three were seen."""
        oldest = epoch - SILENT_EPOCHS + 1
        if any(number not in self._seen for number in range(oldest, epoch + 1)):
            return []
        return [
            key
            for key in self._members
            if key not in self._pruned and key != self._own and self._last_answer.get(key, 0) < oldest
        ]
