"""Where packets between real hosts really go: whether they arrive, who passes them on, and whether any go around."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from scenarios.echoes import HOPS, Ended, Outcome
from scenarios.reactor import Reactor
from scenarios.real_hosts import RealHost
from scenarios.stage import Way

MOST_HOPS = 12
TRIES = 2
"""packets for one hop that nobody answers."""
ANSWERS = {"reply": "arrived", "unreachable": "no way on", "exceeded": "its hop limit is reached"}


class _Trace:
    """By packets whose hop limits rise, one after another: who answers for each hop."""

    def __init__(self, echo: Callable[[int, Ended], None]) -> None:
        self._echo = echo
        self.passed: list[str] = []
        """Addresses of those that passed it on, and of who was the last to answer."""
        self.last: Outcome | None = None
        """How it ended."""
        self.sent = 0

    @property
    def over(self) -> bool:
        return self.last is not None or len(self.passed) == MOST_HOPS

    def ask(self) -> None:
        """For the next hop, or for the same again."""
        if not self.over:
            self.sent += 1
            hop = len(self.passed) + 1
            self._echo(hop, partial(self._answered, hop))

    def _answered(self, hop: int, outcome: Outcome) -> None:
        if self.over or hop != len(self.passed) + 1:
            return
        if outcome.what != "failed":
            self.passed.append(outcome.who)
        if outcome.what == "exceeded":
            self.ask()
        else:
            self.last = outcome


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
        self._echo(sender, self.address(sender, to), HOPS, ended)

    def address(self, sender: str, to: str) -> str:
        """Of a host in the first mesh that it shares with the sender, or in its first; empty if it has none."""
        own = [mesh for name, mesh in self.addresses if name == to]
        shared = [mesh for mesh in own if (sender, mesh) in self.addresses]
        return next((self.addresses[to, mesh] for mesh in (*shared, *own)), "")

    def _echo(self, sender: str, address: str, hops: int, ended: Ended) -> None:
        if not address:
            ended(Outcome("failed", "has no address"))
            return
        pinger = self._hosts[sender].pinger
        assert pinger is not None, "the stage is set up"
        pinger.send(address, hops, ended)

    def deliver(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        """One packet between each of these, all at once: whether it is answered."""
        found: dict[int, Outcome] = {}
        for number, (sender, to) in enumerate(pairs):
            self._echo(sender, self.address(sender, to), HOPS, partial(found.__setitem__, number))
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

    def trace(self, wanted: Sequence[tuple[str, str]]) -> list[Way]:
        """The whole ways from hosts to addresses, all at once."""
        before = {name: host.ended_by_hop_limit() for name, host in self._hosts.items()}
        traces = [_Trace(partial(self._echo, sender, address)) for sender, address in wanted]
        for _ in range(TRIES):
            for trace in traces:
                trace.ask()
            self._reactor.run(self.patience / TRIES, lambda: all(trace.over for trace in traces))
            if all(trace.over for trace in traces):
                break
        # Of the packets that ended by their hop limits as many as were sent for it were meant to.
        meant = sum(trace.sent for trace in traces)
        for name, host in self._hosts.items():
            self._ended[name] = self._ended.get(name, 0) + min(meant, host.ended_by_hop_limit() - before[name])
        return [self._traced(sender, trace) for (sender, _), trace in zip(wanted, traces, strict=True)]

    def _traced(self, sender: str, trace: _Trace) -> Way:
        # Who cannot send it on may have been seen one hop before.
        names = tuple(dict.fromkeys([sender, *self._named(trace.passed)]))
        match trace.last:
            case None if len(trace.passed) == MOST_HOPS:
                return Way(names, False, "it goes on and on")
            case None:
                return Way(names, False, f"no answer from hop {len(trace.passed) + 1}")
            case Outcome("failed", why):
                return Way(names, False, why)
            case Outcome(what):
                return Way(names, what == "reply", ANSWERS[what])

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
