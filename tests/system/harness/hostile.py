"""Peers on the FastCGI socket that no web server is: each sends what it likes, and keeps its connections.

An attack is a function of a Peer. What it promises to see is asserted; what it says nothing about may end either way, but for
the others: they must not notice.
"""

import contextlib
import struct

from . import fastcgi
from .bodies import chat
from .fastcgi import ABORT, GET_VALUES, PARAMS, STDIN, begin, pair, pieces, record, variables

BIG = {**chat("events=20000;pace=0"), "stream": True}
"""Some megabytes of answer."""


class Peer:
    def __init__(self, address):
        self.address, self.kept = address, []

    def connect(self, content=b"", timeout=20):
        connection = fastcgi.Connection(self.address, timeout)
        self.kept.append(connection)
        if content:
            self.send(connection, content)
        return connection

    @staticmethod
    def send(connection, content):
        """The other side may have had enough of it before its end."""
        with contextlib.suppress(ConnectionError):
            connection.send(content)

    def is_closed(self, content):
        """It is not FastCGI, and the connection ends."""
        assert self.connect(content).ends(), content[:40]

    def close(self):
        for connection in self.kept:
            connection.close()


def silent(peer):
    for _ in range(50):
        peer.connect()


def half_a_record(peer):
    whole = fastcgi.request(chat())
    for length in (1, 7, 8, 9, 15, 16, 20, 40, len(whole) // 2, len(whole) - 1):
        peer.connect(whole[:length])


def empty_records(peer):
    peer.connect(record(STDIN, request=7) * 50_000 + fastcgi.request(chat())).answer()


def longest_records(peer):
    longest = record(STDIN, b"x" * 65535, request=7, padding=255)
    answer = peer.connect(longest * 20 + fastcgi.request(chat(), padding=255)).answer()
    assert answer.status == 200 and answer.complete


def wrong_versions(peer):
    for version in (0, 2, 127, 255):
        peer.is_closed(record(fastcgi.BEGIN, struct.pack(">HB5x", 1, 0), version=version))


def wrong_beginnings(peer):
    peer.is_closed(record(fastcgi.BEGIN, b"short"))
    peer.is_closed(begin() + begin())
    peer.is_closed(begin() + record(STDIN, b"x"))
    peer.is_closed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection = peer.connect(begin(role=2))
    assert connection.record()[0] == fastcgi.END


def unknown_types(peer):
    connection = peer.connect(b"".join(record(kind, b"?" * 9, request=0) for kind in (0, 12, 100, 255)))
    assert [connection.record()[2][0] for _ in range(4)] == [0, 12, 100, 255]
    peer.send(connection, record(99, b"x") * 1000 + fastcgi.request(chat()))
    assert connection.answer().status == 200


def a_million_parameters(peer):
    answer = peer.connect(begin() + pieces(PARAMS, pair(b"a", b"b") * 1_000_000) + pieces(STDIN, b"")).answer()
    assert answer.status == 431 and "error" in answer.json()


def too_many_parameters(peer):
    answer = peer.connect(begin() + pieces(PARAMS, pair(b"a", b"b") * 1001) + pieces(STDIN, b"")).answer()
    assert answer.status == 431


def lengths_beyond_the_end(peer):
    for sizes in (b"\xff\xff\xff\xff\x01", b"\x01\xff\xff\xff\xff", b"\x80\x00\x00\x05\x80\x00\x00\x05", b"\x7f\x7f", b"\x80"):
        peer.is_closed(begin() + record(PARAMS, sizes + b"name") + record(PARAMS))


def many_requests_on_one_connection(peer):
    connection = peer.connect(begin(1) + begin(2) + begin(3))
    assert [connection.record()[:2] for _ in range(2)] == [(fastcgi.END, 2), (fastcgi.END, 3)]
    body = b'{"model": "m"'
    peer.send(connection, pieces(PARAMS, variables(), 2) + pieces(PARAMS, variables(length=len(body))) + pieces(STDIN, body))
    assert connection.answer().status == 400


def many_values(peer):
    names = b"".join(pair(b"FCGI_%d" % number, b"") for number in range(4000))
    connection = peer.connect(record(GET_VALUES, names, request=0) + record(GET_VALUES, pair(b"FCGI_MPXS_CONNS", b""), request=0))
    assert [connection.record()[0] for _ in range(2)] == [fastcgi.GET_VALUES_RESULT] * 2


def values_that_nobody_reads(peer):
    connection = peer.connect(timeout=2)
    with contextlib.suppress(TimeoutError):
        peer.send(connection, record(GET_VALUES, pair(b"FCGI_MPXS_CONNS", b""), request=0) * 100_000)


def aborts(peer):
    head, body = pieces(PARAMS, variables(length=100)), record(STDIN, b"x" * 50)
    for content in (b"", begin(), begin() + head[:30], begin() + head, begin() + head + body):
        peer.connect(content + record(ABORT))
    for _ in range(10):
        connection = peer.connect(fastcgi.request(BIG))
        connection.record()
        peer.send(connection, record(ABORT))


def never_reads(peer):
    for _ in range(20):
        peer.connect(fastcgi.request(BIG))


def leaves_at_once(peer):
    for _ in range(200):
        peer.connect(fastcgi.request(chat("delay=50"))).close()


def does_not_wait_for_the_answer(peer):
    peer.is_closed(b"".join(fastcgi.request(chat("delay=50"), flags=fastcgi.KEEP) for _ in range(100)))


ATTACKS = (silent, half_a_record, empty_records, longest_records, wrong_versions, wrong_beginnings, unknown_types,
           a_million_parameters, too_many_parameters, lengths_beyond_the_end, many_requests_on_one_connection, many_values,
           values_that_nobody_reads, aborts, never_reads, leaves_at_once, does_not_wait_for_the_answer)
