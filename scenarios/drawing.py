"""Scripts drawn at random: the script of a seed is always the same, and what it expects must hold whatever was drawn.

A drawn script has a topology (`drawn_hosts`), faults one after another that overlap (`drawn_faults`), and an end at
which everything is mended. After that the meshes must be whole.
"""

from __future__ import annotations

from random import Random

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.drawn_faults import Faults
from scenarios.drawn_hosts import BEHIND, Topology, draw_topology
from scenarios.script import NO_TIME, Begins, Event, Expectation, Script, When
from scenarios.script_reading import parse
from scenarios.script_values import Count, MeshName, Seconds
from scenarios.script_writing import write
from scenarios.selectors import EVERYONE, Down, Named, Selection

MENDED = "mended"
LOOKED_AT = 0.5
"""Of the scripts with one mesh: so many look at packets, too, which costs the most."""
WHOLE_WITHIN = 25.0
"""seconds after everything is mended, beside five heartbeats, in which all must be as it should."""


def draw(seed: int) -> Script:
    """The script of a seed: pure, and right by `smeg-scenario check`."""
    chance = Random(f"{seed}/script")
    topology = draw_topology(chance)
    settings = _settings(chance)
    faults = Faults(chance, topology, settings.get("heartBeatInterval", Seconds(5.0)))
    for _ in range(chance.randint(1, 8)):
        faults.befall()
    events = _mend(faults, topology)
    packets = len(topology.meshes) > 1 or _advertised(topology) or chance.random() < LOOKED_AT
    whole = Seconds(WHOLE_WITHIN + 5 * settings.get("heartBeatInterval", Seconds(5.0)))
    script = Script(
        f"drawn-{seed}",
        "drawn at random",
        sum(int(group.count) for group in topology.hosts),
        topology.hosts,
        topology.meshes,
        topology.bridges,
        settings,
        tuple(events),
        tuple(_expected(topology, faults, whole, packets)),
        Seconds(10.0),
    )
    # Lines are where the text has them.
    return parse(write(script), script.name)


def _settings(chance: Random) -> dict[str, Seconds]:
    if chance.random() < 0.75:
        return {}
    return {
        "heartBeatInterval": Seconds(chance.choice((2, 5, 10))),
        "suspectAfter": Seconds(chance.choice((3, 4, 6))),
        "restartGrace": Seconds(chance.choice((5, 30, 60))),
        "repairInterval": Seconds(chance.choice((5, 10, 30))),
    }


def _advertised(topology: Topology) -> bool:
    return any(group.advertises for group in topology.hosts)


def _mend(faults: Faults, topology: Topology) -> list[Event]:
    """All events, and those at the end that undo what does not end by itself."""
    at = faults.quiet_at()
    exits = [group.name for group in topology.hosts if group.advertises]
    events = list(faults.events)
    if exits:
        events.append(Event(0, a.Advertise(Selection((Named(exits[0]),))), "offered", Seconds(at)))
    events.append(Event(0, a.Heal(), "healed", Seconds(at)))
    # Who is to be started is looked for only then; there is always one, so that this is never about nobody.
    anybody = (Named(next(iter(topology.founders.values()))), Down())
    events.append(Event(0, a.Start(Selection(anybody)), MENDED, Seconds(at)))
    return events


def _expected(topology: Topology, faults: Faults, whole: Seconds, packets: bool) -> list[Expectation]:
    always: list[e.Check] = []
    if not faults.catastrophe:
        always += [e.NoLiveNodePruned(MeshName(mesh)) for mesh in topology.meshes]
    if len(topology.meshes) > 1:
        always.append(e.NoLoop())
    found = [_expects(When.ALWAYS, check) for check in always]
    for event, check, within in faults.known:
        found.append(_expects(When.EVENTUALLY, check, Seconds(within), event))
    for mesh in topology.meshes:
        found.append(_expects(When.EVENTUALLY, e.Converged(EVERYONE, MeshName(mesh)), whole, MENDED))
        found.append(_expects(When.EVENTUALLY, e.OneLeader(MeshName(mesh)), whole, MENDED))
    stable = Selection(
        tuple(
            Named(group.name)
            for group in topology.hosts
            if group.begins is not Begins.OUTSIDE and group.name not in faults.moved_groups
        )
    )
    stay = sum(int(group.count) for group in topology.hosts if Named(group.name) in stable)
    if packets and stay > 1:
        found.append(_expects(When.EVENTUALLY, e.Reachable(stable, stable), whole, MENDED))
        for group in topology.hosts:
            others = Selection(tuple(one for one in stable if one != Named(group.name)))
            if group.advertises and others != stable and others:
                leads = e.LeadsThrough(others, BEHIND, Selection((Named(group.name),)))
                found.append(_expects(When.EVENTUALLY, leads, whole, MENDED))
    at_end: list[e.Check] = [e.Bounded(Count(5000))]
    at_end += [e.Converged(EVERYONE, MeshName(mesh)) for mesh in topology.meshes]
    at_end += [e.SameAddress(stable)] if stable else []
    if faults.away and packets:
        at_end.append(e.NoInterfaceLeft(Selection(tuple(Named(one) for one in sorted(faults.away)))))
    return found + [_expects(When.AT_END, check) for check in at_end]


def _expects(when: When, check: e.Check, within: Seconds = NO_TIME, after: str = "") -> Expectation:
    return Expectation(0, when, check, "", within, after)
