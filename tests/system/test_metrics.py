"""/metrics and /health. (That every number is what clients and simulator counted: test_account.py.)"""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections import Counter

import httpx
import pytest

from harness import keys
from harness.bodies import chat
from harness.errors import error_of
from harness.exposition import Page, scrape
from harness.process import wait_until

ALIASES = {keys.CLIENT: "team search"}


@pytest.fixture
def metered(make_stack):
    return make_stack(WORKERS=2, METRICS__GENAI="true", KEY_ALIASES=json.dumps(ALIASES), CACHE__ENABLED="false",
                      RATE_LIMIT__REQUESTS_PER_MINUTE=0, RATE_LIMIT__TOKENS_PER_MINUTE=0, LOG_LEVEL="info",
                      UPSTREAM__RETRY_BASE_SECONDS="0.001", UPSTREAM__MAX_RETRIES=2)


def test_a_killed_workers_share_is_dropped(metered):
    stack = metered
    stack.sim.default("hang=body")
    with pytest.raises(httpx.HTTPError):
        stack.post(json=chat(), timeout=0.5)
    stack.sim.reset()
    started = threading.Event()

    def watch():
        with httpx.Client(base_url=stack.origin, trust_env=False, timeout=30) as http:
            body = chat("events=1000;pace=50", stream=True)
            with http.stream("POST", "/v1/chat/completions", json=body,
                             headers={"Authorization": f"Bearer {keys.CLIENT}"}) as answer:
                for _ in answer.iter_raw():
                    started.set()

    def survive():
        try:
            watch()
        except httpx.HTTPError:
            pass

    threads = [threading.Thread(target=survive) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    wait_until(lambda: scrape(stack).sum("sluice_streams_open") == 6, "six streams")
    for worker in stack.sluice.workers():
        os.kill(worker, signal.SIGKILL)
    for thread in threads:
        thread.join()
    wait_until(lambda: len(stack.sluice.workers()) == 2, "new workers")
    page = wait_until(lambda: (page := scrape(stack)).sum("sluice_processes") == 2 and page, "two processes")
    assert page.sum("sluice_streams_open") == 0
    assert page.sum("sluice_requests_in_progress") == 1
    assert page.sum("sluice_process_crashes_total") == 2


def test_counters_survive_a_restart(metered):
    stack = metered
    for _ in range(5):
        stack.post(json=chat())
    stack.sluice.process.send(signal.SIGHUP)  # other processes take over
    wait_until(lambda: scrape(stack).sum("sluice_process_starts_total") == 4, "new processes")
    assert scrape(stack).sum("sluice_requests_total", endpoint="chat.completions", status="200") == 5


def test_models_beyond_the_limit_are_others(make_stack):
    stack = make_stack(METRICS__MAX_MODELS=2, METRICS__MAX_KEYS=1, RATE_LIMIT__REQUESTS_PER_MINUTE=0)
    for number in range(5):
        assert stack.post(json=chat(model=f"model-{number}"), key=keys.CLIENT).status_code == 200
    stack.post(json=chat(model="model-0"), key=keys.OTHER_CLIENT)
    page = scrape(stack)
    assert set(page.by("sluice_tokens_total", "model")) == {"model-0", "model-1", "other"}
    assert len(page.by("sluice_tokens_total", "key")) == 2 and page.sum("sluice_tokens_total", key="other") > 0


def test_refusals_are_counted_by_kind(make_stack):
    stack = make_stack(RATE_LIMIT__REQUESTS_PER_MINUTE=3)
    statuses = Counter(stack.post(json=chat()).status_code for _ in range(8))
    page = scrape(stack)
    assert page.by("sluice_rate_limit_refusals_total", "kind") == {"requests": statuses[429]}
    assert page.sum("sluice_requests_total", status=429) == statuses[429] > 0


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_the_formats(metered, accept):
    metered.post(json=chat())
    answer = metered.http.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == accept.split(";")[0]
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-request-id"]
    assert accept == "text/plain" or answer.text.endswith("\n# EOF\n")
    page = Page(answer.text)
    assert page.sum("sluice_build_info") == 1
    assert page.types["sluice_request_duration_seconds"] == "histogram"
    assert page.sum("sluice_resident_memory_bytes") > 1 << 20
    assert 5 < page.sum("sluice_open_descriptors") < 500


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_finds_nothing(metered):
    metered.post(json=chat())
    metered.post(json=chat("events=3", stream=True))
    text = metered.http.get("/metrics").text
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# ---- who may read it ----------------------------------------------------------------------------------------------


def test_only_the_machine_itself_may_read_it(make_stack):
    stack = make_stack(METRICS__ALLOW="10.1.2.0/24,2001:db8::/32", METRICS__TOKEN="letmein-9Xk2-Wq5Rt8Ym,other-token-Zb3Nf6Kd")
    for path in ("/metrics", "/status.json"):
        answer = stack.http.get(path)
        assert answer.status_code == 403
        assert error_of(answer)["code"] == "metrics_not_allowed"
        for token, status in (("letmein-9Xk2-Wq5Rt8Ym", 200), ("other-token-Zb3Nf6Kd", 200), ("letmein-9Xk2-Wq5Rt8Y", 403), ("x", 403)):
            answer = stack.http.get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status, token
    assert stack.http.get("/status").status_code == 200  # it asks for the token


def test_without_a_token_the_page_is_closed_too(make_stack):
    stack = make_stack(METRICS__ALLOW="none")
    assert {stack.http.get(path).status_code for path in ("/metrics", "/status", "/status.json")} == {403}
    assert stack.http.get("/health").status_code == 200


def test_a_request_through_another_proxy_is_not_the_machines(stack):
    assert stack.http.get("/metrics").status_code == 200
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert stack.http.get("/metrics", headers={header: "127.0.0.1"}).status_code == 403


def test_methods(stack):
    assert stack.http.request("POST", "/metrics").status_code == 405
    head = stack.http.head("/metrics")
    assert head.status_code == 200 and head.content == b""


# ---- health -------------------------------------------------------------------------------------------------------


def test_ready_and_live(make_stack):
    stack = make_stack(UPSTREAM__MAX_RETRIES=0, UPSTREAM__BREAKER_SECONDS=30, RATE_LIMIT__REQUESTS_PER_MINUTE=0)
    assert stack.http.get("/health/live").json() == {"status": "alive"}
    assert stack.http.get("/health/ready").json() == {"status": "ready"}
    for _ in range(15):
        assert stack.post(json=chat("status=500")).status_code == 500
    answer = stack.http.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "upstream_unavailable"})
    assert stack.http.get("/health").status_code == stack.http.get("/health/live").status_code == 200
    assert scrape(stack).sum("sluice_upstream_breaker_open") == 1
    assert stack.post(json=chat()).status_code == 503


def test_not_ready_while_draining(make_stack):
    stack = make_stack(DRAIN_SECONDS=10)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(stack.post(json=chat("delay=3000"))))
    thread.start()
    wait_until(lambda: scrape(stack).sum("sluice_requests_in_progress") == 2, "the slow request")
    stack.sluice.process.send(signal.SIGTERM)
    wait_until(lambda: stack.http.get("/health/ready").status_code == 503, "that it is not ready")
    assert stack.http.get("/health/ready").json() == {"status": "draining"}
    assert stack.http.get("/health/live").status_code == 200
    assert scrape(stack).sum("sluice_processes_draining") == 1
    thread.join()
    assert answers[0].status_code == 200
    wait_until(lambda: stack.sluice.process.status is not None, "the end")
