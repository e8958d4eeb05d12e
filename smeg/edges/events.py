"""What the transport tells about connections, as values. Nothing here says anything about a member or a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smeg.device import Endpoint
from smeg.errors import Problem


class Reason(StrEnum):
    """Why an endpoint did not become a connection, in words for a person."""

    UNREACHABLE = "unreachable"
    """No TCP connection came about in time."""
    CLOSED = "connection closed"
    NO_HANDSHAKE = "not this node, or not smegmesh"
    """It accepts connections, but holds another key or speaks another language."""
    PUT_OFF = "does not let us in yet"
    """It accepts connections, but did not end the handshake: it is busy, hangs, or takes no guests now."""
    DENIED = "refuses us"
    """It ended the handshake with a denial: there we are evicted."""
    NO_ANSWER = "lets us in, but does not answer"
    ENDPOINT_IN_USE = "another key is dialled at this endpoint"
    BAD_ENDPOINT = "not a literal address and port"
    TOO_MANY = "too many connections are kept already"
    EVICTED = "evicted"


@dataclass(frozen=True, slots=True)
class Connected:
    """The holder of `curve` has answered at `endpoint`; messages can be sent to it."""

    curve: bytes
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Lost:
    """A connection that had answered has ended; it is tried again."""

    curve: bytes
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Parted:
    """The last connection that the holder of `curve` made to us has ended, and not by our doing."""

    curve: bytes


@dataclass(frozen=True, slots=True)
class Idle:
    """A connection was closed because nothing went over it; it is not tried again until it is dialled."""

    curve: bytes
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An attempt failed; the next endpoint is tried."""

    curve: bytes
    endpoint: Endpoint
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens there, as the host says: it lives and its daemon does not.

    Evidence, no proof: a firewall before it may say so in its place.
    """

    curve: bytes
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Deaf:
    """No connection is accepted for the time being."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Hearing:
    """Connections are accepted again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The holder of `curve`, whom we dialled, says from which address: 4 or 16 bytes."""

    curve: bytes
    address: bytes


Event = Connected | Lost | Parted | Idle | Unanswered | Refused | Deaf | Hearing | Seen
