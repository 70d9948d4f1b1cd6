"""What goes to the upstream, what comes back, and what happens when it fails."""

import subprocess
import time

import openai
import pytest

from harness import clients, keys
from harness.errors import error_of
from harness.process import free_port
from harness.bodies import chat
from harness.sim import Simulator

# Request headers


PASSED_ON = {
    "OpenAI-Beta": "assistants=v2",
    "OpenAI-Organization": "org-of-the-client",
    "OpenAI-Project": "proj_of_the_client",
    "X-Request-ID": "the-clients-own-id-1",
    "Idempotency-Key": "key-for-once-2",
    "User-Agent": "a-client/1.2 (test)",
}

NOT_PASSED_ON = {
    "Cookie": "session=abc",
    "X-Forwarded-For": "192.0.2.7",
    "Keep-Alive": "timeout=5",
    "TE": "trailers",
    "Proxy-Authorization": "Basic eDp5",
    "Upgrade": "websocket",
    "Api-Key": "something",
    "X-Api-Key": "something",
}


@pytest.mark.parametrize("name", PASSED_ON)
def test_a_request_header_is_passed_on(stack, name):
    assert stack.post(json=chat(), headers={name: PASSED_ON[name]}).status_code == 200
    assert stack.sim.last_request()["headers"][name.lower()] == PASSED_ON[name]


@pytest.mark.parametrize("name", NOT_PASSED_ON)
def test_a_request_header_is_not_passed_on(stack, name):
    assert stack.post(json=chat(), headers={name: NOT_PASSED_ON[name]}).status_code == 200
    assert name.lower() not in stack.sim.last_request()["headers"]


def test_what_the_upstream_sees_is_an_ordinary_request(stack):
    stack.client().chat.completions.create(**chat())
    seen = stack.sim.last_request()
    assert (seen["method"], seen["target"]) == ("POST", "/v1/chat/completions")
    headers = seen["headers"]
    assert headers["content-type"].startswith("application/json")
    assert int(headers["content-length"]) == seen["body_bytes"]
    assert "transfer-encoding" not in headers and "expect" not in headers
    assert not [name for name, value in headers.items() if isinstance(value, list)], headers


def test_the_query_is_passed_on(stack):
    assert stack.post(path="/v1/chat/completions?a=b%2Fc&d=", json=chat()).status_code == 200
    assert stack.sim.last_request()["target"] == "/v1/chat/completions?a=b%2Fc&d="


# Response headers


@pytest.mark.parametrize("stream", [False, True])
def test_response_headers(stack, stream):
    answer = stack.post(json={**chat("headers=5;retry-after=3"), "stream": stream})
    for name, value in {
        "openai-organization": "sim-org",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-tokens": "1999970",
        "x-ratelimit-reset-requests": "8ms",
        "retry-after": "3",
    }.items():
        assert answer.headers.get_list(name) == [value]
    assert len(answer.headers.get_list("x-request-id")) == 1
    for name in ("set-cookie", "alt-svc"):
        assert name not in answer.headers
    assert "cloudflare" not in answer.headers.get("server", "")
    assert len(answer.headers.get_list("content-type")) == 1
    assert len(answer.headers.get_list("date")) == 1


def test_every_answer_has_a_request_id(stack):
    ids = {
        stack.post(json=chat()).headers["x-request-id"],
        stack.post(json=chat(), key=None).headers["x-request-id"],
        stack.post(content=b"x").headers["x-request-id"],
        stack.post(json=chat("status=500")).headers["x-request-id"],
    }
    assert len(ids) == 4


# The upstream says no


@pytest.mark.parametrize("status", [400, 403, 404, 408, 422, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_upstream_arrives_as_it_is(stack, status, stream):
    request = {**chat(f"status={status}"), "stream": stream}
    direct = stack.http.post(f"{stack.sim.base_url}/chat/completions", json=request,
                             headers={"Authorization": "Bearer any"})
    through = stack.post(json=request)
    assert (through.status_code, through.json()) == (direct.status_code, direct.json())
    assert direct.status_code == status


def test_a_rate_limit_of_the_upstream_arrives_with_its_headers(stack):
    answer = stack.post(json=chat("status=429;retry-after=17;retry-after-ms=16500;should-retry=false"))
    assert answer.status_code == 429
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("17", "16500")


def test_python_tries_again(stack):
    stack.sim.queue("status=500;retry-after-ms=10", "status=429;retry-after-ms=10", "events=3")
    request = chat()
    answer = stack.client(max_retries=2).chat.completions.create(**request)
    assert answer.usage.completion_tokens == 3
    assert stack.sim.stats()["requests"] == 3


# The upstream fails


def gateway_error(answer, status):
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["param"]) == (status, "server_error", None)
    return error


@pytest.mark.parametrize("stream", [False, True])
def test_unreachable(make_stack, stream):
    stack = make_stack(OPENAI_BASE_URL=f"http://127.0.0.1:{free_port()}/v1")
    gateway_error(stack.post(json={**chat(), "stream": stream}), 502)
    with pytest.raises(openai.InternalServerError):
        stack.client().chat.completions.create(stream=stream, **chat())


def test_unknown_host(make_stack):
    stack = make_stack(OPENAI_BASE_URL="http://no-such-host.invalid/v1")
    gateway_error(stack.post(json=chat()), 502)


@pytest.mark.parametrize("stream", [False, True])
def test_late(make_stack, stream):
    stack = make_stack(UPSTREAM__FIRST_BYTE_SECONDS="0.4")
    gateway_error(stack.post(json={**chat("hang=head"), "stream": stream}, timeout=15), 504)
    assert stack.post(json=chat("delay=50")).status_code == 200


def test_late_altogether(make_stack):
    stack = make_stack(UPSTREAM__TOTAL_SECONDS="0.6")
    gateway_error(stack.post(json=chat("delay=5000")), 504)


@pytest.mark.parametrize("stream", [False, True])
def test_silent_after_the_head(make_stack, stream):
    stack = make_stack(UPSTREAM__IDLE_SECONDS="0.4")
    began = time.monotonic()
    gateway_error(stack.post(json={**chat("hang=body;events=1000"), "stream": stream}, timeout=15), 504)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("how", ["cut=0", "cut=0;rst=1", "garbage=1"])
def test_no_answer(stack, how):
    gateway_error(stack.post(json=chat(how)), 502)
    assert stack.post(json=chat()).status_code == 200


def test_cut_in_the_middle(stack):
    with pytest.raises(openai.APIError):
        stack.client().chat.completions.create(**chat("events=1000;cut=2000"))
    assert stack.post(json=chat()).status_code == 200


def test_endless_headers(stack):
    assert stack.post(json=chat("endless-header=1")).status_code == 502
    assert stack.post(json=chat()).status_code == 200


def test_many_headers(stack):
    assert stack.post(json=chat("headers=60")).status_code == 200


def test_a_bad_certificate(make_stack, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )
    secure = Simulator(tmp_path, "--tls-cert", certificate, "--tls-key", key, scheme="https")
    try:
        stack = make_stack(OPENAI_BASE_URL=secure.base_url)
        gateway_error(stack.post(json=chat()), 502)
        assert secure.stats()["requests"] == 0
    finally:
        secure.stop()


def test_the_other_clients_raise_when_it_fails(make_stack):
    stack = make_stack(OPENAI_BASE_URL=f"http://127.0.0.1:{free_port()}/v1")
    for ask in (clients.python_028, clients.node):
        (answer,) = ask(stack.base_url, chat(), key=keys.CLIENT)
        assert answer["status"] == 502, answer
