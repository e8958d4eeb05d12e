"""What every WireGuard backend must do, as checks by name: `python -m tests.backend_conformance KIND [CHECK ...]`.

The checks on real devices act on the network namespace that they run in and on /run, so they belong into private
ones; `tests/test_backends.py` sees to that. Each leaves the namespace as it was.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv6Interface, IPv6Network
from pathlib import Path

from smeg.device import (
    MARK,
    AddAddress,
    AddRoute,
    Backend,
    DeviceState,
    Endpoint,
    InterfaceSpec,
    Operation,
    RemoveAddress,
    RemovePeer,
    RemoveRoute,
    SetInterface,
    SetPeer,
    Table,
    WgPeer,
)
from smeg.edges.backends import open_backend
from smeg.edges.routes import PROTOCOL
from smeg.errors import LocalError
from smeg.forwarding import Forwarding, Setting
from smeg.keys import Secret, from_wireguard_text, x25519_public
from smeg.plan import difference

Check = Callable[[str], None]
NAME = "smeg-test"
GOSSIP_PORT = 51800
PROGRAM = "wireguard-go"
DEADLINE = 60.0
"""seconds; for what takes an instant, on an emulated machine too."""
KEY = Secret(b"\x11" * 32)
OTHER_KEY = Secret(b"\x22" * 32)
SOCKET = Path("/var/run/wireguard", f"{NAME}.sock")
LEAVE = "leave-behind"

PEERS = [x25519_public(Secret(bytes([number]) * 32)) for number in range(1, 6)]
PREFIXES = [IPv6Network(f"fd00:{number}::/64") for number in range(1, 9)]
HERE, THERE = Endpoint("192.0.2.1", 51820), Endpoint("2001:db8::1", 4242)


def spec(port: int = 0, name: str = NAME, key: Secret = KEY) -> InterfaceSpec:
    return InterfaceSpec(name, key, port, 1420, (GOSSIP_PORT,))


def opened(kind: str, given: InterfaceSpec | None = None) -> Backend:
    return open_backend(kind, PROGRAM, given or spec())


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def code_of(action: Callable[[], object]) -> tuple[str, str]:
    """The code and message of the `LocalError` that `action` raises."""
    try:
        action()
    except LocalError as error:
        return error.problem.code, error.problem.message
    raise AssertionError("no error was raised")


def until(condition: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + DEADLINE, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.01)


def processes() -> list[int]:
    """Pids of the running userspace programs in this pid namespace; zombies have no command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if Path(os.fsdecode(line.split(b"\0")[0])).name == PROGRAM:
                found.append(int(folder.name))
    return found


def exists(name: str = NAME) -> bool:
    return Path("/sys/class/net", name).exists() or name in [each for _, each in socket.if_nameindex()]


def assert_nothing_left() -> None:
    assert not exists()
    assert not SOCKET.exists()
    assert processes() == []
    assert f"proto {PROTOCOL}" not in run("ip", "-6", "route", "show", "table", "all")
    assert rules() == []


def rules() -> list[str]:
    """Of ours, as `ip` shows them, in the order that the kernel follows."""
    lines = run("ip", "-6", "rule").splitlines()
    return [line.replace("\t", " ").strip() for line in lines if f"proto {PROTOCOL}" in line]


def first_wish(now: DeviceState) -> DeviceState:
    peers = {
        PEERS[0]: WgPeer(PEERS[0], tuple(PREFIXES[:3]), HERE, 25),
        PEERS[1]: WgPeer(PEERS[1], (PREFIXES[3],), THERE, 0),
        PEERS[2]: WgPeer(PEERS[2], (IPv6Network("::/0"),), None, 0),
        PEERS[3]: WgPeer(PEERS[3], (), None, 10),
    }
    addresses = (IPv6Interface("fd00::1/64"), IPv6Interface("fd00:1::1/128"))
    unmarked, own = (IPv6Network("::/0"), PREFIXES[2]), PREFIXES[1:3]
    return replace(
        now,
        addresses=addresses,
        routes=(PREFIXES[0], PREFIXES[3]),
        unmarked_routes=unmarked,
        own_routes=tuple(own),
        peers=peers,
    )


def second_wish(first: DeviceState) -> DeviceState:
    peers = {
        PEERS[0]: WgPeer(PEERS[0], (PREFIXES[3],), THERE, 0),
        PEERS[1]: WgPeer(PEERS[1], (PREFIXES[0], PREFIXES[5]), HERE, 25),
        PEERS[4]: WgPeer(PEERS[4], (PREFIXES[1],), HERE, 1),
    }
    addresses = tuple(sorted((IPv6Interface("fd00::1/128"), IPv6Interface("fd00::2/64"))))
    unmarked, own = (PREFIXES[5],), (PREFIXES[1],)
    return replace(
        first,
        mtu=1300,
        addresses=addresses,
        routes=(PREFIXES[0],),
        unmarked_routes=unmarked,
        own_routes=own,
        peers=peers,
    )


def many(count: int) -> Mapping[bytes, WgPeer]:
    keys = [b"\x07" + number.to_bytes(31, "big") for number in range(count)]
    base = int(IPv6Network("fd00:7::/64").network_address)
    return {key: WgPeer(key, (IPv6Network((base + at, 128)),), HERE, 25) for at, key in enumerate(keys)}


def an_opened_interface_is_up_with_key_port_and_mtu(kind: str) -> None:
    backend = opened(kind, spec(port=40001))
    assert backend.kind == kind
    assert backend.read() == DeviceState(x25519_public(KEY), 40001, 1420, True, (), (), {})
    backend.close()


def port_zero_lets_the_system_choose_and_tells_the_choice(kind: str) -> None:
    backend = opened(kind)
    port = backend.read().listen_port
    assert port > 0
    backend.apply((SetInterface(0, 1300),))
    assert (backend.read().listen_port, backend.read().mtu) == (port, 1300)
    backend.close()


def the_planned_operations_lead_to_the_wanted_state(kind: str) -> None:
    backend = opened(kind)
    now = backend.read()
    for wish in (first_wish(now), second_wish(first_wish(now)), first_wish(now), now):
        backend.apply(difference(backend.read(), wish, {}))
        assert backend.read() == wish
        assert difference(backend.read(), wish, {}) == ()
    backend.close()


def an_endpoint_left_out_stays_as_it_is(kind: str) -> None:
    backend = opened(kind)
    backend.apply((SetPeer(WgPeer(PEERS[0], (), HERE)),))
    backend.apply((SetPeer(WgPeer(PEERS[0], (PREFIXES[0],), None, 5)),))
    assert backend.read().peers == {PEERS[0]: WgPeer(PEERS[0], (PREFIXES[0],), HERE, 5)}
    backend.close()


def operations_may_be_repeated(kind: str) -> None:
    backend = opened(kind)
    wish = first_wish(backend.read())
    operations = difference(backend.read(), wish, {})
    backend.apply(operations)
    backend.apply(operations)
    assert backend.read() == wish
    nothing = replace(wish, addresses=(), routes=(), unmarked_routes=(), own_routes=(), peers={})
    undone = difference(wish, nothing, {})
    backend.apply(undone)
    backend.apply(undone)
    assert backend.read() == nothing
    backend.close()


def peers_without_a_handshake_have_no_age(kind: str) -> None:
    backend = opened(kind)
    backend.apply(difference(backend.read(), first_wish(backend.read()), {}))
    handshakes = backend.handshakes()
    assert {key: each.endpoint for key, each in handshakes.items()} == dict(
        zip(PEERS[:4], (HERE, THERE, None, None), strict=True)
    )
    assert {each.age for each in handshakes.values()} == {None}
    backend.close()


def a_closed_backend_is_gone_and_may_be_closed_and_opened_again(kind: str) -> None:
    backend = opened(kind)
    backend.apply(difference(backend.read(), first_wish(backend.read()), {}))
    backend.close()
    backend.close()
    assert code_of(backend.read)[0] == "device-gone"
    assert code_of(backend.handshakes)[0] == "device-gone"
    assert code_of(lambda: backend.apply((RemovePeer(PEERS[0]),)))[0] == "device-gone"
    backend.open(spec())
    assert backend.read().peers == {}
    backend.close()


def impossible_names_and_sizes_are_refused(kind: str) -> None:
    for name in ("", "..", "a/b", "a b", "a" * 16, "a%d", "a:1"):
        assert code_of(lambda name=name: opened(kind, spec(name=name)))[0] == "bad-interface-name"  # type: ignore[misc]
    assert code_of(lambda: opened(kind, replace(spec(), mtu=1279)))[0] == "bad-mtu"
    backend = opened(kind)
    assert code_of(lambda: backend.apply((SetInterface(0, 1000),)))[0] == "bad-mtu"
    backend.close()


def thousands_of_peers_take_seconds(kind: str) -> None:
    backend = opened(kind)
    # The kernel's is tried on an emulated processor, where each costs 10 ms.
    wish = replace(backend.read(), peers=many(400 if kind == "kernel" else 3000))
    operations = difference(backend.read(), wish, {})
    spent = {}
    for what, action in (
        ("apply", lambda: backend.apply(operations)),
        ("read", backend.read),
        ("handshakes", backend.handshakes),
    ):
        start = time.monotonic()
        action()
        spent[what] = round(time.monotonic() - start, 3)
    print(f"{kind}, {len(wish.peers)} peers, seconds: {spent}")
    assert backend.read() == wish
    backend.apply(tuple(RemovePeer(key) for key in wish.peers))
    assert backend.read().peers == {}
    backend.close()


def a_peer_may_have_thousands_of_prefixes(kind: str) -> None:
    backend = opened(kind)
    base = int(IPv6Network("fd00:8::/32").network_address)
    prefixes = tuple(IPv6Network((base + (number << 64), 64)) for number in range(4000))
    peer = WgPeer(PEERS[0], prefixes, HERE, 25)
    backend.apply((SetPeer(peer), SetPeer(WgPeer(PEERS[1], (PREFIXES[0],)))))
    assert backend.read().peers == {PEERS[0]: peer, PEERS[1]: WgPeer(PEERS[1], (PREFIXES[0],))}
    backend.apply((SetPeer(replace(peer, allowed_ips=prefixes[-1:])),))
    assert backend.read().peers[PEERS[0]].allowed_ips == prefixes[-1:]
    backend.close()


def closing_leaves_nothing(kind: str) -> None:
    backend = opened(kind)
    backend.apply(difference(backend.read(), first_wish(backend.read()), {}))
    assert exists()
    backend.close()
    assert_nothing_left()


def what_wg_shows_agrees_with_what_is_read(kind: str) -> None:
    backend = opened(kind)
    backend.apply(difference(backend.read(), first_wish(backend.read()), {}))
    state = backend.read()
    interface, *rows = [line.split("\t") for line in run("wg", "show", NAME, "dump").splitlines()]
    assert (from_wireguard_text(interface[1]), int(interface[2])) == (state.public_key, state.listen_port)
    shown = {}
    for key, _, endpoint, prefixes, _, _, _, keepalive in rows:
        allowed = () if prefixes == "(none)" else tuple(sorted(IPv6Network(each) for each in prefixes.split(",")))
        host, _, port = endpoint.rpartition(":")
        where = None if endpoint == "(none)" else Endpoint(host.strip("[]"), int(port))
        seconds = 0 if keepalive == "off" else int(keepalive)
        shown[from_wireguard_text(key)] = WgPeer(from_wireguard_text(key), allowed, where, seconds)
    assert shown == state.peers
    configuration = run("wg", "showconf", NAME)
    assert f"ListenPort = {state.listen_port}\n" in configuration
    assert configuration.count("[Peer]") == len(state.peers)
    backend.close()


def addresses_are_usable_at_once(kind: str) -> None:
    backend = opened(kind)
    backend.apply((AddAddress(IPv6Interface("fd00::1/64")),))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("fd00::1", 0))
    backend.close()


def what_others_put_on_the_interface_is_not_ours(kind: str) -> None:
    backend = opened(kind)
    backend.apply((AddAddress(IPv6Interface("fd00::1/64")), AddRoute(PREFIXES[0])))
    run("ip", "-6", "route", "add", str(PREFIXES[1]), "dev", NAME)
    run("ip", "-6", "address", "add", "fe80::77/64", "dev", NAME)
    state = backend.read()
    assert (state.addresses, state.routes) == ((IPv6Interface("fd00::1/64"),), (PREFIXES[0],))
    backend.close()


def rules_lead_to_the_tables_that_hold_routes_in_the_order_that_counts(kind: str) -> None:
    backend = opened(kind)
    index = socket.if_nametoindex(NAME)
    backend.apply((AddAddress(IPv6Interface("fd00::1/64")), AddRoute(PREFIXES[0])))
    assert rules() == []
    backend.apply((AddRoute(IPv6Network("::/0"), Table.UNMARKED), AddRoute(PREFIXES[1], Table.OWN)))
    shared = [
        "21248: from all lookup main suppress_prefixlength 0 proto 83",
        f"21249: from all ipproto tcp sport {GOSSIP_PORT} lookup main proto 83",
        f"21249: from all ipproto tcp dport {GOSSIP_PORT} lookup main proto 83",
        f"21250: not from all fwmark {MARK:#x} lookup {MARK} proto 83",
    ]
    assert sorted(rules()) == sorted([f"21247: from fd00::1 lookup {MARK + index} proto 83", *shared])
    backend.apply((RemoveAddress(IPv6Interface("fd00::1/64")), AddAddress(IPv6Interface("fd00::2/64"))))
    assert f"21247: from fd00::2 lookup {MARK + index} proto 83" in rules()
    assert len(rules()) == 5
    backend.apply((RemoveRoute(PREFIXES[1], Table.OWN),))
    assert sorted(rules()) == sorted(shared)
    backend.apply((RemoveRoute(IPv6Network("::/0"), Table.UNMARKED),))
    assert rules() == []
    backend.close()


def rules_that_another_device_needs_stay(kind: str) -> None:
    near, far = opened(kind), opened(kind, spec(name="smeg-far", key=OTHER_KEY))
    near.apply((AddRoute(IPv6Network("::/0"), Table.UNMARKED),))
    far.apply((AddAddress(IPv6Interface("fd00::1/64")), AddRoute(PREFIXES[1], Table.OWN)))
    far.apply((AddRoute(PREFIXES[0], Table.UNMARKED),))
    assert len(rules()) == 5
    near.close()
    assert len(rules()) == 5
    assert far.read().unmarked_routes == (PREFIXES[0],)
    far.apply((RemoveRoute(PREFIXES[0], Table.UNMARKED),))
    assert len(rules()) == 1
    far.close()
    assert_nothing_left()


def a_route_whose_rule_somebody_removed_counts_as_gone_and_adding_it_mends_both(kind: str) -> None:
    backend = opened(kind)
    wish = first_wish(backend.read())
    backend.apply(difference(backend.read(), wish, {}))
    whole = rules()
    for priority, lost in ((21250, "unmarked_routes"), (21247, "own_routes"), (21248, "unmarked_routes")):
        run("ip", "-6", "rule", "del", "priority", str(priority))
        assert backend.read() == replace(wish, **{lost: ()})  # type: ignore[arg-type]
        backend.apply(difference(backend.read(), wish, {}))
        assert backend.read() == wish
        assert sorted(rules()) == sorted(whole)
    run("ip", "-6", "route", "del", "default", "table", str(MARK))
    assert backend.read().unmarked_routes == (PREFIXES[2],)
    backend.close()
    assert_nothing_left()


def wireguards_packets_bear_the_mark_also_after_somebody_took_it(kind: str) -> None:
    backend = opened(kind)
    assert run("wg", "show", NAME, "fwmark").strip() == f"{MARK:#x}"
    run("wg", "set", NAME, "fwmark", "7")
    state = backend.read()
    assert state.fwmark == 7
    backend.apply(difference(state, replace(state, fwmark=MARK), {}))
    assert backend.read().fwmark == MARK
    backend.close()


def rules_that_a_killed_daemon_left_go_when_the_next_begins(kind: str) -> None:
    for priority, table in ((21247, MARK + 4711), (21250, MARK)):
        place = ["table", str(table), "priority", str(priority), "protocol", str(PROTOCOL)]
        run("ip", "-6", "rule", "add", "from", "fd00::77", *place)
    run("ip", "-6", "rule", "add", "from", "fd00::78", "table", "4711", "priority", "21249")
    backend = opened(kind)
    assert rules() == []
    assert "fd00::78" in run("ip", "-6", "rule"), "what is not ours stays"
    backend.close()


def packets_of_others_are_passed_on_for_the_interface_alone_or_for_the_host(kind: str) -> None:
    backend = opened(kind)
    conf = Path("/proc/sys/net/ipv6/conf")
    (conf / NAME / "accept_ra").write_text("1")
    found = backend.forwarding()
    assert not found.host
    if found.interface is not None:
        assert not found.interface
        backend.turn_on(Setting.INTERFACE)
        assert backend.forwarding() == Forwarding(host=False, interface=True)
    backend.turn_on(Setting.HOST)
    assert backend.forwarding().host
    assert (conf / NAME / "accept_ra").read_text() == "2\n", "a router believes others only when it is told to"
    backend.close()


def a_port_in_use_is_named_and_nothing_stays(kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("", 0))
        port = holder.getsockname()[1]
        code, message = code_of(lambda: opened(kind, spec(port=port)))
        assert code == "port-in-use"
        assert str(port) in message
        assert_nothing_left()
        backend = opened(kind)
        before = backend.read()
        code, message = code_of(lambda: backend.apply((SetInterface(port, 1420),)))
        assert code == "port-in-use"
        assert str(port) in message
        assert backend.read() == before
        backend.close()


def a_foreign_interface_is_left_alone(kind: str) -> None:
    run("ip", "link", "add", NAME, "type", "veth", "peer", "name", "smeg-far")
    assert code_of(lambda: opened(kind))[0] == "interface-taken"
    assert exists()
    run("ip", "link", "del", NAME)
    stranger = opened(kind, spec(key=OTHER_KEY))
    stranger.apply((SetPeer(WgPeer(PEERS[0], (PREFIXES[0],))),))
    before = stranger.read()
    assert code_of(lambda: opened(kind))[0] == "interface-taken"
    assert code_of(lambda: opened("auto"))[0] == "interface-taken"
    assert stranger.read() == before
    stranger.close()


def an_interface_that_somebody_removed_is_gone_and_comes_back(kind: str) -> None:
    backend = opened(kind)
    run("ip", "link", "del", NAME)
    assert code_of(backend.read)[0] == "device-gone"
    for operation in (SetInterface(0, 1420), AddRoute(PREFIXES[0]), SetPeer(WgPeer(PEERS[0]))):
        until(lambda operation=operation: _fails_as_gone(backend, operation))  # type: ignore[misc]
    backend.open(spec())
    assert backend.read().public_key == x25519_public(KEY)
    backend.close()
    assert_nothing_left()


def _fails_as_gone(backend: Backend, operation: Operation) -> bool:
    """A process needs a moment to notice that its interface is gone, and does until then what needs no interface."""
    try:
        backend.apply((operation,))
    except LocalError as error:
        return error.problem.code == "device-gone"
    return False


def closing_spares_another_interface_that_took_the_name(kind: str) -> None:
    backend = opened(kind)
    run("ip", "link", "del", NAME)
    run("ip", "link", "add", NAME, "type", "veth", "peer", "name", "smeg-far")
    backend.close()
    assert exists()
    run("ip", "link", "del", NAME)
    assert_nothing_left()


def what_a_killed_daemon_left_is_adopted_and_cleaned_up(kind: str) -> None:
    daemon = subprocess.run(
        [sys.executable, "-m", __spec__.name, kind, LEAVE], check=False, cwd=Path(__file__).parents[1]
    )
    assert daemon.returncode == -signal.SIGKILL
    assert exists()
    running = processes()
    backend = opened(kind, spec(port=40002))
    assert processes() == running
    assert len(running) == (1 if kind == "userspace" else 0)
    state = backend.read()
    assert state == replace(first_wish(state), listen_port=40002, public_key=x25519_public(KEY), mtu=1420)
    backend.apply(difference(state, second_wish(state), {}))
    assert backend.read() == second_wish(state)
    backend.close()
    assert_nothing_left()


def two_devices_shake_hands_and_learn_where_the_other_is(kind: str) -> None:
    near, far = opened(kind), opened(kind, spec(name="smeg-far", key=OTHER_KEY))
    near_key, far_key = x25519_public(KEY), x25519_public(OTHER_KEY)
    there = Endpoint("127.0.0.1", far.read().listen_port)
    far.apply((SetPeer(WgPeer(near_key, (PREFIXES[0],))),))
    near.apply((SetPeer(WgPeer(far_key, (PREFIXES[1],), there, 1)),))
    until(lambda: far.handshakes()[near_key].age is not None and near.handshakes()[far_key].age is not None)
    seen = far.handshakes()[near_key]
    assert seen.endpoint == Endpoint("127.0.0.1", near.read().listen_port)
    assert seen.age is not None
    assert seen.age < DEADLINE
    assert seen.received > 0
    assert seen.sent > 0
    # What is set again as it was does not cost the session.
    near.apply((SetInterface(0, 1420),))
    assert near.handshakes()[far_key].age is not None
    near.close()
    far.close()
    assert_nothing_left()


def disabled_ipv6_is_said_plainly(kind: str) -> None:
    backend = opened(kind)
    Path("/proc/sys/net/ipv6/conf", NAME, "disable_ipv6").write_text("1")
    for operation in (AddAddress(IPv6Interface("fd00::1/64")), AddRoute(PREFIXES[0])):
        code, message = code_of(lambda operation=operation: backend.apply((operation,)))  # type: ignore[misc]
        assert code == "ipv6-disabled"
        assert NAME in message
    backend.close()


def lacking_rights_are_said_plainly(kind: str) -> None:
    program = (
        "from tests.backend_conformance import *\n"
        f"for kind in ({kind!r}, 'auto'): print(code_of(lambda: opened(kind))[0])\n"
    )
    unable = ["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin", sys.executable, "-c", program]
    assert run(*unable).split() == ["no-permission", "no-permission"]
    assert_nothing_left()


def auto_takes_a_real_backend_and_never_the_one_in_memory(kind: str) -> None:
    backend = opened("auto")
    assert backend.kind in ("kernel", kind)
    backend.close()
    assert_nothing_left()


def a_program_that_is_missing_or_broken_is_said_plainly(kind: str) -> None:
    assert code_of(lambda: open_backend(kind, "no-such-wireguard", spec()))[0] == "no-backend"
    code, message = code_of(lambda: open_backend(kind, "false", spec()))
    assert code == "no-backend"
    assert "ended at once" in message
    assert_nothing_left()


def auto_with_nothing_that_works_says_why(kind: str) -> None:
    """Runs with the kernel's own WireGuard out of reach, as it is where that is not built in."""
    if kernel_refusal() is None:
        return
    code, message = code_of(lambda: open_backend("auto", "no-such-wireguard", spec()))
    assert code == "no-backend"
    assert "kernel says" in message
    assert "no-such-wireguard" in message


def a_process_that_refuses_to_end_is_ended(kind: str) -> None:
    backend = opened(kind)
    (process,) = processes()
    os.kill(process, signal.SIGSTOP)
    backend.close()
    assert_nothing_left()


def a_socket_file_without_a_process_is_replaced(kind: str) -> None:
    SOCKET.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(SOCKET))
        stale.listen()
    backend = opened(kind)
    assert backend.read().up
    backend.close()
    assert_nothing_left()


def a_process_that_dies_takes_the_device_along(kind: str) -> None:
    backend = opened(kind)
    (process,) = processes()
    os.kill(process, signal.SIGKILL)
    until(lambda: not exists())
    assert code_of(backend.read)[0] == "device-gone"
    assert code_of(backend.handshakes)[0] == "device-gone"
    backend.open(spec())
    assert backend.read().up
    backend.close()
    assert_nothing_left()


def kernel_refusal() -> str | None:
    """Why this kernel makes no WireGuard interface, or None when it does."""
    probe = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "smeg-probe", "type", "wireguard"],
        check=False,
        capture_output=True,
        text=True,
    )
    return None if probe.returncode == 0 else probe.stderr.strip()


def leave_behind(kind: str) -> None:
    """Be the daemon that is killed."""
    backend = opened(kind)
    backend.apply(difference(backend.read(), first_wish(backend.read()), {}))
    os.kill(os.getpid(), signal.SIGKILL)


EVERY: tuple[Check, ...] = (
    an_opened_interface_is_up_with_key_port_and_mtu,
    port_zero_lets_the_system_choose_and_tells_the_choice,
    the_planned_operations_lead_to_the_wanted_state,
    an_endpoint_left_out_stays_as_it_is,
    operations_may_be_repeated,
    peers_without_a_handshake_have_no_age,
    a_closed_backend_is_gone_and_may_be_closed_and_opened_again,
    impossible_names_and_sizes_are_refused,
    thousands_of_peers_take_seconds,
    a_peer_may_have_thousands_of_prefixes,
)
REAL: tuple[Check, ...] = (
    closing_leaves_nothing,
    what_wg_shows_agrees_with_what_is_read,
    addresses_are_usable_at_once,
    what_others_put_on_the_interface_is_not_ours,
    rules_lead_to_the_tables_that_hold_routes_in_the_order_that_counts,
    rules_that_another_device_needs_stay,
    a_route_whose_rule_somebody_removed_counts_as_gone_and_adding_it_mends_both,
    wireguards_packets_bear_the_mark_also_after_somebody_took_it,
    rules_that_a_killed_daemon_left_go_when_the_next_begins,
    packets_of_others_are_passed_on_for_the_interface_alone_or_for_the_host,
    a_port_in_use_is_named_and_nothing_stays,
    a_foreign_interface_is_left_alone,
    an_interface_that_somebody_removed_is_gone_and_comes_back,
    closing_spares_another_interface_that_took_the_name,
    what_a_killed_daemon_left_is_adopted_and_cleaned_up,
    two_devices_shake_hands_and_learn_where_the_other_is,
    disabled_ipv6_is_said_plainly,
    lacking_rights_are_said_plainly,
    auto_takes_a_real_backend_and_never_the_one_in_memory,
)
USERSPACE: tuple[Check, ...] = (
    a_program_that_is_missing_or_broken_is_said_plainly,
    auto_with_nothing_that_works_says_why,
    a_process_that_refuses_to_end_is_ended,
    a_socket_file_without_a_process_is_replaced,
    a_process_that_dies_takes_the_device_along,
)
CHECKS: Mapping[str, tuple[Check, ...]] = {
    "dry-run": EVERY,
    "userspace": EVERY + REAL + USERSPACE,
    "kernel": EVERY + REAL,
}


def main(kind: str, names: list[str]) -> None:
    if names == [LEAVE]:
        leave_behind(kind)
    if kind != "dry-run":
        assert shutil.which("ip"), "needs iproute2"
    for check in CHECKS[kind]:
        if not names or check.__name__ in names:
            check(kind)
            print(f"{kind}: {check.__name__}: ok", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
