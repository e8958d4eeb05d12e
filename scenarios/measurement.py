"""How somebody runs a measurement by hand: what it says meanwhile, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

import click

from scenarios.daemons import TooLate
from scenarios.figures import Result, show
from smeg.errors import LocalError

as_json = click.option("--json", "as_json", is_flag=True, help="Rows as JSON lines, then all samples.")


def tell(what: str) -> None:
    """What is going on, beside the figures."""
    print(what, file=sys.stderr, flush=True)


def conclude(measure: Callable[[], Result], as_json: bool) -> NoReturn:
    """Measure, show the figures, and end the program: with status 1 where a target was missed, or with what failed."""
    try:
        result = measure()
    except (TooLate, LocalError) as error:
        raise click.ClickException(str(error)) from None
    show(result, as_json)
    sys.exit(1 if result.missed else 0)
