"""From the bytes of a DNS query to those of its answer (RFC 1035, 2308, 6891, 8482): never an exception, whatever came.

Answers are remembered until the zone changes: most queries come again and again, and reading one takes far longer than
looking it up. Nothing here knows of sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rrset
from dns.rdatatype import RdataType

from smeg.allowance import Allowance
from smeg.zone import SERVER, Data, Found, Name, Server, Target, Texts, Zone

NOBODY: Name = ("nobody", "invalid")
"""Whom to write to about the zone."""
TTL = 5
"""seconds, of what is and of what is not: a member may die at any moment."""
LARGEST = 1232
"""bytes of an answer by UDP: what passes any IPv6 link in one piece."""
SMALLEST = 512
"""bytes of one for who does not say what it can take (RFC 1035, 4.2.1)."""
LARGEST_TCP = 65535
RATE, BURST = 40_000.0, 40_000.0
"""How many queries a second are answered, and how many at once, in answers that are remembered."""
MADE = 20.0
"""How many of those one costs that is made anew."""
KEPT = 8192
"""answers, to queries of at most `KEPT_BYTES`."""
KEPT_BYTES = 300

_HEADER = 12
_RESPONSE, _OPCODE, _RECURSION_DESIRED = 0x8000, 0x7800, 0x0100
_IN = dns.rdataclass.IN


class Responder:
    """Answers from one zone."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._version = zone.version
        self._kept: dict[tuple[bool, bytes], bytes] = {}

        self._allowance = Allowance(RATE, BURST)
        self.asked = 0
        self.dropped = 0
        """Of those, how many got no answer because there were too many."""

    def answer(self, query: bytes, tcp: bool, now: float) -> bytes | None:
        """The answer, of at most 64 KiB by TCP; None for what is no query, and beyond `RATE`."""
        self.asked += 1
        if not self._allowance.take(now):
            self.dropped += 1
            return None
        if self._version != self._zone.version or len(self._kept) >= KEPT:
            self._kept.clear()
            self._version = self._zone.version
        key = (tcp, query[2:])
        answer = self._kept.get(key)
        if answer is None:
            self._allowance.spend(now, MADE - 1)
            made = self._make(query, tcp)
            if made is None:
                return None
            answer = made[2:]
            if len(query) <= KEPT_BYTES:
                self._kept[key] = answer
        return query[:2] + answer

    def _make(self, raw: bytes, tcp: bool) -> bytes | None:
        if len(raw) < _HEADER:
            return None
        flags = int.from_bytes(raw[2:4], "big")
        if flags & _RESPONSE:
            # Else two servers could keep each other busy for ever.
            return None
        if flags & _OPCODE:
            return _bare(raw, flags, dns.rcode.NOTIMP)
        try:
            query = dns.message.from_wire(raw)
            response = dns.message.make_response(query, our_payload=LARGEST)
            room = LARGEST_TCP if tcp else min(max(SMALLEST, query.payload), LARGEST)
            self._fill(response, query)
        except (dns.exception.DNSException, ValueError):
            return _bare(raw, flags, dns.rcode.FORMERR)
        return _packed(response, room)

    def _fill(self, response: dns.message.Message, query: dns.message.Message) -> None:
        """Raises `DNSException` for a question that is none."""
        if query.edns > 0:
            response.set_rcode(dns.rcode.BADVERS)
            return
        if len(query.question) != 1:
            raise dns.exception.FormError
        question = query.question[0]
        kind = question.rdtype
        if kind in (RdataType.OPT, RdataType.TSIG, RdataType.TKEY):
            raise dns.exception.FormError
        name = tuple(label.decode("latin-1").lower() for label in question.name.labels[:-1])
        found = self._zone.find(name)
        transfer = kind in (RdataType.AXFR, RdataType.IXFR, RdataType.MAILA, RdataType.MAILB)
        if found is None or transfer or question.rdclass not in (_IN, dns.rdataclass.ANY):
            response.set_rcode(dns.rcode.REFUSED)
            return
        response.flags |= dns.flags.AA
        if not found.exists:
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.answer = self._answers(question.name, found, kind, name)
        if not response.answer:
            response.authority = [self._soa(found.apex)]
        elif any(rrset.rdtype == RdataType.SRV for rrset in response.answer):
            response.additional = [_rrset(_name(each), RdataType.AAAA, [at]) for each, at in found.besides.items()]

    def _answers(self, owner: dns.name.Name, found: Found, kind: RdataType, name: Name) -> list[dns.rrset.RRset]:
        """The owner is spelled as it was asked for: some resolvers check that."""
        answers = [
            _rrset(owner, type_, data)
            for type_, data in ((RdataType.from_text(text), data) for text, data in found.records.items())
            if kind in (RdataType.ANY, type_)
        ]
        if name == found.apex and kind in (RdataType.ANY, RdataType.SOA):
            soa = self._soa(found.apex)
            soa.name = owner
            answers.append(soa)
        return answers

    def _soa(self, apex: Name) -> dns.rrset.RRset:
        serial = self._zone.version & 0xFFFFFFFF
        # Nobody transfers the zone: only the minimum matters, for how long to believe that something is not there.
        numbers = struct.pack("!5I", serial, 3600, 600, 86400, TTL)
        return _rrset(_name(apex), RdataType.SOA, [_wire(SERVER) + _wire(NOBODY) + numbers])


def _bare(raw: bytes, flags: int, rcode: int) -> bytes:
    """A header that says nothing but what is wrong."""
    kept = flags & (_OPCODE | _RECURSION_DESIRED)
    return raw[:2] + (_RESPONSE | kept | rcode).to_bytes(2, "big") + bytes(8)


def _packed(response: dns.message.Message, room: int) -> bytes:
    """What fits: without what nobody asked for, or else nothing but that it does not."""
    try:
        return response.to_wire(max_size=room, want_shuffle=False)
    except dns.exception.TooBig:
        response.additional = []
    try:
        return response.to_wire(max_size=room, want_shuffle=False)
    except dns.exception.TooBig:
        response.answer, response.authority = [], []
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=room, want_shuffle=False)


def _name(labels: Name) -> dns.name.Name:
    return dns.name.Name((*(label.encode("latin-1") for label in labels), b""))


def _wire(name: Name) -> bytes:
    return _name(name).to_wire() or b""


def _rrset(owner: dns.name.Name, kind: RdataType, data: Iterable[Data | bytes]) -> dns.rrset.RRset:
    packed = [each if isinstance(each, bytes) else _data(each) for each in data]
    found = [dns.rdata.from_wire(_IN, kind, each, 0, len(each)) for each in packed]
    return dns.rrset.from_rdata_list(owner, TTL, found)


def _data(data: Data) -> bytes:
    match data:
        case IPv6Address() | IPv4Address():
            return data.packed
        case Server(port, target):
            return struct.pack("!3H", 0, 0, port) + _wire(target)
        case Texts(strings):
            return b"".join(bytes([len(each)]) + each for each in strings)
        case Target(name):
            return _wire(name)
