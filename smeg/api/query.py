"""JMESPath expressions, evaluated in a process of their own: a short one can ask for more than a machine has.

`[@,@][]`, written a hundred times in a row, doubles a list a hundred times.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import orjson

from smeg.errors import LocalError

SECONDS = 5
MEMORY = 1024 * 1024 * 1024
"""bytes of address space."""
MAX_FOUND = 16 * 1024 * 1024
"""bytes of JSON."""


def found(expression: str, members: list[Any]) -> Any:
    """What an expression finds in the members. Raises `LocalError` (`bad-query`)."""
    asked = orjson.dumps({"expression": expression, "members": members})
    command = [sys.executable, "-m", "smeg.api.query"]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LocalError("bad-query", f"it was not done after {SECONDS} s", "ask for less") from None
    if done.returncode != 0 or len(done.stdout) > MAX_FOUND:
        raise LocalError("bad-query", "it finds more than fits", "ask for less")
    answer = orjson.loads(done.stdout)
    if "error" in answer:
        raise LocalError("bad-query", answer["error"], answer["hint"])
    return answer["found"]


def _main() -> None:
    from smeg.cli.queries import search

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    asked = orjson.loads(sys.stdin.buffer.read())
    try:
        answer = {"found": search(asked["expression"], asked["members"])}
    except LocalError as error:
        answer = {"error": error.problem.message, "hint": error.problem.hint}
    sys.stdout.buffer.write(orjson.dumps(answer, default=str))


if __name__ == "__main__":
    _main()
