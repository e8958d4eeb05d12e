"""Which hosts an event is about: by name, by what they are, or drawn from the seed. `choosing` finds them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NewType

from smeg.config_values import shown


@dataclass(frozen=True, slots=True)
class Everyone:
    """`everyone`"""


@dataclass(frozen=True, slots=True)
class Rest:
    """`rest`: in a partition, those whom no other side names; elsewhere those whom no earlier event named."""


@dataclass(frozen=True, slots=True)
class Running:
    """`running`: whose daemon is up."""


@dataclass(frozen=True, slots=True)
class Down:
    """`down`: whose daemon or host is not up."""


@dataclass(frozen=True, slots=True)
class Named:
    """`peers` or `peers-3`: a group, or one of its hosts. `the killed`: of an earlier event, by `as`."""

    name: str


@dataclass(frozen=True, slots=True)
class Of:
    """`of EVENT`: the hosts of an earlier event."""

    event: str


@dataclass(frozen=True, slots=True)
class OfRole:
    """`role peer`, `role client`"""

    role: str


@dataclass(frozen=True, slots=True)
class Leader:
    """`leader`, `leader of MESH`"""

    mesh: str = ""


@dataclass(frozen=True, slots=True)
class Next:
    """`next 3`, `next 3 of MESH`: those who would lead after the leader."""

    count: int
    mesh: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """`30 %`, `30 % of peers`: so much of the running ones, drawn from the seed; at least one."""

    share: float
    group: str = ""


@dataclass(frozen=True, slots=True)
class Some:
    """`3 of peers`: so many of the running ones, drawn from the seed."""

    count: int
    group: str


@dataclass(frozen=True, slots=True)
class PeerOf:
    """`peer of HOST`: the peer that carries this client."""

    client: str


@dataclass(frozen=True, slots=True)
class BridgeBetween:
    """`bridge between A and B`: one that is up, of the bridges between two meshes."""

    one: str
    other: str


Selector = Everyone | Rest | Running | Down | Named | Of | OfRole | Leader | Next | Part | Some | PeerOf | BridgeBetween
Selection = NewType("Selection", tuple[Selector, ...])
"""All hosts that any of these means."""

EVERYONE = Selection((Everyone(),))
NAME = r"[a-z][a-z0-9-]{0,45}"
_FORMS: tuple[tuple[str, str, Callable[[re.Match[str]], Selector]], ...] = (
    ("everyone", "everyone", lambda found: Everyone()),
    ("rest", "rest", lambda found: Rest()),
    ("running", "running", lambda found: Running()),
    ("down", "down", lambda found: Down()),
    ("role peer", "role (peer|client)", lambda found: OfRole(found[1])),
    ("leader", f"leader(?: of ({NAME}))?", lambda found: Leader(found[1] or "")),
    ("next 3", f"next ([0-9]{{1,4}})(?: of ({NAME}))?", lambda found: Next(int(found[1]), found[2] or "")),
    ("30 % of GROUP", rf"([0-9]{{1,3}}(?:\.[0-9]+)?) ?%(?: of ({NAME}))?",
     lambda found: Part(float(found[1]) / 100, found[2] or "")),
    ("3 of GROUP", f"([0-9]{{1,6}}) of ({NAME})", lambda found: Some(int(found[1]), found[2])),
    ("peer of HOST", f"peer of ({NAME})", lambda found: PeerOf(found[1])),
    ("bridge between A and B", f"bridge between ({NAME}) and ({NAME})",
     lambda found: BridgeBetween(found[1], found[2])),
    ("of EVENT", f"of ({NAME})", lambda found: Of(found[1])),
    ("a group, or one of its hosts (peers-3)", NAME, lambda found: Named(found[0])),
)  # fmt: skip
FORMS = tuple(form for form, _, _ in _FORMS)
RESERVED = frozenset({"everyone", "rest", "running", "down", "leader", "role", "next", "peer", "bridge", "of"})
"""What no group may be called."""


def read_selector(text: str) -> Selector:
    """Raises `ValueError` with what is wrong."""
    for _, pattern, make in _FORMS:
        found = re.fullmatch(pattern, text)
        if found is not None:
            made = make(found)
            if isinstance(made, Part) and not 0 < made.share <= 1:
                raise ValueError(f"{shown(text)} is no share of anything")
            return made
    first = text[:40].split(" ")[0]
    near = get_close_matches(first, RESERVED, 1)
    raise ValueError(f"{shown(text)} names no hosts" + (f" (did you mean {near[0]}?)" if near else ""))
