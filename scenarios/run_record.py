"""A run on disk: all that it takes to repeat it, and all that was seen. JSON, read back with its form checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from scenarios.stage import Limit
from scenarios.verdicts import Play
from smeg import __version__
from smeg.errors import LocalError

FORM = 1
MAX_RECORD = 256 * 1024 * 1024
"""bytes."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a replay needs of a record."""

    source: str
    text: str
    world: str
    nodes: int
    seed: int
    verdicts: tuple[tuple[int, str, bool], ...]
    """Line, about what, whether it held."""
    marks: tuple[str, ...]


def write(
    folder: Path, source: str, text: str, world: str, nodes: int, seed: int, limits: Sequence[Limit], play: Play
) -> Path:
    """Write a run's record into a folder, which is made; its path. Raises `LocalError`."""
    record = {
        "form": FORM,
        "version": __version__,
        "source": Path(source).name,
        "script": text,
        "world": world,
        "nodes": nodes,
        "seed": seed,
        "limits": [asdict(limit) for limit in limits],
        "held": play.held,
        "seconds": play.seconds,
        "verdicts": [asdict(verdict) for verdict in play.verdicts],
        "events": [asdict(done) for done in play.done],
        "hosts": play.hosts,
        "sent": play.sent,
        "seen": play.seen,
        "story": play.story,
        "trace": play.trace,
        "marks": play.marks,
    }
    path = folder / f"{Path(source).stem}-{world}-{nodes}-{seed}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(record))
    except OSError as error:
        raise LocalError("report-unwritable", f"cannot write {path}: {error}", "name another folder") from error
    return path


def read(path: Path) -> Recorded:
    """Raises `LocalError` for what is no record of a run."""
    try:
        if path.stat().st_size > MAX_RECORD:
            raise LocalError("bad-record", f"{path} is larger than {MAX_RECORD} bytes", "no run leaves as much")
        said = orjson.loads(path.read_bytes())
    except OSError as error:
        raise LocalError("record-unreadable", f"cannot read {path}: {error}", "name a file that exists") from error
    except orjson.JSONDecodeError as error:
        raise LocalError("bad-record", f"{path} is no JSON: {error}", "give what `run --report` has written") from error
    try:
        if said["form"] != FORM:
            raise LocalError("bad-record", f"{path} has the form {said['form']!r}", f"this version reads {FORM}")
        return Recorded(
            _text(said["source"]),
            _text(said["script"]),
            _text(said["world"]),
            _number(said["nodes"]),
            _number(said["seed"]),
            tuple((_number(one["line"]), _text(one["about"]), one["held"] is True) for one in said["verdicts"]),
            tuple(_text(mark) for mark in said["marks"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalError("bad-record", f"{path} is no record of a run: {error!r}", "see `run --report`") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text should be")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where a number should be")
    return value
