"""The kinds of values that a script is made of: how each is written, checked, and described to an editor.

A parser takes the text of one YAML scalar and raises `ValueError` with what is wrong. Nothing here knows of keys and
lines, or of which hosts there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv6Network, NetmaskValueError
from typing import Any, NewType

from scenarios.selectors import FORMS, Selection, read_selector
from smeg.config_values import shown

Seconds = NewType("Seconds", float)
Share = NewType("Share", float)
"""0 to 1, written as a percentage."""
Factor = NewType("Factor", float)
Offset = NewType("Offset", float)
"""seconds, forwards or back."""
Count = NewType("Count", int)
MeshName = NewType("MeshName", str)
"""Empty for the first mesh, or the only one."""
EventName = NewType("EventName", str)
"""Of an event in the timeline; empty for the last one."""
ProblemCode = NewType("ProblemCode", str)
"""By which a daemon names a problem."""
Sides = NewType("Sides", tuple[Selection, ...])
"""Groups of hosts, each apart from the others."""

LONGEST = 30 * 24 * 3600.0
"""seconds."""
MOST = 100_000
"""hosts, members, messages: the highest number that a script may say."""
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
NAME_WORDS = "a name: 1 to 40 of a-z, 0-9 and -, a letter first, no - at the end"
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([a-z]*)")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one type are written."""

    expected: str
    """In words."""
    read: Callable[[str], object]
    pattern: str = ""
    """What an editor may check text by; empty where it cannot."""
    number: Mapping[str, Any] | None = None
    """Which bare numbers are taken too, to an editor."""
    many: bool = False
    """Whether a list is taken too."""

    def schema(self) -> dict[str, Any]:
        text: dict[str, Any] = {"type": "string"}
        if self.pattern:
            text["pattern"] = f"^(?:{self.pattern})$"
        return text if self.number is None else {"anyOf": [self.number, text]}


def seconds(text: str) -> Seconds:
    """`5 s`, `250 ms`, `2 min`, `1.5 h`, `7 d`; a bare 0 needs no unit."""
    found = _DURATION.fullmatch(text)
    if text == "0":
        return Seconds(0.0)
    if found is None:
        raise ValueError(f"{shown(text)} is no duration")
    number, unit = found.groups()
    if unit not in _UNITS:
        near = get_close_matches(unit, _UNITS, 1)
        said = f"has the unit {shown(unit)}" if unit else "has no unit"
        raise ValueError(f"{shown(text)} {said}" + (f" (did you mean {near[0]}?)" if near else ""))
    value = float(number) * _UNITS[unit]
    if value > LONGEST:
        raise ValueError(f"{shown(text)} is longer than 30 d")
    return Seconds(value)


def offset(text: str) -> Offset:
    """A duration, with - before it to go back."""
    if text.startswith("-"):
        return Offset(-seconds(text[1:].lstrip()))
    return Offset(seconds(text))


def share(text: str) -> Share:
    """`5 %`."""
    digits = text.removesuffix("%").rstrip()
    if not text.endswith("%") or _NUMBER.fullmatch(digits) is None:
        raise ValueError(f"{shown(text)} is no percentage")
    if float(digits) > 100:
        raise ValueError(f"{shown(text)} is more than all")
    return Share(float(digits) / 100)


def count(text: str) -> Count:
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError(f"{shown(text)} is no whole number")
    if int(text) > MOST:
        raise ValueError(f"{text} is more than {MOST}")
    return Count(int(text))


def factor(text: str) -> Factor:
    if _NUMBER.fullmatch(text) is None or not 0.1 <= float(text) <= 1000:
        raise ValueError(f"{shown(text)} is no number from 0.1 to 1000")
    return Factor(float(text))


def name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is no name")
    return text


def nearest_name(text: str) -> str:
    """What a script is called whose file has this name."""
    letters = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
    return name((letters if letters[:1].isalpha() else f"script-{letters}")[:40].rstrip("-"))


def truth(text: str) -> bool:
    if text not in ("true", "false", "yes", "no"):
        raise ValueError(f"{shown(text)} is neither yes nor no")
    return text in ("true", "yes")


def prefix(text: str) -> IPv6Network:
    try:
        found = IPv6Network(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise ValueError(f"{shown(text)} is no IPv6 prefix") from None
    if found.network_address.scope_id is not None:
        raise ValueError(f"{shown(text)} has a zone")
    return found


def one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            near = get_close_matches(text[:64], words, 1)
            raise ValueError(f"{shown(text)} is none of these" + (f" (did you mean {near[0]}?)" if near else ""))
        return text

    return read


def words(*choices: str) -> Kind:
    """One of these."""
    return Kind(f"one of {', '.join(choices)}", one_of(*choices), "|".join(choices))


DURATION_PATTERN = r"0|[0-9]{1,9}(\.[0-9]{1,6})? ?(ms|s|min|h|d)"
SHARE_PATTERN = r"0*(100(\.0{1,9})?|[0-9]{1,2}(\.[0-9]{1,9})?) *%"
DURATION_WORDS = "a duration with its unit: 250 ms, 5 s, 2 min, 1 h or 7 d"
WHOLE = {"type": "integer", "minimum": 0, "maximum": MOST}
ZERO = {"const": 0}
"""Of durations only nothing needs no unit."""
SELECTION = Kind(f"{', '.join(FORMS)}, or a list of these", read_selector, many=True)
KINDS: dict[object, Kind] = {
    Seconds: Kind(DURATION_WORDS, seconds, DURATION_PATTERN, ZERO),
    Offset: Kind(
        "a duration with its unit, - before it to go back: 1 h, -90 s", offset, f"(- *)?({DURATION_PATTERN})", ZERO
    ),
    Share: Kind("a percentage from 0 % to 100 %", share, SHARE_PATTERN),
    Count: Kind(f"a whole number from 0 to {MOST}", count, r"[0-9]+", WHOLE),
    Factor: Kind(
        "a number from 0.1 to 1000", factor, r"[0-9]+(\.[0-9]+)?", {"type": "number", "minimum": 0.1, "maximum": 1000}
    ),
    MeshName: Kind("a mesh of this script", name, NAME.pattern),
    EventName: Kind("an event of this script, by its `as` or its verb", name, NAME.pattern),
    ProblemCode: Kind("the code of a problem, like second-daemon", name, NAME.pattern),
    IPv6Network: Kind("an IPv6 prefix", prefix),
    bool: Kind("yes or no", truth, "yes|no|true|false"),
    Selection: SELECTION,
    Sides: Kind("a list of groups that are apart from each other, each written as hosts are", read_selector, many=True),
}
"""By the type of a field."""
