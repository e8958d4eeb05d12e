"""Claims about who lives, on their way: taken in, refuted when they are about this node, flooded while they are news.

A refutation goes to random members too: see `doubt`.

What a claim says and which of two counts is `verdicts`'; whether there is one to be made, `heartbeat`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from smeg.circle import Circle
from smeg.core import Message
from smeg.epochs import Epochs
from smeg.errors import RemoteError
from smeg.keys import NodeKey
from smeg.refresh import KEPT_EPOCHS, Refresh
from smeg.verdicts import CLAIM_BYTES, MAX_INCARNATION, Claim, Kind, Verdicts, read_claim
from smeg.wire import Word, chunks, pack

CLAIMS_WINDOW = 0.05
"""seconds between two messages with claims; the first goes at once."""
RECENT_NEWS = 2.0
"""seconds for which a claim is told to whom this node becomes a neighbour of: those before it may have died with it."""
MANY = 8
"""thought dead at once: rather a partition."""


class Claims:
    def __init__(self, own: NodeKey, refresh: Refresh, verdicts: Verdicts, circle: Circle, epochs: Epochs) -> None:
        self._own = own
        self._refresh = refresh
        self._verdicts = verdicts
        self._circle = circle
        self._epochs = epochs
        self._news: dict[NodeKey, tuple[Claim, NodeKey | None]] = {}
        """To be flooded, and who brought it."""
        self._recent: dict[NodeKey, tuple[float, Claim]] = {}
        """What was news lately, and when; the oldest first."""
        self._flood_at: float | None = None
        self._flooded_at = -CLAIMS_WINDOW
        self._many_until = 0.0
        """Until when many dead ones count as a partition's."""
        self.unheard: Claim | None = None
        """What this node says of itself, and maybe none of its neighbours hears: whoever it pings is told too."""

    def next_deadline(self) -> float | None:
        return self._flood_at

    def arrange(self, now: float) -> None:
        """Who is thought dead has changed."""
        if len(self._verdicts) > MANY:
            self._many_until = now + 2 * self._refresh.interval

    def receive(self, sender: NodeKey, items: list[bytes], now: float) -> list[Message]:
        """Raises `RemoteError`."""
        out: list[Message] = []
        for raw in items:
            if self._verdicts.knows(raw):
                continue
            if len(raw) != CLAIM_BYTES:
                raise RemoteError("malformed", "a claim of the wrong length")
            claim = read_claim(raw)
            self._refresh.check(claim.epoch)
            if claim.member == self._own:
                out += self._refute(claim, sender, now)
            elif claim.member in self._circle.members and claim.epoch <= self._refresh.epoch + KEPT_EPOCHS:
                self._take(claim, sender, now)
        return out + self.flood_if_due(now)

    def make(self, subject: NodeKey, kind: Kind, now: float) -> None:
        """This node claims something of another."""
        self._take(Claim(subject, self._verdicts.incarnation(subject), self._refresh.epoch, kind), None, now)

    def _take(self, claim: Claim, source: NodeKey | None, now: float) -> None:
        answered = self._refresh.answered_since(claim.member, claim.epoch + (claim.kind is Kind.DOWN))
        if self._verdicts.take(claim, now, answered):
            if claim.kind is Kind.ALIVE:
                # It could not answer the epochs in which it was dead.
                self._forgive(claim.member)
            self._news[claim.member] = (claim, source)
            self._forget_old(now)
            self._recent.pop(claim.member, None)
            self._recent[claim.member] = (now, claim)
            if self._flood_at is None:
                self._flood_at = max(now, self._flooded_at + CLAIMS_WINDOW)

    def _forgive(self, member: NodeKey) -> None:
        self._refresh.excuse(member)

    # Refuting.

    def _refute(self, claim: Claim, sender: NodeKey, now: float) -> list[Message]:
        """Say that this node lives, unless its answers to later epochs do: a partition leaves many old claims."""
        if claim.kind is Kind.ALIVE:
            return []
        own = self._verdicts.newest(self._own)
        if own is not None and claim.incarnation < own.incarnation:
            # It has said so, and one did not hear it.
            return [self._one(sender, own)] if self._circle.may_hint(sender, now) else []
        if self._answers_refute(claim):
            return [self._epochs.everything(sender)] if self._circle.may_hint(sender, now) else []
        epoch = max(self._refresh.epoch, claim.epoch)
        if claim.kind is Kind.GONE and self._after_partition(now):
            return self._epochs.enter(epoch + 1, now)
        alive = Claim(self._own, claim.incarnation + 1, epoch, Kind.ALIVE)
        self._take(alive, None, now)
        if claim.kind is Kind.GONE:
            self._look_around(alive)
        return []

    def _answers_refute(self, claim: Claim) -> bool:
        return self._verdicts.outlives(self._refresh.epoch, claim) or claim.incarnation >= MAX_INCARNATION

    def _after_partition(self, now: float) -> bool:
        """Whether many will hear that they are thought dead: one epoch, which all answer, is less than their words."""
        return len(self._verdicts) > MANY or now < self._many_until

    def _look_around(self, alive: Claim) -> None:
        self.unheard = alive

    def refute_among(self, pinged: Iterable[NodeKey]) -> list[Message]:
        """Tell those whom this node pings what it has said of itself, once."""
        alive, self.unheard = self.unheard, None
        return self._circle.spread(pinged, pack(Word.CLAIMS, [alive.raw])) if alive is not None else []

    # Telling.

    def flood_if_due(self, now: float) -> list[Message]:
        """Pass the news on to those who did not bring it."""
        if self._flood_at is None or now < self._flood_at:
            return []
        news, self._news, self._flood_at, self._flooded_at = self._news, {}, None, now
        sources = {source for _, source in news.values()}
        only_source = sources if len(sources) == 1 else set()
        to = tuple(key for key in self._circle.near() if key not in only_source)
        raw = [claim.raw for claim, _ in news.values()]
        return [message for payload in chunks(Word.CLAIMS, raw) for message in self._circle.spread(to, payload)]

    def tell_recent(self, to: Iterable[NodeKey], now: float) -> list[Message]:
        """Tell new neighbours what was news lately. Where many died at once, a flood reaches some by few neighbours or
        by none that live, until others take their places."""
        self._forget_old(now)
        receivers = tuple(to)
        raw = (claim.raw for _, claim in self._recent.values()) if receivers else ()
        return [message for payload in chunks(Word.CLAIMS, raw) for message in self._circle.spread(receivers, payload)]

    def _forget_old(self, now: float) -> None:
        while self._recent and (oldest := next(iter(self._recent.values())))[0] < now - RECENT_NEWS:
            del self._recent[oldest[1].member]

    def warn(self, member: NodeKey, now: float) -> list[Message]:
        """Tell somebody who is heard that it is thought dead: it refutes, or its answers will."""
        if not self._circle.may_hint(member, now):
            return []
        claim = self._verdicts.about(member)
        said: list[Message] = [self._one(member, claim)] if claim is not None else []
        return [*said, self._epochs.everything(member)]

    def inform(self, accuser: NodeKey, subject: NodeKey, kind: Kind, now: float) -> list[Message]:
        """Who accuses somebody of what this node holds for true has missed the flood: in a mesh of few nothing else
        brings it, and whoever holds it accuses no more."""
        claim = self._verdicts.about(subject)
        if claim is None or claim.kind < kind or not self._circle.may_hint(accuser, now):
            return []
        return [self._one(accuser, claim)]

    def tell_all(self, to: NodeKey) -> list[Message]:
        """All that hold somebody dead."""
        raw = [claim.raw for claim in self._verdicts.held()]
        return [self._circle.send(to, payload) for payload in chunks(Word.CLAIMS, raw)]

    def _one(self, to: NodeKey, claim: Claim) -> Message:
        return self._circle.send(to, pack(Word.CLAIMS, [claim.raw]))
