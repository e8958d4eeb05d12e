"""The application: all operations, their description, and the page. `Guard` stands around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from smeg import __version__
from smeg.api import changing, configuration, events, pictures, predecessor_paths, reading
from smeg.api.answers import install_refusals, known_parameters
from smeg.api.daemon import Daemon
from smeg.api.models import Failure

PAGE = Path(__file__).parent / "page"

_SAID = {
    400: "What is asked makes no sense.",
    401: "No token, or a wrong one.",
    403: "From another site, or for another host.",
    404: "There is no such mesh, node, service or path.",
    408: "The body did not come in time.",
    409: "It cannot be done as things are.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    422: "The request does not have the form that is described here.",
    429: "Too many requests, or streams.",
    501: "A program that this needs is not installed.",
    502: "The daemon's answer makes no sense here: it is of another release.",
    503: "The daemon does not run, or is not ready.",
    504: "The daemon did not answer in time.",
}


def make_app(daemon: Daemon) -> FastAPI:
    app = FastAPI(
        title="smegmesh",
        version=__version__,
        summary="The meshes of a node: all that smeg-cli can do.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation,
    )
    app.state.daemon = daemon
    said: dict[int | str, dict[str, Any]] = {
        status: {"model": Failure, "description": words} for status, words in _SAID.items()
    }
    # Guard asks for the token; this only says so in the description.
    token = Security(HTTPBearer(auto_error=False, description="The line in smeg-api's token file."))
    always = [token, Depends(known_parameters)]
    for module in (reading, changing, configuration, events, pictures):
        app.include_router(module.router, prefix="/api/v2", responses=said, dependencies=always)
    app.include_router(
        predecessor_paths.router,
        prefix="/api/v1",
        responses={status: said[status] for status in (401, 403, 408, 413, 415, 422, 429)},
        dependencies=always,
        tags=["predecessor"],
    )
    install_refusals(app)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _operation(route: APIRoute) -> str:
    return route.name
