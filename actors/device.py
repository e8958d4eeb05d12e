"""The actor of one WireGuard interface: makes it, keeps it as the plan says, and reports what WireGuard saw.

Changes are applied once when the inbox is empty, as differences. A failure is tried again by itself. The interface
outlives a restart of this actor; it goes when `Release` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from actors.base import Actor, Address
from actors.device_hooks import DeviceHooks
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.certificates import Role as NodeRole
from smeg.chosen_endpoints import ChosenEndpoints
from smeg.core import Message
from smeg.device import (
    AddAddress,
    AddRoute,
    Backend,
    Endpoint,
    InterfaceSpec,
    Operation,
    RemoveAddress,
    RemovePeer,
    RemoveRoute,
    SetInterface,
    SetPeer,
    WgPeer,
)
from smeg.errors import LocalError, Problem
from smeg.forwarding import Mode, Need, ensure
from smeg.hooks import Hook, Hooks
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.nudges import Nudges
from smeg.plan import plan
from smeg.planner import Planner
from smeg.simulated import Simulated
from smeg.static_clients import StaticClient, still_valid
from smeg.wanted import View

TRY_AGAIN = 5.0
"""seconds after a failure."""
LOOK_AGAIN = 30.0
"""seconds between two looks at the real device: somebody else may have changed it."""
REST_A_MEMBER = 0.0002
MOST_REST = 1.0
"""seconds after one plan before the next, for each member: who joins hears of thousands within a second or two, and to
plan for each batch of them would cost more than to verify them."""
STANDS = 10.0
"""seconds, once the members are known, in which what an earlier daemon left stays as it is until it is told where all
routes lead and which devices have their tunnel here: until then they would be taken away, only to be set again."""
NUDGE_KEEPALIVE = 25
"""seconds; WireGuard sends something at once when it is switched on. Right away it is again what it was."""
OpenBackend = Callable[[InterfaceSpec], Backend]
KINDS: Mapping[type[Operation], str] = {
    SetInterface: "set-interface",
    AddAddress: "add-address",
    RemoveAddress: "remove-address",
    AddRoute: "add-route",
    RemoveRoute: "remove-route",
    SetPeer: "set-peer",
    RemovePeer: "remove-peer",
}
"""What metrics call an operation."""


class Underlay(Protocol):
    """Which literal address a member is reached by from here; names are resolved without anybody waiting."""

    def choose(self, endpoints: tuple[Endpoint, ...], now: float) -> Endpoint | None: ...

    def listen(self, resolved: Callable[[], None]) -> None:
        """Call `resolved`, from any thread, when a name that was unknown has become known."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    ports: tuple[int, ...]
    """UDP ports to try in turn; 0 lets the kernel choose."""
    mtu: int
    keepalive: int
    """seconds; for clients."""
    handshake_interval: float
    """seconds between two readings of what WireGuard saw; 0 where nothing shakes hands."""
    forwarding: Mode = Mode.MESH
    """What may be turned on for others' packets."""
    bridges: bool = False
    """Whether others go by way of this node into other meshes."""
    leads_beyond: bool = False
    """Whether it offers what is behind it."""
    hooks: Hooks = field(default_factory=Hooks)


class DeviceActor(Actor):
    role = Role.DEVICE

    def __init__(
        self,
        runtime: Runtime,
        mesh: str,
        incarnation: int,
        supervisor: Address,
        own: NodeKey,
        spec: InterfaceSpec,
        settings: DeviceSettings,
        open_backend: OpenBackend,
        underlay: Underlay,
    ) -> None:
        super().__init__(runtime, mesh, incarnation, supervisor)
        self._spec = spec
        self._settings = settings
        self._open_backend = open_backend
        self._underlay = underlay
        self._view = View(mesh, own, Members(), frozenset(), (), spec.listen_port, settings.mtu, settings.keepalive)
        self._chosen = ChosenEndpoints(underlay.choose, overlay_prefix(mesh))
        self._backend: Backend | None = None
        self._released = False
        self._told_to_end = False
        self._device: Simulated | None = None
        """What it looks like, unless it has to be read."""
        self._followed: Simulated | None = None
        """The same, if it was planned for before."""
        self._planner = Planner()
        self._planned: Mapping[bytes, WgPeer] = {}
        """How each peer was configured last; where it has moved since, WireGuard knows better."""
        self._statics: tuple[StaticClient, ...] = ()
        """All that this node vouches for, also those that have expired."""
        self._dirty = False
        self._rested_at = 0.0
        """When it may be planned again."""
        self._adopted = False
        """Whether an earlier daemon's tunnels stand, for which no plan was made yet."""
        self._stands_until = 0.0
        """When it is planned for all the same, whatever is still unknown."""
        self._untold: set[type[Message]] = {m.RoutesChanged, m.StaticsServed}
        """What has to be heard before it is known that something may go."""
        self._version = 0
        self._retry_at: float | None = None
        self._look_at: float | None = None
        self._handshakes_at: float | None = None
        self._nudges = Nudges()
        self._warned: tuple[Problem, ...] | None = None
        self._hooks = DeviceHooks(settings.hooks, spec.name)
        self._operations: Counter[str] = Counter()
        """How often each kind was done."""
        self._passing: tuple[Problem, ...] = ()
        """What keeps packets from being passed on for others."""

    def begin(self, now: float) -> Iterable[Message]:
        address = Address(self)
        self._underlay.listen(lambda: address.tell(m.Resolved()))
        if self._directory is not None and not self._directory.places:
            # Nobody hears it: it is made to take down what another left.
            return self._open(now)
        return self._come(now)

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.Tick() if self._released:
                return self._go_on(now)
            case _ if self._released:
                return []
            case m.MembersChanged():
                self._change(replace(self._view, members=message.members))
            case m.LivenessChanged():
                self._change(replace(self._view, pruned=message.pruned))
            case m.RoutesChanged():
                self._hear_first(message)
                # What is offered by them is on its way already: others send by it soon.
                self._rested_at = now
                self._change(replace(self._view, routes=message.routes, own_routes=message.own_routes))
            case m.DeviceConfigured():
                self._settings = replace(
                    self._settings, forwarding=message.forwarding, bridges=message.bridges,
                    leads_beyond=message.leads_beyond, hooks=message.hooks,
                )  # fmt: skip
                self._hooks.configure(message.hooks)
                self._change(replace(self._view, mtu=message.mtu, keepalive=message.keepalive))
            case m.StaticsServed():
                self._hear_first(message)
                self._statics = message.clients
                self._look_at_statics()
            case m.Resolved():
                self._dirty |= self._underlay_moved(now)
            case m.LinkRestored() if self._is_client():
                # A NAT that has lost one mapping has likely lost the others; peers learn the new ones from a packet.
                self._nudges.again(self._planned, now)
            case m.Tick():
                return [*self._go_on(now), *self._tick(now)]
        return []

    def settle(self, now: float) -> Iterable[Message]:
        if not self._dirty or self._backend is None or (self._retry_at is not None and now < self._retry_at):
            return []
        if self._released or now < max(self._rested_at, self._stands_until) or self._lets_stand(now):
            return []
        self._rested_at = now + min(MOST_REST, REST_A_MEMBER * len(self._view.members))
        return self._apply(self._backend, now)

    def next_deadline(self) -> float | None:
        if self._released:
            return self._hooks.next_deadline()
        rests_until = max(self._rested_at, self._stands_until)
        rested_at = rests_until if self._dirty and self._backend is not None and self._retry_at is None else None
        hooked = self._hooks.next_deadline()
        deadlines = (self._retry_at, self._look_at, self._handshakes_at, self._nudges.at, rested_at, hooked)
        return min((at for at in deadlines if at is not None), default=None)

    def release(self) -> None:
        if self._released:
            return
        self._released = True
        now = self.runtime.now()
        if self._backend is None and self._hooks.next_deadline() is not None:
            # It waited for what comes before, and may have been there from an earlier time.
            self._hooks.close()
            self._open(now)
        if self._backend is None or not self._hooks.begin_last(Hook.PRE_DOWN, now):
            self._take_down(now)

    def _lets_stand(self, now: float) -> bool:
        """Whether what an earlier daemon left is not planned for yet; then it stands until it is known what may go."""
        if not self._adopted or not self._view.members:
            return False
        self._adopted = False
        if self._untold:
            self._stands_until = now + STANDS
        return bool(self._untold)

    def _hear_first(self, message: Message) -> None:
        self._untold.discard(type(message))
        if not self._untold:
            self._stands_until = 0.0

    def _take_down(self, now: float) -> None:
        """Remove the interface, and begin what is to follow that."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()
            self._hooks.begin_last(Hook.POST_DOWN, now)

    def _stop(self) -> None:
        """Pykka's hook for its message to end: that waits for what precedes and follows the interface's going."""
        self._told_to_end = True
        if not self._released or self._hooks.next_deadline() is None:
            super()._stop()

    def close(self) -> None:
        self._hooks.close()
        self._underlay.close()

    def _is_client(self) -> bool:
        own = self._view.members.get(self._view.own)
        return own is not None and own.role is NodeRole.CLIENT

    def _change(self, view: View) -> None:
        self._view = view
        self._dirty = True

    def _come(self, now: float) -> Iterable[Message]:
        """Make the interface, after what is to precede it."""
        if self._hooks.next_deadline() is not None or self._hooks.begin(Hook.PRE_UP, now):
            return []
        return self._open(now)

    def _log_failure(self, hook: Hook) -> None:
        problem = self._hooks.failure(hook)
        if problem is not None:
            self.runtime.log("warning", "hook failed", mesh=self.mesh, problem=str(problem))

    def _go_on(self, now: float) -> Iterable[Message]:
        """With the hook that runs: what follows from its end."""
        ended = self._hooks.look(now)
        if ended is None:
            return []
        self._log_failure(ended)
        if self._released:
            if ended is Hook.PRE_DOWN:
                self._take_down(now)
            if self._told_to_end and self._hooks.next_deadline() is None:
                self.stop()
            return []
        opened = self._open(now) if ended is Hook.PRE_UP and self._backend is None else []
        return [*opened, *self._tell_warnings()]

    def _open(self, now: float) -> Iterable[Message]:
        failure: LocalError | None = None
        for port in self._settings.ports:
            try:
                backend = self._open_backend(replace(self._spec, listen_port=port))
                state = backend.read()
            except LocalError as error:
                failure = error
                if error.problem.code == "port-in-use":
                    continue
                break
            self._backend, self._device = backend, Simulated(state)
            self._view = replace(self._view, listen_port=state.listen_port)
            self._planned = state.peers
            self._adopted = bool(state.peers)
            self._retry_at = None
            self._look_at = now + LOOK_AGAIN
            if self._settings.handshake_interval:
                self._handshakes_at = now + self._settings.handshake_interval
            return [m.DeviceReady(self.mesh, self._spec.name, backend.kind, state.listen_port)]
        assert failure is not None, "there is at least one port to try"
        self._retry_at = now + TRY_AGAIN
        return [m.DeviceFailed(self.mesh, failure.problem)]

    def _apply(self, backend: Backend, now: float) -> Iterable[Message]:
        """Make the device what it should be, by differences."""
        self._dirty = False
        target = self._planner.wanted(self._view, lambda members: self._chosen.of(members, now))
        if target is None:
            return []
        try:
            device = self._device if self._device is not None else Simulated(backend.read())
            if device is not self._followed:
                device.share(target.peers)
            operations = plan(device, target, self._configured())
            new = [key for key in target.peers if key not in device.peers]
            backend.apply(operations)
        except LocalError as error:
            self._device = None
            self._dirty = True
            self._retry_at = now + TRY_AGAIN
            if error.problem.code == "device-gone":
                self._backend = None
                self._hooks.again()
            return [m.DeviceFailed(self.mesh, error.problem)]
        self._retry_at = None
        device.apply_towards(target, operations)
        self._device = self._followed = device
        self._planned = target.peers
        if self._settings.handshake_interval:
            self._nudges.new(new, target, now)
        out: list[Message] = [*self._warn(backend)]
        if operations:
            self._version += 1
            self._operations.update(KINDS[type(operation)] for operation in operations)
            if target.addresses:
                self._hooks.begin(Hook.POST_UP, now, map(str, sorted(target.addresses)))
            out.append(m.DeviceApplied(self.mesh, self._version, target, dict(self._operations)))
        return out

    def _warn(self, backend: Backend) -> Iterable[Message]:
        """Have packets passed on for others, if they rely on it, and say what keeps traffic from passing."""
        setting, problems = ensure(backend, self._settings.forwarding, self._need(), self._spec.name)
        if setting is not None:
            self.runtime.log("info", "forwarding turned on", mesh=self.mesh, what=setting.value)
        self._passing = tuple(problems)
        return self._tell_warnings()

    def _tell_warnings(self) -> Iterable[Message]:
        found = (*self._chosen.problems(), *self._passing, *self._hooks.problems)
        if found == self._warned:
            return []
        self._warned = found
        self._version += 1
        return [m.DeviceWarned(self.mesh, self._version, found)]

    def _need(self) -> Need:
        """What others rely on this node for."""
        if self._is_client():
            return Need(False, False)
        carries = self._settings.bridges or bool(self._view.members.rings.clients) or bool(self._view.statics)
        return Need(carries, self._settings.leads_beyond)

    def _configured(self) -> dict[bytes, Endpoint]:
        return {key: peer.endpoint for key, peer in self._planned.items() if peer.endpoint is not None}

    def _is_as_planned(self, backend: Backend) -> bool:
        """Whether a look finds nothing to do: to plan thousands of peers anew costs much more than to compare them."""
        try:
            found = backend.read()
        except LocalError:
            self._device = None
            return False
        if self._device is None or found != self._device.state():
            self._device = Simulated(found)
            return False
        # What is equal to it is not kept: the device shares its thousands of peers with the plan.
        return True

    def _look_at_statics(self) -> None:
        """Devices without a daemon have their tunnels until they expire."""
        clients = still_valid(self._statics, self.runtime.wall())
        if clients != self._view.statics:
            self._change(replace(self._view, statics=clients))

    def _underlay_moved(self, now: float) -> bool:
        """Whether a peer is reached by another of its endpoints now: names and routes of the underlay change."""
        peers = self._device.peers if self._device is not None else {}
        members = self._view.members.table.values()
        moved = self._chosen.look_again([each for each in members if each.standing.wireguard in peers], now)
        if moved:
            self._planner.forget()
        return moved

    def _tick(self, now: float) -> Iterable[Message]:
        out: list[Message] = []
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if self._backend is None:
                out += self._come(now)
                self._dirty = True
        if self._look_at is not None and now >= self._look_at:
            self._look_at = now + LOOK_AGAIN
            self._look_at_statics()
            if self._backend is not None:
                self._dirty |= self._underlay_moved(now)
                self._dirty |= not self._is_as_planned(self._backend)
                out += self._warn(self._backend)
        if self._nudges.at is not None and now >= self._nudges.at:
            self._nudge(now)
        if self._handshakes_at is not None and now >= self._handshakes_at:
            self._handshakes_at = now + self._settings.handshake_interval
            out += self._read_handshakes()
        return out

    def _nudge(self, now: float) -> None:
        """Make WireGuard send something over some tunnels: new ones shake hands."""
        batch, late = self._nudges.due(now)
        if self._backend is None or self._device is None:
            return
        # Whom we have no endpoint of, a client, has to begin itself.
        known = self._device.peers
        dialled = {key: known[key] for key in (*batch, *late) if key in known and known[key].endpoint is not None}
        silent = self._silent(self._backend, [key for key in late if key in dialled])
        # Only who is made anew is told an endpoint: of others WireGuard may know a later one.
        places = self._places(self._backend)
        kept = {key: replace(dialled[key], endpoint=places.get(key)) for key in batch if key in dialled}
        peers = [*kept.values(), *(dialled[key] for key in silent)]
        try:
            # A handshake that was lost is not tried again for 5 s, unless the peer is made anew.
            self._backend.apply(tuple(RemovePeer(key) for key in silent))
            self._backend.apply(tuple(SetPeer(replace(peer, keepalive=0)) for peer in kept.values() if peer.keepalive))
            self._backend.apply(tuple(SetPeer(replace(peer, keepalive=NUDGE_KEEPALIVE)) for peer in peers))
            self._backend.apply(tuple(SetPeer(replace(peer, endpoint=None)) for peer in peers))
        except LocalError:
            # Nothing is lost but time: the first packet shakes hands too. The next look sets what is left behind.
            self._device = None
            self._dirty = True

    def _places(self, backend: Backend) -> dict[bytes, Endpoint]:
        """Of a client: where WireGuard sends what is for its peers. Told it again, it looks anew from which address:
        wireguard-go keeps to one that the host has lost for 15 s."""
        if not self._is_client():
            return {}
        try:
            now = backend.read().peers
        except LocalError:
            return {}
        return {key: peer.endpoint for key, peer in now.items() if peer.endpoint is not None}

    def _silent(self, backend: Backend, keys: list[bytes]) -> list[bytes]:
        """Those of these peers that have never shaken hands."""
        try:
            seen = backend.handshakes() if keys else {}
        except LocalError:
            return []
        return [key for key in keys if key in seen and seen[key].age is None]

    def _read_handshakes(self) -> Iterable[Message]:
        if self._backend is None:
            return []
        try:
            seen = self._backend.handshakes()
        except LocalError:
            # The next look at the device says what is wrong with it.
            return []
        return [m.HandshakesSeen(self.mesh, seen)]
