"""The world that a scenario is played in, as the director sees it: what can be done there, and what can be observed.

One script, two worlds: whatever a world cannot do or see it says before the run, by `limits`. Hosts are named as the
script names them; times are seconds since the world came to rest.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Protocol

from scenarios.actions import Action
from scenarios.script import Group, Script
from smeg.errors import LocalError


@dataclass(frozen=True, slots=True)
class Deed:
    """An action that is done now, to hosts that have been chosen."""

    action: Action
    hosts: tuple[str, ...] = ()
    sides: tuple[tuple[str, ...], ...] = ()
    """Of a partition; they are all hosts. Of a copy: the one whose it is."""
    undo: bool = False
    """Whether its time is up."""


def original_of(deed: Deed) -> str:
    """Of whom others become a copy. Raises `LocalError` when it is nobody, or one of them."""
    (originals,) = deed.sides
    if not originals:
        raise LocalError("no-original", "there is nobody now whose state could be copied")
    if originals[0] in deed.hosts:
        raise LocalError("own-copy", f"{originals[0]} would be a copy of itself", "name another host")
    return originals[0]


def check_nats(deed: Deed, groups: Mapping[str, Group]) -> None:
    """Raises `LocalError` when one of these hosts, whose groups these are, has no NAT that could forget anything."""
    found = [host for host in deed.hosts if not groups[host].nat]
    if found:
        raise LocalError("no-nat", f"{', '.join(found)}: not behind a NAT", "say `nat: yes` of their group")


@dataclass(frozen=True, slots=True)
class Limit:
    """Something in a script that a world cannot do, or cannot see."""

    line: int
    what: str
    why: str
    fatal: bool
    """Whether the script means nothing without it; else a verdict is missing."""
    about: str = ""
    """The expectation, as its verdict names it, of which something is not seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a daemon thinks of one of its meshes."""

    knows: Hashable
    """Equal where two daemons have the same documents."""
    silent: frozenset[str]
    """Whom it thinks dead, or their daemons."""
    leader: str | None


@dataclass(frozen=True, slots=True)
class Way:
    """Where a packet went."""

    hosts: tuple[str, ...]
    """The sender first, then whoever got it."""
    arrived: bool
    end: str
    """What became of it, in words."""


class Observer(Protocol):
    """Who is told at once of what can only be seen when it happens."""

    def changed_mind(
        self, host: str, mesh: str, gone: tuple[str, ...], back: tuple[str, ...], pruned: tuple[str, ...]
    ) -> None:
        """A daemon thinks others dead from now on, or their daemons down, or all alive again; and whom it prunes."""

    def went_around(self, path: tuple[str, ...]) -> None:
        """A packet would go in a circle."""

    def noticed(self, host: str, what: str) -> None:
        """Something that a person would be told: a refusal, an alarm."""


class Stage(Protocol):
    kind: str
    """`simulated` or `real`."""

    def limits(self, script: Script) -> list[Limit]: ...

    @property
    def now(self) -> float: ...

    def set_up(self, observer: Observer) -> None:
        """Make the hosts and their meshes, and wait until all is at rest: time 0."""

    def run(self, seconds: float) -> None:
        """Let time pass. Raises `LocalError` when a daemon fails by itself."""

    def do(self, deed: Deed) -> None:
        """Raises `LocalError` if it is refused."""

    def close(self) -> None: ...

    # What is so.

    def seen(self, host: str, mesh: str) -> Seen | None:
        """None where the daemon is not up, or not in that mesh."""

    def members(self, host: str, mesh: str) -> Mapping[str, str]:
        """By name, their addresses in the overlay, as a host knows them."""

    def is_member(self, host: str, mesh: str, name: str) -> bool:
        """Whether a host knows another as a member."""

    def succession(self, mesh: str) -> tuple[str, ...]:
        """The peers of a mesh in the order in which they lead."""

    def carrier(self, client: str) -> str | None:
        """The peer through which a client is reached, as it sees it itself."""

    def ways(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        """Of packets between these hosts, all at once. Who is between the ends may be left out."""

    def whole_ways(self, pairs: Sequence[tuple[str, str]]) -> list[Way]:
        """Likewise, with everybody who passes them on."""

    def ways_out(self, senders: Sequence[str], prefix: IPv6Network) -> list[Way]:
        """Of packets to what is behind somebody: as far as the hosts of this world go. One has arrived if the last of
        these sends it on to where there are none."""

    def longest_outage(self) -> tuple[float, str]:
        """For how long, in seconds, a pair had no answer to its traffic at the worst, and which."""

    def interfaces(self, host: str) -> int:
        """How many WireGuard interfaces it has."""

    def deepest_queue(self) -> int:
        """The most messages that ever waited for one actor."""

    def largest_memory(self) -> float | None:
        """MiB of the largest daemon; None where nobody can tell."""

    def sent(self) -> Mapping[str, tuple[int, int]]:
        """By host: messages and bytes so far."""

    def marks(self) -> tuple[str, ...]:
        """A digest of all that happened until each full second: equal runs have equal ones. None where no two are."""
