"""Where packets between real hosts really go: whether they arrive, who passes them on, and whether any go around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from scenarios.echoes import HOPS, Ended, Outcome
from scenarios.reactor import Reactor
from scenarios.real_hosts import RealHost
from scenarios.stage import Way

MOST_HOPS = 12
ANSWERS = {"reply": "arrived", "unreachable": "no way on", "exceeded": "its hop limit is reached"}


class RealPackets:
    def __init__(self, reactor: Reactor, hosts: Mapping[str, RealHost], patience: float) -> None:
        """`patience`: seconds after which a packet counts as lost."""
        self._reactor = reactor
        self._hosts = hosts
        self.patience = patience
        self.addresses: dict[tuple[str, str], str] = {}
        """In the overlay, by name and mesh, as anybody has known them."""
        self._ended: dict[str, int] = {}
        """By host: packets that ended there by their hop limits."""

    def begin(self) -> None:
        self._ended = {name: host.ended_by_hop_limit() for name, host in self._hosts.items()}

    def send(self, sender: str, to: str, ended: Ended) -> None:
        """One packet from a host to another; nothing is said of one that is lost."""
        address = self.address(sender, to)
        if address:
            self._echo(sender, address, HOPS, ended)

    def address(self, sender: str, to: str) -> str:
        """Of a host in the first mesh that it shares with the sender, or in its first; empty if it has none."""
        own = [mesh for name, mesh in self.addresses if name == to]
        shared = [mesh for mesh in own if (sender, mesh) in self.addresses]
        return next((self.addresses[to, mesh] for mesh in (*shared, *own)), "")

    def _echo(self, sender: str, address: str, hops: int, ended: Ended) -> None:
        pinger = self._hosts[sender].pinger
        assert pinger is not None, "the stage is set up"
        pinger.send(address, hops, ended)

    def deliver(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        """One packet between each of these, all at once: whether it is answered."""
        found: dict[int, Outcome] = {}
        for number, (sender, to) in enumerate(pairs):
            address = self.address(sender, to)
            if address:
                self._echo(sender, address, HOPS, partial(found.__setitem__, number))
            else:
                found[number] = Outcome("unreachable", "")
        self._reactor.run(self.patience, lambda: len(found) == len(pairs))
        return [self._way(sender, to, found.get(number)) for number, (sender, to) in enumerate(pairs)]

    def _way(self, sender: str, to: str, outcome: Outcome | None) -> Way:
        if outcome is None:
            return Way((sender,), False, "no answer")
        if outcome.what == "reply":
            return Way((sender, to), True, ANSWERS["reply"])
        if outcome.what == "failed":
            return Way((sender,), False, outcome.who)
        return Way((sender, *self._named([outcome.who])), False, ANSWERS[outcome.what])

    def trace(self, sender: str, address: str) -> Way:
        """By packets with rising hop limits: who answers for each hop."""
        if not address:
            return Way((sender,), False, "has no address")
        found: dict[int, Outcome] = {}
        before = {name: host.ended_by_hop_limit() for name, host in self._hosts.items()}
        for hops in range(1, MOST_HOPS + 1):
            self._echo(sender, address, hops, partial(found.__setitem__, hops))

        def is_over() -> bool:
            last = min((hops for hops, one in found.items() if one.what != "exceeded"), default=None)
            return last is not None and all(hops in found for hops in range(1, last))

        self._reactor.run(self.patience, is_over)
        # Of those that ended by their hop limits as many as were sent were meant to.
        for name, host in self._hosts.items():
            self._ended[name] = self._ended.get(name, 0) + min(MOST_HOPS, host.ended_by_hop_limit() - before[name])
        return self._traced_way(sender, found)

    def _traced_way(self, sender: str, found: Mapping[int, Outcome]) -> Way:
        who: list[str] = []
        for hops in range(1, MOST_HOPS + 1):
            one = found.get(hops)
            if one is None:
                return Way((sender, *self._named(who)), False, f"no answer from hop {hops}")
            if one.what == "failed":
                return Way((sender,), False, one.who)
            who.append(one.who)
            if one.what != "exceeded":
                # Who cannot send it on may have been seen one hop before.
                return Way((sender, *dict.fromkeys(self._named(who))), one.what == "reply", ANSWERS[one.what])
        return Way((sender, *self._named(who)), False, "it goes on and on")

    def _named(self, addresses: Sequence[str]) -> list[str]:
        names = {address: name for (name, _), address in self.addresses.items()}
        return [names.get(address, address) for address in addresses]

    def where_packets_went_around(self) -> list[str]:
        """Hosts at which packets ended by their hop limits since the last look."""
        found = []
        for name, host in self._hosts.items():
            count = host.ended_by_hop_limit()
            if count > self._ended.get(name, count):
                found.append(name)
            self._ended[name] = count
        return found
