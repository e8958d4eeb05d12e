"""Which of its endpoints each member is reached by, remembered: to ask again for thousands costs more than a plan.

What was chosen holds until the underlay may have changed, when somebody has to `look_again`: a name has become known,
or half a minute has passed. It never chooses an endpoint inside the mesh itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Network

from smeg.device import Endpoint
from smeg.errors import Problem
from smeg.keys import NodeKey
from smeg.records import Member
from smeg.swallowed import outside

NAMED = 3
"""Members that a problem names."""
Choose = Callable[[tuple[Endpoint, ...], float], Endpoint | None]
"""Of several endpoints the one to use, at a time in monotonic seconds; None while there is none."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    among: tuple[Endpoint, ...]
    endpoint: Endpoint | None

    @property
    def lasts(self) -> bool:
        """Whether there is no other choice whatever the underlay does: it is the only one, and no name."""
        return len(self.among) == 1 and self.endpoint is self.among[0]


class ChosenEndpoints:
    def __init__(self, choose: Choose, overlay: IPv6Network) -> None:
        self._choose = choose
        self._overlay = overlay
        self._chosen: dict[NodeKey, _Chosen] = {}
        self._inside: dict[NodeKey, str] = {}
        """The names of members who name an endpoint inside the mesh."""

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
        before, self._chosen, self._inside = self._chosen, {}, {}
        changed = False
        for member in members:
            known = before.get(member.key)
            if known is not None and known.among is member.record.wireguard and known.lasts:
                self._chosen[member.key] = known
                continue
            found = self._look(member, now)
            changed |= known is None or known.endpoint != found
        return changed

    def problems(self) -> list[Problem]:
        """Members that are looked for where they cannot be."""
        if not self._inside:
            return []
        names = sorted(self._inside.values())
        who = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        message = f"{who}: the record names an endpoint inside the mesh itself, where it is not looked for"
        return [Problem("endpoint-inside-mesh", message, "set publicEndpoint there to an address outside the mesh")]

    def _look(self, member: Member, now: float) -> Endpoint | None:
        among = member.record.wireguard
        possible = outside(among, self._overlay)
        if possible is among:
            self._inside.pop(member.key, None)
        else:
            self._inside[member.key] = member.record.name
        endpoint = self._choose(possible, now)
        self._chosen[member.key] = _Chosen(among, endpoint)
        return endpoint
