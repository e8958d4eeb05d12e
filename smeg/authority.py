"""What an admin of a mesh may do: found it, invite, evict. Only makes signed documents; whether they count is judged by
all.

The admin's key lies on the node that founded the mesh, or wherever its owner put it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Network
from typing import Any

from smeg.addresses import NODE_ID, ids_beginning, mesh_id, node_id
from smeg.certificates import (
    EVERYWHERE,
    MAX_USES,
    AdminCertificate,
    Grant,
    Role,
    new_admin,
    new_invite,
    new_node,
)
from smeg.device_evictions import evictions
from smeg.errors import LocalError
from smeg.keys import Entropy, NodeKey, Secret, new_secret, node_key, x25519_public
from smeg.notary import Notary
from smeg.records import MAX_ADMITTED, PREFIX_BYTES, Member, seal_evict
from smeg.stored import Contact, StoredMesh
from smeg.tokens import MESH_NAME, write_token

LIFETIME = 10 * 365 * 24 * 3600
"""seconds that a mesh's first admin certificate, and memberships under it, last."""
MAX_REASON = 200
"""bytes."""
_SEE_HELP = "see `smeg-cli invite --help`"


def found(
    name: str,
    identity: Secret,
    curve: Secret,
    wireguard: Secret,
    interface: str,
    port: int,
    entropy: Entropy,
    wall: int,
) -> StoredMesh:
    """A new mesh with this node as its first member and admin. Raises `LocalError` for a bad name."""
    if not MESH_NAME.match(name):
        raise LocalError(
            "bad-name", f"{name!r} cannot be a mesh's name", "use lower-case letters, digits and dashes, at most 63"
        )
    root, admin = new_secret(entropy), new_secret(entropy)
    grant = Grant(Role.PEER, EVERYWHERE, True, wall + LIFETIME)
    admin_certificate = new_admin(root, node_key(admin), wall, grant)
    own = new_node(
        admin_certificate, admin, node_key(identity), x25519_public(wireguard), x25519_public(curve), wall, grant
    )
    return StoredMesh(
        mesh_id(node_key(root)),
        name,
        node_key(root),
        interface,
        port,
        wireguard,
        (admin_certificate.raw, own.raw),
        root_seed=root,
        admin_seed=admin,
    )


class Authority:
    """The admin's powers in one mesh, if this node holds an admin's key. `wall` gives seconds since 1970."""

    def __init__(self, stored: StoredMesh, notary: Notary, entropy: Entropy, wall: Callable[[], int]) -> None:
        self._stored = stored
        self._notary = notary
        self._entropy = entropy
        self._wall = wall

    def _admin(self) -> tuple[AdminCertificate, Secret]:
        seed = self._stored.admin_seed
        if seed is not None:
            key = node_key(seed)
            for raw in self._stored.admission:
                statement = self._notary.read(raw)
                if isinstance(statement, AdminCertificate) and statement.key == key:
                    return statement, seed
        raise LocalError(
            "not-an-admin",
            f"this node holds no admin key of {self._stored.name}",
            "run this where the mesh was made, or bring its admin.key here",
        )

    def invite(self, arguments: Mapping[str, Any], contacts: tuple[Contact, ...]) -> Secret:
        """A token. `arguments`: uses, expires (seconds), role, prefixes, exit. Raises `LocalError`."""
        admin, seed = self._admin()
        uses = _whole(arguments, "uses", 1, 1, MAX_USES)
        lasts = _whole(arguments, "expires", 24 * 3600, 1, LIFETIME)
        try:
            role = Role(arguments.get("role", "peer"))
            prefixes = tuple(IPv6Network(str(prefix)) for prefix in arguments.get("prefixes") or ())
        except ValueError as error:
            raise LocalError("bad-argument", f"the invitation cannot be made: {error}", _SEE_HELP) from error
        if not any(contact.endpoints for contact in contacts):
            raise LocalError(
                "no-endpoint",
                "nobody could dial this node: it knows no address of its own",
                "set publicEndpoint in the configuration",
            )
        if len(prefixes) > 64:
            raise LocalError("bad-argument", "an invitation takes at most 64 prefixes", _SEE_HELP)
        exit_allowed = bool(arguments.get("exit", False))
        grant = Grant(role, prefixes, exit_allowed, admin.grant.expires)
        one_use = new_secret(self._entropy)
        deadline = min(self._wall() + lasts, admin.grant.expires)
        invite = new_invite(admin.document, seed, node_key(one_use), self._wall(), uses, deadline, grant)
        return write_token(self._stored.name, admin.document, invite, one_use, contacts)

    def evict(self, target: Member, admitted: list[NodeKey], reason: str) -> tuple[bytes, ...]:
        """The documents of an eviction; `admitted` are the members that stay although the target let them in."""
        admin, seed = self._admin()
        if len(admitted) > MAX_ADMITTED:
            raise LocalError(
                "too-many-admitted",
                f"{target.record.name} let in {len(admitted)} members; an evict can keep {MAX_ADMITTED}",
                "invite those anew first",
            )
        keep = frozenset(key[:PREFIX_BYTES] for key in admitted)
        reason = reason.encode()[:MAX_REASON].decode("utf-8", "ignore")
        document = seal_evict(
            self._stored.id,
            target.key,
            target.standing.serial,
            admin.document,
            seed,
            keep,
            _printable(reason),
            target.standing.invite,
        )
        return (admin.document.raw, document.raw)

    def evict_devices(self, devices: frozenset[bytes]) -> bytes:
        """The body of an annex by which these WireGuard keys count as devices no more. Raises `LocalError`."""
        admin, seed = self._admin()
        return evictions(self._stored.id, admin, seed, devices)


def find_member(members: Mapping[NodeKey, Member], text: str) -> Member:
    """The member with this name, alias, id, or unique beginning of its id. Raises `LocalError`."""
    if not text:
        raise LocalError("bad-argument", "no node was named", "give its name or the beginning of its id")
    begins = ids_beginning(text)
    begun = [member for key, member in members.items() if begins(key)]
    found = [member for member in members.values() if text in (member.record.name, member.record.card.alias)]
    found += [member for member in begun if len(text) == NODE_ID and member not in found]
    found = found or begun
    if not found:
        raise LocalError("unknown-node", f"no member is called {text!r}", "`smeg-cli members MESH` shows all")
    if len(found) > 1:
        ids = ", ".join(f"{member.record.name} {node_id(member.key)[:12]}" for member in found[:5])
        raise LocalError("ambiguous-node", f"{text!r} could be any of {ids}", "give more of the id")
    return found[0]


def _whole(arguments: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = arguments.get(name, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        message = f"{name} is {value!r}, not a whole number from {low} to {high}"
        raise LocalError("bad-argument", message, _SEE_HELP)
    return value


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
