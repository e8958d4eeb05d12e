"""Answers as bytes: JSON as the daemon gave it, and refusals in one form: `{"error": {"code", "message", "hint"}}`."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from smeg.api.daemon import status_of
from smeg.cli.program import without_token
from smeg.errors import Problem, SmegError

_MOST = 5
"""mistakes of one request that are named."""


def json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def refusal(status: int, problem: Problem) -> Response:
    return json({"error": error_fields(problem)}, status)


def error_fields(problem: Problem) -> dict[str, str]:
    """As JSON. No token is repeated, wherever it was put by mistake."""
    said = {"code": problem.code, "message": problem.message, "hint": problem.hint}
    return {name: without_token(text).encode(errors="replace").decode() for name, text in said.items()}


def install_refusals(app: FastAPI) -> None:
    """Have all that goes wrong answered in the one form."""

    @app.exception_handler(SmegError)
    def smeg_error(request: Request, error: SmegError) -> Response:
        return refusal(status_of(error.problem), error.problem)

    @app.exception_handler(RequestValidationError)
    def unreadable(request: Request, error: RequestValidationError) -> Response:
        words = "; ".join(_mistake(one) for one in error.errors()[:_MOST])
        return refusal(422, Problem("bad-request", words, "see /api/openapi.json for what is expected"))

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        code = {404: "unknown-path", 405: "bad-method"}.get(error.status_code, "bad-request")
        # A body that is no text is as unreadable as one that is no JSON.
        status = 422 if error.status_code == 400 else error.status_code
        said = refusal(status, Problem(code, str(error.detail), "see /api/openapi.json for what there is"))
        for name, value in (error.headers or {}).items():
            said.headers[name] = value
        return said

    @app.exception_handler(Exception)
    def internal(request: Request, error: Exception) -> Response:
        # Not its words: they may hold what was handed in.
        words = f"smeg-api itself failed: {type(error).__name__}"
        return refusal(500, Problem("internal", words, "please report this"))


def known_parameters(request: Request) -> None:
    """A dependency of all operations: a parameter that is not known, as one with a typing error, is not passed over."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute), "it is used for operations only"
    known = {field.alias for field in route.dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise RequestValidationError([{"loc": ("query", name[:64]), "msg": "is not known"}])


def _mistake(one: Any) -> str:
    """Where, and what; without the value, which may be a token."""
    return f"{'.'.join(str(part) for part in one.get('loc', ()))}: {one.get('msg', 'is wrong')}"
