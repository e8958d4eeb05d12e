"""Everything signed that one replica of a mesh holds, and what follows from it: statements, certificates, members.

A ledger takes documents in and says who belongs; it sends nothing and knows nobody's liveness. `fork` makes another
with the same content at next to no cost: the two share what neither has changed since, which is how thousands of
simulated nodes fit into one process.
"""

from __future__ import annotations

from collections.abc import Iterable

from smeg.chain import Chain
from smeg.intake import Intake, Taken
from smeg.notary import Notary
from smeg.repair import Repair
from smeg.replica import Replica
from smeg.roster import Roster


class Ledger:
    __slots__ = ("chain", "intake", "notary", "repair", "replica", "roster")

    def __init__(self, mesh: str, notary: Notary) -> None:
        self.notary = notary
        self.replica = Replica()
        self.chain = Chain(mesh, notary)
        self.roster = Roster(mesh, self.replica, self.chain)
        self.intake = Intake(mesh, self.replica, self.chain, notary)
        self.repair = Repair(self.replica, self.chain)

    @property
    def mesh(self) -> str:
        return self.chain.mesh

    def take(self, documents: Iterable[bytes], wall: int, now: float | None = None) -> Taken:
        """Let every document count that may, and judge whom it concerns. `wall` in seconds since 1970.

        With `now`, monotonic seconds, no author's statements count too fast.
        """
        taken = self.intake.take(documents, now)
        if taken.changed:
            self.roster.update(taken.changed, wall)
        return taken

    def fork(self) -> Ledger:
        """Another with the same content and the same notary, which changes on its own."""
        made = Ledger.__new__(Ledger)
        made.notary = self.notary
        made.replica = self.replica.fork()
        made.chain = self.chain.fork()
        made.roster = self.roster.fork(made.replica, made.chain)
        made.intake = self.intake.fork(made.replica, made.chain)
        made.repair = Repair(made.replica, made.chain)
        return made
