"""All figures, anew: `make bench`, or some of them.

    python -m scenarios.bench [--quick] [--part NAME ...] [--seeds N] [--resume] [--report] [--folder DIR] [--publish]

Real daemons are measured first, one thing at a time; then the simulated trials, one on each core. Every part leaves
what it found in the folder at once, so that `--resume` goes on after an interruption. What fails is a row, and costs
none of the others. At the end stand the table and, in the folder, its rows and the pictures.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click

from scenarios import crowd, joiner, kept, large_pages, planning, publishing, serf, targets
from scenarios.daemons import TooLate
from scenarios.figures import Result, show
from scenarios.measurement import PACE, pace, tell
from scenarios.outcomes import Outcome
from scenarios.process_pool import process_pool
from scenarios.suites import Job, full, quick
from smeg.errors import LocalError

FOLDER = Path("build/bench")
REAL = ("crowd", "joiner", "serf", "plan")
PARTS = (*REAL, *full(1))


# Measuring.


def run(jobs: Sequence[Job], folder: Path, resume: bool, at_once: int | None = None) -> Result:
    """Run these, so many at a time, or as there are cores. Each leaves a file in the folder, or a row why it failed."""
    waiting = [job for job in jobs if _lacking(_file(folder, job.name), kept.outcome, resume)]
    failed = Result()
    os.environ.update(large_pages.SETTINGS)
    started = time.monotonic()
    pool = ThreadPoolExecutor(at_once or os.cpu_count())
    try:
        futures = {pool.submit(_apart, job, _file(folder, job.name)): job for job in waiting}
        for done, future in enumerate(as_completed(futures), 1):
            job = futures[future]
            if (error := future.exception()) is not None:
                _fail(failed, job.name, _file(folder, job.name), error)
            tell(f"{done} of {len(waiting)}: {job.name}, after {time.monotonic() - started:.0f} s")
    finally:
        pool.shutdown(cancel_futures=True)
    return failed


def _apart(job: Job, path: Path) -> None:
    """Run it in a process of its own: should that be killed, only this is lost."""
    with process_pool(1) as pool:
        kept.write(path, pool.submit(job.run).result())


def run_real(parts: Sequence[str], quickly: bool, folder: Path, resume: bool) -> Result:
    """Measure these real processes, one after another. Each leaves a file in the folder, or a row why it failed."""
    failed = Result()
    for part in parts:
        path = _file(folder, part)
        if _lacking(path, kept.result, resume):
            tell(f"{part}: real processes")
            try:
                result = real(part, quickly)
                result.add(f"{PACE}, after {part}", pace(), "s")
                kept.write(path, result)
            except Exception as error:
                _fail(failed, part, path, error)
    return failed


def real(part: str, quickly: bool) -> Result:
    """One measurement of real processes."""
    match part:
        case "crowd":
            return crowd.measure(12 if quickly else 60, quick=quickly)
        case "serf":
            return serf.measure(12 if quickly else 60, quick=quickly)
        case "plan":
            return planning.measure(1000 if quickly else 3000)
        case _:
            result = Result()
            for members in (300,) if quickly else (3000, 10000):
                found = joiner.measure(members, 5.0, rest=1.0) if quickly else joiner.measure(members)
                result.extend(found, f"a daemon joins {members:,} members")
            return result


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _lacking(path: Path, read: Callable[[Path], object], resume: bool) -> bool:
    """Whether it has to be measured."""
    if not resume or not path.exists():
        return True
    try:
        read(path)
    except LocalError as error:
        tell(f"{error.problem.message}; so it is measured again")
        return True
    return False


def _fail(failed: Result, name: str, path: Path, error: BaseException) -> None:
    """A row that says why. What an earlier run left does not stand for this one."""
    path.unlink(missing_ok=True)
    match error:
        case TooLate() | LocalError():
            why = str(error)
        case BrokenProcessPool():
            why = "its process was killed, perhaps for want of memory"
        case _:
            traceback.print_exception(error)
            why = f"{type(error).__name__}: {error}"
    failed.skip(f"failed: {name}", " ".join(why.split()))


# Reporting.


def read(folder: Path, parts: Sequence[str], jobs: Sequence[Job]) -> tuple[Result, list[Outcome]]:
    """What the folder holds of these: all rows, and the outcomes. Raises `LocalError` for what cannot be read."""
    result = Result()
    for path in (_file(folder, part) for part in parts):
        if path.exists():
            result.extend(kept.result(path))
    outcomes = [kept.outcome(path) for path in (_file(folder, job.name) for job in jobs) if path.exists()]
    result.extend(targets.rows(outcomes))
    return result, outcomes


@click.command()
@click.option("--quick", "quickly", is_flag=True, help="Small meshes, few daemons: under three minutes.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only this; may be repeated.")
@click.option(
    "--seeds", default=10, show_default=True, type=click.IntRange(1, 1000), help="For the rows of 3,000 members."
)
@click.option("--jobs", "at_once", type=click.IntRange(1), help="Trials at a time; one on each core if not given.")
@click.option("--resume", is_flag=True, help="Keep what the folder holds of an earlier run.")
@click.option("--report", is_flag=True, help="Measure nothing: show what the folder holds.")
@click.option(
    "--folder",
    default=FOLDER,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where all that is measured lies, and in the end the rows and pictures.",
)
@click.option("--publish", "published", is_flag=True, help="Write rows, tables and pictures into docs, too.")
def main(
    quickly: bool,
    parts: Sequence[str],
    seeds: int,
    at_once: int | None,
    resume: bool,
    report: bool,
    folder: Path,
    published: bool,
) -> None:
    """Measure what the documentation claims."""
    suite = quick() if quickly else full(seeds)
    known = (*REAL, *suite)
    if lacking := [part for part in parts if part not in known]:
        raise click.BadParameter(f"with --quick there is no {lacking[0]!r}", param_hint="--part")
    chosen = parts or known
    real_parts = [part for part in REAL if part in chosen]
    jobs = [job for part, some in suite.items() if part in chosen for job in some]
    folder = folder / ("quick" if quickly else "full")
    failed = Result()
    if not report:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.BadParameter(f"{folder} cannot be made: {error.strerror}", param_hint="--folder") from None
        failed.extend(run_real(real_parts, quickly, folder, resume))
        failed.extend(run(jobs, folder, resume, at_once))
    try:
        result, outcomes = read(folder, real_parts, jobs)
    except LocalError as error:
        raise click.ClickException(str(error)) from None
    result.extend(failed)
    if not result.rows:
        raise click.ClickException(
            f"{folder} holds nothing of it; measure it without --report, or give another --folder"
        )
    show(result, as_json=False)
    arguments = [argument for argument in sys.argv[1:] if argument != "--report"]
    command = " ".join(["python -m scenarios.bench", *arguments])
    publishing.write(result, outcomes, command, folder, folder / "pictures")
    tell(f"rows: {folder / publishing.ROWS}; pictures: {folder / 'pictures'}")
    if published:
        publishing.publish(result, outcomes, command)
        tell(f"published in {publishing.DOCS}")
    sys.exit(1 if result.missed or failed.rows else 0)


if __name__ == "__main__":
    main()
