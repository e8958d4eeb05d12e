"""The made-up network: who can reach whom, how fast, and with what faults. Everything follows from the run's seed.

A message is lost, doubled or late by itself; connections are those of TCP where it matters: a new one comes about only
where both ways are open, and whatever is said on it waits for the handshake; nobody reaches a host that dials out only
unless it has dialled; and what a host says of a port where nobody listens is told to who asks. Faults are plain verbs:
`partition`, `cut`, `heal`, and the numbers `loss`, `duplicate`, `straggle`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from math import exp
from random import Random
from statistics import NormalDist
from typing import Protocol

from actors.virtual import VirtualRuntime
from smeg.device import Endpoint
from smeg.messages import Channel

MEDIAN_LATENCY = 0.040
SIGMA = 0.5
"""One-way latency is lognormal: median in seconds, and the deviation of its logarithm."""
OVERHEAD = 80
"""bytes of TCP, IP, CURVE and ZMTP that a message costs beside its payload."""
HANDSHAKE = 4.0
"""one-way trips until messages leave on a new connection: TCP and CURVE."""
STRAGGLE = 20.0
"""how many times longer a straggler is on its way at most."""
_DRAWS = 1 << 14


class State(Enum):
    """What answers at a host's gossip port."""

    LISTENING = "listening"
    REFUSING = "refusing"
    """The host lives, its daemon does not."""
    OFF = "off"


class Receiver(Protocol):
    """What a station hands its arrivals to."""

    def arrive(self, curve: bytes, mesh: str, channel: Channel, payload: bytes) -> None: ...

    def connection_reset(self, curve: bytes) -> None:
        """A connection with this key was reset by its host."""


@dataclass(slots=True)
class Link:
    """What is wrong with one host's link."""

    own_delay: float = 0.0
    own_loss: float = 0.0
    """What it is like by itself, either way: the seconds that each message takes longer, the part that is lost."""
    added_delay: float = 0.0
    added_loss: float = 0.0
    """What comes to that for a while."""
    cut: bool = False
    mute: bool = False
    """Whether nothing arrives of what it sends."""
    deaf: bool = False
    """Whether nothing reaches it."""

    @property
    def delay(self) -> float:
        return self.own_delay + self.added_delay

    @property
    def loss(self) -> float:
        return self.own_loss + self.added_loss - self.own_loss * self.added_loss


class Station:
    """One host's place in the network."""

    __slots__ = (
        "curve",
        "heard",
        "lately",
        "link",
        "linked",
        "messages",
        "name",
        "opening",
        "receiver",
        "side",
        "starts",
        "state",
        "volume",
        "watchers",
    )

    def __init__(self, name: str, curve: bytes) -> None:
        self.name = name
        self.curve = curve
        self.state = State.OFF
        self.receiver: Receiver | None = None
        self.link: Link | None = None
        """Its own troubles, if it has any."""
        self.side = 0
        """Of a partition."""
        self.starts = 0
        """How often a daemon began to listen here."""
        self.heard: dict[bytes, int] = {}
        """Keys with whom a connection was made, and with which start of theirs: it stands while that is the last."""
        self.opening: dict[bytes, float] = {}
        """When the handshakes of new ones are over, in virtual seconds."""
        self.lately: dict[bytes, Station] = {}
        """Of keys that several hosts have: who of them said something last."""
        self.linked: dict[bytes, tuple[Station, int]] = {}
        """Of such keys: to whom of them, at which start of its, a connection goes from here."""
        self.watchers: dict[str, Receiver] = {}
        """By host: who wants to know when connections with this one are reset."""
        self.messages = 0
        self.volume = 0
        """Messages, and bytes, sent from here so far."""


class Network:
    def __init__(self, runtime: VirtualRuntime, median: float = MEDIAN_LATENCY, sigma: float = SIGMA) -> None:
        self.runtime = runtime
        self.loss = 0.0
        """Part of all messages that never arrive."""
        self.duplicate = 0.0
        """Part that arrives twice."""
        self.straggle = 0.0
        """Part that takes up to `STRAGGLE` times as long, so that later ones overtake it."""
        self.blocked: set[tuple[str, str]] = set()
        """Pairs of host names, one way each."""
        self.payloads: Counter[bytes] | None = None
        """bytes of payloads by their first one, which says what they are; counted if there is a counter."""
        self.recorder: Callable[[str, str, bytes], None] | None = None
        """Is told of every message: who sends, to whom, what."""
        self._closed: set[tuple[int, int]] = set()
        """Pairs of sides, one way each."""
        self._random = Random(f"{runtime.seed}/network")
        self._draw = self._random.random
        # Quantiles drawn at random: a lognormal variate at the price of an index.
        quantile = NormalDist().inv_cdf
        self._latencies = [median * exp(sigma * quantile((k + 0.5) / _DRAWS)) for k in range(_DRAWS)]
        self._stations: dict[bytes, Station] = {}
        self._named: dict[str, Station] = {}
        self._places: dict[str, Station] = {}
        """By address."""
        self.shared: set[bytes] = set()
        """Keys that several hosts have."""
        self.unsteady = False
        """Whether there are any, or somebody has moved: then who is reached may be another one each time."""

    @property
    def messages(self) -> int:
        return sum(station.messages for station in self._named.values())

    @property
    def volume(self) -> int:
        """bytes sent so far."""
        return sum(station.volume for station in self._named.values())

    # Stations.

    def station(self, curve: bytes, name: str, address: str) -> Station:
        """The place of the host that holds this key; made at the first call."""
        found = self._stations.get(curve)
        if found is None:
            found = self._stations[curve] = self._named[name] = Station(name, curve)
            self._places[address] = found
        return found

    def share_key(self, station: Station, curve: bytes) -> None:
        """This host has the key of another from now on."""
        self._stations = {key: one for key, one in self._stations.items() if one is not station}
        station.curve = curve
        self.unsteady = True
        if curve not in self.shared:
            self.shared.add(curve)
            first = self._stations[curve]
            for other in self._named.values():
                if other.heard.get(curve) == first.starts:
                    other.linked[curve] = first, first.starts

    def find(self, curve: bytes, endpoints: tuple[Endpoint, ...] = (), source: Station | None = None) -> Station | None:
        """Who is reached under a key. Of several with one key: to whom a connection goes from `source`, as long as it
        stands; then who is dialled, and then who said something last."""
        first = self._stations.get(curve)
        if curve not in self.shared or source is None:
            return first
        linked, starts = source.linked.get(curve, (None, 0))
        if linked is not None and linked.state is State.LISTENING and linked.starts == starts:
            return linked
        dialled = [place for place in map(self._places.get, (one.host for one in endpoints)) if place is not None]
        able = [one for one in (*dialled, source.lately.get(curve), first) if one is not None and one.curve == curve]
        found = next((one for one in able if one.state is State.LISTENING), None)
        if found is not None and endpoints:
            source.linked[curve] = found, found.starts
        return found or first

    def listen(self, station: Station, receiver: Receiver) -> None:
        station.state, station.receiver = State.LISTENING, receiver
        station.starts += 1
        station.heard.clear()

    def refuse(self, station: Station) -> None:
        """The daemon is gone and its host lives: connections are reset, and new ones refused."""
        station.state, station.receiver = State.REFUSING, None
        for name in sorted(station.watchers):
            watcher = station.watchers[name]
            if (other := self._named.get(name)) is not None and not self._cut_off(station, other):
                self.runtime.call(self.runtime.time + self.latency(), watcher.connection_reset, station.curve)
        station.heard.clear()

    def power_off(self, station: Station) -> None:
        """The host is gone: nothing is said."""
        station.state, station.receiver = State.OFF, None
        station.heard.clear()

    def forget(self, station: Station) -> None:
        """Its connections are gone, and nobody has noticed: whoever sends next makes a new one, if it can."""
        for other in self._named.values():
            other.heard.pop(station.curve, None)
        station.heard.clear()

    def move(self, station: Station, address: str) -> None:
        """A host that is dialled has another address from now on, and its connections are gone."""
        self._places = {place: one for place, one in self._places.items() if one is not station}
        self._places[address] = station
        self.unsteady = True
        self.forget(station)

    def leads(self, endpoints: tuple[Endpoint, ...], station: Station) -> bool:
        """Whether who dials one of these finds this host."""
        return any(self._places.get(endpoint.host) is station for endpoint in endpoints)

    def host_at(self, endpoint: Endpoint) -> str | None:
        """The name of the host that is there."""
        found = self._places.get(endpoint.host)
        return found.name if found is not None else None

    # Verbs.

    def partition(self, *groups: Iterable[bytes]) -> None:
        """Groups of CURVE keys that cannot reach each other; whoever is in none is a group by itself."""
        self._sides(*groups)
        sides = range(len(groups) + 1)
        self._closed = {(a, b) for a in sides for b in sides if a != b}

    def cut(self, source: Iterable[bytes], target: Iterable[bytes]) -> None:
        """One way only: nothing of what the first group says reaches the second."""
        self._sides(source, target)
        self._closed = {(1, 2)}

    def heal(self) -> None:
        """Undo `partition` and `cut`."""
        self._sides()
        self._closed.clear()
        self.blocked.clear()

    def _sides(self, *groups: Iterable[bytes]) -> None:
        for station in self._named.values():
            station.side = 0
        for number, group in enumerate(groups, start=1):
            for curve in group:
                self._stations[curve].side = number

    def _cut_off(self, source: Station, target: Station) -> bool:
        if source.link is not None and (source.link.cut or source.link.mute):
            return True
        if target.link is not None and (target.link.cut or target.link.deaf):
            return True
        if source.side != target.side and (source.side, target.side) in self._closed:
            return True
        return bool(self.blocked) and (source.name, target.name) in self.blocked

    # Moving.

    def passes(self, source: Station, target: Station) -> bool:
        """Whether packets between two hosts pass, both ways: whatever listens there or not."""
        if State.OFF in (source.state, target.state):
            return False
        if any(one.link is not None and one.link.loss >= 1 for one in (source, target)):
            return False
        return not self._cut_off(source, target) and not self._cut_off(target, source)

    def latency(self) -> float:
        """One way, in seconds."""
        return self._latencies[int(self._draw() * _DRAWS)]

    def probe(self, source: Station, curve: bytes, endpoints: tuple[Endpoint, ...]) -> State:
        """What somebody finds who dials: whoever cannot be reached both ways seems to be off."""
        target = self.find(curve, endpoints, source)
        places = [self._places.get(endpoint.host) for endpoint in endpoints]
        if target is None or not any(place is not None and place.curve == curve for place in places):
            return State.OFF
        if self._cut_off(source, target) or self._cut_off(target, source):
            return State.OFF
        return target.state

    def send(self, source: Station, target: Station, mesh: str, channel: Channel, payload: bytes) -> None:
        """One message on its way, if nothing befalls it."""
        source.messages += 1
        source.volume += len(payload) + OVERHEAD
        if self.payloads is not None:
            self.payloads[payload[:1]] += len(payload)
        if self.recorder is not None:
            self.recorder(source.name, target.name, payload)
        if self.shared and source.curve in self.shared:
            target.lately[source.curve] = source
        if target.receiver is None or self._cut_off(source, target):
            return
        draw = self._draw
        if self.loss and draw() < self.loss:
            return
        delay = self._latencies[int(draw() * _DRAWS)]
        for link in (source.link, target.link):
            if link is not None:
                if link.loss and draw() < link.loss:
                    return
                delay += link.delay
        time = self.runtime.time
        if source.heard.get(target.curve) != target.starts:
            if self._cut_off(target, source):
                return
            source.heard[target.curve] = target.starts
            target.heard[source.curve] = source.starts
            source.opening[target.curve] = target.opening[source.curve] = time + delay * HANDSHAKE
        if source.opening and (opened := source.opening.get(target.curve)) is not None:
            if opened > time:
                delay += opened - time
            else:
                del source.opening[target.curve]
        if self.straggle and draw() < self.straggle:
            delay *= 1.0 + draw() * STRAGGLE
        self.runtime.call(time + delay, _arrive, (target, source.curve, mesh, channel, payload))
        if self.duplicate and draw() < self.duplicate:
            self.runtime.call(time + delay + self.latency(), _arrive, (target, source.curve, mesh, channel, payload))


def _arrive(arrival: tuple[Station, bytes, str, Channel, bytes]) -> None:
    target, curve, mesh, channel, payload = arrival
    if target.receiver is not None:
        target.receiver.arrive(curve, mesh, channel, payload)
