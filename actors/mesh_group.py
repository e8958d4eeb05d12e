"""The four actors of one mesh: how each is made from what is known of the mesh.

It makes and decides nothing more; `Node` starts what is made here, and stops it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from actors.base import Address
from actors.cast import Cast
from actors.device import DeviceSettings
from actors.heartbeat import HeartbeatActor
from actors.membership import MembershipActor
from actors.mesh import MeshActor
from actors.meshes import MAX_MESHES, MeshEntry
from actors.runtime import Runtime
from actors.supervision import Make
from actors.wiring import Role
from smeg import messages as m
from smeg.certificates import Role as NodeRole
from smeg.config_values import PublicEndpoint
from smeg.device import Endpoint, InterfaceSpec
from smeg.forwarding import Mode
from smeg.heartbeat import Detection, Heartbeat
from smeg.keys import node_key
from smeg.membership import Membership
from smeg.mesh import Mesh
from smeg.mesh_settings import Keys, MeshSettings
from smeg.stored import StoredMesh

PORTS_TRIED = 16
DEFAULT_GOSSIP_PORT = 51800
"""Of the configuration."""


class MeshGroup:
    """Makes the actors of meshes for one daemon, with its keys and what its gossip actor found of the underlay."""

    def __init__(
        self,
        runtime: Runtime,
        node: Address,
        cast: Cast,
        keys: Keys,
        underlay: m.GossipReady,
        seen: tuple[str, ...] = (),
    ) -> None:
        """`seen`: under which addresses other members see this host."""
        self._runtime = runtime
        self._node = node
        self._cast = cast
        self._keys = keys
        self._own = node_key(keys.identity)
        self._underlay = underlay
        self._seen = seen

    def makes(self, entry: MeshEntry, others: Iterable[MeshEntry]) -> dict[Role, Make]:
        """One for each role of a mesh. `others` have ports that are taken."""
        return {
            Role.DEVICE: self.device(entry, others),
            Role.MEMBERSHIP: self._membership(entry.stored),
            Role.HEARTBEAT: self._heartbeat(entry.stored.id),
            Role.MESH: self._mesh(entry),
        }

    def device(self, entry: MeshEntry, others: Iterable[MeshEntry]) -> Make:
        stored, settings, cast = entry.stored, self._cast.settings, self._cast
        runtime, node, own = self._runtime, self._node, self._own
        spec = InterfaceSpec(stored.interface, stored.wireguard, stored.listen_port, settings.mtu, self._gossip_ports())
        ports = self._ports(stored, others)
        said = self._device_configured(stored)
        device = DeviceSettings(
            ports,
            said.mtu,
            said.keepalive,
            settings.handshake_interval,
            said.forwarding,
            said.bridges,
            said.leads_beyond,
            said.hooks,
        )
        return lambda n: cast.device(runtime, stored.id, n, node, own, spec, device, cast.open_backend, cast.underlay())

    def configured(self, stored: StoredMesh) -> tuple[m.SelfConfigured, m.DeviceConfigured]:
        """What the settings say to a mesh that has begun with others."""
        return self.self_configured(stored.id), self._device_configured(stored)

    def self_configured(self, mesh: str) -> m.SelfConfigured:
        about = self._about()
        return m.SelfConfigured(mesh, about.name, about.gossip, about.keepalive, about.provisional)

    def _device_configured(self, stored: StoredMesh) -> m.DeviceConfigured:
        settings = self._cast.settings
        told = {"SMEG_MESH": stored.name, "SMEG_MESH_ID": stored.id, "SMEG_NODE": settings.name}
        return m.DeviceConfigured(
            stored.id,
            settings.mtu,
            settings.keepalive,
            Mode(settings.forwarding),
            settings.routes.of(stored.id, stored.name).bridge,
            bool(settings.routes.behind),
            replace(settings.hooks.of(stored.id, stored.name), told=told),
        )

    def _membership(self, stored: StoredMesh) -> Make:
        runtime, keys, interval = self._runtime, self._keys, self._cast.settings.repair_interval

        def make(n: int) -> MembershipActor:
            ledger, random = self._cast.ledger(stored.id), runtime.random(f"membership@{stored.id}")
            core = Membership(
                stored.id,
                self._own,
                keys.identity,
                keys.curve,
                ledger,
                random,
                runtime.wall,
                interval,
                stored.documents,
            )
            return MembershipActor(runtime, stored.id, n, self._node, core)

        return make

    def _heartbeat(self, mesh: str) -> Make:
        runtime, own, settings = self._runtime, self._own, self._cast.settings
        fast = settings.fast_detection
        detection = Detection(settings.heartbeat_interval, settings.suspect_after, settings.restart_grace, fast)

        def make(n: int) -> HeartbeatActor:
            core = Heartbeat(mesh, own, detection, runtime.random(f"heartbeat@{mesh}"))
            return HeartbeatActor(runtime, mesh, n, self._node, core)

        return make

    def _mesh(self, entry: MeshEntry) -> Make:
        runtime, about = self._runtime, self._about()
        stored = entry.stored

        def make(n: int) -> MeshActor:
            notary, random = self._cast.notary(), runtime.random(f"mesh@{stored.id}")
            core = Mesh(
                stored, entry.origin, self._keys, about, notary, random, runtime.entropy, runtime.wall, entry.token
            )
            return MeshActor(runtime, stored.id, n, self._node, core)

        return make

    def _about(self) -> MeshSettings:
        settings = self._cast.settings
        asks = settings.ip_discovery == "peers" and not settings.public_endpoints
        found = tuple(PublicEndpoint(each) for each in (*(self._seen if asks else ()), *self._underlay.addresses))
        public = settings.public_endpoints or found
        gossip = tuple(Endpoint(place.host, place.port or self._underlay.port) for place in public)
        provisional = asks and not self._seen
        return MeshSettings(settings.name, NodeRole(settings.role), gossip, settings.keepalive, provisional)

    def _gossip_ports(self) -> tuple[int, ...]:
        """Its own, and the one that members have who chose none."""
        return tuple(sorted({self._underlay.port, DEFAULT_GOSSIP_PORT} - {0}))

    def _ports(self, stored: StoredMesh, others: Iterable[MeshEntry]) -> tuple[int, ...]:
        """A known mesh keeps its port; a new one takes the first that is free."""
        if stored.listen_port:
            return (stored.listen_port,)
        base = self._cast.settings.wireguard_port
        taken = {other.stored.listen_port for other in others}
        found = [port for port in range(base, min(base + MAX_MESHES + PORTS_TRIED, 65536)) if port not in taken]
        return tuple(found[:PORTS_TRIED]) if base else (0,)
