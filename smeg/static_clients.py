"""Devices without a daemon, each behind one peer: what a peer says of them, and who believes it.

A peer names the WireGuard key of each such device in one annex of its own, so it vouches for them: they are no members,
gossip with nobody and are asked nothing. The address follows from the key, as everybody's does, so no peer can claim a
member's. All of it ends with the peer's membership, or when it says so, or at the time that it names; or when an admin
evicts the device (`device_evictions`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

import orjson

from smeg.addresses import overlay_address
from smeg.annexes import Annex
from smeg.certificates import MAX_TIME, Role
from smeg.device_evictions import evicted
from smeg.errors import LocalError
from smeg.keys import KEY_BYTES, NodeKey, from_wireguard_text, wireguard_text
from smeg.members import Members

LABEL = "static"
"""Of the annex."""
MAX_STATIC = 64
"""of one peer."""
LIFETIME = 365 * 24 * 3600
"""seconds; the default."""
MOST = 10 * LIFETIME
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
COMMANDS = ("add-static", "delete-static")


@dataclass(frozen=True, slots=True)
class StaticClient:
    name: str
    """A DNS label."""
    wireguard: bytes
    """Its public key, 32 bytes."""
    expires: int
    """seconds since 1970."""

    def __post_init__(self) -> None:
        """Raises `ValueError`."""
        if not _NAME.fullmatch(self.name):
            raise ValueError("its name is not 1 to 63 of a-z, 0-9 and inner -")
        if len(self.wireguard) != KEY_BYTES or self.wireguard == bytes(KEY_BYTES):
            raise ValueError("its WireGuard key is none")
        if type(self.expires) is not int or not 0 <= self.expires <= MAX_TIME:
            raise ValueError("it expires at no time")

    def fields(self) -> dict[str, Any]:
        return {"name": self.name, "wireguard": wireguard_text(self.wireguard), "expires": self.expires}


def read_client(value: object) -> StaticClient:
    """Inverse of `fields`. Raises `ValueError`."""
    match value:
        case {"name": str(name), "wireguard": str(key), "expires": int(expires)}:
            return StaticClient(name, from_wireguard_text(key), expires)
    raise ValueError("a static client lacks a field")


def read_clients(value: object) -> tuple[StaticClient, ...]:
    """A list of them, of which no two have one name or key. Raises `ValueError`."""
    if not isinstance(value, list) or len(value) > MAX_STATIC:
        raise ValueError(f"static clients are a list of at most {MAX_STATIC}")
    clients = tuple(map(read_client, value))
    if len({each.name for each in clients}) < len(clients) or len({each.wireguard for each in clients}) < len(clients):
        raise ValueError("two static clients have one name or one key")
    return clients


def body(clients: Iterable[StaticClient]) -> bytes:
    """What the annex says."""
    return orjson.dumps([client.fields() for client in clients])


@lru_cache(maxsize=1024)
def _read(said: bytes) -> tuple[StaticClient, ...]:
    """Nothing of what cannot be read."""
    try:
        return read_clients(orjson.loads(said))
    except ValueError:
        return ()


def static_clients(
    mesh: str, members: Members, annexes: Mapping[NodeKey, Mapping[str, Annex]], wall: int
) -> dict[IPv6Address, tuple[NodeKey, StaticClient]]:
    """All that count in a mesh, by address, each with its peer. `wall` in seconds since 1970.

    A member's address stays its own; of two peers that name one key the lower key's counts.
    """
    found: dict[IPv6Address, tuple[NodeKey, StaticClient]] = {}
    vouching = sorted(key for key, said in annexes.items() if LABEL in said)
    gone = evicted(mesh, members, annexes, wall) if vouching else frozenset()
    for node in vouching:
        member = members.get(node)
        if member is None or member.role is not Role.PEER:
            continue
        for client in _read(annexes[node][LABEL].body):
            address = overlay_address(mesh, client.wireguard)
            counts = client.expires > wall and client.wireguard not in gone
            if counts and address not in found and members.at(address) is None:
                found[address] = node, client
    return found


def revised(
    clients: tuple[StaticClient, ...], command: str, arguments: Mapping[str, Any], wall: int, until: int
) -> tuple[StaticClient, ...]:
    """Those of this node after one of `COMMANDS`. `until` is when its own membership ends. Raises `LocalError`."""
    name = str(arguments.get("name", ""))
    if command == "delete-static":
        rest = tuple(client for client in clients if client.name != name)
        if rest == clients:
            known = ", ".join(client.name for client in clients) or "none"
            message = f"no static client of this node is called {name[:40]!r}"
            hint = f"static clients here: {known}; those of other peers an admin evicts"
            raise LocalError("unknown-static", message, hint)
        return rest
    clients = tuple(client for client in clients if client.expires > wall)
    lasts = arguments.get("expires", LIFETIME)
    if type(lasts) is not int or not 0 < lasts <= MOST:
        raise LocalError("bad-argument", f"a static client lasts 1 to {MOST} seconds", "give --expires, such as 30d")
    try:
        client = StaticClient(name, from_wireguard_text(str(arguments.get("wireguard", ""))), min(wall + lasts, until))
    except ValueError as error:
        raise LocalError("bad-argument", f"no static client can be made: {error}", "choose another name") from error
    if any(each.name == name for each in clients):
        raise LocalError("name-taken", f"this node has a static client called {name}", "delete that, or take another")
    if len(clients) >= MAX_STATIC:
        raise LocalError("too-many-static", f"a peer has at most {MAX_STATIC} static clients", "delete one first")
    return (*clients, client)


def still_valid(clients: Iterable[StaticClient], wall: int) -> tuple[StaticClient, ...]:
    return tuple(client for client in clients if client.expires > wall)
