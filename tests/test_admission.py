"""Letting a guest in: who may, whom, and each refusal by its own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from smeg.admission import Admission
from smeg.certificates import Grant, Role, new_node
from smeg.documents import Document
from smeg.errors import RemoteError
from smeg.keys import Secret, possession, x25519_public
from tests.builders import DAY, WALL, Desk, Invite, MadeMesh, Node, grant, secret

MESH = MadeMesh("admission")
FOUNDER = MESH.founder()
PEER = MESH.joined("peer", MESH.invite("peers", uses=5), FOUNDER)
CLIENT = MESH.joined("client", MESH.invite("clients", uses=5), FOUNDER, given=grant(Role.CLIENT))
INVITE = MESH.invite("one")


@dataclass
class Guest:
    """Somebody with a token who asks `host`."""

    label: str = "guest"
    invite: Invite = INVITE
    serial: int = 1
    given: Grant | None = None
    host: Node = FOUNDER

    @property
    def keys(self) -> Node:
        return MESH._bare(self.label, self.serial)

    @property
    def certificate(self) -> Document:
        return MESH.certificate(self.label, self.invite, self.serial, self.given)

    def request(self) -> tuple[list[bytes], bytes, bytes]:
        raw = self.certificate.raw
        proof = possession(self.keys.wireguard, x25519_public(self.host.curve), raw)
        return [MESH.admin.raw, self.invite.document.raw, raw], proof, x25519_public(self.keys.curve)


def desk() -> Desk:
    made = Desk(MESH.id)
    for node in (FOUNDER, PEER, CLIENT):
        made.take(node.documents())
    return made


def code(admission: Admission, documents: list[bytes], proof: bytes, curve: bytes) -> str:
    with pytest.raises(RemoteError) as refused:
        admission.countersign(documents, proof, curve)
    return refused.value.problem.code


def refusal(guest: Guest, made: Desk | None = None, wall: int = WALL) -> str:
    made = made or desk()
    before = made.everything()
    found = code(made.admission(guest.host, wall), *guest.request())
    assert set(made.everything()) - set(before) <= {guest.invite.document.raw}
    return found


def test_a_guest_with_a_token_is_let_in_and_every_member_can_check_it() -> None:
    made, guest = desk(), Guest()
    standing = made.admission(FOUNDER).countersign(*guest.request())
    assert (standing.node, standing.countersigner) == (guest.keys.key, FOUNDER.key)
    joined = replace(guest.keys, papers=(made.chain.certificate(standing.credential).document,))  # type: ignore[union-attr]
    other = desk()
    other.take([*made.chain.ancestry([standing.credential]), joined.record(1).raw])
    assert guest.keys.key in other.members


def test_asking_twice_gets_the_same_answer_and_costs_no_use() -> None:
    made, guest = desk(), Guest()
    first = made.admission(FOUNDER).countersign(*guest.request())
    assert made.admission(FOUNDER).countersign(*guest.request()) is first
    assert made.admission(FOUNDER, WALL + 2 * DAY).countersign(*guest.request()) is first


def test_a_node_that_lost_everything_comes_back_with_its_token_and_its_key() -> None:
    made = desk()
    made.admission(FOUNDER).countersign(*Guest(serial=1).request())
    assert made.admission(FOUNDER).countersign(*Guest(serial=2).request()).serial == 2


def used_up(made: Desk) -> None:
    made.admission(FOUNDER).countersign(*Guest("first").request())


def evicted(made: Desk) -> None:
    made.take([MESH.evict(MESH._bare("guest", 1)).raw])


def left(made: Desk) -> None:
    stay = MESH.joined("guest", MESH.invite("earlier"), FOUNDER, serial=2)
    made.take([*stay.documents(), stay.leave(5).raw])


def revoked(made: Desk) -> None:
    user = MESH.joined("user", INVITE, FOUNDER)
    made.take([*user.documents(), MESH.evict(user).raw])


def taken(made: Desk) -> None:
    """Somebody else has the guest's WireGuard key."""
    keys = MESH._bare("guest", 1)
    thief = MESH.founder("thief")
    certificate = new_node(
        MESH.admin,
        MESH.admin_seed,
        thief.key,
        x25519_public(keys.wireguard),
        x25519_public(thief.curve),
        1,
        grant(),
    )
    thief = replace(thief, papers=(MESH.admin, certificate))
    made.take(thief.documents())


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (used_up, "token-used"),
        (evicted, "evicted"),
        (left, "old-serial"),
        (revoked, "token-revoked"),
        (taken, "key-taken"),
    ],
)
def test_what_the_mesh_knows_is_a_reason_to_refuse(prepare: Callable[[Desk], None], expected: str) -> None:
    made = desk()
    prepare(made)
    assert refusal(Guest(), made) == expected


FOREIGN = MadeMesh("foreign")
BROAD = grant(prefixes=("2001::/16",))
SHORT = grant(expires=WALL - 1)


@pytest.mark.parametrize(
    ("guest", "wall", "expected"),
    [
        (Guest(), WALL + DAY + 1, "token-expired"),
        (Guest(given=SHORT), WALL, "grant-expired"),
        (Guest(given=BROAD), WALL, "too-broad"),
        (Guest(given=grant(exit_allowed=True)), WALL, "too-broad"),
        (Guest(given=grant(expires=WALL + 400 * DAY)), WALL, "too-broad"),
        (Guest(invite=MESH.invite("for clients", given=grant(Role.CLIENT))), WALL, "too-broad"),
        (Guest(invite=FOREIGN.invite("one")), WALL, "wrong-mesh"),
        (Guest(invite=Invite(INVITE.document, secret("not the token's"))), WALL, "bad-signature"),
        (Guest(host=CLIENT), WALL, "no-authority"),
        (Guest(host=MESH.founder("unknown")), WALL, "not-a-member"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_guest_brings_is_a_reason_to_refuse(guest: Guest, wall: int, expected: str) -> None:
    assert refusal(guest, wall=wall) == expected


def test_the_last_second_of_a_token_still_counts() -> None:
    made = desk()
    assert made.admission(FOUNDER, WALL + DAY).countersign(*Guest().request())


def test_an_altered_token_lets_nobody_in() -> None:
    raw = INVITE.document.raw.replace(b'"uses":1,', b'"uses":9,')
    forged = replace(INVITE.document, raw=raw, hash=desk().notary.read(raw).document.hash)
    guest = Guest(invite=Invite(forged, INVITE.seed))
    assert refusal(guest) == "bad-signature"


def test_a_guest_has_to_hold_the_keys_that_it_names() -> None:
    documents, proof, curve = Guest().request()
    admission = desk().admission(FOUNDER)
    assert code(admission, documents, proof, bytes(32)) == "key-mismatch"
    assert code(admission, documents, bytes(32), curve) == "no-possession"
    assert code(admission, documents, Guest(host=PEER).request()[1], curve) == "no-possession"
    assert code(admission, documents, b"", curve) == "no-possession"


def test_a_request_without_its_parts_is_malformed() -> None:
    documents, proof, curve = Guest().request()
    admission = desk().admission(FOUNDER)
    assert code(admission, documents[:2], proof, curve) == "malformed"
    assert code(admission, [], proof, curve) == "malformed"
    assert code(admission, [*documents, FOUNDER.record().raw], proof, curve) == "malformed"
    assert code(admission, documents[2:], proof, curve) == "malformed"
    assert code(admission, [b"x" * 80, *documents], proof, curve) == "malformed"


def test_an_evicted_node_does_not_get_its_old_credential_again() -> None:
    made = desk()
    made.admission(FOUNDER).countersign(*Guest().request())
    evicted(made)
    assert refusal(Guest(), made) == "evicted"


def test_an_evicted_node_with_a_new_token_and_certificate_is_welcome() -> None:
    made = desk()
    evicted(made)
    guest = Guest(invite=MESH.invite("new"), serial=2)
    assert made.admission(FOUNDER).countersign(*guest.request()).serial == 2


def test_an_evicted_or_departed_peer_lets_nobody_in() -> None:
    for document in (MESH.evict(PEER), PEER.leave(5)):
        made = desk()
        made.take([document.raw])
        assert refusal(Guest(host=PEER), made) == "not-a-member"


def test_a_use_is_never_given_twice_by_one_peer_even_before_the_first_guest_says_a_word() -> None:
    made = desk()
    made.admission(FOUNDER).countersign(*Guest("first").request())
    assert Guest("first").keys.key not in made.members
    assert refusal(Guest("second"), made) == "token-used"


def test_certificates_that_came_with_a_request_are_told_with_what_is_taken_in_next() -> None:
    """Else they would be missing on disk when somebody who came by the same invite is read back."""
    made, late = desk(), MESH.invite("late", deadline=WALL - 1)
    assert refusal(Guest(invite=late), made) == "token-expired"
    assert made.take([]).certificates == [late.document.raw]
    assert made.take([]).certificates == []


def test_two_sides_of_a_partition_may_overdraw_and_then_nobody_is_in() -> None:
    sides = [desk(), desk()]
    joined: list[list[bytes]] = []
    for made, label, host in zip(sides, ("first", "second"), (FOUNDER, PEER), strict=True):
        guest = Guest(label, host=host)
        standing = made.admission(host).countersign(*guest.request())
        node = replace(guest.keys, papers=(made.chain.certificate(standing.credential).document,))  # type: ignore[union-attr]
        joined.append([*made.chain.ancestry([standing.credential]), node.record(1).raw])
        made.take(joined[-1])
        assert node.key in made.members
    for made, documents in zip(sides, joined[::-1], strict=True):
        made.take(documents)
        assert set(made.roster.quarantined) == {Guest(label).keys.key for label in ("first", "second")}
    assert sides[0].replica == sides[1].replica


def test_the_secret_of_small_order_proves_nothing() -> None:
    keys = Guest().keys
    for small in (bytes(32), bytes([1]) + bytes(31)):
        with pytest.raises(RemoteError):
            possession(keys.wireguard, small, b"message")
    assert possession(Secret(keys.wireguard.reveal()), x25519_public(FOUNDER.curve), b"a") == possession(
        FOUNDER.curve, x25519_public(keys.wireguard), b"a"
    )
