"""Any path below /v1 passes as the client sent it; what is closed, and browsers from elsewhere."""

import hashlib
import json

import pytest

from harness import keys
from harness.bodies import chat
from harness.errors import IRE, error_of, raw
from harness.stack import Stack

TARGETS = [
    "/v1/something/new",
    "/v1/something/new/",
    "/v1/a%2Fb/%C3%A4/%e4/a%20b",
    "/v1/~x/!$&'()*+,;=:@",
    "/v1/a//b",
    "/v1/x?",
    "/v1/x?q=%2F&x=a+b&&y&z=%00%0a",
    "/v1/x?a=b?c/d",
    "/v1/files?limit=3&after=file-1%2C2",
    "/v1/responses?beta=true",
    "/v1/models/ft%3Agpt-4o%3Ame%3A%3A1",
    "/v1/organizations-like/x",
]


def ask(stack, method, target, body=None, headers=(), version="1.0"):
    lines = [f"{method} {target} HTTP/{version}", "Host: x", f"Authorization: Bearer {keys.CLIENT}", *headers]
    if body is not None or method in ("POST", "PUT", "PATCH"):
        body = body or b""
        lines.append(f"Content-Length: {len(body)}")
    return raw(stack, "\r\n".join([*lines, "", ""]).encode() + (body or b""))


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_arrives_as_it_was_sent(stack, target):
    assert ask(stack, "GET", target).status_code == 200
    assert stack.sim.last_request()["target"] == target.removesuffix("?")  # CGI does not tell an empty query from none


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("path", ["/v1/something/new", "/v1/files/file-1/content?size=0", "/v1/threads/thread_1"])
def test_a_method_arrives(stack, method, path):
    answer = ask(stack, method, path)
    seen = stack.sim.last_request()
    assert (seen["method"], seen["target"], seen["body_bytes"]) == (method, path, 0)
    assert answer.status_code == 200
    assert method != "HEAD" or answer.content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize("size", [1, 65_536, 65_537, 300_000])
def test_a_body_arrives_with_every_method(stack, method, size):
    body = bytes(i % 256 for i in range(size))
    answer = ask(stack, method, "/v1/something/new", body, ["Content-Type: application/x-new; a=\"b\""])
    seen = stack.sim.last_request()
    assert (answer.status_code, seen["method"], seen["body_bytes"]) == (200, method, size)
    assert seen["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert seen["headers"]["content-type"] == 'application/x-new; a="b"'
    assert seen["headers"]["content-length"] == str(size)


def test_a_head_request_has_the_length_of_the_get(stack):
    head, get = (ask(stack, method, "/v1/files/file-1/content") for method in ("HEAD", "GET"))
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert head.content == b""


def test_an_answer_without_a_body(stack):
    answer = ask(stack, "DELETE", "/v1/something/new?sim=status%3D204")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_range_of_a_file_is_asked_for(stack):
    ask(stack, "GET", "/v1/files/file-1/content", headers=["Range: bytes=5-9", 'If-Range: "x"'])
    headers = stack.sim.last_request()["headers"]
    assert (headers["range"], headers["if-range"]) == ("bytes=5-9", '"x"')


# What is closed

ADMIN = ["/v1/organization/users", "/v1/organization", "/v1/projects/proj_1/roles", "/v1/Organization/costs",
         "/v1/%6Frganization/api_keys", "/v1//organization/users", "/v1/organization%2Fusers", "/v1/organization;x/users"]


@pytest.mark.parametrize("path", ADMIN)
def test_administration_is_denied(stack, path):
    answer = ask(stack, "GET", path)
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["code"]) == (403, IRE, "admin_api_not_allowed")
    assert stack.sim.stats()["requests"] == 0


def test_administration_can_be_opened(make_stack):
    stack = make_stack(ALLOW_ADMIN_API="true")
    for path in ADMIN:
        assert ask(stack, "GET", path).status_code == 200
        assert stack.sim.last_request()["target"] == path


UPGRADE = ["Connection: close, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


@pytest.mark.parametrize("target, headers", [
    ("/v1/realtime?model=gpt-realtime", ["Connection: close"]),
    ("/v1/realtime?model=gpt-realtime", UPGRADE),
    ("/v1/responses", UPGRADE),
    ("/v1/something/new", UPGRADE),
])
def test_websocket_is_refused_clearly(stack, target, headers):
    answer = ask(stack, "GET", target, headers=headers, version="1.1")
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["code"]) == (501, IRE, "websocket_not_supported")
    assert stack.sim.stats()["requests"] == 0


def test_the_http_endpoints_of_realtime_pass(stack):
    assert stack.client().realtime.client_secrets.create() is not None
    sdp = ask(stack, "POST", "/v1/realtime/calls?model=m", b"v=0\r\n", ["Content-Type: application/sdp"])
    assert sdp.status_code == 200
    assert stack.sim.last_request()["headers"]["content-type"] == "application/sdp"


# Browsers (CORS)

ORIGIN = "https://chat.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os"}


def names_of(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_cors_is_off_by_default(stack):
    assert not names_of(stack.post(json=chat(), headers={"Origin": ORIGIN}))
    answer = stack.http.request("OPTIONS", "/v1/chat/completions", headers=PREFLIGHT)
    assert answer.status_code in (401, 405) and not names_of(answer)


@pytest.fixture(scope="module")
def open_stack(front):
    stack = Stack(front, CORS__ALLOW_ORIGINS=f"{ORIGIN},http://localhost:3000")
    yield stack
    stack.stop()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/something/new"])
def test_a_preflight_is_answered_without_a_key(open_stack, path):
    open_stack.sim.reset()
    answer = open_stack.http.request("OPTIONS", path, headers=PREFLIGHT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    assert open_stack.sim.stats()["requests"] == 0


ANSWERS = {
    "good": {"json": chat()},
    "streamed": {"json": chat(stream=True)},
    "wrong key": {"json": chat(), "key": keys.WRONG_CLIENT},
    "bad body": {"content": b"{"},
    "upstream error": {"json": chat("status=404")},
    "websocket": {"method": "GET", "path": "/v1/realtime"},
}


@pytest.mark.parametrize("arguments", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_page_can_read_every_answer(open_stack, arguments):
    answer = open_stack.post(headers={"Origin": "http://localhost:3000"}, **arguments)
    assert answer.headers.get_list("access-control-allow-origin") == ["http://localhost:3000"]
    assert answer.headers["access-control-expose-headers"] == "*"


def test_another_origin_gets_nothing(open_stack):
    headers = {**PREFLIGHT, "Origin": "https://evil.example"}
    assert not names_of(open_stack.http.request("OPTIONS", "/v1/chat/completions", headers=headers))
    assert not names_of(open_stack.post(json=chat(), headers={"Origin": "https://evil.example"}))


# What is validated before it goes upstream: (endpoint, fields, param, code, message)

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"

INVALID = [
    (CHAT, {"temperature": 99}, "temperature", "decimal_above_max_value",
     "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 99.0 instead."),
    (CHAT, {"temperature": -0.5}, "temperature", "decimal_below_min_value",
     "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -0.5 instead."),
    (CHAT, {"n": "2"}, "n", "invalid_type", "Invalid type for 'n': expected an integer, but got a string instead."),
    (CHAT, {"n": 0}, "n", "integer_below_min_value",
     "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."),
    (CHAT, {"n": 129}, "n", "integer_above_max_value",
     "Invalid 'n': integer above maximum value. Expected a value <= 128, but got 129 instead."),
    (CHAT, {"top_p": True}, "top_p", "invalid_type",
     "Invalid type for 'top_p': expected a decimal, but got a boolean instead."),
    (CHAT, {"max_tokens": 1.5}, "max_tokens", "invalid_type",
     "Invalid type for 'max_tokens': expected an integer, but got a decimal instead."),
    (CHAT, {"messages": ["hi"]}, "messages[0]", "invalid_type",
     "Invalid type for 'messages[0]': expected an object, but got a string instead."),
    (CHAT, {"tools": {}}, "tools", "invalid_type", "Invalid type for 'tools': expected an array, but got an object instead."),
    (CHAT, {"messages": None, "model": 4}, "model", "invalid_type", "Invalid type for 'model': expected a string"),
    (COMPLETIONS, {"prompt": {}}, "prompt", "invalid_type", "Invalid type for 'prompt': expected one of"),
    (COMPLETIONS, {"best_of": 21}, "best_of", "integer_above_max_value", "Invalid 'best_of': integer above maximum"),
    (EMBEDDINGS, {}, "input", "missing_required_parameter", "Missing required parameter: 'input'."),
    (EMBEDDINGS, {"input": 4}, "input", "invalid_type", "Invalid type for 'input': expected one of"),
    (EMBEDDINGS, {"input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value", "Invalid 'dimensions': "),
    (RESPONSES, {"input": "a", "max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value",
     "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead."),
    (RESPONSES, {"input": "a", "store": 1}, "store", "invalid_type", "Invalid type for 'store': expected a boolean"),
]
IDS = [f"{path.rpartition('/')[2]}-{json.dumps(fields)}" for path, fields, *_ in INVALID]


def complete(path, fields):
    start = {"model": "gpt-4o"}
    if path == CHAT:
        start["messages"] = [{"role": "user", "content": "Hi"}]
    return {**start, **fields}


@pytest.mark.parametrize("path, fields, param, code, message", INVALID, ids=IDS)
def test_invalid_fields(stack, path, fields, param, code, message):
    answer = stack.post(path, json=complete(path, fields))
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["param"], error["code"]) == (400, IRE, param, code), error
    assert error["message"].startswith(message)
    assert stack.sim.stats()["requests"] == 0


VALID = [
    (CHAT, {"temperature": None, "n": None, "stop": None}),
    (CHAT, {"temperature": 2, "top_p": 0, "n": 1.0, "stop": ["a"], "seed": -5}),
    (CHAT, {"seed": 2 ** 70, "something_new": {"x": [1, None]}, "tool_choice": "none"}),
    (CHAT, {"messages": [], "model": "m" * 200}),
    (COMPLETIONS, {}),
    (COMPLETIONS, {"prompt": [1, 2], "max_tokens": 0}),
    (EMBEDDINGS, {"input": [[1, 2]], "encoding_format": "base64"}),
    (RESPONSES, {"input": [], "tools": [{"type": "web_search"}], "reasoning": {"effort": "new"}}),
    (RESPONSES, {"prompt": {"id": "pmpt_1"}, "model": None}),
]


@pytest.mark.parametrize("path, fields", VALID, ids=[json.dumps(fields)[:40] for _, fields in VALID])
def test_valid_fields_pass(stack, path, fields):
    stack.post(path, json=complete(path, fields))
    assert stack.sim.stats()["requests"] == 1


def test_validation_can_be_switched_off(make_stack):
    stack = make_stack(VALIDATE="off")
    for path, fields, *_ in INVALID:
        stack.sim.reset()
        body = json.dumps(complete(path, fields))
        stack.post(path, content=body, headers={"Content-Type": "application/json"})
        assert stack.sim.last_request()["body"] == body
