"""What a person asks to change of a node's card: which commands there are, and what each makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smeg.card import PROTOCOLS, Card, read_service
from smeg.errors import LocalError

COMMANDS = ("put-alias", "put-description", "set-service", "delete-service")


def revised(card: Card, command: str, arguments: Mapping[str, Any]) -> Card:
    """The card after one of `COMMANDS`. Raises `LocalError`: `bad-argument`, `unknown-service`."""
    try:
        match command, arguments:
            case "put-alias", {"alias": str(alias)}:
                return replace(card, alias=alias.lower())
            case "put-description", {"description": str(description)}:
                return replace(card, description=description)
            case "set-service", {"service": service}:
                return card.with_service(read_service(service))
            case "delete-service", {"name": str(name)}:
                return _without(card, name, arguments.get("protocol"))
    except ValueError as error:
        raise LocalError("bad-argument", str(error), f"see `smeg-cli {command} --help`") from error
    raise LocalError("bad-argument", f"{command} lacks what it is to change", f"see `smeg-cli {command} --help`")


def _without(card: Card, name: str, protocol: object) -> Card:
    gone = {(name.lower(), each) for each in PROTOCOLS if protocol in (None, each)}
    rest = tuple(service for service in card.services if service.place not in gone)
    if rest == card.services:
        known = ", ".join("/".join(service.place) for service in card.services) or "none"
        raise LocalError("unknown-service", f"this node offers no service {name[:40]!r}", f"services here: {known}")
    return replace(card, services=rest)
