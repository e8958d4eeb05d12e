"""Who knew what when: what the consoles of all simulated hosts hear, against what really befell the hosts.

A run says what it does (`died`, `returned`, `slow`); the consoles say what each node comes to think. From both follow
how long each node took to know, and whom it thought dead who was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from smeg import messages as m
from smeg.core import Message
from smeg.keys import NodeKey

LATE_NEWS = 0.5
"""seconds after somebody's return in which news of its death may still arrive: it was true when it was said."""


@dataclass(slots=True)
class Witness:
    """What one node thinks, as its console heard last."""

    name: str
    key: NodeKey
    chronicle: Chronicle
    silent: frozenset[NodeKey] = frozenset()
    down: frozenset[NodeKey] = frozenset()
    leader: NodeKey | None = None
    epoch: int = 0
    epoch_at: float = 0.0
    members: m.MembersChanged | None = None

    def hear(self, message: Message) -> None:
        match message:
            case m.LivenessChanged():
                self.chronicle.judge(self, message)
            case m.EpochSeen():
                self.epoch, self.epoch_at = message.epoch, self.chronicle.now()
            case m.MembersChanged():
                self.members = message
                self.chronicle.met(self, message)


@dataclass(slots=True)
class Event:
    """Something that all nodes should come to know about some."""

    at: float
    subjects: frozenset[NodeKey]
    known: dict[NodeKey, dict[NodeKey, float]] = field(default_factory=dict)
    """Subject → knower → seconds after the event."""
    strangers: frozenset[NodeKey] = frozenset()
    """Those who have nothing to learn from it."""

    def note(self, subject: NodeKey, knower: NodeKey, now: float) -> None:
        self.known.setdefault(subject, {}).setdefault(knower, now - self.at)

    def samples(self, knowers: set[NodeKey]) -> list[float]:
        """How long each of these took to know of each subject; infinite for who does not know."""
        nothing: dict[NodeKey, float] = {}
        return [
            self.known.get(subject, nothing).get(knower, float("inf"))
            for subject in sorted(self.subjects)
            for knower in sorted(knowers)
            if knower != subject
        ]

    def complete(self, knowers: set[NodeKey]) -> bool:
        return all(
            subject in self.known and knowers - {subject} <= self.known[subject].keys() for subject in self.subjects
        )


@dataclass(frozen=True, slots=True)
class FalseDeath:
    """A node thought somebody dead who was not."""

    at: float
    knower: NodeKey
    subject: NodeKey


class Chronicle:
    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        """Virtual seconds."""
        self.dead: set[NodeKey] = set()
        """Hosts or daemons that are down."""
        self._back_at: dict[NodeKey, float] = {}
        self.apart: dict[NodeKey, int] = {}
        """Sides of a partition: each may think the others dead."""
        self.excused: set[NodeKey] = set()
        """Who may be thought dead though it lives, and what it thinks does not count: it stands still now and then."""
        self.false: list[FalseDeath] = []
        self.excused_deaths: Counter[NodeKey] = Counter()
        self.deaths: list[Event] = []
        self.returns: list[Event] = []
        self.updates: dict[NodeKey, tuple[int, Event]] = {}
        """The counter of the record that is waited for."""

    # What befell the hosts.

    def died(self, subjects: frozenset[NodeKey]) -> Event:
        self.dead |= subjects
        self.deaths.append(Event(self.now(), subjects))
        return self.deaths[-1]

    def died_for(self, subjects: frozenset[NodeKey]) -> Event:
        """They live, but those on another side of a partition should think them dead."""
        self.deaths.append(Event(self.now(), subjects))
        return self.deaths[-1]

    def parted(self, apart: dict[NodeKey, int]) -> None:
        self.apart = apart

    def returned(self, subjects: frozenset[NodeKey]) -> Event:
        """From now on they should be thought alive."""
        self.dead -= subjects
        self._back_at.update(dict.fromkeys(subjects, self.now()))
        self.returns.append(Event(self.now(), subjects))
        return self.returns[-1]

    def updated(self, subject: NodeKey, counter: int) -> Event:
        event = Event(self.now(), frozenset({subject}))
        self.updates[subject] = (counter, event)
        return event

    def forget(self) -> None:
        """The events so far are over."""
        self.deaths.clear()
        self.returns.clear()
        self.updates.clear()

    # What the nodes think.

    def judge(self, witness: Witness, message: m.LivenessChanged) -> None:
        silent, before = message.silent, witness.silent
        witness.leader, witness.silent, witness.down = message.leader, silent, message.down
        if silent == before:
            return
        now, knower = self.now(), witness.key
        for subject in sorted(silent - before):
            for event in self.deaths:
                if subject in event.subjects:
                    event.note(subject, knower, now)
            late = now < self._back_at.get(subject, -LATE_NEWS) + LATE_NEWS
            if subject not in self.dead and not late and self._together(knower, subject):
                if knower in self.excused or subject in self.excused:
                    self.excused_deaths[subject] += 1
                else:
                    self.false.append(FalseDeath(now, knower, subject))
        for event in self.returns:
            for subject in event.subjects & (before - silent):
                event.note(subject, knower, now)

    def met(self, witness: Witness, message: m.MembersChanged) -> None:
        for subject, (counter, event) in self.updates.items():
            member = message.members.get(subject)
            if member is not None and member.record.counter >= counter:
                event.note(subject, witness.key, self.now())

    def _together(self, a: NodeKey, b: NodeKey) -> bool:
        return self.apart.get(a, 0) == self.apart.get(b, 0)
