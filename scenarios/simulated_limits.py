"""What the simulated world cannot do, or cannot see, of a script: said before the run."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios import expectations as e
from scenarios.script import Script
from scenarios.stage import Limit


def limits(script: Script) -> list[Limit]:
    return [*_of_hosts(script), *_of_checks(script)]


def _of_hosts(script: Script) -> Iterator[Limit]:
    for group in script.hosts:
        if group.families != "both":
            why = "every simulated host reaches every other by one address; run it in the real world"
            yield Limit(group.line, f"hosts.{group.name}: families {group.families}", why, True)


def _of_checks(script: Script) -> Iterator[Limit]:
    for one in script.expect:
        match one.check:
            case e.Bounded():
                why = "simulated daemons share a process; their queues are looked at"
                yield Limit(one.line, "bounded: memory", why, False, one.about)
            case e.NoInterfaceLeft():
                why = "interfaces are only remembered here; that each was told to go is looked at, the kernel is not"
                yield Limit(one.line, "no-interface-left", why, False, one.about)
