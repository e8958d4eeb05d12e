"""Who is thought dead in one mesh, on what evidence, and until what clears it.

Two sources. *Claims* are flooded: `GONE` by a quorum of observers who heard nothing, `DOWN` by observers whom the host
refused (its daemon is down, the host lives), `ALIVE` by the node itself. Of two claims about one member the later
incarnation counts, then the later epoch, then the worse; merging takes the later, so any order gives one result.
*Silence* is this node's own judgement of the refresh, and is told nobody.

Either is cleared by an answer to a later epoch. `DOWN` turns into pruned after the grace.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, KeysView
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b

from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, NodeKey, interned

RECENT = 30.0
"""seconds for which a dead observer counts as one who would have accused."""
MAX_INCARNATION = 2**62
FIRST_INCARNATION = 2**40
"""The highest that somebody may hear first."""
MAX_STEP = 2**20
"""by which one claim may raise an incarnation: nobody can use the numbers up."""
_CLAIM = struct.Struct(f">{KEY_BYTES}sQQB")
CLAIM_BYTES = _CLAIM.size
REMEMBERED = 1 << 12
"""claims that are on their way: thousands of simulated nodes hold one object of each."""


class Kind(IntEnum):
    """What is claimed, from good to bad."""

    ALIVE = 0
    DOWN = 1
    GONE = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """One idempotent record."""

    member: NodeKey
    incarnation: int
    epoch: int
    """In which it was made: an answer to a later one clears it."""
    kind: Kind
    raw: bytes = field(init=False, repr=False, compare=False)
    """As it stands on the wire: `CLAIM_BYTES`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", _CLAIM.pack(self.member, self.incarnation, self.epoch, self.kind))

    @property
    def order(self) -> tuple[int, int, int]:
        return self.incarnation, self.epoch, self.kind

    def mark(self) -> int:
        """32 bits, for the tag of all claims that hold."""
        return int.from_bytes(blake2b(self.member + bytes([self.kind]), digest_size=4).digest(), "big")


@lru_cache(maxsize=REMEMBERED)
def read_claim(raw: bytes) -> Claim:
    """Raises `RemoteError`."""
    try:
        member, incarnation, epoch, kind = _CLAIM.unpack(raw)
        return Claim(NodeKey(member), incarnation, epoch, Kind(kind))
    except (struct.error, ValueError) as error:
        raise RemoteError("malformed", f"a claim of {len(raw)} bytes that cannot be read") from error


class Verdicts:
    """`grace` in seconds. What becomes of time is the caller's business: `lapse` at `next_deadline`."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._claims: dict[NodeKey, Claim] = {}
        """The latest about everybody of whom anything was ever claimed."""
        self._held: dict[NodeKey, Claim] = {}
        """Those that say dead and are not cleared."""
        self._down: dict[NodeKey, float] = {}
        """Until when the daemon may be down."""
        self._silent: dict[NodeKey, int] = {}
        """The epoch at which the refresh pruned somebody."""
        self._since: dict[NodeKey, float] = {}
        self.tag = 0
        """Equal where the same claims hold."""
        self.version = 0
        """Grows with every change of who is thought dead."""
        self._everybody: tuple[int, tuple[NodeKey, ...]] = (0, ())
        """For which version, and who."""

    # Who is dead.

    def __contains__(self, key: object) -> bool:
        """Whether a member takes no part in gossip."""
        return key in self._since

    def __len__(self) -> int:
        return len(self._since)

    @property
    def dead(self) -> KeysView[NodeKey]:
        """All who are thought dead, at any time: a view that follows every change."""
        return self._since.keys()

    @property
    def down(self) -> frozenset[NodeKey]:
        return frozenset(self._down)

    @property
    def pruned(self) -> frozenset[NodeKey]:
        return interned(frozenset(self._since.keys() - self._down.keys()))

    def is_down(self, key: NodeKey) -> bool:
        return key in self._down

    def is_pruned(self, key: NodeKey) -> bool:
        return key in self._since and key not in self._down

    def settled(self, now: float) -> Collection[NodeKey]:
        """Those who have been dead for long: nobody asks any more what they have seen."""
        return {key for key, since in self._since.items() if since < now - RECENT}

    def everybody(self) -> tuple[NodeKey, ...]:
        """All who are thought dead, in key order."""
        version, found = self._everybody
        if version != self.version:
            found = tuple(sorted(self._since))
            self._everybody = (self.version, found)
        return found

    def incarnation(self, key: NodeKey) -> int:
        known = self._claims.get(key)
        return known.incarnation if known is not None else 0

    def about(self, key: NodeKey) -> Claim | None:
        """The claim that holds a member dead."""
        return self._held.get(key)

    def newest(self, key: NodeKey) -> Claim | None:
        """The latest claim about a member, whatever it says."""
        return self._claims.get(key)

    def held(self) -> list[Claim]:
        """All that hold somebody dead, in key order."""
        return [self._held[key] for key in sorted(self._held)]

    # What changes it.

    def take(self, claim: Claim, now: float, answered: bool) -> bool:
        """Merge a claim; whether it changed what is thought, and so is news. `answered`: a later epoch than its."""
        known = self._claims.get(claim.member)
        if known is not None and claim.order <= known.order:
            return False
        if not self._in_reach(claim, known):
            return False
        # The latest alone decides, whatever was held: any order gives one result.
        self._claims[claim.member] = claim
        if claim.kind is Kind.ALIVE:
            self._clear(claim.member)
            return True
        if answered:
            self._release(claim.member)
            return False
        before = self._held.get(claim.member)
        news = before is None or before.kind is not claim.kind
        self._hold(claim, now)
        return news

    def knows(self, raw: bytes) -> bool:
        """Whether a claim, as it stands on the wire, is the latest about its member: a flood brings each six times."""
        known = self._claims.get(NodeKey(raw[:KEY_BYTES]))
        return known is not None and known.raw == raw

    def _in_reach(self, claim: Claim, known: Claim | None) -> bool:
        limit = FIRST_INCARNATION if known is None else known.incarnation + MAX_STEP
        return claim.incarnation <= min(limit, MAX_INCARNATION)

    def prune(self, key: NodeKey, epoch: int, now: float) -> None:
        """The refresh found a member silent, as of `epoch`."""
        self._silent[key] = epoch
        self._down.pop(key, None)
        self._since.setdefault(key, now)
        self.version += 1

    def answered(self, key: NodeKey, epoch: int) -> bool:
        """A member answered an epoch; whether that cleared it."""
        if key not in self._since:
            return False
        claim = self._held.get(key)
        if claim is not None and not self.outlives(epoch, claim):
            return False
        if epoch <= self._silent.get(key, -1):
            return False
        self._clear(key)
        return True

    def outlives(self, epoch: int, claim: Claim) -> bool:
        """Whether an answer to this epoch was given after the claim."""
        # Who is killed may have answered, just before, an epoch that its observers had not seen yet.
        return epoch > claim.epoch + (claim.kind is Kind.DOWN)

    def lapse(self, now: float) -> None:
        """Prune those whose daemons have been down for the grace."""
        for key in [key for key, until in self._down.items() if until <= now]:
            del self._down[key]
            self.version += 1

    def next_deadline(self) -> float | None:
        return min(self._down.values()) if self._down else None

    def forget(self, key: NodeKey) -> None:
        """It is no member any more."""
        self._clear(key)
        self._claims.pop(key, None)

    def _hold(self, claim: Claim, now: float) -> None:
        key = claim.member
        before = self._held.get(key)
        was = key in self._since, key in self._down
        if before is not None:
            self.tag ^= before.mark()
        self._held[key] = claim
        self.tag ^= claim.mark()
        if claim.kind is Kind.GONE:
            self._down.pop(key, None)
        elif self._grace > 0 and (key not in self._since or self._is_gone(before, key)):
            # After another of its kind the grace goes on: it may be over, too.
            self._down[key] = now + self._grace
        self._since.setdefault(key, now)
        self.version += was != (True, key in self._down)

    def _is_gone(self, held: Claim | None, key: NodeKey) -> bool:
        """Whether nothing but a claim has it as pruned, which a later one may contradict."""
        return held is not None and held.kind is Kind.GONE and key not in self._silent

    def _clear(self, key: NodeKey) -> None:
        """Neither a claim nor silence says that it is dead."""
        self._silent.pop(key, None)
        self._release(key)

    def _release(self, key: NodeKey) -> None:
        """No claim says that it is dead; its silence still may."""
        held = self._held.pop(key, None)
        if held is not None:
            self.tag ^= held.mark()
        was_down = self._down.pop(key, None) is not None
        gone = key not in self._silent and self._since.pop(key, None) is not None
        self.version += gone or was_down
