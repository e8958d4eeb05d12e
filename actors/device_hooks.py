"""The hooks of one interface in its actor's hands: which one runs now, and which have failed.

All run beside everything else: whoever has them looks every `LOOK_EVERY` seconds whether they have ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from smeg.edges.hook_run import HookRun
from smeg.errors import Problem
from smeg.hooks import Hook, Hooks

LOOK_EVERY = 0.1
"""seconds between two looks at a command that runs."""
DOWN_LIMIT = 3.0
"""seconds for each hook of an interface's going: a daemon that is told to end has to."""


class DeviceHooks:
    def __init__(self, hooks: Hooks, interface: str) -> None:
        self._hooks = hooks
        self._interface = interface
        self._run: HookRun | None = None
        self._look_at = 0.0
        self._began: set[Hook] = set()
        self._failed: dict[Hook, Problem] = {}
        self._addresses: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One for each hook that failed when it ran last."""
        return tuple(self._failed.values())

    def failure(self, hook: Hook) -> Problem | None:
        """What went wrong when it ran last."""
        return self._failed.get(hook)

    def configure(self, hooks: Hooks) -> None:
        """From now on these; what a hook did before is its user's."""
        self._hooks = hooks
        self._failed = {hook: problem for hook, problem in self._failed.items() if hooks.commands.get(hook)}

    def begin(self, hook: Hook, now: float, addresses: Iterable[str] = ()) -> bool:
        """Start a hook, once for each coming of the interface; whether it has an end that is to come."""
        self._addresses = tuple(addresses)
        if hook in self._began:
            return False
        self._began.add(hook)
        commands = self._hooks.of(hook, self._interface)
        if not commands:
            return False
        self.close()
        self._run = HookRun(hook, commands, self._environment(hook), self._hooks.limit, now)
        self._look_at = now
        return True

    def next_deadline(self) -> float | None:
        return self._look_at if self._run is not None else None

    def look(self, now: float) -> Hook | None:
        """The hook that has just come to its end."""
        if self._run is None or not self._run.look(now):
            self._look_at = now + LOOK_EVERY
            return None
        hook, run, self._run = self._run.hook, self._run, None
        self._note(run)
        return hook

    def begin_last(self, hook: Hook, now: float) -> bool:
        """Start a hook of the interface's going, for a short time; whatever else runs is killed. Whether it has an end
        that is to come."""
        self.close()
        commands = self._hooks.of(hook, self._interface)
        if not commands:
            return False
        self._run = HookRun(hook, commands, self._environment(hook), min(self._hooks.limit, DOWN_LIMIT), now)
        self._look_at = now
        return True

    def again(self) -> None:
        """The interface is gone: it comes anew."""
        self._began.clear()

    def close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None

    def _environment(self, hook: Hook) -> dict[str, str]:
        return self._hooks.environment(hook, self._interface, self._addresses)

    def _note(self, run: HookRun) -> None:
        self._failed.pop(run.hook, None)
        if run.problem is not None:
            self._failed[run.hook] = run.problem
