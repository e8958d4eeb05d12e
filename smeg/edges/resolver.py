"""Host names of the underlay, resolved in the background: whoever asks gets what is known now and hears of more later.

No caller ever waits, so a name that does not resolve harms nobody but its owner. Answers are kept for a while and
asked for again; the last good one serves until there is a better.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socket import AF_INET, AF_INET6, inet_pton

from smeg.device import Endpoint
from smeg.edges.underlay import reachable, resolve
from smeg.errors import LocalError

KEEP = 300.0
"""seconds that an answer counts."""
ASK_AGAIN = 30.0
"""seconds until a name that had no answer is asked for again."""
ROUTE_KEEP = 30.0
"""seconds that "there is a route" counts."""
MOST = 4096
"""Names and routes that are remembered."""


class Resolver:
    """Times are monotonic seconds. `choose` and `endpoints` belong to one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()
        self._asking: set[str] = set()
        self._routes: OrderedDict[Endpoint, tuple[float, bool]] = OrderedDict()
        self._notify: Callable[[], None] = lambda: None
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def listen(self, resolved: Callable[[], None]) -> None:
        """Call `resolved`, from a thread of its own, whenever a name has become known."""
        self._notify = resolved

    def choose(self, endpoints: tuple[Endpoint, ...], now: float) -> Endpoint | None:
        """The first literal endpoint that the kernel has a route to; the first at all when it has none to any."""
        known = self.endpoints(endpoints, now)
        if len(known) < 2:
            return known[0] if known else None
        return next((endpoint for endpoint in known if self._routed(endpoint, now)), known[0] if known else None)

    def endpoints(self, endpoints: tuple[Endpoint, ...], now: float) -> tuple[Endpoint, ...]:
        """Those that are known as literal addresses by now; the others are being asked for."""
        found: list[Endpoint] = []
        for endpoint in endpoints:
            if _is_literal(endpoint.host):
                found.append(endpoint)
            else:
                found += [Endpoint(address, endpoint.port) for address in self._known(endpoint.host, now)]
        return tuple(found)

    def unresolved(self, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """Those whose name was asked for and has no address."""
        with self._lock:
            nameless = {host for host, (_, addresses) in self._names.items() if not addresses} - self._asking
        return tuple(endpoint for endpoint in endpoints if endpoint.host in nameless)

    def close(self) -> None:
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _known(self, host: str, now: float) -> tuple[str, ...]:
        with self._lock:
            asked, addresses = self._names.get(host, (-KEEP, ()))
            stale = now - asked > (KEEP if addresses else ASK_AGAIN)
            if stale and host not in self._asking and not self._closed and len(self._asking) < MOST:
                self._asking.add(host)
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(2, "resolver")
                self._pool.submit(self._ask, host)
        return addresses

    def _ask(self, host: str) -> None:
        addresses: tuple[str, ...] = ()
        with suppress(LocalError):
            addresses = tuple(endpoint.host for endpoint in resolve(host, 1))
        with self._lock:
            before = self._names.pop(host, (0.0, ()))[1]
            self._names[host] = (time.monotonic(), addresses or before)
            self._asking.discard(host)
            while len(self._names) > MOST:
                self._names.popitem(last=False)
        if addresses and addresses != before and not self._closed:
            self._notify()

    def _routed(self, endpoint: Endpoint, now: float) -> bool:
        looked, found = self._routes.get(endpoint, (-ROUTE_KEEP, False))
        if now - looked >= ROUTE_KEEP:
            found = reachable(endpoint)
            self._routes[endpoint] = (now, found)
            if len(self._routes) > MOST:
                self._routes.popitem(last=False)
        return found


def _is_literal(host: str) -> bool:
    """As in a record: canonical. There are thousands to look at, again and again."""
    with suppress(OSError):
        return bool(inet_pton(AF_INET6 if ":" in host else AF_INET, host))
    return False
