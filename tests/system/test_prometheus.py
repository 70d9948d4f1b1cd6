"""A real Prometheus scrapes a real run: without a warning, with every rule evaluated, and with data in every panel of the
dashboard. SLUICE_PROMETHEUS_SECONDS says for how long."""

import json
import math
import os
import re
import shutil
import subprocess
import threading
import time

import httpx
import pytest

from harness import keys, secrets
from harness.bodies import chat
from harness.process import ROOT, Process, free_port, short_directory, wait_until

DEPLOY = ROOT / "deploy"
SECONDS = float(os.environ.get("SLUICE_PROMETHEUS_SECONDS", 12))

pytestmark = pytest.mark.skipif(not shutil.which("prometheus") or not shutil.which("promtool"),
                                reason="prometheus is not installed")


class Prometheus:
    """With the configuration of deploy/, but for its target, its intervals and where it listens."""

    def __init__(self, target):
        self.directory = short_directory()
        text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        text = text.replace("localhost:8000", target).replace("15s", "1s")
        (self.directory / "prometheus.yml").write_text(text)
        shutil.copy(DEPLOY / "prometheus" / "alerts.yml", self.directory)
        port = free_port()
        self.process = Process(
            "prometheus",
            ["prometheus", f"--config.file={self.directory}/prometheus.yml", f"--storage.tsdb.path={self.directory}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            self.directory / "prometheus.log",
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=30)
        wait_until(self._has_scraped, "the first scrape", 30)

    def _has_scraped(self):
        try:
            return self.target()["health"] == "up"
        except (httpx.HTTPError, ValueError, KeyError, IndexError):
            return self.process.must_live() and False

    def ask(self, path, **parameters):
        answer = self.http.get(path, params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def target(self):
        return self.ask("/targets")["activeTargets"][0]

    def query(self, expression):
        """The values of an instant query."""
        return [float(series["value"][1]) for series in self.ask("/query", query=expression)["result"]]

    def stop(self):
        self.http.close()
        self.process.stop()
        secrets.remove_directory(self.directory)


def mixed_requests(stack, until):
    """Some of everything that a panel shows."""
    kinds = [
        {"json": chat(max_tokens=20)},
        {"json": chat("events=12;pace=5", stream=True, stream_options={"include_usage": True})},
        {"json": chat(model="o1")},
        {"json": chat("status=429")},
        {"json": chat("status=500")},
        {"json": chat("events=5;cut-event=3", stream=True)},
        {"json": chat(), "key": keys.WRONG_CLIENT},
    ]
    with httpx.Client(base_url=stack.origin, trust_env=False, timeout=30) as http:
        while time.monotonic() < until:
            for kind in kinds:
                key = kind.get("key", keys.CLIENT)
                http.post("/v1/chat/completions", json=kind["json"], headers={"Authorization": f"Bearer {key}"})


def panels():
    dashboard = json.loads((DEPLOY / "grafana" / "sluice.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def filled_in(expression):
    return expression.replace("$__rate_interval", "8s").replace("$job", ".*").replace("$instance", ".*")


def test_every_panel_has_data_and_nothing_complains(make_stack):
    stack = make_stack(WORKERS=2, CACHE__ENABLED="false", RATE_LIMIT__REQUESTS_PER_MINUTE=0,
                       RATE_LIMIT__TOKENS_PER_MINUTE=0, UPSTREAM__RETRY_BASE_SECONDS="0.001",
                       PRICES='{"gpt-4o*": {"input": 2.5, "output": 10}}')
    prometheus = Prometheus(stack.origin.removeprefix("http://"))
    try:
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=mixed_requests, args=(stack, until)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        empty = []
        for title, expression in panels():
            values = prometheus.query(filled_in(expression))
            if not values or not any(math.isfinite(value) for value in values):
                empty.append((title, expression, values))
        assert not empty, empty
        check_health(prometheus)
        log = prometheus.process.text()
        complaints = [line for line in log.splitlines() if "level=warn" in line or "level=error" in line]
        assert not complaints, "\n".join(complaints)
    finally:
        prometheus.stop()


def check_health(prometheus):
    target = prometheus.target()
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["lastScrapeDuration"] < 0.5
    assert prometheus.query("sum_over_time(up[1h]) / count_over_time(up[1h])")[0] > 0.9
    rules = [rule for group in prometheus.ask("/rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 5
    assert all(rule["health"] == "ok" for rule in rules), rules


def test_the_rules_are_sound():
    for command in (["check", "rules", DEPLOY / "prometheus" / "alerts.yml"],
                    ["check", "config", DEPLOY / "prometheus" / "prometheus.yml"]):
        result = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


DOCUMENTED = re.compile(r"^\| `((?:sluice|gen_ai)_[a-z_]+)`", re.MULTILINE)
USED = re.compile(r"\b(sluice_[a-z_]+?)(?:_bucket|_count|_sum)?(?=[{\[ )<>=.\n]|$)")


def test_every_metric_is_documented(make_stack):
    documented = set(DOCUMENTED.findall((ROOT / "docs" / "metrics.md").read_text()))
    stack = make_stack(METRICS__GENAI="true")
    shown = set(re.findall(r"^# TYPE (\S+)", stack.http.get("/metrics").text, re.MULTILINE))
    assert documented == shown
    used = set()
    for text in [expression for _, expression in panels()] + [(DEPLOY / "prometheus" / "alerts.yml").read_text()]:
        used |= set(USED.findall(text))
    assert used and used <= documented, used - documented
