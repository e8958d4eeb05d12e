"""Who watches whom: beats, the silence of those watched, and when enough observers agree that somebody is dead.

Again and again a node beats to its observers. Who is silent for longer than its patience is accused, to the other
observers only; at least two accusers, and half of all observers with those that died lately, make a verdict. A node
that stood still itself accuses nobody for what it missed, and says in its beats how long it stood still, so that others
are patient with it. It only judges: sending, and what follows from a verdict, is `heartbeat`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.rings import Rings
from smeg.verdicts import Kind, Verdicts

BEAT_EVERY = 0.7
"""seconds: four beats in a row have to be lost before anybody is accused. More of them cost all in proportion, and find
the dead no sooner."""
MOST_PATIENCE = 12.0
"""seconds that anybody is waited for."""
PER_STALL = 1.5
"""How much longer than its worst stall of late somebody may be silent."""
STALLED = 2 * BEAT_EVERY
"""seconds by which an own tick may be late; beyond it this node stood still, and judges nobody by what it missed."""
STALLS_KEPT = 60.0
"""seconds for which an own stall is told."""
NEWCOMER = 10.0
"""seconds more for somebody whose first beat has not come."""
ACCUSE_AGAIN = 1.0
"""seconds between two accusations of one subject: one may be lost."""
ACCUSATION = 2.5
"""seconds for which one counts."""
ACCUSERS = 2
QUORUM = 4
"""of eight observers; of fewer, half of them."""
DIFFERS = 1.4
"""seconds for which a replica may differ before it is repaired: news is on its way."""
REPAIR_AGAIN = 5.0
"""seconds between two repairs with one subject."""
_BEAT = struct.Struct(">cQ8sII")
BEAT_BYTES = _BEAT.size
"""24, and the word before them."""
BEAT_HEAD = BEAT_BYTES - 4
"""All but the stall."""


@dataclass(frozen=True, slots=True)
class Beat:
    """24 bytes: what a node says of itself with every beat."""

    epoch: int
    root: bytes
    """The digest of its replica."""
    claims: int
    """The tag of the claims that it holds for true."""
    stall: float
    """seconds; its worst of late."""

    def pack(self, word: bytes) -> bytes:
        stall = min(round(self.stall * 1000), 2**32 - 1)
        return _BEAT.pack(word, self.epoch, self.root, self.claims, stall)

    @staticmethod
    def stall_in(payload: bytes) -> float:
        """seconds."""
        return int.from_bytes(payload[BEAT_HEAD:], "big") / 1000

    @classmethod
    def unpack(cls, payload: bytes) -> Beat:
        """Raises `RemoteError`."""
        if len(payload) != BEAT_BYTES:
            raise RemoteError("malformed", f"a beat of {len(payload)} bytes")
        _, epoch, root, claims, stall = _BEAT.unpack(payload)
        return cls(epoch, root, claims, stall / 1000)


class Edge:
    """One member that is watched."""

    __slots__ = ("claims_differ_at", "heard_at", "overdue", "patience", "root_differs_at")

    def __init__(self, heard_at: float, patience: float) -> None:
        self.heard_at = heard_at
        """When it was heard last; later than now for one that has time until its first beat."""
        self.patience = patience
        self.overdue = False
        self.root_differs_at: float | None = None
        self.claims_differ_at: float | None = None
        """Since when it has known something else; later than now after a repair."""


@dataclass(frozen=True, slots=True)
class Accusation:
    """An observer finds a subject dead: by silence (`GONE`), or because its host refused (`DOWN`)."""

    subject: NodeKey
    kind: Kind


class Watch:
    """`suspect_after` in seconds: the least patience with anybody. `learns`, too: what one has more that is back."""

    def __init__(self, own: NodeKey, suspect_after: float, verdicts: Verdicts, learns: float = NEWCOMER) -> None:
        self._own = own
        self._suspect_after = suspect_after
        self._learns = learns
        self._verdicts = verdicts
        self._rings = Rings.of(())
        self._all_met = 0.0
        self._dead_before: set[NodeKey] = set()
        """Who was thought dead when it was arranged last who watches whom."""
        self._met: dict[NodeKey, float] = {}
        """Until when somebody counts as new here."""
        self._wards: set[NodeKey] = set()
        """Watched until their daemons went down: their hosts are looked after until they return or lapse."""
        self._accusations: dict[Accusation, dict[NodeKey, float]] = {}
        self._accused: dict[Accusation, float] = {}
        """By this node itself: when it is said again."""
        self._stall = (0.0, 0.0)
        """The worst of late, and when it was."""
        self._due: float | None = None
        self._check_at: float | None = None
        self.edges: dict[NodeKey, Edge] = {}

    # Members.

    def meet_all(self, now: float, is_client: bool) -> None:
        """Nobody was known before. A client judges nobody, and should soon go to others if it is not heard."""
        self._all_met = now + (self._suspect_after if is_client else NEWCOMER)

    def meet(self, new: Iterable[NodeKey], now: float, time: float = NEWCOMER) -> None:
        """Somebody became known: it may not know yet who its observers are, and has so many seconds to learn it."""
        until = now + time
        self._met = {key: before for key, before in self._met.items() if before > now}
        self._met.update(dict.fromkeys(new, until))

    def _meet_returned(self, back: set[NodeKey], now: float) -> None:
        if back:
            self.meet(back, now, self._learns)

    def arrange(self, rings: Rings, now: float) -> None:
        """Watch whom the rings say. Who was watched before goes on to be, with the time that has passed."""
        self._rings = rings
        dead = set(self._verdicts.dead)
        # Whose daemon was started anew does not know yet who is dead, and so not who watches it in their place.
        self._meet_returned(self._dead_before - dead, now)
        self._dead_before = dead
        edges: dict[NodeKey, Edge] = {}
        fresh: set[NodeKey] = set()
        for key in rings.subjects(self._own, self._verdicts.dead):
            edge = self.edges.get(key)
            if edge is None:
                edge = Edge(max(now, self._all_met, self._met.get(key, now)), self._suspect_after)
                fresh.add(key)
            edges[key] = edge
        self._wards |= {key for key in self.edges if key not in edges and self._verdicts.is_down(key)}
        self._wards = {key for key in self._wards if self._verdicts.is_down(key)}
        self.edges = edges
        # Who is watched anew has come back: what was said of it before is over.
        self._accused = {known: at for known, at in self._accused.items() if self._stands(known, fresh)}
        self._accusations = {known: by for known, by in self._accusations.items() if self._stands(known, fresh)}
        self._plan(now)

    def _stands(self, accusation: Accusation, fresh: set[NodeKey]) -> bool:
        subject = accusation.subject
        if subject in self.edges:
            return subject not in fresh
        return subject in self._wards and accusation.kind is Kind.GONE

    def _concerns(self, key: NodeKey) -> bool:
        return key in self.edges or key in self._wards

    @property
    def watched(self) -> tuple[NodeKey, ...]:
        """The members whose connections tell something."""
        return tuple(sorted({*self.edges, *self._wards}))

    # Beats.

    def begin(self, at: float) -> None:
        """The first beat is due then."""
        self._due = at

    def due(self, now: float) -> bool:
        """Whether to beat now. Notes when this node itself stood still."""
        if self._due is None or now < self._due:
            return False
        late = now - self._due
        self._due = now + BEAT_EVERY
        if self._met and now > max(self._met.values()):
            self._met = {}
        if self._stood_still(late):
            worst, at = self._stall
            if late >= worst or at < now - STALLS_KEPT:
                self._stall = (late, now)
            self._judge_nobody(now)
        self._plan(now)
        return True

    def was_cut_off(self, now: float) -> None:
        """This node heard nobody at all for so long that it would accuse everybody, and now it hears somebody. Others
        that were cut off as long accuse the same, and they would believe each other.
        """
        self._judge_nobody(now)
        self._plan(now)

    def _stood_still(self, late: float) -> bool:
        return late > STALLED

    def _judge_nobody(self, now: float) -> None:
        for edge in self.edges.values():
            edge.heard_at = max(edge.heard_at, now)
            edge.overdue = False
        self._accused.clear()
        self._accusations.clear()

    def stall(self, now: float) -> float:
        """seconds; the worst of late."""
        worst, at = self._stall
        return worst if at >= now - STALLS_KEPT else 0.0

    def heard(self, edge: Edge, subject: NodeKey, stall: float, now: float) -> None:
        """A subject lives, and tells its worst stall."""
        edge.heard_at = now
        edge.patience = self._patience(stall)
        if edge.overdue:
            edge.overdue = False
            self._acquit(subject)

    def hears(self, key: NodeKey | None, now: float) -> bool:
        """Whether somebody beats to this node; who has just begun to be watched has not been heard."""
        edge = self.edges.get(key) if key is not None else None
        return edge is not None and not edge.overdue and edge.heard_at <= now < edge.heard_at + edge.patience

    def _acquit(self, subject: NodeKey) -> None:
        """What this node and others held against somebody is over: it was heard, or has just come back."""
        for kind in (Kind.DOWN, Kind.GONE):
            self._accused.pop(Accusation(subject, kind), None)
            self._accusations.pop(Accusation(subject, kind), None)

    def _patience(self, stall: float) -> float:
        return min(MOST_PATIENCE, max(self._suspect_after, PER_STALL * stall))

    def differs(self, since: float | None, same: bool, now: float) -> tuple[float | None, bool]:
        """Since when something has differed, and whether to repair it now."""
        if same:
            return None, False
        if since is None:
            return now, False
        if now - since < DIFFERS:
            return since, False
        return now + REPAIR_AGAIN - DIFFERS, True

    # Silence.

    def next_deadline(self) -> float | None:
        if self._check_at is None:
            return self._due
        return self._check_at if self._due is None else min(self._due, self._check_at)

    def _plan(self, now: float) -> None:
        """When the first subject can be overdue, or an accusation is said again: nothing heard makes it earlier."""
        soonest = [edge.heard_at + edge.patience for edge in self.edges.values() if not edge.overdue]
        self._check_at = min((*soonest, *self._accused.values()), default=None)

    def accuse(self, now: float) -> list[Accusation]:
        """Those to be said to the other observers now."""
        if self._check_at is None or now < self._check_at:
            return []
        if self._due is not None and now > self._due + STALLED:
            # The late tick comes first: it may be this node that stood still.
            return []
        for key, edge in self.edges.items():
            if not edge.overdue and now >= edge.heard_at + edge.patience:
                edge.overdue = True
                self._accused[Accusation(key, Kind.GONE)] = now
        said = [accusation for accusation, at in self._accused.items() if at <= now]
        for accusation in said:
            self._accused[accusation] = now + ACCUSE_AGAIN
        self._plan(now)
        return said

    def refused(self, key: NodeKey, now: float) -> bool:
        """The host of a subject says that its daemon is down; whether that is to be said to the other observers."""
        edge = self.edges.get(key)
        if edge is not None:
            edge.overdue = True
        # The host lives, whatever was thought before.
        self._accused.pop(Accusation(key, Kind.GONE), None)
        return self._evidence(key, Kind.DOWN, edge is not None, now)

    def unreachable(self, key: NodeKey, now: float) -> bool:
        """The host of one whose daemon is down has fallen silent; likewise."""
        counts = key in self._wards or Accusation(key, Kind.DOWN) in self._accused
        return self._evidence(key, Kind.GONE, counts, now)

    def _evidence(self, key: NodeKey, kind: Kind, counts: bool, now: float) -> bool:
        accusation = Accusation(key, kind)
        if not counts or accusation in self._accused:
            return False
        self._accused[accusation] = now + ACCUSE_AGAIN
        self._plan(now)
        return True

    def silent_share(self, now: float, of_patience: float) -> float:
        """Which part of those watched has been silent for so much of its patience."""
        if not self.edges:
            return 0.0
        silent = sum(now - edge.heard_at > of_patience * edge.patience for edge in self.edges.values())
        return silent / len(self.edges)

    @property
    def overdue(self) -> list[NodeKey]:
        return [key for key, edge in self.edges.items() if edge.overdue]

    # Verdicts.

    def co_observers(self, subject: NodeKey) -> list[NodeKey]:
        """The others who watch somebody, as far as they live."""
        return [key for key in self._rings.observers(subject, self._verdicts.dead) if key != self._own]

    def accused_by(self, accuser: NodeKey, accusation: Accusation, now: float) -> None:
        """Another observer accuses. What comes from anybody else does not count."""
        if self._concerns(accusation.subject) and accuser in self._slots(accusation.subject, now):
            self._accusations.setdefault(accusation, {})[accuser] = now

    def _slots(self, subject: NodeKey, now: float) -> set[NodeKey]:
        """The observers of somebody, with those that died lately and those that took their places."""
        lately = self._rings.observers(subject, self._verdicts.settled(now))
        return {*lately, *self._rings.observers(subject, self._verdicts.dead)}

    def convicted(self, accusation: Accusation, now: float) -> bool:
        """Whether enough observers accuse, this one among them."""
        subject = accusation.subject
        accusers = self._accusing(accusation, now)
        if accusation.kind is Kind.DOWN and accusers:
            # To one the host refuses, to another it says nothing: one word of it is enough to know that it lives.
            accusers |= self._accusing(Accusation(subject, Kind.GONE), now)
        if self._own not in accusers:
            return False
        living = self._rings.observers(subject, self._verdicts.dead)
        if len(accusers) < min(self._accusers(), len(living)):
            return False
        if accusation.kind is Kind.DOWN:
            return True
        places = self._rings.observers(subject, self._verdicts.settled(now))
        assent = len(accusers) + self._dead_places(places, accusers)
        return assent >= self._quorum(len(places))

    def _accusing(self, accusation: Accusation, now: float) -> set[NodeKey]:
        """Who accuses of this, lately."""
        said = self._accusations.get(accusation, {})
        accusers = {key for key, at in said.items() if at > now - ACCUSATION}
        return accusers | {self._own} if accusation in self._accused else accusers

    def _accusers(self) -> int:
        return ACCUSERS

    def _quorum(self, places: int) -> int:
        return min(QUORUM, (places + 1) // 2)

    def _dead_places(self, places: list[NodeKey], accusers: set[NodeKey]) -> int:
        return sum(key in self._verdicts and key not in accusers for key in places)
