"""The network beneath the mesh: our addresses in it, what a host name means, and whether a route leads there.

Asks only the kernel and the system's resolver, never a service outside, and sends no packet itself. Addresses of mesh
interfaces are never offered: a mesh cannot be reached through itself.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread

from smeg.device import MARK, Endpoint
from smeg.errors import LocalError

MESH_PREFIX = "smeg-"
"""How the names of mesh interfaces begin."""
RESOLVE_SECONDS = 5.0
MAX_RESOLVING = 8
"""How many names may be asked for at once: a resolver that hangs keeps its thread until it gives up."""

_SIOCGIFADDR = 0x8915
_OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Somewhere outside, whoever it is: documentation addresses (RFC 5737, RFC 3849), to which nothing is sent."""
_ANY_PORT = 9

_resolving = BoundedSemaphore(MAX_RESOLVING)


def local_addresses() -> tuple[str, ...]:
    """Addresses by which other hosts may reach this one, IPv4 first; none that is loopback, link-local or a mesh's.

    For each family the source address of the route to the outside; where there is none (no default route, or one that
    leads through a mesh), all addresses of all interfaces.
    """
    found: list[str] = []
    for family, listed in ((socket.AF_INET, _ipv4()), (socket.AF_INET6, _ipv6())):
        addresses = [address for name, address in listed if _may_be_reached(name, address)]
        source = _source(Endpoint(_OUTSIDE[family], _ANY_PORT))
        # The source may be an address that is not listed, any but an interface's first; what a mesh holds is listed.
        inside = {address for name, address in listed if not _may_be_reached(name, address)}
        if source is not None and source not in inside and _may_be_reached("", source):
            addresses = [source]
        found += [str(address) for address in dict.fromkeys(addresses)]
    return tuple(found)


def resolve(host: str, port: int, timeout: float = RESOLVE_SECONDS) -> tuple[Endpoint, ...]:
    """The endpoints that a literal address (brackets allowed) or a host name stands for, in the resolver's order.

    The resolver knows no deadline, so it works in a thread of its own, and is left behind after `timeout` seconds.
    Raises `LocalError`: `bad-endpoint` for a port out of range, `unresolvable` when there is no (timely) answer.
    """
    if not 0 < port < 0x10000:
        raise LocalError("bad-endpoint", f"{port} is not a UDP port, for {host!r}", "ports go from 1 to 65535")
    with suppress(ValueError):
        return (Endpoint(_literal(host.removeprefix("[").removesuffix("]")), port),)
    if not _resolving.acquire(blocking=False):
        raise _unresolvable(host, f"{MAX_RESOLVING} other names are being asked for already")
    answers: SimpleQueue[tuple[str, ...] | str] = SimpleQueue()
    Thread(target=_ask, args=(host, answers), name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except Empty:
        raise _unresolvable(host, f"no answer within {timeout:g} s") from None
    if isinstance(answer, str):
        raise _unresolvable(host, answer)
    return tuple(Endpoint(address, port) for address in answer)


def reachable(endpoint: Endpoint) -> bool:
    """Whether the kernel has a route to `endpoint`; not whether anybody answers there."""
    return _source(endpoint) is not None


def _source(endpoint: Endpoint) -> IPv4Address | IPv6Address | None:
    """The address that packets to `endpoint` would come from. Connecting a UDP socket only looks the route up."""
    try:
        address = ip_address(endpoint.host)
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # As WireGuard's own packets: a default route through a mesh does not lead to who carries it.
            with suppress(PermissionError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            probe.connect((endpoint.host, endpoint.port))
            return ip_address(probe.getsockname()[0].partition("%")[0])
    except (OSError, ValueError, OverflowError):
        return None


def _may_be_reached(name: str, address: IPv4Address | IPv6Address) -> bool:
    useless = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return not useless and not name.startswith(MESH_PREFIX)


def _ipv4() -> list[tuple[str, IPv4Address]]:
    """Each interface's first IPv4 address (netdevice(7), SIOCGIFADDR)."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                found.append((name, IPv4Address(answer[20:24])))
    return found


def _ipv6() -> list[tuple[str, IPv6Address]]:
    """Every IPv6 address: `/proc/net/if_inet6` has address, index, prefix length, scope, flags and name in a line."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return []
    fields = (line.split() for line in lines)
    return [(each[5], IPv6Address(bytes.fromhex(each[0]))) for each in fields]


def _literal(text: str) -> str:
    """The usual form of a literal address, an IPv4 one in IPv6 clothes as IPv4. Raises `ValueError`."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _ask(host: str, answers: SimpleQueue[tuple[str, ...] | str]) -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        answers.put(tuple(dict.fromkeys(_literals(found))) or "no usable address")
    except (OSError, UnicodeError) as error:
        answers.put(getattr(error, "strerror", None) or "not a host name")
    finally:
        _resolving.release()


def _literals(found: Sequence[tuple[object, ...]]) -> Iterator[str]:
    for *_, address in found:
        if isinstance(address, tuple):
            with suppress(ValueError):
                yield _literal(str(address[0]))


def _unresolvable(host: str, why: str) -> LocalError:
    return LocalError("unresolvable", f"cannot find the address of {host!r}: {why}", "check the name and the DNS")
