"""Where the simulator's time goes: virtual seconds of an idle mesh under Python's profiler, by function and by part.

    python -m scenarios.profiling --members 3000 --seconds 10

The profiler makes everything slower, short functions most; so the first figure, the time without it, is what counts.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import Counter
from pathlib import Path

import click

from scenarios import large_pages
from scenarios.at_size import Mass
from scenarios.measurement import Seconds

ROOT = Path(__file__).parent.parent
SHOWN = 25


def part_of(file: str) -> str:
    """To which part of the program a file belongs."""
    path = Path(file)
    if ROOT in path.parents:
        folder, *_ = path.relative_to(ROOT).parts
        return folder if not folder.startswith(".") else "libraries"
    return "Python itself" if file.startswith(("~", "<")) else "libraries"


@click.command()
@click.option("--members", default=3000, show_default=True, type=click.IntRange(2, 60000), help="Of the idle mesh.")
@click.option(
    "--seconds", default=10.0, show_default=True, type=Seconds(), help="Virtual ones, without a profiler and with it."
)
def main(members: int, seconds: float) -> None:
    """Profile an idle mesh in virtual time."""
    large_pages.use("scenarios.profiling")
    mass = Mass(1, members)
    mass.warm_up()
    began, messages = time.process_time(), mass.network.messages
    mass.run(seconds)
    took, messages = time.process_time() - began, mass.network.messages - messages
    click.echo(f"{members:,} members: {took * 60 / seconds:.0f} s of one core for a virtual minute, without a profiler")
    click.echo(f"{1e6 * took / messages:.0f} us for each of {messages:,} messages")
    profile = cProfile.Profile()
    profile.enable()
    mass.run(seconds)
    profile.disable()
    own: Counter[tuple[str, str]] = Counter()
    parts: Counter[str] = Counter()
    for (file, _, name), (_, _, spent, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        own[Path(file).name, name] += spent
        parts[part_of(file)] += spent
    total = parts.total()
    for part, spent in parts.most_common():
        click.echo(f"{100 * spent / total:5.1f} %  {part}")
    click.echo("")
    for (file, name), spent in own.most_common(SHOWN):
        click.echo(f"{100 * spent / total:5.1f} %  {file}: {name}")


if __name__ == "__main__":
    main()
