"""What `converge` answers: whether the others hold all that this node holds.

A node hears the digests of those that it watches: of eight on the rings, a client of its two peers. Digests cover
everything, so that an equal one proves that its holder has seen each change. Where the mesh has more members the rest
is not known: they are told by the same flood, and what it misses a repair brings.
"""

from __future__ import annotations

from typing import Any

from smeg.addresses import node_id
from smeg.keys import NodeKey
from smeg.mesh_view import MeshView


def convergence(view: MeshView, own: NodeKey) -> dict[str, Any]:
    silent = view.liveness.silent if view.liveness is not None else frozenset()
    live = [key for key in view.table if key != own and key not in silent]
    said = view.agreed if view.agreed is not None and view.agreed.root == view.root else None
    # What was said of an earlier state says nothing of this one.
    watched = (view.agreed.agreeing | view.agreed.others) if view.agreed is not None else frozenset()
    agreeing = said.agreeing if said is not None else frozenset()
    lacking = sorted((watched - agreeing) & set(live))
    heard = len(agreeing & set(live)) + len(lacking)
    return {
        "mesh": {"name": view.name, "id": view.id},
        "digest": view.root.hex(),
        "converged": not lacking and (heard > 0 or not live),
        "agreeing": heard - len(lacking),
        "heard": heard,
        "alive": len(live),
        "whole": heard == len(live),
        "lacking": [{"node": node_id(key), "name": view.called(key)} for key in lacking],
    }
