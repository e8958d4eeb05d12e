"""The repair conversation: two replicas compare digests, narrow down by ranges what differs, and exchange just that.

It opens with the digest of everything (`ROOT`); a large range that differs is answered by the digests of its parts
(`PARTS`), a small one by what lies in it (`LISTING`), and that by the documents that differ and a request for the
others (`WANT`, and with certificates `NEED`). A node may have many annexes of which one differs, so of these each side
says first which it holds (`HELD`, `LACK`). It only says what to answer, from what is known now: it remembers nothing of
a conversation, so one that breaks off costs nothing. It never takes a document in or chooses whom to ask.
"""

from __future__ import annotations

from collections.abc import Iterable

from smeg.annexes import MAX_ANNEXES
from smeg.chain import Chain
from smeg.errors import RemoteError
from smeg.keys import KEY_BYTES, NodeKey
from smeg.range_digest import DIGEST_BYTES, EMPTY, FAN_OUT, LEAF, MAX_DEPTH
from smeg.records import Record, Remove
from smeg.replica import Replica
from smeg.wire import MAX_ITEMS, MAX_PAYLOAD, Word, expect, pack

MAX_NODES = 64
"""nodes that one message may ask for; the rest is found at the next repair."""
MAX_LISTED = 4 * LEAF
"""nodes in a listing, and in the range that it is compared with."""
_ENTRY = KEY_BYTES + DIGEST_BYTES
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
                return [] if digest == self._replica.digest.of() else self._range("")
            case Word.PARTS:
                digits, digests = expect(items, None, FAN_OUT * DIGEST_BYTES)
                return self._compare_parts(_digits(digits), digests)
            case Word.LISTING:
                digits, listing = expect(items, None, None)
                return self._compare_listing(digits, listing)
            case Word.NEED:
                return self.documents(_nodes(items))
            case Word.WANT:
                return self._statements(_nodes(items))
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

    def _bundles(self, nodes: Iterable[NodeKey]) -> list[list[bytes]]:
        statements = [statement for node in nodes for statement in self._replica.statements(node)]
        roots = dict.fromkeys(s.credential if isinstance(s, Record) else s.by for s in statements)
        bundles = self._chain.bundles(root for root in roots if root)
        for record in (s for s in statements if isinstance(s, Record)):
            # Not after all certificates: a joiner would count nobody until it had verified thousands.
            bundles[record.credential].append(record.raw)
        rest = [[s.raw] for s in statements if isinstance(s, Remove)]
        # Last: nobody belongs by an annex, and an author's may be many.
        rest += [annex for s in statements if isinstance(s, Record) for annex in self._annexes(s.node)]
        return [*bundles.values(), *rest]

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

    def _range(self, digits: str) -> list[bytes]:
        """What to say about a range that differs: its listing when it is small, else its parts."""
        digest = self._replica.digest
        if digest.size(digits) > LEAF and len(digits) < MAX_DEPTH:
            return [pack(Word.PARTS, [digits.encode(), b"".join(digest.parts(digits))])]
        return [pack(Word.LISTING, [digits.encode(), b"".join(key + of for key, of in digest.listing(digits).items())])]

    def _compare_parts(self, digits: str, theirs: bytes) -> list[bytes]:
        out: list[bytes] = []
        for part, ours in enumerate(self._replica.digest.parts(digits)):
            child = f"{digits}{part:x}"
            digest = theirs[part * DIGEST_BYTES : (part + 1) * DIGEST_BYTES]
            if digest == ours:
                continue
            # Where they have nothing, all of it is what they lack.
            out += self._range(child) if digest != EMPTY else self.documents(self._replica.digest.listing(child))
        return out

    def _compare_listing(self, digits: bytes, listing: bytes) -> list[bytes]:
        if len(listing) % _ENTRY or len(listing) > MAX_LISTED * _ENTRY:
            raise RemoteError("malformed", "a listing of the wrong length")
        if self._replica.digest.size(_digits(digits)) > MAX_LISTED:
            # Nobody who follows the conversation lists a range that is large here.
            return self._range(_digits(digits))
        entries = [listing[at : at + _ENTRY] for at in range(0, len(listing), _ENTRY)]
        theirs = {NodeKey(entry[:KEY_BYTES]): entry[KEY_BYTES:] for entry in entries}
        ours = self._replica.digest.listing(_digits(digits))
        differ = [key for key, digest in ours.items() if key in theirs and theirs[key] != digest]
        out = self.documents(key for key in ours if key not in theirs)
        lacking = [key for key in theirs if key not in ours]
        statements = ([s.raw] for key in differ for s in self._replica.statements(key))
        out += _payloads(Word.DOCUMENTS, statements)
        annexed = [key for key in differ if key in self._replica.annexes]
        out += [pack(Word.HELD, [key, b"".join(self._names(key))]) for key in annexed]
        plain = [key for key in differ if key not in self._replica.annexes][:MAX_NODES]
        out += [pack(Word.WANT, plain)] if plain else []
        return [*out, self.need(lacking)] if lacking else out


def _payloads(word: Word, bundles: Iterable[list[bytes]]) -> list[bytes]:
    """As many as are needed, none too large. What belongs together comes together: whoever takes the first of them in
    has no use for half of it, and would have to ask for all that rests on it."""
    payloads: list[bytes] = []
    waiting: list[bytes] = []
    size = 1
    for bundle in bundles:
        more = sum(len(item) + _LENGTH for item in bundle)
        if waiting and (size + more > MAX_PAYLOAD or len(waiting) + len(bundle) > MAX_ITEMS):
            payloads.append(pack(word, waiting))
            waiting, size = [], 1
        waiting += bundle
        size += more
    return [*payloads, pack(word, waiting)] if waiting else payloads


def _nodes(items: list[bytes]) -> list[NodeKey]:
    """Those that are asked for, each once."""
    return [NodeKey(item) for item in dict.fromkeys(items[:MAX_NODES]) if len(item) == KEY_BYTES]


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
