"""WireGuard in a process of its own, wireguard-go or boringtun: started here, spoken to over its control socket.

The process outlives a daemon that is killed, as a kernel interface does, so its tunnels run on, and the next daemon
adopts it: by its key it knows its own, by the socket it learns the pid. A signal that the kernel sends when the parent
dies would be bound to the thread that started the process, and restart every tunnel with the thread. What is not ours
is never ended, and what is ours is never left, nor its socket file.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from fcntl import F_ADD_SEALS, F_SEAL_GROW, fcntl

from smeg.device import MARK, DeviceState, Handshake, InterfaceSpec, Operation, RemovePeer, SetInterface, SetPeer, Table
from smeg.edges.netlink_errors import device_gone, failure, interface_taken, port_in_use
from smeg.edges.rtnetlink import Link, Links, check_mtu, check_name, check_permission
from smeg.edges.sysctls import read_forwarding, turn_on
from smeg.edges.uapi import UapiDevice, UapiSocket, parse_get, render_key, render_mark, render_peers, render_port
from smeg.errors import LocalError
from smeg.forwarding import Forwarding, Setting
from smeg.keys import x25519_public
from smeg.plan import batches

KIND = "tun"
START_SECONDS = 10.0
STOP_SECONDS = 3.0
PAUSE_SECONDS = 0.01
"""Between two looks at whether something has come or gone."""
PEERS_IN_SET = 1000
LOG_BYTES = 16 << 10
"""How much of what the process says is kept to explain why it did not start."""


class UserspaceBackend:
    """A `Backend` on `program -f NAME`. Errors are those of the protocol."""

    kind = "userspace"

    def __init__(self, program: str = "wireguard-go") -> None:
        self._program = program
        self._spec: InterfaceSpec | None = None
        """Of the process and socket that are ours to remove."""
        self._link: Link | None = None
        self._links: Links | None = None
        self._socket: UapiSocket | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted: int | None = None
        """A pidfd of a process that a dead daemon started."""

    def open(self, spec: InterfaceSpec) -> None:
        """Start the program, or adopt one that runs. When that fails, nothing stays of what was ours."""
        check_name(spec.name)
        check_mtu(spec.name, spec.mtu)
        check_permission(spec.name)
        self.close()
        self._links = Links()
        self._socket = UapiSocket(spec.name)
        try:
            link = self._links.find(spec.name)
            if link is not None:
                self._adopt(spec, link, self._socket)
            elif self._socket.answers():
                raise interface_taken(spec.name, f"{self._socket.path} is that of a device in another namespace")
            else:
                self._socket.path.unlink(missing_ok=True)
                self._start(spec, self._socket)
            self._link = self._links.get(spec.name)
            self._configure(spec.listen_port, spec.mtu)
            self._links.settle(self._link, spec.gossip_ports)
        except BaseException:
            self.close()
            raise

    def read(self) -> DeviceState:
        spec, links, _ = self._opened()
        link = links.get(spec.name)
        addresses = links.addresses(link)
        routes = links.routes.read(link.index, addresses, spec.gossip_ports)
        device = self._device()
        return DeviceState(
            public_key=device.public_key,
            listen_port=device.listen_port,
            mtu=link.mtu,
            up=link.up,
            addresses=addresses,
            routes=routes[Table.MAIN],
            peers=device.peers,
            unmarked_routes=routes[Table.UNMARKED],
            own_routes=routes[Table.OWN],
            fwmark=device.fwmark,
        )

    def apply(self, operations: tuple[Operation, ...]) -> None:
        spec, links, _ = self._opened()
        for batch in batches(operations):
            match batch[0]:
                case SetInterface(listen_port, mtu):
                    self._configure(listen_port, mtu)
                case SetPeer() | RemovePeer():
                    peers = [each for each in batch if isinstance(each, SetPeer | RemovePeer)]
                    for start in range(0, len(peers), PEERS_IN_SET):
                        self._set("set peers", render_peers(peers[start : start + PEERS_IN_SET]))
                case other:
                    links.apply(spec.name, other)
        links.settle_after(spec, operations)

    def handshakes(self) -> Mapping[bytes, Handshake]:
        return self._device().handshakes

    def forwarding(self) -> Forwarding:
        spec, _, _ = self._opened()
        return read_forwarding(spec.name)

    def turn_on(self, setting: Setting) -> None:
        spec, _, _ = self._opened()
        turn_on(setting, spec.name)

    def close(self) -> None:
        links, socket = self._links, self._socket
        try:
            if self._spec is not None and socket is not None:
                self._end_process(socket)
                # The process takes its socket along when it ends in good order, not when it is killed.
                socket.path.unlink(missing_ok=True)
            if self._link is not None and links is not None:
                links.remove(self._link)
                links.settle(self._link)
        finally:
            if self._adopted is not None:
                os.close(self._adopted)
            if links is not None:
                links.close()
            self._spec = self._link = self._links = self._socket = self._child = self._adopted = None

    def _opened(self) -> tuple[InterfaceSpec, Links, UapiSocket]:
        if self._spec is None or self._links is None or self._socket is None:
            raise device_gone("that was never opened, or closed since,")
        return self._spec, self._links, self._socket

    def _device(self) -> UapiDevice:
        _, _, socket = self._opened()
        return parse_get(socket.get(), time.time())

    def _set(self, what: str, request: bytes) -> None:
        spec, _, socket = self._opened()
        number = socket.set(request)
        if number:
            raise failure(number, what, spec.name)

    def _adopt(self, spec: InterfaceSpec, link: Link, socket: UapiSocket) -> None:
        if link.kind != KIND:
            raise interface_taken(spec.name, f"its kind is {link.kind or 'hardware'}, not {KIND}")
        try:
            answer, pid = socket.identify()
            held = parse_get(answer, time.time()).public_key
        except LocalError as error:
            raise interface_taken(spec.name, f"no WireGuard process answers for it: {error.problem.message}") from error
        if held not in (b"", x25519_public(spec.private_key)):
            raise interface_taken(spec.name, "it has another WireGuard key")
        with suppress(OSError):
            self._adopted = os.pidfd_open(pid)
        # Asked again, so that the pid is of a process that still answers, and not of one that got its number since.
        if socket.identify()[1] != pid:
            raise device_gone(spec.name)
        self._spec = spec

    def _start(self, spec: InterfaceSpec, socket: UapiSocket) -> None:
        log = os.memfd_create("smeg-wireguard-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            # What the process says later than the log is long is dropped: nobody reads it, and it must not grow.
            os.ftruncate(log, LOG_BYTES)
            fcntl(log, F_ADD_SEALS, F_SEAL_GROW)
            self._child = _launch(self._program, spec.name, log)
            self._spec = spec
            self._await(socket.answers, spec.name, log)
        finally:
            os.close(log)

    def _await(self, ready: Callable[[], bool], name: str, log: int | None = None) -> None:
        """Until `ready()`, the end of our child, or the deadline. Raises `LocalError` with code `no-backend`."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            ended = self._child is not None and self._child.poll() is not None
            if ended or time.monotonic() > deadline:
                said = _said(log) if log is not None else ""
                why = "ended at once" if ended else f"was not ready within {START_SECONDS:g} s"
                hint = "is /dev/net/tun there, and the tun module loaded?"
                raise LocalError("no-backend", f"{self._program} -f {name} {why}{said and ': ' + said}", hint)
            time.sleep(PAUSE_SECONDS)

    def _configure(self, listen_port: int, mtu: int) -> None:
        """Key, mark, port, MTU and up, each only where it differs: a key that is set again may cost the handshakes."""
        spec, links, _ = self._opened()
        before = self._device()
        if before.public_key != x25519_public(spec.private_key):
            self._set("set the key", render_key(spec.private_key))
        if before.fwmark != MARK:
            self._set("set the mark", render_mark(MARK))
        links.bring_up(spec.name, mtu)
        # The process hears from the kernel that the link is up and binds then: a port set before fails unheard.
        self._await(lambda: self._device().listen_port != 0, spec.name)
        bound = self._device().listen_port
        if listen_port not in (0, bound):
            self._set_port(listen_port, bound)

    def _set_port(self, wanted: int, before: int) -> None:
        spec, _, socket = self._opened()
        number = socket.set(render_port(wanted))
        if number == 0:
            return
        # The old port was let go before the new one could not be had.
        socket.set(render_port(before))
        if number == errno.EADDRINUSE:
            raise port_in_use(spec.name, wanted)
        raise failure(number, "set the port", spec.name)

    def _end_process(self, socket: UapiSocket) -> None:
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        elif self._adopted is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._adopted, number)
                if _ended(self._adopted, STOP_SECONDS):
                    return
        else:
            # Its pid is not to be had from here (another pid namespace); the loss of its socket ends it too.
            socket.path.unlink(missing_ok=True)


def _launch(program: str, name: str, log: int) -> subprocess.Popen[bytes]:
    # A session of its own: an interrupt typed at the daemon's terminal must not reach it before the daemon is done.
    # WG_SUDO keeps boringtun from dropping the rights that it needs.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LOG_LEVEL": "error", "WG_SUDO": "1"}
    try:
        return subprocess.Popen(
            [program, "-f", name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        message = f"cannot start {program}: {os.strerror(error.errno or errno.ENOENT)}"
        raise LocalError("no-backend", message, "install wireguard-go or boringtun, or name its program") from error


def _said(log: int) -> str:
    """The last lines that the process wrote, as one, without the box that wireguard-go draws on Linux."""
    text = os.pread(log, LOG_BYTES, 0).rstrip(b"\0").decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] not in "┌│└"]
    return "; ".join(lines[-3:])


def _ended(process: int, seconds: float) -> bool:
    """Whether the process of this pidfd has ended, or does within `seconds`."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
