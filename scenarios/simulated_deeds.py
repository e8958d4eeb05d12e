"""What a script's verbs do in the simulated world."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from scenarios import actions as a
from scenarios.invitations import Invitations
from scenarios.network import Link
from scenarios.players import Answered, Player
from scenarios.simulated_traffic import SimulatedTraffic
from scenarios.stage import Deed, check_nats, original_of
from smeg import messages as m
from smeg.errors import LocalError

if TYPE_CHECKING:
    from scenarios.simulated_stage import SimulatedStage

MOST_PAIRS = 100


class Deeds:
    def __init__(self, stage: SimulatedStage) -> None:
        self._stage = stage
        self._world = stage.world
        self._invitations = Invitations[str]()
        self._streams: dict[int, int] = {}
        self.traffic = SimulatedTraffic(self._world.runtime, stage.send)

    def do(self, deed: Deed) -> None:
        """Raises `LocalError` if it is refused at once; later refusals are noticed."""
        self._stage.tell_trace(type(deed.action).__name__, str(deed.undo), *deed.hosts)
        network, action = self._world.network, deed.action
        if isinstance(action, a.NatRebind):
            check_nats(deed, self._stage.groups)
        match action:
            case a.Partition():
                network.partition(*(self._curves(side) for side in deed.sides))
                for number, side in enumerate(deed.sides, 1):
                    for name in side:
                        # Two hosts with one key may be on different ones.
                        self._stage.players[name].station.side = number
            case a.Heal():
                network.heal()
                for player in self._stage.players.values():
                    self.set_link(player, mute=False, deaf=False)
            case a.Duplicate(share):
                network.duplicate = 0.0 if deed.undo else share
            case a.Reorder(share):
                network.straggle = 0.0 if deed.undo else share
            case a.Invite():
                called = self._mesh(action.mesh)
                self._invite(action.mesh, action.uses, action.expires, partial(self._invitations.answered, called))
                self._invitations.asked_for(called)
            case a.Join():
                self._join(deed, action)
            case a.Evict():
                self._evict(deed, action)
            case a.CopyState():
                original = self._stage.players[original_of(deed)]
                for name in deed.hosts:
                    self._stage.players[name].become(original)
            case a.Traffic():
                self._traffic(deed, action)
            case _:
                for name in deed.hosts:
                    self._do_to(self._stage.players[name], action, deed.undo)

    def _curves(self, side: tuple[str, ...]) -> list[bytes]:
        return [self._stage.players[name].station.curve for name in side]

    def _do_to(self, player: Player, action: a.Action, undo: bool) -> None:
        match action:
            case a.Start():
                player.begin()
            case a.Stop():
                player.end()
            case a.Kill():
                player.die()
            case a.PowerOff():
                player.lose_power()
                self._stage.packets.remove(player.name)
                self._stage.tunnels.forget(player.name)
            case a.Pause() if not undo:
                player.runtime.stop()
            case a.Pause() | a.Resume():
                player.runtime.resume()
            case a.Isolate(receiving=True):
                self.set_link(player, deaf=True)
            case a.Isolate():
                self.set_link(player, mute=True)
            case a.Loss(share):
                self.set_link(player, added_loss=0.0 if undo else share)
            case a.Delay(by):
                self.set_link(player, added_delay=0.0 if undo else by)
            case a.Flap():
                self.set_link(player, cut=not undo)
            case a.Roam() | a.NatRebind():
                self._move(player, action)
            case a.Clock():
                player.runtime.wall_error += action.jump
                player.runtime.drift(action.drift)
            case a.DiskFull():
                player.disk.full = not undo
            case a.CorruptState():
                player.disk.corrupt()
                player.remembers = False
            case a.Leave(_, mesh):
                player.remembers = False
                player.request(self._answer(player), "leave-mesh", mesh=self._mesh(mesh))
            case a.Advertise():
                player.probe(True)
            case a.Withdraw():
                player.probe(False)
            case _:
                raise AssertionError(f"{action} is done to hosts")

    def _move(self, player: Player, action: a.Roam | a.NatRebind) -> None:
        self._stage.tunnels.forget(player.name)
        if isinstance(action, a.Roam) and player.arguments["role"] == "peer":
            player.move()
        else:
            self._world.network.forget(player.station)

    def set_link(self, player: Player, **troubles: float) -> None:
        """What is said of a link from now on; the rest stays."""
        link = player.station.link or Link()
        for name, value in troubles.items():
            setattr(link, name, value)
        player.station.link = link if link != Link() else None

    # Meshes.

    def _mesh(self, name: str) -> str:
        return self._stage.ids[name or next(iter(self._stage.ids))]

    def _founder(self, mesh: str) -> Player:
        return self._stage.founders[mesh or next(iter(self._stage.founders))]

    def _answer(self, player: Player) -> Answered:
        def answered(reply: m.Reply) -> None:
            if reply.problem is not None:
                self._stage.noticed(player, reply.problem.code)

        return answered

    def _invite(self, mesh: str, uses: int, expires: float, then: Callable[[str | None], None]) -> None:
        """`then` is told the token; None is that it was refused."""
        founder, arguments = self._founder(mesh), {"uses": uses, "expires": round(expires)}

        def answered(reply: m.Reply) -> None:
            self._answer(founder)(reply)
            then(str(reply.result["token"]) if reply.result is not None else None)

        founder.request(answered, "invite", mesh=self._mesh(mesh), **arguments)

    def _join(self, deed: Deed, action: a.Join) -> None:
        join = partial(self._join_by, deed.hosts)
        if not self._invitations.use(self._mesh(action.mesh), join):
            self._invite(action.mesh, len(deed.hosts), a.AN_HOUR, lambda token: join(token) if token else None)

    def _join_by(self, hosts: tuple[str, ...], token: str) -> None:
        for name in hosts:
            player = self._stage.players[name]
            try:
                player.request(self._answer(player), "join-mesh", token=token)
            except LocalError as error:
                self._stage.noticed(player, error.problem.code)

    def _evict(self, deed: Deed, action: a.Evict) -> None:
        founder, called = self._founder(action.mesh), self._mesh(action.mesh)
        for name in deed.hosts:
            self._stage.players[name].remembers = False
            founder.request(self._answer(founder), "evict", mesh=called, node=name)

    def _traffic(self, deed: Deed, action: a.Traffic) -> None:
        if deed.undo:
            self.traffic.end(self._streams.pop(id(action), 0))
            return
        pairs = tuple(zip(deed.sides[0], deed.sides[1], strict=True))
        self._streams[id(action)] = self.traffic.begin(pairs[:MOST_PAIRS], action.each)
