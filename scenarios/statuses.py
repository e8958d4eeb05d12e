"""How the commands of `smeg-scenario` end: by a status for scripts, and words for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

import click

from smeg.errors import LocalError

HELD, FAILED, IMPOSSIBLE, BEYOND = 0, 1, 2, 3
INTERRUPTED = 130
"""As shells say it: 128, and the number of SIGINT."""
UNABLE = "beyond-this-world"
NO_WORLD = ("no-namespaces", "tool-missing", "no-backend")
"""Why there is no real world here at all."""
_WORST_FIRST = (FAILED, IMPOSSIBLE, BEYOND, HELD)


def worst(statuses: Iterable[int]) -> int:
    """Of several runs: that something failed counts more than that something else could not be played."""
    return min(statuses, key=_WORST_FIRST.index, default=HELD)


def refuse(error: LocalError) -> int:
    """Say what is wrong and what to do; the status."""
    problem = error.problem
    say(f"error: {problem.message}")
    if problem.hint:
        say(f"hint: {problem.hint}")
    return BEYOND if problem.code in (UNABLE, *NO_WORLD) else IMPOSSIBLE


def say(words: str) -> None:
    """What is no result goes to standard error."""
    click.echo(words, err=True)


def end(command: Callable[[], int]) -> NoReturn:
    """With the status of a command, which may be refused or interrupted."""
    try:
        status = command()
    except LocalError as error:
        status = refuse(error)
    except KeyboardInterrupt:
        say("interrupted")
        status = INTERRUPTED
    sys.exit(status)
