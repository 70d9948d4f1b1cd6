"""No key, and no part of one that is longer than its fingerprint, is in anything that Sluice writes or answers: logs at
the most talkative level, metrics, the page's numbers, errors, the state directory; in plain, percent form or base64."""

import base64
import json
import os
import re
import resource
import signal
import subprocess

import httpx
import pytest

from harness import keys, secrets
from harness.bodies import chat
from harness.process import wait_until
from harness.sluice import SANITIZED

TOKEN = "metrics-token-Qx7Lw2Vn9Tb4"
PLAIN_CLIENT = "plainly-named-Hs8Fd3Kz6Mc1"  # does not look like a key of OpenAI's
PLANTED = "sk-planted-Ue5Ry8Wq1Zt4Hb7L"


def leaks(name, *texts):
    secrets.note(TOKEN, PLAIN_CLIENT, PLANTED)
    return secrets.leaks_in_text(name, *texts)


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
            assert not leaks("a client's error", str(error))
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
    answers = []
    for _ in range(2):  # the second time some are refused by their limit
        ask_everything(stack, answers)
    wait_until(lambda: len(stack.sluice.request_lines()) >= len(answers), "the log's lines")
    found = []
    for answer in answers:
        found += leaks(f"{answer.request.url.path} {answer.status_code}", answer.content, repr(answer.headers))
    log = stack.sluice.process.text()
    found += leaks("the log", log)
    found += secrets.leaks_in_files(stack.directory)
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


# ---- the search itself ----------------------------------------------------------------------------------------------


def in_base64(before, secret=PLANTED):
    return base64.b64encode(f"{before}{secret} and more".encode())


PLANTS = {
    "plain": PLANTED.encode(),
    "a part": PLANTED[9:9 + secrets.PART].encode(),
    "its end": PLANTED[-secrets.PART:].encode(),
    "base64": base64.b64encode(PLANTED.encode()),
    **{f"base64 behind {n}": in_base64("x" * n) for n in range(6)},
    "a part in base64": in_base64("user:", PLANTED[6:6 + secrets.PART]),
    "url base64": base64.urlsafe_b64encode(b"?>" + PLANTED.encode()),
    "hex": PLANTED.encode().hex().encode(),
    "upper hex": PLANTED.encode().hex().upper().encode(),
    "percent": b"".join(b"%%%02x" % byte for byte in PLANTED.encode()),
    "upper percent": b"".join(b"%%%02X" % byte for byte in PLANTED.encode()),
}


def plant(path, data, before=b"\0some log\n{\"key\":\"", behind=b"\"}\n\0"):
    """As another program would write it: what this process opens for writing is left out of the search."""
    subprocess.run(["dd", f"of={path}", "status=none"], input=before + data + behind, check=True)


@pytest.mark.parametrize("data", PLANTS.values(), ids=PLANTS)
def test_what_is_planted_is_found(tmp_path, data):
    secrets.note(PLANTED)
    assert leaks("a text", b"before" + data + b"behind") == ["a text: sk-plant…"]
    (tmp_path / "below").mkdir()
    plant(tmp_path / "below" / "file", data)
    found = secrets.leaks_in_files(tmp_path)
    (tmp_path / "below" / "file").unlink()
    assert found == [f"{tmp_path}/below/file: sk-plant…"]


def test_it_is_found_behind_a_hole_and_beside_a_fragment(tmp_path):
    secrets.note(PLANTED)
    subprocess.run(["truncate", "--size", "1G", tmp_path / "sparse"], check=True)
    subprocess.run(["dd", f"of={tmp_path}/sparse", "status=none", "oflag=append", "conv=notrunc"],
                   input=PLANTED[:8].encode() + PLANTED.encode(), check=True)
    found = secrets.leaks_in_files(tmp_path)
    (tmp_path / "sparse").unlink()
    assert found == [f"{tmp_path}/sparse: sk-plant…"]


def test_what_is_as_short_as_a_fingerprint_or_the_tests_own_is_no_find(tmp_path):
    secrets.note(PLANTED, "too-short")
    plant(tmp_path / "file", PLANTED[:secrets.PART - 1].encode() + b"* too-short " + PLANTED[-8:].encode())
    (tmp_path / "settings.env").write_text(PLANTED)
    assert secrets.leaks_in_files(tmp_path) == []


def test_a_stack_that_leaves_a_secret_fails(make_stack):
    stack = make_stack(OPENAI_API_KEY=PLANTED)
    plant(stack.directory / "state" / "planted", base64.b64encode(PLANTED.encode()))
    with pytest.raises(AssertionError, match="state/planted: sk-plant"):
        stack.stop()
    assert not stack.directory.exists()


def test_an_answer_with_a_secret_fails(stack):
    stack.sim.default(f"status=400;message={PLANTED}")
    secrets.note(PLANTED)
    assert PLANTED in stack.post(json=chat()).text
    with pytest.raises(AssertionError, match="/v1/chat/completions 400: sk-plant"):
        secrets.check()


def test_no_process_of_sluice_leaves_a_core(stack):
    """A core has all keys in it. The limit is set by Sluice itself, whatever it was given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    assert hard != 0, "the test itself may not have one"
    for pid in stack.sluice.processes():
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.skipif(SANITIZED, reason="the sanitizer takes the signal")
def test_a_worker_that_crashes_leaves_no_core(make_stack):
    stack = make_stack(WORKERS=2)
    for worker in stack.sluice.workers():
        os.kill(worker, signal.SIGSEGV)
    wait_until(lambda: len(stack.sluice.log_lines()) and len(stack.sluice.workers()) == 2, "other workers")
    assert not [path for path in stack.directory.rglob("*") if path.name.startswith("core")]
