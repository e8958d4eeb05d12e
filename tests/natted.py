"""Hosts behind a NAT of their own, for tests; skipped where the kernel translates no addresses."""

from __future__ import annotations

import pytest

from scenarios import nat
from scenarios.hosts import World
from smeg.errors import LocalError


class Nat(nat.Nat):
    """A router with one host behind it."""

    def __init__(self, world: World, number: int) -> None:
        try:
            super().__init__(world, world.host(f"c{number}"), f"nat{number}", number)
        except LocalError as error:
            if error.problem.code != "no-nat":
                raise
            pytest.skip(str(error.problem))
