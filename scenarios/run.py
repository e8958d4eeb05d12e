"""`smeg-scenario`: plays scripts of faults, and says whether what must hold did.

Exit status 0 when all held, 1 when something did not, 2 when a script cannot be played: then none is; 3 when this world
or machine cannot do what one needs, and all else held; 130 when somebody pressed Ctrl-C.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from scenarios import report as report_page
from scenarios import run_record
from scenarios.abilities import find_out
from scenarios.again import legible
from scenarios.attempt import DEFECTS
from scenarios.director import Director, Tell
from scenarios.planned_runs import Asked, Planned, Run, check_size, plan, plan_all
from scenarios.real_stage import RealStage
from scenarios.run_record import MOST_SEED, prove_writable
from scenarios.script import LARGEST
from scenarios.script_files import find, library
from scenarios.script_names import check_hosts
from scenarios.script_reading import parse, read
from scenarios.search_commands import SEED, Within, draw_command, shrink_command, soak_command
from scenarios.simulated_stage import SimulatedStage
from scenarios.stage import Limit, Stage
from scenarios.statuses import FAILED, HELD, INTERRUPTED, UNABLE, end, refuse, say, worst
from scenarios.verdicts import Play
from smeg import __version__
from smeg.errors import LocalError


def stage_for(run: Run) -> Stage:
    """The world of a run. Raises `LocalError`."""
    check_size(run)
    if run.world != "real":
        return SimulatedStage(run.script, run.nodes, run.seed)
    return RealStage(run.script, run.nodes, run.patience, find_out(), run.logs)


def play(run: Run, quiet: bool = False) -> tuple[Play, list[Limit]]:
    """Play a script, having said what its world cannot do. Raises `LocalError`."""
    stage = stage_for(run)
    try:
        limits = stage.limits(run.script)
        for limit in limits:
            where = legible(run.script.source)
            say(f"{where}:{limit.line}: not in the {stage.kind} world: {limit.what} ({limit.why})")
        if any(limit.fatal for limit in limits):
            hint = "play it in another world or on another machine, or leave out what is named above"
            raise LocalError(UNABLE, f"{run.script.name} needs what this world cannot do", hint)
        tell: Tell = (lambda now, words: None) if quiet else _progress
        director = Director(run.script, stage, run.nodes, run.seed, tell, run.patience)
        try:
            return director.play(), limits
        except LocalError as error:
            if error.problem.code not in DEFECTS or not director.began:
                raise
            return director.broken_off(error.problem.message), limits
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
    mark = _mark(done.held) if done.verdicts else "played"
    click.echo(
        f"{mark} {run.script.name}: {len(done.hosts)} hosts, seed {run.seed}, {done.seconds:.0f} s in "
        f"{took:.1f} s, {sent:.0f} bytes/s a host{f', trace {done.trace}' if done.trace else ''}"
    )


def _mark(held: bool) -> str:
    return click.style("holds", fg="green") if held else click.style("FAILS", fg="red")


def _progress(now: float, words: str) -> None:
    if words or sys.stderr.isatty():
        say(f"{now:8.1f} s  {words}")


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
@click.option("--seed", type=SEED, default=1, show_default=True, help="What chance is drawn from.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, help="So many runs, each with the next seed.")
@click.option("--report", type=_FOLDER, help="A folder for records and pages of the runs.")
@click.option("--patience", type=Within(1, 100), default=1.0, show_default=True, help=_PATIENCE)
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
    if seed + seeds - 1 > MOST_SEED:
        raise click.BadParameter(f"the last of {seeds} would be larger than {MOST_SEED}", param_hint="--seeds")
    asked = Asked(world, nodes, range(seed, seed + seeds), report, patience)
    end(lambda: _play_all(plan_all(files, asked), quiet))


def _play_all(scripts: Sequence[Sequence[Planned]], quiet: bool) -> int:
    statuses: Counter[int] = Counter()
    for runs in scripts:
        for planned in runs:
            try:
                _, status = _play(planned, quiet)
                if status == FAILED:
                    say(planned.again)
            except LocalError as error:
                # It is of this world and machine, and so of all seeds.
                statuses[refuse(error)] += 1
                break
            except KeyboardInterrupt:
                name = f"{planned.run.script.name} (seed {planned.run.seed})"
                say(f"interrupted while {name} was played; of the runs before it {_tally(statuses)}")
                return INTERRUPTED
            statuses[status] += 1
    if statuses.total() > 1:
        click.echo(_tally(statuses))
    return worst(statuses)


def _tally(statuses: Counter[int]) -> str:
    """How many runs came to what; a scenario that cannot be played here counts once."""
    unplayed = statuses.total() - statuses[HELD] - statuses[FAILED]
    return f"{statuses[HELD]} held, {statuses[FAILED]} failed" + (f", {unplayed} not played" if unplayed else "")


def _play(planned: Planned, quiet: bool) -> tuple[Play | None, int]:
    """Play a run and show what came of it, which is nothing if its world did not come to rest; leave its record.

    Raises `LocalError` where its world cannot play it.
    """
    run, began = planned.run, time.monotonic()
    try:
        done, limits = play(run, quiet)
    except LocalError as error:
        if error.problem.code not in DEFECTS:
            raise
        click.echo(f"{_mark(False)} {run.script.name}: {error.problem.message}")
        return None, FAILED
    show(run, done, limits, time.monotonic() - began)
    status = HELD if done.held else FAILED
    if planned.record is not None:
        try:
            another = run_record.write(planned.record, planned.origin, limits, done)
            place = " (in place of another run's)" if another else ""
            say(f"recorded in {planned.record}{place}, to look at in {report_page.write(planned.record)}")
        except LocalError as error:
            status = worst([status, refuse(error)])
    return done, status


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
            check_hosts(script, script.nodes)
            said = f"events: {len(script.timeline)}, expectations: {len(script.expect)}"
            click.echo(f"{legible(file)} is right ({said})")
        except LocalError as error:
            status = refuse(error)
    sys.exit(status)


@main.command("replay")
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--report", type=_FOLDER, help="A folder for its record and page.")
@click.option("--quiet", is_flag=True, help="No progress, only verdicts.")
def replay_command(record: Path, report: Path | None, quiet: bool) -> None:
    """Play a recorded run again, and see whether everything happens as it did."""
    end(lambda: _replay(record, report, quiet))


def _replay(path: Path, report: Path | None, quiet: bool) -> int:
    recorded = run_record.read(path)
    origin = recorded.origin
    # It is compared with the record, so it may not take its place.
    record = report / f"{path.stem}-again.json" if report is not None else None
    planned = plan(parse(origin.text, origin.source), origin, record)
    if record is not None:
        prove_writable(record)
    done, status = _play(planned, quiet)
    same, words = _compared(recorded, done)
    click.echo(f"{_mark(same)} {words}")
    return (worst({status} - {FAILED})) if same else FAILED


def _compared(recorded: run_record.Recorded, done: Play | None) -> tuple[bool, str]:
    """Whether a replay is the recorded run, and in which words."""
    if done is None:
        return False, "it does not even begin, which it did when it was recorded"
    same = _judged(done) == recorded.verdicts
    if recorded.origin.world == "real":
        verdicts = "the same verdicts" if same else "other verdicts"
        return same, f"it came to {verdicts}; of real runs no two are quite alike"
    if done.marks == recorded.marks:
        return same, "it is the same run, byte for byte" + ("" if same else ", but it is judged otherwise now")
    pairs = zip(done.marks, recorded.marks, strict=False)
    apart = next((second for second, (one, other) in enumerate(pairs, 1) if one != other), len(recorded.marks))
    return False, f"it is another run from second {apart} on: the code has changed since, or its version"


def _judged(done: Play) -> tuple[tuple[int, str, bool], ...]:
    return tuple((verdict.line, verdict.about, verdict.held) for verdict in done.verdicts)


if __name__ == "__main__":
    main()
