"""Whom we dial, and how far an attempt to reach them has come: the values that `links` works on."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from smeg.device import Endpoint
from smeg.edges.events import Reason
from smeg.edges.routers import Limits

RETRIED_WITHIN = 0.02
"""seconds in which libzmq says that it retries, if it does, after it said that a connection came to nothing."""


@dataclass(slots=True)
class Attempt:
    """One connect, until it fails or is closed. Times are monotonic seconds."""

    link: bytes
    """The routing id that we gave it."""
    endpoint: Endpoint
    address: str
    since: float
    aside: bool = False
    """Whether it was made out of turn, and so moves neither the turn nor the waits."""
    begun: bool = False
    ended: float | None = None
    """When it came to nothing before there was a connection: it was refused, unless libzmq retries it."""
    descriptor: int | None = None
    connected: float = 0.0
    shaken: bool = False
    answered: float | None = None
    used: float = 0.0

    def due(self, limits: Limits) -> float:
        """When it is given up, or closed because nothing goes over it."""
        if self.answered is not None:
            return self.used + limits.idle
        if self.ended is not None:
            return self.ended + RETRIED_WITHIN
        return self.since + (min(limits.connect, limits.answer) if self.descriptor is None else limits.answer)

    def silence(self) -> Reason:
        """What it means that nothing more was heard."""
        if self.descriptor is None:
            return Reason.UNREACHABLE
        return Reason.NO_ANSWER if self.shaken else Reason.PUT_OFF


@dataclass(slots=True)
class Target:
    """A key that is to be reached."""

    curve: bytes
    endpoints: tuple[Endpoint, ...]
    again: float
    """When the next attempt may start."""
    wanted: float
    """When somebody asked for it last."""
    attempt: Attempt | None = None
    position: int = 0
    failures: int = 0
    heard: bool = False
    """Whether a host has accepted a connection in this round of endpoints."""

    @property
    def next_endpoint(self) -> Endpoint:
        return self.endpoints[self.position % len(self.endpoints)]

    def due(self, limits: Limits) -> float:
        """When something is to be done about it."""
        if self.attempt is not None:
            return self.attempt.due(limits)
        return min(self.again, self.wanted + limits.idle)

    def answered(self, attempt: Attempt, now: float) -> None:
        """Its holder was reached: from now on the place where it was is the one whose turn it is."""
        attempt.answered = attempt.used = now
        if attempt.aside and attempt.endpoint in self.endpoints:
            attempt.aside = False
            self.position = self.endpoints.index(attempt.endpoint)


def literal(endpoint: Endpoint) -> Endpoint | None:
    """The endpoint in the one spelling that libzmq's events use, or None if it is no address to connect to.

    Names are refused because libzmq would look them up on its I/O thread, for all connections; zones because libzmq
    reports them differently.
    """
    try:
        address = ip_address(endpoint.host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    if address.is_unspecified or address.is_multicast or not 0 < endpoint.port < 65536:
        return None
    return Endpoint(str(address), endpoint.port)
