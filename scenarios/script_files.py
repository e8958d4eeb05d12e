"""Where scripts are: files, and the library."""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).parent / "library"


def find(name: str) -> Path:
    """A file, or a scenario of the library by its name."""
    path = Path(name)
    inside = LIBRARY / f"{name}.yaml"
    return inside if not path.exists() and inside.exists() else path


def library() -> list[Path]:
    return sorted(LIBRARY.glob("*.yaml"))
