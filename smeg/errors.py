"""What can go wrong, in two families: ours and theirs.

`LocalError` is about this machine or what its user asked for. `RemoteError` is about bytes that somebody else sent;
nothing that arrives from the wire can raise anything else. Both carry a `Problem`, which crosses actors and the control
socket as a value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in words for a person and a code for a program."""

    code: str
    """Stable, lower case, with dashes: `token-expired`."""
    message: str
    """What is wrong, and where."""
    hint: str = ""
    """What to do next."""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SmegError(Exception):
    """Base of both families."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        # All of it, for by its arguments an error is made again in another process.
        super().__init__(code, message, hint)
        self.problem = Problem(code, message, hint)

    def __str__(self) -> str:
        return str(self.problem)


class LocalError(SmegError):
    """Our fault, or something that this machine's user can mend."""


class RemoteError(SmegError):
    """Their fault: what arrived is malformed, unauthorised or not acceptable now."""
