"""Whether this host passes IPv6 packets on for others, and what to do where it does not.

Linux passes a packet on if forwarding is on for the whole host, or, since 6.17, for the interface that it came in by.
The second is enough between members, whose packets all come in by interfaces of meshes, and changes nothing else; the
answers of who is behind this node come in by others. The first makes the host a router, which stops believing what
other routers tell it unless it is told to (`accept_ra=2`), so nobody gets it unasked. A client passes nothing on.
Source: the kernel's Documentation/networking/ip-sysctl.rst, `forwarding`, `force_forwarding` and `accept_ra`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from smeg.errors import LocalError, Problem


class Mode(StrEnum):
    """What may be turned on: the configuration's `forwarding`."""

    MESH = "mesh"
    """For the interfaces of meshes, where the kernel can do that."""
    HOST = "host"
    """For the whole host, where the other is not enough."""
    NONE = "none"
    """Nothing: it is only looked at."""


class Setting(StrEnum):
    """What can be turned on."""

    INTERFACE = "interface"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What is on."""

    host: bool
    interface: bool | None
    """Of the mesh; None where the kernel only knows the whole host."""


@dataclass(frozen=True, slots=True)
class Need:
    """What somebody relies on this node for, in one mesh."""

    between_members: bool
    """It carries clients, or is a bridge into another mesh."""
    beyond: bool
    """It offers what is behind it, or the way out."""


class Switch(Protocol):
    """What a `Backend` can do here."""

    def forwarding(self) -> Forwarding: ...

    def turn_on(self, setting: Setting) -> None: ...


def ensure(switch: Switch, mode: Mode, need: Need, interface: str) -> tuple[Setting | None, list[Problem]]:
    """Turn on what is missing and may be; what that was, and what does not work all the same."""
    problems: list[Problem] = []
    found = switch.forwarding()
    setting = missing(mode, need, found)
    if setting is not None:
        try:
            switch.turn_on(setting)
            found = switch.forwarding()
        except LocalError as error:
            problems.append(error.problem)
            setting = None
    lacking = not_forwarded(need, found, interface)
    return setting, [*problems, *([lacking] if lacking is not None else [])]


def missing(mode: Mode, need: Need, found: Forwarding) -> Setting | None:
    """What to turn on; None for nothing, because all is well or because more may not be done."""
    if found.host or not (need.between_members or need.beyond) or mode is Mode.NONE:
        return None
    enough = found.interface is not None and not need.beyond
    if enough or mode is Mode.MESH:
        return Setting.INTERFACE if found.interface is False else None
    return Setting.HOST


def not_forwarded(need: Need, found: Forwarding, interface: str) -> Problem | None:
    """What does not work as things are, and how to mend it."""
    if found.host or not (need.between_members or need.beyond):
        return None
    if not need.beyond and found.interface:
        return None
    who = "what is behind it and the mesh" if need.beyond else f"members that reach each other through {interface}"
    hint = "set `forwarding: host` in the configuration, or: sysctl net.ipv6.conf.all.forwarding=1"
    hint += " (with net.ipv6.conf.NAME.accept_ra=2 first, for the interface that has its default route from a router)"
    return Problem("no-forwarding", f"this host does not pass on IPv6 packets between {who}", hint)
