"""What a value of a configuration file must be: a check for each kind.

A check is handed what YAML made of a value and says in words what is wrong with it; nothing here reads text or knows of
keys and lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path

from smeg.folders import control_socket
from smeg.hooks import Command, command
from smeg.route_policy import PrefixRule

MAX_SOCKET_PATH = 107
"""bytes; Linux `sun_path` less the terminating zero, see unix(7)."""
_UNIQUE_LOCAL = IPv6Network("fc00::/7")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ENDPOINT = re.compile(r"\[(?P<v6>[^\[\]]*)\](:(?P<port6>[0-9]{1,5}))?|(?P<host>[^:\[\]]+)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class PublicEndpoint:
    """Where others dial this node: an address (no brackets) or a DNS name, and a port when it is not `gossipPort`."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def public_endpoint(text: str) -> PublicEndpoint:
    """`2001:db8::1`, `[2001:db8::1]:51800`, `192.0.2.1`, `host.example:51800`, …

    Raises `ValueError` with what is wrong.
    """
    if text.count(":") > 1 and not text.startswith("["):
        return PublicEndpoint(_dialled(text))
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is not an endpoint")
    port = found["port6"] or found["port"]
    if port is not None and not 1 <= int(port) <= 65535:
        raise ValueError(f"{shown(text)} has a port out of range")
    if found["v6"] is not None:
        if ":" not in found["v6"]:
            raise ValueError(f"{shown(text)} has brackets around what is not an IPv6 address")
        return PublicEndpoint(_dialled(found["v6"]), int(port) if port else None)
    host = found["host"]
    if re.fullmatch(r"[0-9.]+", host):
        host = _dialled(host)
    elif len(host) > 253 or not all(_LABEL.fullmatch(part) for part in host.lower().split(".")):
        raise ValueError(f"{shown(text)} names neither an address nor a host")
    return PublicEndpoint(host.lower(), int(port) if port else None)


def _dialled(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not an IP address") from None
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise ValueError(f"{shown(text)} is not an address that others could dial")
    return str(address)


def shown(value: object) -> str:
    """A value of the file as one short line."""
    # Digits beyond the limit of `sys.set_int_max_str_digits` have no repr.
    text = hex(value) if isinstance(value, int) and value.bit_length() > 256 else ascii(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


# What a value must be. Each check takes what YAML made of it and raises `ValueError` with what is wrong.

Check = Callable[[object], object]


def _kind(value: object) -> str:
    match value:
        case None:
            return "is empty"
        case bool():
            return f"is a truth value, {'true' if value else 'false'}"
        case int() | float():
            return f"is a number, {shown(value)}"
        case _:
            return f"is text, {shown(value)}"


def text_line(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_kind(value)} (quotes make it text)" if value is not None else _kind(value))
    if not value:
        raise ValueError("is empty")
    if not value.isprintable():
        raise ValueError(f"holds a character that cannot be printed, {shown(value)}")
    return value


def folder(value: object) -> Path:
    text = text_line(value)
    if not text.startswith("/"):
        raise ValueError(f"is {shown(text)}")
    return Path(text)


def runtime_folder(value: object) -> Path:
    path = folder(value)
    length = len(str(control_socket(path)).encode())
    if length > MAX_SOCKET_PATH:
        raise ValueError(f"makes a socket path of {length} bytes, {length - MAX_SOCKET_PATH} too many")
    return path


def label(value: object) -> str:
    text = text_line(value)
    if not _LABEL.fullmatch(text):
        raise ValueError(f"is {shown(text)}")
    return text


def group(value: object) -> str:
    """The name of a group of this host; whether there is one is not known here. Empty is none."""
    text = text_line(value) if value != "" else ""
    if not text:
        return text
    if not _GROUP.fullmatch(text):
        raise ValueError(f"is {shown(text)}")
    return text


def program(value: object) -> str:
    text = text_line(value)
    if "/" in text and not text.startswith("/"):
        raise ValueError(f"is {shown(text)}")
    return text


def bind_address(value: object) -> str:
    text = text_line(value)
    try:
        return "*" if text == "*" else str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"is {shown(text)}") from None


def inside(value: object) -> IPv4Address | IPv6Address:
    """An address that only this host has, or a network of its own: RFC 1122 and 4291 loopback, RFC 4193."""
    text = text_line(value)
    try:
        found = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"is {shown(text)}") from None
    if not found.is_loopback and not (isinstance(found, IPv6Address) and found in _UNIQUE_LOCAL):
        raise ValueError(f"is {shown(text)}, where others could ask")
    return found


def endpoint(value: object) -> PublicEndpoint:
    return public_endpoint(text_line(value))


def route(value: object) -> IPv6Network:
    """A prefix of IPv6, written as it is."""
    text = text_line(value)
    _check_length(text)
    try:
        found = IPv6Network(text)
    except ValueError:
        whole = _within(text)
        raise ValueError(f"is {shown(text)}" + (f" (did you mean {whole}?)" if whole else "")) from None
    if found.prefixlen == 0:
        raise ValueError("is the default route, which advertiseDefaults offers")
    return found


def _check_length(text: str) -> None:
    """An address alone would be a prefix of one address, which hardly anybody means."""
    if "/" not in text:
        raise ValueError(f"is {shown(text)}, which has no length (a single address ends in /128)")


def _within(text: str) -> str:
    """The prefix that somebody meant who wrote an address within it."""
    try:
        return str(IPv6Network(text, strict=False))
    except ValueError:
        return ""


def rule(value: object) -> PrefixRule:
    """`2001:db8::/32` lets routes to or within it pass, `!2001:db8::/32` does not."""
    text = text_line(value)
    _check_length(text)
    try:
        return PrefixRule(IPv6Network(text.removeprefix("!")), not text.startswith("!"))
    except ValueError:
        whole = _within(text.removeprefix("!"))
        raise ValueError(f"is {shown(text)}" + (f" (did you mean {whole}?)" if whole else "")) from None


def target(value: object) -> PublicEndpoint:
    """What a probe dials: an IPv6 address and a port."""
    return _literal(value, IPv6Address, "IPv6 address")


def listen(value: object) -> PublicEndpoint:
    """Where to listen: a port of 127.0.0.1, or a literal address and a port."""
    if not isinstance(value, bool) and isinstance(value, int):
        if not 0 <= value <= 65535:
            raise ValueError(f"is out of range, {shown(value)}")
        return PublicEndpoint("127.0.0.1", value)
    return _literal(value, ip_address, "IP address")


def _literal(value: object, read: Callable[[str], object], what: str) -> PublicEndpoint:
    """An address, of what `read` takes, and a port."""
    found = public_endpoint(text_line(value))
    try:
        read(found.host)
    except ValueError:
        raise ValueError(f"is {shown(value)}, which is no {what}") from None
    if found.port is None:
        raise ValueError(f"is {shown(value)}, which has no port")
    return found


def hook(value: object) -> Command:
    return command(text_line(value))


def power_of_two(high: int) -> Check:
    within = whole(1, high)

    def check(value: object) -> int:
        number = within(value)
        assert isinstance(number, int)
        if number & (number - 1):
            raise ValueError(f"is {number}, which is no power of two")
        return number

    return check


def truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(_kind(value))
    return value


def whole(low: int, high: int) -> Check:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(_kind(value))
        if not low <= value <= high:
            raise ValueError(f"is out of range, {shown(value)}")
        return value

    return check


def seconds(low: float, high: float) -> Check:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(_kind(value))
        if not low <= value <= high:
            raise ValueError(f"is out of range, {shown(value)}")
        return float(value)

    return check


def one_of(*words: str) -> Check:
    def check(value: object) -> str:
        text = text_line(value)
        if text not in words:
            # Only for who made a mistake: a daemon lives long without it.
            from difflib import get_close_matches

            near = get_close_matches(text.lower(), words, 1)
            raise ValueError(f"is {shown(text)}" + (f" (did you mean {near[0]}?)" if near else ""))
        return text

    return check
