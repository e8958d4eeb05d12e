"""What a script's verbs do in the real world."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from scenarios import actions as a
from scenarios.consoles import Answer
from scenarios.invitations import Invitations
from scenarios.real_hosts import RealHost
from scenarios.stage import Deed, check_nats, original_of
from smeg.errors import Problem

if TYPE_CHECKING:
    from scenarios.real_stage import RealStage


class RealDeeds:
    def __init__(self, stage: RealStage) -> None:
        self._stage = stage
        self._invitations = Invitations[dict[str, str]]()
        """Tokens by role."""
        self._streams: dict[int, int] = {}
        self._clocks: dict[str, float] = {}
        """By host: seconds that its wall clock is ahead."""

    def do(self, deed: Deed) -> None:
        """Raises `LocalError` if it is refused at once; later refusals are noticed."""
        links, action = self._stage.underlay.links, deed.action
        if isinstance(action, a.NatRebind):
            check_nats(deed, {name: host.group for name, host in self._stage.hosts.items()})
        match action:
            case a.Partition():
                links.sides = tuple(frozenset(self._link(name) for name in side) for side in deed.sides)
            case a.Heal():
                links.sides = ()
                for link in links.by_name.values():
                    link.mute = link.deaf = False
            case a.Duplicate(share):
                links.duplicate = 0.0 if deed.undo else share
            case a.Reorder(share):
                links.straggle = 0.0 if deed.undo else share
            case a.Isolate(_, receiving):
                for name in deed.hosts:
                    link = links.by_name[self._link(name)]
                    link.mute, link.deaf = not receiving or link.mute, receiving or link.deaf
            case a.Loss(share):
                for name in deed.hosts:
                    links.by_name[self._link(name)].losses["deed"] = 0.0 if deed.undo else share
            case a.Delay(by):
                for name in deed.hosts:
                    links.by_name[self._link(name)].delays["deed"] = 0.0 if deed.undo else by
            case a.Invite():
                called = self._stage.mesh(action.mesh)
                self._invitations.asked_for(called)
                self._invite(action.mesh, action.uses, action.expires, partial(self._invitations.answered, called))
                return
            case a.Join():
                self._join(deed, action)
                return
            case a.Evict(_, mesh):
                founder = self._stage.founder(mesh)
                for name in deed.hosts:
                    self._ask(founder, lambda answer: None, "evict", mesh=self._stage.mesh(mesh), node=name)
                return
            case a.Traffic():
                self._traffic(deed, action)
                return
            case a.CopyState():
                original = self._stage.hosts[original_of(deed)]
                for name in deed.hosts:
                    self._stage.hosts[name].become(original)
                return
            case _:
                for name in deed.hosts:
                    self._do_to(self._stage.hosts[name], action, deed.undo)
                return
        self._stage.underlay.apply()

    def _link(self, name: str) -> str:
        return self._stage.hosts[name].edge.link

    def _do_to(self, host: RealHost, action: a.Action, undo: bool) -> None:
        match action:
            case a.Start():
                self._stage.views[host.name].forget()
                host.begin()
            case a.Stop():
                host.end()
            case a.Kill():
                host.die()
            case a.PowerOff():
                host.lose_power()
            case a.Pause() if not undo:
                host.stand_still()
            case a.Pause() | a.Resume():
                host.go_on()
            case a.Flap():
                self._stage.underlay.cut(host.edge.link, "up" if undo else "down")
            case a.Roam() | a.NatRebind():
                host.move()
            case a.Clock():
                ahead = self._clocks[host.name] = self._clocks.get(host.name, 0.0) + action.jump
                host.set_clock(ahead, action.drift)
            case a.DiskFull() if undo:
                host.free_disk()
            case a.DiskFull():
                host.fill_disk()
            case a.CorruptState():
                host.corrupt()
            case a.Leave(_, mesh):
                self._ask(host, lambda answer: None, "leave-mesh", mesh=self._stage.mesh(mesh))
            case a.Advertise():
                host.reach(reached=True)
            case a.Withdraw():
                host.reach(reached=False)
            case _:
                raise AssertionError(f"{action} is done to hosts")

    # Meshes.

    def _ask(self, host: RealHost, then: Callable[[Answer], None], command: str, **arguments: object) -> None:
        """Refusals are noticed."""

        def answered(answer: Answer) -> None:
            if isinstance(answer, Problem):
                self._stage.notice(host.name, f"{command}: {answer.code}")
            then(answer)

        host.hands.ask(answered, command, **arguments)

    def _invite(self, mesh: str, uses: int, expires: float, then: Callable[[dict[str, str] | None], None]) -> None:
        """An invitation for each role, because a token admits one; None is that one was refused."""
        founder, called = self._stage.founder(mesh), self._stage.mesh(mesh)
        roles = sorted({host.group.role for host in self._stage.hosts.values()})
        answers: dict[str, Answer] = {}

        def made(role: str, answer: Answer) -> None:
            answers[role] = answer
            if len(answers) == len(roles):
                tokens = {one: str(said["token"]) for one, said in answers.items() if not isinstance(said, Problem)}
                then(tokens if len(tokens) == len(roles) else None)

        for role in roles:
            self._ask(founder, partial(made, role), "invite", mesh=called, uses=uses, role=role, expires=round(expires))

    def _join(self, deed: Deed, action: a.Join) -> None:
        def join(tokens: dict[str, str]) -> None:
            for name in deed.hosts:
                host = self._stage.hosts[name]
                self._ask(host, lambda answer: None, "join-mesh", token=tokens[host.group.role])

        if not self._invitations.use(self._stage.mesh(action.mesh), join):
            self._invite(action.mesh, len(deed.hosts), a.AN_HOUR, lambda tokens: join(tokens) if tokens else None)

    def _traffic(self, deed: Deed, action: a.Traffic) -> None:
        traffic = self._stage.traffic
        if deed.undo:
            traffic.end(self._streams.pop(id(action), 0))
            return
        pairs = tuple(zip(deed.sides[0], deed.sides[1], strict=True))
        self._streams[id(action)] = traffic.begin(pairs, action.each)
