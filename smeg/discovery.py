"""Under which address this host is seen from outside, by what the members say that it dials.

Whoever answers a dial says from which address it came. One member may err or lie, so an address counts when at least
two say it, and more than half of those who say anything but what this host knows as its own. What was agreed on stays
until something else is: a connection that ends proves nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Container
from ipaddress import IPv4Address, IPv6Address

AGREEING = 2
"""members that have to say the same."""
KEPT = 64
"""members whose word is kept; the oldest goes."""
Address = IPv4Address | IPv6Address


def seen_address(raw: bytes) -> Address | None:
    """4 or 16 bytes as an address that others could dial; None for anything else."""
    if len(raw) not in (4, 16):
        return None
    address: Address = IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    useless = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return None if useless else address


class Discovery:
    def __init__(self) -> None:
        self._said: OrderedDict[bytes, Address] = OrderedDict()
        """By the CURVE key of who says it."""
        self._agreed: dict[int, Address] = {}
        """By version."""

    def hear(self, curve: bytes, raw: bytes) -> None:
        """The holder of a key says where a connection came from."""
        address = seen_address(raw)
        if address is None:
            return
        self._said[curve] = address
        self._said.move_to_end(curve)
        if len(self._said) > KEPT:
            self._said.popitem(last=False)

    def forget(self, curve: bytes) -> None:
        """The connection to the holder of a key has ended."""
        self._said.pop(curve, None)

    def agreed(self, members: Container[bytes], local: Collection[str]) -> tuple[str, ...]:
        """Of each family the address that counts, IPv4 first. `local` are this host's own, `members` keys."""
        said = [address for curve, address in self._said.items() if curve in members and str(address) not in local]
        for version in (4, 6):
            votes = Counter(address for address in said if address.version == version)
            for address, count in votes.items():
                if count >= AGREEING and 2 * count > votes.total():
                    self._agreed[version] = address
        return tuple(str(self._agreed[version]) for version in sorted(self._agreed))
