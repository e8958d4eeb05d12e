"""The commands of `smeg-scenario` that look for failures: `draw`, `shrink`, `soak`."""

from __future__ import annotations

import time
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import click

from scenarios import run_record
from scenarios.again import legible
from scenarios.attempt import Case, attempt
from scenarios.drawing import draw
from scenarios.run_record import MOST_SEED, prove_writable
from scenarios.script import LARGEST
from scenarios.script_files import find
from scenarios.script_reading import parse, read
from scenarios.script_writing import write
from scenarios.shrinking import Shrinking, story
from scenarios.soaking import ACCOUNT, Account, Bounds, load, soak
from scenarios.statuses import FAILED, HELD, INTERRUPTED, end, say
from smeg.errors import LocalError


class Within(click.FloatRange):
    """A number in a range. To click, NaN is in any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


SEED = click.IntRange(-MOST_SEED, MOST_SEED)
DRAWN = click.IntRange(0, MOST_SEED)


@click.command("draw")
@click.argument("seed", type=DRAWN)
def draw_command(seed: int) -> None:
    """The script that `soak` draws from a seed."""
    click.echo(write(draw(seed)), nl=False)


@click.command("shrink")
@click.argument("file")
@click.option("--nodes", type=click.IntRange(2, LARGEST), help="How many hosts; else as the script or record says.")
@click.option("--seed", type=SEED, help="With which it fails; else 1, or as the record says.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, help="So many seeds are tried until one fails.")
@click.option("--tries", type=click.IntRange(1, 100_000), default=200, show_default=True, help="At most so many runs.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the script is written.")
def shrink_command(
    file: str, nodes: int | None, seed: int | None, seeds: int, tries: int, out: Path | None
) -> None:  # fmt: skip
    """The smallest seed, number of hosts and timeline that still fail, of a script or a record of a run."""
    source = find(file)
    end(lambda: _shrink(source, _case(source, nodes, seed), seeds, tries, out))


def _case(path: Path, nodes: int | None, seed: int | None) -> Case:
    if path.suffix == ".json":
        recorded = run_record.read(path)
        origin = recorded.origin
        script = parse(origin.text, origin.source)
        patience = origin.patience
        if origin.world == "real":
            say(f"{legible(path)} is of real daemons; it is looked for what fails in the simulated world")
            patience = 1.0
        return Case(script, nodes or origin.nodes, origin.seed if seed is None else seed, patience)
    script, _ = read(path)
    return Case(script, nodes or script.nodes, 1 if seed is None else seed)


def _shrink(source: Path, first: Case, seeds: int, tries: int, out: Path | None) -> int:
    path = out or Path(f"{first.script.name}-shrunk.yaml")
    if path.exists() and path.samefile(source):
        raise LocalError("own-script", f"{legible(path)} is the script itself", "name another file by --out")
    run_record.prove_writable(path)
    for seed in range(first.seed, first.seed + seeds):
        case = replace(first, seed=seed)
        outcome = attempt(case)
        if outcome.failures:
            break
        say(f"with seed {seed} all holds")
    else:
        hint = "name a seed with which it fails (--seed), or try more of them (--seeds)"
        raise LocalError("does-not-fail", f"{first.script.name} does not fail", hint)
    for words in outcome.failures.values():
        say(f"seed {case.seed}: {words}")
    shrunk = Shrinking(case, outcome, attempt, tries, say).shrink()
    text = write(shrunk.case.script, story(shrunk, case, path))
    try:
        run_record.put(path, text.encode())
    except OSError as error:
        raise LocalError("script-unwritable", f"cannot write {path}: {error}", "name another one by --out") from error
    small = shrunk.case
    size = f"{small.nodes} hosts, {len(small.script.timeline)} events, seed {small.seed}"
    click.echo(f"{legible(path)}: {size}, after {shrunk.runs} runs")
    if shrunk.exhausted:
        say(f"there were no more runs: with --tries {tries * 2} it might become smaller")
    if shrunk.interrupted:
        say("interrupted: it might become smaller")
    return INTERRUPTED if shrunk.interrupted else HELD


@click.command("soak")
@click.option("--minutes", type=Within(0, 60 * 24 * 30), default=10.0, show_default=True, help="Of real time.")
@click.option("--hours", type=Within(0, 1e6), default=0.0, help="Of virtual time, after which it ends, too.")
@click.option("--seed", type=DRAWN, default=1, show_default=True, help="Of the first script.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="How many run at a time.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Folder for what fails; goes on there.")
@click.option(
    "--tries", type=click.IntRange(1, 10_000), default=60, show_default=True, help="Runs to shrink a failure."
)
def soak_command(minutes: float, hours: float, seed: int, jobs: int, keep: Path | None, tries: int) -> None:
    """Draw scripts at random and play them, one seed after another, in the simulated world."""
    bounds = Bounds(minutes, hours, jobs, tries)
    end(lambda: _soak(seed, bounds, keep))


def _soak(seed: int, bounds: Bounds, keep: Path | None) -> int:
    account = load(keep, seed) if keep is not None else Account(seed, seed)
    if keep is not None:
        prove_writable(keep / ACCOUNT)
    began, before = time.monotonic(), account.scripts
    if before:
        say(f"goes on with seed {account.following}: {account.hours:.1f} virtual hours so far")
    interrupted = False
    try:
        soak(account, bounds, keep, say)
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted")
    took = time.monotonic() - began
    for number, failures in account.failed.items():
        for words in failures.values():
            click.echo(f"{click.style('FAILS', fg='red')} drawn-{number}: {words}")
        click.echo(f"  again: smeg-scenario draw {number} > drawn-{number}.yaml, then run it with --seed {number}")
        if keep is not None:
            click.echo(f"  shrunk: {keep / f'drawn-{number}-shrunk.yaml'}")
    if account.unkept:
        click.echo(f"and {account.unkept} more, which were not kept")
    click.echo(", ".join(f"{verb} {count}" for verb, count in account.deeds.items()))
    click.echo(
        f"{account.hours:.2f} virtual hours, {account.faults} faults, {account.scripts} scripts "
        f"(seeds {account.first} to {account.following - 1}), {len(account.failed) + account.unkept} failed; "
        f"{account.scripts - before} scripts in {took:.0f} s"
    )
    return INTERRUPTED if interrupted else FAILED if account.failed else HELD
