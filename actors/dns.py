"""The actor that answers for names by DNS. What is asked of it waits for nobody, and nobody waits for it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from actors.base import Actor, Address
from actors.runtime import Runtime
from actors.wiring import Role
from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.core import Message
from smeg.dns_messages import Responder
from smeg.edges.dns_server import DnsServer
from smeg.edges.resolved import Registration, available
from smeg.errors import LocalError, Problem
from smeg.zone import Zone, reverse_zone

OPEN_AGAIN = 5.0
"""seconds between attempts to listen at an address: one of a mesh comes with its interface."""
COUNT_EVERY = 10.0
"""seconds between reports of how often names were asked for."""
LOOK_EVERY = 0.1
"""seconds between two looks at what resolvectl does."""
DEVICES_EVERY = 30.0
"""seconds between two looks whether the time of a device without a daemon is over."""


class DnsActor(Actor):
    role = Role.DNS

    def __init__(
        self,
        runtime: Runtime,
        incarnation: int,
        supervisor: Address,
        addresses: tuple[IPv4Address | IPv6Address, ...],
        port: int,
        resolved: bool,
    ) -> None:
        """`resolved`: whether systemd-resolved is told, where it runs."""
        super().__init__(runtime, "", incarnation, supervisor)
        self._addresses = addresses
        self._port = port
        self._resolved = resolved
        self._zone = Zone(addresses, runtime.wall)
        self._responder = Responder(self._zone)
        self._servers: dict[IPv4Address | IPv6Address, DnsServer] = {}
        self._unusable: dict[IPv4Address | IPv6Address, Problem] = {}
        self._open_at: float | None = None
        self._started: dict[str, m.MeshStarted] = {}
        """Meshes of which resolved is to be told."""
        self._registration: Registration | None = None
        self._untold: dict[str, Problem] = {}
        """By mesh id."""
        self._registered = ""
        """The mesh that `_registration` is about."""
        self._devices_at: float | None = None
        self._version = 0
        self._said: m.NamesServed | None = None
        self._counted_at = 0.0

    def begin(self, now: float) -> Iterable[Message]:
        self._open(now)
        return self._report(now)

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        match message:
            case m.Readable():
                for server in self._servers.values():
                    server.serve(self._responder.answer, self._zone.serves, now)
            case m.Tick():
                for server in self._servers.values():
                    server.tick(now)
                if self._open_at is not None and now >= self._open_at:
                    self._open(now)
                if self._devices_at is not None and now >= self._devices_at:
                    self._devices_at = None
                    self._zone.look()
            case m.MeshStarted(mesh):
                if self._open_at is not None:
                    # One of the addresses may be this mesh's.
                    self._open_at = now
                if self._resolved and available():
                    self._started[mesh] = message
            case m.MeshStopped(mesh):
                self._started.pop(mesh, None)
                self._untold.pop(mesh, None)
        self._zone.hear(message)
        return []

    def settle(self, now: float) -> Iterable[Message]:
        self._register(now)
        if self._devices_at is None and self._zone.has_devices():
            self._devices_at = now + DEVICES_EVERY
        return self._report(now)

    def next_deadline(self) -> float | None:
        deadlines = [server.next_deadline() for server in self._servers.values()]
        looking = self.runtime.now() + LOOK_EVERY if self._registration is not None else None
        counting = self._counted_at + COUNT_EVERY if self._news() else None
        found = (self._open_at, self._devices_at, looking, counting, *deadlines)
        return min((each for each in found if each is not None), default=None)

    def close(self) -> None:
        self.actor_inbox.watch(())
        for server in self._servers.values():
            server.close()
        if self._registration is not None:
            self._registration.close()

    def _open(self, now: float) -> None:
        """Listen wherever that is not so yet."""
        self._open_at = None
        for address in self._addresses:
            if address in self._servers:
                continue
            try:
                self._servers[address] = DnsServer(address, self._port)
                self._unusable.pop(address, None)
                self.runtime.log("info", "names are served", at=str(self._servers[address]))
            except LocalError as error:
                self._open_at = now + OPEN_AGAIN
                self._unusable[address] = error.problem
        self.actor_inbox.watch(tuple(server.descriptor for server in self._servers.values()))

    def _register(self, now: float) -> None:
        """Tell resolved of one mesh after another, where it is to ask."""
        if self._registration is not None and self._registration.look(now):
            self._end_registration(self._registration)
        if self._registration is None and self._started and self._servers:
            self._registered, started = self._started.popitem()
            place = str(next(iter(self._servers.values())))
            domains = ("smeg", ".".join(reverse_zone(overlay_prefix(self._registered))))
            self._registration = Registration(started.interface, place, domains)
            self._registration.look(now)

    def _end_registration(self, registration: Registration) -> None:
        registration.close()
        self._registration = None
        self._untold.pop(self._registered, None)
        if registration.problem is not None:
            self._untold[self._registered] = registration.problem
            self.runtime.log("warning", "resolved was not told", problem=str(registration.problem))

    def _news(self) -> bool:
        """Whether there were queries since the last report."""
        return self._said is not None and self._said.asked != self._responder.asked

    def _report(self, now: float) -> Iterable[Message]:
        places = tuple(str(server) for server in self._servers.values())
        problems = (*self._unusable.values(), *self._untold.values())
        said = self._said
        same = said is not None and (said.places, said.problems) == (places, problems)
        if same and not (self._news() and now >= self._counted_at + COUNT_EVERY):
            return []
        self._version += 1
        self._counted_at = now
        self._said = m.NamesServed(self._version, places, self._responder.asked, self._responder.dropped, problems)
        return [self._said]
