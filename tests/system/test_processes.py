"""Supervisor and workers: a crash hurts only its own streams, an end lets requests finish."""

import asyncio
import os
import signal
import threading
import time

import openai
import pytest

from harness.process import memory_of, sockets_of, state_of, wait_until
from harness.bodies import chat
from harness.sluice import SANITIZED
from harness.sse import words

STREAMS, EVENTS = 24, 30


async def run_streams(stack, after_start):
    """Runs many streams; calls after_start when all have begun. Returns the texts of each, or None where it broke."""
    begun = 0

    async def one(client):
        nonlocal begun
        texts = []
        try:
            async for chunk in await client.chat.completions.create(stream=True, **chat(f"events={EVENTS};pace=100")):
                if chunk.choices and chunk.choices[0].delta.content:
                    texts.append(chunk.choices[0].delta.content)
                    begun += len(texts) == 1
            return texts if texts == words(EVENTS) else None
        except (openai.APIError, openai.APIConnectionError):
            return None

    async def interfere():
        while begun < STREAMS:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(after_start)

    async with stack.async_client(timeout=60) as client:
        *results, _ = await asyncio.gather(*(one(client) for _ in range(STREAMS)), interfere())
    return results


def test_a_killed_worker_hurts_only_its_own_streams_and_is_back_within_a_second(make_stack):
    stack = make_stack(WORKERS=2)
    wait_until(lambda: len(stack.sluice.workers()) == 2, "two workers")
    before = {pid: sockets_of(pid) for pid in stack.sluice.workers()}
    lost, back = [], []

    def kill_one():
        victim = max(before, key=lambda pid: sockets_of(pid) - before[pid])
        lost.append(sockets_of(victim) - before[victim])
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: state_of(victim) is None and len(stack.sluice.workers()) == 2, "a new worker", 5)
        back.append(time.monotonic() - began)
        assert stack.post(json=chat()).status_code == 200

    results = asyncio.run(run_streams(stack, kill_one))
    broken = results.count(None)
    # Each stream has two sockets in its worker: one to the web server, one to the upstream.
    assert broken <= lost[0] // 2 + 1, f"{broken} streams broke, the worker had {lost[0]} sockets"
    assert back[0] < (3 if SANITIZED else 1)
    for _ in range(20):
        assert stack.post(json=chat()).status_code == 200


def test_work_is_spread_over_the_workers(make_stack):
    stack = make_stack(WORKERS=2)
    wait_until(lambda: len(stack.sluice.workers()) == 2, "two workers")
    before = {pid: sockets_of(pid) for pid in stack.sluice.workers()}
    busy = []
    results = asyncio.run(
        run_streams(stack, lambda: busy.extend(sockets_of(pid) - before[pid] > 1 for pid in before))
    )
    assert None not in results
    assert any(busy)


def test_a_worker_that_keeps_crashing_does_not_spin(make_stack):
    stack = make_stack(WORKERS=1)
    seen = set()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for pid in stack.sluice.workers():
            if pid not in seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    assert len(seen) < 60, f"{len(seen)} workers in 3 seconds"
    wait_until(lambda: stack.http.get("/health").status_code == 200, "a worker that serves", 15)


def test_term_lets_a_stream_finish(make_stack):
    stack = make_stack(DRAIN_SECONDS=20)
    stream = stack.client().chat.completions.create(stream=True, **chat("events=20;pace=50"))
    contents = (chunk.choices[0].delta.content for chunk in stream)
    texts = [next(content for content in contents if content)]
    stack.sluice.process.send(signal.SIGTERM)
    texts += [content for content in contents if content]
    assert texts == words(20)
    wait_until(lambda: stack.sluice.process.status is not None, "the end of sluice", 10)
    assert stack.sluice.process.status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_the_end_leaves_nothing_behind(make_stack, number):
    stack = make_stack(WORKERS=2)
    processes = stack.sluice.processes()
    assert len(processes) == 3
    stack.sluice.process.stop(number)
    assert [pid for pid in processes if state_of(pid) not in (None, "Z")] == []
    assert not stack.sluice.socket.exists()


def test_an_end_with_a_stuck_stream_is_bounded(make_stack):
    stack = make_stack(DRAIN_SECONDS="0.5")
    failures = []

    def read():
        try:
            for _ in stack.client().chat.completions.create(stream=True, **chat("events=2;pace=60000")):
                pass
        except openai.APIError as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: stack.sim.stats()["active_streams"] == 1, "the stream")
    began = time.monotonic()
    assert stack.sluice.process.stop() == 0
    assert time.monotonic() - began < 5
    reader.join(10)
    assert not reader.is_alive() and failures


def test_workers_go_when_the_supervisor_is_killed(make_stack):
    stack = make_stack(WORKERS=2)
    workers = stack.sluice.workers()
    stack.sluice.process.send(signal.SIGKILL)
    wait_until(lambda: all(state_of(pid) in (None, "Z") for pid in workers), "the end of the workers", 5)
    stack.sluice.stop = lambda: None


def test_one_process_without_a_supervisor(make_stack):
    stack = make_stack(WORKERS=0)
    assert stack.sluice.workers() == []
    assert stack.post(json=chat()).status_code == 200


def test_sluice_not_running_is_an_error_in_openais_form(make_stack):
    stack = make_stack()
    stack.sluice.stop()
    answer = stack.post(json=chat())
    assert answer.status_code == 503
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    with pytest.raises(openai.InternalServerError):
        stack.client().chat.completions.create(**chat())
    stack.sluice.stop = lambda: None


def test_many_requests_do_not_grow_a_worker(make_stack):
    if SANITIZED:
        pytest.skip("the sanitizer keeps freed memory for a while")
    stack = make_stack()
    (worker,) = stack.sluice.workers()
    client = stack.client()

    def ask(count):
        for _ in range(count):
            client.chat.completions.create(**chat())
        for _ in client.chat.completions.create(stream=True, **chat()):
            pass

    ask(300)
    before = memory_of(worker)
    ask(1500)
    assert memory_of(worker) - before < 512 * 1024
