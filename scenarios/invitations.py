"""The invitations of a run, and who waits for one that is still being made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

Token = TypeVar("Token")


class Invitations(Generic[Token]):
    def __init__(self) -> None:
        self._last: dict[str, Token] = {}
        """By mesh: the one that was made last."""
        self._coming: Counter[str] = Counter()
        """By mesh: how many are being made."""
        self._waiting: dict[str, list[Callable[[Token], None]]] = {}

    def asked_for(self, mesh: str) -> None:
        self._coming[mesh] += 1

    def answered(self, mesh: str, token: Token | None) -> None:
        """One that was asked for is there, or was refused."""
        self._coming[mesh] -= 1
        if token is not None:
            self._last[mesh] = token
        if not self._coming[mesh]:
            for use in self._waiting.pop(mesh, []):
                self.use(mesh, use)

    def use(self, mesh: str, use: Callable[[Token], None]) -> bool:
        """Call `use` with the last one: at once, or when all that are being made have come. Whether there is one."""
        if self._coming[mesh]:
            self._waiting.setdefault(mesh, []).append(use)
        elif mesh in self._last:
            use(self._last[mesh])
        return bool(self._coming[mesh]) or mesh in self._last
