"""Faults drawn from chance, one after another, of every kind that the simulated world knows and that can be undone.

They overlap, but no two of a kind befall one host at once, and never more than a third of a mesh's peers is away,
unless the script is one of a catastrophe, of which less is expected. What is drawn keeps account of who is where, so
that no event is about nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.drawn_hosts import Topology
from scenarios.script import Begins, Event
from scenarios.script_values import EventName, Factor, MeshName, Offset, Seconds, Share, Sides
from scenarios.selectors import EVERYONE, Leader, Named, Next, Of, Part, Rest, Selection, Selector, Some

CATASTROPHES = 0.1
"""Part of the scripts in which nearly everybody is away for a while."""
MOVES = 0.4
"""Part in which hosts join and leave; in the others the leader and those next in line may die."""
GAPS = (0, 0, 1, 2, 3, 5, 8, 15, 30, 60)
"""seconds between two faults."""
FEW_OBSERVERS = 4
"""peers of a mesh; with fewer one is not watched by three."""
KNOWN_WITHIN = 15.0
"""seconds, beside five heartbeats, in which all know who is gone, when nothing else is wrong."""
TO_THE_END = 1e9
"""seconds."""
MOVED_WITHIN = 12.0
"""seconds in which all know who came or left."""


@dataclass(slots=True)
class Faults:
    chance: Random
    topology: Topology
    interval: float
    """seconds between two heartbeats."""
    events: list[Event] = field(default_factory=list)
    known: list[tuple[str, e.KnownByAll, float]] = field(default_factory=list)
    """What must be known of events: the event, what, and within how many seconds."""
    away: set[str] = field(default_factory=set)
    """Who has left or was evicted, and did not come back."""
    moved_groups: set[str] = field(default_factory=set)
    catastrophe: bool = field(init=False)
    _moves: bool = field(init=False)
    _at: float = 5.0
    """When the next fault begins, in seconds."""
    _busy: dict[tuple[str, str], float] = field(default_factory=dict)
    """By host and kind of fault: until when. An empty name stands for the network."""
    _absent: list[tuple[float, int]] = field(default_factory=list)
    """Until when, how many peers are away."""
    _outside: set[str] = field(default_factory=set)
    _off: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.catastrophe = self.chance.random() < CATASTROPHES
        self._moves = self.chance.random() < MOVES and not self.catastrophe
        for group in self.topology.hosts:
            names = [f"{group.name}-{number}" for number in range(1, int(group.count) + 1)]
            if group.begins is Begins.OUTSIDE:
                self._outside.update(names)
            elif group.begins is Begins.OFF:
                self._off.update(names)

    def befall(self) -> None:
        """One more fault, after a while; nothing, if what was drawn cannot be now."""
        kinds: list[tuple[int, Callable[[], None]]] = [
            (4, self._go_down), (2, self._restart), (2, self._pause), (2, self._flap), (2, self._partition),
            (2, self._isolate), (2, self._lose), (1, self._delay), (1, self._duplicate), (2, self._reorder),
            (1, self._move_clients), (1, self._clock), (1, self._fill_disk), (1, self._corrupt),
        ]  # fmt: skip
        if self._moves:
            kinds.append((6, self._move))
        if self.catastrophe:
            kinds.append((6, self._catastrophe))
        if any(group.advertises for group in self.topology.hosts):
            kinds.append((6, self._withdraw))
        weights = [weight for weight, _ in kinds]
        (kind,) = self.chance.choices([kind for _, kind in kinds], weights)
        kind()
        self._at = round(self._at + self.chance.choice(GAPS), 3)

    def quiet_at(self) -> float:
        """When all is over that ends by itself, in seconds."""
        ends = [*self._busy.values(), *(end for end, _ in self._absent)]
        return round(max([self._at, *(end for end in ends if end < TO_THE_END)]) + 1.0, 3)

    # What there is.

    def _lasting(self, *choices: float) -> Seconds:
        return Seconds(self.chance.choice(choices))

    def _is_free(self, name: str, *kinds: str) -> bool:
        return all(self._busy.get((name, kind), 0.0) <= self._at for kind in kinds)

    def _keep(self, name: str, kind: str, seconds: float) -> None:
        self._busy[name, kind] = max(self._busy.get((name, kind), 0.0), self._at + seconds)

    def _hosts(self, role: str = "", *kinds: str) -> list[str]:
        """Members from the start whose hosts are on and free of such faults; where hosts move, no founder."""
        kept = set(self.topology.founders.values()) if self._moves else set()
        found = []
        for group in self.topology.hosts:
            if group.begins is Begins.MEMBER and role in ("", group.role):
                found += [f"{group.name}-{number}" for number in range(1, int(group.count) + 1)]
        return [one for one in found if one not in kept | self.away and self._is_free(one, *kinds)]

    def _pick(self, most: int, role: str = "", *kinds: str) -> tuple[str, ...]:
        able = self._hosts(role, *kinds)
        return tuple(self.chance.sample(able, min(len(able), self.chance.randint(1, most)))) if able else ()

    def _smallest(self) -> int:
        """How many peers the smallest mesh has."""
        sizes = []
        for mesh in self.topology.meshes:
            groups = {group.name: group for group in self.topology.hosts}
            members = [groups[name] for name in self.topology.members(mesh)]
            sizes.append(sum(int(one.count) for one in members if one.role == "peer" and one.begins is Begins.MEMBER))
        return min(sizes)

    def _room(self) -> int:
        """How many more peers may be away: of the smallest mesh, a third."""
        taken = sum(count for until, count in self._absent if until > self._at)
        return max(0, self._smallest() // 3 - taken)

    def _calm(self) -> bool:
        """Whether nothing is wrong with the network or with anybody, but that some may be gone."""
        return all(until <= self._at or until >= TO_THE_END for until in self._busy.values())

    def _say(self, action: a.Action, at: float | None = None) -> str:
        name = f"{a.WORDS[type(action)]}-{len(self.events) + 1}"
        self.events.append(Event(0, action, name, Seconds(self._at if at is None else round(at, 3))))
        self.events.sort(key=lambda event: event.at or 0.0)
        return name

    # Hosts.

    def _subjects(self, most: int) -> Selection | None:
        """Peers or clients that go away: by name, or by what they are; None if nobody may."""
        room = min(most, self._room())
        if room and not self._moves and self._is_free("", "leading") and self.chance.random() < 0.4:
            mesh = self.chance.choice(list(self.topology.meshes))
            several: tuple[Selector, ...] = (Leader(mesh), Next(room - 1, mesh)) if room > 1 else (Leader(mesh),)
            self._keep("", "leading", 120.0)
            self._absent.append((self._at + 60.0, room))
            return Selection(self.chance.choice(((Leader(mesh),), (Next(1, mesh),), several)))
        if not self._is_free("", "leading"):
            return None
        names = self._pick(room, "peer", "daemon") if room else ()
        if self.chance.random() < 0.3:
            names += self._pick(2, "client", "daemon")
        self._absent.append((self._at + 60.0, len(names)))
        return Selection(tuple(Named(name) for name in names)) if names else None

    def _meshes_of(self, subjects: Selection) -> list[str]:
        """Those in which one of them is for sure: of who leads, the mesh that it leads."""
        groups = {one.name.rpartition("-")[0] for one in subjects if isinstance(one, Named)}
        led = {one.mesh for one in subjects if isinstance(one, (Leader, Next))}
        return [mesh for mesh in self.topology.meshes if mesh in led or groups & {*self.topology.members(mesh)}]

    def _hold(self, subjects: Selection, kind: str, seconds: float) -> None:
        for one in subjects:
            if isinstance(one, Named):
                self._keep(one.name, kind, seconds)

    def _go_down(self) -> None:
        calm = self._calm()
        subjects = self._subjects(3)
        if subjects is None:
            return
        verb = self.chance.choice((a.PowerOff, a.Kill, a.Stop))
        name = self._say(verb(subjects))
        away = float(self.chance.choice((2, 5, 20, 45, 60)))
        within = KNOWN_WITHIN + 5 * self.interval
        if calm and self.chance.random() < 0.5:
            away = within + 5.0
            self.known += [
                (name, e.KnownByAll(EventName(name), MeshName(mesh)), within) for mesh in self._meshes_of(subjects)
            ]
            self._hold(subjects, "daemon", away + 10.0)
            self._say(a.Start(Selection((Of(name),))), self._at + away)
            self._at = round(self._at + away, 3)
            return
        if self.chance.random() < 0.5:
            self._say(a.Start(Selection((Of(name),))), self._at + away)
            self._hold(subjects, "daemon", away + 10.0)
        else:
            # Until the end.
            self._hold(subjects, "daemon", TO_THE_END)
            self._absent[-1] = (TO_THE_END, self._absent[-1][1])

    def _restart(self) -> None:
        subjects = self._subjects(3)
        if subjects is not None:
            every, away = self._lasting(0, 0.5, 3), self._lasting(0.2, 1, 5, 20)
            self._say(a.Restart(subjects, every, away))
            self._hold(subjects, "daemon", every * len(subjects) + away + 10.0)

    def _pause(self) -> None:
        subjects = self._subjects(2)
        if subjects is not None:
            lasts = self._lasting(0.5, 2, 5, 12, 40)
            self._say(a.Pause(subjects, lasts))
            self._hold(subjects, "daemon", lasts + 10.0)

    def _flap(self) -> None:
        names = self._pick(max(1, min(2, self._room())), "", "link") if self._room() else ()
        if names:
            lasts = self._lasting(10, 30, 60)
            self._say(a.Flap(_named(names), lasts, self._lasting(1, 2, 4), self._lasting(2, 3, 6)))
            self._absent.append((self._at + lasts, len(names)))
            for name in names:
                self._keep(name, "link", lasts + 5.0)

    def _clock(self) -> None:
        names = self._pick(2, "", "clock")
        if names:
            jump = Offset(self.chance.choice((0, 600, -600) if self._moves else (0, 3 * 3600, -6 * 3600)))
            self._say(a.Clock(_named(names), jump, Factor(self.chance.choice((1.0, 0.995, 1.005, 1.01)))))
            for name in names:
                self._keep(name, "clock", 0.0)
                self._busy[name, "clock"] = TO_THE_END

    def _fill_disk(self) -> None:
        names = self._pick(2, "", "disk")
        if names:
            lasts = self._lasting(10, 40, 90)
            self._say(a.DiskFull(_named(names), lasts))
            for name in names:
                self._keep(name, "disk", lasts + 5.0)

    def _corrupt(self) -> None:
        """A database is lost in a power cut."""
        if not self._room():
            return
        names = self._pick(1, "peer", "daemon", "disk")
        if names and self._is_free("", "leading"):
            away = self._lasting(1, 10, 30)
            name = self._say(a.PowerOff(_named(names)))
            self._say(a.CorruptState(Selection((Of(name),))), self._at + 0.5)
            self._say(a.Start(Selection((Of(name),))), self._at + 0.5 + away)
            self._absent.append((self._at + away + 10.0, 1))
            self._keep(names[0], "daemon", away + 10.0)
            self._keep(names[0], "disk", away + 10.0)

    def _move_clients(self) -> None:
        names = self._pick(3, "client", "link")
        if names:
            verb = self.chance.choice((a.Roam, a.NatRebind))
            self._say(verb(_named(names), self._lasting(0, 1)))
            for name in names:
                self._keep(name, "link", 5.0)

    def _catastrophe(self) -> None:
        if not self._is_free("", "leading"):
            return
        share = self.chance.choice((0.5, 0.7, 0.9))
        chosen = Selection((Part(share),)) if self.chance.random() < 0.5 else EVERYONE
        name = self._say(self.chance.choice((a.PowerOff, a.Kill, a.Stop))(chosen))
        back = self._at + float(self.chance.choice((1, 10, 60)))
        every = self._lasting(0, 0.5, 2)
        self._say(a.Start(Selection((Of(name),)), every), back)
        self._keep("", "leading", back - self._at + 60.0)
        # Nor are there two sides before they are back.
        self._keep("", "cut", back - self._at + every * sum(int(group.count) for group in self.topology.hosts))

    def _withdraw(self) -> None:
        if self._is_free("", "exits"):
            name = f"exits-{self.chance.randint(1, 2)}"
            lasts = float(self.chance.choice((3, 20)))
            self._say(a.Withdraw(_named((name,))))
            self._say(a.Advertise(_named((name,))), self._at + lasts)
            self._keep("", "exits", lasts + 1.0)

    # The network.

    def _partition(self) -> None:
        if not self._is_free("", "cut"):
            return
        # Clients that are left without a peer reach nobody, not even each other; and of the group that is drawn,
        # somebody has to be there.
        gone = sum(count for until, count in self._absent if until > self._at)
        groups = [
            group
            for group in self.topology.hosts
            if group.begins is Begins.MEMBER and group.role == "peer" and int(group.count) > gone
        ]
        if not groups:
            return
        group = self.chance.choice(groups)
        few = self.chance.randint(1, max(1, int(group.count) - 1))
        part: tuple[Selector, ...] = (Part(self.chance.choice((0.2, 0.5)), group.name),)
        side = Selection((Some(few, group.name),) if self.chance.random() < 0.5 else part)
        self._say(a.Partition(Sides((side, Selection((Rest(),))))))
        self._heal_after(float(self.chance.choice((1, 4, 12, 40, 90))))

    def _isolate(self) -> None:
        names = self._pick(1, "", "link")
        if names and self._room() and self._is_free("", "cut"):
            self._say(a.Isolate(_named(names), self.chance.random() < 0.5))
            lasts = float(self.chance.choice((2, 10, 40)))
            self._absent.append((self._at + lasts, 1))
            self._heal_after(lasts)

    def _share(self, usual: tuple[float, ...], few: tuple[float, ...]) -> Share:
        """Of all messages: one of these, or of those if a mesh has few observers."""
        return Share(self.chance.choice(usual if self._smallest() >= FEW_OBSERVERS else few))

    def _heal_after(self, seconds: float) -> None:
        self._say(a.Heal(), self._at + seconds)
        self._keep("", "cut", seconds + 10.0)

    def _lose(self) -> None:
        if self._is_free("", "loss"):
            lasts = self._lasting(10, 30, 90)
            # With more the four beats that it takes are lost in a row now and then, where one alone watches another,
            # and for two at once elsewhere.
            share = self._share((0.01, 0.02, 0.03), (0.005, 0.01, 0.02))
            self._say(a.Loss(share, EVERYONE, lasts))
            self._keep("", "loss", lasts + 3.0)

    def _delay(self) -> None:
        if self._is_free("", "delay"):
            lasts = self._lasting(10, 30, 90)
            self._say(a.Delay(self._lasting(0.05, 0.1, 0.15), EVERYONE, lasts))
            self._keep("", "delay", lasts + 3.0)

    def _duplicate(self) -> None:
        if self._is_free("", "duplicate"):
            lasts = self._lasting(10, 60)
            self._say(a.Duplicate(Share(self.chance.choice((0.05, 0.2))), lasts))
            self._keep("", "duplicate", lasts + 3.0)

    def _reorder(self) -> None:
        if self._is_free("", "reorder"):
            lasts = self._lasting(10, 60)
            self._say(a.Reorder(self._share((0.05, 0.1, 0.2), (0.01, 0.02, 0.05)), lasts))
            self._keep("", "reorder", lasts + 3.0)

    # Members.

    def _move(self) -> None:
        """Somebody comes or goes, while all can hear of it."""
        if not self._calm():
            self._at = min(self.quiet_at(), self._at + 120.0)
            if not self._calm():
                return
        mesh = self.chance.choice(list(self.topology.meshes))
        groups = self.topology.meshes[mesh]
        able = [name for name in self._hosts("", "daemon", "link", "disk") if name.rpartition("-")[0] in groups]
        peers = {group.name for group in self.topology.hosts if group.role == "peer"}
        spare = sum(name.rpartition("-")[0] in peers for name in able)
        able = [name for name in able if name.rpartition("-")[0] not in peers or spare > 2]
        verb = self.chance.choice((a.Join, a.Leave, a.Evict))
        if verb is a.Join and self._outside:
            names = self.chance.sample(sorted(self._outside), self.chance.randint(1, len(self._outside)))
            self._outside.difference_update(names)
            self.away.difference_update(names)
            event = self._say(a.Join(_named(tuple(names)), MeshName(mesh)))
        elif able:
            one = self.chance.choice(able)
            self.away.add(one)
            self.moved_groups.add(one.rpartition("-")[0])
            event = self._say((a.Leave if verb is a.Join else verb)(_named((one,)), MeshName(mesh)))
        else:
            return
        self.known.append((event, e.KnownByAll(EventName(event), MeshName(mesh)), MOVED_WITHIN))
        self._at = round(self._at + MOVED_WITHIN + 3.0, 3)


def _named(names: tuple[str, ...]) -> Selection:
    return Selection(tuple(Named(name) for name in names))
