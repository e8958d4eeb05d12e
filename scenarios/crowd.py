"""Many real daemons on one machine become a mesh; what they cost, and how fast they learn of a death.

    python -m scenarios.crowd --daemons 60 [--quick] [--json]

Each has its own loopback address, real sockets, and a device that is only written down. What is asked of them while
something is measured is little: who is not alive, ten times a second, of those only who have not said it yet.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from random import Random

import click

from scenarios.daemons import Answer, Daemon, Daemons, TooLate, Usage, usage
from scenarios.figures import Result
from scenarios.measurement import as_json, conclude, tell
from smeg.errors import LocalError, Problem

MESH = "crowd"
JOINING = 8
"""How many join at a time."""
SETTLE = 5.0
"""seconds of rest between two measurements."""
DEAD = ("daemon-down", "pruned")
JOINED_TARGETS = {"max": 1.0}
"""seconds until all 60 know of one more."""
KILLED_TARGETS = {"max": 1.5}
"""seconds until all have a killed one as `daemon-down`."""
STOPPED_TARGETS = {"p99": 4.0, "max": 4.5}
IDLE_CPU = 1.0
RESIDENT = 50.0
"""What each may cost when idle: % of a core, MiB."""
MIB = 2**20


class Crowd:
    """The daemons, the mesh that they are in, and what was measured so far."""

    def __init__(self, daemons: Daemons, patience: float) -> None:
        self.daemons = daemons
        self.result = Result()
        self.patience = patience
        """seconds that anything may take."""
        self.dead: set[Daemon] = set()

    @property
    def living(self) -> list[Daemon]:
        return [daemon for daemon in self.daemons.all if daemon not in self.dead]

    def others(self, *victims: Daemon) -> list[Daemon]:
        return [daemon for daemon in self.living if daemon not in victims]

    # Asking.

    def until_count(self, daemons: Sequence[Daemon], field: str, count: int) -> dict[Daemon, float]:
        """When each says that there are so many `members`, or so many of them `alive`."""

        def holds(_: Daemon, answer: Answer | Problem) -> bool:
            return not isinstance(answer, Problem) and any(mesh[field] == count for mesh in answer["meshes"])

        return self.daemons.questions.until(daemons, "list-meshes", holds, self.patience)

    def until_states(self, daemons: Sequence[Daemon], of: Daemon, states: Collection[str]) -> dict[Daemon, float]:
        """When each says that `of` is in one of these states."""
        wanted = set(states)

        def holds(_: Daemon, answer: Answer | Problem) -> bool:
            return self.state(answer, of) in wanted

        return self.until(daemons, holds)

    def until(
        self, daemons: Sequence[Daemon], holds: Callable[[Daemon, Answer | Problem], bool]
    ) -> dict[Daemon, float]:
        """Ask who is not alive until it holds for what each answers."""
        return self.daemons.questions.until(daemons, "members", holds, self.patience, mesh=MESH, state=list(DEAD))

    def state(self, answer: Answer | Problem, of: Daemon) -> str:
        """Who is not listed among those that are not alive is."""
        if isinstance(answer, Problem):
            return answer.code
        return next((str(row["state"]) for row in answer["members"] if row["name"] == of.name), "alive")

    # The story.

    def form(self) -> None:
        first, *others = self.daemons.all
        started = time.monotonic()
        self.daemons.start(self.daemons.all)
        self.result.add("all daemons started", time.monotonic() - started, "s")
        ask = self.daemons.questions
        ask.one(first, "new-mesh", name=MESH)
        *crowd, last = others
        token = ask.one(first, "invite", mesh=MESH, uses=len(others))["token"]
        started = time.monotonic()
        joined = ask.until(crowd, "join-mesh", self._joined, self.patience, 1.0, JOINING, token=token)
        known = self.until_count(self.daemons.all[:-1], "members", len(crowd) + 1)
        detail = f"{JOINING} at a time"
        self.result.add(f"{len(crowd)} have joined", max(joined.values()) - started, "s", None, detail)
        self.result.add(f"{len(crowd)} have joined, and all know all", max(known.values()) - started, "s", None, detail)
        time.sleep(SETTLE)
        started = time.monotonic()
        ask.one(last, "join-mesh", self.patience, token=token)
        replied = time.monotonic() - started
        known = self.until_count(self.daemons.all, "members", len(self.daemons.all))
        self.result.add("one more joins, and is told that it did", replied, "s")
        samples = [at - started for at in known.values()]
        self.result.spread("one more joins, and is known", samples, "s", JOINED_TARGETS)

    def _joined(self, daemon: Daemon, answer: Answer | Problem) -> bool:
        if isinstance(answer, Problem):
            raise LocalError(answer.code, f"{daemon.name}: {answer.message}", answer.hint)
        return True

    def idle(self, seconds: float) -> None:
        """What doing nothing costs, while nobody asks anything."""
        time.sleep(SETTLE)
        before = {daemon: usage(daemon.pid) for daemon in self.living}
        own = time.process_time()
        started = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - started
        after = {daemon: usage(daemon.pid) for daemon in self.living}
        self.result.add("this process, while it waits", 100 * (time.process_time() - own) / took, "% of a core")
        self.cost(before, after, took)

    def cost(self, before: dict[Daemon, Usage], after: dict[Daemon, Usage], took: float) -> None:
        result = self.result
        cpu = [100 * (after[daemon].cpu - before[daemon].cpu) / took for daemon in after]
        result.mean_and_max("CPU of an idle daemon", cpu, "% of a core", IDLE_CPU)
        result.mean_and_max("resident memory", [used.resident / MIB for used in after.values()], "MiB", RESIDENT)
        result.mean_and_max("open descriptors", [float(used.descriptors) for used in after.values()], "")
        result.mean_and_max("threads", [float(used.threads) for used in after.values()], "")
        connections: list[float] = []

        def note(_: Daemon, answer: Answer | Problem) -> bool:
            assert not isinstance(answer, Problem)
            connections.append(float(answer["gossip"]["connections"]))
            return True

        self.daemons.questions.until(list(after), "status", note, self.patience)
        result.mean_and_max("connections", connections, "")

    def false_deaths(self, seconds: float) -> None:
        """Ask everybody once a second who is not alive, of whom all are."""
        until = time.monotonic() + seconds
        accused: set[tuple[str, str]] = set()

        def holds(daemon: Daemon, answer: Answer | Problem) -> bool:
            if not isinstance(answer, Problem):
                rows = (row for row in answer["members"] if row["state"] in DEAD)
                accused.update((daemon.name, row["name"]) for row in rows)
            return time.monotonic() >= until

        questions = self.daemons.questions
        questions.until(self.living, "members", holds, seconds + self.patience, 1.0, mesh=MESH, state=list(DEAD))
        detail = ", ".join(f"{name} by {count}" for name, count in Counter(of for _, of in accused).items())
        self.result.add(f"false deaths in {seconds:.0f} idle seconds", len(accused), "", 0, detail)

    def kill(self, victims: Sequence[Daemon], figure: str) -> None:
        """`kill -9` of all these at once: when each of the others says of each that its daemon is down.

        Never, if somebody has it as pruned before: a daemon that is only started again must not lose its tunnels."""
        self.dead.update(victims)
        killed = {victim: victim.kill9() for victim in victims}
        seen: dict[tuple[Daemon, Daemon], float] = {}
        states: Counter[str] = Counter()

        def holds(daemon: Daemon, answer: Answer | Problem) -> bool:
            for victim, at in killed.items():
                state = self.state(answer, victim)
                if (daemon, victim) not in seen and state in DEAD:
                    seen[daemon, victim] = time.monotonic() - at if state == "daemon-down" else math.inf
                    states[state] += 1
            return all((daemon, victim) in seen for victim in killed)

        own, asked, started = time.process_time(), self.daemons.questions.asked, time.monotonic()
        self.until(self.living, holds)
        took = time.monotonic() - started
        cost = 100 * (time.process_time() - own) / took
        said = ", ".join(f"{state} {count}" for state, count in states.items())
        asked = self.daemons.questions.asked - asked
        detail = f"said: {said}; asking: {asked} times, {cost:.0f} % of a core"
        self.result.spread(figure, list(seen.values()), "s", KILLED_TARGETS, detail)

    def stop_and_continue(self, victim: Daemon) -> None:
        """SIGSTOP, until all others say pruned; SIGCONT, until all say alive."""
        others = self.others(victim)
        at = victim.signal(signal.SIGSTOP)
        try:
            pruned = self.until_states(others, victim, {"pruned"})
            self.result.samples.setdefault("stopped, known as pruned", []).extend(t - at for t in pruned.values())
            time.sleep(SETTLE)
        finally:
            at = victim.signal(signal.SIGCONT)
        alive = self.until_states(self.living, victim, {"alive"})
        self.result.samples.setdefault("continued, known as alive", []).extend(t - at for t in alive.values())

    def restart(self, victim: Daemon, away: float, watchers: int) -> None:
        """Killed with -9 and started again: whether anybody ever took its tunnel away meanwhile."""
        others = self.others(victim)
        key = next(
            str(row["wireguard"])
            for row in self.daemons.questions.one(victim, "members", mesh=MESH)["members"]
            if row["name"] == victim.name
        )
        victim.kill9()
        killed = time.monotonic()
        absent: set[str] = set()
        pruned: set[str] = set()

        def look() -> None:
            for daemon in others[:: max(1, len(others) // watchers)]:
                plan = self.daemons.questions.one(daemon, "plan", mesh=MESH)
                if key not in {peer["public_key"] for peer in plan["peers"]}:
                    absent.add(daemon.name)

        def alive(daemon: Daemon, answer: Answer | Problem) -> bool:
            state = self.state(answer, victim)
            if state == "pruned":
                pruned.add(daemon.name)
            return state == "alive"

        while time.monotonic() < killed + away:
            look()
            time.sleep(0.25)
        victim.launch()
        started = time.monotonic()
        while not victim.listens():
            look()
            if time.monotonic() > started + self.patience or not victim.running:
                raise TooLate(f"{victim.name} does not start again")
        seen = self.until(self.living, alive)
        look()
        figure = f"restarted after {away:g} s, known as alive"
        self.result.spread(figure, [at - started for at in seen.values()], "s")
        self.result.add("daemons that had it as pruned meanwhile", len(pruned), "", 0)
        self.result.add("devices without its peer meanwhile", len(absent), "", 0, f"{watchers} were looked at")


def measure(daemons: int = 60, *, quick: bool = False, seed: int = 1) -> Result:
    """All of it. Raises `TooLate` when something does not come about, `LocalError` when a daemon refuses."""
    with Daemons() as world:
        world.add(daemons)
        crowd = Crowd(world, patience=60.0 + daemons)
        tell(f"{daemons} daemons start and become a mesh")
        crowd.form()
        tell("idle")
        crowd.idle(5.0 if quick else 20.0)
        crowd.false_deaths(5.0 if quick else 60.0)
        random = Random(seed)
        victims = choose(crowd, random, 8 if quick else 12)
        alone, together, stopped = (victims[:1], victims[1:3], victims[3:4]) if quick else split(victims)
        tell("some are killed")
        for victim in alone:
            crowd.kill([victim], "killed, known to the others")
            time.sleep(SETTLE)
        crowd.kill(together, f"{len(together)} killed at once, known to the others")
        time.sleep(SETTLE)
        tell("some are stopped")
        for victim in stopped:
            crowd.stop_and_continue(victim)
            time.sleep(SETTLE)
        for figure, targets in (("stopped, known as pruned", STOPPED_TARGETS), ("continued, known as alive", None)):
            crowd.result.spread(figure, crowd.result.samples.pop(figure), "s", targets)
        tell("one is restarted")
        crowd.restart(victims[-1], 3.0, watchers=8)
        return crowd.result


def split(victims: list[Daemon]) -> tuple[list[Daemon], list[Daemon], list[Daemon]]:
    """Those killed one after another, those killed at once, those stopped."""
    return victims[:3], victims[3:8], victims[8:11]


def choose(crowd: Crowd, random: Random, count: int) -> list[Daemon]:
    """Victims, all different; the first of them leads."""
    rows = crowd.daemons.questions.one(crowd.daemons.all[0], "members", mesh=MESH)["members"]
    leader = next((row["name"] for row in rows if row["leader"]), None)
    daemons = sorted(crowd.daemons.all, key=lambda daemon: (daemon.name != leader, random.random()))
    return daemons[:count]


@click.command()
@click.option(
    "--daemons", default=60, show_default=True, type=click.IntRange(12, 4000), help="200 need 12 GB and over 2 cores."
)
@click.option("--quick", is_flag=True, help="Fewer deaths, shorter waits.")
@as_json
def main(daemons: int, quick: bool, as_json: bool) -> None:
    """Measure many real daemons on this machine."""
    conclude(lambda: measure(daemons, quick=quick), as_json)


if __name__ == "__main__":
    main()
