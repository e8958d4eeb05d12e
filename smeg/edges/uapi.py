"""The cross-platform userspace interface of WireGuard: text over a Unix socket, as wireguard-go and boringtun speak it.

Rendering and parsing are pure; `UapiSocket` carries one question and its answer a connection, never waits without a
deadline, and never shows a private key. What a peer of this protocol sends is checked strictly, but keys that are not
known here are passed over, since newer programs add some. Source: wireguard.com/xplatform.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from time import monotonic

from smeg.device import Endpoint, Handshake, RemovePeer, SetPeer, WgPeer
from smeg.edges.netlink_errors import device_gone, failure
from smeg.errors import LocalError
from smeg.keys import KEY_BYTES, Secret, x25519_public

SOCKET_FOLDER = Path("/var/run/wireguard")
MAX_ANSWER = 64 << 20
"""bytes; a device with 100,000 peers answers with about 30 MB."""

_GET = b"get=1\n\n"


@dataclass(frozen=True, slots=True)
class UapiDevice:
    """What a `get` tells."""

    public_key: bytes
    """32 bytes, or empty when the device has no private key yet."""
    listen_port: int
    """0 while no socket is bound."""
    fwmark: int
    """0 for none."""
    peers: dict[bytes, WgPeer]
    handshakes: dict[bytes, Handshake]


@dataclass(slots=True)
class _Section:
    """One peer while its lines are being read."""

    prefixes: list[IPv6Network]
    endpoint: Endpoint | None = None
    keepalive: int = 0
    handshake: int = 0
    """nanoseconds since 1970; 0 when there was none."""
    received: int = 0
    sent: int = 0


def render_key(private_key: Secret) -> bytes:
    """A `set` of the device's private key."""
    return f"set=1\nprivate_key={private_key.reveal().hex()}\n\n".encode()


def render_port(listen_port: int) -> bytes:
    """A `set` of the port to listen on; 0 lets the system choose another one."""
    return f"set=1\nlisten_port={listen_port}\n\n".encode()


def render_mark(fwmark: int) -> bytes:
    """A `set` of the mark that outgoing packets bear."""
    return f"set=1\nfwmark={fwmark}\n\n".encode()


def render_peers(operations: Iterable[SetPeer | RemovePeer]) -> bytes:
    """One `set` for any number of peers, in order."""
    lines = ["set=1"]
    for operation in operations:
        match operation:
            case RemovePeer(key):
                lines += [f"public_key={key.hex()}", "remove=true"]
            case SetPeer(peer):
                lines += [f"public_key={peer.public_key.hex()}", "replace_allowed_ips=true"]
                if peer.endpoint is not None:
                    lines.append(f"endpoint={peer.endpoint}")
                lines.append(f"persistent_keepalive_interval={peer.keepalive}")
                lines += [f"allowed_ip={prefix}" for prefix in peer.allowed_ips]
    return ("\n".join(lines) + "\n\n").encode()


def parse_status(answer: bytes) -> int:
    """The error number, 0 or positive, that ends an answer. Raises `LocalError` with code `uapi-garbled`."""
    with _garbled():
        lines = answer.decode("ascii").rstrip("\n").split("\n")
        return _status(lines[-1])


def parse_get(answer: bytes, now: float) -> UapiDevice:
    """The device that the answer to a `get` describes; `now` is wall-clock seconds, which handshakes are told in.

    Raises `LocalError`: `uapi-garbled` when it is not such an answer, `device-failed` when it says that `get` failed.
    """
    with _garbled():
        *lines, last = answer.decode("ascii").rstrip("\n").split("\n")
        number = _status(last)
    if number:
        raise failure(number, "read the state", "the userspace WireGuard device")
    public_key, listen_port, fwmark = b"", 0, 0
    sections: dict[bytes, _Section] = {}
    section: _Section | None = None
    with _garbled():
        for line in lines:
            key, equals, value = line.partition("=")
            if not equals:
                raise ValueError("a line without '='")
            match key:
                case "public_key":
                    section = _Section([])
                    if sections.setdefault(_key(value), section) is not section:
                        raise ValueError("the same peer twice")
                case "private_key" if section is None:
                    public_key = _public(value)
                case "own_public_key" if section is None:
                    public_key = _key(value)
                case "listen_port" if section is None:
                    listen_port = _number(value, 0xFFFF)
                case "fwmark" if section is None:
                    fwmark = _number(value, 0xFFFFFFFF)
                case _ if section is not None:
                    _read_peer_line(section, key, value)
    peers = {key: _peer(key, section) for key, section in sections.items()}
    handshakes = {key: _handshake(each, now) for key, each in sections.items()}
    return UapiDevice(public_key, listen_port, fwmark, peers, handshakes)


class UapiSocket:
    """The control socket of one userspace device. Every exchange ends by a deadline of `timeout` seconds."""

    def __init__(self, name: str, timeout: float = 10.0) -> None:
        self._name = name
        self._timeout = timeout
        self.path = SOCKET_FOLDER / f"{name}.sock"

    def get(self) -> bytes:
        """The whole answer to a `get`. Raises `LocalError`: `device-gone`, `device-failed`, `no-permission`."""
        return self._ask(_GET)[0]

    def identify(self) -> tuple[bytes, int]:
        """The answer to a `get`, and the pid of the process that listens on the socket (unix(7), SO_PEERCRED)."""
        return self._ask(_GET)

    def set(self, request: bytes) -> int:
        """The error number, 0 or positive, with which the device answered a `set`."""
        return parse_status(self._ask(request)[0])

    def answers(self) -> bool:
        """Whether a process listens: a file alone may be what a killed process left behind."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout)
            try:
                connection.connect(str(self.path))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except OSError as error:
                raise failure(error.errno or 0, "use the control socket", self._name) from error
            return True

    def _ask(self, request: bytes) -> tuple[bytes, int]:
        deadline = monotonic() + self._timeout
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.settimeout(self._timeout)
                connection.connect(str(self.path))
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                connection.sendall(request)
                answer = bytearray()
                while not _complete(answer):
                    connection.settimeout(max(deadline - monotonic(), 0.001))
                    chunk = connection.recv(1 << 20)
                    if not chunk or len(answer) + len(chunk) > MAX_ANSWER:
                        raise LocalError("uapi-garbled", f"the control socket of {self._name} broke off its answer")
                    answer += chunk
            except TimeoutError as error:
                raise failure(errno.ETIMEDOUT, "use the control socket", self._name) from error
            except (FileNotFoundError, ConnectionError) as error:
                raise device_gone(self._name) from error
            except OSError as error:
                raise failure(error.errno or 0, "use the control socket", self._name) from error
        return bytes(answer), struct.unpack("3i", credentials)[0]


def _complete(answer: bytearray) -> bool:
    """An empty line ends an answer."""
    return answer.endswith(b"\n\n")


@contextmanager
def _garbled() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        reason = "not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise LocalError("uapi-garbled", f"a userspace WireGuard device answers nonsense: {reason}") from None


def _status(line: str) -> int:
    field, _, value = line.partition("=")
    if field != "errno":
        raise ValueError("no errno at the end")
    return _number(value.removeprefix("-"), 0xFFFF)


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most):
        raise ValueError("a number is malformed or out of range")
    return int(text)


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(text) != 2 * KEY_BYTES or len(key) != KEY_BYTES:
        raise ValueError("a key has not 64 hexadecimal digits")
    return key


def _public(text: str) -> bytes:
    """The public key of a private one; all zeros stand for none."""
    private = _key(text)
    return x25519_public(Secret(private)) if any(private) else b""


def _read_peer_line(section: _Section, key: str, value: str) -> None:
    match key:
        case "endpoint":
            section.endpoint = _endpoint(value)
        case "allowed_ip":
            prefix: IPv4Network | IPv6Network = ip_network(value)
            if isinstance(prefix, IPv6Network):
                section.prefixes.append(prefix)
        case "persistent_keepalive_interval":
            section.keepalive = _number(value, 0xFFFF)
        case "last_handshake_time_sec":
            section.handshake += _number(value, 1 << 40) * 1_000_000_000
        case "last_handshake_time_nsec":
            section.handshake += _number(value, 999_999_999)
        case "rx_bytes":
            section.received = _number(value, (1 << 64) - 1)
        case "tx_bytes":
            section.sent = _number(value, (1 << 64) - 1)


def _endpoint(text: str) -> Endpoint:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("an endpoint has no port")
    bracketed = host.startswith("[") and host.endswith("]")
    address = ip_address(host[1:-1] if bracketed else host)
    if (address.version == 6) != bracketed:
        raise ValueError("an IPv6 endpoint stands in brackets, an IPv4 one does not")
    return Endpoint(str(address), _number(port, 0xFFFF))


def _peer(key: bytes, section: _Section) -> WgPeer:
    return WgPeer(key, tuple(sorted(section.prefixes)), section.endpoint, section.keepalive)


def _handshake(section: _Section, now: float) -> Handshake:
    age = max(now - section.handshake / 1e9, 0.0) if section.handshake else None
    return Handshake(section.endpoint, age, section.received, section.sent)
