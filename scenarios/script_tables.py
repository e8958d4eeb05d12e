"""What may stand where in a script: a table for each mapping. The reader, the schema and the pages follow from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from ipaddress import IPv6Network
from typing import Any, get_args, get_type_hints

from scenarios.script import LARGEST, REST, SETTINGS, Begins, Group
from scenarios.script_values import (
    KINDS,
    NAME,
    NAME_WORDS,
    SHARE_PATTERN,
    WHOLE,
    Count,
    Kind,
    Seconds,
    Share,
    Sides,
    count,
    name,
    share,
    words,
)
from scenarios.selectors import Selection

TOP = {
    "name": "what the scenario is called; else what its file is",
    "about": "what it plays, in a sentence",
    "nodes": "how many hosts there are in all, unless --nodes says it",
    "hosts": "groups of hosts, by name",
    "meshes": "which groups are in which mesh; without this all are in one that is called demo",
    "bridges": "which meshes a group bridges: it is a member of each",
    "settings": f"of all daemons, durations with their units: {', '.join(SETTINGS)}",
    "timeline": "what is done, in this order",
    "expect": "what must hold",
    "lasts": "how long the world is watched after the last event, at least",
}
ABOUT_EVENT = {
    "at": "when, since the world came to rest",
    "after": "a check that must hold first",
    "wait": "how long after that, or after the event before this one",
    "as": "what others call this event; else its verb, if no other event has it",
}
ABOUT_EVENTUALLY = {
    "within": "the time that it may take",
    "after": "the event from which it counts, by its `as` or its verb; else the last one",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """One key of a mapping."""

    key: str
    field: str
    kind: Kind
    meaning: str
    required: bool = False
    default: object = None
    sides: bool = False
    """Whether it is a list of selections."""
    hosts: bool = False
    """Whether it is one selection."""


def specs(of: type[Any]) -> tuple[Spec, ...]:
    """The keys of a verb or a check, by its fields."""
    if of not in _known:
        _known[of] = tuple(_specs(of))
    return _known[of]


_known: dict[object, tuple[Spec, ...]] = {}


def _specs(of: type[Any]) -> Iterator[Spec]:
    hints = get_type_hints(of, include_extras=True)
    for item in fields(of):
        kind, meaning = get_args(hints[item.name])
        required = item.default is MISSING
        default = None if required else item.default
        key = item.name.replace("_", "-")
        hosts = kind is Selection
        yield Spec(key, item.name, KINDS[kind], meaning, required, default, kind is Sides, hosts)


def meaning(of: type[Any]) -> str:
    """What a verb or a check is, on one line."""
    return " ".join((of.__doc__ or "").split())


def _size(text: str) -> object:
    """How many hosts: a number, a share, or what is left."""
    if text == REST:
        return text
    return share(text) if text.endswith("%") else count(text)


def _begins(text: str) -> object:
    return Begins(_BEGINS.read(text))


def _spec(key: str, kind: Kind, meaning: str, required: bool = False) -> Spec:
    default = next(item.default for item in fields(Group) if item.name == key)
    return Spec(key, key, kind, meaning, required, None if required else default)


_BEGINS = words("member", "outside", "off")
_SIZE = Kind(
    "a whole number, a percentage of all hosts, or rest",
    _size,
    rf"0*[1-9][0-9]*|{SHARE_PATTERN}|rest",
    {**WHOLE, "minimum": 1, "maximum": LARGEST},
)
GROUP: tuple[Spec, ...] = (
    _spec("count", _SIZE, "how many; `rest` is what the other groups leave", required=True),
    _spec("role", words("peer", "client"), "as in the configuration of a daemon"),
    _spec("nat", KINDS[bool], "whether they are behind a NAT, each behind its own; for clients"),
    _spec("latency", KINDS[Seconds], "added one way by their links"),
    _spec("loss", KINDS[Share], "of what passes their links"),
    _spec("families", words("both", "ipv4", "ipv6"), "the address families of their underlay"),
    _spec("begins", Kind(_BEGINS.expected, _begins, _BEGINS.pattern),
          "member, outside (a daemon without a mesh), or off (a member whose host is off)"),
    _spec("advertises", Kind(KINDS[IPv6Network].expected, KINDS[IPv6Network].read, many=True),
          "what is behind each of them"),
    _spec("certified", KINDS[Seconds],
          "for how long they are members, by wall clocks; 0 is as long as the mesh lives, as for who founds it"),
    _spec("speaks", words("this", "later"), "the version; a later one says what this one does not know"),
)  # fmt: skip
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of characters: YAML can say them by their numbers."""
LABEL = Kind(NAME_WORDS, name, NAME.pattern)
TEXT = Kind("text of at most 2000 characters", lambda text: _short(text, 2000))
DURATION = KINDS[Seconds]
SIZE = KINDS[Count]


def _short(text: str, most: int) -> str:
    if len(text) > most:
        raise ValueError(f"has {len(text)} characters")
    odd = _NO_TEXT.search(text)
    if odd is not None:
        raise ValueError(f"holds U+{ord(odd[0]):04X}, which nobody can read")
    return text
