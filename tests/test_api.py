"""The API does what the command line does, to real daemons, and says what went wrong in one form."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api_service import Service, api_service
from tests.loopback import PROGRAMS, Daemon, end_at_last, form_mesh
from tests.nodes import wait_for

MESH = "/api/v2/meshes/paris"


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    folder = tmp_path_factory.mktemp("api")
    with end_at_last() as make:
        made = [make(folder / f"d{number}") for number in range(3)]
        for daemon in made:
            daemon.start()
        form_mesh("paris", *made)
        wait_for("all know all", lambda: all(len(daemon.members("paris")) == 3 for daemon in made), 20)
        yield made


@pytest.fixture(scope="module")
def api(daemons: list[Daemon], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with api_service(tmp_path_factory.mktemp("service"), daemons[0].socket) as service:
        yield service


def test_what_is_read_is_what_the_daemon_says(api: Service, daemons: list[Daemon]) -> None:
    own = daemons[0]
    assert {row["name"] for row in api.get(f"{MESH}/members")["members"]} == {"d0", "d1", "d2"}
    assert api.get("/api/v2/meshes")["meshes"][0]["id"] == own.meshes()["paris"]["id"]
    assert api.get("/api/v2/status?mesh=paris")["node"] == own.ask("status")["node"]
    assert api.get("/api/v2/routes") == own.ask("routes", mesh=None)
    assert api.get("/api/v2/why?destination=d1") == own.ask("why", destination="d1")
    assert api.get(f"{MESH}/plan") == own.ask("plan", mesh="paris")
    gone = api.get(f"{MESH}/plan?without=d1&without=d2")["changes"]
    assert gone == own.ask("plan", mesh="paris", without=["d1", "d2"])["changes"]
    assert gone


def test_members_are_chosen_by_state_and_found_by_a_query(api: Service) -> None:
    assert api.get(f"{MESH}/members?state=pruned&state=quarantined")["members"] == []
    found = api.get(f"{MESH}/query?expression=%5B%3Fself%5D.name")["found"]
    assert found == ["d0"]
    status, answer = api.ask("GET", f"{MESH}/query?expression=%5B")
    assert (status, answer["error"]["code"]) == (400, "bad-query")


def test_a_query_that_asks_for_too_much_fails_alone(api: Service) -> None:
    doubling = "%7C".join(["%5B%40%2C%40%5D%5B%5D"] * 60)
    status, answer = api.ask("GET", f"{MESH}/query?expression={doubling}")
    assert (status, answer["error"]["code"]) == (400, "bad-query")
    assert api.get("/api/v2/status")["healthy"]


def test_the_graph_comes_as_json_and_as_text(api: Service) -> None:
    graph = api.get("/api/v2/graph")
    assert sorted(node["kind"] for node in graph["nodes"]) == ["mesh", "peer", "peer", "peer"]
    for form, kind, begins in (("dot", "text/vnd.graphviz", b"graph"), ("mermaid", "text/vnd.mermaid", b"flowchart")):
        status, headers, data = api.send(
            "GET", f"/api/v2/graph?mesh=paris&format={form}", headers={"Authorization": f"Bearer {api.token}"}
        )
        assert status == 200
        assert headers["content-type"].startswith(kind)
        assert begins in data


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_the_graph_comes_as_a_picture(api: Service) -> None:
    for form, kind, begins in (("svg", "image/svg+xml", b"<?xml"), ("png", "image/png", b"\x89PNG")):
        status, headers, data = api.send(
            "GET", f"/api/v2/graph?format={form}", headers={"Authorization": f"Bearer {api.token}"}
        )
        assert (status, headers["content-type"].partition(";")[0]) == (200, kind)
        assert data.startswith(begins)


def test_what_this_node_says_of_itself_is_changed(api: Service, daemons: list[Daemon]) -> None:
    assert api.ask("PUT", f"{MESH}/alias", {"alias": "web"})[1]["alias"] == "web"
    assert api.ask("PUT", f"{MESH}/description", {"description": "a shop"})[1]["description"] == "a shop"
    said = api.ask("PUT", f"{MESH}/services/http", {"port": 80, "text": ["path=/"]})[1]
    assert said["services"] == [{"name": "http", "port": 80, "protocol": "tcp", "text": ["path=/"]}]
    wait_for("the others know", lambda: daemons[1].members("paris")["d0"]["alias"] == "web", 10)
    assert api.get(f"{MESH}/convergence?wait=20")["converged"]
    assert daemons[2].members("paris")["d0"]["description"] == "a shop"
    assert api.ask("DELETE", f"{MESH}/services/http")[1]["services"] == []
    status, answer = api.ask("DELETE", f"{MESH}/services/http?protocol=tcp")
    assert (status, answer["error"]["code"]) == (404, "unknown-service")


def test_a_mesh_is_made_joined_and_left(api: Service, daemons: list[Daemon]) -> None:
    status, made = api.ask("POST", "/api/v2/meshes", {"name": "rome"})
    assert (status, made["mesh"]["name"]) == (201, "rome")
    status, invite = api.ask("POST", "/api/v2/meshes/rome/invites?qr=true", {"expires": 600})
    assert status == 201
    assert invite["qr"].startswith("<svg")
    with api_service(api.folder / "second", daemons[1].socket) as second:
        status, joined = second.ask("POST", "/api/v2/meshes/join", {"token": invite["token"]})
        assert (status, joined["mesh"]) == (201, made["mesh"])
        wait_for("it is a member", lambda: "d1" in daemons[0].members("rome"), 10)
        assert second.ask("DELETE", "/api/v2/meshes/rome")[0] == 200
    assert "rome" not in daemons[1].meshes()
    assert api.ask("DELETE", "/api/v2/meshes/rome")[1]["keys"]
    status, answer = api.ask("DELETE", "/api/v2/meshes/rome")
    assert (status, answer["error"]["code"]) == (404, "unknown-mesh")


def test_an_evicted_member_is_gone_for_ever(api: Service, daemons: list[Daemon], tmp_path: Path) -> None:
    with end_at_last() as make:
        victim = make(tmp_path / "victim")
        victim.start()
        victim.ask("join-mesh", token=daemons[0].invite("paris"))
        wait_for("it is a member", lambda: "victim" in daemons[0].members("paris"), 10)
        status, answer = api.ask("POST", f"{MESH}/evictions", {"node": "victim", "reason": "a test"})
        assert (status, answer) == (201, {"evicted": "victim"})
        wait_for("all know", lambda: "victim" not in daemons[2].members("paris"), 10)


def test_a_phone_is_let_in_by_a_picture_and_let_in_no_more(api: Service, daemons: list[Daemon]) -> None:
    status, made = api.ask("POST", f"{MESH}/devices?qr=true", {"name": "phone", "expires": 3600})
    assert (status, made["qr"][:4]) == (201, "<svg")
    assert f"Address = {made['address']}" in made["configuration"]
    assert "PrivateKey = " in made["configuration"]
    wait_for("it is listed", lambda: "statics" in api.get(f"{MESH}/members"), 10)
    assert [row["name"] for row in api.get(f"{MESH}/members")["statics"]] == ["phone"]
    assert api.ask("POST", f"{MESH}/devices", {"name": "phone"})[1]["error"]["code"] == "name-taken"
    assert api.ask("DELETE", f"{MESH}/devices/phone") == (200, {"name": "phone"})
    status, answer = api.ask("DELETE", f"{MESH}/devices/phone")
    assert (status, answer["error"]["code"]) == (404, "unknown-static")
    assert "PrivateKey" not in api.log.read_text() + daemons[0].log()


def test_a_phone_behind_another_node_is_evicted(api: Service, daemons: list[Daemon], tmp_path: Path) -> None:
    daemons[1].does("export", "paris", "--static", "lost", "--output", str(tmp_path / "lost.conf"))
    wait_for("it is listed", lambda: "statics" in api.get(f"{MESH}/members"), 10)
    assert api.ask("DELETE", f"{MESH}/devices/lost")[0] == 404
    assert api.ask("POST", f"{MESH}/evictions", {"node": "lost"}) == (201, {"evicted": "lost"})
    wait_for("all know", lambda: "statics" not in daemons[2].ask("members", mesh="paris"), 10)


def test_the_configuration_is_read_again(api: Service, daemons: list[Daemon]) -> None:
    assert api.ask("POST", "/api/v2/reload") == (200, {"changed": [], "restart": []})
    daemons[0].configure(heartBeatInterval=0.6)
    status, answer = api.ask("POST", "/api/v2/reload")
    assert (status, [*answer["changed"], *answer["restart"]]) == (200, ["heartBeatInterval"])


def test_the_rest_of_the_command_line_is_there_too(api: Service) -> None:
    assert "[Interface]" in api.get(f"{MESH}/wg-quick")["configuration"]
    assert "PrivateKey = " not in api.get(f"{MESH}/wg-quick")["configuration"]
    assert {"check", "state", "message", "hint"} == set(api.get("/api/v2/doctor")["checks"][0])
    assert "#gossipPort" in api.get("/api/v2/configuration")["configuration"]
    status, answer = api.ask("POST", "/api/v2/configuration/check", {"text": "name: x\nmtu: 1"})
    assert (status, answer["error"]["code"]) == (400, "bad-configuration")
    old = api.ask("POST", "/api/v2/configuration/check", {"text": 'gRPCPort: "4000"\n'})[1]
    assert old["configuration"] == "gossipPort: 4000\n"
    status, answer = api.ask("POST", "/api/v2/pings", {"node": "d1", "count": 1})
    # Without an interface nothing comes back.
    assert (status, answer["sent"] >= answer["received"]) == (200, True)
    assert api.ask("POST", "/api/v2/pings", {"node": "::1"})[1]["error"]["code"] == "not-reached"


def test_events_are_told_as_they_happen_and_none_is_missed(api: Service) -> None:
    with_token = {"Authorization": f"Bearer {api.token}"}
    before = api.get("/api/v2/events?last=0")
    connection = api.connect()
    connection.request("GET", "/api/v2/events/stream?mesh=paris", headers=with_token)
    stream = connection.getresponse()
    assert stream.getheader("content-type", "").startswith("text/event-stream")
    assert _next(stream)["event"] == "there"
    api.ask("POST", "/api/v2/meshes", {"name": "oslo"})
    api.ask("DELETE", "/api/v2/meshes/oslo")
    later = api.get(f"/api/v2/events?run={before['run']}&since={before['next']}")["events"]
    assert {"mesh-known", "mesh-ended"} <= {event["kind"] for event in later}
    connection.close()
    again = api.connect()
    place = {**with_token, "Last-Event-ID": f"{before['run']}:{before['next'] - 1}"}
    again.request("GET", "/api/v2/events/stream", headers=place)
    stream = again.getresponse()
    told = [_next(stream) for _ in range(len(later) + 1)][1:]
    assert [json.loads(event["data"]) for event in told] == later
    assert told[0]["id"] == f"{before['run']}:{later[0]['number']}"
    again.close()


def _next(stream: http.client.HTTPResponse) -> dict[str, str]:
    """One event: its fields."""
    fields: dict[str, str] = {}
    while (line := stream.readline().decode().rstrip("\n")) or not fields:
        name, separator, value = line.partition(": ")
        if separator and name:
            fields[name] = value
    return fields


def test_there_are_only_so_many_streams(api: Service) -> None:
    opened = []
    for _ in range(40):
        connection = api.connect()
        connection.request("GET", "/api/v2/events/stream", headers={"Authorization": f"Bearer {api.token}"})
        response = connection.getresponse()
        opened.append(connection)
        if response.status != 200:
            break
    assert response.status == 429
    assert json.loads(response.read())["error"]["code"] == "bad-request"
    for connection in opened:
        connection.close()
    wait_for("there is room again", lambda: _streams(api), 20)


def _streams(api: Service) -> bool:
    connection = api.connect()
    try:
        connection.request("GET", "/api/v2/events/stream", headers={"Authorization": f"Bearer {api.token}"})
        return connection.getresponse().status == 200
    finally:
        connection.close()


def test_the_predecessors_paths_answer_in_its_form(api: Service, daemons: list[Daemon]) -> None:
    (mesh,) = [mesh for mesh in api.get("/api/v1/meshes") if mesh["meshid"] == daemons[0].meshes()["paris"]["id"]]
    assert mesh == _timeless(api.get(f"/api/v1/mesh/{mesh['meshid']}"), mesh)
    row = daemons[0].members("paris")["d1"]
    node = mesh["nodes"][f"{row['address']}/128"]
    assert (node["publicKey"], node["alias"], node["wgEndpoint"]) == (row["wireguard"], "d1", row["endpoints"][0])
    assert node["stats"]["allowedIps"] == [f"{row['address']}/128"]
    assert set(node) == {
        "alias", "wgHost", "wgEndpoint", "endpoint", "timestamp", "description", "publicKey", "routes", "services",
        "stats",
    }  # fmt: skip
    status, made = api.ask("POST", "/api/v1/mesh/create", {})
    assert (status, set(made)) == (200, {"meshid"})
    token = daemons[0].invite(made["meshid"])
    with api_service(api.folder / "third", daemons[1].socket) as third:
        asked = {"bootstrap": token, "meshid": made["meshid"]}
        assert third.ask("POST", "/api/v1/mesh/join", asked) == (200, {"status": "success"})
        asked = {"bootstrap": "192.0.2.1:4000", "meshid": made["meshid"]}
        status, refused = third.ask("POST", "/api/v1/mesh/join", asked)
        assert status == 400
        assert "token" in refused["error"]
        third.ask("DELETE", f"/api/v2/meshes/{made['meshid']}")
    assert "wireguardPort" in api.ask("POST", "/api/v1/mesh/create", {"port": 4000})[1]["error"]
    assert api.ask("GET", "/api/v1/mesh/nowhere")[0] == 404
    assert api.ask("DELETE", f"/api/v2/meshes/{made['meshid']}")[0] == 200


def _timeless(mesh: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    for host, node in mesh["nodes"].items():
        node["timestamp"] = like["nodes"][host]["timestamp"]
    return mesh


def test_no_token_is_ever_repeated_or_logged(api: Service, daemons: list[Daemon]) -> None:
    token = daemons[0].invite("paris")
    for method, path, content in (
        ("POST", "/api/v2/meshes/join", {"token": token[:-4]}),
        ("POST", "/api/v2/meshes/join", {"tokens": token}),
        ("POST", "/api/v2/meshes/join", {"token": [token]}),
        ("GET", f"/api/v2/meshes/{token[:100]}/members", None),
        ("POST", f"{MESH}/evictions", {"node": token[:100]}),
    ):
        status, answer = api.ask(method, path, content)
        assert 400 <= status < 500
        assert token[10:50] not in json.dumps(answer)
    assert token[10:50] not in api.log.read_text()
    assert api.token not in api.log.read_text()


def test_a_daemon_that_does_not_run_is_said_and_waited_for(tmp_path: Path) -> None:
    with end_at_last() as make, api_service(tmp_path / "api", tmp_path / "d" / "run" / "control.sock") as api:
        status, answer = api.ask("GET", "/api/v2/status")
        assert (status, answer["error"]["code"]) == (503, "daemon-not-running")
        make(tmp_path / "d").start()
        assert api.get("/api/v2/status")["name"] == "d"


def test_the_token_is_made_once_in_a_private_file_and_not_taken_from_an_open_one(tmp_path: Path) -> None:
    with api_service(tmp_path, tmp_path / "none") as api:
        first = api.token
    with api_service(tmp_path, tmp_path / "none") as api:
        assert api.token == first
    file = tmp_path / "api.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert "open to others" in _fails("--token-file", str(file))
    file.chmod(0o600)
    file.write_text("short\n")
    assert "32 to 512" in _fails("--token-file", str(file))


def test_it_listens_only_where_the_token_is_safe(tmp_path: Path) -> None:
    said = _fails("--token-file", str(tmp_path / "token"), "--listen", "0.0.0.0")
    assert "in the clear" in said
    assert not (tmp_path / "token").exists()


def _fails(*argv: str) -> str:
    done = subprocess.run(
        [PROGRAMS / "smeg-api", *argv], capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "\nhint: " in done.stderr
    return done.stderr
