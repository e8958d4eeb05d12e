"""What docs/api.md shows is what there is: its examples run, and its tables name every operation."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from smeg.api.app import make_app
from smeg.api.daemon import Daemon as Asked
from smeg.api.main import main
from smeg.cli.main import main as smeg_cli
from tests.api_service import api_service
from tests.loopback import end_at_last
from tests.nodes import PATIENCE

PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_with_curl_do_what_they_say(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    script = "set -eu\n" + "".join(blocks)
    assert script.count("\nask ") >= 18
    with end_at_last() as make:
        daemon = make(tmp_path / "web")
        daemon.start()
        with api_service(tmp_path / "api", daemon.socket) as api:
            script = script.replace("http://localhost:51880", f"http://localhost:{api.port}")
            script = script.replace("$HOME/.local/state/smegmesh/api.token", str(api.folder / "api.token"))
            done = subprocess.run(
                ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=90 * PATIENCE, check=False
            )
        assert done.returncode == 0, done.stdout + done.stderr
        row = daemon.members("paris")["web"]
        assert (row["alias"], row["description"], row["services"]) == ("web", "the front end", [])
    assert '"token"' in (tmp_path / "paris.json").read_text()
    assert "event: mesh-works" in done.stdout


def test_every_command_of_the_command_line_is_in_the_page() -> None:
    elsewhere = {"completion", "manual"}
    cells = [re.split(r"(?<!\\)\|", row) for row in PAGE.splitlines() if row.startswith("| `")]
    named = set(re.findall(r"[a-z-]+", " ".join(row[2] for row in cells)))
    assert set(smeg_cli.commands) - elsewhere <= named


def test_every_operation_and_every_option_is_in_the_page() -> None:
    described = make_app(Asked(Path("/nowhere"))).openapi()
    shown = re.sub(r"\?[^`,]*", "", PAGE)
    for path, operations in described["paths"].items():
        tail = path.removeprefix("/api/v2")
        short = f"…/{tail.rpartition('/')[2]}"
        for method in operations:
            wanted = (f"`{method.upper()} {tail}", f"`{method.upper()} {short}`", f"`{method.upper()} …`")
            assert any(one.replace("{mesh}", "{id}") in shown.replace("{mesh}", "{id}") for one in wanted), path
    for parameter in main.params:
        option = parameter.opts[0]
        assert option in PAGE or option in ("--version", "--help"), option
