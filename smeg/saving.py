"""What this node's own part in a mesh has asked the store to keep, and what each save is for.

What is to be published goes along and is given back only with the store's answer, so it is on disk before it is on the
wire. What the store does not answer is sent to it again: saving twice is harmless. It never decides what an answer
means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from smeg import messages as m
from smeg.core import Message
from smeg.stored import StoredMesh

SAVE_AGAIN = 5.0
"""seconds after which what the store has not answered, or may not lose, is sent to it again."""


class Purpose(Enum):
    ENTRY = "entry"
    """The mesh's files and the own record: nothing is said before."""
    RECORD = "record"
    """A newer own record. Nobody waits for it, but it has to be said in the end."""
    ANNEXES = "annexes"
    """Newer own annexes, likewise."""
    CONTACTS = "contacts"
    """Where peers are reached, for the next start; the next look makes them anew."""
    CARD = "card"
    """What the node's user says of it, and the record that says so: a user waits for it."""
    STATICS = "statics"
    """Which devices without a daemon it vouches for: a user waits for it."""
    EVICT = "evict"
    """An admin waits for it."""
    LEAVE = "leave"
    """A user waits for it; afterwards the mesh ends here."""


@dataclass(frozen=True, slots=True)
class Save:
    """One thing that the store was asked to keep."""

    purpose: Purpose
    message: m.SaveMesh | m.SaveOwn
    publish: tuple[bytes, ...] = ()
    """What goes on the wire once it is on disk."""
    request: int | None = None
    """The ticket of who waits for it, if somebody does."""
    result: Mapping[str, Any] | None = None
    """What to answer once it is on disk; None when that answer is somebody else's."""


class Saving:
    """The saves of one mesh that the store has not answered."""

    def __init__(self, mesh: str) -> None:
        self._mesh = mesh
        self._ticket = 0
        self._open: dict[int, Save] = {}
        self._again_at: float | None = None

    def keep_mesh(
        self,
        purpose: Purpose,
        stored: StoredMesh,
        now: float,
        publish: tuple[bytes, ...] = (),
        request: int | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> list[Message]:
        """Keep the mesh's files and documents, then publish these."""
        self._ticket += 1
        return self._ask(Save(purpose, m.SaveMesh(stored, self._ticket), publish, request, result), now)

    def keep_own(
        self,
        purpose: Purpose,
        documents: tuple[bytes, ...],
        now: float,
        request: int | None = None,
        result: Mapping[str, str] | None = None,
    ) -> list[Message]:
        """Keep own documents and publish them."""
        self._ticket += 1
        message = m.SaveOwn(self._mesh, documents, self._ticket)
        return self._ask(Save(purpose, message, documents, request, result), now)

    def get(self, ticket: int) -> Save | None:
        """What an answer of the store is about; None when it was settled before."""
        return self._open.get(ticket)

    def settle(self, save: Save) -> None:
        """The store has answered, for good."""
        del self._open[save.message.ticket]
        if not self._open:
            self._again_at = None

    def waits_for(self, purpose: Purpose) -> bool:
        """Whether something of this kind is not answered yet."""
        return any(save.purpose is purpose for save in self._open.values())

    def publishes(self) -> bool:
        """Whether something waits to be published."""
        return any(save.publish for save in self._open.values())

    def again(self, now: float) -> list[Message]:
        """What is to be sent once more."""
        if self._again_at is None or now < self._again_at:
            return []
        self._again_at = now + SAVE_AGAIN
        return [save.message for save in self._open.values()]

    def next_deadline(self) -> float | None:
        return self._again_at

    def _ask(self, save: Save, now: float) -> list[Message]:
        self._open[save.message.ticket] = save
        if self._again_at is None:
            self._again_at = now + SAVE_AGAIN
        return [save.message]
