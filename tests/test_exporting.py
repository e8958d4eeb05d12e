"""The interface as a file for wg-quick: as `wg` reads it, with the private key only when it is asked for."""

from __future__ import annotations

import configparser
import stat
from base64 import standard_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg.keys import Secret, wireguard_text, x25519_public
from smeg.wg_quick import wg_quick
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.typed import typed

KEY = Secret(bytes(range(32)))
PEER = {"name": "lyon", "public_key": "PEER=", "endpoint": "[2001:db8::1]:51820", "allowed_ips": ["fd00::2/128"],
        "keepalive": 25}  # fmt: skip
PLAN: dict[str, Any] = {
    "mesh": {"name": "paris", "id": "abcd"},
    "interface": "smeg-paris",
    "public_key": wireguard_text(x25519_public(KEY)),
    "listen_port": 51820,
    "mtu": 1420,
    "addresses": ["fd00::1/64"],
    "peers": [PEER, {"name": "nice", "public_key": "OTHER=", "endpoint": None, "allowed_ips": [], "keepalive": 0}],
}


def sections(text: str) -> list[dict[str, str]]:
    """Each section's keys and values, as an INI reader has them."""
    found = []
    for part in text.split("\n[")[1:]:
        reader = configparser.ConfigParser()
        reader.read_string(f"[{part}")
        found.append(dict(reader[reader.sections()[0]]))
    return found


def test_it_says_the_interface_and_each_peer() -> None:
    interface, first, second = sections(wg_quick(PLAN, "SECRET="))
    assert interface == {"privatekey": "SECRET=", "address": "fd00::1/64", "listenport": "51820", "mtu": "1420"}
    assert first == {
        "publickey": "PEER=",
        "allowedips": "fd00::2/128",
        "endpoint": "[2001:db8::1]:51820",
        "persistentkeepalive": "25",
    }
    assert second == {"publickey": "OTHER="}


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_name_gets_beyond_its_comment(name: str) -> None:
    text = wg_quick({**PLAN, "peers": [{**PEER, "name": name}], "mesh": {"name": name, "id": name}}, None)
    plain = wg_quick({**PLAN, "peers": [{**PEER, "name": ""}], "mesh": {}}, None)
    assert [line for line in text.split("\n") if not line.startswith("#")] == [
        line for line in plain.split("\n") if not line.startswith("#")
    ]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        daemon.answers["plan"] = PLAN
        yield daemon


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of a node whose key lies in its folder."""
    folder = tmp_path / "state" / "meshes" / "abcd"
    folder.mkdir(parents=True)
    (folder / "wireguard.key").write_text(f"{standard_b64encode(KEY.reveal()).decode()}\n")
    (folder / "wireguard.key").chmod(0o600)
    file = tmp_path / "node.yaml"
    file.write_text(f"stateDir: {tmp_path / 'state'}\n")
    return file


def test_the_private_key_is_left_out_unless_it_is_asked_for(daemon: CannedDaemon, config: Path) -> None:
    secret = wireguard_text(KEY.reveal())
    for flags in ([], ["--json"]):
        shown = typed(daemon, "export", "paris", "--config", str(config), *flags)
        assert shown.exit_code == 0
        assert secret not in shown.output
    assert (
        f"PrivateKey = {secret}"
        in typed(daemon, "export", "paris", "--with-private-key", "--config", str(config)).stdout
    )


def test_a_file_is_new_and_nobody_elses(daemon: CannedDaemon, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "paris.conf"
    arguments = ["export", "paris", "--with-private-key", "--config", str(config), "--output", str(file)]
    result = typed(daemon, *arguments)
    assert result.exit_code == 0, result.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert wireguard_text(KEY.reveal()) in file.read_text()
    assert wireguard_text(KEY.reveal()) not in result.output
    assert typed(daemon, *arguments).exit_code == 1


def test_a_key_that_is_not_the_interfaces_or_not_there_is_refused(daemon: CannedDaemon, config: Path) -> None:
    arguments = ["export", "paris", "--with-private-key", "--config", str(config)]
    daemon.answers["plan"] = {**PLAN, "public_key": "OTHER="}
    assert "is not the key of this interface" in typed(daemon, *arguments).stderr
    for mesh in ("nosuch", "../abcd"):
        daemon.answers["plan"] = {**PLAN, "mesh": {"id": mesh}}
        result = typed(daemon, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
