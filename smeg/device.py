"""What a WireGuard device looks like, as values: the language between the plan and the backends.

A `DeviceState` is both what a device is (`Backend.read`) and what it should be (`plan.wanted`); `plan.difference`
turns the one into `Operation`s for the other. Nothing here touches a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Interface, IPv6Network
from typing import Protocol

from smeg.forwarding import Forwarding, Setting
from smeg.keys import Secret

MAX_INTERFACE_NAME = 15
"""bytes; Linux IFNAMSIZ less the terminating zero."""
MARK = 0x53 << 24
"""What WireGuard's own packets bear (`fwmark`), so that no route of a mesh takes them, of whichever mesh they are."""


class Table(Enum):
    """Where a kernel route stands, and with that which packets it is for. `docs/routing.md` has the rules between."""

    MAIN = "main"
    """All packets; among the host's own routes the longest match counts."""
    UNMARKED = "unmarked"
    """All but WireGuard's own, after every route of the host but its default."""
    OWN = "own"
    """Those from the interface's own addresses, before everything else."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where WireGuard or gossip packets go: a literal address (no brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class WgPeer:
    """One `[Peer]` of an interface."""

    public_key: bytes
    """32 bytes."""
    allowed_ips: tuple[IPv6Network, ...] = ()
    """Sorted, disjoint from every other peer's."""
    endpoint: Endpoint | None = None
    keepalive: int = 0
    """seconds; 0 is off."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """An interface, whole. Compared field by field by `plan.difference`."""

    public_key: bytes
    """32 bytes, or empty when the device has no private key yet."""
    listen_port: int
    mtu: int
    up: bool
    addresses: tuple[IPv6Interface, ...]
    """Sorted. Link-local addresses are not ours and are left out."""
    routes: tuple[IPv6Network, ...]
    """Sorted. Kernel routes out of this interface that smegmesh made or would make, in the main table."""
    peers: Mapping[bytes, WgPeer]
    """By public key."""
    unmarked_routes: tuple[IPv6Network, ...] = ()
    """Sorted; likewise, in the table that marked packets pass by."""
    own_routes: tuple[IPv6Network, ...] = ()
    """Sorted; likewise, for packets from the interface's addresses."""
    fwmark: int = MARK
    """On the packets that WireGuard sends."""

    def routes_in(self, table: Table) -> tuple[IPv6Network, ...]:
        match table:
            case Table.MAIN:
                return self.routes
            case Table.UNMARKED:
                return self.unmarked_routes
            case Table.OWN:
                return self.own_routes


@dataclass(frozen=True, slots=True)
class Handshake:
    """What WireGuard says of one peer at this moment."""

    endpoint: Endpoint | None
    age: float | None
    """seconds since the last handshake; None when there was none."""
    received: int
    """bytes."""
    sent: int
    """bytes."""


@dataclass(frozen=True, slots=True)
class SetInterface:
    """Set port, MTU, mark and up. The private key stays in the backend, which got it by `open`."""

    listen_port: int
    mtu: int


@dataclass(frozen=True, slots=True)
class AddAddress:
    address: IPv6Interface


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    address: IPv6Interface


@dataclass(frozen=True, slots=True)
class AddRoute:
    prefix: IPv6Network
    table: Table = Table.MAIN


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    prefix: IPv6Network
    table: Table = Table.MAIN


@dataclass(frozen=True, slots=True)
class SetPeer:
    """Add a peer, or make an existing one look like this. `endpoint` None leaves the endpoint as it is."""

    peer: WgPeer


@dataclass(frozen=True, slots=True)
class RemovePeer:
    public_key: bytes


Operation = SetInterface | AddAddress | RemoveAddress | AddRoute | RemoveRoute | SetPeer | RemovePeer


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """What a backend needs to make an interface, or to adopt the one that a dead daemon left."""

    name: str
    private_key: Secret = field(repr=False)
    listen_port: int
    mtu: int
    gossip_ports: tuple[int, ...] = ()
    """TCP; what goes to or comes from one of these never goes by routes for unmarked packets."""


class Backend(Protocol):
    """One way to have WireGuard interfaces. Every method raises `LocalError` with code, message and hint.

    A backend is owned by one actor and used from one thread. It holds one interface.
    """

    kind: str
    """`kernel`, `userspace` or `dry-run`."""

    def open(self, spec: InterfaceSpec) -> None:
        """Make the interface up with key, port and MTU, or adopt one of this name that is ours.

        Codes: `no-permission`, `no-backend`, `port-in-use`, `interface-taken` (one of this name exists and is not a
        WireGuard device of ours).
        """

    def read(self) -> DeviceState:
        """What the device is now. Raises `device-gone` when somebody removed it."""

    def apply(self, operations: tuple[Operation, ...]) -> None:
        """Carry out in order; one failure (code `device-failed`) stops the rest, and the next read shows what held."""

    def handshakes(self) -> Mapping[bytes, Handshake]:
        """By public key."""

    def forwarding(self) -> Forwarding:
        """Whether packets that come in by the interface are passed on."""

    def turn_on(self, setting: Setting) -> None:
        """Have them passed on. Raises `no-permission`."""

    def close(self) -> None:
        """Remove the interface, its routes, its process and socket. Harmless when already gone."""
