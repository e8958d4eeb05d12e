"""The program that is started: what its process has loaded when it works."""

from __future__ import annotations

from pathlib import Path

from tests.loopback import end_at_last, form_mesh


def test_a_daemon_works_without_openssl(tmp_path: Path) -> None:
    with end_at_last() as make:
        daemon = make(tmp_path / "n1")
        daemon.start()
        form_mesh("home", daemon)
        assert daemon.process is not None
        maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
        assert "libsodium" in maps
        assert "libcrypto" not in maps
