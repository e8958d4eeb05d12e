"""Names of interfaces that a person can tell apart, in the 15 bytes that Linux gives."""

from __future__ import annotations

from collections.abc import Collection

from smeg.device import MAX_INTERFACE_NAME

PREFIX = "smeg-"


def interface_name(name: str, mesh: str, taken: Collection[str]) -> str:
    """`smeg-NAME` where it fits and is free, else `smeg-`, the beginning of the name, and of the mesh's id."""
    room = MAX_INTERFACE_NAME - len(PREFIX)
    if len(name) <= room and PREFIX + name not in taken:
        return PREFIX + name
    for length in range(3, room):
        found = f"{PREFIX}{name[: room - length - 1]}-{mesh[:length]}"
        if found not in taken:
            return found
    return f"{PREFIX}{mesh[:room]}"
