"""Whether another daemon speaks in this node's name: one that runs with a copy of its state directory.

Each of the two would answer the other's word with its own for ever, and every word goes to the whole mesh. So each
waits the longer the more often it was contradicted. It never sends.
"""

from __future__ import annotations

from smeg.errors import Problem

CODE = "second-daemon"
FIRST = 1.0
LONGEST = 32.0
"""seconds for which nothing is said after a contradiction: doubled with each, up to this."""
CALM = 600.0
"""seconds without one after which all counts as well again."""
SETTLED = 60.0
"""seconds after the start until which one alone proves nothing: whose state was restored finds its own word."""


class SecondDaemon:
    """Of one mesh, called `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._settled_at: float | None = None
        self._times = 0
        self._last = 0.0
        self._raised = False

    def begin(self, now: float) -> None:
        """This node speaks from now on."""
        self._settled_at = now + SETTLED

    def settled(self, now: float) -> bool:
        """Whether what others know of this node by now is what it said itself since it started, or before."""
        return self._settled_at is not None and now >= self._settled_at

    def contradicted(self, now: float) -> None:
        """Others know something newer of this node, and it has not said it."""
        self._times += 1
        self._last = now

    @property
    def quiet_until(self) -> float:
        """Nothing is to be published before."""
        return self._last + min(LONGEST, FIRST * 2.0 ** (self._times - 1)) if self._times else 0.0

    def next_deadline(self) -> float | None:
        """When it is over, if nothing more happens."""
        return self._last + CALM if self._times else None

    def news(self, now: float) -> tuple[Problem | None, bool]:
        """What is to be told that was not told yet; and whether it is over."""
        if self._times and now >= self._last + CALM:
            over, self._times, self._raised = self._raised, 0, False
            return None, over
        if self._raised or not self._times or (self._times == 1 and not self.settled(self._last)):
            return None, False
        self._raised = True
        message = f"in {self._name} something was said in the name of this node that this daemon did not say"
        hint = (
            "another daemon runs with a copy of its state directory: stop it, and give it an empty one to be a node of"
            " its own; or this host was set back to an earlier state, and then it passes by itself"
        )
        return Problem(CODE, message, hint), False
