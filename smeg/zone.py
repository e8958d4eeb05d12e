"""What the names under `smeg.` mean, and the addresses of the overlay: the members of this node's meshes as a DNS zone.

| Name | Records |
|---|---|
| `LABEL.MESH.smeg` | AAAA; TXT, the description |
| `DEVICE.MESH.smeg`, `DEVICE.LABEL.MESH.smeg` | AAAA of a device without a daemon; LABEL is its peer |
| `_SERVICE._PROTOCOL.LABEL.MESH.smeg` | SRV; TXT, its texts |
| `_SERVICE._PROTOCOL.MESH.smeg` | SRV of all who offer it |
| an address of the overlay in `ip6.arpa` | PTR |
| `ns.smeg` | this server's addresses |

MESH is a mesh's id, or its name as long as only one mesh here has it; LABEL as in `zone_index`, DEVICE as in
`device_names`. Values only: no DNS message is read or written here, and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.annexes import Annex
from smeg.card import Service
from smeg.core import Message
from smeg.keys import NodeKey
from smeg.static_clients import static_clients
from smeg.zone_index import MeshNames

Name = tuple[str, ...]
"""Labels in lower case, without the root."""
APEX: Name = ("smeg",)
SERVER: Name = ("ns", "smeg")
_REVERSE: Name = ("ip6", "arpa")
_PREFIX, _ADDRESS = 16, 32
"""Labels of a mesh's prefix in `ip6.arpa`, and of an address."""
_STRING = 255
"""bytes of one string of a TXT record."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a service is."""

    port: int
    target: Name


@dataclass(frozen=True, slots=True)
class Texts:
    strings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A name that another one points to."""

    name: Name


Data = IPv4Address | IPv6Address | Server | Texts | Target


@dataclass(frozen=True, slots=True)
class Found:
    """What there is at a name within one of the zones."""

    apex: Name
    exists: bool = True
    """Also for a name without records, if there are names below it."""
    records: Mapping[str, tuple[Data, ...]] = field(default_factory=dict)
    """By type: `AAAA`, ..."""
    besides: Mapping[Name, IPv6Address] = field(default_factory=dict)
    """Where the names are that these records point to."""


class Zone:
    """`addresses` are those of the server itself; `wall` gives seconds since 1970. Nothing counts of a mesh before it
    has started."""

    def __init__(self, addresses: Iterable[IPv4Address | IPv6Address], wall: Callable[[], int]) -> None:
        found = tuple(addresses)
        self._server: dict[str, tuple[Data, ...]] = {
            kind: those
            for kind, family in (("A", IPv4Address), ("AAAA", IPv6Address))
            if (those := tuple(each for each in found if isinstance(each, family)))
        }
        self._wall = wall
        self._names: dict[str, MeshNames] = {}
        self._annexes: dict[str, Mapping[NodeKey, Mapping[str, Annex]]] = {}
        self._started: dict[str, str] = {}
        """Mesh id → name."""
        self.version = 0
        """Rises with every change of what is answered."""

    def hear(self, message: Message) -> None:
        """Take in a snapshot."""
        match message:
            case m.MembersChanged(mesh, members=members):
                changed = self._names.setdefault(mesh, MeshNames()).take(members)
                changed |= self._look_at_devices(mesh)
            case m.AnnexesChanged(mesh, annexes=annexes):
                self._annexes[mesh] = annexes
                changed = self._look_at_devices(mesh)
            case m.LivenessChanged(mesh, pruned=pruned):
                changed = self._names.setdefault(mesh, MeshNames()).prune(pruned)
            case m.MeshStarted(mesh, name):
                changed = self._started.get(mesh) != name
                self._names.setdefault(mesh, MeshNames())
                self._started[mesh] = name
            case m.MeshStopped(mesh):
                changed = self._names.pop(mesh, None) is not None
                self._started.pop(mesh, None)
                self._annexes.pop(mesh, None)
            case _:
                changed = False
        self.version += changed

    def look(self) -> None:
        """Forget the devices whose time is over."""
        for mesh in self._annexes:
            self.version += self._look_at_devices(mesh)

    def has_devices(self) -> bool:
        return any(index.devices.labels() for index in self._names.values())

    def _look_at_devices(self, mesh: str) -> bool:
        """Whether other devices than before count in a mesh."""
        index = self._names.setdefault(mesh, MeshNames())
        found = static_clients(mesh, index.members, self._annexes.get(mesh, {}), self._wall())
        return index.devices.take(found)

    def serves(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether somebody at this address may ask: this host itself, and members."""
        return address.is_loopback or any(address in overlay_prefix(mesh) for mesh in self._started)

    def find(self, name: Name) -> Found | None:
        """What is at a name; None for one in no zone of this server."""
        if name[-1:] == APEX:
            return self._forward(name[:-1])
        if name[-2:] == _REVERSE:
            return self._reverse(name[:-2])
        return None

    def names(self) -> list[Name]:
        """All that have records, but for the server's own."""
        found: list[Name] = []
        for mesh in self._started:
            index, mesh_label = self._names[mesh], self._label(mesh)
            for label in index.labels():
                found.append((label, mesh_label, *APEX))
                places = {service.place for key in index.called(label) for service in index.services(key)}
                found += [(f"_{name}", f"_{protocol}", *found[-1]) for name, protocol in sorted(places)]
            for address in index.devices:
                found += [(*index.device_labels(address), mesh_label, *APEX), reverse_name(address)]
            found += [reverse_name(member.address) for member in index.members.values()]
        return found

    # Forward.

    def _forward(self, name: Name) -> Found:
        match name:
            case ():
                return Found(APEX, records={"NS": (Target(SERVER),)})
            case ("ns",):
                return Found(APEX, records=self._server)
        mesh = self._mesh(name[-1])
        if mesh is None:
            return Found(APEX, exists=False)
        index = self._names[mesh]
        match name[:-1]:
            case ():
                return Found(APEX)
            case (label,) if label in ("_tcp", "_udp"):
                return Found(APEX, exists=label[1:] in index.protocols())
            case (label,):
                return self._node(index, index.called(label)) or self._devices(index.devices_called(label))
            case (service, protocol) if protocol in ("_tcp", "_udp"):
                return self._service(mesh, index.offering((service[1:], protocol[1:])), service, protocol, ("SRV",))
            case (protocol, label) if protocol in ("_tcp", "_udp"):
                keys = index.called(label)
                return Found(APEX, any(each.protocol == protocol[1:] for key in keys for each in index.services(key)))
            case (device, label):
                return self._devices(index.devices_of(device, index.called(label)))
            case (service, protocol, label):
                return self._service(mesh, index.called(label), service, protocol, ("SRV", "TXT"))
        return Found(APEX, exists=False)

    def _devices(self, addresses: tuple[IPv6Address, ...]) -> Found:
        return Found(APEX, records={"AAAA": addresses}) if addresses else Found(APEX, exists=False)

    def _node(self, index: MeshNames, keys: tuple[NodeKey, ...]) -> Found | None:
        """None where nobody is meant."""
        if not keys:
            return None
        members = [index.members[key] for key in keys]
        said = [text.encode() for member in members if (text := member.record.card.description)]
        records: dict[str, tuple[Data, ...]] = {"AAAA": tuple(member.address for member in members)}
        if said:
            records["TXT"] = tuple(Texts(_strings(text)) for text in dict.fromkeys(said))
        return Found(APEX, records=records)

    def _service(
        self, mesh: str, keys: tuple[NodeKey, ...], service: str, protocol: str, kinds: tuple[str, ...]
    ) -> Found:
        index = self._names[mesh]
        offers: list[tuple[NodeKey, Service]] = [
            (key, each)
            for key in keys
            for each in index.services(key)
            if (service, protocol) == (f"_{each.name}", f"_{each.protocol}")
        ]
        if not offers:
            return Found(APEX, exists=False)
        targets = {key: (index.canonical(key), self._label(mesh), *APEX) for key, _ in offers}
        records: dict[str, tuple[Data, ...]] = {
            "SRV": tuple(Server(each.port, targets[key]) for key, each in offers),
            # A service without attributes has an empty one (RFC 6763, 6.1).
            "TXT": tuple(dict.fromkeys(Texts(tuple(t.encode() for t in each.text) or (b"",)) for _, each in offers)),
        }
        besides = {target: index.members[key].address for key, target in targets.items()}
        return Found(APEX, records={kind: records[kind] for kind in kinds}, besides=besides)

    def _mesh(self, label: str) -> str | None:
        """The mesh of this id, or of a name that no other has: a mesh joined later takes no name away unsaid."""
        if label in self._started:
            return label
        called = [mesh for mesh, name in self._started.items() if name == label]
        return called[0] if len(called) == 1 else None

    def _label(self, mesh: str) -> str:
        """A label that means this mesh alone."""
        name = self._started[mesh]
        return name if self._mesh(name) == mesh else mesh

    # Reverse.

    def _reverse(self, name: Name) -> Found | None:
        digits = "".join(reversed(name))
        apex = (*name[-_PREFIX:], *_REVERSE)
        mesh = next((mesh for mesh in self._started if reverse_zone(overlay_prefix(mesh)) == apex), None)
        if mesh is None:
            return None
        if len(name) == _PREFIX:
            return Found(apex, records={"NS": (Target(SERVER),)})
        index = self._names[mesh]
        if len(name) > _ADDRESS or not all(len(label) == 1 and label in "0123456789abcdef" for label in name):
            return Found(apex, exists=False)
        rest = 4 * (_ADDRESS - len(name))
        if rest:
            begin = int(digits, 16)
            held = (member.address for member in index.members.table.values())
            return Found(apex, any(int(each) >> rest == begin for each in (*held, *index.devices)))
        address = IPv6Address(int(digits, 16))
        key = index.members.at(address)
        best = (index.canonical(key),) if key is not None else index.device_labels(address)
        if not best:
            return Found(apex, exists=False)
        return Found(apex, records={"PTR": (Target((*best, self._label(mesh), *APEX)),)})


def reverse_name(address: IPv6Address) -> Name:
    """An address in `ip6.arpa` (RFC 3596, 2.5)."""
    return tuple(address.reverse_pointer.split("."))


@lru_cache(maxsize=64)
def reverse_zone(prefix: IPv6Network) -> Name:
    """The zone of a mesh's /64 in `ip6.arpa`."""
    return reverse_name(prefix.network_address)[_ADDRESS - _PREFIX :]


def _strings(text: bytes) -> tuple[bytes, ...]:
    return tuple(text[at : at + _STRING] for at in range(0, len(text), _STRING))
