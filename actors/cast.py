"""Who plays the parts that touch the world: what differs between production and the simulator, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from actors.base import Actor, Address
from actors.device import DeviceActor, OpenBackend, Underlay
from actors.routing_table import RoutingTableActor
from actors.runtime import Runtime
from actors.store import Disk
from actors.wiring import Role
from smeg.config_values import PublicEndpoint
from smeg.hooks import HookPolicy
from smeg.ledger import Ledger
from smeg.mesh_settings import Keys
from smeg.notary import Notary
from smeg.route_policy import RoutePolicy


class MakeEdge(Protocol):
    """Makes the gossip or the control actor."""

    def __call__(self, runtime: Runtime, incarnation: int, supervisor: Address, keys: Keys) -> Actor: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says to the actors. Times in seconds."""

    name: str
    """This node's name, as others see it."""
    role: Literal["peer", "client"] = "peer"
    """What this node wants to be; an invitation may allow less."""
    keepalive: int = 25
    """What clients keep their NAT mapping open with."""
    public_endpoints: tuple[PublicEndpoint, ...] = ()
    """Where others reach this host; empty: what the gossip actor finds."""
    ip_discovery: Literal["outgoing", "peers"] = "outgoing"
    """Whether that is this host's own addresses alone, or first those that other members see."""
    wireguard_port: int = 51820
    """The first UDP port tried for a mesh; 0 lets the kernel choose."""
    mtu: int = 1420
    forwarding: Literal["mesh", "host", "none"] = "mesh"
    """What may be turned on to pass packets on for others."""
    heartbeat_interval: float = 5.0
    suspect_after: float = 3.0
    restart_grace: float = 30.0
    fast_detection: bool = True
    """Off in simulations alone: who beats to nobody is soon accused by those who do."""
    repair_interval: float = 10.0
    handshake_interval: float = 5.0
    routes: RoutePolicy = field(default_factory=RoutePolicy)
    hooks: HookPolicy = field(default_factory=HookPolicy)


def new_ledger(mesh: str) -> Ledger:
    """An empty one."""
    return Ledger(mesh, Notary())


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A configuration that was read again."""

    cast: Cast
    at_once: tuple[str, ...]
    """Keys that are otherwise from now on."""
    restart: tuple[str, ...]
    """Keys that would be otherwise after a restart."""
    replaced: tuple[Role, ...]
    """Actors of the daemon to be ended and begun anew, where the new cast has them."""


@dataclass(frozen=True, slots=True)
class Cast:
    settings: Settings
    open_disk: Callable[[], Disk]
    gossip: MakeEdge
    control: MakeEdge
    open_backend: OpenBackend
    underlay: Callable[[], Underlay]
    notary: Callable[[], Notary] = Notary
    """One for each actor that verifies; the simulator shares one among all nodes."""
    ledger: Callable[[str], Ledger] = new_ledger
    """What a mesh's membership begins with, by mesh id; in the simulator what all nodes of a mesh know."""
    device: type[DeviceActor] = DeviceActor
    routing: type[RoutingTableActor] = RoutingTableActor
    prober: MakeEdge | None = None
    """What tries whether this node reaches beyond itself, if its user wants that."""
    dns: MakeEdge | None = None
    """What answers for names, likewise."""
    reload: Callable[[], Reloaded] | None = None
    """Reads the configuration again. Raises `LocalError`."""
    metrics: MakeEdge | None = None
    """What serves metrics, likewise."""

    def optional(self) -> dict[Role, MakeEdge]:
        """The daemon's actors that only some have."""
        found = ((Role.PROBER, self.prober), (Role.DNS, self.dns), (Role.METRICS, self.metrics))
        return {role: make for role, make in found if make is not None}
