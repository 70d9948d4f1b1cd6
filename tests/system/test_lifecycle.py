"""Reload, upgrade, retirement and end, with requests under way."""

import asyncio
import json
import os
import signal
import threading
import time

import httpx
import pytest

from harness import keys
from harness.bodies import chat
from harness.process import children_of, state_of, wait_until
from harness.sluice import SANITIZED, Sluice
from harness.soak import SHORT, Load, Soak
from harness.sse import data_of
from harness.stack import Stack

FRONTS = ["nginx-kept", "lighttpd"]
KEY = {"Authorization": f"Bearer {keys.CLIENT}"}


@pytest.fixture
def stack_of():
    """Starts a stack with this front and these settings."""
    stacks = []

    def make(front, **settings):
        stacks.append(Stack(front, **settings))
        return stacks[-1]

    yield make
    for made in stacks:
        made.stop()


def stream_in_background(stack, directives):
    """A list that gets the whole body when the stream has ended."""
    bodies = []

    def read():
        with httpx.Client(trust_env=False, timeout=60, headers=KEY) as client:
            bodies.append(client.post(stack.base_url + "/chat/completions", json={**chat(directives), "stream": True}).content)

    threading.Thread(target=read).start()
    wait_until(lambda: stack.sim.stats()["active_streams"] > 0, "the stream")
    return bodies


@pytest.mark.parametrize("front", FRONTS)
def test_draining_is_seen_and_streams_finish(stack_of, front):
    stack = stack_of(front, DRAIN_SECONDS=20)
    bodies = stream_in_background(stack, "events=30;pace=50")
    stack.sluice.process.send(signal.SIGTERM)
    answer = wait_until(lambda: (a := stack.http.get("/health")).status_code == 503 and a, "503 from /health", 5)
    assert answer.json()["error"]["type"] == "server_error"
    assert stack.post(json=chat()).status_code == 503
    wait_until(lambda: bodies, "the end of the stream")
    assert data_of(bodies[0])[-1] == "[DONE]"
    wait_until(lambda: stack.sluice.process.status is not None, "the end of sluice", 10)
    assert stack.sluice.process.status == 0


@pytest.mark.parametrize("front", FRONTS)
def test_a_stream_that_outlasts_the_drain_ends_with_an_error(stack_of, front):
    stack = stack_of(front, DRAIN_SECONDS=1)
    bodies = stream_in_background(stack, "events=1000;pace=50")
    began = time.monotonic()
    assert stack.sluice.process.stop() == 0
    assert 0.8 < time.monotonic() - began < 4
    wait_until(lambda: bodies, "the end of the stream")
    events = data_of(bodies[0])
    assert json.loads(events[-1])["error"]["type"] == "server_error"
    assert len(events) > 5


def rewrite(stack, text):
    stack.sluice.env_file.write_text(text)


def wait_for_event(stack, event):
    return wait_until(lambda: [line for line in stack.sluice.log_lines() if line["event"] == event], event)


@pytest.mark.parametrize("front", FRONTS)
def test_a_reload_takes_the_new_configuration(stack_of, front):
    text = f"CLIENT_API_KEYS={keys.CLIENT}\n"
    stack = stack_of(front, env_file=text, CLIENT_API_KEYS=None, WORKERS=2)
    bodies = stream_in_background(stack, "events=20;pace=50")
    before = set(stack.sluice.workers())
    assert stack.post(json=chat(), key=keys.OTHER_CLIENT).status_code == 401
    rewrite(stack, f"CLIENT_API_KEYS={keys.CLIENT},{keys.OTHER_CLIENT}\n")
    stack.sluice.process.send(signal.SIGHUP)
    wait_for_event(stack, "reloaded")
    wait_until(lambda: stack.post(json=chat(), key=keys.OTHER_CLIENT).status_code == 200, "the new key", 5)
    assert stack.post(json=chat()).status_code == 200
    wait_until(lambda: bodies, "the end of the old stream")
    assert data_of(bodies[0])[-1] == "[DONE]"
    wait_until(lambda: len(stack.sluice.workers()) == 2, "the end of the former workers")
    assert not before & set(stack.sluice.workers())


@pytest.mark.parametrize("mistake", ["WORKERS=many", "API_KEY_MAPPING={", "LOG_FILE=/no/such/folder/log"])
def test_a_bad_reload_changes_nothing_and_is_reported(stack_of, mistake):
    text = f"CLIENT_API_KEYS={keys.CLIENT}\n"
    stack = stack_of("nginx-kept", env_file=text, CLIENT_API_KEYS=None, WORKERS=None, MAX_BODY_BYTES=None)
    before = set(stack.sluice.workers())
    rewrite(stack, f"{text}MAX_BODY_BYTES=1024\n{mistake}\n")
    stack.sluice.process.send(signal.SIGHUP)
    wait_for_event(stack, "reload_refused")
    option = mistake.partition("=")[0]
    assert any(option in line["message"] for line in stack.sluice.log_lines() if line["event"] == "configuration")
    assert stack.post(json=chat(padding="x" * 2000)).status_code == 200
    assert set(stack.sluice.workers()) == before


def test_a_bad_program_is_not_run(stack_of, tmp_path):
    soak = Soak("nginx-kept")
    try:
        workers = set(soak.sluice.workers())
        (soak.place / "bad").write_text("#!/bin/false\n")
        (soak.place / "bad").chmod(0o755)
        os.rename(soak.place / "bad", soak.binary)
        soak.sluice.process.send(signal.SIGUSR2)
        wait_for_event(soak.stack, "upgrade_refused")
        assert soak.stack.post(json=chat()).status_code == 200
        assert set(soak.sluice.workers()) == workers
        soak.upgrade()
        soak.settle()
        assert soak.stack.post(json=chat()).status_code == 200
    finally:
        soak.stop()


@pytest.mark.parametrize("front", FRONTS)
def test_workers_are_replaced_after_so_many_requests(stack_of, front):
    stack = stack_of(front, WORKERS=2, WORKER_MAX_REQUESTS=20, LOG_LEVEL="info")
    load = Load(stack.origin, 8)
    before = set(stack.sluice.workers())
    asyncio.run(load.run(lambda: time.sleep(4)))
    assert not load.failures, load.failures[:5]
    wait_until(lambda: len(stack.sluice.workers()) == 2, "the end of the former workers")
    assert not before & set(stack.sluice.workers())
    started = sum(line["event"] == "worker_started" for line in stack.sluice.log_lines())
    assert started >= load.requests // 20 // 2, (started, load.requests)


@pytest.mark.parametrize("front", FRONTS)
def test_reloads_and_upgrades_under_load(front):
    soak = Soak(front)
    try:
        numbers = soak.run(*SHORT)
        soak.check(numbers)
        assert (numbers["reloads"], numbers["upgrades"]) == SHORT
        assert numbers["requests"] > 20
    finally:
        soak.stop()


def test_a_supervisor_that_a_web_server_started_is_reloaded(stack_of):
    """lighttpd has started it, and keeps its socket."""
    if SANITIZED:
        pytest.skip("started by lighttpd, it shows no report")
    stack = stack_of("lighttpd-spawn", WORKERS=2)
    (supervisor,) = [pid for pid in stack.sluice.processes() if len(children_of(pid)) == 2]
    before = set(children_of(supervisor))
    load = Load(stack.origin, 6)

    def reload():
        for _ in range(5):
            os.kill(supervisor, signal.SIGHUP)
            time.sleep(0.2)

    asyncio.run(load.run(reload))
    assert load.requests > 20 and not load.failures, load.failures[:5]
    wait_until(lambda: len(children_of(supervisor)) == 2, "the end of the former workers")
    assert not before & set(children_of(supervisor)) and state_of(supervisor) not in (None, "Z")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_end_right_after_the_start_is_not_lost(tmp_path, workers):
    """A signal that comes while a worker still sets itself up counts as well."""
    settings = {"OPENAI_API_KEY": keys.UPSTREAM, "CLIENT_API_KEYS": keys.CLIENT, "WORKERS": workers, "DRAIN_SECONDS": 20}
    for number in range(25):
        sluice = Sluice(tmp_path, **settings)
        time.sleep(number / 2000)
        sluice.process.send(signal.SIGTERM)
        wait_until(lambda one=sluice: one.process.status is not None, "the end", 5)
        assert sluice.process.status in (0, -signal.SIGTERM)
        sluice.socket.unlink(missing_ok=True)
