"""Those of a mesh of thousands with whom a few real daemons speak: real connections from a thread, and hardly a node.

They say what their like would say in a mesh where nothing happens: beats that know what the daemon knows, epochs whose
answers gather from all members within a second, the opening of a repair. So the daemons have the company, and the work,
that they would have if all members lived.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import struct
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Self

from scenarios.papers import GOSSIP_PORT
from scenarios.standing_mesh import Person
from smeg.edges.routers import Limits
from smeg.edges.transport import Transport
from smeg.keys import NodeKey
from smeg.members import Ranks
from smeg.messages import Channel
from smeg.refresh import read
from smeg.rings import Rings
from smeg.stored import Contact
from smeg.watch import BEAT_BYTES, BEAT_EVERY, BEAT_HEAD, Beat
from smeg.wire import Word, pack, unpack

EPOCH_EVERY = 5.0
REPAIR_EVERY = 10.0
DIAL_EVERY = 0.5
GATHERING = ((0.0, 0.01), (0.25, 0.3), (0.5, 0.8), (0.75, 0.97), (1.0, 1.0))
"""seconds after an epoch began, and the share of all answers that are known then."""
AT_ONCE = 2
"""How many tell a daemon of them at each of these moments; of a new epoch all its neighbours do."""
NEIGHBOURS = 6
"""Of a peer, for the flood."""
_EPOCH = struct.Struct(">Q")
_BITMAP = struct.Struct(">QB")


class Neighbours:
    """`with Neighbours(...)`: they are there until the end of the block.

    `daemons` says of the daemons, members or soon to be, where they are. `everybody` are the keys of all members,
    sorted; to be replaced when one joins.
    """

    def __init__(
        self, mesh: str, others: Iterable[Person], daemons: dict[NodeKey, Contact], everybody: Iterable[NodeKey]
    ) -> None:
        self._mesh = mesh
        self._daemons = daemons
        people = {person.key: person for person in others}
        self.everybody = tuple(everybody)
        self._rings = Rings.of(tuple(sorted({*people, *daemons})))
        near = {key for daemon in daemons for key in self._near(daemon)} - daemons.keys()
        self._people = {key: people[key] for key in near}
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._random = random.Random(1)
        self._heads: dict[NodeKey, bytes] = {}
        """The beats of the daemons, but for the stall."""
        self._epoch = 0
        self._holders = {daemon.curve: key for key, daemon in daemons.items()}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._people)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _near(self, daemon: NodeKey) -> list[NodeKey]:
        rings = self._rings
        return [*rings.subjects(daemon), *rings.observers(daemon), *rings.neighbours(daemon)]

    # The thread.

    def _run(self) -> None:
        limits = Limits()
        self._lines = {
            key: Transport(person.curve, person.address, GOSSIP_PORT, limits, self._random)
            for key, person in self._people.items()
        }
        poller = select.poll()
        for line in self._lines.values():
            line.admit(frozenset(self._holders))
            poller.register(line.descriptor(), select.POLLIN)
        now = time.monotonic()
        for key in self._lines:
            self._after(self._random.random() * BEAT_EVERY, partial(self._beat, key))
            self._after(self._random.random() * REPAIR_EVERY, partial(self._repair, key))
        self._after(EPOCH_EVERY, self._begin_epoch)
        self._dial()
        self._ready.set()
        while not self._stop.is_set():
            poller.poll(max(0.0, min(self._agenda[0][0] - now, 0.2)) * 1000)
            now = time.monotonic()
            for line in self._lines.values():
                self._read(line, now)
            while self._agenda[0][0] <= now:
                heapq.heappop(self._agenda)[2]()
        for line in self._lines.values():
            line.close()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (time.monotonic() + seconds, next(self._count), act))

    def _read(self, line: Transport, now: float) -> None:
        for inbound in line.receive(now).messages:
            sender = self._holders.get(inbound.curve)
            if sender is None or inbound.channel != Channel.HEARTBEAT.value:
                continue
            if inbound.payload[:1] == Word.BEAT.value and len(inbound.payload) == BEAT_BYTES:
                self._heads[sender] = inbound.payload[:BEAT_HEAD]
            elif inbound.payload[:1] == Word.REFRESH.value:
                self._epoch = max(self._epoch, read(unpack(inbound.payload)[1])[0])
        line.tick(now)

    def _send(self, own: NodeKey, to: NodeKey, channel: Channel, payload: bytes) -> None:
        self._lines[own].send(self._daemons[to].curve, self._mesh, channel.value, payload)

    def _dial(self) -> None:
        """Whom one beats to, it dials."""
        self._after(DIAL_EVERY, self._dial)
        for own, line in self._lines.items():
            for observer in self._rings.observers(own):
                daemon = self._daemons.get(observer)
                if daemon is not None and not line.reaches(daemon.curve):
                    line.redial(daemon.curve, daemon.endpoints, None, time.monotonic())

    def _beat(self, own: NodeKey) -> None:
        self._after(BEAT_EVERY, partial(self._beat, own))
        for daemon in self._rings.observers(own):
            if daemon in self._heads:
                self._send(own, daemon, Channel.HEARTBEAT, self._heads[daemon] + bytes(BEAT_BYTES - BEAT_HEAD))

    def _repair(self, own: NodeKey) -> None:
        """As often as a daemon hears of it from all its neighbours together, who have as many others each."""
        self._after(REPAIR_EVERY * NEIGHBOURS, partial(self._repair, own))
        for daemon in self._heads:
            if own in self._rings.neighbours(daemon):
                root = Beat.unpack(self._heads[daemon] + bytes(BEAT_BYTES - BEAT_HEAD)).root
                self._send(own, daemon, Channel.MEMBERSHIP, pack(Word.ROOT, [root]))

    def _begin_epoch(self) -> None:
        self._after(EPOCH_EVERY, self._begin_epoch)
        self._epoch += 1
        for after, share in GATHERING:
            self._after(after, partial(self._tell, share, AT_ONCE if after else NEIGHBOURS))

    def _tell(self, share: float, count: int) -> None:
        ranks = Ranks.of(self.everybody)
        bits = sum(1 << rank for rank in range(len(ranks)) if self._random.random() < share)
        answers = _BITMAP.pack(self._epoch, 0) + bits.to_bytes(ranks.size, "little")
        payload = pack(Word.REFRESH, [_EPOCH.pack(self._epoch) + ranks.tag, answers])
        for daemon in self._daemons:
            near = [key for key in self._rings.neighbours(daemon) if key in self._lines]
            for own in self._random.sample(near, min(count, len(near))):
                self._send(own, daemon, Channel.HEARTBEAT, payload)
