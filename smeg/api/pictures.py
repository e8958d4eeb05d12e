"""The meshes as a graph."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from smeg.api import models as m
from smeg.api.answers import json
from smeg.api.daemon import Asked
from smeg.cli.graphs import PICTURES, draw, graph_asked, plain
from smeg.graph_text import dot, mermaid

router = APIRouter()

Format = Literal["json", "dot", "mermaid", "svg", "png"]
_TYPES = {"dot": "text/vnd.graphviz", "mermaid": "text/vnd.mermaid", "svg": "image/svg+xml", "png": "image/png"}


@router.get("/graph", response_model=m.Graph, responses={200: {"content": {kind: {} for kind in _TYPES.values()}}})
def graph(
    daemon: Asked,
    mesh: Annotated[list[m.Name], Query(default_factory=list, max_length=64, description="Only these.")],
    format: Annotated[Format, Query(description="SVG and PNG are drawn by Graphviz.")] = "json",
) -> Response:
    """Meshes, members by role and liveness, bridges, ways, exits and services, as nodes and edges."""
    found = graph_asked(daemon.ask, tuple(mesh))
    if format == "json":
        return json(plain(found))
    text = mermaid(found) if format == "mermaid" else dot(found)
    data = draw(text, format, len(found.nodes)) if format in PICTURES else text.encode()
    return Response(data, media_type=_TYPES[format])
