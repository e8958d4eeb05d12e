"""A run on disk: all that it takes to repeat it, and all that was seen. JSON, read back with its form checked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from scenarios.again import legible
from scenarios.script import LARGEST, SMALLEST
from scenarios.stage import Limit
from scenarios.verdicts import Play
from smeg import __version__
from smeg.errors import LocalError

FORM = 2
MAX_RECORD = 256 * 1024 * 1024
"""bytes."""
MOST_SEED = 2**63 - 1
"""A record holds no larger number."""
WORLDS = ("simulated", "real")


@dataclass(frozen=True, slots=True)
class Origin:
    """All that a run follows from."""

    source: str
    """The file of the script."""
    text: str
    world: str
    nodes: int
    seed: int
    patience: float = 1.0

    def record_in(self, folder: Path) -> Path:
        """Where its record is."""
        return folder / f"{Path(self.source).stem}-{self.world}-{self.nodes}-{self.seed}.json"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a replay needs of a record."""

    origin: Origin
    verdicts: tuple[tuple[int, str, bool], ...]
    """Line, about what, whether it held."""
    marks: tuple[str, ...]


def write(path: Path, origin: Origin, limits: Sequence[Limit], play: Play) -> bool:
    """Write the record of a run; its folder is made. Whether it took the place of one that was different.

    Raises `LocalError`.
    """
    record = orjson.dumps({
        "form": FORM,
        "version": __version__,
        "source": legible(Path(origin.source).name),
        "script": origin.text,
        "world": origin.world,
        "nodes": origin.nodes,
        "seed": origin.seed,
        "patience": origin.patience,
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
    })  # fmt: skip
    try:
        another = path.exists() and path.read_bytes() != record
        put(path, record)
    except OSError as error:
        raise LocalError("report-unwritable", f"cannot write {path}: {error}", "name another folder") from error
    return another


def put(path: Path, content: bytes) -> None:
    """Write a file, in a folder that is made: the whole of it, or what was there stays. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _fresh(path)
    try:
        fresh.write_bytes(content)
        if fresh != path:
            fresh.replace(path)
    except BaseException:
        if fresh != path:
            fresh.unlink(missing_ok=True)
        raise


def _fresh(path: Path) -> Path:
    """Where a file is written before it takes its place: beside it, unless it is a pipe or the like."""
    return path if path.exists() and not path.is_file() else path.with_suffix(".new")


def prove_writable(path: Path) -> None:
    """That a file can be written, before there is anything to write: of what this makes nothing stays.

    Raises `LocalError`."""
    made: list[Path] = []
    files = (_fresh(path), path)
    try:
        made += [place for place in (*files, *path.parents) if not place.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            with file.open("ab"):
                pass
    except OSError as error:
        raise LocalError("unwritable", f"cannot write {path}: {error.strerror}", "name another place") from error
    finally:
        for place in made:
            with suppress(OSError):
                place.unlink() if place in files else place.rmdir()


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
            _origin(said),
            tuple((_number(one["line"]), _text(one["about"]), one["held"] is True) for one in said["verdicts"]),
            tuple(_text(mark) for mark in said["marks"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalError("bad-record", f"{path} is no record of a run: {error!r}", "see `run --report`") from error


def _origin(said: Any) -> Origin:
    origin = Origin(
        _text(said["source"]),
        _text(said["script"]),
        _text(said["world"]),
        _number(said["nodes"]),
        _number(said["seed"]),
        float(said["patience"]),
    )
    if origin.world not in WORLDS:
        raise ValueError(f"its world is {origin.world!r}, and there are {' and '.join(WORLDS)}")
    if not SMALLEST <= origin.nodes <= LARGEST:
        raise ValueError(f"it has {origin.nodes} hosts, and a run has {SMALLEST} to {LARGEST}")
    if not 1 <= origin.patience <= 100:
        raise ValueError(f"its patience is {origin.patience}")
    return origin


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text should be")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where a number should be")
    return value
