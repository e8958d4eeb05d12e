"""Operations with effects."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from smeg.api import models as m
from smeg.api.answers import json
from smeg.api.daemon import JOIN_SECONDS, Asked
from smeg.api.qr import svg
from smeg.api.reading import Mesh
from smeg.cli.exporting import made_static
from smeg.cli.reaching import pinged_along
from smeg.errors import LocalError

router = APIRouter()

ServiceName = Annotated[
    str, Path(min_length=1, max_length=15, pattern="^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$", examples=["http"])
]


@router.post("/meshes", status_code=201, response_model=m.MadeMesh)
def new_mesh(daemon: Asked, asked: m.NewMesh) -> Response:
    """Make a mesh; this node becomes its first member and holds its admin key."""
    return json(daemon.ask("new-mesh", {"name": asked.name}), 201)


@router.post("/meshes/join", status_code=201, response_model=m.MadeMesh)
def join_mesh(daemon: Asked, asked: m.Joining) -> Response:
    """Join a mesh by a token. Answers when this node is a member, or why it did not become one."""
    return json(daemon.ask("join-mesh", {"token": asked.token}, JOIN_SECONDS), 201)


@router.delete("/meshes/{mesh}", response_model=m.LeftMesh)
def leave_mesh(daemon: Asked, mesh: Mesh) -> Response:
    """Leave a mesh, and remove its interface and keys from this node, save those that rule over it."""
    return json(daemon.ask("leave-mesh", {"mesh": mesh}))


@router.post("/meshes/{mesh}/invites", status_code=201, response_model=m.Invite)
def invite(
    daemon: Asked,
    mesh: Mesh,
    asked: m.Inviting,
    qr: Annotated[bool, Query(description="With the token as a picture.")] = False,
) -> Response:
    """Make a token by which others can join. Needs the mesh's admin key on this node."""
    token = str(daemon.ask("invite", {"mesh": mesh, **asked.model_dump()}).get("token", ""))
    return json({"token": token, **({"qr": svg(token)} if qr else {})}, 201)


@router.post("/meshes/{mesh}/evictions", status_code=201, response_model=m.Evicted)
def evict(daemon: Asked, mesh: Mesh, asked: m.Evicting) -> Response:
    """Remove a member for ever, everywhere. Needs the mesh's admin key on this node."""
    return json(daemon.ask("evict", {"mesh": mesh, "node": asked.node, "reason": asked.reason}), 201)


@router.put("/meshes/{mesh}/alias", response_model=m.Card)
def put_alias(daemon: Asked, mesh: Mesh, asked: m.Alias) -> Response:
    """Call this node so, beside its name. What another member has is refused."""
    return json(daemon.ask("put-alias", {"mesh": mesh, "alias": asked.alias}))


@router.put("/meshes/{mesh}/description", response_model=m.Card)
def put_description(daemon: Asked, mesh: Mesh, asked: m.Description) -> Response:
    """Describe this node to the members."""
    return json(daemon.ask("put-description", {"mesh": mesh, "description": asked.description}))


@router.put("/meshes/{mesh}/services/{name}", response_model=m.Card)
def set_service(daemon: Asked, mesh: Mesh, name: ServiceName, asked: m.ServiceHere) -> Response:
    """Tell the members of a service of this node, instead of what it said of it before."""
    service = {"name": name.lower(), **asked.model_dump()}
    return json(daemon.ask("set-service", {"mesh": mesh, "service": service}))


@router.delete("/meshes/{mesh}/services/{name}", response_model=m.Card)
def delete_service(
    daemon: Asked,
    mesh: Mesh,
    name: ServiceName,
    protocol: Annotated[Literal["tcp", "udp"] | None, Query(description="Only this one of both.")] = None,
) -> Response:
    """Take that back."""
    which = {"mesh": mesh, "name": name, **({"protocol": protocol} if protocol else {})}
    return json(daemon.ask("delete-service", which))


@router.post("/meshes/{mesh}/devices", status_code=201, response_model=m.MadeDevice)
def add_device(
    daemon: Asked,
    mesh: Mesh,
    asked: m.NewDevice,
    qr: Annotated[bool, Query(description="With the file as a picture, for a phone.")] = False,
) -> Response:
    """Let in a device that cannot run smeg-node, behind this node. The file with its private key is nowhere else."""
    added, text = made_static(daemon.ask, mesh, asked.name, asked.expires)
    said = {"name": added.get("name"), "address": added.get("address"), "expires": added.get("expires")}
    return json({**said, "configuration": text, **({"qr": svg(text)} if qr else {})}, 201)


@router.delete("/meshes/{mesh}/devices/{name}", response_model=m.DeletedDevice)
def delete_device(daemon: Asked, mesh: Mesh, name: Annotated[m.Label, Path(examples=["phone"])]) -> Response:
    """Let that device in no more. It has to be one of this node's."""
    return json(daemon.ask("delete-static", {"mesh": mesh, "name": name}))


@router.post("/reload", response_model=m.Reloaded)
def reload(daemon: Asked) -> Response:
    """Have the daemon read its configuration file again, without dropping a tunnel."""
    return json(daemon.ask("reload"))


@router.post("/pings", response_model=m.Pinged)
def ping(daemon: Asked, asked: m.Pinging) -> Response:
    """Ping a member or an address over the overlay, with the way that packets to it take."""
    way = daemon.ask("why", {"destination": asked.node})
    if way.get("reached") is not True:
        raise LocalError("not-reached", f"no way leads there: {way.get('problem')}", "ask for /api/v2/why")
    return json(pinged_along(way, asked.count))
