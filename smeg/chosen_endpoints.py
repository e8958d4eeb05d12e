"""Which of its endpoints each member is reached by, remembered: to ask again for thousands costs more than a plan.

What was chosen holds until the underlay may have changed, when somebody has to `look_again`: a name has become known,
or half a minute has passed. It never chooses an endpoint inside the mesh itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Network

from smeg.device import Endpoint
from smeg.keys import NodeKey
from smeg.records import Member
from smeg.swallowed import outside

Choose = Callable[[tuple[Endpoint, ...], float], Endpoint | None]
"""Of several endpoints the one to use, at a time in monotonic seconds; None while there is none."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    among: tuple[Endpoint, ...]
    endpoint: Endpoint | None


class ChosenEndpoints:
    def __init__(self, choose: Choose, overlay: IPv6Network) -> None:
        self._choose = choose
        self._overlay = overlay
        self._chosen: dict[NodeKey, _Chosen] = {}

    def of(self, members: Iterable[Member], now: float) -> list[Endpoint | None]:
        """For each, as chosen before, if its record names the same endpoints."""
        chosen, found = self._chosen, []
        for member in members:
            known = chosen.get(member.key)
            if known is not None and known.among is member.record.wireguard:
                found.append(known.endpoint)
            else:
                found.append(self._look(member, now))
        return found

    def look_again(self, members: Iterable[Member], now: float) -> bool:
        """Choose anew for these, and forget the others. Whether another endpoint was chosen for any."""
        before, self._chosen = self._chosen, {}
        changed = False
        for member in members:
            known, found = before.get(member.key), self._look(member, now)
            changed |= known is None or known.endpoint != found
        return changed

    def inside(self, members: Collection[Member]) -> list[Member]:
        """Those who name an endpoint inside the mesh itself."""
        return [each for each in members if outside(each.record.wireguard, self._overlay) is not each.record.wireguard]

    def _look(self, member: Member, now: float) -> Endpoint | None:
        among = member.record.wireguard
        endpoint = self._choose(outside(among, self._overlay), now)
        self._chosen[member.key] = _Chosen(among, endpoint)
        return endpoint
