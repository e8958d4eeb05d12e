"""The actor at the root of a daemon: starts the others, replaces those that fail, and stops all in a stated order.

It knows which meshes there are and who asked for them. One mesh's trouble restarts that mesh's actors and nobody
else's. What the meshes do is their own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from types import TracebackType

from actors.base import Actor, Address
from actors.cast import Cast, Reloaded
from actors.endings import GROUP_LIMIT, STAGES, Endings
from actors.mesh_group import MeshGroup
from actors.meshes import MeshEntry, Meshes
from actors.runtime import Runtime
from actors.store import StoreActor
from actors.supervision import PASSING, Make, Place, Supervision
from actors.wiring import OF_A_MESH, Directory, Role
from smeg import messages as m
from smeg.card_requests import COMMANDS as CARD_COMMANDS
from smeg.core import Message
from smeg.errors import LocalError, Problem
from smeg.keys import node_key
from smeg.mesh_settings import Keys, Origin
from smeg.routing import RoutingTable
from smeg.static_clients import COMMANDS as STATIC_COMMANDS
from smeg.stored import StoredMesh

OPTIONAL = (Role.PROBER, Role.DNS, Role.METRICS)
LOAD_AGAIN = 5.0
"""seconds until a mesh that could not be read is read again."""


class Node(Actor):
    role = Role.NODE

    def __init__(self, runtime: Runtime, cast: Cast, finished: Callable[[Problem | None], None]) -> None:
        super().__init__(runtime)
        self._cast = cast
        self._finished = finished
        self._book = Supervision(runtime, Address(self))
        self._keys: Keys | None = None
        self._endings = Endings(self._book)
        self._meshes = Meshes(runtime)
        self._underlay: m.GossipReady | None = None
        self._seen: tuple[str, ...] = ()
        """Under which addresses other members see this host."""
        self._early: list[m.Request] = []
        """Those that came before the daemon worked."""
        self._reachable = False
        """Whether the command line ever reached this daemon."""
        self._ending = False

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nobody supervises the root: without it the daemon is over, and a service manager has to know."""
        self._finished(Problem("node-failed", f"the root of the daemon failed: {exception_value!r}", "see the log"))

    # Beginning.

    def begin(self, now: float) -> Iterable[Message]:
        self._start_daemon_actor(Role.STORE)
        return self._publish()

    def open(self) -> None:
        """Start the daemon: the first directory begins everything."""
        Address(self).tell(self._book.directory())

    def _daemon_actor(self, role: Role) -> Make:
        runtime, node, keys = self.runtime, Address(self), self._keys
        match role:
            case Role.STORE:
                return lambda incarnation: StoreActor(runtime, incarnation, node, self._cast.open_disk)
            case Role.ROUTING if keys is not None:
                own, policy = node_key(keys.identity), self._cast.settings.routes
                table, notary = RoutingTable, self._cast.notary()
                actor = self._cast.routing
                return lambda n: actor(runtime, "", n, node, table(own, policy, runtime.wall, notary))
            case Role.GOSSIP | Role.CONTROL if keys is not None:
                make = self._cast.gossip if role is Role.GOSSIP else self._cast.control
                return lambda incarnation: make(runtime, incarnation, node, keys)
            case _ if keys is not None and (edge := self._cast.optional().get(role)) is not None:
                return lambda incarnation: edge(runtime, incarnation, node, keys)
            case _:
                raise AssertionError(f"{role} is no actor of the daemon's")

    def _start_daemon_actor(self, role: Role) -> None:
        self._book.start((role, ""), self._daemon_actor(role))

    def _publish(self) -> Iterable[Message]:
        """Tell everybody who lives where; the report goes to who asks."""
        directory = self._book.directory()
        before, control = self._directory, directory.places.get((Role.CONTROL, ""))
        self._move_to(directory, self.runtime.now())
        if control is not None and before is not None and control is not before.places.get((Role.CONTROL, "")):
            # First of all, so that it knows what the others' snapshots are about.
            for entry in self._meshes.values():
                control.tell(entry.known())
        for address in self._book.everybody():
            address.tell(directory)
        return [self._book.report()]

    # Messages.

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.Loaded():
                return self._loaded(message)
            case m.GossipReady():
                return self._gossip_ready(message)
            case m.AddressesFound():
                return self._addresses_found(message)
            case m.ControlReady():
                return self._control_ready()
            case m.Request():
                return self._request(message, now)
            case m.MeshStarted(mesh):
                return self._mesh_started(mesh, message)
            case m.MeshStopped(mesh, problem):
                return self._stop_mesh(mesh, problem, now)
            case m.MeshLoaded(stored):
                return self._mesh_loaded(stored)
            case m.MeshForgotten(mesh, kept):
                return self._mesh_forgotten(mesh, kept)
            case m.StoreFailed():
                return self._store_failed(message, now)
            case m.ActorFailed():
                return self._actor_failed(message, now)
            case m.ActorStopped(name, incarnation):
                return self._actor_stopped(name, incarnation, now)
            case m.Reload():
                return self._reload(None, now)
            case m.Shutdown():
                return self._end_with(None, now)
            case m.Tick():
                return self._endings.tick(now)
        return []

    def next_deadline(self) -> float | None:
        return self._endings.next_deadline()

    def _loaded(self, loaded: m.Loaded) -> Iterable[Message]:
        if self._ending:
            return []
        if self._keys is not None:
            # A new store: what its predecessor was asked may be lost.
            return [entry.disk for entry in self._meshes.values() if entry.disk is not None]
        self._keys = Keys(loaded.identity, loaded.curve)
        self._meshes.resume(loaded.meshes)
        self._book.problems += loaded.problems
        for role in (Role.GOSSIP, Role.ROUTING, Role.CONTROL, *self._cast.optional()):
            self._start_daemon_actor(role)
        return self._publish()

    def _gossip_ready(self, ready: m.GossipReady) -> Iterable[Message]:
        first, self._underlay = self._underlay is None, ready
        return self._start_meshes() if first else []

    def _addresses_found(self, found: m.AddressesFound) -> Iterable[Message]:
        """Each mesh is told, where that is what its record is to say."""
        if self._underlay is None or self._ending:
            return []
        self._underlay, self._seen = replace(self._underlay, addresses=found.local), found.seen
        self.runtime.log("info", "addresses", own=" ".join(found.local), seen=" ".join(found.seen))
        making = self._making()
        return [making.self_configured(mesh) for mesh in self._meshes]

    def _control_ready(self) -> Iterable[Message]:
        first, self._reachable = not self._reachable, True
        return self._start_meshes() if first else []

    @property
    def _works(self) -> bool:
        """Whether the daemon ever got as far as it can get without a mesh."""
        return self._underlay is not None and self._reachable

    def _start_meshes(self) -> Iterable[Message]:
        """Those that were on disk, once the daemon works."""
        if not self._works or self._ending:
            return []
        for entry in self._meshes.values():
            self._start_group(entry)
        early, self._early = self._early, []
        return [*self._publish(), *(reply for request in early for reply in self._request(request, self.runtime.now()))]

    # Meshes.

    def _check_may_found(self) -> None:
        if self._cast.settings.role == "client":
            hint = "make the mesh on a node that others can dial, whose role is peer, and join it from here"
            raise LocalError("client-founds", "this node is a client: nobody could dial it to join its mesh", hint)

    def _start_group(self, entry: MeshEntry) -> None:
        """Start the actors of a mesh; `_publish` makes them known."""
        entry.cleaned = False
        makes = self._making().makes(entry, self._meshes.values())
        for role in OF_A_MESH:
            self._book.start((role, entry.stored.id), makes[role])
        # They are read now, and of a large mesh they are much. Who starts these actors again reads them again.
        entry.stored = replace(entry.stored, documents=())
        # Before `_publish` lets them speak of a mesh that nobody has heard of.
        self.emit([entry.known()])

    def _making(self) -> MeshGroup:
        assert self._keys is not None, "meshes start after the store"
        # Without an underlay nothing is started any more; what was left behind is still removed.
        underlay = self._underlay or m.GossipReady(0, ())
        return MeshGroup(self.runtime, Address(self), self._cast, self._keys, underlay, self._seen)

    def _clean_device(self, mesh: str) -> Address | None:
        """Who failed cannot remove its interface any more: another actor, that nobody hears, is made for just that."""
        entry, place = self._meshes.get(mesh), (Role.DEVICE, mesh)
        if entry is None or entry.cleaned or self._book.addresses([place]):
            return None
        entry.cleaned = True
        self._book.start(place, self._making().device(entry, self._meshes.values()))
        (address,) = self._book.addresses([place])
        address.tell(Directory(0, {}))
        return address

    def _group(self, mesh: str) -> list[Place]:
        return [(role, mesh) for role in OF_A_MESH]

    def _mesh_started(self, mesh: str, started: m.MeshStarted) -> Iterable[Message]:
        entry = self._meshes.get(mesh)
        if entry is None or entry.stopping or entry.started:
            return []
        entry.started = True
        entry.origin, entry.token = Origin.RESUMED, None
        about = {"name": started.name, "id": mesh}
        result = {"mesh": about, "address": started.address, "interface": started.interface}
        return entry.answer(result)

    def _stop_mesh(self, mesh: str, problem: Problem | None, now: float) -> Iterable[Message]:
        """A mesh is over: take its device down, end its actors, forget it."""
        entry = self._meshes.get(mesh)
        if entry is None or entry.stopping:
            return []
        entry.stopping, entry.problem = True, problem
        if problem is not None and not entry.tickets:
            self._book.note(problem)
        self._clean_device(mesh)
        for address in self._book.addresses([(Role.DEVICE, mesh)]):
            address.tell(m.Release())
        return self._endings.stop(self._group(mesh), GROUP_LIMIT, now, lambda _: self._forget(mesh))

    def _forget(self, mesh: str) -> Iterable[Message]:
        self._book.forget(self._group(mesh))
        entry = self._meshes[mesh]
        entry.disk = m.ForgetMesh(mesh)
        # Its own actors may have spoken of it since it said so itself, or failed before they could.
        return [*self._publish(), m.MeshStopped(mesh, entry.problem), entry.disk]

    def _mesh_forgotten(self, mesh: str, kept: str) -> Iterable[Message]:
        entry = self._meshes.pop(mesh, None)
        if entry is None:
            return []
        about = {"name": entry.stored.name, "id": mesh}
        lost = entry.interrupt()
        if kept and (entry.problem is not None or not entry.tickets):
            # Nobody is told by a reply.
            message = f"the root and admin keys of {entry.stored.name}, which has ended here, are in {kept}"
            hint = "move them to a safe place, or to another member's folder of this mesh"
            self._book.note(Problem("authority-kept", message, hint))
            lost.append(self._book.report())
        if entry.problem is not None:
            return [*entry.answer(None, entry.problem), *lost]
        return [*entry.answer({"mesh": about, "keys": kept} if kept else {"mesh": about}), *lost]

    def _mesh_loaded(self, stored: StoredMesh) -> Iterable[Message]:
        entry = self._meshes.get(stored.id)
        if entry is None or entry.stopping or not entry.restarting or self._ending:
            return []
        entry.stored, entry.origin, entry.restarting, entry.disk = stored, Origin.RESUMED, False, None
        self._start_group(entry)
        return self._publish()

    def _load(self, mesh: str) -> Iterable[Message]:
        """Read a mesh whose actors are to be started again."""
        entry = self._meshes.get(mesh)
        if entry is None or entry.stopping or not entry.restarting or self._ending:
            return []
        entry.disk = m.LoadMesh(mesh)
        return [entry.disk]

    # Requests.

    def _request(self, request: m.Request, now: float) -> Iterable[Message]:
        try:
            if self._ending:
                raise LocalError("not-ready", "the daemon is ending", "start it again")
            if self._keys is None or not self._works:
                # Control, which is there, says how many may wait.
                self._early.append(request)
                return []
            match request.command:
                case "new-mesh":
                    self._check_may_found()
                    name = str(request.arguments.get("name", ""))
                    return self._begin_mesh(self._meshes.found(name, self._keys, request.ticket))
                case "join-mesh":
                    token = str(request.arguments.get("token", ""))
                    return self._begin_mesh(self._meshes.join(token, request.ticket))
                case "reload":
                    return self._reload(request.ticket, now)
                case command if command in ("invite", "evict", "leave-mesh", *CARD_COMMANDS, *STATIC_COMMANDS):
                    return self._ask_mesh(request)
                case command:
                    raise LocalError("unknown-command", f"the daemon does not know the command {command!r}")
        except LocalError as error:
            return [m.Reply(request.ticket, problem=error.problem)]

    def _begin_mesh(self, entry: MeshEntry) -> Iterable[Message]:
        self._start_group(entry)
        return self._publish()

    def _ask_mesh(self, request: m.Request) -> Iterable[Message]:
        entry = self._meshes.working(str(request.arguments.get("mesh", "")))
        addresses = self._book.addresses([(Role.MESH, entry.stored.id)])
        if not addresses:
            raise LocalError("mesh-not-ready", f"{entry.stored.name} is being restarted", "try again soon")
        entry.expect(request)
        addresses[0].tell(request)
        return []

    # The configuration, read again.

    def _reload(self, ticket: int | None, now: float) -> Iterable[Message]:
        """A file with a mistake changes nothing. `ticket` is that of who asked."""
        if self._ending or self._keys is None:
            return []
        self._book.resolve("reload-failed")
        try:
            if self._cast.reload is None:
                hint = "write one with `smeg-cli config init`, and start smeg-node with --config"
                raise LocalError("no-configuration", "this daemon was started without a configuration file", hint)
            found = self._cast.reload()
        except LocalError as error:
            problem = error.problem
            self.runtime.log("error", "reload failed", code=problem.code, problem=str(problem))
            again = f"{problem.hint}; then `smeg-cli reload`: until then all is as it was"
            self._book.note(Problem("reload-failed", problem.message, again))
            return [self._book.report(), *([m.Reply(ticket, problem=problem)] if ticket is not None else [])]
        said = {"changed": list(found.at_once), "restart": list(found.restart)}
        self.runtime.log("info", "reloaded", **{name: " ".join(keys) or "nothing" for name, keys in said.items()})
        out = list(self._reconfigure(found, now))
        return [*out, *([m.Reply(ticket, said)] if ticket is not None else [])]

    def _reconfigure(self, found: Reloaded, now: float) -> Iterable[Message]:
        self._cast = found.cast
        settings = self._cast.settings
        out: list[Message] = [m.Reconfigured(settings.name, settings.keepalive, settings.routes)]
        making = self._making()
        for entry in self._meshes.values():
            out += making.configured(entry.stored)
        for role in found.replaced:
            out += self._endings.stop([(role, "")], GROUP_LIMIT, now, partial(self._begin_anew, role))
        return [*out, self._book.report()]

    def _begin_anew(self, role: Role, now: float) -> Iterable[Message]:
        """An actor that has ended, where it is still wanted."""
        if self._ending:
            return []
        if role in self._cast.optional():
            self._start_daemon_actor(role)
        else:
            self._book.forget([(role, "")])
        return self._publish()

    # Failure.

    def _store_failed(self, message: m.StoreFailed, now: float) -> Iterable[Message]:
        """Say so; a mesh that could not be read again is tried later."""
        self._book.note_passing(message.problem, now)
        self._endings.after(PASSING, now, lambda at: [self._book.report()] if self._book.calm(at) else [])
        entry = self._meshes.get(message.mesh)
        if entry is not None and isinstance(entry.disk, m.LoadMesh):
            entry.disk = None
            self._endings.after(LOAD_AGAIN, now, lambda _: self._load(message.mesh))
        return [self._book.report()]

    def _actor_failed(self, message: m.ActorFailed, now: float) -> Iterable[Message]:
        name, incarnation = message.name, message.incarnation
        place = self._book.place_of(name, incarnation)
        if place is None:
            return self._endings.ended(name, incarnation, now)
        role, mesh = place
        wait = self._book.failed(place, message.problem, now)
        if role is Role.DEVICE:
            self._device_failed(mesh, name, incarnation)
        out = self._endings.ended(name, incarnation, now)
        if self._ending:
            return out
        if mesh:
            return [*out, *self._mesh_failed(place, message.problem, wait, now)]
        if not self._works:
            # Before the daemon ever worked there is nothing to go back to: its user has to hear of it.
            return [*out, *self._end_with(message.problem, now)]
        self._endings.after(wait, now, lambda _: self._restart(role))
        return [*out, *self._publish()]

    def _device_failed(self, mesh: str, name: str, incarnation: int) -> None:
        """If somebody waits for its end: that of its cleaner is what counts now."""
        over = self._ending or self._meshes[mesh].stopping
        if over and self._endings.waits_for(name, incarnation) and (cleaner := self._clean_device(mesh)) is not None:
            self._endings.wait_also(name, incarnation, cleaner)
            cleaner.tell(m.Release())
            cleaner.stop()

    def _mesh_failed(self, place: Place, problem: Problem, wait: float, now: float) -> Iterable[Message]:
        """One of its actors did: all of them are started again, from what is on disk."""
        mesh = place[1]
        entry = self._meshes.get(mesh)
        if entry is None or entry.stopping or entry.restarting:
            return [self._book.report()]
        if not entry.started and entry.origin is not Origin.RESUMED:
            return self._stop_mesh(mesh, problem, now)
        entry.restarting = True
        lost = [*entry.answer(None, entry.interrupted), *entry.interrupt()]
        rest = [other for other in self._group(mesh) if other != place]
        again = self._endings.stop(rest, GROUP_LIMIT, now, lambda at: self._load_later(mesh, wait, at))
        return [entry.known(), *lost, *again, *self._publish()]

    def _load_later(self, mesh: str, wait: float, now: float) -> Iterable[Message]:
        self._endings.after(wait, now, lambda _: self._load(mesh))
        return []

    def _restart(self, role: Role) -> Iterable[Message]:
        if self._ending or (role in OPTIONAL and role not in self._cast.optional()):
            return []
        self._start_daemon_actor(role)
        return self._publish()

    # Ending.

    def _actor_stopped(self, name: str, incarnation: int, now: float) -> Iterable[Message]:
        self._book.ended(name, incarnation)
        return self._endings.ended(name, incarnation, now)

    def _end_with(self, problem: Problem | None, now: float) -> Iterable[Message]:
        if self._ending:
            return []
        self._ending = True
        self._endings.forget()
        return self._stage(0, problem, now)

    def _stage(self, number: int, problem: Problem | None, now: float) -> Iterable[Message]:
        if number == len(STAGES):
            self._finished(problem)
            Address(self).stop()
            return []
        roles, limit = STAGES[number]
        if Role.DEVICE in roles:
            for mesh in self._meshes:
                self._clean_device(mesh)
        places: list[Place] = [(role, mesh) for role in roles for mesh in ("", *self._meshes)]
        for address in self._book.addresses(places):
            address.tell(m.Release())
        return self._endings.stop(places, limit, now, lambda at: self._stage(number + 1, problem, at))
