"""Which routes would swallow the packets that carry the mesh itself, and where they stand so that they do not.

WireGuard's packets to a member must not be led into a tunnel, least of all into the one that they are. So they bear a
mark, and routes that could lead them astray stand in a table that marked packets pass by: the default route, and
whatever is behind a member: it may hold somebody's address in the underlay, or a link of this host, whose own routes
come first then. What stands in the main table, among the host's own routes, are the overlays of meshes alone, which are
proven to be that, and in which nobody has such an address.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from smeg.device import Endpoint, Table
from smeg.records import Route

REMEMBERED = 1 << 14
"""texts whose number is known: most that are told of a mesh with IPv6 underlays, and none of one without."""


def table_for(route: Route, places: Sequence[int]) -> Table:
    """Where a route belongs; `places` are what `places` gives of all whom a packet may be sent to."""
    return Table.MAIN if route.overlay and not _holds(route.prefix, places) else Table.UNMARKED


def places(endpoints: Iterable[Endpoint]) -> list[int]:
    """The IPv6 addresses among these, as numbers, sorted."""
    return sorted(number for endpoint in endpoints if (number := _number(endpoint.host)) is not None)


def outside(endpoints: tuple[Endpoint, ...], prefix: IPv6Network) -> tuple[Endpoint, ...]:
    """Those that are not inside the mesh itself: who says that it is reached there is not reached at all."""
    low, high = _bounds(prefix)
    kept = tuple(each for each in endpoints if (at := _number(each.host)) is None or not low <= at <= high)
    return endpoints if len(kept) == len(endpoints) else kept


def _holds(prefix: IPv6Network, numbers: Sequence[int]) -> bool:
    low, high = _bounds(prefix)
    at = bisect_left(numbers, low)
    return at < len(numbers) and numbers[at] <= high


@lru_cache(maxsize=64)
def _bounds(prefix: IPv6Network) -> tuple[int, int]:
    return int(prefix.network_address), int(prefix.broadcast_address)


def _number(host: str) -> int | None:
    """A literal IPv6 address as a number; None for anything else."""
    return _read(host) if ":" in host else None


@lru_cache(maxsize=REMEMBERED)
def _read(host: str) -> int | None:
    try:
        return int(IPv6Address(host.partition("%")[0]))
    except ValueError:
        return None
