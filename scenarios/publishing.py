"""Where the figures go when they are measured: rows and pictures into a folder, and at will into the documentation."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scenarios import tables
from scenarios.figures import Result
from scenarios.outcomes import Outcome

ROWS = "performance.json"
DOCS = Path(__file__).parent.parent / "docs"


def machine() -> dict[str, str]:
    """Where this was measured."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "memory": f"{pages / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def write(result: Result, outcomes: Sequence[Outcome], command: str, folder: Path, pictures: Path) -> Mapping[str, Any]:
    """The rows into a file of this folder, the pictures into one of their own; what the file says."""
    # Slow to import, and of no use to the processes of the trials.
    from scenarios.plots import draw

    about = {"machine": machine(), "command": command, "rows": result.rows}
    (folder / ROWS).write_text(json.dumps(about, indent=1) + "\n")
    draw(outcomes, result, pictures)
    return about


def publish(result: Result, outcomes: Sequence[Outcome], command: str) -> None:
    """Where the documentation shows them, and the tables into its page."""
    about = write(result, outcomes, command, DOCS, DOCS / "pictures" / "performance")
    page = DOCS / "performance.md"
    page.write_text(tables.fill(page.read_text(), about))
