"""Plays a script on a stage: does what the timeline says when it says so, and comes to a verdict for each expectation.

The same for every world. Events happen one after another; what they leave to be done later (one host after another,
the end of a fault) waits in a queue of times.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from scenarios import actions as a
from scenarios.checks import NOBODY, Checks
from scenarios.choosing import Choosing
from scenarios.expectations import OF_ALL_TIME
from scenarios.script import Event, Expectation, Script, When
from scenarios.selectors import Selection
from scenarios.stage import Deed, Stage
from scenarios.story import Story
from scenarios.truth import Truth
from scenarios.verdicts import Done, Play, Verdict
from scenarios.witnesses import Witnesses
from smeg.errors import LocalError

STEP = 0.1
"""seconds between two looks at what is waited for."""
LOOK = 1.0
"""seconds between two looks at what must always hold."""
PATIENCE = 300.0
"""seconds that an event waits at most for what it comes after."""
UNDER_WAY = 3.0
"""seconds in which what does not hold at the end may still: somebody may have said something new just then."""
PROGRESS = 10.0
"""seconds between two lines of progress when nothing happens."""
REPLACED = (a.Pause, a.Loss, a.Delay, a.Duplicate, a.Reorder, a.Flap, a.DiskFull)
"""Faults that end by themselves, and of which a host has one at a time: the last."""
Tell = Callable[[float, str], None]


class Director:
    def __init__(
        self,
        script: Script,
        stage: Stage,
        nodes: int,
        seed: int,
        tell: Tell = lambda now, words: None,
        patience: float = 1.0,
        enough: Callable[[Verdict], bool] = lambda verdict: False,
    ) -> None:
        """`patience` stretches what may take some time, and nothing of what happens; `enough`: whether a verdict ends
        the play, and leaves what is not certain yet without one."""
        self._script = script
        self._enough = enough
        self._broken_off = False
        self._stage = stage
        self._tell = tell
        self._patience = patience
        self._truth = Truth(script, nodes, patience)
        self._witnesses = Witnesses(self._truth)
        choosing = Choosing(script, self._truth, stage, seed)
        self._checks = Checks(script, self._truth, stage, self._witnesses, choosing, patience)
        self._story = Story(script, self._truth, stage)
        self._ahead = deque(enumerate(script.timeline))
        """Events that have not happened, by their places in the timeline: so they are called here."""
        self._later: list[tuple[float, int, Deed, int]] = []
        self._order = count()
        self._newest: dict[tuple[type[a.Action], str], int] = {}
        """By kind of fault that ends, and host; none if it is of the whole network: the event that was the last."""
        self._over: dict[int, float] = {}
        """By event: when the last of it was, or will be, done."""
        self._done: list[Done] = []
        self._verdicts: dict[int, Verdict] = {}
        """By place in the list of expectations."""
        self._failed: list[Verdict] = []
        """About events that could not be."""
        self._last_at = 0.0
        """When the last event is or was over."""
        self._quiet_since = 0.0
        """When something was done last."""
        self._waits_since: float | None = None
        """Since when the next event waits for what it comes after."""
        self._came_at: float | None = None
        """When that came about."""
        self._told_at = 0.0
        self._started: dict[str, tuple[int, int]] | None = None
        """What each host had sent when the timeline began."""

    def play(self) -> Play:
        """The whole script. Raises `LocalError` when the world itself fails."""
        stage = self._stage
        self._witnesses.stage = stage
        self._tell(0.0, f"{len(self._truth.hosts)} hosts start")
        stage.set_up(self._witnesses)
        started = dict(stage.sent())
        self._checks.begin()
        self._story.begin()
        self._started = started
        self._tell(0.0, "all is at rest")
        self._look_always()
        look_at = LOOK
        while not self._is_over():
            stage.run(STEP)
            self._truth.pass_to(stage.now)
            self._do_what_is_due()
            while self._ahead and self._is_due(self._ahead[0][1]):
                self._happen(*self._ahead.popleft())
            if self._waits_since is not None and stage.now > self._waits_since + PATIENCE * self._patience:
                self._give_up()
            self._look_for_what_came_about()
            if stage.now >= look_at - STEP / 2:
                look_at += LOOK
                self._look_always()
                self._story.look()
            self._progress()
        if not self._broken_off:
            self._look_at_the_end()
        return self._finish()

    @property
    def began(self) -> bool:
        """Whether the world has come to rest."""
        return self._started is not None

    def broken_off(self, why: str) -> Play:
        """What came of the script until the world failed, which is a failure itself."""
        line = self._done[-1].line if self._done else 1
        self._failed.append(Verdict(line, "run: goes on to its end", False, round(self._stage.now, 6), why))
        return self._finish()

    # The timeline.

    def _is_over(self) -> bool:
        if self._broken_off:
            return True
        if self._ahead or self._later or any(True for _ in self._pending()):
            return False
        return self._stage.now >= self._quiet_since + self._script.lasts

    def _is_due(self, event: Event) -> bool:
        now = self._stage.now
        if event.at is not None:
            return now >= event.at - STEP / 2
        if now < self._last_at:
            return False
        if event.after is not None and self._came_at is None:
            if self._waits_since is None:
                self._waits_since = now
            if self._checks.wrong(event.after):
                return False
            self._came_at = now
        since = self._last_at if self._came_at is None else self._came_at
        return now >= since + event.wait - STEP / 2

    def _happen(self, place: int, event: Event) -> None:
        self._waits_since = self._came_at = None
        now, action = self._stage.now, event.action
        hosts = self._hosts(action)
        self._tell(now, f"{event.name}: {_said(event, hosts)}")
        self._checks.deeds[place], self._checks.last = action, place
        self._checks.choosing.subjects[place] = hosts
        self._done.append(Done(round(now, 6), place, event.line, event.name, hosts))
        self._over[place] = self._last_at = now
        every = float(getattr(action, "every", 0.0))
        if every and len(hosts) > 1:
            deeds = [(now + number * every, self._deed(action, (host,))) for number, host in enumerate(hosts)]
        else:
            deeds = [(now, self._deed(action, hosts))]
        why = self._obstacle(place, event, hosts, deeds[0][1])
        if why:
            self._cannot(event, why)
            return
        for at, deed in deeds:
            self._plan(at, deed, place)
        self._do_what_is_due()

    def _obstacle(self, place: int, event: Event, hosts: tuple[str, ...], deed: Deed) -> str:
        """Why an event cannot be, if it cannot."""
        now, action = self._stage.now, event.action
        if not hosts and not isinstance(action, (a.Heal, a.Partition, a.Invite, a.Duplicate, a.Reorder)):
            return NOBODY
        late = event.at is not None and now > event.at + LOOK * self._patience
        if late and self._script.timeline[place - 1].at is None:
            return f"its time was {event.at:g} s, and what came before it took until {now:.1f} s"
        match action:
            case a.Traffic() if not deed.sides[0]:
                return "there is nobody now to whom packets could go"
            case a.Partition() if sum(bool(side) for side in deed.sides) < 2:
                return "all hosts are on one side now"
            case a.Leave(mesh=mesh) | a.Evict(mesh=mesh) if not self._truth.have_been_in(mesh, hosts):
                return "none of them is a member"
            case a.Join(mesh=mesh) if self._truth.are_in(mesh, hosts):
                return "all of them are members already"
        return ""

    def _hosts(self, action: a.Action) -> tuple[str, ...]:
        chosen = getattr(action, "hosts", None)
        if isinstance(action, a.Partition):
            return ()
        return self._checks.choosing.hosts(Selection(chosen)) if chosen is not None else ()

    def _deed(self, action: a.Action, hosts: tuple[str, ...]) -> Deed:
        choosing = self._checks.choosing
        match action:
            case a.Partition(sides):
                return Deed(action, (), choosing.sides(sides))
            case a.Traffic(_, to):
                pairs = self._checks.pairs(hosts, choosing.hosts(to))
                return Deed(action, hosts, (tuple(one for one, _ in pairs), tuple(other for _, other in pairs)))
            case a.CopyState(_, of):
                return Deed(action, hosts, (choosing.hosts(of)[:1],))
            case a.Restart():
                return Deed(a.Stop(action.hosts), hosts)
        return Deed(action, hosts)

    def _plan(self, at: float, deed: Deed, event: int) -> None:
        heapq.heappush(self._later, (at, next(self._order), deed, event))
        action = self._checks.deeds[event]
        after: list[tuple[float, Deed]] = []
        match action:
            case a.Restart(hosts, _, away) if isinstance(deed.action, a.Stop):
                after.append((at + away, Deed(a.Start(hosts), deed.hosts)))
            case a.Flap(_, lasts, down, up):
                after += self._flapping(at, deed, lasts, down, up)
            case _ if getattr(action, "lasts", 0.0) and not deed.undo:
                lasting = float(getattr(action, "lasts", 0.0))
                heapq.heappush(self._later, (at + lasting, next(self._order), replace(deed, undo=True), event))
        for when, following in after:
            heapq.heappush(self._later, (when, next(self._order), following, event))
        # What an event makes known is complete with the last of its deeds, but a fault that lasts begins at once.
        self._over[event] = max([self._over[event], at, *(when for when, _ in after)])
        self._last_at = max(self._last_at, self._over[event])

    def _flapping(self, at: float, deed: Deed, lasts: float, down: float, up: float) -> Iterator[tuple[float, Deed]]:
        """The link is down at first, and up at the end."""
        when, undo = at + down, True
        while when < at + lasts:
            yield when, replace(deed, undo=undo)
            when, undo = when + (up if undo else down), not undo
        yield at + lasts, replace(deed, undo=True)

    def _do_what_is_due(self) -> None:
        while self._later and self._later[0][0] <= self._stage.now + STEP / 2:
            _, _, deed, event = heapq.heappop(self._later)
            self._do(deed, event)

    def _do(self, deed: Deed, event: int) -> None:
        self._quiet_since = self._stage.now
        if isinstance(deed.action, REPLACED):
            kind, whole = type(deed.action), ("",)
            if deed.undo:
                # What began later goes on.
                mine = [host for host in deed.hosts or whole if self._newest[kind, host] == event]
                if not mine:
                    return
                deed = replace(deed, hosts=tuple(mine) if deed.hosts else ())
            else:
                self._newest.update(dict.fromkeys([(kind, host) for host in deed.hosts or whole], event))
        try:
            self._stage.do(deed)
        except LocalError as error:
            self._cannot(self._script.timeline[event], error.problem.message)
            return
        self._truth.note(deed, self._stage.now)
        self._story.done(deed, event, self._stage.now)

    def _cannot(self, event: Event, why: str) -> None:
        now = self._stage.now
        self._tell(now, f"{event.name} cannot be done: {why}")
        self._failed.append(Verdict(event.line, event.name, False, round(now, 6), f"it could not be done: {why}"))

    def _give_up(self) -> None:
        """What an event waits for does not come."""
        _, first = self._ahead[0]
        wrong = self._checks.wrong(first.after) if first.after is not None else "its time did not come"
        within = f"within {PATIENCE * self._patience:g} s"
        self._cannot(first, f"what it comes after did not hold {within}: {wrong}")
        self._ahead.clear()
        self._waits_since = None

    # Expectations.

    def _pending(self) -> Iterator[tuple[int, Expectation, int]]:
        """Those that should come about and have no verdict yet, with the events from which they count."""
        for place, one in enumerate(self._script.expect):
            if one.when is When.EVENTUALLY and place not in self._verdicts:
                yield place, one, self._script.place(one.after)

    def _look_for_what_came_about(self) -> None:
        now = self._stage.now
        for place, one, event in list(self._pending()):
            if event not in self._over:
                if not self._ahead:
                    self._judge(place, one, False, "the event from which it counts did not happen")
                continue
            since = self._over[event]
            if now < since:
                continue
            wrong = self._checks.wrong(one.check, event)
            if not wrong:
                self._judge(place, one, True, f"after {max(0.0, now - since):.1f} s", since)
            elif now >= since + one.within * self._patience - STEP / 2:
                self._judge(place, one, False, f"after {now - since:.1f} s: {wrong}", since)

    def _look_always(self) -> None:
        self._checks.look()
        for place, one in enumerate(self._script.expect):
            if one.when is When.ALWAYS and place not in self._verdicts:
                wrong = self._checks.wrong(one.check)
                if wrong:
                    self._judge(place, one, False, wrong)

    def _look_at_the_end(self) -> None:
        left = {place: one for place, one in enumerate(self._script.expect) if place not in self._verdicts}
        end = self._stage.now + UNDER_WAY * self._patience - STEP / 2
        while left:
            wrong = {place: self._checks.wrong(one.check) for place, one in left.items()}
            late = self._stage.now >= end
            for place in list(left):
                if late or not wrong[place] or isinstance(left[place].check, OF_ALL_TIME):
                    self._judge(place, left.pop(place), not wrong[place], wrong[place] or "it held")
            if left:
                self._stage.run(STEP)
                self._truth.pass_to(self._stage.now)

    def _judge(self, place: int, one: Expectation, held: bool, what: str, since: float = 0.0) -> None:
        now = self._stage.now
        verdict = Verdict(one.line, one.about, held, round(now, 6), what, round(since, 6))
        self._verdicts[place] = verdict
        self._broken_off = self._broken_off or self._enough(verdict)
        if not held:
            self._tell(now, f"{one.text} does not hold: {what}")
        elif one.when is When.EVENTUALLY:
            self._tell(now, f"{one.text}: {what}")

    # Ending.

    def _progress(self) -> None:
        if self._stage.now >= self._told_at + PROGRESS:
            self._told_at = self._stage.now
            self._tell(self._stage.now, "")

    def _finish(self) -> Play:
        started = self._started or {}
        verdicts = [self._verdicts[place] for place in sorted(self._verdicts)]
        sent = {
            host: (messages - started.get(host, (0, 0))[0], volume - started.get(host, (0, 0))[1])
            for host, (messages, volume) in self._stage.sent().items()
        }
        known: dict[str, Any] = self._witnesses.record()
        return Play(
            round(self._stage.now, 6),
            (*verdicts, *self._failed),
            tuple(self._done),
            self._truth.hosts,
            sent,
            known,
            self._stage.marks(),
            self._story.record(),
        )


def _said(event: Event, hosts: tuple[str, ...]) -> str:
    verb = a.WORDS[type(event.action)]
    whom = ", ".join(hosts[:4]) + (f" and {len(hosts) - 4} more" if len(hosts) > 4 else "")
    return f"{verb} {whom}" if whom and not isinstance(event.action, a.Heal) else verb
