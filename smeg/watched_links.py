"""The connections with watched members: one that ends is dialled again at once, and what comes of that is evidence.

A host that refuses where its daemon listened lives, and its daemon does not. A host that does not answer at all says
that it, or the way there, is gone. One that lets itself be connected with is simply back. An end by itself proves
nothing, nor does what happens while another connection with the member stands; clients are never dialled.

It is told what becomes of connections, and tells whom to dial and what to say; it moves nothing itself. Times are
monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from smeg import messages as m
from smeg.device import Endpoint
from smeg.keys import NodeKey
from smeg.switchboard import Switchboard

AGAIN = (1.0, 2.0)
"""seconds between two tries to reach a watched member: between these, at random."""
SOON = (0.03, 0.08)
"""seconds until it is tried again where a connection was taken and came to nothing: a process that is being killed
loses its connections a moment before it stops listening."""
SOON_TRIES = 4
"""How often that is done for one end of a connection."""
REMEMBERED = 2048
"""Keys of which is remembered where and when they were reached or tried last."""


class Outcome(Enum):
    """What an attempt at one place gave."""

    REFUSED = "refused"
    """The host said that nobody listens there."""
    SILENT = "silent"
    """Nothing came back."""
    TAKEN = "taken"
    """Somebody listens there, but no connection came about."""
    UNTRIED = "untried"
    """It could not be tried."""


@dataclass(frozen=True, slots=True)
class Redial:
    """Dial the holder of `curve` at once, at `place` before all others if there is one."""

    curve: bytes
    endpoints: tuple[Endpoint, ...]
    place: Endpoint | None


@dataclass(slots=True)
class _Trial:
    """A member that no connection reaches any more."""

    again: float
    """When it is dialled next."""
    endpoints: tuple[Endpoint, ...] = ()
    """What the dialling goes through."""
    outcomes: dict[Endpoint, Outcome] = field(default_factory=dict)
    """What this round through them gave."""
    soon: int = SOON_TRIES
    """How often it may still be tried again soon."""


@dataclass(slots=True)
class _Memory:
    place: Endpoint | None = None
    """Where it was reached, or its host spoke for it, last."""
    tried: float | None = None


class WatchedLinks:
    def __init__(self, switchboard: Switchboard, random: Random) -> None:
        self._switchboard = switchboard
        self._random = random
        self._watched: dict[str, frozenset[NodeKey]] = {}
        self._trials: dict[bytes, _Trial] = {}
        self._memories: OrderedDict[bytes, _Memory] = OrderedDict()

    # Who is watched.

    def watch(self, message: m.Watched) -> None:
        """The whole set of one mesh. The last counts, whatever its version: who began anew counts from one again."""
        self._watched[message.mesh] = frozenset(message.members)
        self._drop_unwatched()

    def mesh_stopped(self, mesh: str) -> None:
        self._watched.pop(mesh, None)
        self._drop_unwatched()

    def _drop_unwatched(self) -> None:
        for curve in [curve for curve in self._trials if not self._watchers(curve)]:
            del self._trials[curve]

    def _watchers(self, curve: bytes) -> list[tuple[str, NodeKey]]:
        """The meshes that watch the holder of a key, and who that is there."""
        nobody: frozenset[NodeKey] = frozenset()
        holders = self._switchboard.members_with(curve)
        return [(mesh, member) for mesh, member in holders if member in self._watched.get(mesh, nobody)]

    # What becomes of connections.

    def parted(self, curve: bytes, now: float) -> None:
        """The last connection with this key ended, and not by our doing."""
        if curve in self._trials or not self._watchers(curve) or not self._switchboard.places(curve):
            return
        tried = self._memory(curve).tried
        # Who takes connections and drops them at once is not dialled in a circle.
        soon = tried is not None and now < tried + AGAIN[0]
        self._trials[curve] = _Trial(now + self._wait() if soon else now)

    def reached(self, curve: bytes) -> None:
        """A connection with this key stands, whoever made it."""
        self._trials.pop(curve, None)

    def connected(self, curve: bytes, place: Endpoint) -> list[m.LinkRestored]:
        """A connection that we made stands; who is reached again by it."""
        self._memory(curve).place = place
        restored = self._watchers(curve) if curve in self._trials else []
        self.reached(curve)
        return [m.LinkRestored(mesh, member) for mesh, member in restored]

    def tried(self, curve: bytes, place: Endpoint, outcome: Outcome, now: float) -> list[m.LinkRefused | m.LinkSilent]:
        """No connection came about there, and none stands: what that says to those who watch."""
        trial = self._trials.get(curve)
        if trial is None:
            return []
        if outcome is Outcome.TAKEN and trial.soon:
            trial.soon -= 1
            trial.again = min(trial.again, now + self._random.uniform(*SOON))
        memory = self._memory(curve)
        if memory.place is None:
            outcome = self._of_all(trial, place, outcome)
            if outcome is not Outcome.REFUSED:
                return []
            memory.place = place
        elif place != memory.place:
            return []
        match outcome:
            case Outcome.REFUSED:
                return [m.LinkRefused(mesh, member) for mesh, member in self._watchers(curve)]
            case Outcome.SILENT:
                return [m.LinkSilent(mesh, member) for mesh, member in self._watchers(curve)]
        return []

    def _of_all(self, trial: _Trial, place: Endpoint, outcome: Outcome) -> Outcome:
        """Of one that we never reached ourselves: `REFUSED` once all places are tried and all that answer refuse."""
        trial.outcomes[place] = outcome
        if not trial.endpoints or any(endpoint not in trial.outcomes for endpoint in trial.endpoints):
            return Outcome.UNTRIED
        outcomes, trial.outcomes = set(trial.outcomes.values()), {}
        if Outcome.TAKEN in outcomes or Outcome.REFUSED not in outcomes:
            return Outcome.UNTRIED
        return Outcome.REFUSED

    # Whom to dial.

    def due(self, now: float) -> list[Redial]:
        """Those to be dialled now; each is due again later until it is reached or no longer watched."""
        found = []
        for curve in [curve for curve, trial in self._trials.items() if now >= trial.again]:
            endpoints = self._switchboard.places(curve)
            if not endpoints or not self._watchers(curve):
                del self._trials[curve]
                continue
            self._trials[curve].again = now + self._wait()
            memory = self._memory(curve)
            memory.tried = now
            found.append(Redial(curve, endpoints, memory.place))
        return found

    def trying(self, curve: bytes, endpoints: tuple[Endpoint, ...]) -> None:
        """These are what a `Redial` goes through, as far as they could be used, in the spelling of outcomes."""
        if trial := self._trials.get(curve):
            trial.endpoints = endpoints
            memory = self._memory(curve)
            if endpoints and memory.place not in endpoints:
                # It has moved since: what is said at the old place is not about it.
                memory.place = None

    def next_deadline(self) -> float | None:
        """When somebody is due."""
        return min((trial.again for trial in self._trials.values()), default=None)

    def _wait(self) -> float:
        return self._random.uniform(*AGAIN)

    def _memory(self, curve: bytes) -> _Memory:
        memory = self._memories.get(curve)
        if memory is None:
            memory = self._memories[curve] = _Memory()
            if len(self._memories) > REMEMBERED:
                self._memories.popitem(last=False)
        else:
            self._memories.move_to_end(curve)
        return memory
