"""A WireGuard device that is only remembered: for the simulator, and for whoever has no rights to a real one.

It follows the same rules as the others (a prefix has one owner, port 0 becomes some port) and never touches the system.
Nothing survives it, so there is nothing to adopt.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from smeg.device import DeviceState, Handshake, InterfaceSpec, Operation, SetInterface
from smeg.edges.netlink_errors import device_gone
from smeg.edges.rtnetlink import check_mtu, check_name
from smeg.forwarding import Forwarding, Setting
from smeg.keys import x25519_public
from smeg.simulated import Simulated

_FIRST_DYNAMIC_PORT = 49152
"""RFC 6335, section 6."""


class DryRunBackend:
    """A `Backend` in memory."""

    kind = "dry-run"

    def __init__(self) -> None:
        self._state: Simulated | None = None

    def open(self, spec: InterfaceSpec) -> None:
        check_name(spec.name)
        check_mtu(spec.name, spec.mtu)
        # Any port would do; the same one for the same name keeps simulated runs repeatable.
        chosen = _FIRST_DYNAMIC_PORT + crc32(spec.name.encode()) % (0x10000 - _FIRST_DYNAMIC_PORT)
        state = DeviceState(
            public_key=x25519_public(spec.private_key),
            listen_port=spec.listen_port or chosen,
            mtu=spec.mtu,
            up=True,
            addresses=(),
            routes=(),
            peers={},
        )
        self._state = Simulated(state)

    def read(self) -> DeviceState:
        return self._opened().state()

    def apply(self, operations: tuple[Operation, ...]) -> None:
        device = self._opened()
        for operation in operations:
            if isinstance(operation, SetInterface):
                check_mtu("the interface", operation.mtu)
            device.apply((operation,))

    def handshakes(self) -> Mapping[bytes, Handshake]:
        return {key: Handshake(peer.endpoint, None, 0, 0) for key, peer in self.read().peers.items()}

    def forwarding(self) -> Forwarding:
        """It passes nothing on, but neither does it carry anything."""
        return Forwarding(host=True, interface=None)

    def turn_on(self, setting: Setting) -> None:
        pass

    def close(self) -> None:
        self._state = None

    def _opened(self) -> Simulated:
        if self._state is None:
            raise device_gone("that was never opened, or closed since,")
        return self._state
