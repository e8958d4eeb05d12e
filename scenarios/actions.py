"""The verbs of a script: what can be done to hosts and to the network between them.

Each is one class. Its docstring is what the documentation says, its fields are what may be said with it, and the first
field may be given alone: `kill: leader`. From these classes follow the reader, the schema for editors, and the pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from scenarios.script_values import Count, Factor, MeshName, Offset, Seconds, Share, Sides
from scenarios.selectors import EVERYONE, Selection

Hosts = Annotated[Selection, "to whom it happens"]
Every = Annotated[Seconds, "one host after another, so far apart; 0 is all at once"]
Lasts = Annotated[Seconds, "how long it lasts; 0 is until something undoes it"]
LastsAlone = Annotated[Seconds, "how long it lasts; 0 is to the end, for nothing else undoes it"]
Mesh = Annotated[MeshName, "in which mesh; the first one if it is not said"]
FOREVER = Seconds(0.0)
AT_ONCE = Seconds(0.0)
FIRST = MeshName("")
AWAY, AN_HOUR, BETWEEN_PACKETS = Seconds(1.0), Seconds(3600.0), Seconds(0.5)
FLAP_DOWN, FLAP_UP = Seconds(2.0), Seconds(5.0)
NO_JUMP, NO_DRIFT = Offset(0.0), Factor(1.0)


@dataclass(frozen=True, slots=True)
class Start:
    """The daemon is started, on the disk that it left; a host that is off is switched on first."""

    hosts: Hosts
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Stop:
    """The daemon is told to end, as a service manager does: it removes its interfaces and says nothing more. One that
    stands still does so when it goes on."""

    hosts: Hosts
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Kill:
    """As `kill -9` of the daemon: its host lives, resets its connections and refuses new ones; its tunnels stay."""

    hosts: Hosts
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class PowerOff:
    """The host loses its power: nothing is said, the disk stays."""

    hosts: Hosts
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Pause:
    """The daemon stands still, as SIGSTOP does; what is sent to it waits."""

    hosts: Hosts
    lasts: Lasts = FOREVER
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Resume:
    """It goes on, as SIGCONT does."""

    hosts: Hosts
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon is told to end, and started again when it has."""

    hosts: Hosts
    every: Every = AT_ONCE
    away: Annotated[Seconds, "how long it stays away"] = AWAY


@dataclass(frozen=True, slots=True)
class Partition:
    """The hosts of each side reach those of no other side; whoever is on none is alone with its like."""

    sides: Annotated[Sides, "at least two"]


@dataclass(frozen=True, slots=True)
class Heal:
    """Undoes `partition` and `isolate`."""

    hosts: Annotated[Selection, "everyone"] = EVERYONE


@dataclass(frozen=True, slots=True)
class Isolate:
    """One way only: nothing of what these hosts send arrives, though all is delivered to them; or the other way."""

    hosts: Hosts
    receiving: Annotated[bool, "yes: nothing reaches them, though what they send arrives"] = False


@dataclass(frozen=True, slots=True)
class Loss:
    """So much of all messages never arrives; 0 % ends it."""

    share: Annotated[Share, "of the messages"]
    hosts: Annotated[Selection, "whose links, both ways"] = EVERYONE
    lasts: Lasts = FOREVER


@dataclass(frozen=True, slots=True)
class Delay:
    """Each message arrives so much later; 0 ends it."""

    by: Annotated[Seconds, "added one way"]
    hosts: Annotated[Selection, "whose links, both ways"] = EVERYONE
    lasts: Lasts = FOREVER


@dataclass(frozen=True, slots=True)
class Duplicate:
    """So much of all messages arrives twice; 0 % ends it."""

    share: Annotated[Share, "of the messages"]
    lasts: Lasts = FOREVER


@dataclass(frozen=True, slots=True)
class Reorder:
    """So much of all messages takes up to twenty times as long, so that later ones overtake it; 0 % ends it."""

    share: Annotated[Share, "of the messages"]
    lasts: Lasts = FOREVER


@dataclass(frozen=True, slots=True)
class Flap:
    """A link that goes down and comes up again and again."""

    hosts: Hosts
    lasts: Annotated[Seconds, "how long this goes on; then it is up"]
    down: Annotated[Seconds, "each time"] = FLAP_DOWN
    up: Annotated[Seconds, "each time"] = FLAP_UP


@dataclass(frozen=True, slots=True)
class Roam:
    """The host has another address from now on; its connections are lost. A peer says where it is now at once."""

    hosts: Hosts
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class NatRebind:
    """The NAT before these hosts, of groups with `nat: yes`, forgets all mappings: nothing reaches them until they have
    sent something."""

    hosts: Hosts
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Clock:
    """The host's clocks go wrong: the wall clock jumps, the monotonic one goes at another rate."""

    hosts: Hosts
    jump: Annotated[Offset, "of the wall clock"] = NO_JUMP
    drift: Annotated[Factor, "seconds that the monotonic clock counts in a second"] = NO_DRIFT


@dataclass(frozen=True, slots=True)
class DiskFull:
    """The disk refuses whatever is written."""

    hosts: Hosts
    lasts: LastsAlone = FOREVER


@dataclass(frozen=True, slots=True)
class CorruptState:
    """The database on the disk becomes unreadable; keys stay. The next start notices."""

    hosts: Hosts


@dataclass(frozen=True, slots=True)
class CopyState:
    """These hosts, whose daemons are down, have a copy of another's state directory and configuration from now on, as a
    cloned virtual machine does: the same keys, name and meshes at another address."""

    hosts: Hosts
    of: Annotated[Selection, "whose; the first one of these"]


@dataclass(frozen=True, slots=True)
class Join:
    """These hosts join a mesh, with an invitation by its founder that has as many uses."""

    hosts: Hosts
    mesh: Mesh = FIRST
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Leave:
    """These hosts leave a mesh by their own will."""

    hosts: Hosts
    mesh: Mesh = FIRST
    every: Every = AT_ONCE


@dataclass(frozen=True, slots=True)
class Invite:
    """The founder makes an invitation, by which later `join`s of this mesh come in."""

    uses: Annotated[Count, "how many may use it"]
    mesh: Mesh = FIRST
    expires: Annotated[Seconds, "after which it is refused"] = AN_HOUR


@dataclass(frozen=True, slots=True)
class Evict:
    """The founder, who is an admin, evicts these hosts."""

    hosts: Hosts
    mesh: Mesh = FIRST


@dataclass(frozen=True, slots=True)
class Advertise:
    """These hosts offer again what is behind them (`advertises` of their group): their probe reaches it."""

    hosts: Hosts


@dataclass(frozen=True, slots=True)
class Withdraw:
    """These hosts offer what is behind them no more: their probe does not reach it."""

    hosts: Hosts


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets go from these hosts to others, regularly; what is lost is counted, for the check `outage`."""

    hosts: Annotated[Selection, "who sends"]
    to: Annotated[Selection, "to whom; of many pairs 100 are drawn"]
    lasts: LastsAlone = FOREVER
    each: Annotated[Seconds, "time between two packets"] = BETWEEN_PACKETS


Action = (
    Start | Stop | Kill | PowerOff | Pause | Resume | Restart | Partition | Heal | Isolate | Loss | Delay | Duplicate
    | Reorder | Flap | Roam | NatRebind | Clock | DiskFull | CorruptState | CopyState | Join | Leave | Invite | Evict
    | Advertise | Withdraw | Traffic
)  # fmt: skip
VERBS: dict[str, type[Action]] = {
    "start": Start, "stop": Stop, "kill": Kill, "power-off": PowerOff, "pause": Pause, "resume": Resume,
    "restart": Restart, "partition": Partition, "heal": Heal, "isolate": Isolate, "loss": Loss, "delay": Delay,
    "duplicate": Duplicate, "reorder": Reorder, "flap": Flap, "roam": Roam, "nat-rebind": NatRebind, "clock": Clock,
    "disk-full": DiskFull, "corrupt-state": CorruptState,
    "copy-state": CopyState, "join": Join, "leave": Leave, "invite": Invite,
    "evict": Evict, "advertise": Advertise, "withdraw": Withdraw, "traffic": Traffic,
}  # fmt: skip
WORDS: dict[type[Action], str] = {kind: word for word, kind in VERBS.items()}


GONE = (Stop, Kill, PowerOff, Pause)
BACK = (Start, Resume, Restart)
"""By which hosts are gone, or back."""


def only_ends(action: Action) -> bool:
    """Whether it is no fault but the end of others of its kind: `loss: 0 %`, `delay: 0`."""
    match action:
        case Loss(share=0.0) | Duplicate(share=0.0) | Reorder(share=0.0) | Delay(by=0.0):
            return True
    return False
