"""Every backend against the same checks: in memory, on a userspace process, and on a kernel that has WireGuard.

Each check on a real device has network, mount and process namespaces of its own, with a private /run, so that whatever
goes wrong in it ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from smeg.device import Endpoint
from smeg.edges.backends import open_backend
from smeg.edges.underlay import MESH_PREFIX, local_addresses, reachable, resolve
from smeg.errors import LocalError
from tests import backend_conformance
from tests.backend_conformance import CHECKS, PROGRAM, kernel_refusal, spec

ROOT = Path(__file__).parents[1]
SECONDS = 600
"""For one check; ample on an emulated machine."""
APART = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
INSIDE = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"'


@cache
def reason_to_skip(kind: str) -> str | None:
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    apart = subprocess.run([*APART, "sh", "-c", INSIDE, "sh", "true"], check=False, capture_output=True, text=True)
    if apart.returncode:
        return f"needs namespaces: {apart.stderr.strip()}"
    if not shutil.which("wg"):
        return "needs wg, to compare with"
    if kind == "userspace" and not shutil.which(PROGRAM):
        return f"needs {PROGRAM}"
    if kind == "userspace" and not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    refusal = kernel_refusal() if kind == "kernel" else None
    return f"this kernel has no WireGuard: {refusal}" if refusal else None


def in_a_namespace(*command: str) -> None:
    done = subprocess.run(
        [*APART, "sh", "-c", INSIDE, "sh", *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=SECONDS,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize(
    ("kind", "check"),
    [
        pytest.param(kind, check.__name__, marks=[pytest.mark.kernel] if kind == "kernel" else [])
        for kind, checks in CHECKS.items()
        for check in checks
    ],
)
def test_backend(kind: str, check: str) -> None:
    if kind == "dry-run":
        backend_conformance.main(kind, [check])
        return
    reason = reason_to_skip(kind)
    if reason:
        pytest.skip(reason)
    in_a_namespace(sys.executable, "-m", backend_conformance.__name__, kind, check)


def test_an_unknown_kind_of_backend_is_refused() -> None:
    with pytest.raises(LocalError) as caught:
        open_backend("magic", PROGRAM, spec())
    assert caught.value.problem.code == "bad-backend"


def test_a_literal_address_is_its_own_answer() -> None:
    assert resolve("192.0.2.1", 51820) == (Endpoint("192.0.2.1", 51820),)
    assert resolve("[2001:DB8:0::1]", 1) == (Endpoint("2001:db8::1", 1),)
    assert resolve("::ffff:192.0.2.1", 1) == (Endpoint("192.0.2.1", 1),)


def test_a_host_name_is_looked_up() -> None:
    assert {endpoint.host for endpoint in resolve("localhost", 5)} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["", "x" * 70, "a b", "nobody.invalid"])
def test_a_name_that_means_nothing_is_unresolvable(host: str) -> None:
    with pytest.raises(LocalError) as caught:
        resolve(host, 5)
    assert caught.value.problem.code == "unresolvable"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(LocalError) as caught:
        resolve("192.0.2.1", port)
    assert caught.value.problem.code == "bad-endpoint"


def test_the_loopback_is_reachable_and_a_name_is_no_endpoint() -> None:
    assert reachable(Endpoint("127.0.0.1", 9))
    assert not reachable(Endpoint("not-an-address", 9))


def test_addresses_of_meshes_loopback_and_links_are_not_offered() -> None:
    assert not [address for address in local_addresses() if address.startswith(("127.", "::1", "fe80"))]


@pytest.mark.parametrize(
    ("address", "device", "routed", "offered"),
    [
        ("2001:db8:5::1/64", "veth", False, ("192.0.2.9", "2001:db8:5::1")),
        ("2001:db8:5::1/64", "veth", True, ("192.0.2.9", "2001:db8:5::1")),
        ("fd00:5::1/64", f"{MESH_PREFIX}far", False, ("192.0.2.9",)),
        ("fd00:5::1/64", f"{MESH_PREFIX}far", True, ("192.0.2.9",)),
    ],
)
def test_local_addresses_are_those_of_interfaces_that_are_no_mesh(
    address: str, device: str, routed: bool, offered: tuple[str, ...]
) -> None:
    reason = reason_to_skip("underlay")
    if reason:
        pytest.skip(reason)
    setup = (
        f"ip link add plain type veth peer name {device} && ip addr add 192.0.2.9/32 dev plain"
        f" && ip link set plain up && ip link set {device} up && ip addr add {address} dev {device} nodad"
    )
    if routed:
        setup += f" && ip -6 route add default dev {device}"
    ask = f"from smeg.edges.underlay import local_addresses as found; assert found() == {offered!r}, found()"
    in_a_namespace("sh", "-c", f"{setup} && exec {sys.executable} -c '{ask.replace(chr(39), chr(34))}'")
