"""How a real world begins: daemons start, found meshes, and join them by tokens, as people would have them do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from scenarios.consoles import Answer
from scenarios.real_hosts import RealHost
from scenarios.script import Begins, Group, Script
from smeg.errors import LocalError, Problem

STARTS = 60.0
"""seconds in which all daemons have to start, and again to form their meshes."""
AT_A_TIME = 3
"""daemons that start, or join a mesh: more would only wait for each other."""
Wait = Callable[[float, str, Callable[[], bool]], None]
"""For so many seconds at most, for what, until it holds. Raises `LocalError`."""


class Forming:
    def __init__(self, script: Script, groups: Mapping[str, Group], hosts: Mapping[str, RealHost], wait: Wait) -> None:
        self._script = script
        self._groups = groups
        self._hosts = hosts
        self._wait = wait

    def start_all(self) -> None:
        """Start all daemons, and return when they answer. Raises `LocalError`."""
        waiting = list(self._hosts.values())
        while waiting:
            some, waiting = waiting[:AT_A_TIME], waiting[AT_A_TIME:]
            up: set[str] = set()

            def answered(name: str, answer: Answer, up: set[str] = up) -> None:
                if isinstance(answer, Problem):
                    self._hosts[name].eyes.ask(partial(answered, name), "status")
                else:
                    up.add(name)

            for host in some:
                host.begin()
                host.eyes.ask(partial(answered, host.name), "status")
            self._wait(STARTS, f"{len(some)} daemons answer", lambda: len(up) == len(some))  # noqa: B023

    def form_meshes(self) -> dict[str, RealHost]:
        """Let all found and join the meshes of the script; who founded each. Raises `LocalError`."""
        founders: dict[str, RealHost] = {}
        done: list[str] = []
        expected = 0
        for mesh in self._script.meshes:
            hosts = [self._hosts[name] for name, group in self._groups.items() if mesh in self._script.meshes_of(group)]
            # Whoever founds it is a peer, and up.
            founder, *others = sorted(
                hosts, key=lambda host: (host.group.role == "client", host.group.begins is Begins.OFF)
            )
            founders[mesh] = founder
            expected += 1 + len(others)
            self._form(mesh, founder, others, done)
        self._wait(STARTS, "all have joined their meshes", lambda: len(done) == expected)
        return founders

    def _form(self, mesh: str, founder: RealHost, others: Sequence[RealHost], done: list[str]) -> None:
        grant: dict[str, object] = {}
        if any(group.advertises for group in self._groups.values()):
            grant = {"exit": True, "prefixes": ["::/0"]}
        by_role: dict[str, list[RealHost]] = {}
        for host in others:
            by_role.setdefault(host.group.role, []).append(host)

        def founded(answer: Answer) -> None:
            done.append(founder.name)
            for role, joiners in by_role.items():
                uses = len(joiners)
                self._ask(founder, partial(invited, joiners), "invite", mesh=mesh, uses=uses, role=role, **grant)

        def invited(joiners: list[RealHost], answer: Answer) -> None:
            assert not isinstance(answer, Problem)
            waiting, token = deque(joiners), str(answer["token"])
            for _ in range(min(AT_A_TIME, len(waiting))):
                join_next(waiting, token)

        def join_next(waiting: deque[RealHost], token: str) -> None:
            host = waiting.popleft()
            self._ask(host, partial(joined, host.name, waiting, token), "join-mesh", token=token)

        def joined(name: str, waiting: deque[RealHost], token: str, answer: Answer) -> None:
            done.append(name)
            if waiting:
                join_next(waiting, token)

        self._ask(founder, founded, "new-mesh", name=mesh)

    def _ask(self, host: RealHost, then: Callable[[Answer], None], command: str, **arguments: object) -> None:
        """Ask what has to succeed. Raises `LocalError`, while the reactor runs, when it does not."""

        def answered(answer: Answer) -> None:
            if isinstance(answer, Problem):
                what = f"{host.name} refuses {command}: {answer.message}"
                raise LocalError("never-formed", what, answer.hint or "see whether its meshes can work")
            then(answer)

        host.hands.ask(answered, command, **arguments)
