"""The book that `Node` keeps of its actors: who lives where, who failed how often, who is still to end.

A plain object in one actor's hands; it starts and stops actors but decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Directory, Role
from smeg import messages as m
from smeg.backoff import Backoff
from smeg.errors import Problem

Place = tuple[Role, str]
"""A role and a mesh id, the latter empty for the daemon's own actors."""
Make = Callable[[int], Actor]
"""Makes an actor for an incarnation."""
PASSING = 30.0
"""seconds after which a passing problem is over if nobody said it again."""
KEPT_PROBLEMS = 10


@dataclass(slots=True)
class Entry:
    address: Address | None
    backoff: Backoff
    state: str = "running"
    last_error: str = ""


class Supervision:
    def __init__(self, runtime: Runtime, node: Address) -> None:
        self._runtime = runtime
        self._node = node
        self._entries: dict[Place, Entry] = {}
        self._incarnation = 0
        self._version = 0
        self._passing: dict[Problem, float] = {}
        self.problems: list[Problem] = []
        """What a person should know beside the actors' states."""

    def start(self, place: Place, make: Make) -> None:
        """Put a new actor in a place; `publish` makes it known."""
        self._incarnation += 1
        incarnation = self._incarnation
        address = self._runtime.spawn(lambda: make(incarnation))
        entry = self._entries.setdefault(place, Entry(None, Backoff(self._runtime.random(f"backoff {place}"))))
        entry.address, entry.state = address, "running"

    def directory(self) -> Directory:
        """A new version of who lives where."""
        self._version += 1
        places = {place: entry.address for place, entry in self._entries.items() if entry.address is not None}
        return Directory(self._version, {**places, (Role.NODE, ""): self._node})

    def addresses(self, places: Iterable[Place]) -> list[Address]:
        """Those of these places that are alive."""
        found = (self._entries[place].address for place in places if place in self._entries)
        return [address for address in found if address is not None]

    def everybody(self) -> list[Address]:
        return self.addresses(self._entries)

    def place_of(self, name: str, incarnation: int) -> Place | None:
        """Whose this name and incarnation are now; None for one that was replaced."""
        for place, entry in self._entries.items():
            if entry.address is not None and entry.address.name == name and entry.address.incarnation == incarnation:
                return place
        return None

    def ended(self, name: str, incarnation: int) -> None:
        """An actor has stopped, or is given up."""
        place = self.place_of(name, incarnation)
        if place is not None:
            self._entries[place].address = None

    def failed(self, place: Place, problem: Problem, now: float) -> float:
        """An actor raised; seconds to wait before it is started again."""
        entry = self._entries[place]
        entry.address, entry.state, entry.last_error = None, "restarting", problem.message
        return entry.backoff.failed(now)

    def note(self, problem: Problem) -> None:
        """Add to what a person should know; the oldest gives way."""
        if problem not in self.problems:
            self.problems = [*self.problems[1 - KEPT_PROBLEMS :], problem]

    def resolve(self, code: str) -> None:
        """What has this code is over."""
        self.problems = [problem for problem in self.problems if problem.code != code]

    def note_passing(self, problem: Problem, now: float) -> None:
        """Add what counts only while it goes on being said: see `calm`."""
        self._passing[problem] = now
        while len(self._passing) > KEPT_PROBLEMS:
            del self._passing[min(self._passing, key=lambda known: self._passing[known])]

    def calm(self, now: float) -> bool:
        """Drop what was not said again lately; whether there was any."""
        before = len(self._passing)
        self._passing = {problem: at for problem, at in self._passing.items() if now < at + PASSING}
        return len(self._passing) < before

    def forget(self, places: Iterable[Place]) -> None:
        for place in places:
            self._entries.pop(place, None)

    def report(self) -> m.Supervised:
        """What `status` shows."""
        self._version += 1
        actors = tuple(
            m.ActorState(
                f"{place[0].value}@{place[1][:8]}" if place[1] else place[0].value,
                entry.state,
                entry.backoff.total,
                entry.last_error,
            )
            for place, entry in self._entries.items()
        )
        return m.Supervised(self._version, actors, (*self.problems, *self._passing))
