"""Hosts that cannot carry a mesh: without rights, without WireGuard, with a port taken, before a black hole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.hosts import Process, World
from smeg.edges.keyfiles import read_secret
from smeg.errors import LocalError
from smeg.keys import x25519_public
from tests.loopback import TRACEBACK, one_refusal, secrets_of, seen_of_process
from tests.nodes import PATIENCE, Node, make_world, wait_for
from tests.test_nobody_answers import invented_token

NO_RIGHTS = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
HOLD = "import socket, sys; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', int(sys.argv[1])));"
UNUSED, BLACK_HOLE = "10.77.200.1", "10.77.200.2"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture(scope="module")
def backend(world: World) -> str:
    try:
        return world.wireguard()
    except LocalError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def founder(world: World, backend: str) -> Node:
    node = Node(world.host("founder"), backend)
    node.start()
    node.ask("new-mesh", "paris")
    return node


@pytest.fixture(scope="module")
def silent(world: World, founder: Node) -> dict[str, Process]:
    """Joins by way of addresses that do not answer, begun first of all and looked at in the end."""
    node = Node(world.host("silent"), "dry-run")
    node.start()
    # An address whose packets are sent, and never come anywhere.
    argv = ["ip", "neigh", "add", BLACK_HOLE, "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent"]
    node.host.run(argv)
    # A node that runs, and that is in another mesh.
    curve = x25519_public(read_secret(founder.host.folder / "state" / "curve.key"))
    other = str(founder.host.address(4))
    begun = {}
    for name, address, key in (("unused", UNUSED, None), ("blackhole", BLACK_HOLE, None), ("elsewhere", other, curve)):
        (node.host.folder / name).write_text(invented_token(name, address, key))
        argv = ["sh", "-c", f"smeg-cli --json join-mesh {name} >{name}.out 2>{name}.err"]
        begun[name] = node.host.start(argv)
    return begun


def refuses(node: Node, *argv: str, input: str | None = None) -> tuple[str, str]:
    done = node.cli("--json", *argv, check=False, input=input)
    said = one_refusal(done.returncode, done.stdout, done.stderr)
    return said.code, str(said)


def mesh_folders(node: Node) -> list[str]:
    return sorted(path.name for path in (node.host.folder / "state" / "meshes").iterdir())


def unharmed(node: Node) -> None:
    """Healthy, in no mesh, and nothing on its host."""
    assert node.ask("status")["healthy"] is True
    assert node.ask("list-meshes") == {"meshes": []}
    assert node.interfaces() == []
    assert mesh_folders(node) == []
    assert TRACEBACK not in node.log()


def end(node: Node) -> None:
    assert node.daemon is not None
    node.daemon.terminate()
    assert node.daemon.wait(25 * PATIENCE) == 0


def works(node: Node, founder: Node) -> None:
    """It joins when the mistake is mended."""
    node.ask("join-mesh", "-", input=founder.ask("invite", "paris")["token"])
    assert len(node.interfaces()) == 1
    end(node)


def test_a_daemon_that_may_not_make_interfaces(
    world: World, founder: Node, silent: dict[str, Process], backend: str
) -> None:
    node = Node(world.host("powerless"), backend)
    log = node.host.folder / "smeg-node.log"
    node.daemon = node.host.start([*NO_RIGHTS, "smeg-node", "--config", "node.yaml"], log=log)
    wait_for("it answers", node._answers, 15)
    token = founder.ask("invite", "paris")["token"]
    for argv, input in ((("new-mesh", "mine"), None), (("join-mesh", "-"), token)):
        code, said = refuses(node, *argv, input=input)
        assert code == "no-permission"
        assert "smeg-" in said
        assert "CAP_NET_ADMIN" in said or "root" in said
        unharmed(node)
    end(node)
    node.start()
    node.ask("join-mesh", "-", input=token)
    assert len(node.interfaces()) == 1
    end(node)


@pytest.mark.parametrize("kind", ["userspace", "auto"])
def test_a_host_without_wireguard(world: World, founder: Node, backend: str, kind: str) -> None:
    if kind == "auto" and backend == "kernel":
        pytest.skip("the kernel has WireGuard, so this works")
    node = Node(world.host(f"bare-{kind}"), kind, wireguardProgram="no-such-wireguard")
    node.start()
    token = founder.ask("invite", "paris")["token"]
    for argv, input in ((("new-mesh", "mine"), None), (("join-mesh", "-"), token)):
        code, said = refuses(node, *argv, input=input)
        assert code == "no-backend"
        assert "no-such-wireguard" in said
        assert "wireguard-go" in said
        assert ("kernel says" in said) == (kind == "auto")
        unharmed(node)
    end(node)
    mended = Node(node.host, backend)
    mended.start()
    works(mended, founder)


def test_a_new_mesh_takes_the_next_port_when_one_is_in_use(world: World, founder: Node, backend: str) -> None:
    node = Node(world.host("crowded"), backend)
    held = node.host.start(["python3", "-c", HOLD + " sys.stdin.read() or __import__('signal').pause()", "51820"])
    wait_for("the port is held", lambda: ":51820" in node.host.run(["ss", "-uln"]).stdout, 10)
    node.start()
    node.ask("join-mesh", "-", input=founder.ask("invite", "paris")["token"])
    node.ask("new-mesh", "second")
    assert [node.ask("plan", mesh)["listen_port"] for mesh in ("paris", "second")] == [51821, 51822]
    assert node.ask("status")["healthy"] is True

    # A known mesh keeps its port: it waits for it, says so, and goes on when it is free.
    end(node)
    taken = node.host.start(["python3", "-c", HOLD + " sys.stdin.read() or __import__('signal').pause()", "51821"])
    wait_for("the port is held", lambda: ":51821" in node.host.run(["ss", "-uln"]).stdout, 10)
    node.start()
    wait_for("it is missed", lambda: node.ask("status")["problems"] != [], 10)
    (problem,) = node.ask("status")["problems"]
    assert problem["code"] == "port-in-use"
    assert "51821" in problem["message"]
    assert problem["hint"]
    taken.kill9()
    wait_for("it works by itself", lambda: node.ask("status")["healthy"] is True, 15)
    assert node.ask("plan", "paris")["listen_port"] == 51821
    held.kill9()
    end(node)
    assert TRACEBACK not in node.log()


def test_no_secret_is_seen_of_the_processes_of_a_real_mesh(founder: Node) -> None:
    assert founder.daemon is not None
    seen = seen_of_process(founder.daemon.pid)
    assert b"smeg-node" in seen
    assert [secret for secret in secrets_of(founder.host.folder / "state") if secret in seen] == []


def test_addresses_that_do_not_answer_are_named_in_time(world: World, silent: dict[str, Process]) -> None:
    folder: Path = world.hosts["silent"].folder
    other = str(world.hosts["founder"].address(4))
    places = ("unused", UNUSED, "unreachable"), ("blackhole", BLACK_HOLE, "unreachable"), ("elsewhere", other, "")
    for name, address, reason in places:
        status = silent[name].wait(30 * PATIENCE)
        said = one_refusal(status, (folder / f"{name}.out").read_text(), (folder / f"{name}.err").read_text())
        assert said.code == "no-answer"
        assert f"{address}:51800 ({reason}" in said.message, said
    answered = world.hosts["silent"].run(["smeg-cli", "--json", "status"]).stdout
    assert json.loads(answered)["healthy"] is True
    assert json.loads(answered)["meshes"] == []
    assert list((folder / "state" / "meshes").iterdir()) == []
    assert TRACEBACK not in (folder / "smeg-node.log").read_text()
