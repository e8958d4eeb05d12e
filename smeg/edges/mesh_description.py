"""`mesh.json`: what describes a mesh beside its key files, as bytes. A pure format: it never touches the disk.

Of the keys it says only the public ones, so that a key file can be told from another. Strict both ways: what could not
be read again is not written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from smeg.card import Card, read_card
from smeg.device import MAX_INTERFACE_NAME, Endpoint
from smeg.errors import LocalError
from smeg.keys import KEY_BYTES, Secret, base64, from_base64, node_key, x25519_public
from smeg.static_clients import StaticClient, read_clients
from smeg.stored import Contact, StoredMesh

FORMAT = 1
"""`format` of `mesh.json`."""
MAX_DESCRIPTION = 1 << 20
"""bytes of a `mesh.json`."""
MAX_ADMISSION = 4096
"""Certificates: who was let in by who was let in … has a long chain."""
MAX_CONTACTS = 256
MAX_ENDPOINTS = 32
PUBLIC_KEY_OF: Mapping[str, Callable[[Secret], bytes]] = {
    "wireguard": x25519_public,
    "admin": node_key,
    "root": node_key,
}
"""The key files of a mesh by their stem, and how the public key comes from each."""

_INTERFACE = re.compile(rf"(?!\.{{1,2}}\Z)[A-Za-z0-9_=+.-]{{1,{MAX_INTERFACE_NAME}}}")


@dataclass(frozen=True, slots=True)
class Description:
    """What `mesh.json` says."""

    name: str
    root: bytes
    interface: str
    listen_port: int
    keys: Mapping[str, bytes]
    """Public keys of the key files, by stem; `wireguard` always."""
    admission: tuple[bytes, ...]
    contacts: tuple[Contact, ...]
    card: Card
    statics: tuple[StaticClient, ...] = ()


def secrets(mesh: StoredMesh) -> dict[str, Secret]:
    """What goes into the mesh's key files, by stem."""
    seeds = {"wireguard": mesh.wireguard, "admin": mesh.admin_seed, "root": mesh.root_seed}
    return {stem: seed for stem, seed in seeds.items() if seed is not None}


def encode(mesh: StoredMesh) -> bytes:
    """The `mesh.json` of a mesh. Raises `LocalError` (`mesh-invalid`) for what could not be read again."""
    body = {
        "format": FORMAT,
        "id": mesh.id,
        "name": mesh.name,
        "root": base64(mesh.root),
        "interface": mesh.interface,
        "listenPort": mesh.listen_port,
        "keys": {stem: base64(PUBLIC_KEY_OF[stem](secret)) for stem, secret in secrets(mesh).items()},
        "admission": [base64(document) for document in mesh.admission],
        "contacts": [
            {
                "curve": base64(contact.curve),
                "endpoints": [{"host": endpoint.host, "port": endpoint.port} for endpoint in contact.endpoints],
            }
            for contact in mesh.contacts
        ],
    }
    if card := mesh.card.fields():
        body["card"] = card
    if mesh.statics:
        body["statics"] = [client.fields() for client in mesh.statics]
    try:
        encoded = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        parse(encoded, mesh.id)
    except (ValueError, TypeError) as error:
        message = f"mesh {mesh.id} cannot be kept: {error}"
        raise LocalError("mesh-invalid", message, "check what was asked for") from error
    return encoded


def parse(data: bytes, mesh: str) -> Description:
    """Inverse of `encode`, strict. Raises `ValueError`; `LocalError` (`mesh-newer`) for a later format."""
    if len(data) > MAX_DESCRIPTION:
        raise ValueError(f"mesh.json is longer than {MAX_DESCRIPTION} bytes")
    value: object = orjson.loads(data)
    match value:
        case {"format": int(version)} if version > FORMAT:
            message = f"mesh.json of mesh {mesh} has format {version}; this program knows {FORMAT}"
            raise LocalError("mesh-newer", message, "use the newer program, or another state folder")
        case {
            "format": 1,
            "id": str(id_),
            "name": str(name),
            "root": str(root),
            "interface": str(interface),
            "listenPort": int(port),
            "keys": {"wireguard": str(), **others} as keys,
            "admission": list(admission),
            "contacts": list(contacts),
            **rest,
        }:
            pass
        case _:
            raise ValueError("mesh.json lacks a field, or one has the wrong type")
    if id_ != mesh:
        raise ValueError("mesh.json is another mesh's")
    if not 0 < len(name.encode()) <= 255 or not _INTERFACE.fullmatch(interface) or not _is_port(port):
        raise ValueError("mesh.json has a name, interface or port that cannot be")
    if not others.keys() <= PUBLIC_KEY_OF.keys() or len(admission) > MAX_ADMISSION or len(contacts) > MAX_CONTACTS:
        raise ValueError("mesh.json has too many keys, certificates or contacts")
    return Description(
        name,
        _octets(root, KEY_BYTES),
        interface,
        port,
        {stem: _octets(key, KEY_BYTES) for stem, key in keys.items()},
        tuple(_octets(document) for document in admission),
        tuple(_contact(contact) for contact in contacts),
        _card(rest.get("card", {})),
        read_clients(rest.get("statics", [])),
    )


def _octets(value: object, length: int | None = None) -> bytes:
    data = from_base64(value) if isinstance(value, str) else b""
    if not data or (length is not None and len(data) != length):
        raise ValueError("mesh.json has bytes that cannot be")
    return data


def _is_port(value: object) -> bool:
    return type(value) is int and 0 <= value <= 65535


def _card(value: object) -> Card:
    if not isinstance(value, dict):
        raise ValueError("mesh.json has a card that cannot be")
    return read_card(value)


def _contact(value: object) -> Contact:
    match value:
        case {"curve": curve, "endpoints": list(endpoints)} if len(endpoints) <= MAX_ENDPOINTS:
            return Contact(_octets(curve, KEY_BYTES), tuple(_endpoint(endpoint) for endpoint in endpoints))
    raise ValueError("mesh.json has a contact that cannot be")


def _endpoint(value: object) -> Endpoint:
    match value:
        case {"host": str(host), "port": int(port)} if 0 < len(host) <= 255 and _is_port(port):
            return Endpoint(host, port)
    raise ValueError("mesh.json has an endpoint that cannot be")
