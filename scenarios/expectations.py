"""The checks of a script: what can be expected of a world. Made like the verbs: one class each, from which the reader,
the schema and the pages follow; `checks` says what each means.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Annotated

from scenarios.script_values import Count, EventName, Factor, MeshName, ProblemCode, Seconds
from scenarios.selectors import EVERYONE, Selection

FIRST = MeshName("")
LAST = EventName("")
RATED = 10.0
"""seconds over which what hosts send is counted, at least."""
QUEUE, MEMORY, ANY_RATE = Count(10_000), Count(100), Count(0)
Mesh = Annotated[MeshName, "in which mesh; the first one if it is not said"]


@dataclass(frozen=True, slots=True)
class Converged:
    """These hosts know the same, have the right members, and think exactly those dead whom they cannot hear. Who has a
    link that is cut does not count, and may be thought dead or not if it is heard."""

    hosts: Annotated[Selection, "of those whose daemon is up"] = EVERYONE
    mesh: Mesh = FIRST


@dataclass(frozen=True, slots=True)
class KnownByAll:
    """All running members know what an event did: that somebody is gone, or back, or new, or no member any more. It
    cannot be known any more once that is undone."""

    event: Annotated[EventName, "by its `as` or its verb; the last one if it is not said"] = LAST
    mesh: Mesh = FIRST


@dataclass(frozen=True, slots=True)
class Reachable:
    """Packets from each of these hosts arrive at each of those; of many pairs 100 are drawn."""

    hosts: Annotated[Selection, "who sends, of the running ones"]
    to: Annotated[Selection, "to whom, of the running ones"] = EVERYONE


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Packets from none of these hosts arrive at any of those."""

    hosts: Annotated[Selection, "who sends"]
    to: Annotated[Selection, "to whom"]


@dataclass(frozen=True, slots=True)
class OneLeader:
    """All running members who can reach each other follow one leader, and it is one of them."""

    mesh: Mesh = FIRST


@dataclass(frozen=True, slots=True)
class NoLiveNodePruned:
    """Nobody prunes one who lives and can be reached. Who stands still, or has a link that is cut, does not
    count, nor does anybody for 5 s after it came back; a client for 10 s, and for as long after a partition began."""

    mesh: Mesh = FIRST


@dataclass(frozen=True, slots=True)
class NoLoop:
    """No packet would go in a circle, at any moment."""


@dataclass(frozen=True, slots=True)
class SharesWithin:
    """The ways from these hosts to those spread over several bridges or exits: the busiest has no more than so many
    times the mean, or than chance often gives where few send: over two bridges no shares of fewer than 15 senders are
    too uneven, over three none of fewer than 10."""

    factor: Annotated[Factor, "the busiest against the mean"]
    hosts: Annotated[Selection, "who sends"]
    to: Annotated[Selection, "to whom"]
    over: Annotated[Selection, "the bridges or exits that are up"]


@dataclass(frozen=True, slots=True)
class LeadsThrough:
    """What these hosts send to a prefix leaves the mesh by some of those, and nowhere else."""

    hosts: Annotated[Selection, "who sends, of the running ones"]
    prefix: Annotated[IPv6Network, "what somebody advertises"]
    over: Annotated[Selection, "by whom it may leave"]


@dataclass(frozen=True, slots=True)
class SameAddress:
    """These hosts have the addresses in the overlay that they had at the start, in all meshes that they have not
    left."""

    hosts: Annotated[Selection, "of those whose daemon is up"] = EVERYONE


@dataclass(frozen=True, slots=True)
class NoInterfaceLeft:
    """These hosts have no WireGuard interface any more."""

    hosts: Annotated[Selection, "whose daemon has ended, or has left all meshes"]


@dataclass(frozen=True, slots=True)
class Bounded:
    """No queue of any daemon, no daemon's memory, and nothing that a host sends, was ever beyond these."""

    queue: Annotated[Count, "messages that wait for one actor"] = QUEUE
    memory: Annotated[Count, "MiB of a daemon"] = MEMORY
    rate: Annotated[Count, "messages a second from any host, over ten seconds or longer; 0 is any number"] = ANY_RATE


@dataclass(frozen=True, slots=True)
class Told:
    """Each of these hosts has told its user of a problem, as `status` shows it, at some time since the start."""

    problem: Annotated[ProblemCode, "its code"]
    hosts: Annotated[Selection, "who has"]


@dataclass(frozen=True, slots=True)
class Outage:
    """No pair of hosts between which `traffic` goes was without an answer for longer."""

    longest: Annotated[Seconds, "of all pairs, over the whole run"]


Check = (
    Converged | KnownByAll | Reachable | Unreachable | OneLeader | NoLiveNodePruned | NoLoop | SharesWithin
    | LeadsThrough | SameAddress | NoInterfaceLeft | Bounded | Told | Outage
)  # fmt: skip
CHECKS: dict[str, type[Check]] = {
    "converged": Converged, "known-by-all": KnownByAll, "reachable": Reachable, "unreachable": Unreachable,
    "one-leader": OneLeader, "no-live-node-pruned": NoLiveNodePruned, "no-loop": NoLoop,
    "shares-within": SharesWithin, "leads-through": LeadsThrough,
    "same-address": SameAddress, "no-interface-left": NoInterfaceLeft,
    "bounded": Bounded, "told": Told, "outage": Outage,
}  # fmt: skip
OF_ALL_TIME = (NoLiveNodePruned, NoLoop, Bounded, Outage)
"""Checks of what was ever so: once they fail they never hold again."""
WORDS: dict[type[Check], str] = {kind: word for word, kind in CHECKS.items()}
