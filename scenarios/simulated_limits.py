"""What the simulated world cannot do, or cannot see, of a script: said before the run."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.script import Script
from scenarios.selectors import Named, OfRole, Part, Selection, Some
from scenarios.stage import Limit


def limits(script: Script) -> list[Limit]:
    return [*_of_hosts(script), *moving_peers(script), *_of_checks(script)]


def _of_hosts(script: Script) -> Iterator[Limit]:
    for group in script.hosts:
        if group.families != "both":
            why = "every simulated host reaches every other by one address; run it in the real world"
            yield Limit(1, f"hosts.{group.name}: families {group.families}", why, True)


def moving_peers(script: Script) -> Iterator[Limit]:
    """Which no world can have, because no daemon can."""
    for event in script.timeline:
        if isinstance(event.action, a.Roam) and not _only_clients(script, event.action.hosts):
            why = "a daemon reads its addresses when it starts, so a peer that moves is found again by a restart"
            yield Limit(event.line, "roam of peers", why, True)


def _only_clients(script: Script, selection: Selection) -> bool:
    roles = {group.name: group.role for group in script.hosts}
    for one in selection:
        match one:
            case OfRole("client"):
                continue
            case Named(name) | Part(_, name) | Some(_, name):
                if roles.get(name, roles.get(name.rpartition("-")[0])) != "client":
                    return False
            case _:
                return False
    return True


def _of_checks(script: Script) -> Iterator[Limit]:
    for one in script.expect:
        match one.check:
            case e.Bounded():
                why = "simulated daemons share a process; their queues are looked at"
                yield Limit(one.line, "bounded: memory", why, False)
            case e.NoInterfaceLeft():
                why = "interfaces are only remembered here; that each was told to go is looked at, the kernel is not"
                yield Limit(one.line, "no-interface-left", why, False)
