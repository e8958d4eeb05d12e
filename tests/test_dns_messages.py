"""Answers as bytes: whatever is asked, what comes back is a right DNS message or nothing, and never an exception."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import pytest
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from smeg.card import BLANK, Card, Service
from smeg.dns_messages import BURST, KEPT, LARGEST, MADE, SMALLEST, TTL, Responder
from smeg.zone import Name, reverse_name
from tests.builders import QUICK
from tests.named_meshes import alias, labels, members, show, zone_of

WEB = Service("http", 8080, text=("path=/", "flag"))
MANY = [("node", BLANK)] * 40
EVERYBODY = members(
    [("paris", Card("web", "the site", (WEB, Service("sip", 5060, "udp")))), ("lyon", alias("db")), ("lyon", BLANK)]
)
ZONE = zone_of(EVERYBODY)
KINDS = st.sampled_from([RdataType[kind] for kind in ("A", "AAAA", "PTR", "SRV", "TXT", "SOA", "NS", "MX", "ANY")])


def ask(query: dns.message.Message, tcp: bool = False, responder: Responder | None = None) -> dns.message.Message:
    raw = (responder or Responder(ZONE)).answer(query.to_wire(), tcp, 0.0)
    assert raw is not None
    response = dns.message.from_wire(raw)
    assert query.is_response(response)
    return response


def question(name: str, kind: str = "AAAA", payload: int | None = None) -> dns.message.Message:
    use = {} if payload is None else {"use_edns": 0, "payload": payload}
    return dns.message.make_query(f"{name}.", kind, **use)  # type: ignore[arg-type]


def plain(name: dns.name.Name) -> Name:
    return tuple(label.decode().lower() for label in name.labels[:-1])


@st.composite
def spelled(draw: st.DrawFn, name: Name) -> dns.name.Name:
    """A name in any mixture of cases."""
    letters = "".join(letter.upper() if draw(st.booleans()) else letter for letter in ".".join(name))
    return dns.name.from_text(f"{letters}.")


@st.composite
def queries(draw: st.DrawFn) -> dns.message.Message:
    there = st.sampled_from([*ZONE.names(), labels("smeg"), labels("home.smeg"), labels("_tcp.web.home.smeg")])
    nowhere = st.sampled_from([labels(f"{each}.smeg") for each in ("x", "x.home", "_x._tcp.web.home", "x.web.home")])
    foreign = st.sampled_from([labels("example.org"), labels("smeg.org"), labels("arpa")])
    name = draw(spelled(draw(there | nowhere | foreign)))
    query = dns.message.make_query(name, draw(KINDS))
    if draw(st.booleans()):
        query.use_edns(0, payload=draw(st.integers(0, 65535)))
    return query


@QUICK
@given(queries(), st.booleans())
def test_an_answer_is_well_formed_fits_and_agrees_with_the_zone(query: dns.message.Message, tcp: bool) -> None:
    name, kind = query.question[0].name, query.question[0].rdtype
    response = ask(query, tcp)
    assert response.question[0].name.labels == name.labels, "spelled as it was asked"
    size = len(response.to_wire())
    assert tcp or size <= min(max(SMALLEST, query.payload), LARGEST)
    assert bool(query.edns >= 0) == (response.edns >= 0)
    assert not response.flags & dns.flags.RA
    found = ZONE.find(plain(name))
    if found is None:
        assert response.rcode() == dns.rcode.REFUSED
        assert not response.flags & dns.flags.AA
        assert response.sections[1:] == [[], [], []]
        return
    assert response.flags & dns.flags.AA
    assert response.rcode() == (dns.rcode.NOERROR if found.exists else dns.rcode.NXDOMAIN)
    wanted = {type_ for type_ in found.records if kind == RdataType.ANY or kind == RdataType.from_text(type_)}
    if found.apex == plain(name) and kind in (RdataType.ANY, RdataType.SOA):
        wanted.add("SOA")
    assert {RdataType.to_text(rrset.rdtype) for rrset in response.answer} == wanted
    for rrset in response.answer:
        assert rrset.name.labels == name.labels
        assert rrset.ttl == TTL
    if not wanted:
        (soa,) = response.authority
        assert plain(soa.name) == found.apex
        assert (soa.rdtype, soa.ttl, soa[0].minimum) == (RdataType.SOA, TTL, TTL)


@QUICK
@given(st.binary(max_size=80) | st.binary(min_size=12, max_size=40).map(lambda raw: raw[:2] + b"\0\0\0\1" + raw[6:]))
def test_of_any_bytes_comes_a_message_of_the_same_id_or_nothing(raw: bytes) -> None:
    for tcp in (False, True):
        answer = Responder(ZONE).answer(raw, tcp, 0.0)
        if len(raw) < 12 or raw[2] & 0x80:
            assert answer is None
        else:
            assert answer is not None
            assert answer[:2] == raw[:2]
            assert answer[2] & 0x80, "what it says is no query, so nobody answers it again"


@QUICK
@given(queries(), st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_query_gets_an_answer_all_the_same(query: dns.message.Message, at: int, value: int) -> None:
    raw = bytearray(query.to_wire())
    raw[at % len(raw)] = value
    answer = Responder(ZONE).answer(bytes(raw), False, 0.0)
    assert (answer is None) == bool(raw[2] & 0x80)
    if answer is not None:
        assert len(answer) <= LARGEST
        dns.message.from_wire(answer, raise_on_truncation=False)


@QUICK
@given(st.lists(queries(), max_size=6))
def test_what_is_remembered_is_what_would_be_made_anew(asked: list[dns.message.Message]) -> None:
    responder = Responder(ZONE)
    for query in [*asked, *asked]:
        raw = query.to_wire()
        assert responder.answer(raw, False, 0.0) == Responder(ZONE).answer(raw, False, 0.0)


def test_nothing_is_remembered_that_has_changed() -> None:
    zone = zone_of(members([("a", BLANK)]))
    responder = Responder(zone)
    assert ask(question("b.home.smeg"), responder=responder).rcode() == dns.rcode.NXDOMAIN
    show(zone, members([("a", alias("b"))]))
    assert ask(question("b.home.smeg"), responder=responder).rcode() == dns.rcode.NOERROR


def test_what_is_remembered_is_bounded() -> None:
    responder = Responder(ZONE)
    for number in range(KEPT + 50):
        raw = bytes(12) + number.to_bytes(2, "big")
        assert responder.answer(raw, False, float(number)) is not None
        assert len(responder._kept) <= KEPT


def test_a_service_comes_with_the_address_of_its_node() -> None:
    response = ask(question("_http._tcp.web.home.smeg", "SRV"))
    (server,) = response.answer[0]
    assert (server.port, server.target.to_text()) == (8080, "web.home.smeg.")
    (address,) = response.additional[0]
    assert address == ask(question("web.home.smeg")).answer[0][0]
    assert ask(question("_http._tcp.web.home.smeg", "TXT")).answer[0][0].strings == (b"path=/", b"flag")
    assert ask(question("web.home.smeg", "TXT")).answer[0][0].strings == (b"the site",)


def test_the_name_of_an_address_is_its_alias() -> None:
    one = next(each for each in EVERYBODY.values() if each.record.card.alias == "db")
    response = ask(question(".".join(reverse_name(one.address)), "PTR"))
    assert response.answer[0][0].target.to_text() == "db.home.smeg."


def test_what_does_not_fit_is_cut_off_and_whole_by_tcp() -> None:
    services = tuple(Service(f"a{n:02}", 80, text=("k=" + "x" * 200,)) for n in range(5))
    zone = zone_of(members([("node", Card("n", services=services)), *MANY]))
    responder = Responder(zone)
    name = "node.home.smeg"
    cut = ask(question(name), responder=Responder(zone))
    assert len(cut.answer[0]) == 16, "sixteen addresses fit"
    long = Responder(zone_of(members([("n" * 63, Card(services=(Service("x", n + 1),))) for n in range(16)])))
    name = "_x._tcp.home.smeg"
    cut = ask(question(name, "SRV"), responder=long)
    assert cut.flags & dns.flags.TC
    assert not cut.answer
    assert len(ask(question(name, "SRV"), tcp=True, responder=long).answer[0]) == 16
    whole = ask(question(name, "SRV", payload=4096), responder=long)
    assert len(whole.to_wire()) <= LARGEST
    assert not ask(question("n.home.smeg", "TXT"), responder=responder).flags & dns.flags.TC


@pytest.mark.parametrize(
    ("change", "rcode"),
    [
        (lambda query: query.set_opcode(dns.opcode.NOTIFY), dns.rcode.NOTIMP),
        (lambda query: query.set_opcode(dns.opcode.STATUS), dns.rcode.NOTIMP),
        (lambda query: query.question.clear(), dns.rcode.FORMERR),
        (lambda query: query.question.append(query.question[0]), dns.rcode.FORMERR),
        (lambda query: query.use_edns(1), dns.rcode.BADVERS),
    ],
)
def test_what_is_not_one_plain_question_is_refused_by_its_code(change: object, rcode: dns.rcode.Rcode) -> None:
    query = question("web.home.smeg", payload=1232)
    assert callable(change)
    change(query)
    raw = Responder(ZONE).answer(query.to_wire(), False, 0.0)
    assert raw is not None
    response = dns.message.from_wire(raw)
    assert (response.id, response.rcode(), response.answer) == (query.id, rcode, [])


@pytest.mark.parametrize(
    ("name", "kind", "class_"),
    [("smeg", "AXFR", "IN"), ("smeg", "IXFR", "IN"), ("version.bind", "TXT", "CH"), ("web.home.smeg", "AAAA", "CH")],
)
def test_transfers_and_other_classes_are_refused(name: str, kind: str, class_: str) -> None:
    query = dns.message.make_query(f"{name}.", kind, class_)
    assert ask(query).rcode() == dns.rcode.REFUSED


def test_options_of_a_query_are_no_obstacle() -> None:
    query = question("web.home.smeg")
    query.use_edns(0, options=[dns.edns.GenericOption(dns.edns.COOKIE, b"12345678")], payload=1232)
    assert ask(query).rcode() == dns.rcode.NOERROR


def test_who_asks_too_often_gets_no_answer_until_a_second_later_and_what_is_remembered_costs_less() -> None:
    responder = Responder(ZONE)
    query = question("web.home.smeg").to_wire()
    answers = [responder.answer(query, False, 0.0) for _ in range(int(BURST + 50))]
    answered = len([each for each in answers if each is not None])
    assert BURST - MADE <= answered <= BURST
    assert responder.dropped == len(answers) - answered
    assert responder.answer(query, False, 1.0) is not None
    responder = Responder(ZONE)
    made = [responder.answer(question(f"x{n}.home.smeg").to_wire(), False, 0.0) for n in range(int(BURST / MADE) + 50)]
    assert BURST / MADE - 1 <= len([each for each in made if each is not None]) <= BURST / MADE + 1
