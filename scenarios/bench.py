"""All figures, anew: `make bench`, or some of them.

    python -m scenarios.bench [--quick] [--part NAME ...] [--seeds N] [--resume] [--report] [--folder DIR]

Real daemons are measured first, one thing at a time; then the simulated trials, one on each core. Every trial leaves
its outcome in the folder at once, so that `--resume` goes on after an interruption. At the end stands the table; the
same rows go into `docs/performance.json` with `--publish`, and the pictures beside it.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from scenarios import crowd, joiner, large_pages, planning, serf, tables, targets
from scenarios.daemons import TooLate
from scenarios.figures import Result, show
from scenarios.measurement import PACE, pace, tell
from scenarios.outcomes import Known, Outcome
from scenarios.trials import TRIALS
from smeg.errors import LocalError

DOCS = Path(__file__).parent.parent / "docs"
FOLDER = Path("build/bench")
SIZES = (10, 30, 100, 300, 1000, 3000, 10000)


@dataclass(frozen=True, slots=True)
class Job:
    """One trial, to be run in a process of its own."""

    trial: str
    members: int
    seed: int
    loss: float
    options: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        options = [f"{value:g}" for _, value in self.options]
        return "-".join([self.trial, str(self.members), str(self.seed), f"{self.loss:g}", *options])

    def run(self) -> Outcome:
        return TRIALS[self.trial](self.members, self.seed, self.loss, **dict(self.options))


def full(seeds: int) -> dict[str, list[Job]]:
    """Every row that is promised, by part."""
    every = range(1, seeds + 1)
    return {
        "faults": [Job("faults", 3000, seed, loss) for seed in every for loss in (0.05, 0.0)],
        "third": [Job("third", 3000, seed, loss) for seed in every for loss in (0.05, 0.0)],
        "quiet": [Job("quiet", 3000, seed, 0.05) for seed in every],
        "slow": [Job("slow", 3000, 1, 0.05)],
        "partition": [
            Job("partition", 3000, 1, loss, (("share", share),)) for share in (0.1, 0.4) for loss in (0.05, 0.0)
        ],
        "refresh": [Job("refresh", 3000, seed, loss) for seed in every for loss in (0.05, 0.0)],
        "size": [Job("size", members, 1, 0.0) for members in SIZES],
        "repair": [Job("repair", members, 1, 0.0) for members in (3000, 10000)],
        "topologies": [Job("topologies", 300, seed, 0.05 * (seed % 2)) for seed in range(20)],
        "hundred": [
            Job("hundred", 10000, 1, 0.0, (("backbone", 2),)),
            Job("hundred", 4000, 1, 0.0, (("meshes", 40), ("bridges", 60))),
        ],
        "large": [
            *(Job(trial, 10000, 1, loss) for trial in ("faults", "third") for loss in (0.05, 0.0)),
            Job("quiet", 10000, 1, 0.05, (("seconds", 60.0),)),
            Job("refresh", 10000, 1, 0.05, (("interval", 10.0),)),
        ],
    }


def quick() -> dict[str, list[Job]]:
    """The same trials at a size that takes seconds each."""
    return {
        "faults": [Job("faults", 200, 1, 0.05)],
        "third": [Job("third", 200, 1, 0.05)],
        "quiet": [Job("quiet", 100, 1, 0.05, (("seconds", 60.0),))],
        "slow": [Job("slow", 60, 1, 0.05)],
        "partition": [Job("partition", 100, 1, 0.05, (("share", share), ("seconds", 30.0))) for share in (0.1, 0.4)],
        "refresh": [Job("refresh", 200, 1, 0.05)],
        "size": [Job("size", members, 1, 0.0) for members in SIZES[:4]],
        "repair": [Job("repair", 1000, 1, 0.0)],
        "topologies": [Job("topologies", 40, 1, 0.05, (("count", 3.0),))],
    }


# Running.


def run(jobs: Sequence[Job], folder: Path, resume: bool, at_once: int | None = None) -> None:
    """Run these, so many at a time, or as there are cores; each leaves a file in the folder."""
    waiting = [job for job in jobs if not (resume and (folder / f"{job.name}.json").exists())]
    done = 0
    os.environ.update(large_pages.SETTINGS)
    with ProcessPoolExecutor(at_once or os.cpu_count(), get_context("spawn"), max_tasks_per_child=1) as pool:
        started = time.monotonic()
        futures = {pool.submit(_run, job): job for job in waiting}
        for future in as_completed(futures):
            job, done = futures[future], done + 1
            (folder / f"{job.name}.json").write_text(json.dumps(asdict(future.result())))
            tell(f"{done} of {len(waiting)}: {job.name}, after {time.monotonic() - started:.0f} s")


def _run(job: Job) -> Outcome:
    return job.run()


def read(folder: Path, jobs: Iterable[Job]) -> list[Outcome]:
    """The outcomes that are there."""
    found: list[Outcome] = []
    for job in jobs:
        path = folder / f"{job.name}.json"
        if path.exists():
            raw: dict[str, Any] = json.loads(path.read_text())
            raw["known"] = {event: Known(**known) for event, known in raw["known"].items()}
            found.append(Outcome(**raw))
    return found


REAL = ("crowd", "joiner", "serf", "plan")


def real(part: str, quickly: bool) -> Result:
    """One measurement of real processes; a failure is a row."""
    try:
        match part:
            case "crowd":
                return crowd.measure(12 if quickly else 60, quick=quickly)
            case "serf":
                return serf.measure(12 if quickly else 60, quick=quickly)
            case "plan":
                return planning.measure(1000 if quickly else 3000)
            case _:
                result = Result()
                if quickly:
                    return joiner.measure(300, 5.0, rest=1.0)
                for members in (3000, 10000):
                    result.extend(joiner.measure(members))
                return result
    except (TooLate, LocalError) as error:
        result = Result()
        result.skip(part, str(error))
        return result


def run_real(part: str, quickly: bool, folder: Path, resume: bool) -> Result:
    path = folder / f"{part}.json"
    if not (resume and path.exists()):
        tell(f"{part}: real processes")
        result = real(part, quickly)
        result.add(f"{PACE}, after {part}", pace(), "s")
        path.write_text(json.dumps({"rows": result.rows, "samples": result.samples}))
    raw = json.loads(path.read_text())
    return Result(raw["rows"], raw["samples"])


# Reporting.


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


def publish(result: Result, outcomes: Sequence[Outcome], command: str) -> None:
    """Write the rows and the pictures where the documentation shows them."""
    from scenarios.plots import draw

    about = {"machine": machine(), "command": command, "rows": result.rows}
    (DOCS / "performance.json").write_text(json.dumps(about, indent=1) + "\n")
    page = DOCS / "performance.md"
    page.write_text(tables.fill(page.read_text(), about))
    pictures = draw(outcomes, result, DOCS / "pictures" / "performance")
    tell(f"written: docs/performance.json and {len(pictures)} pictures")


@click.command()
@click.option("--quick", "quickly", is_flag=True, help="Small meshes, few daemons: under three minutes.")
@click.option("--part", "parts", multiple=True, help="Only this; may be repeated.")
@click.option("--seeds", default=10, show_default=True, type=click.IntRange(1), help="For the rows of 3,000 members.")
@click.option("--jobs", "at_once", type=click.IntRange(1), help="Trials at a time; one on each core if not given.")
@click.option("--resume", is_flag=True, help="Keep what the folder holds of an earlier run.")
@click.option("--report", is_flag=True, help="Measure nothing: show what the folder holds.")
@click.option("--folder", default=FOLDER, show_default=True, type=click.Path(path_type=Path))
@click.option("--publish", "published", is_flag=True, help="Write docs/performance.json and the pictures.")
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
    suite: Mapping[str, list[Job]] = quick() if quickly else full(seeds)
    known = (*REAL, *suite)
    for part in parts:
        if part not in known:
            raise click.BadParameter(f"{part!r} is none of {', '.join(known)}", param_hint="--part")
    chosen = parts or known
    folder = folder / ("quick" if quickly else "full")
    if not report:
        folder.mkdir(parents=True, exist_ok=True)
    result = Result()
    for part in REAL:
        if part in chosen and (not report or (folder / f"{part}.json").exists()):
            result.extend(run_real(part, quickly, folder, resume or report))
    jobs = [job for part, some in suite.items() if part in chosen for job in some]
    if not report:
        run(jobs, folder, resume, at_once)
    outcomes = read(folder, jobs)
    result.extend(targets.rows(outcomes))
    if report and not result.rows:
        raise click.ClickException(
            f"{folder} holds nothing of it; measure it without --report, or give another --folder"
        )
    show(result, as_json=False)
    if published:
        arguments = [argument for argument in sys.argv[1:] if argument != "--report"]
        publish(result, outcomes, " ".join(["python -m scenarios.bench", *arguments]))
    sys.exit(1 if result.missed else 0)


if __name__ == "__main__":
    main()
