"""A host behind a NAT of its own: a private network of IPv4, and a router that lets out what comes from it.

Nothing gets in that was not asked for, and what is unknown is dropped.
"""

from __future__ import annotations

import subprocess

from scenarios.hosts import Host, World
from smeg.errors import LocalError

RULES = """
table ip nat {
  chain out {
    type nat hook postrouting priority 100
    oifname "eth0" masquerade
  }
}
table ip filter {
  chain through {
    type filter hook forward priority 0
    ct state invalid drop
    ct state established,related accept
    iifname "eth0" drop
  }
}
"""
INSIDE, GATEWAY = "192.168.7.2", "192.168.7.1"


class Nat:
    def __init__(self, world: World, host: Host, router: str, number: int) -> None:
        """Put a host behind a new one of this name; `number` is this NAT's own. Raises `LocalError` `no-nat` where the
        kernel translates no addresses."""
        self._world = world
        self.router = world.host(router)
        self.host = host
        self._moves = 0
        lan, inside = f"lan{number}", f"inside{number}"
        self._at_router("ip", "link", "add", "eth1", "type", "veth", "peer", "name", inside, "netns", "1")
        for argv in (
            ("ip", "link", "add", lan, "type", "bridge", "stp_state", "0", "forward_delay", "0"),
            ("ip", "link", "set", lan, "up"),
            ("ip", "link", "set", inside, "master", lan, "up"),
            ("ip", "link", "set", host.link, "master", lan),
        ):
            self._world.run(argv).check_returncode()
        self._at_router("ip", "address", "add", f"{GATEWAY}/24", "dev", "eth1")
        self._at_router("ip", "link", "set", "eth1", "up")
        self._at_router("sysctl", "-qw", "net.ipv4.ip_forward=1")
        try:
            self.router.run(["nft", "-f", "-"], input=RULES)
        except subprocess.CalledProcessError as error:
            if "Could not process rule" not in error.stderr:
                raise
            what = f"this kernel translates no addresses: {error.stderr.strip()[:200]}"
            raise LocalError("no-nat", what, "as root: modprobe nft_masq; or do without a NAT") from error
        for argv in (
            ("ip", "address", "flush", "dev", "eth0"),
            ("ip", "address", "add", f"{INSIDE}/24", "dev", "eth0"),
            ("ip", "route", "add", "default", "via", GATEWAY),
        ):
            self.host.run(argv)

    @property
    def outside(self) -> str:
        """The address under which the host is seen."""
        return str(self.router.address(4) + 256 * self._moves)

    def move(self) -> None:
        """Another address outside: what was open is forgotten, and the other end hears nothing of it."""
        # Without this, packets in the middle of a connection open it again, and the other end answers by a reset.
        self._at_router("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
        before = self.outside
        self._moves += 1
        self._at_router("ip", "address", "add", f"{self.outside}/16", "dev", "eth0")
        self._at_router("ip", "address", "del", f"{before}/16", "dev", "eth0")
        # The kernel removes the second address with the first, of which it was a part.
        self._at_router("ip", "address", "replace", f"{self.outside}/16", "dev", "eth0")

    def _at_router(self, *argv: str) -> None:
        self.router.run(argv)
