"""What is measured in the simulated world: trials of one mesh of a size, under one seed and one rate of loss.

Each trial plays a story and gives an `Outcome`: for every event how long who took to know, and what was counted. The
targets are no business of a trial's; `bench` has them.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from actors.virtual import WALL_START
from scenarios.at_size import Mass, Node
from scenarios.chronicle import Event
from scenarios.joined_meshes import hundred
from scenarios.outcomes import Known, Outcome
from scenarios.routing_trials import topologies
from smeg.ledger import Ledger
from smeg.wire import Word, unpack

LIMIT = 12.0
"""seconds of virtual time after which an event counts as not known to who does not know it."""
BITMAPS = "bytes a second a node, of that bitmaps"
REST = 3.0
"""seconds of virtual time between two events."""


class Stage:
    """A mesh at rest, what is played on it, and what has been found so far."""

    def __init__(self, outcome: Outcome, mass: Mass) -> None:
        self.outcome = outcome
        self.mass = mass
        mass.network.loss = outcome.loss
        self.started = time.process_time()
        mass.warm_up()

    def wait(self, name: str, event: Event, limit: float = LIMIT) -> None:
        """Until all know of an event; then some rest, and the events so far are over."""
        self.mass.run(limit, lambda: self.mass.is_known(event))
        self.outcome.known[name] = Known.of(self.mass.samples(event))
        self.mass.chronicle.forget()
        self.mass.run(REST)

    def count(self, name: str, value: float) -> None:
        self.outcome.counts[name] = value

    def end(self) -> Outcome:
        """Note what must hold after every trial."""
        mass, count = self.mass, self.count
        count("false deaths", len({(death.subject, round(death.at, 1)) for death in mass.chronicle.false}))
        count("removed members", self.lost_members())
        count("invariants broken, node seconds", mass.broken.total())
        count("longest without one leader, seconds", mass.longest_disagreement)
        count("different replicas", len(mass.roots()) - 1)
        count("leaders that differ", 0 if mass.one_leader() is not None else 1)
        count("deepest inbox", mass.deepest_inbox())
        count("cpu seconds", time.process_time() - self.started)
        return self.outcome

    def lost_members(self) -> int:
        """The most members that any node has forgotten."""
        known = [node.witness.members for node in self.mass.living]
        everybody = len(self.mass.nodes)
        return max(everybody - (0 if seen is None else len(seen.members)) for seen in known)


def faults(members: int, seed: int, loss: float, again: float = 1.0) -> Outcome:
    """News, then deaths of all kinds, one after another. Unless `again` is 0, all come back in the end, and 30 % of all
    die right after."""
    stage = Stage(Outcome("faults", members, seed, loss), Mass(seed, members))
    mass = stage.mass
    stage.wait("one update", mass.change_record(mass.sample(0)[0]))
    stage.wait("one crash", mass.crash(mass.sample(0)))
    stage.wait("1 % crash at once", mass.crash(mass.sample(0.01)))
    stage.wait("10 % crash at once", mass.crash(mass.sample(0.1)))
    stage.wait("1 % of the daemons killed", mass.kill(mass.sample(0.01)))
    lowest = _line(mass)
    stage.wait("the leader and the next two crash", mass.crash(lowest[:3]))
    stage.count("another leads than the next in line", 0 if mass.one_leader() == lowest[3].key else 1)
    if not again:
        return stage.end()
    stage.wait("all are started again", mass.restart(sorted(mass.gone, key=lambda node: node.name)), 30.0)
    stage.wait("30 % crash right after", mass.crash(mass.sample(0.3)), 30.0)
    return stage.end()


def third(members: int, seed: int, loss: float) -> Outcome:
    """30 % of a mesh at rest die at once."""
    stage = Stage(Outcome("third", members, seed, loss), Mass(seed, members))
    stage.wait("30 % crash at once", stage.mass.crash(stage.mass.sample(0.3)), 30.0)
    return stage.end()


def _line(mass: Mass) -> list[Node]:
    """The living in the order in which they would lead."""
    return sorted(mass.living, key=lambda node: node.key)


def quiet(members: int, seed: int, loss: float, seconds: float = 600.0) -> Outcome:
    """Nothing happens for ten minutes; what that costs, and whether anybody is thought dead."""
    stage = Stage(Outcome("quiet", members, seed, loss), Mass(seed, members))
    mass = stage.mass
    before = [(node.station.messages, node.station.volume) for node in mass.nodes]
    began = time.process_time()
    mass.run(seconds)
    stage.count("cpu seconds for a virtual minute", (time.process_time() - began) * 60.0 / seconds)
    after = [(node.station.messages, node.station.volume) for node in mass.nodes]
    volumes = [(b[1] - a[1]) / seconds for a, b in zip(before, after, strict=True)]
    said = sum(b[0] - a[0] for a, b in zip(before, after, strict=True))
    stage.count("messages a second a node", said / seconds / members)
    stage.count("bytes a second a node, mean", sum(volumes) / members)
    stage.count("bytes a second a node, max", max(volumes))
    stage.count("virtual seconds", seconds)
    return stage.end()


def slow(members: int, seed: int, loss: float) -> Outcome:
    """One node in twenty stands still every 20 s, for lognormal times with a median of 1 s, for three minutes."""
    stage = Stage(Outcome("slow", members, seed, loss), Mass(seed, members))
    mass = stage.mass
    stalling = mass.sample(0.05)
    mass.stall_now_and_then(stalling, every=20.0, median=1.0, sigma=1.0, seconds=180.0)
    mass.run(180.0)
    stage.count("nodes that stall", len(stalling))
    stage.count("stalls", mass.stalls)
    stage.count("stalls longer than 3 s", mass.long_stalls)
    stage.count("stalling nodes ever thought dead", len(mass.chronicle.excused_deaths))
    back = mass.run(60.0, mass.at_rest)
    stage.count("stalling nodes that did not recover", 0 if back else 1)
    return stage.end()


def partition(members: int, seed: int, loss: float, share: float, seconds: float = 600.0) -> Outcome:
    """Some are cut off from the others for ten minutes."""
    stage = Stage(Outcome(f"partition {share:.0%}", members, seed, loss), Mass(seed, members))
    mass = stage.mass
    small = mass.sample(share)
    large = [node for node in mass.nodes if node not in small]
    began = mass.runtime.time
    sides = dict(zip(("smaller", "larger"), zip((small, large), mass.part(small, large), strict=True), strict=True))
    mass.run(60.0, lambda: all(event.complete(set(mass.keys(nodes))) for nodes, event in sides.values()))
    for name, (nodes, event) in sides.items():
        stage.outcome.known[f"{name} side knows"] = Known.of(event.samples(set(mass.keys(nodes))))
    mass.run(began + seconds - mass.runtime.time)
    for name, (nodes, event) in sides.items():
        lowest = min(mass.keys(nodes))
        stage.count(f"{name} side: who follows another", sum(node.witness.leader != lowest for node in nodes))
        wrong = sum(node.witness.silent != event.subjects for node in nodes)
        stage.count(f"{name} side: who thinks others dead", wrong)
    healed = mass.runtime.time
    mass.heal()
    mass.run(60.0, mass.at_rest)
    stage.count("seconds from healing until all know all alive", mass.runtime.time - healed)
    mass.run(60.0, lambda: len(mass.roots()) == 1)
    mass.run(REST)
    return stage.end()


def refresh(members: int, seed: int, loss: float, interval: float = 5.0) -> Outcome:
    """The fast path is switched off: the refresh finds all deaths by itself."""
    mass = Mass(seed, members, fast_detection=False, heartbeat_interval=interval)
    stage = Stage(Outcome(f"refresh alone every {interval:g} s", members, seed, loss), mass)
    mass.run(4 * interval)
    patience = 6 * interval
    stage.wait("one crash", mass.crash(_not_the_leader(mass, 0)), patience)
    stage.wait("10 % crash at once", mass.crash(_not_the_leader(mass, 0.1)), patience)
    stage.wait("the leader crashes", mass.crash(_line(mass)[:1]), patience)
    return stage.end()


def _not_the_leader(mass: Mass, share: float) -> list[Node]:
    leader = _line(mass)[0]
    return [node for node in mass.sample(share) if node is not leader] or [_line(mass)[-1]]


def size(members: int, seed: int, loss: float) -> Outcome:
    """What one more node costs: idle traffic, connections, memory."""
    stage = Stage(Outcome("size", members, seed, loss), Mass(seed, members))
    mass = stage.mass
    before = mass.network.volume, mass.network.messages
    interval = 20.0
    payloads = mass.network.payloads = Counter()
    mass.run(interval)
    mass.network.payloads = None
    stage.count("bytes a second a node", (mass.network.volume - before[0]) / interval / members)
    stage.count(BITMAPS, payloads[Word.REFRESH.value] / interval / members)
    stage.count("messages a second a node", (mass.network.messages - before[1]) / interval / members)
    degrees = [len(node.station.heard) for node in mass.nodes]
    stage.count("connections of a node, mean", sum(degrees) / members)
    stage.count("connections of a node, max", max(degrees))
    news = mass.change_record(mass.sample(0)[0])
    stage.wait("one update", news)
    stage.wait("one crash", mass.crash(mass.sample(0)))
    return stage.end()


def repair(members: int, seed: int, loss: float) -> Outcome:
    """Two replicas differ in some records: what their conversation costs until they are equal."""
    outcome = Outcome("repair", members, seed, loss)
    mass = Mass(seed, members)
    for changes in (1, 10, 100):
        left, right = mass.ledger(mass.mesh), mass.ledger(mass.mesh)
        for node in mass.chance.sample(mass.nodes, changes):
            left.take([mass.next_record(node, left.replica.records[node.key])], WALL_START)
        said, documents, messages = converse(left, right)
        assert left.replica == right.replica
        outcome.counts[f"{changes} differ: bytes beside the records"] = said
        outcome.counts[f"{changes} differ: bytes of records"] = documents
        outcome.counts[f"{changes} differ: messages"] = messages
    return outcome


def converse(left: Ledger, right: Ledger) -> tuple[int, int, int]:
    """Let two ledgers repair each other: bytes beside the documents, bytes of documents, messages."""
    said = documents = messages = 0
    waiting = deque([(right, left, left.repair.opening())])
    while waiting:
        hearer, speaker, payload = waiting.popleft()
        messages += 1
        word, items = unpack(payload)
        if word is Word.DOCUMENTS:
            documents += len(payload)
            incomplete = hearer.take(items, WALL_START).incomplete
            if incomplete:
                waiting.append((speaker, hearer, hearer.repair.need(sorted(incomplete))))
            continue
        said += len(payload)
        waiting.extend((speaker, hearer, answer) for answer in hearer.repair.answer(word, items))
    return said, documents, messages


Trial = Callable[..., Outcome]
TRIALS: Mapping[str, Trial] = {
    trial.__name__: trial
    for trial in (faults, third, quiet, slow, partition, refresh, size, repair, topologies, hundred)
}
