"""`smeg-scenario`: plays scripts of faults, and says whether what must hold did.

Exit status 0 when all held, 1 when something did not, 2 when it could not be played, 3 when this world or machine
cannot do what the script needs: then nothing was started.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from scenarios import report as report_page
from scenarios import run_record
from scenarios.abilities import find_out
from scenarios.attempt import DEFECTS
from scenarios.director import Director, Tell
from scenarios.real_stage import MOST_HOSTS, USUAL, RealStage
from scenarios.script import LARGEST, Script
from scenarios.script_checking import check_size
from scenarios.script_files import find, library
from scenarios.script_reading import parse, read
from scenarios.search_commands import draw_command, shrink_command, soak_command
from scenarios.simulated_stage import SimulatedStage
from scenarios.stage import Limit, Stage
from scenarios.verdicts import Play
from smeg import __version__
from smeg.errors import LocalError

HELD, FAILED, IMPOSSIBLE, BEYOND = 0, 1, 2, 3
UNABLE = "beyond-this-world"
NO_WORLD = ("no-namespaces", "tool-missing", "no-backend")
"""Why there is no real world here at all."""


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


def stage_for(run: Run) -> Stage:
    """The world of a run. Raises `LocalError`."""
    if run.world != "real":
        return SimulatedStage(run.script, run.nodes, run.seed)
    if run.nodes > MOST_HOSTS:
        message = f"{run.nodes} hosts are too many for one machine to be really there"
        raise LocalError("too-many-nodes", message, f"at most --nodes {MOST_HOSTS}; the simulated world takes more")
    return RealStage(run.script, run.nodes, run.patience, find_out(), run.logs)


def play(run: Run, quiet: bool = False) -> tuple[Play, list[Limit]]:
    """Play a script, having said what its world cannot do. Raises `LocalError`."""
    check_size(run.script, run.nodes)
    stage = stage_for(run)
    try:
        limits = stage.limits(run.script)
        for limit in limits:
            _say(f"{run.script.source}:{limit.line}: not in the {stage.kind} world: {limit.what} ({limit.why})")
        if any(limit.fatal for limit in limits):
            hint = "play it in another world or on another machine, or leave out what is named above"
            raise LocalError(UNABLE, f"{run.script.name} needs what this world cannot do", hint)
        tell: Tell = (lambda now, words: None) if quiet else _progress
        return Director(run.script, stage, run.nodes, run.seed, tell, run.patience).play(), limits
    finally:
        stage.close()


def show(run: Run, done: Play, limits: Sequence[Limit], took: float) -> None:
    """A verdict a line, with what this world could not see of it, and one of the whole."""
    unseen = {(limit.line, limit.about): f" (not seen here: {limit.what})" for limit in limits}
    for verdict in done.verdicts:
        about = f"line {verdict.line}: {verdict.about}"
        without = unseen.get((verdict.line, verdict.about), "")
        click.echo(f"  {_mark(verdict.held)} {about} — {verdict.what}{without}")
    notes = ", ".join(f"{what} ({count} times)" for what, count in done.seen["noticed"].items())
    if notes:
        click.echo(f"  noticed: {notes}")
    sent = sum(volume for _, volume in done.sent.values()) / max(1, len(done.hosts)) / max(1.0, done.seconds)
    click.echo(
        f"{_mark(done.held)} {run.script.name}: {len(done.hosts)} hosts, seed {run.seed}, {done.seconds:.0f} s in "
        f"{took:.1f} s, {sent:.0f} bytes/s a host{f', trace {done.trace}' if done.trace else ''}"
    )


def _mark(held: bool) -> str:
    return click.style("holds", fg="green") if held else click.style("FAILS", fg="red")


def _say(words: str) -> None:
    click.echo(words, err=True)


def _progress(now: float, words: str) -> None:
    if words or sys.stderr.isatty():
        _say(f"{now:8.1f} s  {words}")


def _refuse(error: LocalError) -> int:
    problem = error.problem
    click.echo(f"error: {problem.message}", err=True)
    if problem.hint:
        click.echo(f"hint: {problem.hint}", err=True)
    return BEYOND if problem.code in (UNABLE, *NO_WORLD) else IMPOSSIBLE


_FOLDER = click.Path(path_type=Path, file_okay=False)
_PATIENCE = "Stretches what may take some time, for a slow machine; what happens does not change."


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smeg-scenario")
def main() -> None:
    """Play scripts of faults against the code that runs on nodes."""


for command in (draw_command, shrink_command, soak_command):
    main.add_command(command)


@main.command("run")
@click.argument("files", nargs=-1, required=True)
@click.option("--world", type=click.Choice(["simulated", "real"]), default="simulated", show_default=True)
@click.option("--nodes", type=click.IntRange(2, LARGEST), help="How many hosts; else as the script says.")
@click.option("--seed", type=int, default=1, show_default=True, help="What chance is drawn from.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, help="So many runs, each with the next seed.")
@click.option("--report", type=_FOLDER, help="A folder for records and pages of the runs.")
@click.option("--patience", type=click.FloatRange(1, 100), default=1.0, show_default=True, help=_PATIENCE)
@click.option("--quiet", is_flag=True, help="No progress, only verdicts.")
def run_command(
    files: Sequence[str],
    world: str,
    nodes: int | None,
    seed: int,
    seeds: int,
    report: Path | None,
    patience: float,
    quiet: bool,
) -> None:
    """Play scripts: files, or names of the library (`smeg-scenario list`)."""
    asked = Asked(world, nodes, range(seed, seed + seeds), report, patience, quiet)
    sys.exit(max(_run(find(file), asked) for file in files))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants of each script."""

    world: str
    nodes: int | None
    seeds: Iterable[int]
    report: Path | None
    patience: float
    quiet: bool

    def run(self, script: Script, seed: int) -> Run:
        usual = min(script.nodes, USUAL) if self.world == "real" else script.nodes
        nodes = self.nodes or usual
        logs = self.report / f"{script.name}-{nodes}-{seed}-logs" if self.report is not None else None
        return Run(script, nodes, seed, self.world, self.patience, logs)

    def again(self, path: Path, run: Run) -> str:
        real = f" --world real --patience {run.patience:g}" if self.world == "real" else ""
        return f"again: smeg-scenario run {path} --nodes {run.nodes} --seed {run.seed}{real}"


def _run(path: Path, asked: Asked) -> int:
    worst = HELD
    try:
        script, text = read(path)
        for seed in asked.seeds:
            run = asked.run(script, seed)
            again = asked.again(path, run)
            began = time.monotonic()
            try:
                done, limits = play(run, asked.quiet)
            except LocalError as error:
                if error.problem.code not in DEFECTS:
                    raise
                click.echo(f"{_mark(False)} {script.name}: {error.problem.message}")
                _say(again)
                worst = FAILED
                continue
            show(run, done, limits, time.monotonic() - began)
            if asked.report is not None:
                _record(asked.report, str(path), text, run, limits, done)
            if not done.held:
                worst = FAILED
                _say(again)
    except LocalError as error:
        return _refuse(error)
    return worst


def _record(folder: Path, source: str, text: str, run: Run, limits: Sequence[Limit], done: Play) -> None:
    """Raises `LocalError`."""
    written = run_record.write(folder, source, text, run.world, run.nodes, run.seed, limits, done)
    _say(f"recorded in {written}, to look at in {report_page.write(written)}")


@main.command("list")
def list_command() -> None:
    """The library, and what each scenario plays."""
    for path in library():
        script, _ = read(path)
        click.echo(f"{path.stem:28} {script.about}")


@main.command("check")
@click.argument("files", nargs=-1, required=True)
def check_command(files: Sequence[str]) -> None:
    """Read scripts without playing them, and name every mistake."""
    status = HELD
    for file in files:
        try:
            script, _ = read(find(file))
            check_size(script, script.nodes)
            click.echo(f"{file} is right: {len(script.timeline)} events, {len(script.expect)} expectations")
        except LocalError as error:
            status = _refuse(error)
    sys.exit(status)


@main.command("replay")
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--report", type=_FOLDER, help="A folder for its record and page.")
@click.option("--quiet", is_flag=True, help="No progress, only verdicts.")
def replay_command(record: Path, report: Path | None, quiet: bool) -> None:
    """Play a recorded run again, and see whether everything happens as it did."""
    try:
        sys.exit(_replay(run_record.read(record), report, quiet))
    except LocalError as error:
        sys.exit(_refuse(error))


def _replay(recorded: run_record.Recorded, report: Path | None, quiet: bool) -> int:
    run = Run(parse(recorded.text, recorded.source), recorded.nodes, recorded.seed, recorded.world)
    began = time.monotonic()
    done, limits = play(run, quiet)
    show(run, done, limits, time.monotonic() - began)
    if report is not None:
        _record(report, recorded.source, recorded.text, run, limits, done)
    if run.world == "real":
        same = _judged(done) == recorded.verdicts
        click.echo(f"{_mark(same)} it came to the same verdicts; of real runs no two are quite alike")
        return HELD if same else FAILED
    if done.marks == recorded.marks:
        same = _judged(done) == recorded.verdicts
        click.echo(f"{_mark(same)} it is the same run, byte for byte")
        return HELD if same else FAILED
    pairs = zip(done.marks, recorded.marks, strict=False)
    apart = next((second for second, (one, other) in enumerate(pairs, 1) if one != other), len(recorded.marks))
    click.echo(f"{_mark(False)} it is another run from second {apart} on: the code has changed since, or its version")
    return FAILED


def _judged(done: Play) -> tuple[tuple[int, str, bool], ...]:
    return tuple((verdict.line, verdict.about, verdict.held) for verdict in done.verdicts)


if __name__ == "__main__":
    main()
