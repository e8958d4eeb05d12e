"""Commands that a node's user wants run when an interface comes and goes: what to run, and what it is told.

A command is a line of words, split as a shell splits it and run without one. Nothing of what is told comes from another
member but the mesh's name, which is a DNS label.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAX_COMMANDS = 8
"""of one hook."""
FOR_A_SHELL = frozenset(("|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"))


class Hook(StrEnum):
    """When commands are run: before an interface comes, after, before it goes, after."""

    PRE_UP = "preUp"
    POST_UP = "postUp"
    PRE_DOWN = "preDown"
    POST_DOWN = "postDown"


@dataclass(frozen=True, slots=True)
class Command:
    words: tuple[str, ...]
    """The first is the program, by its absolute path."""

    def __str__(self) -> str:
        return shlex.join(self.words)


def command(text: str) -> Command:
    """The words of a line. Raises `ValueError` with what is wrong."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {str(error).lower()}") from None
    if not words or not words[0].startswith("/"):
        raise ValueError(f"begins with {words[0]!r}" if words else "is empty")
    if asked := next((word for word in words if word in FOR_A_SHELL), None):
        raise ValueError(f"holds {asked}, which only a shell understands (/bin/sh -c '…' is one)")
    return Command(words)


@dataclass(frozen=True, slots=True)
class Hooks:
    """For one mesh."""

    commands: Mapping[Hook, tuple[Command, ...]] = field(default_factory=dict)
    limit: float = 10.0
    """seconds that the commands of one hook may take together."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What their environment says, beside the hook and the addresses."""

    def of(self, hook: Hook, interface: str) -> list[Command]:
        """What to run, with the interface in the place of `%i`."""
        commands = self.commands.get(hook, ())
        return [Command(tuple(word.replace("%i", interface) for word in each.words)) for each in commands]

    def environment(self, hook: Hook, interface: str, addresses: Iterable[str]) -> dict[str, str]:
        """All of the environment but the path."""
        about = {"SMEG_HOOK": str(hook), "SMEG_INTERFACE": interface, "SMEG_ADDRESSES": " ".join(addresses)}
        return {**self.told, **about}


@dataclass(frozen=True, slots=True)
class HookPolicy:
    general: Hooks = Hooks()
    meshes: Mapping[str, Hooks] = field(default_factory=dict)
    """By name or id, where it is another than in general."""

    def of(self, mesh: str, name: str) -> Hooks:
        return self.meshes.get(mesh) or self.meshes.get(name) or self.general

    @property
    def any(self) -> bool:
        """Whether anything is ever run."""
        return any(hooks.commands for hooks in (self.general, *self.meshes.values()))
