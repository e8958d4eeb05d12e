"""The chain of signatures: what a credential proves, and everything that must not pass for one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.certificates import (
    EVERYWHERE,
    Certificate,
    Grant,
    Role,
    new_admin,
    new_countersignature,
    new_invite,
    new_node,
)
from smeg.chain import USES_SLACK, Chain, MissingDocuments
from smeg.documents import Document
from smeg.errors import RemoteError
from smeg.keys import NodeKey, node_key, x25519_public
from smeg.records import Standing
from tests.builders import DAY, NOTARY, QUICK, WALL, Invite, MadeMesh, Node, grant, offered, secret

MESH = MadeMesh("certificates")
FOUNDER = MESH.founder()
INVITE = MESH.invite("many", uses=5)
GUEST = MESH.joined("guest", INVITE, FOUNDER)
CLIENT = MESH.joined("client", INVITE, GUEST, given=grant(Role.CLIENT))


def established(documents: list[bytes], credential: bytes) -> Standing:
    return Chain(MESH.id, NOTARY).establish(credential, offered(documents))


def refusal(*documents: Document) -> str:
    """The code with which the last document is refused as a credential, when the others come with it."""
    chain = Chain(MESH.id, NOTARY)
    raws = [document.raw for document in (*FOUNDER.papers, *documents)]
    with pytest.raises(RemoteError) as refused:
        chain.establish(documents[-1].hash, offered(raws))
    assert chain.standing(documents[-1].hash) is None
    return refused.value.problem.code


def test_a_credential_proves_the_whole_standing_of_a_node() -> None:
    standing = established(CLIENT.certificates, CLIENT.credential)
    assert (standing.node, standing.role, standing.serial) == (CLIENT.key, Role.CLIENT, 1)
    assert standing.wireguard == x25519_public(CLIENT.wireguard)
    assert standing.curve == x25519_public(CLIENT.curve)
    assert (standing.invite, standing.admin) == (INVITE.document.hash, MESH.admin.hash)
    assert (standing.countersigner, standing.above and standing.above.serial) == (GUEST.key, 1)
    assert [at.node for at in standing.line()] == [CLIENT.key, GUEST.key, FOUNDER.key]


def test_the_order_in_which_certificates_are_offered_does_not_matter() -> None:
    for documents in permutations(GUEST.certificates):
        assert established(list(documents), GUEST.credential).node == GUEST.key


@pytest.mark.parametrize("absent", range(len(CLIENT.papers) - 1))
def test_a_chain_with_any_link_missing_says_so_at_once_and_keeps_nothing_that_proves_it(absent: int) -> None:
    """A chain that waited for the missing link would hang the daemon."""
    chain = Chain(MESH.id, NOTARY)
    papers = [paper for at, paper in enumerate(CLIENT.papers) if at != absent]
    with pytest.raises(MissingDocuments) as missing:
        chain.establish(CLIENT.credential, offered([paper.raw for paper in papers]))
    assert missing.value.hashes == {CLIENT.papers[absent].hash}
    assert chain.standing(CLIENT.credential) is None
    assert chain.establish(CLIENT.credential, offered(CLIENT.certificates)).node == CLIENT.key


@QUICK
@given(st.sets(st.sampled_from(range(len(CLIENT.papers)))), st.sampled_from([GUEST, CLIENT]))
def test_any_part_of_a_chain_is_enough_or_is_refused(present: set[int], node: Node) -> None:
    papers = [CLIENT.papers[at].raw for at in present]
    needed = set(node.certificates)
    try:
        assert established(papers, node.credential).node == node.key
        assert needed <= set(papers)
    except MissingDocuments:
        assert not needed <= set(papers)


def test_forged_countersignatures_that_name_each_other_cost_no_time() -> None:
    """A ladder where each names the one below twice, with the lowest missing: naively 2^200 steps."""
    below = bytes(32)
    papers: list[Document] = []
    for _ in range(200):
        papers.append(seal_countersignature(below, below))
        below = papers[-1].hash
    with pytest.raises(MissingDocuments) as missing:
        established([paper.raw for paper in papers], below)
    assert missing.value.hashes == {bytes(32)}


def seal_countersignature(certificate: bytes, by: bytes) -> Document:
    fake = Document(MESH.admin.kind, MESH.id, b"", certificate)
    return new_countersignature(fake, by, WALL, secret("nobody"))


BROAD = Grant(Role.PEER, EVERYWHERE, True, WALL + 100 * DAY)
NARROW = Grant(Role.CLIENT, (), False, WALL + 50 * DAY)
GRANTS = st.builds(
    Grant,
    st.sampled_from(Role),
    st.lists(st.sampled_from([network for wide in EVERYWHERE for network in wide.subnets(2)]), max_size=2).map(tuple),
    st.booleans(),
    st.integers(WALL, WALL + 5),
)


@QUICK
@given(GRANTS, GRANTS)
def test_a_certificate_is_accepted_exactly_when_it_only_narrows_its_issuers(wide: Grant, given_: Grant) -> None:
    narrows = (
        (wide.role is Role.PEER or given_.role is Role.CLIENT)
        and all(any(prefix.subnet_of(other) for other in wide.prefixes) for prefix in given_.prefixes)
        and (wide.exit or not given_.exit)
        and given_.expires <= wide.expires
    )
    invite = MESH.invite("grants", given=wide)
    node = MESH.joined("node", invite, FOUNDER, given=given_)
    if narrows:
        assert established(node.certificates, node.credential).node == node.key
    else:
        assert refusal(*node.papers) == "too-broad"


@QUICK
@given(GRANTS, GRANTS, GRANTS)
def test_narrowing_is_transitive(first: Grant, second: Grant, third: Grant) -> None:
    def within(inner: Grant, outer: Grant) -> bool:
        try:
            inner.check_within(outer)
        except RemoteError:
            return False
        return True

    if within(third, second) and within(second, first):
        assert within(third, first)


def test_an_invite_broader_than_its_admin_is_refused() -> None:
    small = new_admin(MESH.root, node_key(MESH.admin_seed), 2, NARROW)
    seed = secret("one-use")
    invite = new_invite(small, MESH.admin_seed, node_key(seed), 1, 1, WALL + DAY, BROAD)
    node = MESH.joined("node", Invite(invite, seed), FOUNDER, given=NARROW)
    assert refusal(small, *node.papers) == "too-broad"


def test_only_a_countersignature_or_an_admin_admits() -> None:
    assert refusal(INVITE.document, MESH.certificate("x", INVITE)) == "no-credential"
    assert refusal(INVITE.document) == "no-credential"


def test_a_node_certificate_that_nobody_countersigned_is_not_kept() -> None:
    """The holder of a token makes as many as it likes: they must not fill memory and disk."""
    chain = Chain(MESH.id, NOTARY)
    for serial in range(20):
        certificate = MESH.certificate("flood", INVITE, serial)
        papers = offered([MESH.admin.raw, INVITE.document.raw, certificate.raw])
        with pytest.raises(RemoteError):
            chain.establish(certificate.hash, papers)
        forged = new_countersignature(certificate, FOUNDER.credential, WALL, secret("nobody"))
        with pytest.raises(RemoteError):
            chain.establish(forged.hash, offered([*FOUNDER.certificates, *map(raw_of, (forged, certificate))]) | papers)
    assert len(chain) == 3


def raw_of(document: Document) -> bytes:
    return document.raw


def test_signatures_by_the_wrong_key_are_refused_at_every_link() -> None:
    wrong = secret("wrong")
    keys = node_key(wrong)
    admin = new_admin(wrong, keys, 1, BROAD)
    fields = replace(MESH.admin, raw=admin.raw[:64] + MESH.admin.raw[64:])
    assert refusal(read_again(fields)) == "bad-signature"
    invite = new_invite(MESH.admin, wrong, keys, 1, 1, WALL + DAY, NARROW)
    node = MESH.joined("node", Invite(invite, wrong), FOUNDER, given=NARROW)
    assert refusal(*node.papers) == "bad-signature"
    certificate = new_node(INVITE.document, wrong, node.key, node.key, node.key, 1, NARROW)
    countersignature = new_countersignature(certificate, FOUNDER.credential, WALL, FOUNDER.identity)
    assert refusal(INVITE.document, certificate, countersignature) == "bad-signature"
    good = MESH.certificate("node", INVITE)
    countersignature = new_countersignature(good, FOUNDER.credential, WALL, wrong)
    assert refusal(INVITE.document, good, countersignature) == "bad-signature"


def read_again(document: Document) -> Document:
    return NOTARY.read(document.raw).document


@pytest.mark.parametrize(("at", "fine"), [(WALL, True), (WALL + DAY, True), (WALL + DAY + 1, False)])
def test_a_countersignature_counts_until_the_deadline_and_not_after(at: int, fine: bool) -> None:
    node = MESH.joined("late", INVITE, FOUNDER, at=at)
    if fine:
        assert established(node.certificates, node.credential).node == node.key
    else:
        assert refusal(*node.papers) == "token-expired"


def test_neither_a_client_nor_the_node_itself_may_countersign() -> None:
    by_client = MESH.joined("x", INVITE, CLIENT)
    assert refusal(*by_client.papers) == "no-authority"
    by_itself = MESH.joined("guest", INVITE, GUEST, serial=2)
    assert refusal(*by_itself.papers) == "no-authority"


def test_documents_in_each_others_place_are_malformed() -> None:
    certificate = GUEST.papers[-2]
    admin_issued = FOUNDER.papers[-1]
    assert refusal(*GUEST.papers, seal_countersignature(INVITE.document.hash, FOUNDER.credential)) == "malformed"
    assert refusal(*GUEST.papers, seal_countersignature(certificate.hash, INVITE.document.hash)) == "malformed"
    assert refusal(*GUEST.papers, seal_countersignature(admin_issued.hash, GUEST.credential)) == "malformed"
    assert refusal(*GUEST.papers, seal_countersignature(GUEST.credential, GUEST.credential)) == "malformed"
    under_node = new_node(admin_issued, FOUNDER.identity, GUEST.key, GUEST.key, GUEST.key, 1, NARROW)
    assert refusal(under_node) == "malformed"
    under_invite = new_invite(INVITE.document, INVITE.seed, GUEST.key, 1, 1, WALL, NARROW)
    assert refusal(INVITE.document, under_invite) == "malformed"


def test_a_certificate_for_a_key_of_small_order_is_refused_when_read() -> None:
    small, wrong = NodeKey(bytes([1]) + bytes(31)), bytes(32)
    for document, code in (
        (new_admin(MESH.root, small, 1, NARROW), "bad-key"),
        (new_invite(MESH.admin, MESH.admin_seed, small, 1, 1, WALL, NARROW), "bad-key"),
        (new_node(INVITE.document, INVITE.seed, small, GUEST.key, GUEST.key, 1, NARROW), "bad-key"),
        (new_node(INVITE.document, INVITE.seed, GUEST.key, wrong, wrong, 1, NARROW), "malformed"),
    ):
        with pytest.raises(RemoteError) as refused:
            NOTARY.read(document.raw)
        assert refused.value.problem.code == code


def test_an_invite_cannot_be_countersigned_without_end() -> None:
    """By one node under ever new serials, or for ever new nodes: both are bounded."""
    chain = Chain(MESH.id, NOTARY)
    invite = MESH.invite("flood", uses=1)
    chain.establish(FOUNDER.credential, offered(FOUNDER.certificates))
    codes: list[str] = []
    for serial in range(2 + USES_SLACK + 5):
        node = MESH.joined("same" if serial % 2 else f"other {serial}", invite, FOUNDER, serial)
        papers: dict[bytes, Certificate] = offered(node.certificates)
        try:
            chain.establish(node.credential, papers)
        except RemoteError as error:
            codes.append(error.problem.code)
    assert codes == ["invite-flooded"] * 5
    assert len(chain) == 3 + 2 * (2 + USES_SLACK)


def test_what_a_chain_gives_back_lets_another_follow_it() -> None:
    chain = Chain(MESH.id, NOTARY)
    chain.establish(CLIENT.credential, offered(CLIENT.certificates))
    for documents in (chain.documents(), chain.ancestry([CLIENT.credential])):
        assert established(documents, CLIENT.credential).node == CLIENT.key
    receiver = Chain(MESH.id, NOTARY)
    receiver.establish(GUEST.credential, offered(GUEST.certificates))
    assert receiver.establish(CLIENT.credential, offered(chain.lineage(CLIENT.credential))).node == CLIENT.key


def test_what_entered_the_pool_is_told_once_and_ancestors_first() -> None:
    chain = Chain(MESH.id, NOTARY)
    chain.establish(GUEST.credential, offered(GUEST.certificates))
    assert established(chain.drain(), GUEST.credential).node == GUEST.key
    papers = offered([*CLIENT.certificates, MESH.certificate("nobody", INVITE).raw])
    for credential in (CLIENT.credential, MESH.certificate("nobody", INVITE).hash):
        with suppress(RemoteError):
            chain.establish(credential, papers)
    assert chain.drain() == CLIENT.certificates[-2:]
    assert chain.drain() == []


def test_a_long_line_of_countersigners_is_followed_without_recursion() -> None:
    invite = MESH.invite("line", uses=400)
    node = FOUNDER
    papers = dict.fromkeys(FOUNDER.certificates)
    for index in range(400):
        above = replace(node, papers=node.papers[-1:])
        node = MESH.joined(f"line {index % 2}", invite, above, serial=index + 2)
        papers |= dict.fromkeys(node.certificates)
    standing = established(list(papers), node.credential)
    assert sum(1 for _ in standing.line()) == 401
    assert repr(standing)
    assert standing == established(list(papers), node.credential)
