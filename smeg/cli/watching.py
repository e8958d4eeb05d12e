"""`smeg-cli watch`: what happens, a line each, as it happens.

It asks again and again for what came since: the daemon need not know of anybody who watches, and none can hold it up. A
daemon that is restarted is waited for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import click
import orjson

from smeg.cli.parameters import MESH, seconds
from smeg.cli.program import Settings, report, shared_options, write_yaml
from smeg.cli.tables import clean, painted
from smeg.errors import LocalError

_AWAY = ("daemon-not-running", "daemon-stopped", "daemon-stopping")
_COLOURS = {
    "joined": "green", "back": "green", "solved": "green", "mesh-works": "green", "pruned": "red", "evicted": "red",
    "problem": "red", "daemon-down": "yellow", "quarantined": "yellow", "left": "yellow", "leader": "blue",
}  # fmt: skip


@click.command()
@click.argument("mesh", type=MESH, required=False)
@click.option("--last", type=click.IntRange(0, 4096), default=0, show_default=True, metavar="N",
              help="Begin with the last N events.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--every", type=seconds, default="0.5", show_default=True, metavar="SECONDS", help="How often to look.")
@shared_options
@click.make_pass_decorator(Settings, ensure=True)
def watch(settings: Settings, mesh: str | None, last: int, count: int | None, every: float) -> None:
    """Show what happens in all meshes or in MESH, a line an event, until interrupted.

    Members that join, leave, are evicted, pruned, or back; leaders, routes, problems. With --json each event is a line
    of JSON.
    """
    asked: dict[str, Any] = {"mesh": mesh, "last": last}
    shown, away = 0, False
    while True:
        try:
            answer = settings.ask("events", asked)
        except LocalError as error:
            # Only who was there before is waited for.
            if error.problem.code not in _AWAY or "since" not in asked:
                raise
            if not away:
                report("away", "smeg-node does not run; waiting for it")
            away = True
            time.sleep(every)
            continue
        away = False
        if answer.get("missed"):
            report("missed", f"{answer['missed']} events that are no longer kept")
        for event in answer.get("events") or []:
            if isinstance(event, dict):
                _show(settings, event)
                shown += 1
                if shown == count:
                    return
        asked = {"mesh": mesh, "run": answer.get("run"), "since": answer.get("next")}
        time.sleep(every)


def _show(settings: Settings, event: Mapping[str, Any]) -> None:
    match settings.machine:
        case "json":
            click.echo(orjson.dumps(event))
        case "yaml":
            write_yaml([event])
        case _:
            said = event.get("time")
            at = time.strftime("%H:%M:%S", time.localtime(said)) if isinstance(said, int) else "-"
            kind = str(event.get("kind", "-"))
            words = [str(event.get(name)) for name in ("mesh", "name", "text") if event.get(name)]
            click.echo(f"{at}  {painted(clean(kind.ljust(11)), _COLOURS.get(kind, 'cyan'))}  {clean('  '.join(words))}")
    sys.stdout.flush()
