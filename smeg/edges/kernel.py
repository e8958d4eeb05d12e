"""WireGuard in the kernel: the interface by rtnetlink, keys and peers by WireGuard's generic netlink family.

Peers go in messages that stay well below what one netlink attribute can hold (64 KiB), so any number of them can be
set. An interface that a killed daemon left is adopted with its peers, so that tunnels run on; one with another key is
somebody else's and is never touched. Source: the kernel's include/uapi/linux/wireguard.h.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from ipaddress import IPv6Network
from socket import AF_INET6, htonl, if_indextoname, if_nametoindex, ntohl
from typing import Any

from smeg.device import (
    MARK,
    DeviceState,
    Endpoint,
    Handshake,
    InterfaceSpec,
    Operation,
    RemovePeer,
    SetInterface,
    SetPeer,
    Table,
    WgPeer,
)
from smeg.edges.netlink_errors import device_gone, explained, interface_taken, port_in_use
from smeg.edges.rtnetlink import Link, Links, check_mtu, check_name, check_permission
from smeg.edges.sysctls import read_forwarding, turn_on
from smeg.errors import LocalError
from smeg.forwarding import Forwarding, Setting
from smeg.keys import x25519_public
from smeg.plan import batches

KIND = "wireguard"
MESSAGE_BYTES = 32 << 10
"""About how much of peers goes into one message; an attribute's length has 16 bits."""
PREFIXES_IN_PIECE = 512
"""How many prefixes of one peer go into one message; the rest follows in further ones."""

_REMOVE = 1
_REPLACE_ALLOWED_IPS = 2
_SET_DEVICE = 1
_VERSION = 1
_REQUEST_WITH_ACK = 5
_PEER_BYTES = 120
_PREFIX_BYTES = 40


class KernelBackend:
    """A `Backend` on the kernel's own WireGuard. Errors are those of the protocol."""

    kind = "kernel"

    def __init__(self) -> None:
        self._spec: InterfaceSpec | None = None
        self._link: Link | None = None
        """The interface that is ours to remove, as it was when opened."""
        self._links: Links | None = None
        self._wireguard: Any = None

    def open(self, spec: InterfaceSpec) -> None:
        """Make or adopt the interface. When that fails, nothing stays of what was ours."""
        check_name(spec.name)
        check_mtu(spec.name, spec.mtu)
        check_permission(spec.name)
        self.close()
        self._links = Links()
        try:
            self._link = self._left_behind(self._links, spec) or self._links.create(spec.name, KIND)
            self._spec = spec
            self._configure(spec.listen_port, spec.mtu)
            self._links.settle(self._link, spec.gossip_ports)
        except BaseException:
            self.close()
            raise

    def read(self) -> DeviceState:
        spec, links = self._opened()
        link = links.get(spec.name)
        addresses = links.addresses(link)
        routes = links.routes.read(link.index, addresses, spec.gossip_ports)
        messages = self._dump(spec.name)
        peers = _peers(messages)
        return DeviceState(
            public_key=_public_key(messages),
            listen_port=_listen_port(messages),
            mtu=link.mtu,
            up=link.up,
            addresses=addresses,
            routes=routes[Table.MAIN],
            peers={key: _peer(key, parts) for key, parts in peers.items()},
            unmarked_routes=routes[Table.UNMARKED],
            own_routes=routes[Table.OWN],
            fwmark=_fwmark(messages),
        )

    def apply(self, operations: tuple[Operation, ...]) -> None:
        spec, links = self._opened()
        for batch in batches(operations):
            match batch[0]:
                case SetInterface(listen_port, mtu):
                    self._configure(listen_port, mtu)
                case SetPeer() | RemovePeer():
                    pieces = _pieces(each for each in batch if isinstance(each, SetPeer | RemovePeer))
                    for peers in pieces:
                        self._set("set peers", ["WGDEVICE_A_PEERS", peers])
                case other:
                    links.apply(spec.name, other)
        links.settle_after(spec, operations)

    def handshakes(self) -> Mapping[bytes, Handshake]:
        spec, _ = self._opened()
        now = time.time()
        return {key: _handshake(parts[0], now) for key, parts in _peers(self._dump(spec.name)).items()}

    def forwarding(self) -> Forwarding:
        spec, _ = self._opened()
        return read_forwarding(spec.name)

    def turn_on(self, setting: Setting) -> None:
        spec, _ = self._opened()
        turn_on(setting, spec.name)

    def close(self) -> None:
        try:
            if self._links is not None and self._link is not None:
                self._links.remove(self._link)
                self._links.settle(self._link)
        finally:
            for socket in (self._wireguard, self._links):
                if socket is not None:
                    socket.close()
            self._spec = self._link = self._links = self._wireguard = None

    def _opened(self) -> tuple[InterfaceSpec, Links]:
        if self._spec is None or self._links is None:
            raise device_gone("that was never opened, or closed since,")
        return self._spec, self._links

    def _left_behind(self, links: Links, spec: InterfaceSpec) -> Link | None:
        """The interface if it exists and may be adopted. Raises `LocalError` with code `interface-taken`."""
        link = links.find(spec.name)
        if link is None:
            return None
        if link.kind != KIND:
            raise interface_taken(spec.name, f"its kind is {link.kind or 'hardware'}, not {KIND}")
        if _public_key(self._dump(spec.name)) not in (b"", x25519_public(spec.private_key)):
            raise interface_taken(spec.name, "it has another WireGuard key")
        return link

    def _configure(self, listen_port: int, mtu: int) -> None:
        """Key, port, mark, MTU and up, each only where it differs: a key that is set again may cost the handshakes."""
        spec, links = self._opened()
        held = self._dump(spec.name)
        changes: list[list[Any]] = []
        if _public_key(held) != x25519_public(spec.private_key):
            changes.append(["WGDEVICE_A_PRIVATE_KEY", b64encode(spec.private_key.reveal())])
        if listen_port not in (0, _listen_port(held)):
            changes.append(["WGDEVICE_A_LISTEN_PORT", listen_port])
        if _fwmark(held) != MARK:
            changes.append(["WGDEVICE_A_FWMARK", MARK])
        with _port_named(spec.name, listen_port):
            if changes:
                self._set("set key, port and mark", *changes)
            links.bring_up(spec.name, mtu)

    def _dump(self, name: str) -> list[Any]:
        with explained("read the WireGuard state", name):
            return list(self._socket().info(name))

    def _set(self, what: str, *attributes: list[Any]) -> None:
        spec, _ = self._opened()
        with explained(what, spec.name):
            socket = self._socket()
            message = import_module("pyroute2.netlink.generic.wireguard").wgmsg()
            message["cmd"], message["version"] = _SET_DEVICE, _VERSION
            message["attrs"] = [["WGDEVICE_A_IFNAME", spec.name], *attributes]
            list(socket.nlm_request(message, msg_type=socket.prid, msg_flags=_REQUEST_WITH_ACK))

    def _socket(self) -> Any:
        """The generic netlink socket; WireGuard's family is there only once its first interface is."""
        if self._wireguard is None:
            self._wireguard = import_module("pyroute2.netlink.generic.wireguard").WireGuard()
        return self._wireguard


@contextmanager
def _port_named(name: str, port: int) -> Iterator[None]:
    try:
        yield
    except LocalError as error:
        if error.problem.code == "port-in-use":
            raise port_in_use(name, port) from error
        raise


def _pieces(operations: Iterable[SetPeer | RemovePeer]) -> Iterator[list[dict[str, Any]]]:
    """The peers of one message each, in order."""
    piece: list[dict[str, Any]] = []
    size = 0
    for operation in operations:
        for attributes, cost in _attributes(operation):
            if piece and size + cost > MESSAGE_BYTES:
                yield piece
                piece, size = [], 0
            piece.append({"attrs": attributes})
            size += cost
    if piece:
        yield piece


def _attributes(operation: SetPeer | RemovePeer) -> Iterator[tuple[list[list[Any]], int]]:
    """The attributes of one peer, with about how many bytes they take; in several parts if it has many prefixes."""
    match operation:
        case RemovePeer(key):
            yield [["WGPEER_A_PUBLIC_KEY", b64encode(key)], ["WGPEER_A_FLAGS", _REMOVE]], _PEER_BYTES
        case SetPeer(peer):
            attributes: list[list[Any]] = [
                ["WGPEER_A_PUBLIC_KEY", b64encode(peer.public_key)],
                ["WGPEER_A_FLAGS", _REPLACE_ALLOWED_IPS],
                ["WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", peer.keepalive],
            ]
            if peer.endpoint is not None:
                attributes.append(["WGPEER_A_ENDPOINT", _socket_address(peer.endpoint)])
            for start in range(0, max(len(peer.allowed_ips), 1), PREFIXES_IN_PIECE):
                prefixes = peer.allowed_ips[start : start + PREFIXES_IN_PIECE]
                yield [*attributes, ["WGPEER_A_ALLOWEDIPS", _allowed(prefixes)]], _cost(prefixes)
                attributes = [["WGPEER_A_PUBLIC_KEY", b64encode(peer.public_key)]]


def _cost(prefixes: tuple[IPv6Network, ...]) -> int:
    return _PEER_BYTES + _PREFIX_BYTES * len(prefixes)


def _allowed(prefixes: tuple[IPv6Network, ...]) -> list[dict[str, Any]]:
    return [
        {
            "attrs": [
                ["WGALLOWEDIP_A_FAMILY", AF_INET6],
                ["WGALLOWEDIP_A_IPADDR", prefix.network_address.packed],
                ["WGALLOWEDIP_A_CIDR_MASK", prefix.prefixlen],
            ]
        }
        for prefix in prefixes
    ]


def _socket_address(endpoint: Endpoint) -> dict[str, Any]:
    host, _, zone = endpoint.host.partition("%")
    # The kernel reads the scope in its own byte order, pyroute2 writes it big-endian.
    scope = htonl(if_nametoindex(zone)) if zone else 0
    return {"addr": host, "port": endpoint.port, "flowinfo": 0, "scope_id": scope}


def _endpoint(address: Any) -> Endpoint | None:
    if address is None:
        return None
    scope = ntohl(address["scope_id"]) if "scope_id" in address else 0
    return Endpoint(f"{address['addr']}%{if_indextoname(scope)}" if scope else address["addr"], address["port"])


def _public_key(messages: list[Any]) -> bytes:
    value = messages[0].get_attr("WGDEVICE_A_PUBLIC_KEY")
    return b64decode(value) if value else b""


def _listen_port(messages: list[Any]) -> int:
    return int(messages[0].get_attr("WGDEVICE_A_LISTEN_PORT") or 0)


def _fwmark(messages: list[Any]) -> int:
    return int(messages[0].get_attr("WGDEVICE_A_FWMARK") or 0)


def _peers(messages: list[Any]) -> dict[bytes, list[Any]]:
    """The parts of each peer: one whose prefixes do not fit into a message goes on in the next."""
    peers: dict[bytes, list[Any]] = {}
    for message in messages:
        for part in message.get_attr("WGDEVICE_A_PEERS") or ():
            peers.setdefault(b64decode(part.get_attr("WGPEER_A_PUBLIC_KEY")), []).append(part)
    return peers


def _peer(key: bytes, parts: list[Any]) -> WgPeer:
    prefixes = (
        IPv6Network(allowed["addr"])
        for part in parts
        for allowed in part.get_attr("WGPEER_A_ALLOWEDIPS") or ()
        if allowed.get_attr("WGALLOWEDIP_A_FAMILY") == AF_INET6
    )
    keepalive = int(parts[0].get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0)
    return WgPeer(key, tuple(sorted(prefixes)), _endpoint(parts[0].get_attr("WGPEER_A_ENDPOINT")), keepalive)


def _handshake(part: Any, now: float) -> Handshake:
    """`now` and WireGuard's times are wall-clock seconds since 1970; there is no other clock to ask it in."""
    at = part.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
    seconds = at["tv_sec"] + at["tv_nsec"] / 1e9 if at is not None else 0
    return Handshake(
        endpoint=_endpoint(part.get_attr("WGPEER_A_ENDPOINT")),
        age=max(now - seconds, 0.0) if seconds else None,
        received=int(part.get_attr("WGPEER_A_RX_BYTES") or 0),
        sent=int(part.get_attr("WGPEER_A_TX_BYTES") or 0),
    )
