"""The actor that people talk to: takes requests from the control socket, answers what it knows itself, passes on the
rest.

What it knows it heard from the others' snapshots, so `status` answers even while another actor is stuck.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.core import Message
from smeg.dashboard import Dashboard
from smeg.edges.control import ControlServer
from smeg.edges.own_process import own_process
from smeg.errors import LocalError, Problem
from smeg.journal import Event
from smeg.keys import node_key
from smeg.mesh_settings import Keys
from smeg.metrics import Queue
from smeg.requests import Command
from smeg.route_policy import RoutePolicy

PATIENCE = 60.0
"""seconds after which an unanswered request is given up."""
MAX_WAITING = 256
"""Requests that may wait for an answer."""


class ControlActor(Actor):
    role = Role.CONTROL

    def __init__(
        self,
        runtime: Runtime,
        incarnation: int,
        supervisor: Address,
        keys: Keys,
        path: Path,
        name: str,
        policy: RoutePolicy,
        keepalive: int,
        group: str = "",
    ) -> None:
        super().__init__(runtime, "", incarnation, supervisor)
        self._path = path
        self._group = group
        run = f"{runtime.wall()}-{incarnation}"
        self._dashboard = Dashboard(node_key(keys.identity), name, runtime.now(), policy, keepalive, run)
        self._server: ControlServer | None = None
        # Answers to what a predecessor passed on must not meet a ticket of ours.
        self._ticket = incarnation << 32
        self._waiting: dict[int, tuple[bytes, float]] = {}

    def begin(self, now: float) -> Iterable[Message]:
        self._server = ControlServer(self._path, self._group)
        self.actor_inbox.watch((self._server.socket,))
        return [m.ControlReady()]

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.Readable():
                return self._read(now)
            case m.Reply():
                asker, _ = self._waiting.pop(message.ticket, (b"", 0.0))
                if asker:
                    self._answer(asker, message.problem if message.problem is not None else message.result or {})
            case m.MetricsAsked():
                return [m.MetricsPage(self._metrics(now))]
            case m.Tick():
                self._give_up(now)
            case _:
                for event in self._dashboard.hear(message, self.runtime.wall()):
                    self._log(event)
                if isinstance(message, m.LivenessChanged):
                    pruned, leader = len(message.pruned), message.leader.hex()[:8] if message.leader else "none"
                    self.runtime.log("info", "liveness", mesh=message.mesh, pruned=pruned, leader=leader)
        return []

    def next_deadline(self) -> float | None:
        return min((since + PATIENCE for _, since in self._waiting.values()), default=None)

    def close(self) -> None:
        self.actor_inbox.watch(())
        if self._server is not None:
            problem = Problem("daemon-stopping", "the daemon is ending", "start it again")
            for asker, _ in self._waiting.values():
                self._answer(asker, problem)
            self._server.close()

    def _read(self, now: float) -> Iterable[Message]:
        assert self._server is not None, "begin opened it"
        out: list[Message] = []
        while (found := self._server.receive()) is not None:
            asker, command = found
            try:
                answer = self._answer_itself(command, now)
            except LocalError as error:
                self._answer(asker, error.problem)
                continue
            if answer is not None:
                self._answer(asker, answer)
            elif len(self._waiting) >= MAX_WAITING:
                self._answer(asker, Problem("busy", f"{MAX_WAITING} requests are waiting", "try again in a moment"))
            else:
                self._ticket += 1
                self._waiting[self._ticket] = (asker, now)
                out.append(m.Request(self._ticket, command.name, command.arguments))
        return out

    def _answer_itself(self, command: Command, now: float) -> dict[str, object] | None:
        said = command.arguments
        mesh = said.get("mesh")
        match command.name:
            case "converge":
                return self._dashboard.converge(str(mesh or ""))
            case "metrics":
                return {"text": self._metrics(now)}
            case "events":
                return self._dashboard.events(str(mesh or ""), said.get("run"), said.get("since"), said.get("last"))
            case "list-meshes":
                return self._dashboard.list_meshes()
            case "members":
                return self._dashboard.members(str(mesh or ""), command.arguments.get("state"), self.runtime.wall())
            case "routes":
                return self._dashboard.routes(str(mesh) if mesh else None, self.runtime.wall())
            case "why":
                destination = command.arguments.get("destination")
                return self._dashboard.why(str(destination or ""), self.runtime.wall())
            case "plan":
                return self._dashboard.plan(str(mesh or ""), command.arguments.get("without"), self.runtime.wall())
            case "status":
                return self._dashboard.status(str(mesh) if mesh else None, now)
        return None

    def _metrics(self, now: float) -> str:
        places = self._directory.places if self._directory is not None else {}
        queues = {
            f"{role.value}@{mesh[:8]}" if mesh else role.value: Queue(address.waiting, address.dropped)
            for (role, mesh), address in places.items()
        }
        return self._dashboard.metrics(now, queues, own_process())

    def _answer(self, asker: bytes, answer: Mapping[str, object] | Problem) -> None:
        assert self._server is not None, "begin opened it"
        self._server.reply(asker, answer)

    def _give_up(self, now: float) -> None:
        for ticket, (asker, since) in list(self._waiting.items()):
            if now - since >= PATIENCE:
                del self._waiting[ticket]
                self._answer(asker, Problem("timeout", "the daemon did not finish in time", "see `smeg-cli status`"))

    def _log(self, event: Event) -> None:
        """One line for what a person would want to find in the log."""
        about = {"mesh": event.mesh, "node": event.node, "name": event.name, "code": event.code, "text": event.text}
        level = "warning" if event.kind == "problem" else "info"
        self.runtime.log(level, event.kind, **{name: value for name, value in about.items() if value})
