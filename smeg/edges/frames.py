"""What a gossip message looks like on the wire, and the check that everything from there passes first.

A message is three ZeroMQ frames: mesh id, channel, payload. HELLO and its answer, which only the transport sees, have
an empty mesh id. A hello says nothing more; its answer says from which address it came. Nothing here knows who sent
it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from smeg.errors import RemoteError
from smeg.messages import Channel

MAX_PAYLOAD = 64 * 1024
"""bytes."""
MAX_FRAME = MAX_PAYLOAD + 64
"""bytes; what libzmq lets in, so that CURVE's 33 bytes of envelope fit around a full payload (RFC 26/CurveZMQ)."""
MESSAGE_OVERHEAD = 3 * 48
"""bytes; at least what the three frames of a message take on the wire beside their contents."""

HELLO = b"?"
HELLO_ANSWER = b"!"
JOIN = b"J"
FROM_GUEST = frozenset({JOIN})
"""What a key that is no member may send us."""
FROM_STRANGE_SERVER = frozenset({b"W", b"M"})
"""What a server may send us that we dialled and that is no member yet: the answer to joining."""

HELLO_FRAMES = [b"", HELLO, b""]

_KINDS = {channel.value: channel.name.lower() for channel in Channel}
_MESH = re.compile(rb"[a-z2-7]{1,64}")


@dataclass(frozen=True, slots=True)
class Frames:
    """A well-formed message. `mesh` is empty for HELLO and its answer only."""

    mesh: str
    channel: bytes
    payload: bytes


def hello_answer(peer: str) -> list[bytes]:
    """The answer to a hello that came from this address, as text; nothing is said of what is no address."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return [b"", HELLO_ANSWER, b""]
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return [b"", HELLO_ANSWER, (mapped or address).packed]


def kind_of(channel: bytes) -> str:
    """How what goes by a channel is counted."""
    return _KINDS.get(channel, "other")


def parse(parts: Sequence[bytes]) -> Frames:
    """The message in `parts` (without routing id). Raises `RemoteError`, its code being the reason to count."""
    if len(parts) != 3:
        raise RemoteError("wrong-parts", f"a message has 3 frames, this has {len(parts)}")
    mesh, channel, payload = parts
    if len(channel) != 1:
        raise RemoteError("bad-channel", f"a channel is one byte, this has {len(channel)}")
    if len(payload) > MAX_PAYLOAD:
        raise RemoteError("too-large", f"a payload has at most {MAX_PAYLOAD} bytes, this has {len(payload)}")
    if channel in (HELLO, HELLO_ANSWER):
        if mesh or len(payload) not in ((0, 4, 16) if channel == HELLO_ANSWER else (0,)):
            raise RemoteError("bad-hello", "a hello has neither mesh id nor payload, its answer an address at most")
    elif not _MESH.fullmatch(mesh):
        raise RemoteError("bad-mesh-id", "a mesh id is 1 to 64 letters of a-z2-7")
    return Frames(mesh.decode("ascii"), channel, payload)


def pack(mesh: str, channel: bytes, payload: bytes) -> list[bytes]:
    """The frames of a message of our own. Raises `RemoteError` if no receiver would accept them."""
    parts = [mesh.encode("ascii", "replace"), channel, payload]
    if not parse(parts).mesh:
        raise RemoteError("bad-channel", "this channel is the transport's own")
    return parts
