"""Large pages for processes that touch a gigabyte of small objects at random: they find their memory a quarter faster.

It takes effect when a process starts, so it is for those that are started, or start themselves again.
"""

from __future__ import annotations

import os
import sys

SETTINGS = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "PYTHONMALLOC": "malloc"}
"""All memory comes from the C library's allocator, which asks the kernel for large pages; harmless where it cannot."""


def use(module: str) -> None:
    """Start `python -m module` again with its arguments and large pages, unless it has them."""
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, **SETTINGS})
