"""The configuration of a node: what it is, what it is without a file, and what the YAML text of a file makes of it.

`parse` reports every mistake of a file at once, each with its line. Nothing here opens a file or asks the system or the
network: `defaults` gets the host name, the privileges and the environment as arguments. `KEYS` is the one table of
keys, from which `docs/configuration.md` has its own (`table`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Literal

from smeg.config_keys import KEYS, Key
from smeg.config_values import PublicEndpoint
from smeg.errors import LocalError
from smeg.folders import control_socket, usual_folders
from smeg.hooks import Command, Hook, HookPolicy, Hooks
from smeg.route_policy import MeshPolicy, PrefixFilter, PrefixRule, RoutePolicy
from smeg.shares import DEFAULT

__all__ = ["KEYS", "Config", "PublicEndpoint", "control_socket", "default_text", "defaults", "parse", "table"]


@dataclass(frozen=True, slots=True)
class Config:
    """A node's configuration, complete and checked. `KEYS` says what each field means."""

    state_dir: Path
    runtime_dir: Path
    name: str
    control_group: str = ""
    role: Literal["peer", "client"] = "peer"
    gossip_port: int = 51800
    gossip_address: str = "*"
    public_endpoint: tuple[PublicEndpoint, ...] = ()
    ip_discovery: Literal["outgoing", "peers"] = "outgoing"
    backend: Literal["auto", "kernel", "userspace", "dry-run"] = "auto"
    wireguard_program: str = "wireguard-go"
    wireguard_port: int = 51820
    mtu: int = 1420
    forwarding: Literal["mesh", "host", "none"] = "mesh"
    keep_alive_wg: int = 25
    heart_beat_interval: float = 5.0
    suspect_after: float = 3.0
    restart_grace: float = 30.0
    repair_interval: float = 10.0
    advertise_routes: bool = False
    advertise: tuple[IPv6Network, ...] = ()
    advertise_defaults: bool = False
    accept_defaults: bool = False
    import_routes: tuple[PrefixRule, ...] = ()
    export_routes: tuple[PrefixRule, ...] = ()
    weight: int = 1
    shards: int = 1
    exit_probe: tuple[PublicEndpoint, ...] = ()
    dns_address: tuple[IPv4Address | IPv6Address, ...] = ()
    dns_port: int = 51753
    dns_resolved: bool = True
    pre_up: tuple[Command, ...] = ()
    post_up: tuple[Command, ...] = ()
    pre_down: tuple[Command, ...] = ()
    post_down: tuple[Command, ...] = ()
    hook_timeout: float = 10.0
    metrics_listen: tuple[PublicEndpoint, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    meshes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By a mesh's name or id, what is set for it alone, by field."""

    @property
    def control_socket(self) -> Path:
        """Where the daemon listens for the command line."""
        return control_socket(self.runtime_dir)

    @property
    def hooks(self) -> HookPolicy:
        """What is run when interfaces come and go, in general and for each mesh."""
        return HookPolicy(_hooks(self), {mesh: _hooks(replace(self, **own)) for mesh, own in self.meshes.items()})

    @property
    def routes(self) -> RoutePolicy:
        """What is said of routes, in general and for each mesh."""
        behind = {*self.advertise, *([DEFAULT] if self.advertise_defaults else [])}
        meshes = {mesh: _mesh_policy(replace(self, **own)) for mesh, own in self.meshes.items()}
        bits = self.shards.bit_length() - 1
        return RoutePolicy(frozenset(behind), self.weight, bits, bool(self.exit_probe), _mesh_policy(self), meshes)


def _hooks(config: Config) -> Hooks:
    found = {
        Hook.PRE_UP: config.pre_up,
        Hook.POST_UP: config.post_up,
        Hook.PRE_DOWN: config.pre_down,
        Hook.POST_DOWN: config.post_down,
    }
    return Hooks({hook: commands for hook, commands in found.items() if commands}, config.hook_timeout)


def _mesh_policy(config: Config) -> MeshPolicy:
    imports, exports = PrefixFilter(config.import_routes), PrefixFilter(config.export_routes)
    return MeshPolicy(config.advertise_routes, config.accept_defaults, imports, exports)


def defaults(hostname: str, root: bool, environ: Mapping[str, str]) -> Config:
    """The configuration without a file. `hostname` becomes a DNS label. Raises `LocalError` (`no-home`)."""
    label = re.sub(r"[^a-z0-9-]+", "-", hostname.split(".")[0].lower())[:63].strip("-") or "node"
    state_dir, runtime_dir = usual_folders(root, environ)
    return Config(state_dir, runtime_dir, label)


def default_text(key: Key) -> str:
    """A key's default in words."""
    if key.default:
        return key.default
    value = next(f.default for f in fields(Config) if f.name == key.field)
    assert value is not MISSING
    match value:
        case bool():
            return "true" if value else "false"
        case ():
            return "none"
        case float():
            return f"{value:g}"
        case _:
            return '"*"' if value == "*" else str(value)


def table() -> str:
    """All keys as a Markdown table."""
    lines = ["| Key | Value | Unit | Default | Meaning |", "|---|---|---|---|---|"]
    for key in KEYS:
        name = f"`{key.name}`{' *' if key.each_mesh else ''}"
        lines.append(f"| {name} | {key.expected} | {key.unit} | {default_text(key)} | {key.meaning} |")
    return "\n".join(lines) + "\n"


def parse(text: str, source: str, base: Config | None = None) -> Config:
    """What the YAML `text` of the file called `source` sets, over `base` (default: root's defaults, named `node`).

    Raises `LocalError` (`bad-configuration`) whose message has one line a mistake: `FILE:LINE: key: what; expected …`.
    """
    # YAML is slow to import, and the command line, which needs `defaults`, reads no file.
    from smeg.config_reading import Reading

    reading = Reading(text)
    base = defaults("node", True, {}) if base is None else base
    config = replace(base, **reading.values, meshes={**base.meshes, **reading.meshes})
    if config.state_dir == config.runtime_dir:
        line = reading.lines.get("runtimeDir") or reading.lines.get("stateDir", 1)
        reading.wrong(line, "runtimeDir", "is the same folder as stateDir", "a folder of its own")
    if reading.mistakes:
        message = "\n".join(f"{source}:{line}: {words}" for line, words in sorted(reading.mistakes))
        hint = "correct the lines named above; docs/configuration.md lists every key"
        raise LocalError("bad-configuration", message, hint)
    return config
