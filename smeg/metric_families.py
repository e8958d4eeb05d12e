"""The names of all metrics, by Prometheus' conventions: what each counts, its unit and its labels.

`docs/metrics.md` has its table from here. A label's values are few by nature or bounded where they are counted: a mesh,
a role, a reason; never a member or an address.
"""

from __future__ import annotations

from smeg.exposition import Family

_MESH = ("mesh",)

FAMILIES: tuple[Family, ...] = (
    Family("smegmesh_build_info", "gauge", "The version that runs here: always 1.", labels=("version",)),
    Family("smegmesh_uptime_seconds", "gauge", "Since the daemon began to answer.", "seconds"),
    Family("smegmesh_resident_memory_bytes", "gauge", "Memory of the daemon that is in RAM.", "bytes"),
    Family("smegmesh_cpu_seconds_total", "counter", "Time for which the daemon used a processor.", "seconds"),
    Family("smegmesh_healthy", "gauge", "1 while `status` finds nothing wrong, else 0."),
    Family("smegmesh_problems", "gauge", "Problems that `status` names now, by their code.", labels=("code",)),
    Family("smegmesh_alarms_total", "counter", "Alarms raised, by their code.", labels=("code",)),
    Family("smegmesh_mesh_state", "gauge", "1 for the state that a mesh of this node is in: starting, active, "
           "restarting.", labels=("mesh", "state")),
    Family("smegmesh_members", "gauge", "Members by role (peer, client) and by how they look from here (alive, "
           "daemon-down, pruned, quarantined).", labels=("mesh", "role", "state")),
    Family("smegmesh_leads", "gauge", "1 where this node leads the mesh, else 0.", labels=_MESH),
    Family("smegmesh_leader_changes_total", "counter", "How often another member came to lead.", labels=_MESH),
    Family("smegmesh_epoch", "gauge", "The newest epoch of the refresh that was seen here.", labels=_MESH),
    Family("smegmesh_detection_latency_seconds", "histogram", "From the last sign of life of a member that this node "
           "watches until it was pruned here.", "seconds", _MESH),
    Family("smegmesh_messages_total", "counter", "Messages between nodes, in and out, by kind: membership, heartbeat, "
           "join, welcome.", labels=("direction", "kind")),
    Family("smegmesh_message_bytes_total", "counter", "Their payload.", "bytes", ("direction", "kind")),
    Family("smegmesh_messages_dropped_total", "counter", "Messages between nodes that went no further, by reason.",
           labels=("reason",)),
    Family("smegmesh_connections", "gauge", "Connections between nodes: in, those that others made; out, those that "
           "this node made.", labels=("direction",)),
    Family("smegmesh_connections_cut_total", "counter", "Connections that this node cut."),
    Family("smegmesh_connection_handshakes_total", "counter", "CURVE handshakes with this node, by what became of "
           "them.", labels=("verdict",)),
    Family("smegmesh_queue_messages", "gauge", "Messages that wait for an actor.", labels=("actor",)),
    Family("smegmesh_queue_dropped_total", "counter", "Messages that an actor's full queue refused.",
           labels=("actor",)),
    Family("smegmesh_actor_up", "gauge", "1 while an actor runs, 0 while it waits to be started again.",
           labels=("actor",)),
    Family("smegmesh_actor_restarts_total", "counter", "How often an actor failed.", labels=("actor",)),
    Family("smegmesh_device_operations_total", "counter", "Changes made to the WireGuard interface, by kind.",
           labels=("mesh", "operation")),
    Family("smegmesh_device_failures_total", "counter", "How often the interface could not be made what it should be.",
           labels=_MESH),
    Family("smegmesh_wireguard_peers", "gauge", "Peers on the interface by their last handshake: recent, within three "
           "minutes; old; never.", labels=("mesh", "handshake")),
    Family("smegmesh_wireguard_handshake_age_seconds", "gauge", "Age of the last handshakes of all peers that had one: "
           "of the median and of the oldest.", "seconds", ("mesh", "which")),
    Family("smegmesh_wireguard_bytes_total", "counter", "What the tunnels have carried, received and sent.", "bytes",
           ("mesh", "direction")),
    Family("smegmesh_routes", "gauge", "Prefixes that others lead to, as chosen.", labels=_MESH),
    Family("smegmesh_route_changes_total", "counter", "How often that choice has changed.", labels=_MESH),
    Family("smegmesh_uplink_reached", "gauge", "1 while something that exitProbe names is reached, else 0."),
    Family("smegmesh_dns_queries_total", "counter", "Names asked for."),
    Family("smegmesh_dns_queries_dropped_total", "counter", "Of these, how many got no answer."),
)  # fmt: skip


def table() -> str:
    """All metrics as a Markdown table."""
    lines = ["| Metric | Type | Unit | Labels | Meaning |", "|---|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind} | {family.unit} | {labels} | {family.meaning} |")
    return "\n".join(lines) + "\n"
