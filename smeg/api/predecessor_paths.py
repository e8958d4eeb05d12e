"""The paths of the predecessor's API, answered in its form: for programs that were written for it.

Errors of these operations are `{"error": "…"}`, as there. What it did without and this cannot is a token: to join, it
stands in the place of the bootstrap address.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from smeg.api import models as m
from smeg.api.answers import error_fields, json
from smeg.api.daemon import JOIN_SECONDS, Asked, Daemon, status_of
from smeg.api.reading import Mesh
from smeg.errors import LocalError, SmegError

Row = Mapping[str, Any]
_SECOND = 1_000_000_000
"""nanoseconds, in which it counted the keep-alive."""


class OldError(BaseModel):
    error: str


class OldRoute(BaseModel):
    prefix: str
    path: list[str]


class OldStats(BaseModel):
    totalTransmit: int
    totalReceived: int
    keepaliveInterval: int = Field(description="nanoseconds")
    allowedIps: list[str]


class OldNode(BaseModel):
    alias: str
    wgHost: str
    wgEndpoint: str
    endpoint: str = Field(description="Always empty: nodes find each other's gossip by themselves.")
    timestamp: int = Field(description="Of the last handshake, seconds since 1970; 0 if there was none.")
    description: str
    publicKey: str
    routes: list[OldRoute]
    services: dict[str, str]
    stats: OldStats


class OldMesh(BaseModel):
    meshid: str
    nodes: dict[str, OldNode] = Field(description="By `wgHost`.")


class OldMade(BaseModel):
    meshid: str


class OldJoined(BaseModel):
    status: str = Field(examples=["success"])


class OldCreating(m.Asking):
    name: m.Label | None = Field(None, description="New here; without it a name is made up.", examples=["paris"])
    port: int | None = Field(None, ge=1024, lt=65535, description="Refused: the configuration's wireguardPort says it.")


class OldJoining(m.Asking):
    bootstrap: str = Field(min_length=1, max_length=m.MAX_TOKEN, description="A token, not an address.")
    meshid: str = Field(min_length=1, max_length=128, description="The mesh's id or name.")
    port: int | None = Field(None, ge=1024, lt=65535, description="Refused, as above.")


_WRONG: dict[int | str, dict[str, Any]] = {status: {"model": OldError} for status in (400, 404, 409, 502, 503, 504)}
router = APIRouter(responses=_WRONG)


@router.get("/meshes/", response_model=list[OldMesh], include_in_schema=False)
@router.get("/meshes", response_model=list[OldMesh], name="old_meshes")
def meshes(daemon: Asked) -> Response:
    """All meshes with their nodes."""
    try:
        known = daemon.ask("list-meshes").get("meshes") or []
        return json([_mesh(daemon, str(row.get("id", ""))) for row in known])
    except SmegError as error:
        return _failed(error)


@router.get("/mesh/{mesh}", response_model=OldMesh, name="old_mesh")
def mesh(daemon: Asked, mesh: Mesh) -> Response:
    """A mesh with its nodes."""
    try:
        return json(_mesh(daemon, mesh))
    except SmegError as error:
        return _failed(error)


@router.post("/mesh/create", response_model=OldMade, name="old_create")
def create(daemon: Asked, asked: OldCreating) -> Response:
    """Make a mesh."""
    try:
        _refuse_port(asked.port)
        name = asked.name or f"mesh-{secrets.token_hex(4)}"
        return json({"meshid": str((daemon.ask("new-mesh", {"name": name}).get("mesh") or {}).get("id", ""))})
    except SmegError as error:
        return _failed(error)


@router.post("/mesh/join", response_model=OldJoined, name="old_join")
def join(daemon: Asked, asked: OldJoining) -> Response:
    """Join a mesh."""
    try:
        _refuse_port(asked.port)
        if not asked.bootstrap.startswith("smeg"):
            raise LocalError("no-token", "who joins needs a token: give what an invite made as bootstrap")
        daemon.ask("join-mesh", {"token": asked.bootstrap}, JOIN_SECONDS)
        return json({"status": "success"})
    except SmegError as error:
        return _failed(error)


def _refuse_port(port: int | None) -> None:
    if port is not None:
        raise LocalError("port-configured", "a mesh's port is said by wireguardPort in the configuration of smeg-node")


def _failed(error: SmegError) -> Response:
    said = error_fields(error.problem)
    status = 400 if error.problem.code == "no-token" else status_of(error.problem)
    return json({"error": f"{said['message']} ({said['hint']})" if said["hint"] else said["message"]}, status)


def _mesh(daemon: Daemon, name: str) -> dict[str, Any]:
    answer = daemon.ask("members", {"mesh": name})
    about = answer.get("mesh") or {}
    ways = daemon.ask("routes", {"mesh": about.get("id")}).get("routes") or []
    try:
        peers = {row.get("public_key"): row for row in daemon.ask("plan", {"mesh": about.get("id")})["peers"]}
    except SmegError:
        # The interface is not set up yet.
        peers = {}
    nodes = [_node(row, ways, peers.get(row.get("wireguard")) or {}) for row in answer.get("members") or []]
    return {"meshid": str(about.get("id", "")), "nodes": {node["wgHost"]: node for node in nodes}}


def _node(row: Row, ways: list[Row], peer: Row) -> dict[str, Any]:
    age = row.get("handshake_age")
    services = {
        str(service.get("name")): f"{service.get('protocol')}/{service.get('port')}"
        for service in row.get("services") or []
    }
    return {
        "alias": str(row.get("alias") or row.get("name") or ""),
        "wgHost": f"{row.get('address')}/128",
        "wgEndpoint": next(iter(row.get("endpoints") or []), ""),
        "endpoint": "",
        "timestamp": int(time.time() - age) if isinstance(age, int | float) else 0,
        "description": str(row.get("description") or ""),
        "publicKey": str(row.get("wireguard") or ""),
        "routes": [
            {"prefix": way.get("prefix"), "path": way.get("path") or []}
            for way in ways
            if way.get("node") == row.get("node") and way.get("node")
        ],
        "services": services,
        "stats": {
            "totalTransmit": row.get("sent") or 0,
            "totalReceived": row.get("received") or 0,
            "keepaliveInterval": int(peer.get("keepalive") or 0) * _SECOND,
            "allowedIps": peer.get("allowed_ips") or [],
        },
    }
