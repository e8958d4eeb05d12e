"""What real daemons think, asked of them again and again: members, liveness, leader, and the digest of what they know.

Two looks a second at each, all at once; in between events say what changed, so that nothing which came and went is
missed. A daemon that does not answer has no view, once its last one is too old.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scenarios.consoles import SILENT, Answer
from scenarios.reactor import Reactor
from scenarios.real_hosts import RealHost
from scenarios.stage import Observer, Seen
from smeg.errors import Problem

LOOK = 0.5
"""seconds between two looks at a daemon."""
STALE = 4.0
"""seconds after which a look counts no more."""
ANEW = 5.0
"""seconds after which members are asked for although nothing seems to have changed."""
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class View:
    """Of one mesh."""

    digest: str = ""
    rows: Rows = field(default_factory=dict)
    """By name."""
    changed: bool = True
    """Whether members have to be asked for."""
    asked_at: float = 0.0

    def silent(self) -> frozenset[str]:
        return frozenset(name for name, row in self.rows.items() if row["state"] in ("pruned", "daemon-down"))

    def leader(self) -> str | None:
        return next((name for name, row in self.rows.items() if row["leader"]), None)


class Views:
    """Of one host."""

    def __init__(
        self, reactor: Reactor, host: RealHost, observer: Observer, patience: float, queues: bool = False
    ) -> None:
        """`queues`: whether to look at how many messages wait for actors."""
        self._queues = queues
        self.deepest = 0
        """The most messages that were seen to wait for one actor."""
        self._reactor = reactor
        self._host = host
        self._observer = observer
        self._patience = patience
        self.by_mesh: dict[str, View] = {}
        self.at = 0.0
        """When all of it was seen last, on the monotonic clock."""
        self._since: tuple[str, int] = ("", 0)
        """Of events: of which run, and the next one."""
        self._silent: dict[str, set[str]] = {}
        """By mesh: who, as events say."""
        self._stamp = 0.0

    def begin(self) -> None:
        self._look()

    def forget(self) -> None:
        """The daemon is another one."""
        self.by_mesh.clear()
        self.at = 0.0

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.at + STALE * self._patience

    def seen(self, mesh: str) -> Seen | None:
        view = self.by_mesh.get(mesh)
        if view is None or not view.digest or not view.rows or not self.fresh:
            return None
        return Seen((view.digest, tuple(sorted(view.rows))), view.silent(), view.leader())

    # A round of questions.

    def _look(self) -> None:
        self._reactor.call(LOOK, self._look)
        if self._host.daemon is None or not self._host.daemon.running:
            self.forget()
            return
        self._host.measure()
        if self._host.eyes.busy:
            return
        self._stamp = time.monotonic()
        run, number = self._since
        self._host.eyes.ask(self._events, "events", run=run, since=number)
        self._host.eyes.ask(self._meshes, "list-meshes")
        if self._queues:
            self._host.eyes.ask(self._metrics, "metrics")

    def _events(self, answer: Answer) -> None:
        if isinstance(answer, Problem):
            return
        if answer["run"] != self._since[0]:
            # Whatever an earlier daemon thought, this one begins anew.
            self._silent.clear()
        self._since = (answer["run"], answer["next"])
        for event in answer["events"]:
            view = self.by_mesh.get(event["mesh"])
            if view is not None:
                view.changed = True
            self._happened(event["kind"], event["mesh"], event["name"], event["code"])

    def _happened(self, kind: str, mesh: str, name: str, code: str) -> None:
        silent = self._silent.setdefault(mesh, set())
        match kind:
            case "pruned" | "daemon-down":
                gone = () if name in silent else (name,)
                silent.add(name)
                self._observer.changed_mind(self._host.name, mesh, gone, (), (name,) if kind == "pruned" else ())
            case "back":
                silent.discard(name)
                self._observer.changed_mind(self._host.name, mesh, (), (name,), ())
            case "problem":
                self._observer.noticed(self._host.name, code)

    def _metrics(self, answer: Answer) -> None:
        if not isinstance(answer, Problem):
            depths = re.findall(r"^smegmesh_queue_messages\S* (\d+)", str(answer["text"]), re.MULTILINE)
            self.deepest = max([self.deepest, *map(int, depths)])

    def _meshes(self, answer: Answer) -> None:
        if isinstance(answer, Problem):
            return
        names = [row["name"] for row in answer["meshes"]]
        self.by_mesh = {name: self.by_mesh.get(name, View()) for name in names}
        for name in names:
            self._host.eyes.ask(partial(self._digest, name), "converge", mesh=name)
        if not names:
            self.at = self._stamp

    def _digest(self, mesh: str, answer: Answer) -> None:
        view = self.by_mesh.get(mesh)
        if view is None:
            return
        if isinstance(answer, Problem):
            if answer.code != SILENT:
                view.digest = ""
            return
        now = time.monotonic()
        if answer["digest"] != view.digest or view.changed or now > view.asked_at + ANEW:
            view.digest, view.changed, view.asked_at = answer["digest"], False, now
            self._host.eyes.ask(partial(self._members, mesh), "members", mesh=mesh)
        else:
            self.at = self._stamp

    def _members(self, mesh: str, answer: Answer) -> None:
        view = self.by_mesh.get(mesh)
        if view is not None and not isinstance(answer, Problem):
            view.rows = {row["name"]: row for row in answer["members"] if row["state"] != "quarantined"}
            self.at = self._stamp


def addresses(views: Iterable[Views]) -> dict[tuple[str, str], str]:
    """Of members in the overlay, by name and mesh."""
    return {
        (name, mesh): row["address"]
        for one in views
        for mesh, view in one.by_mesh.items()
        for name, row in view.rows.items()
    }
