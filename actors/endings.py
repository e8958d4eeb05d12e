"""What `Node` does later: when actors that were told to end have done so, or when a time has come.

A plain object in one actor's hands, as `supervision` is; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from actors.base import Address
from actors.supervision import Place, Supervision
from actors.wiring import Role
from smeg.core import Message

STAGES: tuple[tuple[tuple[Role, ...], float], ...] = (
    ((Role.CONTROL,), 2.0),
    ((Role.MESH, Role.HEARTBEAT), 2.0),
    ((Role.MEMBERSHIP,), 2.0),
    ((Role.DEVICE,), 8.0),
    ((Role.ROUTING, Role.PROBER, Role.DNS, Role.METRICS), 1.0),
    ((Role.GOSSIP,), 3.0),
    ((Role.STORE,), 5.0),
)
"""The order of stopping, and the seconds that each stage may take: nobody speaks to what has ended before it."""
GROUP_LIMIT = 8.0
"""seconds that the actors of one mesh may take to end."""
Then = Callable[[float], Iterable[Message]]
"""What follows, told the time."""


@dataclass(slots=True)
class Stopping:
    """Actors that were told to end."""

    waiting: set[tuple[str, int]]
    """Name and incarnation of each that has not."""
    deadline: float
    then: Then = field(repr=False)


@dataclass(slots=True)
class Later:
    """Something to do at a time."""

    at: float
    do: Then = field(repr=False)


class Endings:
    def __init__(self, book: Supervision) -> None:
        self._book = book
        self._stoppings: list[Stopping] = []
        self._later: list[Later] = []

    def next_deadline(self) -> float | None:
        deadlines = [stopping.deadline for stopping in self._stoppings] + [later.at for later in self._later]
        return min(deadlines, default=None)

    def stop(self, places: Iterable[Place], limit: float, now: float, then: Then) -> Iterable[Message]:
        """Tell these to end; `then` follows when all have, or when the time is up."""
        addresses = self._book.addresses(places)
        for address in addresses:
            address.stop()
        waiting = {(address.name, address.incarnation) for address in addresses}
        if not waiting:
            return then(now)
        self._stoppings.append(Stopping(waiting, now + limit, then))
        return []

    def after(self, wait: float, now: float, do: Then) -> None:
        self._later.append(Later(now + wait, do))

    def forget(self) -> None:
        """Nothing of all that counts any more."""
        self._later.clear()
        self._stoppings.clear()

    def waits_for(self, name: str, incarnation: int) -> bool:
        return any((name, incarnation) in stopping.waiting for stopping in self._stoppings)

    def wait_also(self, name: str, incarnation: int, other: Address) -> None:
        """Whatever waits for the end of one waits for that of another too."""
        for stopping in self._stoppings:
            if (name, incarnation) in stopping.waiting:
                stopping.waiting.add((other.name, other.incarnation))

    def ended(self, name: str, incarnation: int, now: float) -> list[Message]:
        """One has ended; what follows from that."""
        out: list[Message] = []
        for stopping in list(self._stoppings):
            stopping.waiting.discard((name, incarnation))
            if not stopping.waiting:
                self._stoppings.remove(stopping)
                out += stopping.then(now)
        return out

    def tick(self, now: float) -> list[Message]:
        """What is due."""
        out: list[Message] = []
        for later in [item for item in self._later if item.at <= now]:
            self._later.remove(later)
            out += later.do(now)
        for stopping in [item for item in self._stoppings if item.deadline <= now]:
            self._stoppings.remove(stopping)
            for name, incarnation in sorted(stopping.waiting):
                # It is given up: whatever it does later, its place is free.
                self._book.ended(name, incarnation)
            out += stopping.then(now)
        return out
