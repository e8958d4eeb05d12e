"""What goes wrong with netlink and the system, as errors that a person can act on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from smeg.errors import LocalError

GONE = (errno.ENODEV, errno.ENXIO)
"""There is no such interface any more."""


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
        return ipv6_disabled(where)
    if code is not None:
        return LocalError(code, message)
    if number in (errno.EPERM, errno.EACCES):
        return no_permission(message)
    if number in GONE:
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


def ipv6_disabled(name: str) -> LocalError:
    hint = f"enable it: sysctl net.ipv6.conf.{name}.disable_ipv6=0 (and net.ipv6.conf.default.disable_ipv6=0 for later)"
    return LocalError("ipv6-disabled", f"IPv6 is disabled on the interface {name}, and the mesh is IPv6", hint)
