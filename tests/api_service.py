"""A real `smeg-api` on a free port of loopback, before a daemon or a canned one, and the requests that tests send."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.loopback import PROGRAMS, TRACEBACK
from tests.nodes import PATIENCE, wait_for

# What is imported later would have to be readable for the other user.
AS_ANOTHER = """
import os, sys
import anyio._backends._asyncio, encodings.idna, uvicorn.lifespan.off, uvicorn.loops.asyncio, zmq
import smeg.api.app, smeg.api.guard, smeg.api.serving, smeg.api.token_file
from smeg.api.main import main
user, group = int(sys.argv.pop(1)), int(sys.argv.pop(1))
os.setgroups([])
os.setgid(group)
os.setuid(user)
main()
"""


class Service:
    def __init__(self, folder: Path, port: int, log: Path) -> None:
        self.folder = folder
        self.port = port
        self.log = log
        self.token = (folder / "api.token").read_text().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * PATIENCE)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Without the token, or anything else that is not named here."""
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, content: object = None) -> tuple[int, Any]:
        """Status and JSON of the answer to a request as it should be."""
        body = None if content is None else json.dumps(content).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        status, _, data = self.send(method, path, body, {"Authorization": f"Bearer {self.token}", **kind})
        return status, json.loads(data)

    def get(self, path: str) -> Any:
        status, answer = self.ask("GET", path)
        assert status == 200, answer
        return answer


@contextmanager
def api_service(folder: Path, socket: Path, *argv: str, user: tuple[int, int] | None = None) -> Iterator[Service]:
    """Ended with the block; it may not have written a traceback. `user` and group are those of this process if None."""
    folder.mkdir(exist_ok=True)
    log = folder / "api.log"
    token = str(folder / "api.token")
    program = [str(PROGRAMS / "smeg-api")] if user is None else [sys.executable, "-c", AS_ANOTHER, *map(str, user)]
    command = [*program, "--socket", str(socket), "--port", "0", "--token-file", token, *argv]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    found: list[int] = []

    def serves() -> bool:
        assert process.poll() is None, log.read_text()
        found.extend(int(port) for port in re.findall(r"^serving: \S+:(\d+)/", log.read_text(), re.MULTILINE))
        return bool(found)

    try:
        wait_for("smeg-api serves", serves, 20)
        yield Service(folder, found[0], log)
        process.terminate()
        assert process.wait(20 * PATIENCE) in (0, -signal.SIGTERM)
        assert TRACEBACK not in log.read_text(), log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
