"""The figures as tables of the documentation: of `docs/performance.json` into `docs/performance.md`, between two marks.

A table for each of what was measured; the page around them is written by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from scenarios.figures import Row, shown

BEGIN = "<!-- What stands from here to the next mark is written by `make bench PUBLISH=1`. -->"
END = "<!-- So far. -->"


def fill(page: str, about: Mapping[str, Any]) -> str:
    """The page with these figures. Raises `ValueError` for a page without the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the figures")
    return f"{before}{BEGIN}\n\n{_machine(about)}\n\n{_tables(about['rows'])}\n{END}{after}"


def _machine(about: Mapping[str, Any]) -> str:
    of = about["machine"]
    return (
        f"Measured with `{about['command']}` on {of['cores']} cores of {of['processor']}, {of['memory']}, "
        f"{of['system']}, Python {of['python']}."
    )


def _tables(rows: Iterable[Row]) -> str:
    out: list[str] = []
    for group, some in groupby(rows, _group):
        found = list(some)
        seeds = Counter(map(_seeds, found)).most_common(1)[0][0]
        out += [f"### {group}{seeds}", "", "| Figure | Reached | Target | |", "|---|---|---|---|"]
        for row in found:
            name = row["figure"].partition(": ")[2] or row["figure"]
            if _seeds(row) != seeds:
                name += _seeds(row)
            reached, target = shown(row["reached"], row["unit"]), shown(row["target"], row["unit"])
            if row["verdict"] == "skipped":
                reached = row["detail"].replace("|", "\\|")
            out.append(f"| {name} | {reached} | {target and f'≤ {target}'} | {row['verdict']} |")
        out.append("")
    return "\n".join(out)


def _group(row: Row) -> str:
    """What was measured: the figure's name up to the colon."""
    group, colon, _ = row["figure"].partition(": ")
    name = group if colon else "Real processes"
    return f"{name[0].upper()}{name[1:]}"


def _seeds(row: Row) -> str:
    return f" ({row['detail']})" if row["detail"].startswith(("seed", "worst")) else ""
