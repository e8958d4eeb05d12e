"""An interface as a file for wg-quick(8): what `plan` answers, written another way. Pure.

A name that a member chose gets into comments alone, and never ends their line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NO_KEY = "# PrivateKey is left out: --with-private-key writes it"


def wg_quick(plan: Mapping[str, Any], private_key: str | None) -> str:
    """`plan` is the daemon's answer; the private key is in base64. wg-quick makes routes of AllowedIPs itself."""
    mesh = plan.get("mesh") or {}
    lines = [
        f"# {_line(mesh.get('name'))} ({_line(mesh.get('id'))}), interface {_line(plan.get('interface'))}:",
        "# as it was when this was written. smeg-node follows each change, this file none.",
        "[Interface]",
        f"PrivateKey = {private_key}" if private_key is not None else _NO_KEY,
        *(f"Address = {_line(address)}" for address in plan.get("addresses") or []),
        f"ListenPort = {_line(plan.get('listen_port'))}",
        f"MTU = {_line(plan.get('mtu'))}",
    ]
    for peer in plan.get("peers") or []:
        lines += ["", "[Peer]", f"# {_line(peer.get('name'))}", f"PublicKey = {_line(peer.get('public_key'))}"]
        if peer.get("allowed_ips"):
            lines.append(f"AllowedIPs = {', '.join(map(_line, peer['allowed_ips']))}")
        if peer.get("endpoint"):
            lines.append(f"Endpoint = {_line(peer['endpoint'])}")
        if peer.get("keepalive"):
            lines.append(f"PersistentKeepalive = {_line(peer['keepalive'])}")
    return "\n".join([*lines, ""])


def _line(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
