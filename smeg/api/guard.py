"""What stands before every operation: who may ask, from where, how much and how often.

A page of another site that a browser shows on this host can send requests to loopback, and by DNS rebinding even read
the answers. So a request has to name a host that this service is known by, must not come from elsewhere, and has to
carry the token, which no browser adds by itself. There is no CORS. Source: Fetch Metadata, and RFC 6750 for the token.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smeg.api.answers import refusal
from smeg.api.rates import Bucket
from smeg.errors import Problem
from smeg.keys import Secret

MAX_BODY = 48 * 1024
"""bytes; a request to the daemon has room for them."""
BODY_SECONDS = 10.0
"""for a body to come whole."""
REQUESTS, BURST = 50.0, 200
"""requests with the token a second, and at once."""
WRONG, WRONG_BURST = 5.0, 20
"""requests with a wrong one or none, likewise."""
GUARDED = "/api/"
"""Paths below need the token, but for `OPEN`."""
OPEN = frozenset({"/api/openapi.json"})

_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Rules:
    hosts: frozenset[str]
    """What `Host` may be, in lower case, with the port where there is one."""
    token: Secret


@dataclass(frozen=True, slots=True)
class Refused:
    status: int
    problem: Problem
    headers: Mapping[str, str]


def judge(rules: Rules, method: str, path: str, headers: Headers) -> Refused | None:
    """Why a request may not go on, whatever it asks; None if it may."""
    if [host.lower() for host in headers.getlist("host")] not in [[host] for host in rules.hosts]:
        hint = "ask for localhost, or start smeg-api with --host-name NAME"
        return _refused(403, "host-not-allowed", "this service is not known by the host that was asked for", hint)
    origins = {f"{scheme}://{host}" for host in rules.hosts for scheme in ("http", "https")}
    if any(origin.lower() not in origins for origin in headers.getlist("origin")):
        return _refused(403, "foreign-origin", "another site's page may not ask this service")
    guarded = path.startswith(GUARDED)
    if guarded and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return _refused(403, "foreign-origin", "another site's page may not ask this service")
    if guarded and path not in OPEN and not _has_token(rules.token, headers):
        hint = "send `Authorization: Bearer TOKEN`, the token in the file that smeg-api named when it started"
        challenge = {"www-authenticate": 'Bearer realm="smeg-api"'}
        return _refused(401, "no-token", "this needs the token of this service", hint, challenge)
    return None


def judge_body(method: str, headers: Headers, size: int) -> Refused | None:
    """Whether a body of so many bytes may be read as what it says it is."""
    if size > MAX_BODY:
        return _refused(413, "request-too-big", f"a body has at most {MAX_BODY} bytes")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if size and method not in ("GET", "HEAD") and kind != "application/json":
        return _refused(415, "not-json", "a body has to be JSON", "send `Content-Type: application/json`")
    return None


def _has_token(token: Secret, headers: Headers) -> bool:
    found = headers.getlist("authorization")
    scheme, _, given = found[0].partition(" ") if len(found) == 1 else ("", "", "")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.reveal())


def _refused(status: int, code: str, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> Refused:
    return Refused(status, Problem(code, message, hint), headers or {})


class Guard:
    """Stands around an app. `now` gives seconds that only grow."""

    def __init__(
        self, app: ASGIApp, rules: Rules, now: Callable[[], float], requests: float = REQUESTS, burst: int = BURST
    ) -> None:
        self._app = app
        self._rules = rules
        self._now = now
        self._served = Bucket(requests, burst)
        self._wrong = Bucket(WRONG, WRONG_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        method, path, headers = str(scope["method"]), str(scope["path"]), Headers(scope=scope)
        send = _hardened(send, path)
        refused = judge(self._rules, method, path, headers) or judge_body(method, headers, _declared(headers))
        bucket = self._served if refused is None else self._wrong
        wait = bucket.take(self._now())
        if wait > 0:
            late = {"retry-after": str(max(1, round(wait)))}
            refused = _refused(429, "too-many-requests", "too many requests at once", "wait a second", late)
        body = b""
        if refused is None:
            try:
                body = await asyncio.wait_for(_read(receive), BODY_SECONDS)
                refused = judge_body(method, headers, len(body))
            except TimeoutError:
                refused = _refused(408, "too-slow", f"the body did not come within {BODY_SECONDS:g} s")
        if refused is not None:
            answer = refusal(refused.status, refused.problem)
            answer.headers.update(refused.headers)
            await answer(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else MAX_BODY + 1


async def _read(receive: Receive) -> bytes:
    """A body, or so much of it that it is too long."""
    body = b""
    while len(body) <= MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _hardened(send: Send, path: str) -> Send:
    """Tells browsers to keep nothing of the API, and to let nobody do anything with it."""
    policy = _NOTHING if path.startswith(GUARDED) else _PAGE
    added = {**_ALWAYS, "content-security-policy": policy, "cache-control": "no-store"}

    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = [(name.encode(), value.encode()) for name, value in added.items()]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return hardened
