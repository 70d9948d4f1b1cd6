"""No key, and no part of one that is longer than its fingerprint, is in anything that Sluice writes or answers: logs at
the most talkative level, metrics, the page's numbers, errors, the state directory; in plain, percent form or base64."""

import base64
import json
import re
import urllib.parse

import httpx
import pytest

from harness import keys
from harness.bodies import chat
from harness.process import wait_until

PART = 13  # longer than a fingerprint
TOKEN = "metrics-token-Qx7Lw2Vn9Tb4"
PLAIN_CLIENT = "plainly-named-Hs8Fd3Kz6Mc1"  # does not look like a key of OpenAI's
MINE = (*keys.ALL, TOKEN, PLAIN_CLIENT)


def parts(secret):
    return {secret[at:at + PART] for at in range(len(secret) - PART + 1)}


def forms(secret):
    """Every way in which a part of the secret may be written. Base64 has three, by where the part begins."""
    found = set()
    for part in parts(secret):
        found |= {part, urllib.parse.quote(part, safe=""), "".join(f"%{byte:02x}" for byte in part.encode())}
        for shift in range(3):
            text = base64.b64encode(b"\0" * shift + part.encode()).decode().rstrip("=")
            inner = text[4 if shift else 0:-2]  # what does not depend on the neighbours
            found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in found}


FORMS = {secret: forms(secret) for secret in MINE}


def leaks(name, data):
    return [f"{name}: {secret[:8]}… as {form!r}" for secret, all_forms in FORMS.items() for form in all_forms if form in data]


def ask_everything(stack, answers):
    """Requests of every kind, with keys in every place where a client may put one."""
    basic = base64.b64encode(f"user:{keys.CLIENT}".encode()).decode()
    hostile = [
        dict(json=chat()),
        dict(json=chat(), key=PLAIN_CLIENT),
        dict(json=chat("events=3", stream=True), key=keys.OTHER_CLIENT),
        dict(json=chat(), key=keys.MAPPED_CLIENT),
        dict(json=chat(), key=keys.WRONG_CLIENT),
        dict(json=chat(), key=None, headers={"Authorization": f"Basic {basic}"}),
        dict(json=chat(), key=None, headers={"Authorization": keys.WRONG_CLIENT}),
        dict(json=chat(), headers={"Cookie": f"session={keys.OTHER_CLIENT}", "X-Api-Key": keys.WRONG_CLIENT}),
        dict(json=chat(messages=[{"role": "user", "content": f"my key is {keys.CLIENT}, is that safe?"}])),
        dict(json=chat(messages=[{"role": "user", "content": f"mine {PLAIN_CLIENT}!"}]), key=PLAIN_CLIENT),
        dict(content=json.dumps({"api_key": keys.CLIENT}).encode()),
        dict(content=b"{"),
        dict(json=chat("status=401")),
        dict(json=chat("status=429")),
        dict(json=chat("status=500")),
        dict(json=chat("garbage=1")),
        dict(json=chat("cut=10")),
        dict(json=chat("events=5;cut-event=2", stream=True)),
        dict(path="/v1/models", method="GET"),
        dict(path="/v1/unknown/path", json={}),
        dict(path="/v9/nothing", json={}),
        dict(path="/v1/_sluice/echo", json={}),
    ]
    for arguments in hostile:
        try:
            answers.append(stack.post(**arguments))
        except httpx.HTTPError as error:
            assert not leaks("a client's error", str(error).encode())
    for path in ("/metrics", "/status", "/status.json", "/health", "/health/ready"):
        for token in (TOKEN, keys.CLIENT, None):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answers.append(stack.http.get(path, headers=headers))


@pytest.mark.parametrize("bodies", ["true", "false"])
def test_no_secret_leaves(make_stack, bodies):
    stack = make_stack(
        LOG_LEVEL="debug", LOG_BODIES=bodies, METRICS__TOKEN=TOKEN, METRICS__GENAI="true",
        CLIENT_API_KEYS=f"{keys.CLIENT},{keys.OTHER_CLIENT},{PLAIN_CLIENT}", UPSTREAM__MAX_RETRIES=1,
        API_KEY_MAPPING=json.dumps({keys.MAPPED_CLIENT: keys.MAPPED_UPSTREAM}), RATE_LIMIT__REQUESTS_PER_MINUTE=30,
        KEY_ALIASES=json.dumps({keys.CLIENT: "first"}))
    stack.secrets |= {TOKEN, PLAIN_CLIENT}
    answers = []
    for _ in range(2):  # the second time some are refused by their limit
        ask_everything(stack, answers)
    wait_until(lambda: len(stack.sluice.request_lines()) >= len(answers), "the log's lines")
    found = []
    for answer in answers:
        found += leaks(f"{answer.request.url.path} {answer.status_code}", answer.content + repr(answer.headers).encode())
    log = stack.sluice.process.text()
    found += leaks("the log", log.encode())
    for path in stack.directory.rglob("*"):
        if path.is_file() and path.name not in ("settings.env",) and "sim" not in path.name:
            found += leaks(path.name, path.read_bytes())
    assert not found, "\n".join(found[:20])
    assert ('"event":"request_body"' in log) == (bodies == "true")
    assert ('"event":"request_headers"' in log) == (bodies == "true")
    if bodies == "true":
        assert "my key is ***, is that safe?" in log
        assert re.search(r"COOKIE=\*\*\*", log) and "AUTHORIZATION=***" in log


def test_stages_of_a_retried_request(make_stack):
    stack = make_stack(LOG_LEVEL="debug", UPSTREAM__RETRY_BASE_SECONDS="0.001", CACHE__ENABLED="false")
    stack.sim.queue("status=503")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = stack.post(json=chat(), headers={"X-Request-ID": "stages-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.status_code == 200
    line = stack.sluice.wait_for_line(request_id="stages-1")
    assert line["trace_id"] == trace
    assert stack.sim.last_request()["headers"]["traceparent"].startswith(f"00-{trace}")
    stages = [l["stage"] for l in stack.sluice.log_lines() if l["event"] == "stage" and l.get("request_id") == "stages-1"]
    assert [stage for stage in stages if stage != "cache"] == [
        "received", "attempt", "upstream_head", "retry", "attempt", "upstream_head", "upstream_done", "end"]


def test_every_answer_has_an_id(stack):
    asked = [dict(path="/health", method="GET"), dict(path="/metrics", method="GET"), dict(path="/status", method="GET"),
             dict(path="/nothing", method="GET"), dict(json=chat(), key=None), dict(content=b"{"), dict(json=chat()),
             dict(json=chat("events=2", stream=True)), dict(json=chat("status=500")), dict(json=chat("garbage=1"))]
    for arguments in asked:
        answer = stack.post(**arguments)
        assert answer.headers.get("x-request-id"), (arguments, answer.status_code)


def test_a_name_stands_in_the_log(make_stack):
    stack = make_stack(KEY_ALIASES=json.dumps({keys.CLIENT: "team search"}))
    stack.post(json=chat())
    assert stack.sluice.wait_for_line(key="team search")["status"] == 200
