"""What a node is told of its own standing in a mesh: that its membership has ended although nobody ended it."""

from __future__ import annotations

from smeg.errors import Problem
from smeg.roster import Verdict

_ANEW = "ask an admin for a new token, then `smeg-cli leave-mesh {mesh}` and `smeg-cli join-mesh`"
_SAID = {
    Verdict.EXPIRED: (
        "membership-expired",
        "this node's membership of {mesh} has expired, or its clock is wrong",
        _ANEW,
    ),
    Verdict.ORPHANED: (
        "membership-orphaned",
        "who let this node into {mesh} was evicted, and so it is no member either",
        _ANEW,
    ),
    Verdict.QUARANTINED: (
        "membership-quarantined",
        "the token by which this node is in {mesh} was used too often: all its users wait for an admin",
        "ask an admin to evict those who are too many",
    ),
}


def trouble(verdict: str, mesh: str) -> Problem | None:
    """What is wrong with a verdict on this node itself, if it still takes part and a person has to do something."""
    said = next((said for kind, said in _SAID.items() if kind.value == verdict), None)
    if said is None:
        return None
    code, message, hint = said
    return Problem(code, message.format(mesh=mesh), hint.format(mesh=mesh))
