"""One real daemon holds a mesh of thousands, and another joins it over real sockets: what it takes, and what both cost.

    python -m scenarios.joiner --members 3000 [--json]

The others of the mesh are documents, but for those that the two speak with (`neighbours`): whatever the joiner lists it
has read, and verified by itself. Each daemon has a core, which it shares with whatever else the machine does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import click

from scenarios.daemons import Answer, Daemon, Daemons, Usage, usage
from scenarios.figures import Result
from scenarios.measurement import Seconds, as_json, conclude, tell
from scenarios.neighbours import Neighbours
from scenarios.standing_mesh import contact, fill
from smeg.errors import Problem

MESH = "large"
ASK_EVERY = 0.02
PATIENCE = 120.0
REST = 15.0
"""seconds before a measurement of doing nothing."""
TARGETS = {3000: (2.0, 50.0), 10000: (6.0, 60.0)}
"""By members: seconds to have the full state, MiB resident."""
IDLE_CPU = 1.0
MIB = 2**20


def measure(members: int = 3000, seconds: float = 30.0, rest: float = REST) -> Result:
    """`seconds` of doing nothing are measured, after a rest.

    Raises `TooLate` when something does not come about, `LocalError` when a daemon refuses.
    """
    result = Result()
    full, resident = TARGETS.get(members, (None, None))
    with Daemons() as world:
        holder, joiner = world.add(2)
        tell(f"{members} members are made")
        mesh = fill(holder, MESH, members)
        daemons = dict([contact(holder), contact(joiner)])
        everybody = sorted({mesh.founder, *(person.key for person in mesh.others)})
        with Neighbours(mesh.id, mesh.others, daemons, everybody) as company:
            ask = world.questions
            tell(f"the first daemon starts; {len(company)} others speak with it or will speak with the second")
            started = time.monotonic()
            holder.launch(core=0)
            world.until_listening([holder])
            known = ask.until([holder], "list-meshes", _lists(members), PATIENCE, ASK_EVERY)
            result.add("the first daemon has read its disk", known[holder] - started, "s")
            idle(result, "the first daemon", holder, seconds, rest, resident)
            token = ask.one(holder, "invite", mesh=MESH)["token"]
            joiner.launch(core=(os.cpu_count() or 1) - 1)
            world.until_listening([joiner])
            before = {daemon: usage(daemon.pid) for daemon in (holder, joiner)}
            tell("the second joins")
            company.everybody = tuple(sorted({*everybody, *daemons}))
            started = time.monotonic()
            ask.one(joiner, "join-mesh", PATIENCE, token=token)
            result.add("the joiner is told that it is in", time.monotonic() - started, "s")
            known = ask.until([joiner], "list-meshes", _lists(members + 1), PATIENCE, ASK_EVERY)
            result.add("the joiner has the full state", known[joiner] - started, "s", full)
            after = {daemon: usage(daemon.pid) for daemon in (holder, joiner)}
            spent(result, "CPU of the joiner for it", before[joiner], after[joiner])
            spent(result, "CPU of who let it in", before[holder], after[holder])
            idle(result, "the joiner", joiner, seconds, rest, resident)
            alive = ask.one(joiner, "list-meshes")["meshes"][0]["alive"]
            result.add("members that the joiner takes for dead", members + 1 - alive, "", 0)
    return result


def spent(result: Result, figure: str, before: Usage, after: Usage) -> None:
    result.add(figure, after.cpu - before.cpu, "s")


def idle(result: Result, who: str, daemon: Daemon, seconds: float, rest: float, resident: float | None) -> None:
    """What it costs while nobody asks it anything."""
    tell(f"{who} rests")
    time.sleep(rest)
    before = usage(daemon.pid)
    started = time.monotonic()
    time.sleep(seconds)
    after = usage(daemon.pid)
    result.add(f"CPU of {who}, idle", 100 * (after.cpu - before.cpu) / (time.monotonic() - started), "% of a core", 1.0)
    result.add(f"resident memory of {who}", after.resident / MIB, "MiB", resident)


def _lists(count: int) -> Callable[[Daemon, Answer | Problem], bool]:
    def holds(_: Daemon, answer: Answer | Problem) -> bool:
        return not isinstance(answer, Problem) and any(mesh["members"] == count for mesh in answer["meshes"])

    return holds


@click.command()
@click.option(
    "--members", default=3000, show_default=True, type=click.IntRange(20, 60000), help="Of the mesh that is joined."
)
@click.option("--seconds", default=30.0, show_default=True, type=Seconds(), help="How long doing nothing is watched.")
@as_json
def main(members: int, seconds: float, as_json: bool) -> None:
    """Measure a daemon in a large mesh, and one that joins it."""
    conclude(lambda: measure(members, seconds), as_json)


if __name__ == "__main__":
    main()
