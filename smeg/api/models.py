"""What is asked of the API and what it answers, for its description and for the reading of requests.

Answers are the daemon's own and are not made from these; the tests see that they agree. Requests are read strictly: no
text for a number, no field that is not known.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from smeg.card import MAX_DESCRIPTION, MAX_TEXT, MAX_TEXTS
from smeg.certificates import MAX_USES
from smeg.static_clients import MOST

MAX_TOKEN = 32 * 1024
MAX_PREFIXES = 64
MAX_REASON = 200
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

State = Literal["alive", "daemon-down", "pruned", "quarantined"]
Label = Annotated[str, Field(pattern=f"^{_LABEL}$", max_length=63)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
"""Of a mesh or a node: its name, its id, or a unique beginning of it."""


class Asking(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewMesh(Asking):
    name: Label = Field(examples=["paris"])


class Joining(Asking):
    token: str = Field(
        min_length=1, max_length=MAX_TOKEN, pattern="^[!-~]+$", description="What an invite answered.",
        examples=["smeg1.AAAA"],
    )  # fmt: skip


class Inviting(Asking):
    uses: int = Field(1, ge=1, le=MAX_USES, description="How many nodes may join by it.", examples=[1])
    expires: int = Field(86400, ge=1, le=10 * 365 * 86400, description="seconds", examples=[3600])
    role: Literal["peer", "client"] = Field("peer", examples=["peer"])
    prefixes: list[Annotated[str, Field(max_length=64)]] = Field(
        [], max_length=MAX_PREFIXES, description="IPv6 prefixes that who joins may offer.",
        examples=[["2001:db8:1::/48"]],
    )  # fmt: skip
    exit: bool = Field(False, description="Whether it may offer the default route.", examples=[False])


class Evicting(Asking):
    node: Name = Field(description="A member, or a device by its name or address.", examples=["tokyo"])
    reason: str = Field("", max_length=MAX_REASON, description="Kept in the signed eviction.", examples=["lost"])


class Alias(Asking):
    alias: Annotated[str, Field(max_length=63, pattern=f"^({_LABEL})?$")] = Field(
        description="Beside the node's name; empty takes it back.", examples=["web"]
    )


class Description(Asking):
    description: str = Field(
        max_length=MAX_DESCRIPTION, description="A line; empty takes it back.", examples=["the shop's front end"]
    )


class ServiceHere(Asking):
    port: int = Field(ge=1, le=65535, examples=[443])
    protocol: Literal["tcp", "udp"] = Field("tcp", examples=["tcp"])
    text: list[Annotated[str, Field(max_length=MAX_TEXT)]] = Field(
        [], max_length=MAX_TEXTS, description="Attributes, `key=value`.", examples=[["path=/"]]
    )


class NewDevice(Asking):
    name: Label = Field(examples=["phone"])
    expires: int | None = Field(None, ge=1, le=MOST, description="seconds; a year without it", examples=[2592000])


class Pinging(Asking):
    node: Name = Field(description="A member or an address.", examples=["tokyo"])
    count: int = Field(3, ge=1, le=10, examples=[1])


class ConfigurationText(Asking):
    text: str = Field(max_length=32 * 1024, description="A YAML file.", examples=["name: paris-1\n"])


class Problem(BaseModel):
    code: str = Field(description="Stable, for programs.", examples=["unknown-mesh"])
    message: str = Field(description="What is wrong.", examples=["no mesh here is called 'rome'"])
    hint: str = Field(description="What to do next; may be empty.", examples=["meshes of this node: paris"])


class Failure(BaseModel):
    error: Problem


class MeshName(BaseModel):
    name: str = Field(examples=["paris"])
    id: str = Field(examples=["mfrggzdfmztwq2lknnwg23tpoa"])


class NodeName(BaseModel):
    node: str
    name: str


class Mesh(MeshName):
    interface: str = Field(examples=["smeg-paris"])
    backend: str = Field(examples=["kernel"])
    address: str = Field(examples=["fd62:9d3f:20f1:4d0:8e21:5f0a:77c1:3b9e"])
    via: list[NodeName] = Field(description="Of a client: who carries it.")
    members: int
    alive: int
    leader: str | None
    epoch: int
    state: str = Field(examples=["active"])


class Meshes(BaseModel):
    meshes: list[Mesh]


class MadeMesh(BaseModel):
    mesh: MeshName
    address: str
    interface: str


class LeftMesh(BaseModel):
    mesh: MeshName
    keys: str | None = Field(None, description="The folder that its root and admin keys are kept in.")


class Service(BaseModel):
    name: str
    port: int
    protocol: str
    text: list[str]


class Card(BaseModel):
    alias: str
    description: str
    services: list[Service]


class Member(Card):
    node: str
    name: str
    address: str
    role: Literal["peer", "client"]
    state: State
    leader: bool
    self: bool
    wireguard: str = Field(description="Its public key in this mesh.")
    via: list[NodeName]
    warm: NodeName | None
    endpoints: list[str]
    handshake_age: float | None = Field(description="seconds")
    received: int = Field(description="bytes")
    sent: int = Field(description="bytes")


class Device(BaseModel):
    name: str
    address: str
    state: State = Field(description="As its peer is.")
    via: str
    wireguard: str
    expires: int = Field(description="seconds since 1970")
    handshake_age: float | None
    received: int
    sent: int


class MadeDevice(BaseModel):
    name: str
    address: str
    expires: int
    configuration: str = Field(description="For WireGuard on the device; holds its private key.")
    qr: str | None = Field(None, description="The same as a picture, SVG; only if asked for.")


class DeletedDevice(BaseModel):
    name: str


class Members(BaseModel):
    mesh: MeshName
    members: list[Member]
    statics: list[Device] = Field([], description="Devices without a daemon; left out where there are none.")


class Invite(BaseModel):
    token: str = Field(description="A secret: who has it can join.")
    qr: str | None = Field(None, description="The token as a picture, SVG; only if asked for.")


class Evicted(BaseModel):
    evicted: str


class Answer(BaseModel):
    """What the daemon says; docs/command-line.md describes it under the command of this name."""

    model_config = ConfigDict(extra="allow")


class Reloaded(Answer):
    changed: list[str]
    restart: list[str] = Field(description="Keys that count when smeg-node is started again.")


class Status(Answer):
    version: str
    node: str
    name: str
    healthy: bool
    uptime: float = Field(description="seconds")
    problems: list[Problem]
    meshes: list[Mesh]


class Routes(Answer):
    routes: list[Answer]
    offers: list[Answer]


class Why(Answer):
    destination: str
    reached: bool
    steps: list[Answer]


class Plan(Answer):
    mesh: MeshName
    interface: str
    public_key: str
    peers: list[Answer]
    changes: list[Answer]


class Convergence(Answer):
    mesh: MeshName
    digest: str
    converged: bool
    agreeing: int
    heard: int
    alive: int
    whole: bool
    lacking: list[NodeName]


class Event(BaseModel):
    number: int
    time: int = Field(description="seconds since 1970")
    kind: str
    mesh: str
    node: str
    name: str
    text: str
    code: str = Field("", description="of a problem")


class Events(BaseModel):
    run: str
    next: int
    missed: int
    events: list[Event]


class Pinged(Why):
    sent: int
    received: int
    least_ms: float | None
    mean_ms: float | None
    most_ms: float | None


class GraphNode(BaseModel):
    key: str
    kind: str
    label: str
    state: str
    marks: list[str]


class Graph(BaseModel):
    nodes: list[GraphNode]
    edges: list[Answer]


class Found(BaseModel):
    found: object = Field(description="Whatever the expression finds.")


class Configuration(BaseModel):
    configuration: str


class Checked(Answer):
    predecessor: bool


class Checkup(BaseModel):
    healthy: bool
    checks: list[Answer]
