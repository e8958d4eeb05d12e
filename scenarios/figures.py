"""What a measurement says: rows that compare what was reached with what had to be, and the samples behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict


class Row(TypedDict):
    """One figure. `verdict` is `ok`, `missed`, or empty when there was nothing to reach; `skipped` without a value."""

    figure: str
    reached: float | None
    target: float | None
    unit: str
    verdict: str
    detail: str


@dataclass
class Result:
    """The rows of one scenario, and the raw samples by the name of what was measured, for cumulative plots."""

    rows: list[Row] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, figure: str, reached: float, unit: str, target: float | None = None, detail: str = "") -> None:
        """`target` is the most that `reached` may be."""
        verdict = "" if target is None else "ok" if reached <= target else "missed"
        self.rows.append(Row(figure=figure, reached=reached, target=target, unit=unit, verdict=verdict, detail=detail))

    def skip(self, figure: str, why: str) -> None:
        self.rows.append(Row(figure=figure, reached=None, target=None, unit="", verdict="skipped", detail=why))

    def spread(
        self,
        figure: str,
        samples: Sequence[float],
        unit: str,
        targets: Mapping[str, float] | None = None,
        detail: str = "",
    ) -> None:
        """A row for each of `first`, `p50`, `p99` and `max`, of which `targets` may name some; keeps the samples."""
        self.samples.setdefault(figure, []).extend(samples)
        found = {"first": 0.0, "p50": 0.5, "p99": 0.99, "max": 1.0}
        for name, share in found.items():
            value = percentile(samples, share) if samples else math.inf
            self.add(f"{figure}, {name}", value, unit, (targets or {}).get(name), detail)

    def mean_and_max(self, figure: str, samples: Sequence[float], unit: str, target: float | None = None) -> None:
        """Two rows; `target` is the most that each sample may be, and so their mean."""
        self.samples.setdefault(figure, []).extend(samples)
        if samples:
            self.add(f"{figure}, mean", sum(samples) / len(samples), unit, target)
            self.add(f"{figure}, max", max(samples), unit, target)

    def extend(self, other: Result, about: str = "") -> None:
        """`about` names what the other's rows are of, where there are several alike."""
        self.rows += [{**row, "figure": f"{about}: {row['figure']}"} for row in other.rows] if about else other.rows
        for name, samples in other.samples.items():
            self.samples.setdefault(name, []).extend(samples)

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.rows if row["verdict"] == "missed"]


def percentile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that at least this share of all does not exceed. Raises `ValueError` for no samples."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("no samples")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def show(result: Result, as_json: bool) -> None:
    """On standard output: the rows as JSON lines and then the samples, or a table."""
    if as_json:
        for row in result.rows:
            print(json.dumps(row))
        print(json.dumps({"samples": result.samples}))
        return
    width = max((len(row["figure"]) for row in result.rows), default=0)
    said = ""
    for row in result.rows:
        reached, target = shown(row["reached"], row["unit"]), shown(row["target"], row["unit"])
        print(f"{row['figure']:<{width}}  {reached:>16}  {target:>16}  {row['verdict']}".rstrip())
        if row["detail"] and row["detail"] != said:
            print(f"  ({row['detail']})")
        said = row["detail"]


def shown(value: float | None, unit: str) -> str:
    """A figure with its unit; nothing for none."""
    if value is None:
        return ""
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
