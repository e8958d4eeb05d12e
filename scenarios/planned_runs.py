"""What is to be played, and whether it can be: what can be wrong with it is found before anything is played."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scenarios.again import again
from scenarios.real_stage import MOST_HOSTS, USUAL
from scenarios.run_record import Origin, prove_writable
from scenarios.script import Script
from scenarios.script_files import find
from scenarios.script_names import check_hosts
from scenarios.script_reading import read
from scenarios.statuses import refuse
from smeg.errors import LocalError


@dataclass(frozen=True, slots=True)
class Run:
    """What is played, and how."""

    script: Script
    nodes: int
    seed: int
    world: str
    patience: float = 1.0
    """By how much what may take some time is stretched."""
    logs: Path | None = None
    """A folder for what real daemons write."""


def check_size(run: Run) -> None:
    """Raises `LocalError` for more hosts than the world of a run has room for, or fewer than its script needs."""
    check_hosts(run.script, run.nodes)
    if run.world == "real" and run.nodes > MOST_HOSTS:
        message = f"{run.script.name}: {run.nodes} hosts are too many for one machine to be really there"
        raise LocalError("too-many-nodes", message, f"at most --nodes {MOST_HOSTS}; the simulated world takes more")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants of each script."""

    world: str
    nodes: int | None
    seeds: Iterable[int]
    report: Path | None
    patience: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that can be played, and where its record is left."""

    run: Run
    origin: Origin
    record: Path | None

    @property
    def again(self) -> str:
        origin = self.origin
        return f"again: {again(origin.source, origin.nodes, origin.seed, origin.world, origin.patience)}"


def plan_all(files: Sequence[str], asked: Asked) -> list[list[Planned]]:
    """The runs of each script. Raises `LocalError` when one of them cannot be, having said of all what is wrong."""
    scripts: list[list[Planned]] = []
    wrong: list[LocalError] = []
    for file in files:
        try:
            scripts.append(_runs_of(find(file), asked))
        except LocalError as error:
            wrong.append(error)
    for other in wrong[:-1]:
        refuse(other)
    if wrong:
        raise wrong[-1]
    _check_records([one for runs in scripts for one in runs])
    return scripts


def _check_records(runs: Sequence[Planned]) -> None:
    """Raises `LocalError` where one cannot be written, or would take another's place."""
    sources: dict[Path, str] = {}
    for one in runs:
        if one.record is None:
            continue
        if one.record in sources:
            message = f"{sources[one.record]} and {one.origin.source} would both leave {one.record}"
            raise LocalError("same-record", message, "rename one of them, or run each with a folder of its own")
        sources[one.record] = one.origin.source
        prove_writable(one.record)


def _runs_of(path: Path, asked: Asked) -> list[Planned]:
    """Raises `LocalError`."""
    script, text = read(path)
    usual = min(script.nodes, USUAL) if asked.world == "real" else script.nodes
    source = str(path)
    runs = []
    for seed in asked.seeds:
        origin = Origin(source, text, asked.world, asked.nodes or usual, seed, asked.patience)
        runs.append(plan(script, origin, origin.record_in(asked.report) if asked.report is not None else None))
    return runs


def plan(script: Script, origin: Origin, record: Path | None) -> Planned:
    """Raises `LocalError`."""
    logs = record.with_name(f"{record.stem}-logs") if record is not None else None
    run = Run(script, origin.nodes, origin.seed, origin.world, origin.patience, logs)
    check_size(run)
    return Planned(run, origin, record)
