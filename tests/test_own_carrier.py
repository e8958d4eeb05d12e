"""What a client's own record says of its tunnels, and when it has to say it at once."""

from __future__ import annotations

from ipaddress import IPv6Network

from smeg import messages as m
from smeg.carriers import RETURN_AFTER
from smeg.certificates import Role
from smeg.keys import NodeKey
from smeg.own_carrier import OwnCarrier
from smeg.own_record import OwnRecordWriter
from smeg.records import OwnRecord, Route
from tests.builders import Desk, MadeMesh, Node, grant, record_of

MESH = MadeMesh("own carrier")
PEERS = [MESH.founder(f"peer {number}") for number in range(4)]
CLIENT, NEIGHBOUR = (
    MESH.joined(label, MESH.invite(label), PEERS[0], given=grant(Role.CLIENT)) for label in ("client", "neighbour")
)


class Own:
    """A node's own record, and what keeps it up to date."""

    def __init__(self, node: Node, said: OwnRecord | None = None) -> None:
        desk = Desk(MESH.id)
        for each in (*PEERS, CLIENT, NEIGHBOUR):
            desk.take(each.documents())
        self.members = desk.members
        self.best = self.members.rings.favourites(node.key)
        self.writer = OwnRecordWriter(MESH.id, node.identity, OwnRecord("x"), self.members[node.key].standing)
        if said is not None:
            self.writer.resume(record_of(node.record(3, said)))
        self.carrier = OwnCarrier(node.key)
        self.carrier.hear(m.MembersChanged(MESH.id, 1, self.members))

    def dies(self, *keys: NodeKey, down: tuple[NodeKey, ...] = ()) -> None:
        """These are all that are thought dead, or whose daemon is down."""
        self.carrier.hear(m.LivenessChanged(MESH.id, 1, 1, None, frozenset(keys), frozenset(down)))

    def routes(self, *vias: NodeKey) -> None:
        routes = tuple(
            Route(IPv6Network((0x20010DB8 << 96 | number << 80, 48)), via) for number, via in enumerate(vias)
        )
        self.carrier.hear(m.RoutesChanged(MESH.id, 1, routes[:1], routes[1:]))

    def says(self, now: float) -> tuple[NodeKey, ...]:
        self.carrier.settle(self.writer, now)
        return self.writer.wanted.via

    def publish(self) -> None:
        assert self.writer.revise() is not None


def test_a_peer_names_nobody() -> None:
    own = Own(PEERS[0])
    own.routes(PEERS[1].key)
    assert own.says(0.0) == ()
    assert own.carrier.next_deadline() is None


def test_a_client_names_its_carrier_and_says_at_once_when_that_has_changed() -> None:
    own = Own(CLIENT)
    assert own.says(0.0) == own.best[:1]
    assert own.writer.has_news()
    assert not own.writer.has_moved(), "nobody has been told of another"
    own.publish()
    own.dies(own.best[0])
    assert own.says(1.0) == own.best[1:]
    assert own.writer.has_moved()
    own.publish()
    assert not own.writer.has_moved()
    own.dies()
    assert own.says(2.0) == own.best[1:]
    assert own.carrier.next_deadline() == 2.0 + RETURN_AFTER
    assert own.says(2.0 + RETURN_AFTER) == own.best[:1]


def test_one_whose_daemon_is_down_keeps_a_client_but_gets_none() -> None:
    own = Own(CLIENT)
    own.dies(down=own.best[:1])
    assert own.says(0.0) == own.best[1:]

    own = Own(CLIENT)
    assert own.says(0.0) == own.best[:1]
    own.dies(down=own.best[:1])
    assert own.says(1.0) == own.best[:1]
    own.dies(own.best[0], down=own.best[1:])
    (third,) = own.says(2.0)
    assert third not in own.best
    own = Own(CLIENT)
    own.dies(down=tuple(peer.key for peer in PEERS))
    assert own.says(0.0) == own.best[:1], "better than nobody"


def test_peers_through_which_routes_lead_are_named_after_the_carrier_and_need_no_haste() -> None:
    own = Own(CLIENT)
    own.says(0.0)
    own.publish()
    own.routes(*(peer.key for peer in PEERS), NEIGHBOUR.key, CLIENT.key)
    others = sorted({peer.key for peer in PEERS} - {own.best[0]})
    assert own.says(1.0) == (own.best[0], *others)
    assert own.writer.has_news()
    assert not own.writer.has_moved()


def test_a_restarted_client_keeps_what_its_record_named_until_it_knows_its_routes() -> None:
    third = next(peer.key for peer in PEERS if peer.key not in Own(CLIENT).best)
    said = OwnRecord("x", via=(third, PEERS[0].key if PEERS[0].key != third else PEERS[1].key))
    own = Own(CLIENT, said)
    assert own.says(0.0) == said.via
    assert not own.writer.has_news()
    own.routes()
    assert own.says(1.0) == said.via[:1]


def test_a_node_that_is_a_peer_by_now_names_no_carrier_any_more() -> None:
    own = Own(PEERS[0], OwnRecord("x", via=(PEERS[1].key,)))
    assert own.writer.wanted.via == ()
    assert own.writer.has_news()
