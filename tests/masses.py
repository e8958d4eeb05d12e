"""Small masses of simulated nodes for tests: what must hold at every moment, and a look at everything that is sent.

Nothing here fails a test but `Checked`, whose invariants hold whatever befalls the nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from scenarios.at_size import Mass
from scenarios.network import Station
from smeg.keys import NodeKey
from smeg.messages import Channel


class Checked(Mass):
    """A mass of which nobody is ever removed, whose inboxes stay shallow and whose epochs only grow."""

    def __init__(self, seed: int, peers: int, clients: int = 0, **settings: Any) -> None:
        super().__init__(seed, peers, clients, **settings)
        self.clients = self.nodes[peers:]
        self.deep = 200
        """messages that may wait for one actor; more where hosts stand still."""
        self.words: Counter[tuple[Channel, bytes]] = Counter()
        """Channel and first byte → how many were sent."""
        self.strangers: set[tuple[str, str]] = set()
        """Who sent to whom without a connection, or dialled."""
        self._epochs: dict[NodeKey, int] = {}
        self._deliver = self.network.send
        # Looked at where it is sent, whatever becomes of it.
        vars(self.network)["send"] = self._send

    def _send(self, source: Station, target: Station, mesh: str, channel: Channel, payload: bytes) -> None:
        self.words[channel, payload[:1]] += 1
        if source.heard.get(target.curve) != target.starts:
            self.strangers.add((source.name, target.name))
        self._deliver(source, target, mesh, channel, payload)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        end = self.runtime.time + seconds
        while self.runtime.time < end:
            held = super().run(min(1.0, end - self.runtime.time), until)
            self.check()
            if held:
                return True
        return until is not None and until()

    def check(self) -> None:
        for node in self.living:
            witness = node.witness
            if witness.members is not None:
                assert len(witness.members.members) == len(self.nodes), "dead is not removed"
                assert not witness.members.quarantined
            assert node.key not in witness.silent, "nobody thinks itself dead"
            assert witness.epoch >= self._epochs.get(node.key, 0)
            self._epochs[node.key] = witness.epoch
        assert self.deepest_inbox() < self.deep

    def restart_all(self) -> None:
        """All daemons end and start again at one moment."""
        nodes = self.living
        self.kill(nodes)
        self._epochs.clear()
        self.restart(nodes)

    def whole(self) -> bool:
        """Whether all the living think all the living alive and only the dead dead, and follow one leader."""
        return self.at_rest() and self.one_leader() is not None and len(self.roots()) == 1

    def removes(self) -> int:
        """Removes that any replica holds."""
        replicas = [node.membership.ledger.replica for node in self.living]
        return sum(len(replica.evicts) + len(replica.leaves) for replica in replicas)


def made(peers: int = 40, clients: int = 0, seed: int = 1, **settings: Any) -> Checked:
    """At rest, and nobody ever thought anybody dead."""
    mass = Checked(seed, peers, clients, **settings)
    mass.warm_up()
    assert mass.whole()
    assert mass.chronicle.false == []
    return mass
