"""The log: one JSON object a line, one line a finished request, and never a key."""

import json
import re
import time
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from harness import keys
from harness.bodies import chat
from harness.process import free_port, wait_until


def line_of(stack, **arguments):
    """Makes a request under an id of its own; returns the answer and its line."""
    name = f"test-{time.monotonic_ns()}"
    answer = stack.post(headers={"X-Request-ID": name, **arguments.pop("headers", {})}, **arguments)
    return answer, stack.sluice.wait_for_line(request_id=name)


def test_the_line_of_a_good_request(stack):
    answer, line = line_of(stack, json=chat(max_tokens=9))
    assert (line["method"], line["path"], line["model"]) == ("POST", "/v1/chat/completions", "gpt-4o-mini")
    assert (line["status"], line["end"], line["stream"]) == (200, "complete", False)
    assert line["bytes_in"] == len(answer.request.content)
    assert line["bytes_out"] == len(answer.content)
    assert line["upstream_request_id"] == answer.headers["x-request-id"]
    usage = answer.json()["usage"]
    assert (line["usage"]["input_tokens"], line["usage"]["output_tokens"]) == (usage["prompt_tokens"], 9)
    assert line["usage"]["total_tokens"] == usage["total_tokens"]
    assert abs(datetime.fromisoformat(line["time"]) - datetime.now(timezone.utc)) < timedelta(seconds=20)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["usage not asked", "usage asked"])
def test_the_line_of_a_stream(stack, options):
    answer, line = line_of(stack, json=chat("events=7", stream=True, **options))
    assert (line["status"], line["end"], line["stream"]) == (200, "complete", True)
    assert line["bytes_out"] == len(answer.content)
    assert not options or line["usage"]["output_tokens"] == 7


def test_the_times(stack):
    _, line = line_of(stack, json=chat("delay=200;events=4;pace=100", stream=True))
    assert 200 <= line["upstream_head_ms"] <= line["first_byte_ms"] + 1
    assert line["first_byte_ms"] < line["duration_ms"]
    assert 450 <= line["upstream_ms"] <= line["duration_ms"] < 5000


def test_each_key_has_a_short_fingerprint(stack):
    lines = [line_of(stack, json=chat(), key=key)[1] for key in (keys.CLIENT, keys.OTHER_CLIENT, keys.CLIENT)]
    first, other, again = (line["key"] for line in lines)
    assert first == again != other
    assert 4 <= len(first) <= 24
    assert not any(part in first for part in (keys.CLIENT[3:9], keys.CLIENT[-4:]))


@pytest.mark.parametrize("arguments, status, end", [
    ({"key": None, "json": chat()}, 401, "refused"),
    ({"key": keys.WRONG_CLIENT, "json": chat()}, 401, "refused"),
    ({"content": b"x"}, 400, "refused"),
    ({"path": "/v2/xyz", "json": chat()}, 404, "refused"),
    ({"method": "PUT"}, 405, "refused"),
    ({"json": chat("status=429")}, 429, "complete"),
    ({"json": chat("status=500")}, 500, "complete"),
    ({"json": chat("garbage=1")}, 502, "upstream_failed"),
    ({"json": chat("events=10;pace=5;cut-event=4", stream=True)}, 200, "cut"),
], ids=["no key", "wrong key", "not json", "path", "method", "429", "500", "garbage", "cut"])
def test_why_a_request_ended(stack, arguments, status, end):
    _, line = line_of(stack, **dict(arguments))
    assert (line["status"], line["end"]) == (status, end)


def test_the_line_of_a_client_that_left(stack):
    stack.http.get("/health")  # so that the web server watches the connection
    with pytest.raises(httpx.ReadTimeout):
        line_of(stack, json=chat("delay=9000", model="left-early"), timeout=0.4)
    assert stack.sluice.wait_for_line(model="left-early")["end"] == "client_left"


def test_one_line_for_each_request(stack):
    before = len(stack.sluice.request_lines(path="/v1/chat/completions"))
    for _ in range(25):
        stack.client().chat.completions.create(**chat())
    wait_until(lambda: len(stack.sluice.request_lines(path="/v1/chat/completions")) >= before + 25, "the lines")
    assert len(stack.sluice.request_lines(path="/v1/chat/completions")) == before + 25


def test_hostile_text_stays_within_its_line(stack):
    model = 'a"b\\c\n{"event":"request"}\u2028\x1b[31m é'
    _, line = line_of(stack, json=chat(model=model), path='/v1/chat/completions')
    assert line["model"] == model
    _, line = line_of(stack, path="/v2/%22%0a%7d'{x")
    assert line["status"] == 404 and line["path"].startswith("/v2/%22%0a%7d'")


def test_a_request_id_of_the_client_must_be_decent(stack):
    for name in ("x" * 3000, 'a"b', "a b", "ä"):
        answer = stack.post(json=chat(), headers={"X-Request-ID": name.encode()})
        assert answer.status_code == 200
    for line in stack.sluice.request_lines():
        assert re.fullmatch(r"[!-~]{1,512}", line["request_id"]), line


def test_wrong_keys_and_their_parts_are_not_logged(stack):
    secrets = [f"sk-proj-guess{number}-Pq8RzLm4Vt{number}wXy" for number in range(5)]
    for secret in secrets:
        stack.post(json=chat(), key=secret)
        stack.post(json=chat(), key=None, headers={"Authorization": f"Basic {secret}"})
    text = stack.sluice.process.text()
    assert not any(secret in text for secret in secrets)


def test_a_log_file_has_one_object_a_line(make_stack, tmp_path):
    log = tmp_path / "sluice.jsonl"
    stack = make_stack(LOG_FILE=log, WORKERS=2)
    for _ in range(20):
        stack.post(json=chat())
    wait_until(lambda: log.read_text().count('"event":"request"') >= 20, "twenty lines")
    assert all(isinstance(json.loads(line), dict) for line in log.read_text().splitlines())
    assert not any(secret in log.read_text() for secret in keys.ALL)
    assert stack.sluice.process.text() == ""


def test_an_unreachable_upstream_is_in_the_log(make_stack):
    stack = make_stack(OPENAI_BASE_URL=f"http://127.0.0.1:{free_port()}/v1")
    _, line = line_of(stack, json=chat())
    assert (line["status"], line["end"], line["error"]) == (502, "upstream_failed", "upstream_unreachable")


def test_a_level_hides_what_is_below_it(make_stack):
    stack = make_stack(LOG_LEVEL="error")
    stack.post(json=chat())
    stack.post(json=chat("cut=0"))
    assert {line["level"] for line in stack.sluice.log_lines()} <= {"error"}
