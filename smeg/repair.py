"""The repair conversation: two replicas compare digests, narrow down by ranges what differs, and exchange just that.

It opens with the digest of everything (`ROOT`); large ranges that differ are answered by the digests of their parts
(`PARTS`), small ones by what lies in them (`LISTING`), and those by the documents that differ and a request for the
others (`WANT`, and with certificates `NEED`). A node may have many annexes of which one differs, so of these each side
says first which it holds (`HELD`, `LACK`). It only says what to answer, from what is known now: it remembers nothing of
a conversation, so one that breaks off costs nothing. It never takes a document in or chooses whom to ask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from smeg.annexes import MAX_ANNEXES
from smeg.chain import Chain
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, NodeKey
from smeg.range_digest import DIGEST_BYTES, EMPTY, FAN_OUT, LEAF, MAX_DEPTH
from smeg.records import Record, Remove
from smeg.replica import Replica
from smeg.wire import MAX_ITEMS, MAX_PAYLOAD, Word, expect, pack

MAX_NODES = 64
"""nodes that one message may ask for."""
MAX_RANGES = 16
"""ranges of which one message may tell."""
MAX_LISTED = 4 * LEAF
"""nodes in a listing, and in the range that it is compared with."""
_BEGINNING = 8
"""bytes of a key that name its node."""
_ENTRY = _BEGINNING + DIGEST_BYTES
"""bytes of a node in a listing."""
_NAME = 8
"""bytes of an annex's hash that name it. Who finds another with the same harms itself alone: they are its own."""
_LENGTH = 2
"""bytes that an item of a payload takes besides its own."""


class Repair:
    """What is said of one replica; all answers are payloads, to be sent in this order."""

    __slots__ = ("_chain", "_replica")

    def __init__(self, replica: Replica, chain: Chain) -> None:
        self._replica = replica
        self._chain = chain

    def opening(self) -> bytes:
        return pack(Word.ROOT, [self._replica.digest.of()])

    def answer(self, word: Word, items: list[bytes]) -> list[bytes]:
        """What to say to a message of a repair. Raises `RemoteError`."""
        match word:
            case Word.ROOT:
                (digest,) = expect(items, DIGEST_BYTES)
                return [] if digest == self._replica.digest.of() else self._ranges([""])
            case Word.PARTS:
                return self._compare_parts(_told(items))
            case Word.LISTING:
                return self._compare_listings(_told(items))
            case Word.NEED:
                return self.documents(self._named(items))
            case Word.WANT:
                return self._statements(self._named(items))
            case Word.HELD:
                return self._beside(*_held(items))
            case Word.LACK:
                node, names = _held(items)
                return _payloads(Word.DOCUMENTS, self._annexes(node, names))
            case _:
                raise RemoteError("malformed", f"{word.name} has no place in membership gossip")

    def need(self, nodes: Iterable[NodeKey]) -> bytes:
        """A request for all there is of some nodes, as many as may be asked for at once."""
        return pack(Word.NEED, list(nodes)[:MAX_NODES])

    def documents(self, nodes: Iterable[NodeKey]) -> list[bytes]:
        """All there is of some nodes: certificates, each followed by the record that rests on it, then removes."""
        return _payloads(Word.DOCUMENTS, self._bundles(nodes))

    def everything(self) -> list[bytes]:
        """All there is, for one who knows nothing."""
        return _payloads(Word.STATE, self._bundles(self._replica))

    def _bundles(self, nodes: Iterable[NodeKey]) -> Iterator[list[bytes]]:
        """One after another: unpacked, a large mesh takes several times the room."""
        statements = [statement for node in nodes for statement in self._replica.statements(node)]
        roots = dict.fromkeys(s.credential if isinstance(s, Record) else s.by for s in statements)
        records: defaultdict[bytes, list[Record]] = defaultdict(list)
        for record in (s for s in statements if isinstance(s, Record)):
            records[record.credential].append(record)
        for credential, bundle in self._chain.bundles(root for root in roots if root):
            # Not after all certificates: a joiner would count nobody until it had verified thousands.
            yield [*bundle, *(record.raw for record in records.get(credential, ()))]
        yield from ([s.raw] for s in statements if isinstance(s, Remove))
        # Last: nobody belongs by an annex, and an author's may be many.
        yield from (annex for s in statements if isinstance(s, Record) for annex in self._annexes(s.node))

    def _statements(self, nodes: Iterable[NodeKey]) -> list[bytes]:
        """What is said of nodes that the other side knows: it has their certificates, or else asks for them."""
        return _payloads(Word.DOCUMENTS, (bundle for node in nodes for bundle in self._said(node)))

    def _said(self, node: NodeKey, held: frozenset[bytes] = frozenset()) -> list[list[bytes]]:
        """What is said of and by a node, but for the annexes of these names."""
        return [*([statement.raw] for statement in self._replica.statements(node)), *self._annexes(node, held)]

    def _annexes(self, node: NodeKey, held: frozenset[bytes] = frozenset()) -> list[list[bytes]]:
        return [[annex.raw] for annex in self._replica.said(node) if annex.hash[:_NAME] not in held]

    def _names(self, node: NodeKey) -> list[bytes]:
        return [annex.hash[:_NAME] for annex in self._replica.said(node)]

    def _beside(self, node: NodeKey, held: frozenset[bytes]) -> list[bytes]:
        """What somebody lacks who holds these annexes of a node."""
        names = self._names(node)
        lack = [] if held.issubset(names) else [pack(Word.LACK, [node, b"".join(names)])]
        return [*_payloads(Word.DOCUMENTS, self._said(node, held)), *lack]

    def _ranges(self, ranges: Iterable[str]) -> list[bytes]:
        """What to say about ranges that differ: listings of the small ones, the parts of the others."""
        digest = self._replica.digest
        parts: list[list[bytes]] = []
        listings: list[list[bytes]] = []
        for digits in ranges:
            if digest.size(digits) > LEAF and len(digits) < MAX_DEPTH:
                parts.append([digits.encode(), b"".join(digest.parts(digits))])
            else:
                entries = (key[:_BEGINNING] + of for key, of in digest.listing(digits).items())
                listings.append([digits.encode(), b"".join(entries)])
        return [
            *_payloads(Word.PARTS, parts, 2 * MAX_RANGES),
            *_payloads(Word.LISTING, listings, 2 * MAX_RANGES),
        ]

    def _compare_parts(self, told: list[tuple[str, bytes]]) -> list[bytes]:
        differ: list[str] = []
        lacked: list[NodeKey] = []
        for digits, theirs in told:
            if len(theirs) != FAN_OUT * DIGEST_BYTES:
                raise RemoteError("malformed", "parts of the wrong number")
            for part, ours in enumerate(self._replica.digest.parts(digits)):
                child = f"{digits}{part:x}"
                digest = theirs[part * DIGEST_BYTES : (part + 1) * DIGEST_BYTES]
                if digest == EMPTY:
                    # Where they have nothing, all of it is what they lack.
                    lacked += self._replica.digest.listing(child)
                elif digest != ours:
                    differ.append(child)
        return [*self._ranges(differ), *self.documents(lacked)]

    def _compare_listings(self, told: list[tuple[str, bytes]]) -> list[bytes]:
        large: list[str] = []
        lacked: list[NodeKey] = []
        differ: list[NodeKey] = []
        lacking: list[bytes] = []
        for digits, listing in told:
            theirs = dict.fromkeys(_listed(listing))
            if self._replica.digest.size(digits) > MAX_LISTED:
                # Nobody who follows the conversation lists a range that is large here.
                large.append(digits)
                continue
            ours = {key: key[:_BEGINNING] + digest for key, digest in self._replica.digest.listing(digits).items()}
            names = {entry[:_BEGINNING] for entry in theirs}
            lacked += [key for key in ours if key[:_BEGINNING] not in names]
            changed = [key for key, entry in ours.items() if key[:_BEGINNING] in names and entry not in theirs]
            differ += changed
            # Somebody may make keys that begin alike: an entry that is not here is another's, unless it is asked for.
            here = {*ours.values(), *(key[:_BEGINNING] for key in changed)}
            lacking += [entry[:_BEGINNING] for entry in theirs if not here & {entry, entry[:_BEGINNING]}]
        out = [*self._ranges(large), *self.documents(lacked)]
        out += _payloads(Word.DOCUMENTS, ([s.raw] for key in differ for s in self._replica.statements(key)))
        annexed = [key for key in differ if key in self._replica.annexes]
        out += [pack(Word.HELD, [key, b"".join(self._names(key))]) for key in annexed]
        plain = [key for key in differ if key not in self._replica.annexes]
        out += _payloads(Word.WANT, ([key[:_BEGINNING]] for key in plain), MAX_NODES)
        return [*out, *_payloads(Word.NEED, ([name] for name in lacking), MAX_NODES)]

    def _named(self, items: list[bytes]) -> list[NodeKey]:
        """The nodes that are asked for by their keys' beginnings, each once."""
        beginnings = (item for item in items[:MAX_NODES] if _BEGINNING <= len(item) <= KEY_BYTES)
        return list(dict.fromkeys(key for one in beginnings for key in self._replica.digest.listing(one.hex())))


def _payloads(word: Word, bundles: Iterable[list[bytes]], most: int = MAX_ITEMS) -> list[bytes]:
    """As many as are needed, none too large and none with more items than `most`. What belongs together comes together:
    whoever takes the first of them in has no use for half of it, and would have to ask for all that rests on it."""
    payloads: list[bytes] = []
    waiting: list[bytes] = []
    size = 1
    for bundle in bundles:
        more = sum(len(item) + _LENGTH for item in bundle)
        if waiting and (size + more > MAX_PAYLOAD or len(waiting) + len(bundle) > most):
            payloads.append(pack(word, waiting))
            waiting, size = [], 1
        waiting += bundle
        size += more
    return [*payloads, pack(word, waiting)] if waiting else payloads


def _told(items: list[bytes]) -> list[tuple[str, bytes]]:
    """Ranges, and what is told of each."""
    if len(items) % 2 or len(items) > 2 * MAX_RANGES:
        raise RemoteError("malformed", "ranges of the wrong number")
    return [(_digits(digits), of) for digits, of in zip(items[::2], items[1::2], strict=True)]


def _listed(listing: bytes) -> list[bytes]:
    """Its entries."""
    if len(listing) % _ENTRY or len(listing) > MAX_LISTED * _ENTRY:
        raise RemoteError("malformed", "a listing of the wrong length")
    return [listing[at : at + _ENTRY] for at in range(0, len(listing), _ENTRY)]


def _held(items: list[bytes]) -> tuple[NodeKey, frozenset[bytes]]:
    """A node, and the names of annexes of it."""
    node, names = expect(items, KEY_BYTES, None)
    if len(names) % _NAME or len(names) > MAX_ANNEXES * _NAME:
        raise RemoteError("malformed", "a list of annexes of the wrong length")
    return NodeKey(node), frozenset(names[at : at + _NAME] for at in range(0, len(names), _NAME))


def _digits(raw: bytes) -> str:
    """The name of a range, from the wire."""
    text = raw.decode("ascii", "replace")
    if len(text) >= MAX_DEPTH or text.strip("0123456789abcdef"):
        raise RemoteError("malformed", "a range that is not named by hexadecimal digits")
    return text
