"""What happens: asked for, or told as it happens by server-sent events (WHATWG HTML, 9.2).

Each stream asks the daemon by itself, twice a second, as `smeg-cli watch` does; a daemon that is restarted is waited
for. The id of an event is the run of the daemon and its number, so who comes back with the last one misses nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import anyio
import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from smeg.api import models as m
from smeg.api.answers import error_fields, json
from smeg.api.daemon import Asked, Daemon
from smeg.api.reading import OneMesh
from smeg.errors import SmegError
from smeg.journal import KEPT

router = APIRouter()

MAX_STREAMS = 16
LOOK_EVERY = 0.5
"""seconds."""
STILL_THERE = 10.0
"""seconds after which something is sent anyway, so that both sides see that the other is there."""
_PERMITS = anyio.CapacityLimiter(MAX_STREAMS)

Last = Annotated[int, Query(ge=0, le=KEPT, description="How many that have happened come first.")]


@router.get("/events", response_model=m.Events)
def events(
    daemon: Asked,
    mesh: OneMesh = None,
    last: Last = 100,
    run: Annotated[str | None, Query(max_length=64, description="What an earlier answer said.")] = None,
    since: Annotated[int | None, Query(ge=0, le=2**53, description="`next` of an earlier answer.")] = None,
) -> Response:
    """The last events, or what came since an earlier answer."""
    place = {"run": run, "since": since} if run is not None and since is not None else {"last": last}
    return json(daemon.ask("events", {"mesh": mesh, **place}))


@router.get(
    "/events/stream",
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream(
    daemon: Asked,
    mesh: OneMesh = None,
    last: Last = 0,
    last_event_id: Annotated[str | None, Header(max_length=128)] = None,
) -> Response:
    """Events as they happen. `away` and `there` say that the daemon does not run, and runs again."""
    try:
        _PERMITS.acquire_on_behalf_of_nowait(permit := object())
    except anyio.WouldBlock:
        raise HTTPException(429, f"{MAX_STREAMS} streams are open") from None
    try:
        first: dict[str, Any] = {"mesh": mesh, **(_place(last_event_id) or {"last": last})}
        # What is wrong with the question is said as an answer, not within the stream.
        answer = await anyio.to_thread.run_sync(daemon.ask, "events", first)
    except BaseException:
        _PERMITS.release_on_behalf_of(permit)
        raise
    return StreamingResponse(_told(daemon, mesh, answer, permit), media_type="text/event-stream")


async def _told(daemon: Daemon, mesh: str | None, answer: Mapping[str, Any], permit: object) -> AsyncIterator[bytes]:
    try:
        quiet, away = 0.0, False
        yield _message("there", {"run": answer.get("run"), "next": answer.get("next")})
        while True:
            for event in answer.get("events") or []:
                yield _message(str(event.get("kind")), event, f"{answer.get('run')}:{event.get('number')}")
                quiet = 0.0
            place = {"mesh": mesh, "run": answer.get("run"), "since": answer.get("next")}
            await anyio.sleep(LOOK_EVERY)
            quiet += LOOK_EVERY
            if quiet >= STILL_THERE:
                yield b": still there\n\n"
                quiet = 0.0
            try:
                answer = await anyio.to_thread.run_sync(daemon.ask, "events", place)
            except SmegError as error:
                answer = {"run": place["run"], "next": place["since"]}
                if not away:
                    yield _message("away", error_fields(error.problem))
                away = True
                continue
            if away:
                yield _message("there", {"run": answer.get("run"), "next": answer.get("next")})
                away = False
    finally:
        _PERMITS.release_on_behalf_of(permit)


def _place(text: str | None) -> dict[str, Any] | None:
    run, _, number = (text or "").rpartition(":")
    return {"run": run, "since": int(number) + 1} if run and number.isascii() and number.isdigit() else None


def _message(kind: str, content: Mapping[str, Any], place: str = "") -> bytes:
    """JSON has no line breaks, and so no field of the stream can be forged by what it holds."""
    name = kind if kind.isascii() and kind.replace("-", "").isalnum() else "event"
    head = f"id: {place}\n" if place and place.isprintable() else ""
    return f"{head}event: {name}\ndata: ".encode() + orjson.dumps(content) + b"\n\n"
