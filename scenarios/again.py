"""The command that plays a run again, as a shell takes it."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote


def again(script: str | Path, nodes: int, seed: int, world: str = "simulated", patience: float = 1.0) -> str:
    """With all that makes it another run. `script` is a file, or the name of one of the library."""
    where = f" --world {world}" if world != "simulated" else ""
    slower = f" --patience {str(patience).removesuffix('.0')}" if patience != 1.0 else ""
    return f"smeg-scenario run {quote(legible(script))} --nodes {nodes} --seed {seed}{where}{slower}"


def legible(path: str | Path) -> str:
    """A path as text; what is no UTF-8 in it is replaced."""
    return os.fsencode(path).decode("utf-8", "replace")
