"""Joining a mesh by a token: which contact is asked next, what its answer means, and what is said when nobody lets us
in.

It makes the node certificate with the token's key, asks the contacts one after another, and verifies the
countersignature before it counts. It never stores or publishes anything: `mesh.Mesh` does when this succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from smeg import messages as m
from smeg.annexes import Annex
from smeg.certificates import Certificate, Countersignature, Grant, new_node
from smeg.chain import Chain, MissingDocuments
from smeg.core import Message
from smeg.device import Endpoint
from smeg.errors import Problem
from smeg.keys import NodeKey, Secret, possession, x25519_public
from smeg.notary import Notary
from smeg.records import Record, Remove, Standing
from smeg.tokens import Token
from smeg.wire import Word, pack, unpack

ASK_TIMEOUT = 4.0
"""seconds that one contact has to answer."""
ASK_AGAIN = 1.0
"""seconds after which an unanswered question is repeated: it may have been lost with a connection."""
PATIENCE = 20.0
"""seconds until joining is given up."""
ELSEWHERE = frozenset({"not-a-member", "no-authority"})
"""Refusals that only say that somebody else has to be asked."""


class Stage(Enum):
    ASKING = "asking"
    ADMITTED = "admitted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JoinKeys:
    """The secrets that a joiner shows to hold."""

    node: NodeKey
    wireguard: Secret
    curve: Secret


class Joining:
    """`grant` is what to ask for, at most the invitation's; `wall` in seconds since 1970."""

    def __init__(self, token: Token, keys: JoinKeys, grant: Grant, notary: Notary, now: float, wall: int) -> None:
        self.token = token
        self.stage = Stage.ASKING
        self.problem: Problem | None = None
        self.standing: Standing | None = None
        self.counter = 0
        """The highest counter of an earlier stay."""
        self.chain = Chain(token.mesh, notary)
        self._keys = keys
        self._notary = notary
        invite = token.invite
        self.certificate = new_node(
            invite.document,
            token.seed,
            keys.node,
            x25519_public(keys.wireguard),
            x25519_public(keys.curve),
            wall,
            grant,
        )
        self._offered: dict[bytes, Certificate] = {}
        self._contact = 0
        self._give_up_at = now + PATIENCE
        self._next_contact_at = now + ASK_TIMEOUT
        self._ask_at: float | None = now
        self._reasons: dict[Endpoint, str] = {}

    @property
    def contact_curve(self) -> bytes:
        """The CURVE key of who is being asked, or let us in."""
        return self.token.contacts[self._contact].curve

    def next_deadline(self) -> float | None:
        if self.stage is not Stage.ASKING:
            return None
        return min(self._next_contact_at, self._give_up_at, self._ask_at or self._give_up_at)

    def tick(self, now: float) -> list[Message]:
        if self.stage is not Stage.ASKING:
            return []
        if not self.token.contacts or now >= self._give_up_at:
            self._fail(self._nobody_answered())
            return []
        if now >= self._next_contact_at:
            curve = self.contact_curve
            for endpoint in self.token.contacts[self._contact].endpoints:
                self._reasons.setdefault(endpoint, "no answer")
            self._ask_next(now)
            if curve == self.contact_curve and now + ASK_TIMEOUT > self._give_up_at:
                self._next_contact_at = self._give_up_at
        if self._ask_at is not None and now >= self._ask_at:
            self._ask_at = now + ASK_AGAIN
            return self._ask()
        return []

    def _ask_next(self, now: float) -> None:
        self._contact = (self._contact + 1) % len(self.token.contacts)
        self._next_contact_at = now + ASK_TIMEOUT
        # Who refused once is not asked again and again as fast as it can refuse.
        asked = any(endpoint in self._reasons for endpoint in self.token.contacts[self._contact].endpoints)
        self._ask_at = now + ASK_AGAIN if asked else now

    def _ask(self) -> list[Message]:
        contact = self.token.contacts[self._contact]
        raw = self.certificate.raw
        proof = possession(self._keys.wireguard, contact.curve, raw)
        items = [self.token.admin.document.raw, self.token.invite.document.raw, raw, proof]
        return [
            m.Dial(self.token.mesh, contact.curve, contact.endpoints),
            m.SendGuest(self.token.mesh, m.Channel.JOIN, contact.curve, pack(Word.ASK, items)),
        ]

    def link_failed(self, message: m.LinkFailed, now: float) -> None:
        """Remember why; go on to the next contact when all endpoints of this one have failed."""
        if self.stage is not Stage.ASKING or message.curve != self.contact_curve:
            return
        self._reasons[message.endpoint] = message.reason
        endpoints = self.token.contacts[self._contact].endpoints
        if all(endpoint in self._reasons for endpoint in endpoints):
            contacts = self.token.contacts
            if all(endpoint in self._reasons for contact in contacts for endpoint in contact.endpoints):
                self._fail(self._nobody_answered())
            else:
                self._ask_next(now)

    def answer(self, message: m.Received, now: float) -> None:
        """A WELCOME arrived. Raises `RemoteError` when it makes no sense."""
        if self.stage is not Stage.ASKING or message.curve != self.contact_curve:
            return
        word, items = unpack(message.payload)
        if word is Word.REFUSED and len(items) == 3:
            code, text, hint = map(_readable, items)
            if code in ELSEWHERE:
                for endpoint in self.token.contacts[self._contact].endpoints:
                    self._reasons[endpoint] = text
                self._ask_next(now)
            else:
                advice = hint or "ask an admin of the mesh for a new token"
                self._fail(Problem(code, f"the mesh refused: {text}", advice))
        elif word is Word.ADMITTED:
            self._admitted(items)

    def _admitted(self, items: list[bytes]) -> None:
        for raw in items:
            statement = self._notary.read(raw)
            if isinstance(statement, (Record, Remove, Annex)):
                own = self._keys.node
                if statement.node == own and self._notary.signed(statement, own):
                    self.counter = max(self.counter, statement.counter)
            else:
                self._offered[statement.document.hash] = statement
        for key, certificate in list(self._offered.items()):
            if isinstance(certificate, Countersignature) and certificate.certificate == self.certificate.hash:
                try:
                    self.standing = self.chain.establish(key, self._offered)
                except MissingDocuments:
                    continue
                self.stage = Stage.ADMITTED

    def _fail(self, problem: Problem) -> None:
        self.stage = Stage.FAILED
        self.problem = problem

    def _nobody_answered(self) -> Problem:
        tried = ", ".join(f"{endpoint} ({reason})" for endpoint, reason in self._reasons.items())
        return Problem(
            "no-answer",
            f"nobody of mesh {self.token.name} answered: {tried or 'the token names nobody to dial'}",
            "check that a node of the mesh runs and that its gossip port is reachable from here",
        )


def _readable(said: bytes) -> str:
    """What a stranger says, for a terminal and a log: nothing that moves a cursor, and not without end."""
    text = said.decode("utf-8", "replace")[:500]
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
