"""Tokens are counted once: by the request that makes a model work, not by those that read its answer again."""

import uuid

import pytest

from harness.exposition import scrape

LIMIT = 1000
RESPONSE = {"model": "gpt-4o", "input": "Hi", "store": True}


@pytest.fixture
def metered(make_stack):
    return make_stack(RATE_LIMIT__TOKENS_PER_MINUTE=LIMIT)


def line_of(stack, path, method="POST", **options):
    """Makes a request under an id of its own; returns its answer and its line in the log."""
    name = f"usage-{uuid.uuid4()}"
    answer = stack.post(path, method=method, headers={"X-Request-ID": name}, **options)
    assert answer.status_code == 200, answer.text
    return answer, stack.sluice.wait_for_line(request_id=name)


def left(answer):
    return int(answer.headers["x-ratelimit-remaining-tokens"])


STORED = {
    "a response": ("GET", "/v1/responses/resp_1"),
    "a response, streamed": ("GET", "/v1/responses/resp_1?stream=true"),
    "a response that is cancelled": ("POST", "/v1/responses/resp_1/cancel"),
    "a chat completion": ("GET", "/v1/chat/completions/chatcmpl-1"),
    "a chat completion that is changed": ("POST", "/v1/chat/completions/chatcmpl-1"),
}


@pytest.mark.parametrize("method, path", STORED.values(), ids=STORED.keys())
def test_a_stored_answer_counts_no_tokens(metered, method, path):
    _, made = line_of(metered, "/v1/responses", json=RESPONSE)
    used = made["usage"]["total_tokens"]
    assert used > 0
    for _ in range(3):
        answer, line = line_of(metered, path, method, json={"metadata": {}} if method == "POST" else None)
        assert '"usage":{' in answer.text
        assert "usage" not in line and "usage_source" not in line
    answer, _ = line_of(metered, "/v1/models", "GET")
    assert left(answer) >= LIMIT - used
    assert scrape(metered).sum("sluice_tokens_total") == made["usage"]["input_tokens"] + made["usage"]["output_tokens"]


def test_a_response_in_the_background_is_settled_as_estimated(metered):
    """Its tokens are told of only where it is read: there they cannot be known to be new."""
    answer, line = line_of(metered, "/v1/responses", json={**RESPONSE, "background": True, "max_output_tokens": 400})
    assert answer.json()["usage"] is None
    assert line["usage_source"] == "estimate" and "usage" not in line
    assert LIMIT - 410 <= left(answer) <= LIMIT - 400
    answer, line = line_of(metered, f"/v1/responses/{answer.json()['id']}", "GET")
    assert left(answer) >= LIMIT - 410 and "usage" not in line
    assert scrape(metered).sum("sluice_tokens_total") == 0


def test_a_stream_in_the_background_tells_by_itself(metered):
    _, line = line_of(metered, "/v1/responses", json={**RESPONSE, "background": True, "stream": True})
    assert line["usage_source"] == "upstream" and line["usage"]["output_tokens"] == 16
