"""A client that leaves, at every stage: everything of its request is freed, and the upstream's work is cancelled.

The limit here is loose, for a busy machine; what was measured is printed (pytest -s).
"""

import itertools
import socket
import time
from datetime import datetime

import httpx
import pytest

from harness import keys, streaming_front
from harness.bodies import chat
from harness.process import descriptors_of, growth_of, wait_until
from harness.sluice import SANITIZED
from harness.stack import Stack

FRONTS = ["lighttpd"] if SANITIZED else ["lighttpd", streaming_front.NAME]
SETTINGS = {"WORKERS": 1, "UPSTREAM__RETRY_BASE_SECONDS": "0.002", "STREAM__KEEPALIVE_SECONDS": "0.2"}
AT_MOST = 1.0
"""Seconds; the aim is 0.1."""


@pytest.fixture(scope="module", params=FRONTS)
def left_stack(request):
    stack = Stack(request.param, **SETTINGS)
    yield stack
    stack.stop()


@pytest.fixture
def left(left_stack):
    left_stack.sim.reset()
    return left_stack


def connect(stack):
    """A connection that has served a request: lighttpd does not watch a first one that came together with its request."""
    connection = socket.create_connection(("127.0.0.1", stack.front.port), timeout=10)
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while b"}" not in received:
        received += connection.recv(4096)
    time.sleep(0.02)  # the same goes for a request that is there before lighttpd waits for it
    return connection


def head_of(path, length, name, content_type="application/json"):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys.CLIENT}\r\nContent-Type: {content_type}\r\n"
            f"X-Request-ID: {name}\r\nContent-Length: {length}\r\n\r\n").encode()


def send_chat(connection, name, how, stream):
    body = httpx.Request("POST", "http://x", json=chat(how, stream=stream)).content
    connection.sendall(head_of("/v1/chat/completions", len(body), name) + body)


def took_ms(stack, name, began):
    """From the client's departure to the log line with which everything of the request is freed."""
    line = stack.sluice.wait_for_line(request_id=name)
    assert line["end"] == "client_left", line
    return (datetime.fromisoformat(line["time"]).timestamp() - began) * 1000


def leave(stack, connection, name):
    """Closes, and says how long Sluice and the upstream took to know, in milliseconds."""
    began, began_us = time.time(), time.monotonic_ns() // 1000
    connection.close()
    sluice_ms = took_ms(stack, name, began)
    request = wait_until(lambda: (seen := stack.sim.last_request())["state"] != "active" and seen, "the abort upstream")
    upstream_ms = (request["ended_us"] - began_us) / 1000
    print(f"\n{name} behind {stack.front.name}: Sluice {sluice_ms:.1f} ms, upstream {upstream_ms:.1f} ms")
    assert max(sluice_ms, upstream_ms) < AT_MOST * 1000
    return request


STAGES = {
    "waiting": ("delay=20000", False, b""),
    "waiting for a stream": ("delay=20000", True, b""),
    "head-of-stream": ("first=20000;events=3", True, b""),
    "between-events": ("pace=20000;events=3", True, b"data: "),
    "while-events-come": ("pace=5;events=10000", True, b"data: "),
    "in-a-keep-alive": ("delay=20000", True, b": keep-alive"),
    "in-a-flood": ("events=1000000", True, b"data: "),
}


@pytest.mark.parametrize("stage", STAGES)
def test_leaving_while_the_upstream_works(left, stage):
    how, stream, awaited = STAGES[stage]
    name = f"{stage}-{left.front.name}".replace(" ", "-")
    connection = connect(left)
    send_chat(connection, name, how, stream)
    wait_until(lambda: left.sim.stats()["active"] == 1, "the request upstream")
    received = b""
    while awaited not in received:
        received += connection.recv(65536)
    request = leave(left, connection, name)
    assert request["state"] == "aborted"
    assert left.sim.stats()["active"] == 0


def test_leaving_in_a_retry_pause(left):
    left.sim.default("status=503;retry-after=1")
    name = f"retry-pause-{left.front.name}"
    connection = connect(left)
    send_chat(connection, name, None, True)
    wait_until(lambda: left.sim.stats()["completed"] == 1, "the first failure")
    time.sleep(0.1)
    began = time.time()
    connection.close()
    assert took_ms(left, name, began) < AT_MOST * 1000
    time.sleep(1.1)
    assert left.sim.stats()["requests"] == 1, "nobody waits for the next attempt"


@pytest.mark.parametrize("sent", [0, 1000, 100_000])
@pytest.mark.parametrize("path, content_type", [("/v1/chat/completions", "application/json"),
                                                ("/v1/files", "multipart/form-data; boundary=x")])
def test_leaving_before_the_body_is_sent(left, path, content_type, sent):
    """lighttpd has not asked Sluice yet; this nginx has, and a large form is on its way upstream already."""
    name = f"body-{sent}-{path[-5:]}-{left.front.name}"
    connection = connect(left)
    connection.sendall(head_of(path, 300_000, name, content_type) + b" " * sent)
    time.sleep(0.15)
    began = time.time()
    connection.close()
    if left.front.name.startswith("nginx"):
        took = took_ms(left, name, began)
        print(f"\n{name}: {took:.1f} ms")
        assert took < AT_MOST * 1000
    wait_until(lambda: left.sim.stats()["active"] == 0, "the end upstream")
    assert left.post(json=chat()).status_code == 200


def test_leaving_in_a_download(left):
    name = f"download-{left.front.name}"
    connection = connect(left)
    connection.sendall(f"GET /v1/files/file-1/content?sim=size%3D500000000 HTTP/1.1\r\nHost: x\r\n"
                       f"Authorization: Bearer {keys.CLIENT}\r\nX-Request-ID: {name}\r\n\r\n".encode())
    received = 0
    while received < 1_000_000:
        received += len(connection.recv(65536))
    assert leave(left, connection, name)["state"] == "aborted"


GROWTH_MAX = 512 * 1024


def test_nothing_is_left_of_those_who_left(left):
    (worker,) = left.sluice.workers()

    def one_round(number):
        for stage, (how, stream, _) in STAGES.items():
            connection = connect(left)
            send_chat(connection, f"round-{number}-{stage.replace(' ', '-')}", how, stream)
            # lighttpd takes a departure that it reads together with the request for the end of what the client sends.
            wait_until(lambda: left.sim.stats()["active"] == 1, "the request upstream")
            connection.close()
            wait_until(lambda: left.sim.stats()["active"] == 0, "its end")

    numbers = itertools.count()

    def rounds(count):
        for _ in range(count):
            one_round(next(numbers))
        left.post(json=chat())

    rounds(3)
    descriptors = descriptors_of(worker)
    grown = growth_of(worker, lambda: rounds(2 if SANITIZED else 15), GROWTH_MAX, batches=1 if SANITIZED else 4)
    wait_until(lambda: descriptors_of(worker) <= descriptors + 1, "the end of all descriptors")
    print(f"\nbehind {left.front.name}: grown by {grown // 1024} KiB")
    assert SANITIZED or grown <= GROWTH_MAX
