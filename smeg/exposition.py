"""Numbers as text in the exposition format 0.0.4 of Prometheus (instrumenting/exposition_formats in its documentation).

Written here because the usual client costs a daemon 9 MB, most of it for servers that it brings along. What is written
is parsed again by that client in the tests.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: all samples of it have these labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    unit: str = ""
    labels: tuple[str, ...] = ()


@dataclass(slots=True)
class Histogram:
    """How many of all values observed were not above each bound."""

    bounds: Sequence[float]
    total: float = 0.0
    counts: list[int] = field(default_factory=list)
    """One for each bound, and one for what is above all."""

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Page:
    """Samples, gathered under their families and written in the families' order."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = {family.name: family for family in families}
        self._lines: dict[str, list[str]] = {name: [] for name in self._families}

    def add(self, name: str, value: float, *labels: str) -> None:
        """A sample, with the values of its family's labels in their order."""
        family = self._families[name]
        self._lines[name].append(f"{name}{_braces(zip(family.labels, labels, strict=True))} {_number(value)}")

    def add_histogram(self, name: str, found: Histogram, *labels: str) -> None:
        said = list(zip(self._families[name].labels, labels, strict=True))
        lines, below = self._lines[name], 0
        for bound, count in zip((*map(_number, found.bounds), "+Inf"), found.counts, strict=True):
            below += count
            lines.append(f"{name}_bucket{_braces([*said, ('le', bound)])} {below}")
        lines += [f"{name}_sum{_braces(said)} {_number(found.total)}", f"{name}_count{_braces(said)} {below}"]

    def text(self) -> str:
        """Every family with at least one sample."""
        lines: list[str] = []
        for name, samples in self._lines.items():
            if samples:
                family = self._families[name]
                lines += [f"# HELP {name} {_help(family.meaning)}", f"# TYPE {name} {family.kind}", *samples]
        return "\n".join([*lines, ""])


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    return repr(value)


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
