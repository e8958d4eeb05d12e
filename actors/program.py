"""`smeg-node`, the program: what its process must not load is said before anything else is imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    _do_without_openssl()
    from actors.daemon import main as serve

    serve()


def _do_without_openssl() -> None:
    """BLAKE2 is Python's own; OpenSSL, which `hashlib` would load for the others, takes 3.4 MB of each daemon."""
    # Where Python was built without its own of the others, hashlib complains of each that it lacks.
    if find_spec("_sha1") is not None:
        sys.modules["_hashlib"] = None  # type: ignore[assignment]
