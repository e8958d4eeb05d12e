"""What comes of a run: a verdict for each expectation, what was done, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    line: int
    """Of the script."""
    about: str
    held: bool
    at: float
    """seconds since the world came to rest, when it was certain."""
    what: str
    """How it came about, or what was wrong."""
    since: float = 0.0
    """From when it counts, of one that should come about."""


@dataclass(frozen=True, slots=True)
class Done:
    """An event that happened."""

    at: float
    place: int
    """In the timeline."""
    line: int
    name: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Play:
    """A run that is over."""

    seconds: float
    verdicts: tuple[Verdict, ...]
    done: tuple[Done, ...]
    hosts: tuple[str, ...]
    sent: Mapping[str, tuple[int, int]]
    """By host: messages and bytes since the world came to rest."""
    seen: Mapping[str, Any]
    """Who knew what when, as JSON values."""
    marks: tuple[str, ...]
    """A digest of all that happened until each full second, and at the end."""
    story: Mapping[str, Any]
    """What became of the hosts, who led and what was sent, as JSON values."""

    @property
    def held(self) -> bool:
        return all(verdict.held for verdict in self.verdicts)

    @property
    def trace(self) -> str:
        """Empty where no run is ever quite like another."""
        return self.marks[-1] if self.marks else ""
