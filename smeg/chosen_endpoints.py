"""Which of its endpoints each member is reached by, remembered: to ask again for thousands costs more than a plan.

What was chosen holds until the underlay may have changed, when somebody has to `look_again`: a name has become known,
or half a minute has passed. It never chooses an endpoint inside the mesh itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


class ChosenEndpoints:
    def __init__(self, choose: Choose, overlay: IPv6Network) -> None:
        self._choose = choose
        self._overlay = overlay
        self._among: dict[NodeKey, tuple[Endpoint, ...]] = {}
        """Of whom one was chosen: what the record named."""
        self._chosen: dict[NodeKey, Endpoint | None] = {}
        """Which it was; of most members nothing: it is the only one named and no name, whatever the underlay does."""
        self._inside: dict[NodeKey, str] = {}
        """The names of members who name an endpoint inside the mesh."""

    def of(self, members: Iterable[Member], now: float) -> list[Endpoint | None]:
        """For each, as chosen before, if its record names the same endpoints."""
        among, chosen, found = self._among, self._chosen, []
        for member in members:
            key, named = member.key, member.record.wireguard
            if among.get(key) is not named:
                found.append(self._look(member, now))
            else:
                found.append(chosen[key] if key in chosen else named[0])
        return found

    def look_again(self, members: Iterable[Member], now: float) -> bool:
        """Choose anew for these, and forget the others. Whether another endpoint was chosen for any."""
        among, chosen = self._among, self._chosen
        self._among, self._chosen, self._inside = {}, {}, {}
        changed = False
        for member in members:
            key, known = member.key, among.get(member.key)
            if known is member.record.wireguard and key not in chosen:
                self._among[key] = known
                continue
            found = self._look(member, now)
            changed |= known is None or found != (chosen[key] if key in chosen else known[0])
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
        self._among[member.key] = among
        if len(among) == 1 and endpoint is among[0]:
            self._chosen.pop(member.key, None)
        else:
            self._chosen[member.key] = endpoint
        return endpoint
