"""Beats that come over real sockets are handed on together, a little late; whatever else comes is handed on at once.

The gossip actor is stepped by hand, and the time that it is told is the test's: messages have come when they can be
read, and how late they are handed on is a matter of values.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import zmq

from actors.gossip import BEATS_GATHER, BEATS_WAIT
from smeg import messages as m
from smeg.device import Endpoint
from smeg.edges.routers import Limits
from smeg.edges.transport import Transport
from smeg.keys import x25519_public
from smeg.wire import Word
from tests.test_transport import HOST
from tests.test_watched_links import HOME, OBSERVER, PATIENCE, PEER, Observer

BEAT, NEWS = Word.BEAT.value, Word.REFRESH.value


class Peer:
    """A member that has dialled an observer, and says what the test says."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self._transport = Transport(PEER.curve, HOST, 0, Limits(), random.Random(1))
        self._key = x25519_public(OBSERVER.curve)
        self.close = self._transport.close
        self._transport.admit(frozenset({self._key}))
        self._transport.dial(self._key, (Endpoint(HOST, observer.port),), time.monotonic())
        assert observer.until(self._reaches)

    def _reaches(self) -> bool:
        self._transport.receive(time.monotonic())
        return self._transport.reaches(self._key)

    def say(self, payload: bytes, channel: m.Channel = m.Channel.HEARTBEAT) -> None:
        assert self._transport.send(self._key, HOME.id, channel.value, payload)

    def heard(self, *payloads: bytes, at: float) -> list[bytes]:
        """Say these as beats and then some news; what the observer hands on of all that, told that it is `at`."""
        for payload in payloads:
            self.say(BEAT + payload)
        self.say(NEWS)
        found: list[bytes] = []
        deadline = time.monotonic() + PATIENCE
        while NEWS not in found:
            assert time.monotonic() < deadline, "what is no beat is handed on at once"
            zmq.zmq_poll([(self.observer.actor.transport.descriptor(), zmq.POLLIN)], 50)
            found += payloads_of(self.observer.actor.handle(m.Readable(), at))
        return found


def payloads_of(messages: object) -> list[bytes]:
    assert isinstance(messages, list)
    return [message.payload for message in messages if isinstance(message, m.Received)]


def ticked(observer: Observer, at: float) -> list[bytes]:
    """What it hands on when it is woken then."""
    return payloads_of(observer.actor.handle(m.Tick(), at))


@pytest.fixture
def peer() -> Iterator[Peer]:
    with ExitStack() as stack:
        observer = Observer({PEER: ()})
        stack.callback(observer.actor.close)
        made = Peer(observer)
        stack.callback(made.close)
        yield made


def test_beats_wait_for_each_other_and_go_on_together_in_the_order_in_which_they_came(peer: Peer) -> None:
    now = time.monotonic()
    assert peer.heard(b"1", b"2", b"3", at=now) == [NEWS]
    deadline = peer.observer.actor.next_deadline()
    assert deadline is not None
    assert deadline <= now + BEATS_WAIT
    assert ticked(peer.observer, now + BEATS_GATHER - 0.01) == []
    assert ticked(peer.observer, now + BEATS_WAIT) == [BEAT + b"1", BEAT + b"2", BEAT + b"3"]
    assert ticked(peer.observer, now + 2 * BEATS_WAIT) == [], "once"


def test_what_wakes_the_actor_after_a_while_takes_the_beats_with_it(peer: Peer) -> None:
    now = time.monotonic()
    assert peer.heard(b"1", at=now) == [NEWS]
    # The socket may wake it for the beat before the news is there.
    found = peer.heard(b"2", at=now + BEATS_GATHER)
    assert [payload for payload in found if payload != NEWS] == [BEAT + b"1", BEAT + b"2"]


def test_no_beat_waits_for_longer_because_others_follow_it(peer: Peer) -> None:
    now = time.monotonic()
    assert peer.heard(b"1", at=now) == [NEWS]
    assert peer.heard(b"2", at=now + 0.9 * BEATS_GATHER) == [NEWS]
    deadline = peer.observer.actor.next_deadline()
    assert deadline is not None
    assert deadline <= now + BEATS_WAIT


def test_beats_that_come_after_others_were_handed_on_gather_anew(peer: Peer) -> None:
    now = time.monotonic()
    peer.heard(b"1", at=now)
    assert ticked(peer.observer, now + BEATS_WAIT) == [BEAT + b"1"]
    assert peer.heard(b"2", at=now + BEATS_WAIT) == [NEWS]
    assert ticked(peer.observer, now + 2 * BEATS_WAIT) == [BEAT + b"2"]


def test_what_only_begins_like_a_beat_on_another_channel_does_not_wait(peer: Peer) -> None:
    now = time.monotonic()
    peer.say(BEAT + b"of documents", m.Channel.MEMBERSHIP)
    assert peer.heard(at=now) == [BEAT + b"of documents", NEWS]


def test_an_actor_with_nothing_to_hand_on_is_not_woken_for_beats(peer: Peer) -> None:
    now = time.monotonic()
    peer.heard(b"1", at=now)
    ticked(peer.observer, now + BEATS_WAIT)
    quiet = peer.observer.actor.next_deadline()
    assert quiet is not None
    assert quiet > now + BEATS_WAIT
