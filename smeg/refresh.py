"""The refresh: epochs that the leader starts and everybody answers, and whom it finds silent.

Answers are bitmaps by rank in a sorted list of keys, named by a tag of that list, and merged by OR: any way they take
is right, and what one node has to remember is six of them. In the list are the members, and those whose certificates
have expired: by whose clock somebody is a member must not decide who can read whom. `Refresh` decides nothing about
time but when it expects what; who leads and what follows from silence is `heartbeat`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from random import Random

from smeg.allowance import Allowance
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.members import Ranks
from smeg.wire import Word, expect, pack

SILENT_EPOCHS = 3
GRACE = 2.0
"""seconds after an epoch was seen in which its answers may still come; at most two intervals."""
KEPT_EPOCHS = 6
KEPT_LISTS = 4
"""Lists of members whose bitmaps can still be read: others may be a change behind."""
WINDOW = 0.25
"""seconds that answers are gathered before they are passed on; at most an eighth of an interval."""
FAN_OUT = 2
"""To how many they are passed on in each window."""
MAX_EPOCH = 2**62
MAX_JUMP = 2**32
"""Epochs that one message may skip. Nobody honest does, and whoever does cannot use the numbers up."""
EPOCHS_AT_ONCE = 4
EPOCHS_AN_INTERVAL = 2
"""How many epochs of others are entered at once, and then in each interval: an honest leader starts one."""
MOST_MISSED = 64
"""How many may be entered at once of those that this node missed: more do not wait to be read."""
FIRST_EPOCH = 2**40
"""The highest epoch that somebody may hear first."""
_EPOCH = struct.Struct(">Q")
_HEAD = struct.Struct(">QB")
_BITMAP, _PRESENT, _ABSENT = 0, 1, 2
"""Forms of a set of ranks: a bitmap, or the ranks that are in it, or those that are not; the shortest is sent."""
_RANK = 3
"""bytes of a rank in a list of them."""


class Refresh:
    """`interval` in seconds. Nothing here is ever said of `own` by others that it did not say."""

    def __init__(self, own: NodeKey, interval: float, random: Random) -> None:
        self._own = own
        self._random = random
        self.interval = interval
        self.grace = min(GRACE, 2 * interval)
        self.window = min(WINDOW, interval / 8)
        self.epoch = 0
        self.judged = 0
        """The last epoch whose answers were judged."""
        self._lists: list[Ranks] = [Ranks.of(())]
        self._members = Ranks.of(())
        self._expected = 0
        """Who of the list is a member, and so has to answer; bits by rank."""
        self._seen: dict[int, float] = {}
        """Epoch → when it was seen here."""
        self._answers: dict[int, int] = {}
        """Epoch → who answered, bits by rank."""
        self._excused: dict[int, int] = {}
        """Likewise, who became known here in it and had no time to answer."""
        self._unread: set[int] = set()
        """Epochs to which there were answers by a list that is not known here."""
        self._read: set[int] = set()
        """Epochs to which there were some by a list that is."""
        self._items: dict[int, tuple[tuple[int, Ranks], bytes]] = {}
        """By epoch: the item that tells its answers, and of which answers by which list it was made."""
        self._told: dict[NodeKey, tuple[int, int]] = {}
        """What a neighbour is known to know: the epoch, and the answers to it."""
        self._entries = Allowance(EPOCHS_AN_INTERVAL / interval, EPOCHS_AT_ONCE)
        """For the epochs of others. One that finds no token is heard of again, or a later one is."""

    @property
    def ranks(self) -> Ranks:
        return self._lists[0]

    # Members.

    def meet(self, ranks: Ranks, members: Ranks) -> None:
        """By which list answers go, and who of it is a member. A new one counts as having answered the epochs before it
        was known."""
        if ranks is self.ranks and members is self._members:
            return
        if ranks is not self.ranks:
            self._go_by(ranks)
        come = [members.keys[rank] for rank in members.since(self._members).come]
        self._members = members
        self._expected = ranks.everybody if ranks is members else ranks.bits(members.keys)
        new = self._excuses(ranks.bits(come)) if self._excused else 0
        self._excused = {epoch: bits | new for epoch, bits in self._excused.items()}

    def _go_by(self, ranks: Ranks) -> None:
        moves = ranks.since(self.ranks)
        self._lists = [ranks, *[known for known in self._lists if known is not ranks][: KEPT_LISTS - 1]]
        self._told.clear()
        self._answers = {epoch: moves.translate(bits) for epoch, bits in self._answers.items()}
        self._excused = {epoch: moves.translate(bits) for epoch, bits in self._excused.items()}

    def _excuses(self, new: int) -> int:
        """Which of the new ones had no time to answer."""
        return new

    def excuse(self, key: NodeKey) -> None:
        """A member is back: the epochs so far are not held against it."""
        rank = self.ranks.rank(key)
        if rank is not None:
            self._excused = {epoch: bits | 1 << rank for epoch, bits in self._excused.items()}

    # Epochs.

    def admits(self, epoch: int, now: float) -> bool:
        """Whether an epoch of which others tell is to be entered."""
        return epoch > self.epoch and self._entries.take(now)

    def check(self, epoch: int) -> None:
        """Raise `RemoteError` for an epoch that nobody honest could be in."""
        if epoch > (min(self.epoch + MAX_JUMP, MAX_EPOCH) if self.epoch else FIRST_EPOCH):
            raise RemoteError("malformed", "an epoch beyond its bounds")

    def enter(self, epoch: int, now: float) -> None:
        """A new epoch began: answer it."""
        self.epoch = epoch
        self._seen[epoch] = now
        rank = self.ranks.rank(self._own)
        self._answers[epoch] = 0 if rank is None else 1 << rank
        self._excused[epoch] = 0
        for old in [known for known in self._seen if known <= epoch - KEPT_EPOCHS]:
            del self._seen[old], self._answers[old], self._excused[old]
            self._unread.discard(old)
            self._read.discard(old)
            self._items.pop(old, None)

    def missed(self, seconds: float) -> None:
        """This node heard of nothing for so long: what began meanwhile may be entered at once."""
        self._entries.grant(EPOCHS_AN_INTERVAL * seconds / self.interval, MOST_MISSED)

    def stood_still(self, seconds: float) -> None:
        """This node did; answers that came meanwhile wait to be read."""
        self._seen = {epoch: at + seconds for epoch, at in self._seen.items()}

    def seen_at(self, epoch: int) -> float | None:
        return self._seen.get(epoch)

    def answered_since(self, key: NodeKey, epoch: int) -> bool:
        """Whether a member is known to have answered an epoch later than this."""
        rank = self.ranks.rank(key)
        return rank is not None and any(bits >> rank & 1 for at, bits in self._answers.items() if at > epoch)

    # Answers.

    def merge(self, sender: NodeKey, tag: bytes, items: Iterable[bytes]) -> list[tuple[int, int]]:
        """Take answers over; what was new, as epochs and bits by rank. Raises `RemoteError`."""
        ranks = self._list_named(tag)
        news: list[tuple[int, int]] = []
        for item in items:
            if len(item) < _HEAD.size:
                raise RemoteError("malformed", "answers without an epoch")
            epoch, form = _HEAD.unpack_from(item)
            if epoch not in self._answers:
                continue
            if ranks is None:
                self._unread.add(epoch)
                continue
            self._read.add(epoch)
            bits = _bits(item[_HEAD.size :], form, ranks)
            if ranks is not self.ranks:
                bits = self.ranks.since(ranks).translate(bits)
            if epoch == self.epoch and ranks is self.ranks:
                self._note_told(sender, bits)
            new = bits & ~self._answers[epoch]
            if new:
                self._answers[epoch] |= new
                news.append((epoch, new))
        return news

    def _list_named(self, tag: bytes) -> Ranks | None:
        return next((ranks for ranks in self._lists if ranks.tag == tag), None)

    def vouch(self, sender: NodeKey, epoch: int) -> list[tuple[int, int]]:
        """Whose newest epoch this is has answered it, by whatever list; likewise."""
        rank = self.ranks.rank(sender)
        if rank is None or epoch not in self._answers or self._answers[epoch] >> rank & 1:
            return []
        self._answers[epoch] |= 1 << rank
        return [(epoch, 1 << rank)]

    def keys(self, bits: int) -> list[NodeKey]:
        return [self.ranks.keys[rank] for rank in ranks_in(bits)]

    def message(self, to: Iterable[NodeKey], epochs: Iterable[int]) -> bytes:
        """The payload that tells these the answers to the epochs."""
        chosen = sorted(epoch for epoch in epochs if epoch in self._answers)
        items = [_EPOCH.pack(self.epoch) + self.ranks.tag]
        items += [self._packed(epoch) for epoch in chosen]
        if self.epoch in chosen:
            for key in to:
                self._note_told(key, self._answers[self.epoch])
        return pack(Word.REFRESH, items)

    def request(self) -> bytes:
        """The payload that asks for answers: it tells none."""
        return self.message((), ())

    def missing(self) -> int:
        """Who has answered neither the newest epoch nor the one before it, whose answers have had their time; bits by
        rank, none for who entered no other before."""
        before = self.epoch - 1
        if before not in self._answers:
            return 0
        return self._expected & ~(self._answers[before] | self._excused[before] | self._answers[self.epoch])

    def everything(self) -> bytes:
        """The payload that tells all epochs that are remembered: for somebody who was away."""
        return self.message((), self._answers)

    def lacking(self, neighbours: Iterable[NodeKey]) -> list[NodeKey]:
        """Those who are not known to have all answers to the newest epoch."""
        now = self._answers.get(self.epoch, 0)
        return [key for key in neighbours if now & ~self._knows(key)]

    def _knows(self, key: NodeKey) -> int:
        epoch, bits = self._told.get(key, (0, 0))
        return bits if epoch == self.epoch else 0

    def _note_told(self, key: NodeKey, bits: int) -> None:
        self._told[key] = (self.epoch, self._knows(key) | bits)

    def _packed(self, epoch: int) -> bytes:
        """The answers to an epoch as an item of a payload; most are sent many times."""
        state = (self._answers[epoch], self.ranks)
        known = self._items.get(epoch)
        if known is None or known[0] != state:
            form, body = self._set(*state)
            known = self._items[epoch] = (state, _HEAD.pack(epoch, form) + body)
        return known[1]

    def _set(self, bits: int, ranks: Ranks) -> tuple[int, bytes]:
        count = bits.bit_count()
        if count * _RANK < ranks.size:
            return _PRESENT, _list(bits)
        if (len(ranks) - count) * _RANK < ranks.size:
            return _ABSENT, _list(~bits & ranks.everybody)
        return _BITMAP, bits.to_bytes(ranks.size, "little")

    # Judging.

    def ripe(self, now: float) -> int | None:
        """The newest epoch that can be judged and was not."""
        ripe = max((epoch for epoch, seen in self._seen.items() if now >= seen + self.grace), default=0)
        return ripe if ripe > self.judged else None

    def ripens_at(self) -> float | None:
        soonest: float | None = None
        for epoch, seen in self._seen.items():
            if epoch > self.judged and (soonest is None or seen < soonest):
                soonest = seen
        return None if soonest is None else soonest + self.grace

    def silent(self, epoch: int) -> list[NodeKey]:
        """Who answered neither this epoch nor the two before it nor a later one, if all three were seen here, as they
        began."""
        oldest = epoch - SILENT_EPOCHS + 1
        if not self._seen_all(oldest, epoch) or not self._took_their_time(oldest, epoch):
            return []
        heard = 0
        for at, bits in self._answers.items():
            if at >= oldest:
                heard |= bits | self._excused[at]
        if self._could_not_read(oldest, heard & self._expected):
            return []
        return [key for key in self.keys(self._expected & ~heard) if key != self._own]

    def _could_not_read(self, oldest: int, heard: int) -> bool:
        """Whether others use a list that is not known here, and few the own: then it is this node that is odd."""
        few = 2 * heard.bit_count() < len(self._members) or not any(epoch >= oldest for epoch in self._read)
        return few and any(epoch >= oldest for epoch in self._unread)

    def _seen_all(self, oldest: int, newest: int) -> bool:
        return all(epoch in self._seen for epoch in range(oldest, newest + 1))

    def _took_their_time(self, oldest: int, newest: int) -> bool:
        """Whether between these was at least half the time that an honest leader leaves. Who comes back, or stood
        still, hears of several at once, and somebody who wants to harm may begin them: in that time nobody can answer.
        """
        return self._seen[newest] - self._seen[oldest] >= (newest - oldest) * self.interval / 2


def read(items: list[bytes]) -> tuple[int, bytes, list[bytes]]:
    """The newest epoch, the tag of the list and the answers that a payload tells. Raises `RemoteError`."""
    if not items or len(items) > KEPT_EPOCHS + 1:
        raise RemoteError("malformed", "a refresh without an epoch, or with too many")
    (head,) = expect(items[:1], 16)
    return _EPOCH.unpack(head[:8])[0], head[8:], items[1:]


def ranks_in(bits: int) -> list[int]:
    """The ranks that are set, lowest first."""
    found: list[int] = []
    at = 0
    # By words: taking the lowest bit off a number of thousands of digits, again and again, is quadratic.
    while bits:
        word = bits & 0xFFFFFFFF
        while word:
            lowest = word & -word
            found.append(at + lowest.bit_length() - 1)
            word ^= lowest
        bits >>= 32
        at += 32
    return found


def _list(bits: int) -> bytes:
    return b"".join(rank.to_bytes(_RANK, "big") for rank in ranks_in(bits))


def _bits(body: bytes, form: int, ranks: Ranks) -> int:
    everybody = ranks.everybody
    if form == _BITMAP:
        if len(body) != ranks.size:
            raise RemoteError("malformed", "a bitmap of the wrong size")
        return int.from_bytes(body, "little") & everybody
    if form not in (_PRESENT, _ABSENT) or len(body) % _RANK or len(body) > ranks.size + _RANK:
        raise RemoteError("malformed", "answers in an unknown form")
    bits = 0
    for at in range(0, len(body), _RANK):
        rank = int.from_bytes(body[at : at + _RANK], "big")
        if rank >= len(ranks):
            raise RemoteError("malformed", "an answer of nobody in the list")
        bits |= 1 << rank
    return (bits if form == _PRESENT else ~bits) & everybody
