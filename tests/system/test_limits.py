"""Rate limits as clients meet them: exact over workers and machines, with and without Redis, and after crashes."""

import concurrent.futures
import math
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import keys
from harness.bodies import chat
from harness.process import Process, free_port, wait_until
from harness.sluice import SANITIZED, run
from harness.stack import Stack

FREE = {"RATE_LIMIT__REQUESTS_PER_MINUTE": 0, "RATE_LIMIT__TOKENS_PER_MINUTE": 0}


def at_once(calls):
    """Makes all calls at the same time; the answers in order."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def count(answers, status):
    return sum(answer.status_code == status for answer in answers)


def limits_of(stack):
    """What `sluice limits` says: fingerprint → the cells of its row."""
    result = run("limits", "--env-file", str(stack.sluice.env_file), cwd=stack.directory, **stack.settings)
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if re.match(r"[0-9a-f]{12} ", line)]
    return {row[:12]: re.split(r"\s{2,}", row) for row in rows}


@pytest.fixture
def make_limited(make_stack):
    def make(**settings):
        values = {"WORKERS": 8, **FREE, **settings}
        stack = make_stack(**values)
        stack.settings = {"STATE_DIR": stack.directory / "state", "OPENAI_API_KEY": keys.UPSTREAM,
                          "CLIENT_API_KEYS": f"{keys.CLIENT},{keys.OTHER_CLIENT}", **values}
        return stack

    return make


class Redis(Process):
    """A redis-server on a free port."""

    def __init__(self, directory):
        self.port = free_port()
        self.url = f"redis://localhost:{self.port}"
        super().__init__("redis", ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", directory,
                                   "--save", "", "--appendonly", "no"], directory / "redis.log")
        wait_until(lambda: self.command("PING") == "PONG", "an answer of Redis")

    def command(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True,
                              check=False).stdout.strip()


@pytest.fixture
def redis(tmp_path):
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server")
    server = Redis(tmp_path)
    yield server
    server.stop()


def test_sixty_of_two_hundred_over_eight_workers(make_limited):
    stack = make_limited(RATE_LIMIT__REQUESTS_PER_MINUTE=60)
    started = time.monotonic()
    answers = at_once([lambda: stack.post(json=chat())] * 200)
    refilled = math.floor(time.monotonic() - started)
    passed = count(answers, 200)
    assert 60 <= passed <= 60 + refilled
    assert count(answers, 429) == 200 - passed
    assert stack.sim.stats()["requests"] == passed, "a refusal never touches the upstream"
    refused = next(answer for answer in answers if answer.status_code == 429)
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert re.search(r"Limit 60, Used \d+, Requested 1\. Please try again in \d+m?s", error["message"]), error
    assert refused.headers["retry-after"] == "1"
    assert 0 < int(refused.headers["retry-after-ms"]) <= 1000
    assert refused.headers["x-ratelimit-limit-requests"] == "60"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_the_official_client_backs_off_and_succeeds(make_limited):
    stack = make_limited(RATE_LIMIT__REQUESTS_PER_MINUTE=60)
    at_once([lambda: stack.post(json=chat())] * 61)
    answer = stack.client(max_retries=3).chat.completions.create(**chat())
    assert answer.choices


def test_the_books_agree_with_the_upstreams_count(make_limited):
    stack = make_limited(RATE_LIMIT__TOKENS_PER_MINUTE=100000)
    answers = at_once([lambda n=n: stack.post(json=chat(max_tokens=5 + n)) for n in range(50)])
    assert count(answers, 200) == 50
    used = sum(answer.json()["usage"]["total_tokens"] for answer in answers)
    cells = next(iter(limits_of(stack).values()))
    remaining, limit = map(int, cells[2].split()[0].split("/"))
    assert limit == 100000
    assert 0 <= remaining - (100000 - used) <= 100000 / 60 * 20


def test_a_token_limit_holds_against_a_burst(make_limited):
    stack = make_limited(RATE_LIMIT__TOKENS_PER_MINUTE=1000)
    started = time.monotonic()
    answers = at_once([lambda: stack.post(json=chat("events=70", max_tokens=70))] * 50)
    passed = [answer for answer in answers if answer.status_code == 200]
    used = sum(answer.json()["usage"]["total_tokens"] for answer in passed)
    each = used / len(passed)
    assert used <= 1000 + each + (time.monotonic() - started) * 1000 / 60
    assert len(passed) >= 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["type"] == "tokens"
    assert int(refused.headers["retry-after"]) >= 1


def test_limits_are_shown_and_reset(make_limited):
    stack = make_limited(RATE_LIMIT__REQUESTS_PER_MINUTE=10, RATE_LIMIT__CONCURRENT_REQUESTS=4)
    for _ in range(12):
        last = stack.post(json=chat(max_tokens=9))
    assert last.status_code == 429
    [(fingerprint, cells)] = limits_of(stack).items()
    assert cells[1].startswith("0/10") and cells[2] == "unlimited" and cells[3] == "0/4" and cells[4] == "9"
    result = run("limits", "--reset", fingerprint, cwd=stack.directory, **stack.settings)
    assert result.returncode == 0, result.stderr
    assert limits_of(stack)[fingerprint][1].startswith("10/10")
    assert stack.post(json=chat()).status_code == 200
    assert run("limits", "--reset", "0" * 12, cwd=stack.directory, **stack.settings).returncode == 1


def test_requests_at_once_come_back_from_killed_workers(make_limited):
    stack = make_limited(RATE_LIMIT__CONCURRENT_REQUESTS=6, RATE_LIMIT__LEASE_SECONDS=2, WORKERS=4)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        hanging = [pool.submit(stack.post, json=chat("hang=head")) for _ in range(6)]
        wait_until(lambda: stack.sim.stats()["requests"] == 6, "six requests upstream")
        refused = stack.post(json=chat())
        assert refused.status_code == 429 and refused.json()["error"]["code"] == "rate_limit_exceeded"
        for pid in stack.sluice.workers():
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        for future in hanging:
            assert future.result().status_code >= 500
    wait_until(lambda: stack.post(json=chat()).status_code == 200, "a free place", 10)
    assert time.monotonic() - killed < 4
    assert count(at_once([lambda: stack.post(json=chat("delay=300"))] * 6), 200) == 6


def test_sixty_over_two_machines_with_one_redis(make_limited, redis):
    settings = {"RATE_LIMIT__REQUESTS_PER_MINUTE": 60, "RATE_LIMIT__BACKEND": "redis", "CACHE__REDIS_URL": redis.url,
                "REDIS__TIMEOUT_MS": 2000, "WORKERS": 2}
    one, two = make_limited(**settings), make_limited(**settings)
    started = time.monotonic()
    answers = at_once([lambda: one.post(json=chat()), lambda: two.post(json=chat())] * 60)
    passed = count(answers, 200)
    assert 60 <= passed <= 60 + math.floor(time.monotonic() - started)
    assert count(answers, 429) == 120 - passed
    assert one.sim.stats()["requests"] + two.sim.stats()["requests"] == passed
    assert next(iter(limits_of(two).values()))[1].split()[0].endswith("/60")


def test_redis_is_never_a_reason_for_an_error(make_limited, redis):
    stack = make_limited(RATE_LIMIT__REQUESTS_PER_MINUTE=100000, RATE_LIMIT__BACKEND="redis", CACHE__REDIS_URL=redis.url,
                         WORKERS=1)

    def ask(n):
        answers = [stack.post(json=chat()) for _ in range(n)]
        assert count(answers, 200) == n

    ask(20)
    redis.command("CLIENT", "PAUSE", "600000")  # longer than any of the clients' time limits
    ask(40)
    os.kill(redis.pid, signal.SIGKILL)
    ask(40)
    local = [line for line in stack.sluice.log_lines() if line["event"] == "limits_local"]
    assert len(local) == 1, local
    assert keys.CLIENT not in str(local)


@pytest.mark.parametrize("content", [b"x" * 100, b"#!/bin/sh\n" * 1000], ids=["cut", "foreign"])
def test_a_damaged_state_file_is_replaced(make_limited, tmp_path, content):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "limits.v1").write_bytes(content)
    result = run("limits", cwd=tmp_path, STATE_DIR=state, OPENAI_API_KEY=keys.UPSTREAM, CLIENT_API_KEYS=keys.CLIENT)
    assert result.returncode == 1 and "is damaged" in result.stderr
    stack = make_limited(STATE_DIR=state, RATE_LIMIT__REQUESTS_PER_MINUTE=1)
    assert (state / "limits.v1.bad").read_bytes() == content
    assert any("was damaged" in str(line) for line in stack.sluice.log_lines())
    assert [stack.post(json=chat()).status_code, stack.post(json=chat()).status_code] == [200, 429]


def test_limits_survive_a_restart(make_limited, tmp_path):
    state = tmp_path / "state"
    first = make_limited(STATE_DIR=state, RATE_LIMIT__REQUESTS_PER_MINUTE=1)
    assert first.post(json=chat()).status_code == 200
    first.sluice.process.stop()
    second = make_limited(STATE_DIR=state, RATE_LIMIT__REQUESTS_PER_MINUTE=1)
    assert second.post(json=chat()).status_code == 429
    assert second.post(json=chat(), key=keys.OTHER_CLIENT).status_code == 200


@pytest.mark.skipif(SANITIZED, reason="a dozen processes with a sanitizer each")
def test_sixty_over_processes_that_apache_spawned():
    """mod_fcgid starts each process by itself: they have nothing in common but the state directory."""
    stack = Stack("apache-fcgid", RATE_LIMIT__REQUESTS_PER_MINUTE=60, RATE_LIMIT__TOKENS_PER_MINUTE=0)
    try:
        started = time.monotonic()
        answers = at_once([lambda: stack.post(json=chat("delay=100"))] * 100)
        refilled = math.floor(time.monotonic() - started)
        passed = count(answers, 200)
        assert 60 <= passed <= 60 + refilled
        assert count(answers, 429) == 100 - passed
        assert stack.sim.stats()["requests"] == passed
        assert len(stack.sluice.processes()) > 1
    finally:
        stack.stop(check=False)
