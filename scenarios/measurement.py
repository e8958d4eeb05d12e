"""How somebody runs a measurement by hand: what it says meanwhile, and how it ends."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import click

from scenarios.daemons import TooLate
from scenarios.figures import Result, show
from smeg.errors import LocalError

PACE = "ten million additions in Python on this machine just now"
as_json = click.option("--json", "as_json", is_flag=True, help="Rows as JSON lines, then all samples.")


class Seconds(click.FloatRange):
    """From one second to an hour. A range alone lets pass what is no number."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(1, 3600)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


def tell(what: str) -> None:
    """What is going on, beside the figures."""
    print(what, file=sys.stderr, flush=True)


def pace() -> float:
    """How fast this machine runs Python just now: seconds of a processor for ten million additions. A shared one may
    take twice as long an hour later, and every figure in processor time with it."""
    began, total = time.process_time(), 0
    for number in range(10_000_000):
        total += number
    return time.process_time() - began


def conclude(measure: Callable[[], Result], as_json: bool) -> NoReturn:
    """Measure, show the figures, and end the program: with status 1 where a target was missed, or with what failed."""
    try:
        result = measure()
    except (TooLate, LocalError) as error:
        raise click.ClickException(str(error)) from None
    result.add(PACE, pace(), "s")
    show(result, as_json)
    sys.exit(1 if result.missed else 0)
