"""Cores of liveness on a bench: one, to which a test tells everything, or many, with a network that delays and loses.

Virtual time, and chance from a seed: a run repeats exactly. Nothing here checks anything.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from random import Random

from smeg import messages as m
from smeg.certificates import Role
from smeg.core import Message
from smeg.heartbeat import ARRANGE_AGAIN, Detection, Heartbeat, Parts
from smeg.keys import NodeKey
from smeg.members import Members, Ranks
from smeg.records import Member
from smeg.refresh import Refresh
from smeg.wire import Word, pack
from tests.builders import Desk, MadeMesh, grant

MESH = MadeMesh("heartbeat")
HB = 5.0
FAST = Detection(HB)
"""With beats."""
SLOW = Detection(HB, fast=False)
"""The refresh alone."""


@cache
def members(peers: int, clients: int = 0) -> Members:
    desk = Desk(MESH.id)
    for number in range(peers):
        desk.take(MESH.founder(f"peer {number}").documents())
    for number in range(clients):
        desk.take(MESH.founder(f"client {number}", given=grant(Role.CLIENT)).documents())
    return Members.of(desk.members)


EVERYBODY = members(6, 1)
PEERS = [key for key, member in EVERYBODY.items() if member.role is Role.PEER]
CLIENT = next(key for key, member in EVERYBODY.items() if member.role is Role.CLIENT)
FIRST, SECOND, THIRD, *_, LAST = PEERS


def only(*keys: NodeKey) -> Members:
    return Members.of({key: EVERYBODY[key] for key in keys})


def all_but(*silent: NodeKey) -> list[NodeKey]:
    return [key for key in EVERYBODY if key not in silent]


def changed(known: Mapping[NodeKey, Member], expired: Iterable[NodeKey] = ()) -> m.MembersChanged:
    """`expired`: of the known, those whose certificates have."""
    everybody = known if isinstance(known, Members) else Members.of(known)
    members = everybody.change(dict.fromkeys(expired))
    return m.MembersChanged(MESH.id, 1, members, expired=frozenset(expired))


def tag_of(keys: Iterable[NodeKey]) -> bytes:
    return blake2b(b"".join(sorted(keys)), digest_size=8).digest()


def refresh(epoch: int, answers: Mapping[int, Iterable[NodeKey]], keys: Iterable[NodeKey] = EVERYBODY) -> bytes:
    """What somebody says who sees `keys` as the members and knows who answered which epoch."""
    ranked = sorted(keys)
    size = (len(ranked) + 7) // 8
    items = [struct.pack(">Q", epoch) + tag_of(ranked)]
    for answered, who in answers.items():
        bits = sum(1 << ranked.index(key) for key in who)
        items.append(struct.pack(">QB", answered, 0) + bits.to_bytes(size, "little"))
    return pack(Word.REFRESH, items)


def ranks(size: int) -> Ranks:
    return Ranks.of(tuple(NodeKey(number.to_bytes(2, "big") * 16) for number in range(size)))


def refresh_of(known: Ranks, answered: Iterable[int] = (), epoch: int = 7, own: NodeKey | None = None) -> Refresh:
    """What somebody knows who has heard that these answered."""
    made = Refresh(own or NodeKey(b"nobody".ljust(32)), HB, Random(1))
    made.meet(known, known)
    made.enter(epoch, 0.0)
    for rank in answered:
        made.vouch(known.keys[rank], epoch)
    return made


class Watcher:
    """One core, that of `own`, and what it has said."""

    def __init__(
        self,
        own: NodeKey,
        known: Mapping[NodeKey, Member] = EVERYBODY,
        detection: Detection = SLOW,
        core: type[Heartbeat] = Heartbeat,
        parts: Parts | None = None,
        seed: int = 1,
    ) -> None:
        self.core = core(MESH.id, own, detection, Random(seed), parts or Parts())
        self.now = 100.0
        self.said: list[Message] = []
        self.liveness: m.LivenessChanged | None = None
        self._take(self.core.begin(self.now))
        self.tell(changed(known))

    def _take(self, out: Iterable[Message]) -> None:
        for message in out:
            self.said.append(message)
            if isinstance(message, m.LivenessChanged):
                self.liveness = message

    def tell(self, *messages: Message) -> None:
        """These at once, as an inbox holds them."""
        for message in messages:
            self._take(self.core.handle(message, self.now))
        self._take(self.core.settle(self.now))

    def hear(self, payload: bytes, sender: NodeKey = FIRST) -> None:
        self.tell(received(sender, payload))

    def pass_time(self, seconds: float) -> None:
        """Ring at every deadline, as an actor does."""
        end, rings = self.now + seconds, 0
        while (due := self.core.next_deadline()) is not None and due <= end:
            rings += 1
            assert rings < 10_000, "a deadline stays in the past"
            self.now = max(self.now, due)
            self.tell(m.Tick())
        self.now = end

    @property
    def pruned(self) -> frozenset[NodeKey]:
        return self._thinks().pruned

    @property
    def down(self) -> frozenset[NodeKey]:
        return self._thinks().down

    @property
    def leader(self) -> NodeKey | None:
        return self._thinks().leader

    def _thinks(self) -> m.LivenessChanged:
        """What follows from all that it heard; time passes if that is not worked out yet."""
        if self.core._arrange_at is not None:
            self.pass_time(ARRANGE_AGAIN)
        assert self.liveness is not None
        return self.liveness

    @property
    def epochs(self) -> list[int]:
        return [message.epoch for message in self.said if isinstance(message, m.EpochSeen)]

    def sent(self, word: Word | None = None) -> list[tuple[NodeKey, bytes]]:
        """Receivers and payloads."""
        return [(to, payload) for to, payload in sent(self.said) if word is None or payload[:1] == word.value]

    def sent_to(self) -> set[NodeKey]:
        return {to for to, _ in self.sent()}


def received(sender: NodeKey, payload: bytes) -> m.Received:
    return m.Received(MESH.id, m.Channel.HEARTBEAT, sender, b"", payload)


def sent(messages: Iterable[Message]) -> Iterator[tuple[NodeKey, bytes]]:
    for message in messages:
        if isinstance(message, m.SendMember):
            yield message.to, message.payload
        elif isinstance(message, m.Spread):
            for to in message.to:
                yield to, message.payload


def run_epochs(watcher: Watcher, epochs: Iterable[int], *silent: NodeKey) -> None:
    """These epochs come, an interval apart, and all but the silent answer each."""
    for epoch in epochs:
        watcher.hear(refresh(epoch, {epoch: all_but(*silent)}))
        watcher.pass_time(HB)


class Bench:
    """Many cores. Latency lognormal, its median in seconds; `loss` is the share of messages that are dropped."""

    def __init__(
        self,
        known: Members,
        detection: Detection | None = None,
        seed: int = 1,
        loss: float = 0.0,
        latency: float = 0.04,
        core: type[Heartbeat] = Heartbeat,
        parts: Parts | None = None,
        late: Collection[NodeKey] = (),
    ) -> None:
        """`late`: members who `start` later."""
        self.known = known
        self.now = 0.0
        self.random = Random(seed)
        self.loss = loss
        self.latency = latency
        self.dead: set[NodeKey] = set()
        self.condemned: dict[tuple[NodeKey, NodeKey], float] = {}
        """By whom, who → when first."""
        self.sent: dict[bytes, int] = {}
        """Word → how many."""
        self.said_to: Counter[NodeKey] = Counter()
        """How many messages, whether they arrive or not."""
        self.heard: list[tuple[float, NodeKey, bytes]] = []
        """When, by whom, what: of all words but beats."""
        self._make: Callable[[NodeKey], Heartbeat] = lambda key: core(
            MESH.id, key, detection or Detection(), Random(self.random.random()), parts or Parts()
        )
        self._cut: Callable[[NodeKey, NodeKey], bool] = lambda one, other: False
        self.lost: dict[tuple[NodeKey, NodeKey], tuple[Word, ...]] = {}
        """Words that never arrive, by who says them to whom."""
        self._asleep: dict[NodeKey, float] = {}
        self._dialled: set[tuple[NodeKey, NodeKey]] = set()
        """Who has said something to whom: a client is reached by nobody else."""
        self._events: list[tuple[float, int, NodeKey, Message]] = []
        self._numbers = count()
        self._armed: dict[NodeKey, float | None] = {}
        self._watched: dict[NodeKey, tuple[NodeKey, ...]] = {}
        self.cores: dict[NodeKey, Heartbeat] = {}
        self.views: dict[NodeKey, m.LivenessChanged] = {}
        for key in known:
            if key not in late:
                self.start(key)

    # What a test does.

    def start(self, key: NodeKey, known: Members | None = None) -> None:
        """A daemon starts, or starts anew, and remembers nothing but the members."""
        self.dead.discard(key)
        self._armed.pop(key, None)
        core = self.cores[key] = self._make(key)
        self._take(key, core.begin(self.now))
        self.tell(key, changed(self.known if known is None else known))

    def kill(self, *keys: NodeKey) -> None:
        """Host and all: nothing answers any more."""
        self.dead.update(keys)

    def refuse(self, key: NodeKey, after: float = 0.1) -> None:
        """The daemon dies and its host says so, to all who watch it."""
        self.dead.add(key)
        for observer, watched in self._watched.items():
            if key in watched and observer not in self.dead:
                self._at(self.now + after, observer, m.LinkRefused(MESH.id, key))

    def unplug(self, key: NodeKey) -> None:
        """The host of a dead daemon falls silent too, and those who look after it see it."""
        for observer, watched in self._watched.items():
            if key in watched and observer not in self.dead:
                self._at(self.now + 0.1, observer, m.LinkSilent(MESH.id, key))

    def part(self, side: Iterable[NodeKey]) -> None:
        """Nothing passes between these and the others."""
        those = set(side)
        self._cut = lambda one, other: (one in those) != (other in those)

    def sever(self, one: NodeKey, other: NodeKey) -> None:
        """Nothing passes between these two."""
        self._cut = lambda sender, receiver: {sender, receiver} == {one, other}

    def cut_off(self, *keys: NodeKey) -> None:
        """Nothing passes between any of these and anybody else."""
        self._cut = lambda one, other: one in keys or other in keys

    def mute(self, side: Iterable[NodeKey]) -> None:
        """What these say reaches none of the others, whom they hear."""
        those = set(side)
        self._cut = lambda one, other: one in those and other not in those

    def heal(self) -> None:
        self._cut = lambda one, other: False

    def stop(self, key: NodeKey, seconds: float) -> None:
        """Its process stands still; what comes meanwhile waits."""
        self._asleep[key] = self.now + seconds

    def tell(self, key: NodeKey, message: Message) -> None:
        core = self.cores[key]
        self._take(key, core.handle(message, self.now))
        self._take(key, core.settle(self.now))
        due = core.next_deadline()
        armed = self._armed.get(key)
        if due is not None and (armed is None or due < armed or armed <= self.now):
            self._armed[key] = max(due, self.now)
            self._at(max(due, self.now), key, m.Tick())

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Whether `until` became true; it is looked at every tenth of a second."""
        end, look = self.now + seconds, self.now
        while self._events and self._events[0][0] <= end:
            at = self._events[0][0]
            if until is not None and at >= look:
                if until():
                    return True
                look = at + 0.1
            at, _, key, message = heappop(self._events)
            self.now = max(self.now, at)
            if key in self.dead:
                continue
            if self._asleep.get(key, 0.0) > self.now:
                self._at(self._asleep[key], key, message)
                continue
            if isinstance(message, m.Tick) and (self._armed.get(key) or at) > at:
                continue
            if isinstance(message, m.Received) and message.payload[:1] != Word.BEAT.value:
                self.heard.append((self.now, key, message.payload))
            if isinstance(message, m.Tick):
                self._armed[key] = None
            self.tell(key, message)
        self.now = end
        return until is not None and until()

    # What a test sees.

    @property
    def living(self) -> list[NodeKey]:
        return [key for key in self.cores if key not in self.dead]

    def silent(self, observer: NodeKey) -> frozenset[NodeKey]:
        return self.views[observer].silent

    def agree(self, *silent: NodeKey) -> bool:
        """Whether all who live think these dead, and nobody else."""
        return all(self.silent(key) == frozenset(silent) for key in self.living)

    def wrongly(self) -> set[NodeKey]:
        """Who was ever condemned and lives."""
        return {subject for _, subject in self.condemned if subject not in self.dead}

    # The network.

    def _at(self, when: float, key: NodeKey, message: Message) -> None:
        heappush(self._events, (when, next(self._numbers), key, message))

    def _take(self, key: NodeKey, out: Iterable[Message]) -> None:
        messages = list(out)
        for message in messages:
            if isinstance(message, m.LivenessChanged):
                self.views[key] = message
                for subject in message.silent:
                    self.condemned.setdefault((key, subject), self.now)
            elif isinstance(message, m.Watched):
                self._watched[key] = message.members
        for to, payload in sent(messages):
            self.sent[payload[:1]] = self.sent.get(payload[:1], 0) + 1
            self.said_to[to] += 1
            self._dialled.add((key, to))
            if payload[:1] in self.lost.get((key, to), ()):
                continue
            if to not in self.cores or self._cut(key, to) or self.random.random() < self.loss:
                continue
            if (to, key) not in self._dialled and not self.known.rings.is_peer(to):
                continue
            self._at(self.now + self.latency * self.random.lognormvariate(0, 0.5), to, received(key, payload))
