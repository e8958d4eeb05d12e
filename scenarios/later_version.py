"""A daemon of a later version, as far as the others notice: its record has a field that they do not know, and between
what they understand it says words and documents that nobody has heard of.
"""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.simulated_gossip import SimulatedGossip
from smeg import messages as m
from smeg.keys import NodeKey
from smeg.wire import Word, pack

UNKNOWN_FIELDS: Mapping[str, str] = {"later": "what nobody knows"}
"""Of its record."""
UNKNOWN_WORD = b"~\x00\x05later"
UNKNOWN_DOCUMENT = bytes(64) + b'{"kind":"later","mesh":"any"}'
EVERY = 20
"""messages, of which the last is followed by one of these."""


class LaterGossip(SimulatedGossip):
    _sent = 0

    def _send(self, mesh: str, channel: m.Channel, to: NodeKey, payload: bytes) -> None:
        super()._send(mesh, channel, to, payload)
        self._sent += 1
        if self._sent % EVERY == 0:
            unknown = pack(Word.DOCUMENTS, [UNKNOWN_DOCUMENT]) if self._sent % (2 * EVERY) else UNKNOWN_WORD
            super()._send(mesh, m.Channel.MEMBERSHIP, to, unknown)
            super()._send(mesh, m.Channel.HEARTBEAT, to, UNKNOWN_WORD)
