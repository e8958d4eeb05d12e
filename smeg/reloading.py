"""What becomes of a configuration file that is read again while the daemon runs: what counts at once, what later."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from smeg.config import Config
from smeg.config_keys import KEYS, MESHES


@dataclass(frozen=True, slots=True)
class Change:
    effective: Config
    """What the daemon does from now on: the file's, but for what needs a restart."""
    at_once: tuple[str, ...]
    """Keys that are otherwise from now on."""
    restart: tuple[str, ...]
    """Keys of which the file says something else than the daemon does until it is started again."""

    def changes(self, *names: str) -> bool:
        """Whether any of these keys is otherwise from now on."""
        return not set(names).isdisjoint(self.at_once)


def compare(running: Config, read: Config) -> Change:
    """`running` is what the daemon does, `read` what its file says now."""
    waiting = {key.field: key.name for key in KEYS if key.restart}
    names = {**{key.field: key.name for key in KEYS}, MESHES: MESHES}
    differ = [each.name for each in fields(Config) if getattr(running, each.name) != getattr(read, each.name)]
    effective = replace(read, **{name: getattr(running, name) for name in waiting})
    return Change(
        effective,
        tuple(sorted(names[name] for name in differ if name not in waiting)),
        tuple(sorted(waiting[name] for name in differ if name in waiting)),
    )
