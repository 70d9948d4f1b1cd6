"""Bad requests: each gets an error in OpenAI's form, and nothing of it goes upstream."""

import hashlib
import json
import time

import openai
import pytest

from harness import clients, keys
from harness.errors import IRE, error_of, raw
from harness.bodies import MESSAGES, chat
from harness.stack import Stack

NOT_JSON = "We could not parse the JSON body of your request. (HINT: "
JSON = {"Content-Type": "application/json"}

# name: (body, status, param, code, beginning of the message)
BAD_BODIES = {
    "empty": (b"", 400, None, None, NOT_JSON),
    "not json": (b"{\"model\": ", 400, None, None, NOT_JSON),
    "trailing text": (b'{"model":"m","messages":[]} x', 400, None, None, NOT_JSON),
    "not utf-8": (b'{"model":"m\xff","messages":[]}', 400, None, None, NOT_JSON),
    "a form": (b"model=gpt-4o&messages=hi", 400, None, None, NOT_JSON),
    "deep nesting": (b"[" * 100000, 400, None, None, ""),
    "array": (b"[1, 2]", 400, None, None, ""),
    "string": (b'"text"', 400, None, None, ""),
    "null": (b"null", 400, None, None, ""),
    "no model": (json.dumps({"messages": MESSAGES}), 400, None, None, "you must provide a model parameter"),
    "model is null": (json.dumps({"model": None, "messages": MESSAGES}), 400, None, ..., ""),
    "model is a number": (json.dumps({"model": 4, "messages": MESSAGES}), 400, ..., ..., ""),
    "no messages": (
        b'{"model":"m"}', 400, "messages", "missing_required_parameter", "Missing required parameter: 'messages'."
    ),
    "messages is a string": (
        b'{"model":"m","messages":"hi"}', 400, "messages", "invalid_type", "Invalid type for 'messages': expected an"
    ),
    "messages is an object": (
        b'{"model":"m","messages":{}}', 400, "messages", "invalid_type", "Invalid type for 'messages': expected an"
    ),
    "stream is a string": (
        json.dumps(chat(stream="yes")), 400, "stream", "invalid_type", "Invalid type for 'stream': expected a"
    ),
}


@pytest.mark.parametrize("body, status, param, code, message", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_body(stack, body, status, param, code, message):
    answer = stack.post(content=body, headers=JSON)
    error = error_of(answer)
    assert (answer.status_code, error["type"]) == (status, IRE), error
    assert error["message"].startswith(message), error
    assert param is ... or error["param"] == param
    assert code is ... or error["code"] == code
    assert stack.sim.stats()["requests"] == 0


def test_post_without_any_body(stack):
    answer = raw(stack, f"POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {keys.CLIENT}\r\n\r\n".encode())
    assert answer.status_code in (400, 411)
    assert error_of(answer)["type"] == IRE


@pytest.mark.parametrize("path", ["/v2/xyz", "/v1", "/", "/chat", "/v1x/models", "/v1/x/../chat/completions",
                                  "/v1/x/%2e%2E/chat/completions", "/v1/./models"])
def test_unknown_path(stack, path):
    answer = raw(
        stack,
        f"POST {path}?a=b HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {keys.CLIENT}\r\n\r\n{{}}".encode(),
    )
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["param"], error["code"]) == (404, IRE, None, None)
    assert error["message"] == f"Invalid URL (POST {path})"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_wrong_method(stack, method):
    answer = stack.post(method=method)
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["param"], error["code"]) == (405, IRE, None, None)
    assert error["message"].startswith(f"Not allowed to {method} on /v1/chat/completions.")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
def test_wrong_content_type(stack, content_type):
    answer = stack.post(content=json.dumps(chat()), headers={"Content-Type": content_type})
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["code"]) == (400, IRE, "unsupported_content_type")
    assert content_type.split(";")[0] in error["message"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/json ; charset=UTF-8"])
def test_right_content_type(stack, content_type):
    assert stack.post(content=json.dumps(chat()), headers={"Content-Type": content_type}).status_code == 200


@pytest.mark.parametrize("size", [60_000, 65_536, 200_000])
def test_large_header(stack, size):
    answer = raw(
        stack,
        f"POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\nX-Large: {'a' * size}\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {keys.CLIENT}\r\n\r\n{{}}".encode(),
    )
    assert 400 <= answer.status_code < 500
    assert error_of(answer)["type"] == IRE
    assert stack.sim.stats()["requests"] == 0


def test_after_bad_requests_good_ones_work_on_the_same_connection(stack):
    for body, *_ in BAD_BODIES.values():
        stack.post(content=body, headers=JSON)
        assert stack.post(json=chat()).status_code == 200


# The limit of a body

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def small(front):
    """A stack that takes small bodies only."""
    stack = Stack(front, MAX_BODY_BYTES=LIMIT)
    yield stack
    stack.stop()


def body_of(size):
    start = json.dumps(chat(padding=""))[:-2]
    return (start + "x" * (size - len(start) - 2) + '"}').encode()


def test_a_body_at_the_limit(small):
    assert small.post(content=body_of(LIMIT), headers=JSON).status_code == 200
    assert small.sim.last_request()["body_bytes"] == LIMIT


@pytest.mark.parametrize("excess", [1, 500_000, 30_000_000])
def test_a_body_above_the_limit(small, excess):
    small.sim.reset()
    answer = small.post(content=body_of(LIMIT + excess), headers=JSON)
    error = error_of(answer)
    assert (answer.status_code, error["param"], error["code"]) == (413, None, None)
    assert error["message"].startswith(f"Maximum content size limit ({LIMIT}) exceeded (")
    assert small.sim.stats()["requests"] == 0


def test_a_chunked_body_above_the_limit(small):
    small.sim.reset()
    answer = small.post(content=(b"x" * 100_000 for _ in range(20)), headers=JSON)
    assert (answer.status_code, error_of(answer)["code"]) == (413, None)
    assert small.sim.stats()["requests"] == 0


def test_a_chunked_body(stack):
    text = json.dumps(chat()).encode()

    def pieces():
        for start in range(0, len(text), 50):
            yield text[start : start + 50]
            time.sleep(0.02)

    assert stack.post(content=pieces(), headers=JSON).status_code == 200
    assert stack.sim.last_request()["body"].encode() == text


def test_a_large_body_arrives_unchanged(stack):
    body = json.dumps(chat(padding="x" * 20_000_000)).encode()
    assert stack.post(content=body, headers=JSON).status_code == 200
    seen = stack.sim.last_request()
    assert (seen["body_bytes"], seen["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def test_the_clients_own_bytes_go_upstream(stack):
    body = '{ "z": 1.0, "big": 9007199254740993,"model" :"m",\n"messages":[{"role":"user","content":"\\u00e9 é \\ud83d\\ude00"}], "e": 1E2 }'
    assert stack.post(content=body.encode(), headers=JSON).status_code == 200
    assert stack.sim.last_request()["body"] == body


# What the clients make of errors


def test_python_raises_for_a_wrong_key(stack):
    with pytest.raises(openai.AuthenticationError) as caught:
        stack.client(key=keys.WRONG_CLIENT).chat.completions.create(**chat())
    assert caught.value.code == "invalid_api_key"


def test_python_raises_for_a_bad_request(stack):
    with pytest.raises(openai.BadRequestError) as caught:
        stack.client().chat.completions.create(model="m", messages="hi")
    assert (caught.value.param, caught.value.code) == ("messages", "invalid_type")


@pytest.mark.parametrize("ask", [clients.python_028, clients.node], ids=["python 0.28", "node"])
def test_other_clients_raise_for_a_wrong_key(stack, ask):
    (answer,) = ask(stack.base_url, chat(), key=keys.WRONG_CLIENT)
    assert (answer["raised"], answer["status"]) == ("AuthenticationError", 401)
