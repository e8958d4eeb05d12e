"""Thousands of simulated nodes and what befalls them: crashes, kills, cuts, stalls, loss.

`Mass` is a world with a mesh of any size that has been there for long, and the verbs of faults with the events that
follow from them. Of the real actors only the device's is left out: what it would plan costs the square of the number
of nodes, and nothing here depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import exp
from random import Random
from typing import Any

from actors.base import Actor, Address
from actors.runtime import INBOX_BOUND
from actors.wiring import Role
from scenarios.chronicle import Chronicle, Event, Witness
from scenarios.population import populate
from scenarios.simulation import Host, World
from scenarios.stand_ins import NoDevice
from smeg import messages as m
from smeg.core import Message
from smeg.keys import NodeKey
from smeg.membership import Membership
from smeg.records import OwnRecord, Record, seal_record

MESH = "demo"
LONG = 3.0
"""seconds; who stands still for longer may be thought dead."""
STEP = 0.1
"""seconds between two looks at whether something has come about."""
WARM_UP = 12.0
"""seconds until a mesh that has been started is at rest: newcomers have been heard, epochs are running."""


class Node(Host):
    """A host whose console is a witness."""

    witness: Witness
    _device = NoDevice

    def hear(self, message: Message) -> None:
        if isinstance(message, m.Reply):
            self.replies[message.ticket] = message
        else:
            self.witness.hear(message)

    def tell(self, role: Role, message: Message) -> None:
        Address(self._actor(role)).tell(message)

    @property
    def membership(self) -> Membership:
        """For looking at."""
        core = vars(self._actor(Role.MEMBERSHIP))["core"]
        assert isinstance(core, Membership)
        return core

    def _actor(self, role: Role) -> Actor:
        found = (inbox.actor for inbox in self.runtime.inboxes if inbox.actor is not None)
        return next(actor for actor in found if actor.role is role)


class Mass(World):
    """A mesh of `peers` and `clients`, at rest."""

    def __init__(self, seed: int, peers: int, clients: int = 0, **settings: Any) -> None:
        self.chronicle = Chronicle(lambda: self.runtime.time)
        super().__init__(seed, peers + clients, **settings)
        self.runtime.tracing = False
        self.chance = Random(f"{seed}/faults")
        self.nodes: list[Node] = [host for host in self.hosts if isinstance(host, Node)]
        self.by_key = {node.key: node for node in self.nodes}
        self.mesh = populate(self, self.nodes, self.nodes[peers:], MESH)
        self.gone: set[Node] = set()
        self.broken: Counter[str] = Counter()
        """What must always hold and did not, by the second."""
        self._disagree = 0.0
        self.longest_disagreement = 0.0
        """seconds in which the living of one side did not all follow one leader that lives."""
        self.stalls = 0
        self.long_stalls = 0
        """Those longer than `LONG`."""

    def make_host(self, number: int) -> Host:
        host = Node(self, number)
        host.witness = Witness(host.name, host.key, self.chronicle)
        return host

    def warm_up(self) -> None:
        for node in self.nodes:
            node.start()
        self.run(WARM_UP)
        self._look()

    def _look(self) -> None:
        """See every second whether what must always hold does."""
        self.runtime.at(self.runtime.time + 1.0, self._look)
        leaders: dict[int, set[NodeKey | None]] = {}
        for node in self.living:
            witness = node.witness
            if witness.members is not None and len(witness.members.members) != len(self.nodes):
                self.broken["members removed"] += 1
            if node.key in witness.silent:
                self.broken["thinks itself dead"] += 1
            if node.key not in self.chronicle.excused:
                leaders.setdefault(self.chronicle.apart.get(node.key, 0), set()).add(witness.leader)
        if self.deepest_inbox() >= INBOX_BOUND:
            self.broken["full inboxes"] += 1
        dead = self.keys(self.gone)
        agreed = all(
            len(followed) == 1 and not followed & {None, *dead} and self._sides(followed) == {side}
            for side, followed in leaders.items()
        )
        self._disagree = 0.0 if agreed else self._disagree + 1.0
        self.longest_disagreement = max(self.longest_disagreement, self._disagree)

    def _sides(self, keys: Iterable[NodeKey | None]) -> set[int]:
        """On which sides of a partition these are."""
        return {self.chronicle.apart.get(key, 0) for key in keys if key is not None}

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """As `World.run`; `until` is asked every `STEP`, because it has thousands to ask."""
        if until is None:
            return super().run(seconds)
        end = self.runtime.time + seconds
        while self.runtime.time < end:
            super().run(min(STEP, end - self.runtime.time))
            if until():
                return True
        return False

    @property
    def living(self) -> list[Node]:
        return [node for node in self.nodes if node not in self.gone]

    def keys(self, nodes: Iterable[Node]) -> frozenset[NodeKey]:
        return frozenset(node.key for node in nodes)

    # Faults, and the events that follow from them.

    def sample(self, share: float) -> list[Node]:
        """So much of the living, drawn from the seed."""
        return self.chance.sample(self.living, max(1, round(share * len(self.living))))

    def crash(self, nodes: Iterable[Node]) -> Event:
        """Their hosts are gone at once."""
        return self._end(list(nodes), Node.crash)

    def kill(self, nodes: Iterable[Node]) -> Event:
        """As kill -9: their daemons are gone, their hosts say so."""
        return self._end(list(nodes), Node.kill)

    def _end(self, nodes: list[Node], how: Callable[[Node], None]) -> Event:
        for node in nodes:
            how(node)
        self.gone.update(nodes)
        return self.chronicle.died(self.keys(nodes))

    def restart(self, nodes: Iterable[Node]) -> Event:
        """Start those again that had ended, with their disks."""
        back = list(nodes)
        for node in back:
            node.witness.silent = frozenset()
            node.start()
        self.gone.difference_update(back)
        event = self.chronicle.returned(self.keys(back))
        event.strangers = event.subjects
        return event

    def part(self, *groups: Sequence[Node]) -> list[Event]:
        """A partition: for each group the event that its members should come to know."""
        self.network.partition(*([node.station.curve for node in group] for group in groups))
        self.chronicle.parted({node.key: number for number, group in enumerate(groups, 1) for node in group})
        everybody = self.keys(self.living)
        return [self.chronicle.died_for(everybody - self.keys(group)) for group in groups]

    def heal(self) -> Event:
        self.network.heal()
        self.chronicle.parted({})
        return self.chronicle.returned(self.keys(self.living))

    def stall_now_and_then(
        self, nodes: Iterable[Node], every: float, median: float, sigma: float, seconds: float
    ) -> None:
        """For some time these stand still again and again, each time for a lognormal time (all in seconds)."""
        end = self.runtime.time + seconds
        for node in nodes:
            self.chronicle.excused.add(node.key)
            self._stall_later(node, every, median, sigma, end)

    def _stall_later(self, node: Node, every: float, median: float, sigma: float, end: float) -> None:
        def stall() -> None:
            length = median * exp(self.chance.gauss(0.0, sigma))
            if self.runtime.time < end and node not in self.gone:
                self.stalls += 1
                self.long_stalls += length > LONG
                node.stall(length)
                self.runtime.at(self.runtime.time + length + self.chance.expovariate(1.0 / every), stall)

        self.runtime.at(self.runtime.time + self.chance.expovariate(1.0 / every), stall)

    def change_record(self, node: Node) -> Event:
        """The node says something new of itself."""
        assert node.witness.members is not None, "it has started"
        record = node.witness.members.members[node.key].record
        event = self.chronicle.updated(node.key, record.counter + 1)
        node.tell(Role.MEMBERSHIP, m.Publish(self.mesh, (self.next_record(node, record),)))
        return event

    def next_record(self, node: Node, record: Record) -> bytes:
        """What the node would sign after this record, saying something else."""
        said = OwnRecord(record.name, record.gossip, record.wireguard, record.keepalive + 1)
        return seal_record(self.mesh, said, record.counter + 1, record.credential, node.identity, node.key).raw

    # What is so.

    def knowers(self) -> set[NodeKey]:
        """The living whose word counts."""
        return {node.key for node in self.living} - self.chronicle.excused

    def is_known(self, event: Event) -> bool:
        return event.complete(self.knowers() - event.strangers)

    def samples(self, event: Event) -> list[float]:
        return event.samples(self.knowers() - event.strangers)

    def one_leader(self) -> NodeKey | None:
        """Whom all the living think to lead, if they agree and it lives."""
        leaders = {node.witness.leader for node in self.living}
        leader = leaders.pop() if len(leaders) == 1 else None
        return leader if leader is not None and self.by_key[leader] not in self.gone else None

    def at_rest(self) -> bool:
        """Whether every living node thinks exactly the dead dead."""
        dead = self.keys(self.gone)
        return all(node.witness.silent == dead for node in self.living)

    def roots(self) -> set[bytes]:
        """The digests of the replicas of the living: one when all are equal."""
        return {node.membership.ledger.replica.digest.of() for node in self.living}

    def deepest_inbox(self) -> int:
        """The most messages that ever waited for one actor."""
        return max(inbox.high for node in self.nodes for inbox in node.runtime.inboxes)
