"""How programs are started as where they were installed: what they find, and that they are compiled already."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def path() -> str:
    """Where programs are: this installation's first, and root's, whose folders users often lack."""
    own = Path(sys.executable).parent
    return f"{own}:{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def as_installed() -> dict[str, str]:
    """The environment, in which what is started often is compiled once."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
