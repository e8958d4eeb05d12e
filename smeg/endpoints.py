"""Endpoints in text: `192.0.2.1:51800`, `[2001:db8::1]:51800`, `host.example:51800`. IPv6 needs its brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from smeg.device import Endpoint
from smeg.errors import RemoteError

MAX_ENDPOINTS = 8
_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?\Z"
)
_FORM = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})\Z")


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint in `text`, its address in canonical form. Raises `RemoteError`."""
    found = _FORM.match(text)
    port = _port(found["port"]) if found is not None else 0
    if found is None or not 0 < port < 65536:
        raise RemoteError("bad-endpoint", f"{text!r} is not an endpoint", "write host:port, or [address]:port for IPv6")
    host = found["v6"] or found["host"]
    address = _address(host)
    if address is None:
        # A name that is all digits and dots would be taken for an address by resolvers.
        if found["v6"] or not _NAME.match(host) or re.fullmatch(r"[0-9.]+", host):
            raise RemoteError("bad-endpoint", f"{text!r} names neither an address nor a host") from None
        return Endpoint(host.lower(), port)
    if bool(found["v6"]) != (address.version == 6):
        raise RemoteError("bad-endpoint", f"{text!r}: brackets belong around an IPv6 address, and only there")
    return Endpoint(address.text, port)


@lru_cache(maxsize=256)
def _port(text: str) -> int:
    """Most members have the same two or three: one object each."""
    return int(text)


def is_dialable(host: str) -> bool:
    """Whether anybody could listen there, as far as the address tells; a name may always do."""
    address = _address(host)
    return address is None or address.dialable


@dataclass(frozen=True, slots=True)
class _Address:
    """What is asked of a literal address."""

    version: int
    text: str
    """Canonical."""
    dialable: bool


@lru_cache(maxsize=256)
def _address(host: str) -> _Address | None:
    """None for what is no address. A record names its host several times, so the last few are remembered."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return _Address(address.version, str(address), not (address.is_multicast or address.is_unspecified))
