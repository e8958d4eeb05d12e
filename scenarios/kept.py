"""What a measurement leaves in its folder, so that it can go on after an interruption: a JSON file for each part of it.

A file is there whole or not at all, and one that cannot be read is never taken for a result.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scenarios.figures import Result
from scenarios.outcomes import Known, Outcome
from smeg.errors import LocalError


def write(path: Path, found: Outcome | Result) -> None:
    """In the place of what was there, if anything was."""
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(json.dumps(asdict(found)))
    beside.replace(path)


def outcome(path: Path) -> Outcome:
    """Raises `LocalError` for a file that is not one."""
    with _content(path) as raw:
        raw["known"] = {event: Known(**known) for event, known in raw["known"].items()}
        return Outcome(**raw)


def result(path: Path) -> Result:
    """Raises `LocalError` for a file that is not one."""
    with _content(path) as raw:
        return Result(raw["rows"], raw["samples"])


@contextmanager
def _content(path: Path) -> Iterator[dict[str, Any]]:
    try:
        yield json.loads(path.read_text())
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        hint = "measure it again with --resume, or remove it"
        raise LocalError("unreadable", f"{path} is no whole outcome: {error}", hint) from None
