"""What a daemon would answer in meshes of any size: for the tests of what shows them."""

from __future__ import annotations

from base64 import b32encode, b64encode
from hashlib import blake2b
from ipaddress import IPv6Address
from math import sin
from random import Random
from typing import Any

from tests.canned_daemon import CannedDaemon

PLACES = (
    "paris", "tokyo", "lagos", "lima", "oslo", "delhi", "quito", "cairo", "seoul", "porto", "turin", "perth", "miami",
    "accra", "dakar", "hanoi", "izmir", "kyoto", "leeds", "malmo",
)  # fmt: skip
NOW = 1_790_000_000
Row = dict[str, Any]


def node_id(name: str) -> str:
    return b32encode(blake2b(name.encode(), digest_size=32).digest()).decode().lower().rstrip("=")


class Meshes:
    """Rows of members, by the name of their mesh."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = Random(seed)
        self._asked = 0
        self.members: dict[str, list[Row]] = {}
        self.routes: list[Row] = []
        self.events: list[Row] = []

    def add(self, mesh: str, name: str, state: str = "alive", carrier: str = "", own: bool = False, **more: Any) -> Row:
        """A client if it has a `carrier`, the name of a peer that is there."""
        rows = self.members.setdefault(mesh, [])
        host = blake2b(f"{mesh} {name}".encode(), digest_size=8).digest()
        prefix = b"\xfd" + blake2b(mesh.encode(), digest_size=7).digest()
        quiet = state != "alive"
        number = len(rows)
        via = [{"node": node_id(carrier), "name": carrier}] if carrier else []
        row = {
            "node": node_id(name), "name": name, "alias": "", "description": "", "services": [],
            "address": str(IPv6Address(prefix + host)), "role": "client" if carrier else "peer", "state": state,
            "leader": False, "self": own, "wireguard": b64encode(blake2b(host, digest_size=32).digest()).decode(),
            "via": via, "warm": None,
            "endpoints": [] if carrier else [f"[2001:db8:{number % 9:x}::{number:x}]:51820"],
            "handshake_age": None if state == "pruned" else round(self.chance.uniform(1, 170), 1),
            "received": 0 if quiet else int(self.chance.lognormvariate(17, 2)),
            "sent": 0 if quiet else int(self.chance.lognormvariate(16.6, 2)),
            **more,
        }  # fmt: skip
        rows.append(row)
        return row

    def happened(self, kind: str, mesh: str, name: str = "", text: str = "") -> None:
        number = len(self.events) + 1
        at = NOW + 7 * number
        node = node_id(name) if name else ""
        event = {"number": number, "time": at, "kind": kind, "mesh": mesh, "node": node, "name": name, "text": text}
        self.events.append(event)

    def serve(self, daemon: CannedDaemon, problems: list[Row] | None = None) -> None:
        """Have a canned daemon answer so. What is in here later is answered later."""
        daemon.answers["status"] = lambda said: {
            "version": "0.1.0", "node": node_id("paris-1"), "name": "paris-1", "healthy": not problems,
            "uptime": 86400.0, "problems": problems or [], "meshes": self._briefs(), "actors": [],
            "gossip": {"port": 51800, "connections": 24, "dropped": {}},
        }  # fmt: skip
        daemon.answers["list-meshes"] = lambda said: {"meshes": self._briefs()}
        daemon.answers["members"] = lambda said: self._members(str(said["mesh"]))
        daemon.answers["routes"] = lambda said: {"routes": self.routes, "offers": []}
        daemon.answers["events"] = lambda said: self._since(said.get("since"), int(said.get("last") or 0))
        daemon.answers["why"] = lambda said: self._why(str(said["destination"]))

    def _briefs(self) -> list[Row]:
        return [
            {
                "name": mesh, "id": node_id(mesh), "interface": f"smeg-{mesh[:8]}", "backend": "dry-run",
                "address": rows[0]["address"], "via": [], "members": len(rows),
                "alive": sum(row["state"] in ("alive", "daemon-down") for row in rows),
                "leader": next((row["node"] for row in rows if row["leader"]), None), "epoch": 812, "state": "active",
            }
            for mesh, rows in self.members.items()
        ]  # fmt: skip

    def _members(self, mesh: str) -> Row:
        name = next(name for name in self.members if mesh in (name, node_id(name)))
        self._asked += 1
        for number, row in enumerate(self.members[name]):
            if row["received"] and not row["self"]:
                row["received"] += int(40_000 * (1.15 + sin(self._asked / 7 + number)) * self.chance.uniform(0.7, 1.3))
                row["sent"] += int(25_000 * (1.1 + sin(self._asked / 5 + 2 * number)) * self.chance.uniform(0.7, 1.3))
        return {"mesh": {"name": name, "id": node_id(name)}, "members": self.members[name]}

    def _since(self, since: object, last: int) -> Row:
        first = since if isinstance(since, int) else len(self.events) + 1 - last
        rows = [event for event in self.events if event["number"] >= first]
        return {"run": "1-1", "next": len(self.events) + 1, "missed": 0, "events": rows}

    def _why(self, address: str) -> Row:
        row = next(row for rows in self.members.values() for row in rows if row["address"] == address)
        hops = [*(one["name"] for one in row["via"]), row["name"]]
        steps = [{"from": "here", "to": hop, "mesh": "", "rule": f"{hop} is the next on the way"} for hop in hops]
        return {"destination": address, "name": row["name"], "reached": True, "steps": steps, "problem": ""}


def alone() -> Meshes:
    made = Meshes()
    made.add("paris", "paris-1", own=True, leader=True, handshake_age=None)
    made.happened("mesh-known", "paris", text="the mesh is starting")
    made.happened("mesh-works", "paris", text="this node has the address fd51:7c2e::1")
    return made


def twenty() -> Meshes:
    """Two meshes with two bridges, clients, an exit, one that is down and one that is not heard, and a mesh beyond."""
    made = Meshes(2)
    own: Row = {"own": True, "alias": "gate", "description": "the office's own machine", "handshake_age": None}
    made.add("europe", "paris-1", **own, services=[{"name": "http", "port": 80, "protocol": "tcp", "text": []}])
    for name in ("porto-1", "turin-1", "oslo-1", "leeds-1", "malmo-1"):
        made.add("europe", name, leader=name == "oslo-1")
    made.add("europe", "izmir-1", "daemon-down")
    made.add("europe", "cairo-1", "pruned")
    for name, carrier in (("laptop-ada", "porto-1"), ("laptop-bo", "porto-1"), ("phone-ada", "turin-1")):
        made.add("europe", name, carrier=carrier)
    made.add("europe", "laptop-cy", "quarantined", carrier="leeds-1")
    for name in ("tokyo-1", "seoul-1", "hanoi-1", "kyoto-1", "perth-1"):
        made.add("asia", name, leader=name == "seoul-1")
    made.add("asia", "laptop-dee", carrier="tokyo-1")
    for bridge in ("bridge-a", "bridge-b"):
        made.add("europe", bridge)
        made.add("asia", bridge)
    made.add("asia", "paris-1", **own)
    made.members["europe"][1]["services"] = [{"name": "postgresql", "port": 5432, "protocol": "tcp", "text": []}]
    exit_, beyond = node_id("malmo-1"), node_id("perth-1")
    made.routes = [
        {"mesh": "europe", "prefix": "::/0", "via": "malmo-1", "node": exit_, "path": ["europe"],
         "bridges": ["malmo-1"], "state": "chosen", "parts": ["::/0"], "rule": "the only way"},
        {"mesh": "asia", "prefix": "fd11:2233:4455:6677::/64", "via": "perth-1", "node": beyond,
         "path": ["asia", "oceania"], "bridges": ["perth-1"], "state": "chosen", "parts": [], "rule": "the only way"},
    ]  # fmt: skip
    for kind, mesh, name, text in (
        ("joined", "europe", "phone-ada", "as client, fd51:7c2e::3"),
        ("route", "asia", "perth-1", "fd11:2233:4455:6677::/64 through perth-1"),
        ("leader", "asia", "seoul-1", ""),
        ("pruned", "europe", "cairo-1", ""),
        ("quarantined", "europe", "laptop-cy", ""),
        ("daemon-down", "europe", "izmir-1", ""),
        ("pruned", "asia", "kyoto-1", ""),
        ("back", "asia", "kyoto-1", ""),
    ):
        made.happened(kind, mesh, name, text)
    return made


def many(number: int = 3000) -> Meshes:
    """One mesh of so many, three quarters of them clients, with about three in a hundred not alive."""
    made = Meshes(3)
    peers = [f"{PLACES[at % len(PLACES)]}-{at // len(PLACES) + 1}" for at in range(number // 4)]
    chance = Random(4)
    own: Row = {"own": True, "handshake_age": None, "alias": "gate"}
    for name in peers:
        state = chance.choices(("alive", "daemon-down", "pruned"), (96, 1, 3))[0] if name != "paris-1" else "alive"
        made.add("planet", name, state, leader=name == "tokyo-2", **(own if name == "paris-1" else {}))
    for at in range(number - len(peers)):
        state = chance.choices(("alive", "daemon-down", "pruned", "quarantined"), (970, 8, 20, 2))[0]
        made.add("planet", f"client-{at + 1}", state, carrier=chance.choice(peers))
    for _ in range(60):
        made.happened(chance.choice(("joined", "back", "pruned", "daemon-down")), "planet", chance.choice(peers))
    return made
