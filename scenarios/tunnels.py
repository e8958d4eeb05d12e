"""Where simulated WireGuard sends to: to who spoke last under a peer's key, else to whoever is at the peer's endpoint.

So a host that has moved is found where its record says, or by what it sends from there; a client behind a NAT only by
what it sends. By itself a host sends where it keeps a mapping alive: when that is switched on, every so many seconds
after that, and more often as long as nothing arrives.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.virtual import VirtualRuntime
from scenarios.network import Network
from smeg.device import DeviceState, Operation, RemovePeer, SetPeer, WgPeer
from smeg.edges.dry_run import DryRunBackend

TRY_AGAIN = 5.0
"""seconds; WireGuard's REKEY_TIMEOUT."""


class Tunnels:
    """Of all hosts."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._spoke: dict[tuple[str, bytes], str] = {}
        """By host and key of a peer of its: from which host something came under that key last."""

    def find(self, host: str, peer: WgPeer) -> str | None:
        """Who gets what a host sends to a peer."""
        spoke = self._spoke.get((host, peer.public_key))
        if spoke is not None or peer.endpoint is None:
            return spoke
        return self._network.host_at(peer.endpoint)

    def spoke(self, sender: str, key: bytes, to: str) -> None:
        """A packet has arrived, from a host under its key."""
        self._spoke[to, key] = sender

    def forget(self, host: str) -> None:
        """It has another address or mapping than before: where others heard it nobody is, and through their NATs
        nothing comes from a stranger. Or it has lost its power, and knows nothing more."""
        self._spoke = {(to, key): one for (to, key), one in self._spoke.items() if host not in (to, one)}

    def removed(self, host: str, device: DeviceState) -> None:
        """A host has this device no more."""
        for key in device.peers:
            self._spoke.pop((host, key), None)


class SimulatedDevice(DryRunBackend):
    """One device of a host, as long as it is `up`. `speak` sends something to a peer under a key of its own, and says
    whether it has arrived."""

    def __init__(self, runtime: VirtualRuntime, speak: Callable[[bytes, WgPeer], bool]) -> None:
        super().__init__()
        self._runtime = runtime
        self._speak = speak
        self._kept: dict[bytes, int] = {}
        """By key of each peer with a mapping that is kept alive: how many had been by then."""
        self._count = 0

    def up(self) -> bool:
        return self._state is not None

    def apply(self, operations: tuple[Operation, ...]) -> None:
        super().apply(operations)
        for operation in operations:
            match operation:
                case SetPeer(peer) if not peer.keepalive:
                    self._kept.pop(peer.public_key, None)
                case SetPeer(peer) if peer.public_key not in self._kept:
                    self._count += 1
                    self._kept[peer.public_key] = self._count
                    self._keep_alive((peer.public_key, self._count))
                case RemovePeer(key):
                    self._kept.pop(key, None)

    def _keep_alive(self, kept: tuple[bytes, int]) -> None:
        key, number = kept
        if not self.up() or self._kept.get(key) != number:
            return
        state = self.read()
        peer = state.peers[key]
        wait = float(peer.keepalive) if self._speak(state.public_key, peer) else TRY_AGAIN
        self._runtime.call(self._runtime.time + wait, self._keep_alive, kept)
