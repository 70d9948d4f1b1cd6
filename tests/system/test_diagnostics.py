"""What Sluice answers below /v1/_sluice, for `sluice doctor`."""

import json
import socket
import time

import pytest

from harness import keys
from harness.errors import error_of
from harness.process import wait_until
from harness.sse import data_of


def get(stack, path, **arguments):
    return stack.post(f"/v1/_sluice/{path}", method="GET", **arguments)


@pytest.mark.parametrize("path", ["echo", "stream", "departure?id=x", "sink"])
def test_a_key_is_needed(stack, path):
    for key, code in ((None, None), (keys.WRONG_CLIENT, "invalid_api_key")):
        answer = get(stack, path, key=key)
        assert answer.status_code == 401 and error_of(answer)["code"] == code


@pytest.mark.parametrize("path, method, status", [
    ("", "GET", 404), ("nothing", "GET", 404), ("streams", "GET", 404), ("stream/x", "GET", 404),
    ("stream", "POST", 405), ("departure", "POST", 405), ("sink", "GET", 405), ("echo", "DELETE", 405),
])
def test_what_is_not_served(stack, path, method, status):
    answer = stack.post(f"/v1/_sluice/{path}", method=method)
    assert answer.status_code == status
    error_of(answer)


def test_nothing_goes_upstream(stack):
    assert get(stack, "echo").status_code == 200
    assert stack.sim.requests() == []


def test_echo_tells_of_the_request(stack):
    answer = stack.post("/v1/_sluice/echo/a%2Fb%20c//d?x=1%2F2&x=%C3%A4", content=b"12345")
    assert answer.status_code == 200
    told = answer.json()
    assert told["method"] == "POST"
    assert told["path"] == "/v1/_sluice/echo/a%2Fb%20c//d"
    assert told["query"] == "x=1%2F2&x=%C3%A4"
    assert told["authorization"] is True and told["https"] is False
    assert told["content_length"] == 5 and told["body_bytes"] == 5
    assert told["max_body_bytes"] == 32 * 1024 * 1024
    assert told["remote_addr"] == "127.0.0.1" and told["version"]
    assert isinstance(told["server_software"], str)  # not every web server's configuration passes it
    assert told["server_protocol"] == "HTTP/1.1"
    assert isinstance(told["kept_connection"], bool)


def test_echo_tells_no_header_values(stack):
    answer = get(stack, "echo", headers={"Cookie": "session=hidden-value", "X-Api-Key": "hidden-value"})
    assert "hidden-value" not in answer.text and keys.CLIENT not in answer.text


def test_sink_counts_without_a_length(stack):
    answer = stack.post("/v1/_sluice/sink", content=iter([b"x" * 100000] * 30))
    assert answer.status_code == 200 and answer.json()["body_bytes"] == 3000000


def test_sink_stops_at_the_limit(make_stack):
    stack = make_stack(MAX_BODY_BYTES="1MiB")
    assert stack.post("/v1/_sluice/sink", content=b"x" * 1048576).json()["body_bytes"] == 1048576
    for body in (b"x" * 1048577, iter([b"x" * 65536] * 17)):
        answer = stack.post("/v1/_sluice/sink", content=body)
        assert answer.status_code == 413
        error_of(answer)


def test_stream_is_paced(stack):
    arrived = []
    events = []
    with stack.http.stream("GET", "/v1/_sluice/stream?events=4&pace_ms=200",
                           headers={"Authorization": f"Bearer {keys.CLIENT}"}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for piece in answer.iter_raw():
            for data in data_of(piece):
                events.append(data)
                arrived.append(time.monotonic())
    assert events.pop() == "[DONE]"
    told = [json.loads(event) for event in events]
    assert [(event["sequence"], event["of"]) for event in told] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    sent = [event["sent_us"] for event in told]
    assert all(later - earlier >= 150000 for earlier, later in zip(sent, sent[1:]))
    assert arrived[3] - arrived[0] > 0.45


def test_silence_follows_the_first_event(stack):
    events = data_of(get(stack, "stream?events=3&pace_ms=0&silence_s=1").content)
    sent = [json.loads(event)["sent_us"] for event in events[:3]]
    assert sent[1] - sent[0] >= 900000 and sent[2] - sent[1] < 500000


@pytest.mark.parametrize("query", [
    "events=0", "events=1001", "events=", "events=x", "events=-1", "events=9999999999", "pace_ms=10001",
    "silence_s=901", "events=1000&pace_ms=2000", "id=a%20b", "id=" + "x" * 65,
])
def test_wrong_parameters(stack, query):
    answer = get(stack, f"stream?{query}")
    assert answer.status_code == 400
    error_of(answer)


def departure(stack, name, **arguments):
    """What the worker that had the stream says."""
    def ask():
        told = get(stack, f"departure?id={name}", **arguments).json()
        return told if told["known"] else None

    return wait_until(ask, "a worker that knows the stream")


def open_stream(stack, query):
    connection = socket.create_connection(("127.0.0.1", stack.front.port), timeout=20)
    connection.sendall(f"GET /v1/_sluice/stream?{query} HTTP/1.1\r\nHost: x\r\n"
                       f"Authorization: Bearer {keys.CLIENT}\r\n\r\n".encode())
    received = b""
    while b"data: " not in received:
        received += connection.recv(65536)
    return connection


def test_a_departure_is_remembered(stack):
    connection = open_stream(stack, "events=100&pace_ms=100&id=left-1")
    told = get(stack, "departure?id=left-1").json()
    assert told == {"known": False} or told["ended"] is False  # another worker may have answered
    time.sleep(0.3)
    connection.close()
    told = wait_until(lambda: (d := departure(stack, "left-1"))["ended"] and d, "the departure")
    assert told["left"] is True and 250 <= told["after_ms"] < 5000


def test_a_stream_that_ended_was_not_left(stack):
    assert get(stack, "stream?events=1&id=whole-1").status_code == 200
    told = departure(stack, "whole-1")
    assert told["ended"] is True and told["left"] is False


def test_streams_of_others_are_not_told(make_stack):
    stack = make_stack(WORKERS="1")
    assert get(stack, "stream?events=1&id=mine").status_code == 200
    assert get(stack, "departure?id=mine").json()["known"] is True
    assert get(stack, "departure?id=mine", key=keys.OTHER_CLIENT).json() == {"known": False}
    assert get(stack, "departure?id=").json() == {"known": False}


def test_the_last_64_streams_are_remembered(make_stack):
    stack = make_stack(WORKERS="1")
    for i in range(66):
        assert get(stack, f"stream?events=1&id=n{i}").status_code == 200
    assert [get(stack, f"departure?id=n{i}").json()["known"] for i in (0, 1, 2, 65)] == [False, False, True, True]


def test_a_stopping_sluice_ends_the_stream_with_an_error(make_stack):
    stack = make_stack(WORKERS="1", DRAIN_SECONDS="1")
    if not hasattr(stack.sluice.process, "send"):
        pytest.skip("the web server starts and stops Sluice")
    connection = open_stream(stack, "events=1000&pace_ms=1000")
    stack.sluice.process.send(15)
    received = b""
    while block := connection.recv(65536):
        received += block
        if received.endswith(b"0\r\n\r\n"):
            break
    connection.close()
    assert b'"error"' in received
