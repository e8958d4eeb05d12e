"""The story of a run as it goes on: what became of each host and when, and once a second who leads, how many are
thought alive, and what was sent. It looks, and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from statistics import median_low
from typing import Any

from scenarios import actions as a
from scenarios.script import Script
from scenarios.stage import Deed, Stage
from scenarios.truth import Standing, Truth

MOST_SAMPLES = 1200
"""Of a run; when there are more, every second one goes, and from then on they are twice as far apart."""
MOST_TURNS = 100_000
"""Changes of hosts, and likewise deeds, that are kept; of later ones nothing is said."""
OUTSIDE = "outside"
"""A host whose daemon is up and in no mesh."""


class Story:
    def __init__(self, script: Script, truth: Truth, stage: Stage) -> None:
        self._truth = truth
        self._stage = stage
        self._meshes = tuple(script.meshes)
        self._is: dict[str, str] = {}
        self._before: list[list[Any]] = []
        self._turns: list[tuple[float, str, str]] = []
        self._deeds: list[tuple[float, int, bool]] = []
        self._samples: list[list[Any]] = []
        self._every, self._skipped = 1, 0
        self._sent: dict[str, tuple[int, int]] = {}
        self._looked_at = 0.0

    def begin(self) -> None:
        """The world is at rest."""
        self._is = {host: self._state(host) for host in self._truth.hosts}
        self._before = self._topology()
        self._sent = dict(self._stage.sent())
        self._look(0.0)

    def done(self, deed: Deed, event: int, now: float) -> None:
        """A deed of the event at this place in the timeline was done."""
        if len(self._deeds) < MOST_TURNS:
            self._deeds.append((round(now, 6), event, deed.undo))
        # A clock may end the membership of those whose clocks went wrong before.
        hosts = self._truth.hosts if isinstance(deed.action, a.Clock) else deed.hosts
        for host in hosts:
            state = self._state(host)
            if state != self._is[host]:
                self._is[host] = state
                if len(self._turns) < MOST_TURNS:
                    self._turns.append((round(now, 6), host, state))

    def look(self) -> None:
        """A second is over."""
        self._skipped += 1
        if self._skipped >= self._every:
            self._look(self._stage.now)

    def record(self) -> dict[str, Any]:
        """For the record of a run, as JSON values."""
        return {
            "meshes": self._meshes,
            "before": self._before,
            "after": self._topology(),
            "turns": self._turns,
            "deeds": self._deeds,
            "samples": self._samples,
        }

    def _look(self, now: float) -> None:
        self._skipped = 0
        sent = self._stage.sent()
        gone = {host: self._sent.get(host, (0, 0)) for host in sent}
        spent = {host: max(0, volume - gone[host][1]) for host, (_, volume) in sent.items()}
        seconds = now - self._looked_at
        self._samples.append([
            round(now, 3),
            sum(max(0, count - gone[host][0]) for host, (count, _) in sent.items()),
            sum(spent.values()),
            round(max(spent.values(), default=0) / seconds) if seconds else 0,
            [self._mesh(mesh) for mesh in self._meshes],
        ])  # fmt: skip
        self._sent, self._looked_at = dict(sent), now
        if len(self._samples) > MOST_SAMPLES:
            self._thin()

    def _thin(self) -> None:
        """Of each two samples the later one remains, with what both have counted."""
        first, *rest = self._samples
        kept = [first]
        for one, other in zip(rest[::2], rest[1::2], strict=False):
            busiest = max(one[3], other[3])
            kept.append([other[0], one[1] + other[1], one[2] + other[2], busiest, other[4]])
        self._samples = kept + ([rest[-1]] if len(rest) % 2 else [])
        self._every *= 2

    def _mesh(self, mesh: str) -> list[Any]:
        """Whom most follow, and how many; how many members there are, and are up; how many of them are thought alive at
        the least, by the one in the middle, and at the most."""
        running = self._truth.those_running(mesh)
        members = self._truth.members[mesh]
        views = [seen for seen in (self._stage.seen(host, mesh) for host in running) if seen is not None]
        votes = Counter(seen.leader for seen in views if seen.leader is not None)
        leader = min(votes, key=lambda one: (-votes[one], one)) if votes else None
        opinions = Counter(seen.silent for seen in views)
        thought = sorted(
            len(members) - len(members & silent) for silent, count in opinions.items() for _ in range(count)
        )  # fmt: skip
        spread = [thought[0], median_low(thought), thought[-1]] if thought else [0, 0, 0]
        return [leader, votes[leader] if leader is not None else 0, len(members), len(running), *spread]

    def _state(self, host: str) -> str:
        standing = self._truth.standing[host]
        member = any(host in members for members in self._truth.members.values())
        return standing.value if member or standing in (Standing.OFF, Standing.DOWN) else OUTSIDE

    def _topology(self) -> list[list[Any]]:
        """Of each host: what it is, the places of its meshes, and the peer that carries it."""
        truth = self._truth
        return [
            [
                self._state(host),
                [place for place, mesh in enumerate(self._meshes) if host in truth.members[mesh]],
                self._stage.carrier(host) if truth.roles[host] == "client" and truth.running(host) else None,
            ]
            for host in truth.hosts
        ]
