"""Operations that only look: nothing changes by a GET."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Query, Response

from smeg.api import models as m
from smeg.api.answers import json
from smeg.api.daemon import Asked
from smeg.api.query import found
from smeg.cli.doctor import checkup
from smeg.cli.queries import MAX_EXPRESSION
from smeg.cli.reaching import LOOK_EVERY, SETTLED
from smeg.wg_quick import wg_quick

router = APIRouter()

Mesh = Annotated[
    m.Name, Path(description="The mesh: its name, its id or a unique beginning of the id.", examples=["paris"])
]
OneMesh = Annotated[m.Name | None, Query(alias="mesh", description="Only this mesh.", examples=["paris"])]
MAX_WAIT = 60.0
"""seconds."""


@router.get("/status", response_model=m.Status)
def status(daemon: Asked, mesh: OneMesh = None) -> Response:
    """How the daemon does. It is healthy when there are no problems."""
    return json(daemon.ask("status", {"mesh": mesh}))


@router.get("/meshes", response_model=m.Meshes)
def list_meshes(daemon: Asked) -> Response:
    """The meshes of this node."""
    return json(daemon.ask("list-meshes"))


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
def metrics(daemon: Asked) -> Response:
    """What the daemon measures, in the text format of Prometheus."""
    return Response(str(daemon.ask("metrics").get("text", "")), media_type="text/plain")


@router.get("/meshes/{mesh}/members", response_model=m.Members)
def members(
    daemon: Asked,
    mesh: Mesh,
    state: Annotated[list[m.State], Query(default_factory=list, max_length=4, description="Only in these.")],
) -> Response:
    """The members of a mesh, and how they look from here."""
    return json(daemon.ask("members", {"mesh": mesh, **({"state": list(state)} if state else {})}))


@router.get("/meshes/{mesh}/query", response_model=m.Found)
def query(
    daemon: Asked,
    mesh: Mesh,
    expression: Annotated[
        str, Query(min_length=1, max_length=MAX_EXPRESSION, description="JMESPath.", examples=["[?leader].name"])
    ],
) -> Response:
    """What a JMESPath expression finds in the members."""
    return json({"found": found(expression, daemon.ask("members", {"mesh": mesh}).get("members") or [])})


@router.get("/meshes/{mesh}/plan", response_model=m.Plan)
def plan(
    daemon: Asked,
    mesh: Mesh,
    without: Annotated[
        list[m.Name],
        Query(default_factory=list, max_length=64, description="Only what would change if these nodes died."),
    ],
) -> Response:
    """How the interface of a mesh is set, and what would change: now, or if some nodes were gone."""
    return json(daemon.ask("plan", {"mesh": mesh, **({"without": list(without)} if without else {})}))


@router.get("/meshes/{mesh}/convergence", response_model=m.Convergence)
async def convergence(
    daemon: Asked,
    mesh: Mesh,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT, description="seconds to wait until all agree.")] = 0.0,
) -> Response:
    """Whether the others have seen all that this node knows of a mesh, its own last change among it."""
    until, same, before = anyio.current_time() + wait, 0, None
    while True:
        answer: dict[str, Any] = await anyio.to_thread.run_sync(daemon.ask, "converge", {"mesh": mesh})
        done = answer.get("converged") is True
        same = same + 1 if done and answer.get("digest") == before else int(done)
        before = answer.get("digest")
        if same >= SETTLED or anyio.current_time() >= until:
            return json(answer)
        await anyio.sleep(LOOK_EVERY)


@router.get("/meshes/{mesh}/wg-quick", response_model=m.Configuration)
def export(daemon: Asked, mesh: Mesh) -> Response:
    """What is configured now as a file for wg-quick, without the private key."""
    return json({"configuration": wg_quick(daemon.ask("plan", {"mesh": mesh}), None)})


@router.get("/routes", response_model=m.Routes)
def routes(daemon: Asked, mesh: OneMesh = None) -> Response:
    """The ways that members offer, which are taken and why; and what this node offers."""
    return json(daemon.ask("routes", {"mesh": mesh}))


@router.get("/why", response_model=m.Why)
def why(
    daemon: Asked, destination: Annotated[m.Name, Query(description="A member or an address.", examples=["tokyo"])]
) -> Response:
    """By which steps a packet gets there, and by which rule each was chosen."""
    return json(daemon.ask("why", {"destination": destination}))


@router.get("/doctor", response_model=m.Checkup)
def doctor(daemon: Asked) -> Response:
    """What keeps meshes from working on this host, as far as the user of this service can see it."""
    return json(checkup(daemon.ask, None))
