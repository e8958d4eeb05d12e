"""Where scripts are: files, and the library."""

from __future__ import annotations

import os
from pathlib import Path

LIBRARY = Path(__file__).parent / "library"


def find(name: str) -> Path:
    """A file, or a scenario of the library by its name."""
    # Unlike `Path.exists`, this is no error where a folder cannot be read or a name is too long.
    inside = LIBRARY / f"{name}.yaml"
    return inside if not os.path.exists(name) and os.path.exists(inside) else Path(name)


def library() -> list[Path]:
    return sorted(LIBRARY.glob("*.yaml"))
