"""One run of a script in the simulated world, of which only counts whether something failed, and what."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.director import Director
from scenarios.script import Script
from scenarios.script_names import check_hosts
from scenarios.simulated_stage import SimulatedStage
from scenarios.verdicts import Play, Verdict
from smeg.errors import LocalError

DEFECTS = ("actor-failed", "never-at-rest", "never-formed", "daemon-ended")
"""What is no fault of a script's."""
UNDOABLE = "cannot be done"
OF_THE_NETWORK = (a.Heal, a.Loss, a.Delay)
"""Verbs that name hosts, and mostly mean all of them."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that a run follows from."""

    script: Script
    nodes: int
    seed: int
    patience: float = 1.0
    """By how much what may take some time is stretched."""


@dataclass(frozen=True, slots=True)
class Outcome:
    failures: dict[str, str]
    """What went wrong, by its kind: a check, an actor, an event that could not be; what came first is first. How, in
    words."""
    seconds: float = 0.0
    """Of virtual time."""
    deeds: Counter[str] = field(default_factory=Counter)
    """How many hosts each verb befell; one of the network as a whole counts as one."""
    trace: str = ""
    lines: frozenset[int] = frozenset()
    """Of the script, on which an expectation stands that failed."""


def attempt(case: Case, enough: Collection[str] = ()) -> Outcome:
    """Play it to its end, or until one of these checks has failed. Raises `LocalError` for a script that this world
    cannot play.
    """
    script = case.script
    check_hosts(script, case.nodes)
    stage = SimulatedStage(script, case.nodes, case.seed)
    fatal = [limit for limit in stage.limits(script) if limit.fatal]
    if fatal:
        hint = "leave out what is named above"
        raise LocalError("beyond-this-world", f"the simulated world cannot do: {fatal[0].what}", hint)

    def fails(verdict: Verdict) -> bool:
        return bool(enough) and not verdict.held and _kind(script, verdict) in enough

    # An actor that fails would be logged with its traceback, too, for each of hundreds of runs.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        done = Director(script, stage, case.nodes, case.seed, patience=case.patience, enough=fails).play()
    except LocalError as error:
        if error.problem.code not in DEFECTS:
            raise
        return Outcome({_defect(error): error.problem.message}, max(0.0, stage.now))
    finally:
        logging.disable(before)
        stage.close()
    failed = sorted((verdict for verdict in done.verdicts if not verdict.held), key=lambda verdict: verdict.at)
    kinds: dict[str, str] = {}
    for verdict in failed:
        kinds.setdefault(_kind(script, verdict), f"{verdict.about}: {verdict.what}")
    lines = frozenset(verdict.line for verdict in failed)
    return Outcome(kinds, done.seconds, _deeds(script, done), done.trace, lines)


def _defect(error: LocalError) -> str:
    """`heartbeat failed: ZeroDivisionError`, whichever host it is of."""
    if error.problem.code != "actor-failed":
        return error.problem.code
    actor, _, how = error.problem.message.partition(":")
    return f"{actor.split('@')[0]} failed: {how.strip().split('(')[0]}"


def _kind(script: Script, verdict: Verdict) -> str:
    """The check that does not hold, wherever it stands in the script."""
    checks = (one for one in script.expect if one.line == verdict.line and one.text in verdict.about)
    found = next((e.WORDS[type(one.check)] for one in checks if verdict.about.startswith(one.when.value)), None)
    return found or f"{verdict.about} {UNDOABLE}"


def _deeds(script: Script, done: Play) -> Counter[str]:
    counted: Counter[str] = Counter()
    for one in done.done:
        action = script.timeline[one.place].action
        counted[a.WORDS[type(action)]] += 1 if isinstance(action, OF_THE_NETWORK) else max(1, len(one.hosts))
    return counted
