"""When what this node offers into a mesh becomes annexes: by the newest offers, and by the annexes that stand already.

Between two publications lies a moment, and after a start a longer one, for a daemon that comes back does not know at
once again all that it can offer, and would withdraw it. Nothing is withdrawn before it has heard what to offer. It
never sends or saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smeg import messages as m
from smeg.annexes import Annex
from smeg.device_evictions import LABEL as EVICTED
from smeg.errors import Problem
from smeg.keys import NodeKey, Secret
from smeg.offer_budget import choose
from smeg.offer_labels import bodies
from smeg.own_annexes import MOST, OwnAnnexes
from smeg.own_record import OwnRecordWriter
from smeg.static_clients import LABEL as STATIC
from smeg.static_clients import StaticClient, body

APART = 0.1
"""seconds between two publications."""
AFTER_START = 3.0
"""seconds before the first, where something stands already."""
AFTER_SURPRISE = 1.0
"""seconds after others knew newer annexes of ours: a second daemon with a copy of the state is not to be outrun."""


class OwnOffers:
    """`identity` is the secret of `node`, this node."""

    def __init__(self, mesh: str, node: NodeKey, identity: Secret) -> None:
        self._mesh = mesh
        self._node = node
        self._identity = identity
        self._own: OwnAnnexes | None = None
        self._offers: m.OffersChanged | None = None
        self._said: Mapping[str, Annex] = {}
        """What others know, as far as this replica does."""
        self._open = False
        """Whether something was heard since annexes were last compared with offers."""
        self._at = 0.0
        self._left_out = False
        """Whether it was said that not all offers have room."""
        self._problems: list[Problem] = []
        self._statics: tuple[StaticClient, ...] = ()
        self._evictions = b""
        """Body of the annex that evicts devices; once said it is nowhere but in that annex."""
        self.room_again = False
        """Whether there is room for all since this was last set to False."""

    def begin(self, record: OwnRecordWriter, known: Iterable[Annex], now: float) -> None:
        """This node is admitted, by the `record` that it writes; `known` annexes were on its disk."""
        self._own = OwnAnnexes(self._mesh, self._identity, record, known)
        self._own.see(self._said.values())
        self._evictions = self._evictions or self._own.body(EVICTED)
        self._at = now if self._own.empty else now + AFTER_START

    def hear(self, message: m.OffersChanged | m.AnnexesChanged, now: float) -> bool:
        """Whether others know newer annexes of ours."""
        if isinstance(message, m.OffersChanged):
            self._offers, self._open = message, True
            return False
        said = message.annexes.get(self._node, {})
        if said is not self._said:
            self._said = said
            if self._own is not None and self._own.see(said.values()):
                self._open = True
                self._at = max(self._at, now + AFTER_SURPRISE)
                self._evictions = self._evictions or self._own.body(EVICTED)
                return True
        return False

    def vouch(self, statics: tuple[StaticClient, ...]) -> None:
        """For these devices without a daemon, from now on."""
        self._open |= statics != self._statics
        self._statics = statics

    @property
    def evictions(self) -> bytes:
        """The body by which this node evicts devices; empty when it does not."""
        return self._evictions

    def evict(self, evictions: bytes) -> None:
        """Say this from now on."""
        self._open |= evictions != self._evictions
        self._evictions = evictions

    def due(self) -> float | None:
        """When to look whether something has to be published; None when nothing has."""
        return self._at if self._open and self._offers is not None and self._own is not None else None

    def revise(self, now: float) -> tuple[bytes, ...]:
        """What is to be published, once it is `due`."""
        at = self.due()
        if at is None or now < at:
            return ()
        assert self._own is not None and self._offers is not None
        self._open = False
        room = MOST - bool(self._statics) - bool(self._evictions)
        chosen = choose(self._mesh, self._offers.offers, self._offers.passports, room)
        self._tell_left_out(chosen.left_out)
        evictions = {EVICTED: self._evictions} if self._evictions else {}
        statics = {STATIC: body(self._statics)} if self._statics else {}
        said = bodies(self._mesh, chosen.offers, chosen.passports, self._identity)
        documents = self._own.want({**evictions, **statics, **said})
        if documents:
            self._at = now + APART
        return documents

    def _tell_left_out(self, count: int) -> None:
        """Once, until there is room for all again."""
        if count and not self._left_out:
            message = f"there is no room for {count} of the offers that this node should make into the mesh"
            self._problems.append(Problem("too-many-offers", message, "leave some out by importRoutes or exportRoutes"))
        self.room_again |= self._left_out and not count
        self._left_out = bool(count)

    def take_problems(self) -> list[Problem]:
        """Of what could not be published, since this was asked last."""
        if self._own is None:
            return []
        problems = [*self._problems, *self._own.problems]
        self._problems, self._own.problems = [], []
        return problems
