"""Links and addresses of one network interface, by rtnetlink: what the kernel and userspace backends share.

Only IPv6; `routes` has the interface's routes. What others put on the interface is neither read nor changed. It knows
nothing of WireGuard. pyroute2 is imported on first use, since it takes a while and most processes never need it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from importlib import import_module
from ipaddress import IPv6Interface
from pathlib import Path
from socket import AF_INET6
from typing import TYPE_CHECKING, Any

from smeg.device import (
    MAX_INTERFACE_NAME,
    AddAddress,
    AddRoute,
    InterfaceSpec,
    Operation,
    RemoveAddress,
    RemoveRoute,
    Table,
)
from smeg.edges.netlink_errors import (
    GONE,
    device_gone,
    explained,
    no_permission,
)
from smeg.edges.routes import Routes, check_ipv6
from smeg.errors import LocalError

if TYPE_CHECKING:
    from types import TracebackType

MIN_MTU = 1280
"""bytes; below it Linux takes IPv6 off an interface (RFC 8200, section 5)."""
MAX_MTU = 65535
"""bytes"""

_IFF_UP = 1
_IFA_F_NODAD = 2
_CAP_NET_ADMIN = 12


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
        self.routes = Routes(self._ip)

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
        with explained("remove", f"interface {link.index}", ignored=GONE):
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
        messages: list[Any] = []
        with explained("read the addresses", f"interface {link.index}", ignored=GONE):
            messages = list(self._ip.get_addr(family=AF_INET6, index=link.index))
        found = (IPv6Interface((message.get_attr("IFA_ADDRESS"), message["prefixlen"])) for message in messages)
        return tuple(sorted(address for address in found if not address.is_link_local))

    def apply(self, name: str, operation: Operation) -> None:
        """Carry out one operation about addresses or routes. What is already as wanted is left so.

        Raises `LocalError`: `device-gone`, `ipv6-disabled`, `no-policy-routing`, `no-permission`, `device-failed`.
        """
        index = self.get(name).index
        match operation:
            case AddAddress(address):
                self._add_address(name, index, address)
            case RemoveAddress(address):
                with explained(f"remove the address {address}", name, ignored=(errno.EADDRNOTAVAIL,)):
                    self._ip.addr("del", index=index, address=str(address.ip), prefixlen=_length(address))
            case AddRoute() | RemoveRoute():
                self.routes.apply(name, index, operation)
            case _:
                raise TypeError(f"not about addresses or routes: {operation!r}")

    def settle(self, link: Link, gossip_ports: tuple[int, ...] = ()) -> None:
        """Have the rules that routes need and no others, also when this interface is gone."""
        self.routes.settle(link.index, self.addresses(link), gossip_ports)

    def settle_after(self, spec: InterfaceSpec, operations: tuple[Operation, ...]) -> None:
        """Likewise, where these operations may have changed what is needed."""
        if any(_changes_rules(operation) for operation in operations):
            self.settle(self.get(spec.name), spec.gossip_ports)

    def _add_address(self, name: str, index: int, address: IPv6Interface) -> None:
        check_ipv6(name)
        with explained(f"add the address {address}", name, {errno.EACCES: "ipv6-disabled"}, ignored=(errno.EEXIST,)):
            # Without duplicate address detection, which a WireGuard link cannot answer: usable at once.
            place = {"index": index, "family": AF_INET6, "flags": _IFA_F_NODAD}
            self._ip.addr("add", address=str(address.ip), prefixlen=_length(address), **place)


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


def _changes_rules(operation: Operation) -> bool:
    match operation:
        case AddRoute() | RemoveRoute():
            return operation.table is not Table.MAIN
        case _:
            return isinstance(operation, AddAddress | RemoveAddress)


def _is_up(message: Any) -> bool:
    return bool(int(message["flags"]) & _IFF_UP)


def _length(address: IPv6Interface) -> int:
    return address.network.prefixlen
