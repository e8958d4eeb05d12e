"""What is typed at a terminal, asked of a daemon with prepared answers."""

from __future__ import annotations

from click.testing import CliRunner, Result

from smeg.cli.main import main
from tests.canned_daemon import CannedDaemon


def typed(daemon: CannedDaemon, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--socket", str(daemon.path), *arguments])
