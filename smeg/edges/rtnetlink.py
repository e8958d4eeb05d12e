"""Links, addresses and routes of one network interface, by rtnetlink: what the kernel and userspace backends share.

Only IPv6, only the main table, and of the routes only those with this project's protocol number; whatever else hangs on
the interface is neither read nor changed. It knows nothing of WireGuard. pyroute2 is imported on first use, since it
takes a while and most processes never need it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from socket import AF_INET6
from typing import TYPE_CHECKING, Any

from smeg.device import MAX_INTERFACE_NAME, AddAddress, AddRoute, Operation, RemoveAddress, RemoveRoute
from smeg.errors import LocalError

if TYPE_CHECKING:
    from types import TracebackType

ROUTE_PROTOCOL = 0x53
"""Marks the routes that smegmesh made (`proto` in `ip -6 route`); see rtnetlink(7)."""
ROUTE_METRIC = 512
"""After routes to networks that the host is part of (256), before default routes from router advertisements (1024)."""
MIN_MTU = 1280
"""bytes; below it Linux takes IPv6 off an interface (RFC 8200, section 5)."""
MAX_MTU = 65535
"""bytes"""

_MAIN_TABLE = 254
_IFF_UP = 1
_IFA_F_NODAD = 2
_CAP_NET_ADMIN = 12
_GONE = (errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel lists it."""

    index: int
    kind: str
    """`wireguard`, `tun`, ...; empty for real hardware."""
    mtu: int
    up: bool


class Links:
    """A netlink socket for the network namespace of the calling thread. Used from one thread; `close` it."""

    def __init__(self) -> None:
        with explained("open a netlink socket", "the kernel"):
            self._ip: Any = import_module("pyroute2").IPRoute()

    def __enter__(self) -> Links:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._ip.close()

    def find(self, name: str) -> Link | None:
        """The interface of this name, or None when there is none."""
        try:
            with explained("look for the interface", name):
                (message,) = self._ip.link("get", ifname=name)
        except LocalError as error:
            if error.problem.code == "device-gone":
                return None
            raise
        info = message.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
        return Link(int(message["index"]), str(kind or ""), int(message.get_attr("IFLA_MTU")), up=_is_up(message))

    def get(self, name: str) -> Link:
        """The interface of this name. Raises `LocalError` with code `device-gone`."""
        link = self.find(name)
        if link is None:
            raise device_gone(name)
        return link

    def create(self, name: str, kind: str) -> Link:
        """Make an interface, down. Raises `LocalError`: `no-backend` when the kernel does not know the kind."""
        with explained(f"make a {kind} interface", name, {errno.EOPNOTSUPP: "no-backend"}):
            self._ip.link("add", ifname=name, kind=kind)
        return self.get(name)

    def remove(self, link: Link) -> None:
        """Remove this interface, not one that has its name by now, with its addresses and routes; or it is gone."""
        with explained("remove", f"interface {link.index}", ignored=_GONE):
            self._ip.link("del", index=link.index)

    def bring_up(self, name: str, mtu: int) -> None:
        """Set MTU (bytes) and up, where they differ. Raises `LocalError`: `bad-mtu`, `port-in-use`, `device-failed`."""
        check_mtu(name, mtu)
        link = self.get(name)
        if link.mtu != mtu:
            with explained("set the MTU", name):
                self._ip.link("set", index=link.index, mtu=mtu)
        if not link.up:
            with explained("bring up the interface", name):
                self._ip.link("set", index=link.index, state="up")

    def addresses(self, link: Link) -> tuple[IPv6Interface, ...]:
        """IPv6 addresses of an interface, sorted, without the link-local ones."""
        with explained("read the addresses", f"interface {link.index}"):
            messages = list(self._ip.get_addr(family=AF_INET6, index=link.index))
        found = (IPv6Interface((message.get_attr("IFA_ADDRESS"), message["prefixlen"])) for message in messages)
        return tuple(sorted(address for address in found if not address.is_link_local))

    def routes(self, link: Link) -> tuple[IPv6Network, ...]:
        """IPv6 routes out of an interface that carry our protocol number, sorted."""
        with explained("read the routes", f"interface {link.index}"):
            messages = list(self._ip.route("dump", family=AF_INET6))
        return tuple(sorted(_destination(message) for message in messages if _is_ours(message, link.index)))

    def apply(self, name: str, operation: Operation) -> None:
        """Carry out one operation about addresses or routes. What is already as wanted is left so.

        Raises `LocalError`: `device-gone`, `ipv6-disabled`, `no-permission`, `device-failed`.
        """
        index = self.get(name).index
        match operation:
            case AddAddress(address):
                self._add_address(name, index, address)
            case RemoveAddress(address):
                with explained(f"remove the address {address}", name, ignored=(errno.EADDRNOTAVAIL,)):
                    self._ip.addr("del", index=index, address=str(address.ip), prefixlen=_length(address))
            case AddRoute(prefix):
                _check_ipv6(name)
                with explained(f"add the route {prefix}", name, ignored=(errno.EEXIST,)):
                    self._ip.route("append", **_route(index, prefix))
            case RemoveRoute(prefix):
                with explained(f"remove the route {prefix}", name, ignored=(errno.ESRCH,)):
                    self._ip.route("del", **_route(index, prefix))
            case _:
                raise TypeError(f"not about addresses or routes: {operation!r}")

    def _add_address(self, name: str, index: int, address: IPv6Interface) -> None:
        _check_ipv6(name)
        with explained(f"add the address {address}", name, {errno.EACCES: "ipv6-disabled"}, ignored=(errno.EEXIST,)):
            # Without duplicate address detection, which a WireGuard link cannot answer: usable at once.
            place = {"index": index, "family": AF_INET6, "flags": _IFA_F_NODAD}
            self._ip.addr("add", address=str(address.ip), prefixlen=_length(address), **place)


@contextmanager
def explained(
    what: str, where: str, codes: dict[int, str] | None = None, ignored: tuple[int, ...] = ()
) -> Iterator[None]:
    """Turns errors of netlink and of the system into `LocalError`, and drops those whose number is `ignored`.

    `codes` says which code an error number has here, before the general ones: `no-permission`, `device-gone`,
    `port-in-use`, and `device-failed` for the rest.
    """
    netlink_error: type[Exception] = import_module("pyroute2.netlink.exceptions").NetlinkError
    try:
        yield
    except (netlink_error, OSError) as error:
        number = int(getattr(error, "code", None) or getattr(error, "errno", None) or 0)
        if number not in ignored:
            raise failure(number, what, where, codes) from error


def failure(number: int, what: str, where: str, codes: dict[int, str] | None = None) -> LocalError:
    """The `LocalError` for an error number that came of doing `what` to `where`."""
    message = f"{where}: cannot {what}: {os.strerror(number) if number else 'no reason was given'}"
    code = (codes or {}).get(number)
    if code == "ipv6-disabled":
        return _ipv6_disabled(where)
    if code is not None:
        return LocalError(code, message)
    if number in (errno.EPERM, errno.EACCES):
        return no_permission(message)
    if number in _GONE:
        return device_gone(where)
    if number == errno.EADDRINUSE:
        return LocalError("port-in-use", message, "choose another WireGuard port, or 0 for any")
    return LocalError("device-failed", message)


def no_permission(message: str) -> LocalError:
    return LocalError("no-permission", message, "run as root or with the capability CAP_NET_ADMIN")


def device_gone(name: str) -> LocalError:
    return LocalError("device-gone", f"the interface {name} is gone: somebody else removed it", "open it again")


def interface_taken(name: str, why: str) -> LocalError:
    hint = f"choose another interface name, or remove that one: ip link delete {name}"
    return LocalError("interface-taken", f"an interface {name} exists and is not ours: {why}", hint)


def port_in_use(name: str, port: int) -> LocalError:
    message = f"UDP port {port} is in use, so {name} cannot listen on it"
    return LocalError("port-in-use", message, "choose another WireGuard port, or 0 for any")


def check_name(name: str) -> None:
    """Raises `LocalError` with code `bad-interface-name` for what Linux (and a file name) would not take."""
    fits = 0 < len(name.encode()) <= MAX_INTERFACE_NAME and name not in (".", "..")
    if not fits or any(letter in "/:%" or letter.isspace() or not letter.isprintable() for letter in name):
        hint = f"at most {MAX_INTERFACE_NAME} bytes, no space, '/', ':' or '%'"
        raise LocalError("bad-interface-name", f"{name!r} cannot name an interface", hint)


def check_mtu(name: str, mtu: int) -> None:
    """Raises `LocalError` with code `bad-mtu` for what IPv6 cannot live with."""
    if not MIN_MTU <= mtu <= MAX_MTU:
        hint = f"choose {MIN_MTU} to {MAX_MTU}; below, the kernel takes IPv6 off the interface"
        raise LocalError("bad-mtu", f"{name} cannot have an MTU of {mtu} bytes", hint)


def check_permission(name: str) -> None:
    """Raises `LocalError` with code `no-permission` when this process may not change interfaces (capabilities(7))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        field, _, value = line.partition(":")
        if field == "CapEff" and not int(value, 16) >> _CAP_NET_ADMIN & 1:
            raise no_permission(f"this process may not make the interface {name}")


def _check_ipv6(name: str) -> None:
    path = Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6")
    try:
        disabled = path.read_text().strip() != "0"
    except FileNotFoundError:
        disabled = not Path("/proc/sys/net/ipv6").exists()
    if disabled:
        raise _ipv6_disabled(name)


def _ipv6_disabled(name: str) -> LocalError:
    hint = f"enable it: sysctl net.ipv6.conf.{name}.disable_ipv6=0 (and net.ipv6.conf.default.disable_ipv6=0 for later)"
    return LocalError("ipv6-disabled", f"IPv6 is disabled on the interface {name}, and the mesh is IPv6", hint)


def _is_up(message: Any) -> bool:
    return bool(int(message["flags"]) & _IFF_UP)


def _length(address: IPv6Interface) -> int:
    return address.network.prefixlen


def _route(index: int, prefix: IPv6Network) -> dict[str, Any]:
    return {
        "family": AF_INET6,
        "dst": str(prefix),
        "oif": index,
        "proto": ROUTE_PROTOCOL,
        "priority": ROUTE_METRIC,
        "table": _MAIN_TABLE,
    }


def _is_ours(message: Any, index: int) -> bool:
    return bool(
        message["proto"] == ROUTE_PROTOCOL
        and message.get_attr("RTA_TABLE") == _MAIN_TABLE
        and message.get_attr("RTA_OIF") == index
    )


def _destination(message: Any) -> IPv6Network:
    return IPv6Network((IPv6Address(message.get_attr("RTA_DST") or "::"), message["dst_len"]))
