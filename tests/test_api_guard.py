"""Who may ask the API: nobody without the token, no page of another site, nothing too large, too slow or too often."""

from __future__ import annotations

import grp
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from smeg.api.guard import MAX_BODY, WRONG_BURST, Rules, judge, judge_body
from smeg.api.main import known_hosts
from smeg.api.rates import Bucket
from smeg.api.serving import MAX_CONNECTIONS
from smeg.keys import Secret
from tests.api_service import Service, api_service
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.nodes import PATIENCE

TOKEN = "t" * 43
RULES = Rules(known_hosts("127.0.0.1", 51880, ("mesh.example",)), Secret(TOKEN.encode()))
GOOD = [("host", "localhost:51880"), ("authorization", f"Bearer {TOKEN}")]
PATH = "/api/v2/meshes"
NOBODY = 65534


def verdict(headers: list[tuple[str, str]], path: str = PATH) -> str:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    refused = judge(RULES, "GET", path, Headers(raw=raw))
    return refused.problem.code if refused is not None else "passes"


def without(name: str) -> list[tuple[str, str]]:
    return [header for header in GOOD if header[0] != name]


def test_the_token_and_a_known_host_are_enough() -> None:
    assert verdict(GOOD) == "passes"
    for host in ("127.0.0.1:51880", "[::1]:51880", "LOCALHOST:51880", "mesh.example"):
        assert verdict([("host", host), *without("host")]) == "passes"
    assert verdict([*GOOD, ("origin", "http://localhost:51880"), ("sec-fetch-site", "same-origin")]) == "passes"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost", "localhost:1", "localhost:51880.evil.example", "", "127.0.0.1.nip.io:51880"]
)
def test_another_host_is_refused_even_with_the_token(host: str) -> None:
    assert verdict([("host", host), *without("host")]) == "host-not-allowed"


def test_no_host_and_two_hosts_are_refused() -> None:
    assert verdict(without("host")) == "host-not-allowed"
    assert verdict([*GOOD, ("host", "localhost:51880")]) == "host-not-allowed"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8000", "http://localhost", ""])
def test_another_origin_is_refused_even_with_the_token(origin: str) -> None:
    assert verdict([*GOOD, ("origin", origin)]) == "foreign-origin"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_what_a_browser_sends_for_another_site_is_refused(site: str) -> None:
    assert verdict([*GOOD, ("sec-fetch-site", site)]) == "foreign-origin"
    assert verdict([*without("authorization"), ("sec-fetch-site", site)], "/") == "passes"


@pytest.mark.parametrize(
    "said", ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", TOKEN, f"Bearer {TOKEN}, x"]
)
def test_anything_but_the_token_is_refused(said: str) -> None:
    assert verdict([*without("authorization"), ("authorization", said)]) == "no-token"


def test_two_tokens_or_none_are_refused_and_the_page_needs_none() -> None:
    assert verdict([*GOOD, ("authorization", f"Bearer {TOKEN}")]) == "no-token"
    assert verdict(without("authorization")) == "no-token"
    assert verdict(without("authorization"), "/") == "passes"
    assert verdict(without("authorization"), "/api/openapi.json") == "passes"
    assert verdict(without("authorization"), "/api/") == "no-token"


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_other_text_is_the_token(text: str) -> None:
    assert verdict([*without("authorization"), ("authorization", f"Bearer {text}")]) == "no-token"


def test_only_json_of_a_bounded_size_is_read() -> None:
    def said(kind: str, size: int) -> int:
        refused = judge_body("POST", Headers({"content-type": kind} if kind else {}), size)
        return refused.status if refused is not None else 200

    assert said("application/json", MAX_BODY) == 200
    assert said("application/json; charset=utf-8", 1) == 200
    assert said("application/json", MAX_BODY + 1) == 413
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"):
        assert said(kind, 1) == 415


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(steps: list[float]) -> None:
    bucket, now, given_ = Bucket(2.0, 5), 0.0, 0
    for step in steps:
        now += step
        wait = bucket.take(now)
        given_ += wait == 0
        assert given_ <= 5 + 2.0 * now + 1e-6
        assert wait <= 0.5


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path_factory.mktemp("daemon") / "run" / "control.sock") as made:
        made.answers["list-meshes"] = {"meshes": []}
        made.answers["new-mesh"] = {"mesh": {}}
        yield made


@pytest.fixture(scope="module")
def api(daemon: CannedDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with api_service(tmp_path_factory.mktemp("service"), daemon.path) as service:
        yield service


def test_a_refused_request_never_reaches_the_daemon(api: Service, daemon: CannedDaemon) -> None:
    token, made = {"Authorization": f"Bearer {api.token}"}, b'{"name": "paris"}'
    json_kind = {"Content-Type": "application/json"}
    refused = (
        (401, made, json_kind),
        (403, made, {**token, **json_kind, "Origin": "https://evil.example"}),
        (403, made, {**token, **json_kind, "Host": "evil.example"}),
        (403, made, {**token, **json_kind, "Sec-Fetch-Site": "cross-site"}),
        (415, b"name=paris", {**token, "Content-Type": "application/x-www-form-urlencoded"}),
        (415, made, {**token, "Content-Type": "text/plain"}),
        (413, b" " * (MAX_BODY + 1), {**token, **json_kind}),
        (422, b"{", {**token, **json_kind}),
        (422, b'{"name": "paris", "more": 1}', {**token, **json_kind}),
    )
    for status, body, headers in refused:
        found, _, answer = api.send("POST", PATH, body, headers)
        assert (found, set(json.loads(answer)["error"])) == (status, {"code", "message", "hint"})
    assert not daemon.asked
    assert api.ask("POST", PATH, {"name": "paris"})[0] == 201
    assert [command.name for command in daemon.asked] == ["new-mesh"]


def test_a_body_without_a_length_is_cut_off_where_it_is_too_long(api: Service) -> None:
    connection = api.connect()
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    chunks = (b" " * 8192 for _ in range(8))
    connection.request("POST", PATH, chunks, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_every_answer_tells_browsers_to_keep_and_embed_nothing(api: Service) -> None:
    for path in ("/", PATH, "/nowhere", "/api/nowhere"):
        _, headers, _ = api.send("GET", path, headers={"Authorization": f"Bearer {api.token}"})
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert not any(name.startswith("access-control") for name in headers)
        assert "server" not in headers


def test_there_is_no_preflight_that_could_succeed(api: Service) -> None:
    asked = {"Origin": api.url, "Access-Control-Request-Method": "POST", "Authorization": f"Bearer {api.token}"}
    status, headers, _ = api.send("OPTIONS", PATH, headers=asked)
    assert status == 405
    assert not any(name.startswith("access-control") for name in headers)


def test_who_guesses_tokens_is_slowed_down_and_who_has_it_is_not(tmp_path: Path, daemon: CannedDaemon) -> None:
    with api_service(tmp_path, daemon.path) as api:
        statuses = [api.send("GET", PATH, headers={"Authorization": "Bearer guess"})[0] for _ in range(WRONG_BURST * 3)]
        assert statuses[:WRONG_BURST] == [401] * WRONG_BURST
        assert 429 in statuses
        assert api.get(PATH) == {"meshes": []}


def test_what_is_no_http_and_too_long_a_head_are_refused(api: Service) -> None:
    for sent in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", api.port), timeout=30) as raw:
            raw.sendall(sent)
            answer = raw.recv(65536)
            assert not answer or answer.startswith(b"HTTP/1.1 400")
    assert api.get(PATH) == {"meshes": []}


def test_a_connection_on_which_nothing_whole_comes_is_closed(api: Service) -> None:
    silent = socket.create_connection(("127.0.0.1", api.port), timeout=60 * PATIENCE)
    half = socket.create_connection(("127.0.0.1", api.port), timeout=60 * PATIENCE)
    half.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    with silent, half:
        assert silent.recv(1) == b""
        assert half.recv(1) == b""


def test_who_holds_connections_in_silence_keeps_nobody_out(api: Service) -> None:
    with ExitStack() as held:
        for number in range(2 * MAX_CONNECTIONS):
            silent = held.enter_context(socket.create_connection(("127.0.0.1", api.port)))
            with suppress(ConnectionError):
                silent.sendall(b"GET /api/v2/meshes HTTP/1.1\r\nHost: " if number % 2 else b"")
        for _ in range(3):
            assert api.get(PATH) == {"meshes": []}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_runs_as_a_user_who_has_nothing_but_the_control_group(daemon: CannedDaemon) -> None:
    group = grp.getgrnam("games")
    with tempfile.TemporaryDirectory(prefix="smeg-api-") as folder:
        open_folder, own = Path(folder), Path(folder) / "own"
        open_folder.chmod(0o755)
        own.mkdir(mode=0o700)
        os.chown(own, NOBODY, group.gr_gid)
        with canned_daemon(open_folder / "run" / "control.sock", group.gr_name) as canned:
            canned.answers.update(daemon.answers)
            with api_service(own, canned.path, user=(NOBODY, group.gr_gid)) as api:
                assert api.get(PATH) == {"meshes": []}
                assert (own / "api.token").stat().st_uid == NOBODY
            with api_service(own, canned.path, user=(NOBODY, NOBODY)) as api:
                status, answer = api.ask("GET", PATH)
                assert (status, answer["error"]["code"]) == (503, "no-permission")
