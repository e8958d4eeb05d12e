"""Who hears what: the one table by which every message finds its actors.

An actor emits a message without knowing who listens. `Directory` says where each role lives now; `Node` sends a new one
to everybody whenever it started or replaced an actor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from smeg import messages as m
from smeg.core import Message

if TYPE_CHECKING:
    from actors.base import Address


class Role(StrEnum):
    """The kinds of actors, by the name that `status` shows."""

    NODE = "node"
    STORE = "store"
    GOSSIP = "gossip"
    CONTROL = "control"
    ROUTING = "routing-table"
    PROBER = "prober"
    DNS = "dns"
    METRICS = "metrics"
    MESH = "mesh"
    MEMBERSHIP = "membership"
    HEARTBEAT = "heartbeat"
    DEVICE = "device"


OF_A_MESH = (Role.DEVICE, Role.MEMBERSHIP, Role.HEARTBEAT, Role.MESH)
"""One of each for every mesh; started in this order."""

LISTENERS: Mapping[type[Message], tuple[Role, ...]] = {
    m.SendMember: (Role.GOSSIP,),
    m.Spread: (Role.GOSSIP,),
    m.SendGuest: (Role.GOSSIP,),
    m.Dial: (Role.GOSSIP,),
    m.MembersChanged: (Role.HEARTBEAT, Role.ROUTING, Role.DEVICE, Role.MESH, Role.GOSSIP, Role.CONTROL, Role.DNS),
    m.LivenessChanged: (Role.MEMBERSHIP, Role.ROUTING, Role.DEVICE, Role.MESH, Role.CONTROL, Role.DNS),
    m.EpochSeen: (Role.CONTROL,),
    m.Agreed: (Role.CONTROL,),
    m.Detected: (Role.CONTROL,),
    m.Watched: (Role.GOSSIP,),
    m.LinkRefused: (Role.HEARTBEAT,),
    m.LinkSilent: (Role.HEARTBEAT,),
    m.LinkRestored: (Role.DEVICE,),
    m.RootChanged: (Role.HEARTBEAT, Role.CONTROL),
    m.RootDiffers: (Role.MEMBERSHIP,),
    m.StaticsServed: (Role.DEVICE,),
    m.AnnexesChanged: (Role.ROUTING, Role.MESH, Role.CONTROL, Role.DNS),
    m.OffersChanged: (Role.MESH, Role.CONTROL),
    m.Admitted: (Role.ROUTING, Role.CONTROL),
    m.Reconfigured: (Role.ROUTING, Role.CONTROL),
    m.SelfConfigured: (Role.MESH,),
    m.DeviceConfigured: (Role.DEVICE,),
    m.RoutesChanged: (Role.DEVICE, Role.MESH, Role.CONTROL),
    m.UplinkChanged: (Role.ROUTING, Role.CONTROL),
    m.NamesServed: (Role.CONTROL,),
    m.MetricsServed: (Role.CONTROL,),
    m.MetricsAsked: (Role.CONTROL,),
    m.MetricsPage: (Role.METRICS,),
    m.DeviceReady: (Role.MESH, Role.CONTROL),
    m.DeviceApplied: (Role.CONTROL,),
    m.DeviceFailed: (Role.MESH, Role.CONTROL),
    m.DeviceWarned: (Role.CONTROL,),
    m.HandshakesSeen: (Role.CONTROL,),
    m.Alarm: (Role.CONTROL,),
    m.AlarmOver: (Role.CONTROL,),
    m.RouteProblems: (Role.CONTROL,),
    m.Learned: (Role.STORE,),
    m.SaveMesh: (Role.STORE,),
    m.SaveOwn: (Role.STORE,),
    m.ForgetMesh: (Role.STORE,),
    m.LoadMesh: (Role.STORE,),
    m.Loaded: (Role.NODE,),
    m.MeshLoaded: (Role.NODE,),
    m.MeshForgotten: (Role.NODE,),
    m.StoreFailed: (Role.NODE,),
    m.Saved: (Role.MESH,),
    m.SaveFailed: (Role.MESH,),
    m.Publish: (Role.MEMBERSHIP,),
    m.Countersign: (Role.MEMBERSHIP,),
    m.MeshStarted: (Role.NODE, Role.CONTROL, Role.ROUTING, Role.DNS),
    m.MeshStopped: (Role.NODE, Role.CONTROL, Role.ROUTING, Role.GOSSIP, Role.DNS),
    m.MeshKnown: (Role.CONTROL,),
    m.Request: (Role.NODE,),
    m.Reply: (Role.CONTROL,),
    m.Supervised: (Role.CONTROL,),
    m.GossipReady: (Role.NODE, Role.CONTROL),
    m.AddressesFound: (Role.NODE,),
    m.ControlReady: (Role.NODE,),
    m.GossipCounted: (Role.CONTROL,),
    m.LinkFailed: (Role.MESH,),
}

BY_CHANNEL: Mapping[m.Channel, Role] = {
    m.Channel.MEMBERSHIP: Role.MEMBERSHIP,
    m.Channel.HEARTBEAT: Role.HEARTBEAT,
    m.Channel.JOIN: Role.MEMBERSHIP,
    m.Channel.WELCOME: Role.MESH,
}

SNAPSHOTS = (
    m.MembersChanged,
    m.LivenessChanged,
    m.Watched,
    m.RootChanged,
    m.Agreed,
    m.RoutesChanged,
    m.RouteProblems,
    m.StaticsServed,
    m.AnnexesChanged,
    m.OffersChanged,
    m.Admitted,
    m.UplinkChanged,
    m.NamesServed,
    m.MetricsServed,
    m.DeviceReady,
    m.DeviceApplied,
    m.DeviceWarned,
    m.Supervised,
    m.MeshStarted,
    m.GossipReady,
)
"""Kept by who emitted them, and told again to an actor that takes over a role."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Where everybody lives: the newest version counts."""

    version: int
    places: Mapping[tuple[Role, str], Address] = field(repr=False)
    """By role and mesh id; the mesh id is empty for the daemon's own actors."""
    _found: dict[tuple[object, ...], tuple[Address, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What `addresses` found, by all that it depends on."""

    def listeners(self, message: Message) -> list[tuple[Role, str]]:
        """The places that hear `message`, in the order of the table."""
        mesh = getattr(message, "mesh", "")
        if isinstance(message, m.Received):
            return [(BY_CHANNEL[message.channel], mesh)]
        if isinstance(message, m.SaveMesh):
            mesh = message.mesh.id
        return [(role, mesh if role in OF_A_MESH else "") for role in LISTENERS[type(message)]]

    def addresses(self, message: Message) -> tuple[Address, ...]:
        """Those of the places that hear `message` where somebody lives."""
        kind = type(message)
        mesh = message.mesh.id if kind is m.SaveMesh else getattr(message, "mesh", "")
        key = (kind, mesh, message.channel) if kind is m.Received else (kind, mesh)
        found = self._found.get(key)
        if found is None:
            places = self.listeners(message)
            found = tuple(self.places[place] for place in places if place in self.places)
            self._found[key] = found
        return found
