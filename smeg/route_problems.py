"""What a person is told of routes that cannot be as the configuration says."""

from __future__ import annotations

from ipaddress import IPv6Network

from smeg.errors import Problem
from smeg.shares import DEFAULT


def advertise_refused(prefix: IPv6Network) -> Problem:
    option = "--exit" if prefix == DEFAULT else f"--prefix {prefix}"
    message = f"this node should offer {prefix}, but its certificate in the mesh does not allow it"
    return Problem("advertise-refused", message, f"join anew by a token that was made with {option}")


def bridged_around(apart: str, bridged: str) -> Problem:
    """`apart` and `bridged` are names of own meshes."""
    what = f"{apart} is not bridged here, but by others, with {bridged}: what passes through this node may be lost"
    hint = "set advertiseRoutes for all meshes of this node that others join, or for none"
    return Problem("bridged-around", what, hint)


def name_doubled(name: str, mesh: str) -> Problem:
    what = f"two meshes of this node are called {name}: what is set for that name counts for neither"
    return Problem("name-doubled", what, f"set it by id, for this one under {mesh}")
