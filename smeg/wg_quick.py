"""An interface as a file for wg-quick(8): what `plan` answers, written another way. Pure.

A name that a member chose gets into comments alone, and never ends their line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEEPALIVE = 25
"""seconds; most NATs forget no mapping within that."""
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


def static_client(added: Mapping[str, Any], plan: Mapping[str, Any], private_key: str) -> str:
    """A device without a daemon, by what `add-static` answered and the interface of its peer: for `wg-quick`, and for
    the WireGuard programs of phones."""
    mesh, endpoint = plan.get("mesh") or {}, _endpoint(added.get("endpoints"))
    reached = [added.get("prefix"), *(route for route in plan.get("routes") or [] if route != added.get("prefix"))]
    lines = [
        f"# {_line(added.get('name'))} in {_line(mesh.get('name'))}, through one peer",
        "[Interface]",
        f"PrivateKey = {private_key}",
        f"Address = {_line(added.get('address'))}/128",
        f"MTU = {_line(plan.get('mtu'))}",
        "",
        "[Peer]",
        f"PublicKey = {_line(plan.get('public_key'))}",
        f"AllowedIPs = {', '.join(map(_line, reached))}",
        f"Endpoint = {_line(endpoint)}",
        f"PersistentKeepalive = {KEEPALIVE}",
    ]
    return "\n".join([*lines, ""])


def _endpoint(endpoints: Any) -> str:
    """The first: a file for a phone has room for one."""
    return str(endpoints[0]) if isinstance(endpoints, list) and endpoints else ""


def _line(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
