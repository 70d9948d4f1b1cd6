"""/metrics: every number is what the clients and the simulator counted."""

import json
import os
import random
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

REQUESTS = int(os.environ.get("SLUICE_METRICS_REQUESTS", 400))
CLIENTS = 8
ALIASES = {keys.CLIENT: "team search"}


@pytest.fixture
def metered(make_stack):
    return make_stack(WORKERS=2, METRICS__GENAI="true", KEY_ALIASES=json.dumps(ALIASES), CACHE__ENABLED="false",
                      RATE_LIMIT__REQUESTS_PER_MINUTE=0, RATE_LIMIT__TOKENS_PER_MINUTE=0, LOG_LEVEL="info",
                      UPSTREAM__RETRY_BASE_SECONDS="0.001", UPSTREAM__MAX_RETRIES=2)


class Clients:
    """Mixed requests from several threads, and what came of them, counted on this side."""

    KINDS = ["plain"] * 8 + ["stream"] * 6 + ["429", "500", "400", "wrong key", "not json", "cut", "left", "embeddings"]

    def __init__(self, stack):
        self.stack = stack
        self.statuses, self.ends, self.tokens = Counter(), Counter(), Counter()
        self.events = self.streams = 0
        self.lock = threading.Lock()

    def run(self, requests):
        self.left = requests
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _take(self):
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def _work(self, seed):
        chance = random.Random(seed)
        with httpx.Client(base_url=self.stack.origin, trust_env=False, timeout=60) as http:
            while self._take():
                self._one(http, chance.choice(self.KINDS), chance)

    def _one(self, http, kind, chance):
        key = chance.choice([keys.CLIENT, keys.OTHER_CLIENT])
        model = chance.choice(["gpt-4o-mini", "gpt-4o"])
        path, body, wanted = "/v1/chat/completions", chat(model=model, max_tokens=chance.randint(1, 50)), 200
        if kind == "stream":
            body = chat(f"events={chance.randint(1, 30)}", model=model, stream=True, stream_options={"include_usage": True})
        elif kind in ("429", "500", "400"):
            body, wanted = chat(f"status={kind}", model="never-served"), int(kind)
        elif kind == "wrong key":
            key, wanted = keys.WRONG_CLIENT, 401
        elif kind == "not json":
            body, wanted = None, 400
        elif kind == "cut":
            body = chat("events=10;cut-event=4", stream=True)
        elif kind == "left":
            body = chat("events=200;pace=20", stream=True)
        elif kind == "embeddings":
            path, body = "/v1/embeddings", {"model": "text-embedding-3-small", "input": "one two"}
        self._ask(http, kind, path, body, key, wanted)

    def _ask(self, http, kind, path, body, key, wanted):
        content = b"{" if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        endpoint = path.removeprefix("/v1/").replace("/", ".")
        with http.stream("POST", path, content=content, headers=headers) as answer:
            assert answer.status_code == wanted, (kind, answer.status_code)
            if kind == "left":
                next(answer.iter_raw())
            else:
                text = answer.read().decode()
        with self.lock:
            self.statuses[endpoint, str(wanted)] += 1
            self.ends[{"cut": "cut", "left": "client_left", "wrong key": "refused", "not json": "refused"}
                      .get(kind, "complete")] += 1
            self.streams += kind in ("stream", "cut", "left")
            if kind == "stream":
                self._count_stream(text, key, body["model"])
            elif wanted == 200 and kind != "left" and kind != "cut":
                self._count_usage(json.loads(text)["usage"], key, body["model"])

    def _count_stream(self, text, key, model):
        data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        self.events += len(data)
        self._count_usage(json.loads(data[-2])["usage"], key, model)

    def _count_usage(self, usage, key, model):
        name = ALIASES.get(key)
        self.tokens["input", model, name] += usage["prompt_tokens"]
        self.tokens["output", model, name] += usage.get("completion_tokens", 0)


def test_every_counter_is_what_clients_and_simulator_counted(metered):
    """A worker is killed on the way, at a moment when it has nothing under way: what is in a killed worker cannot be
    counted by anybody."""
    stack = metered
    clients = Clients(stack)
    before = stack.sluice.workers()
    clients.run(REQUESTS // 2)
    ended = wait_until(lambda: (page := scrape(stack)).sum("sluice_requests_in_progress") == 1 and page, "the end of all")
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(stack.sluice.workers()) == 2 and before[0] not in stack.sluice.workers(), "another worker")
    clients.run(REQUESTS - REQUESTS // 2)
    page = wait_until(lambda: (page := scrape(stack)).sum("sluice_requests_in_progress") == 1 and page, "the end of all")
    assert ended.sum("sluice_requests_total") < page.sum("sluice_requests_total")

    for (endpoint, status), n in clients.statuses.items():
        assert page.sum("sluice_requests_total", endpoint=endpoint, method="POST", status=status) == n, (endpoint, status)
    api = {"endpoint": "chat.completions"}
    assert page.sum("sluice_requests_total", **api) == sum(n for (e, _), n in clients.statuses.items() if e == api["endpoint"])
    for end, n in clients.ends.items():
        assert page.sum("sluice_request_ends_total", end=end) == n, end
    for endpoint in ("chat.completions", "embeddings"):
        assert page.sum("sluice_request_duration_seconds_count", endpoint=endpoint) == page.sum(
            "sluice_requests_total", endpoint=endpoint)
    assert page.sum("sluice_time_to_first_token_seconds_count") == clients.streams
    assert page.sum("sluice_streams_open") == 0

    check_tokens(clients, page)
    check_upstream(stack, clients, page)
    assert page.sum("sluice_process_starts_total") == 3
    assert page.sum("sluice_process_crashes_total") == 1
    assert page.sum("sluice_processes") == 2


def check_tokens(clients, page):
    named = {key for key in page.samples["sluice_tokens_total"]}
    assert all(dict(key)["model"] != "never-served" for key in named)
    for (kind, model, name), n in clients.tokens.items():
        if name:
            assert page.sum("sluice_tokens_total", kind=kind, model=model, key=name) == n
    for kind in ("input", "output"):
        counted = sum(n for (k, _, _), n in clients.tokens.items() if k == kind)
        assert page.sum("sluice_tokens_total", kind=kind) == counted
        assert page.sum("gen_ai_client_token_usage_sum", gen_ai_token_type=kind) == counted


def check_upstream(stack, clients, page):
    asked = stack.sim.stats()["requests"]
    failures = clients.statuses["chat.completions", "429"] + clients.statuses["chat.completions", "500"]
    wrong = page.by("sluice_upstream_errors_total", "status", kind="status")
    assert wrong["429"] == 3 * clients.statuses["chat.completions", "429"]
    assert wrong["500"] == 3 * clients.statuses["chat.completions", "500"]
    assert page.sum("sluice_upstream_errors_total", kind="cut") == clients.ends["cut"]
    retries = page.sum("sluice_upstream_retries_total")
    assert retries == 2 * failures
    local = clients.ends["refused"]
    assert asked == sum(clients.statuses.values()) - local + retries


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
    stack = make_stack(METRICS__ALLOW="10.1.2.0/24,2001:db8::/32", METRICS__TOKEN="letmein-9Xk2,other-token")
    for path in ("/metrics", "/status.json"):
        answer = stack.http.get(path)
        assert answer.status_code == 403
        assert error_of(answer)["code"] == "metrics_not_allowed"
        for token, status in (("letmein-9Xk2", 200), ("other-token", 200), ("letmein-9Xk", 403), ("x", 403)):
            answer = stack.http.get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status, token
    assert stack.http.get("/status").status_code == 200  # it asks for the token
    stack.secrets |= {"letmein-9Xk2", "other-token"}


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
