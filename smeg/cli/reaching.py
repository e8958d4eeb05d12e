"""`smeg-cli ping` and `converge`: whether a node is reached, and whether the others have seen what was changed."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import click

from smeg.cli import views
from smeg.cli.parameters import MESH, NODE
from smeg.cli.program import FAILED, UNHEALTHY, Settings, report, shared_options
from smeg.errors import LocalError

LOOK_EVERY = 0.25
"""seconds."""
SETTLED = 4
"""looks in a row that find the same: a change that was made a moment ago may not show in the first."""
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")
_TIMES = re.compile(r"= ([\d.]+)/([\d.]+)/([\d.]+)/")


@click.command()
@click.argument("node", type=NODE)
@click.option("--count", type=click.IntRange(1, 10000), default=3, show_default=True, help="How many echo requests.")
@shared_options
@click.make_pass_decorator(Settings, ensure=True)
def ping(settings: Settings, node: str, count: int) -> int:
    """Ping NODE, a member or an address, over the overlay, and show the way that packets to it take.

    The way is what `smeg-cli why` says; the packets are sent by the system's ping. Exit status 1 when none came back.
    """
    way = settings.ask("why", {"destination": node})
    if settings.machine is None:
        views.why(way)
    if way.get("reached") is not True:
        raise LocalError("not-reached", f"no way leads to {node}: {way.get('problem')}", f"see `smeg-cli why {node}`")
    command = _command(way, count)
    if settings.machine is None:
        click.echo()
        return FAILED if subprocess.run(command, check=False).returncode else 0
    result = pinged_along(way, count)
    settings.write(result)
    return 0 if result["received"] else FAILED


def pinged_along(way: Mapping[str, Any], count: int) -> dict[str, Any]:
    """What `why` answers, and what came back of so many packets. Raises `LocalError` (`no-ping`)."""
    done = subprocess.run(_command(way, count), capture_output=True, check=False)
    return {**way, **pinged(done.stdout.decode(errors="replace"))}


def _command(way: Mapping[str, Any], count: int) -> list[str]:
    program = shutil.which("ping")
    if program is None:
        raise LocalError("no-ping", "the program ping is not installed", "on Debian: apt-get install iputils-ping")
    return [program, "-6", "-n", "-c", str(count), "-W", "2", str(way.get("destination"))]


def pinged(said: str) -> dict[str, Any]:
    """What ping says at its end: how many packets, and the times in milliseconds, None when nothing came back."""
    counts, times = _SUMMARY.search(said), _TIMES.search(said)
    return {
        "sent": int(counts[1]) if counts else 0,
        "received": int(counts[2]) if counts else 0,
        "least_ms": float(times[1]) if times else None,
        "mean_ms": float(times[2]) if times else None,
        "most_ms": float(times[3]) if times else None,
    }


@click.command()
@click.argument("mesh", type=MESH)
@click.option("--wait", is_flag=True, help="Wait until they have, at most --timeout (default 60) seconds.")
@shared_options
@click.make_pass_decorator(Settings, ensure=True)
def converge(settings: Settings, mesh: str, wait: bool) -> int:
    """Whether the others have seen all that this node knows of MESH, its own last change among it.

    Each member that this node hears says by a digest what it holds: the eight that a peer watches, the two peers of a
    client. In a mesh of more members the rest are told at the same time, and not asked. The exit status is 3 when
    somebody is known to lack something, or nobody is heard.
    """
    limit = 60.0 if settings.timeout is None else settings.timeout
    until, same, before = time.monotonic() + limit, 0, None
    while True:
        # Not the limit of the waiting, but of one answer.
        answer = settings.ask("converge", {"mesh": mesh})
        done = answer.get("converged") is True
        same = same + 1 if done and answer.get("digest") == before else int(done)
        before = answer.get("digest")
        if not wait or same >= SETTLED:
            break
        if time.monotonic() >= until:
            names = ", ".join(str(row.get("name")) for row in answer.get("lacking") or []) or "nobody is heard"
            hint = f"see `smeg-cli members {mesh}`, or wait longer by --timeout"
            raise LocalError("not-converged", f"after {limit:g} s not all have seen the last change: {names}", hint)
        time.sleep(LOOK_EVERY)
    settings.show(answer, _converged)
    return 0 if done else UNHEALTHY


def _converged(answer: Mapping[str, Any]) -> None:
    heard, alive, agreeing = answer.get("heard"), answer.get("alive"), answer.get("agreeing")
    rest = "" if answer.get("whole") is True else f"; the other members, of {alive} that live, are not asked"
    if answer.get("converged") is True:
        report("done", f"all {heard} members that are heard hold what this node holds{rest}")
        return
    report("lacking", f"{agreeing} of {heard} members that are heard hold what this node holds{rest}")
    for row in answer.get("lacking") or []:
        report("lacking", str(row.get("name")))
