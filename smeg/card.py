"""What a node's user says of it to the others of a mesh: an alias, a description, the services that it offers.

A pure format, strict both ways: it stands in the node's record and in its `mesh.json`, and what is empty stands in
neither. Whether an alias is another's already is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

MAX_DESCRIPTION = 256
"""bytes."""
MAX_SERVICES = 16
MAX_TEXTS = 16
"""Of a service."""
MAX_TEXT = 255
"""bytes: the longest string of a TXT record (RFC 1035, 3.3.14)."""
MAX_CARD = 1536
"""bytes of all of it as JSON."""
PROTOCOLS = ("tcp", "udp")
FIELDS = ("alias", "description", "services")

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A label of a host name (RFC 1123, 2.1), in lower case."""
_SERVICE = re.compile(r"(?=[a-z0-9-]{1,15}\Z)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")
"""A service name of RFC 6335, 5.1, in lower case."""
_ATTRIBUTE = re.compile(r"[\x20-\x3c\x3e-\x7e]+(?:=.*)?")
"""`key` or `key=value` (RFC 6763, 6.4)."""


@dataclass(frozen=True, slots=True)
class Service:
    """Raises `ValueError` for what no SRV and TXT record could say."""

    name: str
    port: int
    protocol: str = "tcp"
    text: tuple[str, ...] = ()
    """Attributes, `key=value` or `key` alone."""

    def __post_init__(self) -> None:
        if not _SERVICE.fullmatch(self.name):
            raise ValueError(f"service {self.name[:40]!r} is not 1 to 15 of a-z, 0-9 and single -, with a letter")
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol {self.protocol[:40]!r} of {self.name} is neither tcp nor udp")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} of {self.name} is not from 1 to 65535")
        if len(self.text) > MAX_TEXTS:
            raise ValueError(f"{self.name} has {len(self.text)} texts: the bound is {MAX_TEXTS}")
        for text in self.text:
            if len(text.encode()) > MAX_TEXT or not text.isprintable() or not _ATTRIBUTE.fullmatch(text):
                words = f"printable `key=value` of at most {MAX_TEXT} bytes, the key in ASCII"
                raise ValueError(f"text {text[:40]!r} of {self.name} is not {words}")

    @property
    def place(self) -> tuple[str, str]:
        """A node has one service at each."""
        return self.name, self.protocol

    def json(self) -> dict[str, Any]:
        """As people are shown it."""
        return {"name": self.name, "port": self.port, "protocol": self.protocol, "text": list(self.text)}


@dataclass(frozen=True, slots=True)
class Card:
    """Raises `ValueError` for what is out of bounds."""

    alias: str = ""
    """A DNS label."""
    description: str = ""
    services: tuple[Service, ...] = ()
    """In the order of their places, one at each."""

    def __post_init__(self) -> None:
        if self.alias and not LABEL.fullmatch(self.alias):
            raise ValueError(f"alias {self.alias[:80]!r} is not a DNS label: 1 to 63 of a-z, 0-9 and inner -")
        if len(self.description.encode()) > MAX_DESCRIPTION or not self.description.isprintable():
            raise ValueError(f"the description is not printable text of at most {MAX_DESCRIPTION} bytes")
        places = [service.place for service in self.services]
        if len(places) > MAX_SERVICES:
            raise ValueError(f"{len(places)} services: the bound is {MAX_SERVICES}")
        if places != sorted(set(places)):
            raise ValueError("the services are not different ones, in order")
        if len(orjson.dumps(self.fields())) > MAX_CARD:
            raise ValueError(f"alias, description and services are more than {MAX_CARD} bytes in all")

    def with_service(self, service: Service) -> Card:
        """It takes the place of one that is there."""
        others = (other for other in self.services if other.place != service.place)
        return replace(self, services=tuple(sorted((*others, service), key=lambda each: each.place)))

    def fields(self) -> dict[str, Any]:
        """As a record says it: nothing of what is empty, and of services what is not usual."""
        found: dict[str, Any] = {name: text for name in FIELDS[:2] if (text := getattr(self, name))}
        if self.services:
            found["services"] = [
                {
                    "name": service.name,
                    "port": service.port,
                    **({"protocol": service.protocol} if service.protocol != "tcp" else {}),
                    **({"text": list(service.text)} if service.text else {}),
                }
                for service in self.services
            ]
        return found

    def json(self) -> dict[str, Any]:
        """As people are shown it, with what is empty."""
        services = [service.json() for service in self.services]
        return {"alias": self.alias, "description": self.description, "services": services}


BLANK = Card()
"""Says nothing; thousands of records share it."""


def read_card(fields: Mapping[str, object]) -> Card:
    """The card that stands in the fields of a record, among others. Raises `ValueError`."""
    if not any(name in fields for name in FIELDS):
        return BLANK
    match fields:
        case {"alias": alias} if not isinstance(alias, str):
            raise ValueError("the alias is not text")
        case {"description": description} if not isinstance(description, str):
            raise ValueError("the description is not text")
    services = fields.get("services", [])
    if not isinstance(services, list) or len(services) > MAX_SERVICES:
        raise ValueError(f"the services are not a list of at most {MAX_SERVICES}")
    alias, description = (str(fields.get(name, "")) for name in FIELDS[:2])
    return Card(alias, description, tuple(read_service(service) for service in services))


def read_service(value: object) -> Service:
    """A service as a record has it, or a request. Raises `ValueError`."""
    match value:
        case {"name": str(name), "port": int(port), **rest} if not isinstance(port, bool):
            protocol, text = rest.get("protocol", "tcp"), rest.get("text", [])
            if isinstance(protocol, str) and isinstance(text, list) and all(isinstance(each, str) for each in text):
                return Service(name, port, protocol, tuple(text))
    raise ValueError("a service is not a name, a port, a protocol and a list of texts")
