"""Identical requests that are under way go upstream once; whoever leaves or fails, the others get their answer."""

import asyncio
import concurrent.futures
import json
import os
import re
import signal
import socket
import time

import httpx
import pytest

from harness import keys
from harness.caching import ask, at_once, embeddings, fixed, result, unique, upstream
from harness.process import descriptors_of, growth_of, wait_until
from harness.sluice import SANITIZED
from harness.sse import contents_of, data_of, words

CROWD = 200 if SANITIZED else 1000
SLOW = "delay=600"


@pytest.fixture
def together(make_cached):
    """Stacks for one after another; a single worker, where all that is joined is joined live."""
    return lambda **settings: make_cached(**{"UPSTREAM__MAX_RETRIES": 0, "WORKERS": 1, **settings})


class Stream:
    """A request by hand, whose client can leave."""

    def __init__(self, stack, request):
        self.connection = socket.create_connection(("127.0.0.1", stack.front.port), timeout=20)
        # lighttpd does not watch a connection that came together with its first request.
        self.connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"}" not in self.connection.recv(4096):
            pass
        body = httpx.Request("POST", "http://x", json=request).content
        self.connection.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys.CLIENT}\r\n"
                                 f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)

    def wait_for(self, text):
        received = b""
        while text not in received:
            block = self.connection.recv(65536)
            assert block, received
            received += block

    def leave(self):
        self.connection.close()


def is_upstream(stack, count=1):
    wait_until(lambda: upstream(stack) == count, f"{count} requests upstream")


def in_background(pool, stack, request, count=1, **options):
    return [pool.submit(ask, stack, request, **options) for _ in range(count)]


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(64) as made:
        yield made


def answers_of(futures):
    return [future.result(30) for future in futures]


# ---- one call -----------------------------------------------------------------------------------------------------


def test_a_crowd_goes_upstream_once(cached):
    """1,000 at the same time, on two workers."""
    request = embeddings(sim="delay=1500")

    text = json.dumps(request)
    message = (f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys.CLIENT}\r\nConnection: close\r\n"
               f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}").encode()

    async def one():
        """By hand: HTTP libraries take half a minute for so many connections."""
        reader, writer = await asyncio.open_connection("127.0.0.1", cached.front.port)
        writer.write(message)
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        assert head.startswith("HTTP/1.1 200"), head
        return re.search("(?i)x-cache: (.*)", head)[1].strip(), body

    async def crowd():
        return await asyncio.gather(*(one() for _ in range(CROWD)))

    answers = asyncio.run(crowd())
    assert upstream(cached) == 1
    [_] = {str(json.loads(body)["data"]) for _, body in answers}
    told = [cache for cache, _ in answers]
    print(f"\n{ {name: told.count(name) for name in set(told)} }")
    assert told.count("MISS") == 1 and set(told) <= {"MISS", "COALESCED", "HIT"}


def test_again_and_again_over_workers(make_cached):
    """Short calls: the moment between the store and the release of the claim is met, too."""
    stack = make_cached(WORKERS=4)
    rounds = 5 if SANITIZED else 30
    for _ in range(rounds):
        request = fixed(sim="delay=30")
        answers = at_once([lambda request=request: ask(stack, request)] * 12)
        assert len({answer.text for answer in answers}) == 1
    # Redis is told without waiting: who asks in that very moment does not find the answer, and nobody under way.
    assert rounds <= upstream(stack) <= rounds + (rounds // 5 if stack.redis else 0)


def test_a_batch_of_embeddings(cached):
    request = embeddings([unique() for _ in range(3)], sim=SLOW)
    answers = at_once([lambda: ask(cached, request)] * 8)
    assert upstream(cached) == 1
    assert len({str(answer.json()["data"]) for answer in answers}) == 1


def test_switched_off(together):
    stack = together(CACHE__COALESCE="false")
    request = fixed(sim=SLOW)
    assert sorted(map(result, at_once([lambda: ask(stack, request)] * 4))) == ["MISS"] * 4
    assert upstream(stack) == 4


def test_others_are_not_joined(cached):
    """Neither another client's, nor what may not be cached, nor what says no-store."""
    same, warm = fixed(sim=SLOW), fixed(sim=SLOW, temperature=1)
    answers = at_once([lambda: ask(cached, same), lambda: ask(cached, same, key=keys.OTHER_CLIENT),
                       lambda: ask(cached, same, "no-store"), lambda: ask(cached, warm), lambda: ask(cached, warm)])
    assert sorted(map(result, answers)) == ["BYPASS", "BYPASS", "BYPASS", "MISS", "MISS"]
    assert upstream(cached) == 5


# ---- streams --------------------------------------------------------------------------------------------------------

LIVE = {"stream": True, "max_tokens": 20}


def timed(stack, request):
    """The events of a stream, when each came, and X-Cache."""
    events, times = b"", []
    headers = {"Authorization": f"Bearer {keys.CLIENT}"}
    with httpx.stream("POST", stack.base_url + "/chat/completions", json=request, headers=headers, trust_env=False,
                      timeout=30) as answer:
        for block in answer.iter_raw():
            events += block
            times.append(time.monotonic())
    return data_of(events), times, result(answer)


def test_a_stream_is_joined_live_and_late(together, pool):
    stack = together()
    request = fixed(sim="events=20;pace=150", **LIVE)
    streams = [pool.submit(timed, stack, request) for _ in range(2)]
    is_upstream(stack)
    time.sleep(0.5)
    streams.append(pool.submit(timed, stack, request))
    (events, times, _), *others = [stream.result(30) for stream in streams]
    assert contents_of(events) == words(20)
    assert sorted(cache for _, _, cache in [(0, 0, streams[0].result()[2]), *others]) == ["COALESCED", "COALESCED", "MISS"]
    for other, other_times, _ in others:
        assert other == events
        assert abs(other_times[-1] - times[-1]) < 1
        assert other_times[-1] - other_times[0] > 1, "as it arrives, not at the end"
    assert upstream(stack) == 1


def test_usage_is_told_to_those_who_asked(together, pool):
    stack = together()
    text = unique()
    requests = [fixed(text, "events=20;pace=30", **LIVE, **more) for more in ({}, {"stream_options": {"include_usage": True}})]
    plain, usage = answers_of([future for request in requests for future in in_background(pool, stack, request)])
    assert upstream(stack) == 1
    assert contents_of(data_of(plain.text)) == words(20)
    assert '"usage":{' not in plain.text and '"usage":{' in usage.text


@pytest.mark.parametrize("leader", [True, False], ids=["a stream", "a whole answer"])
def test_streams_and_whole_answers_join_each_other(together, pool, leader):
    stack = together()
    text = unique()
    futures = in_background(pool, stack, fixed(text, "events=20;delay=300;pace=20", stream=leader, max_tokens=20))
    is_upstream(stack)
    futures += in_background(pool, stack, fixed(text, stream=not leader, max_tokens=20))
    answers = answers_of(futures)
    assert [result(answer) for answer in answers] == ["MISS", "COALESCED"]
    assert upstream(stack) == 1
    stream, whole = answers if leader else reversed(answers)
    assert "".join(contents_of(data_of(stream.text))) == whole.json()["choices"][0]["message"]["content"]


# ---- who leaves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_leaders_client_leaves(together, pool, stream):
    stack = together()
    request = fixed(sim="events=20;delay=300;pace=30", stream=stream, max_tokens=20)
    leader = Stream(stack, request)
    is_upstream(stack)
    others = in_background(pool, stack, request, 3)
    if stream:
        leader.wait_for(b"data: ")
    else:
        time.sleep(0.2)
    leader.leave()
    for answer in answers_of(others):
        assert result(answer) == "COALESCED"
        text = "".join(contents_of(data_of(answer.text))) if stream else answer.json()["choices"][0]["message"]["content"]
        assert text == "".join(words(20))
    assert upstream(stack) == 1
    assert result(ask(stack, request)) == "HIT"


def test_all_leave(together):
    stack = together()
    request = fixed(sim="events=50;pace=100", stream=True)
    streams = [Stream(stack, request)]
    is_upstream(stack)
    streams += [Stream(stack, request) for _ in range(3)]
    for stream in streams:
        stream.wait_for(b"data: ")
    for stream in streams:
        stream.leave()
    wait_until(lambda: stack.sim.last_request()["state"] == "aborted", "the end upstream", 5)
    assert upstream(stack) == 1
    assert result(ask(stack, {**request, "stream": False, "metadata": {"sim": "events=1"}})) == "MISS"


def test_one_that_waits_leaves(together, pool):
    stack = together()
    request = fixed(sim=SLOW)
    futures = in_background(pool, stack, request)
    is_upstream(stack)
    waiting = Stream(stack, request)
    futures += in_background(pool, stack, request)
    time.sleep(0.1)
    waiting.leave()
    assert [result(answer) for answer in answers_of(futures)] == ["MISS", "COALESCED"]
    assert upstream(stack) == 1


# ---- who fails ----------------------------------------------------------------------------------------------------------

FAILURES = {"an error": "status=500;delay=400", "rate limited": "status=429;delay=400", "dropped": "drop=1;delay=400",
            "half an answer": "delay=400;cut=50"}


@pytest.mark.parametrize("sim", FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_one_takes_over(together, pool, sim, stream):
    stack = together()
    stack.sim.queue(sim, SLOW)
    request = fixed(stream=stream, max_tokens=5)
    leader = in_background(pool, stack, request)
    is_upstream(stack)
    others = in_background(pool, stack, request, 5)
    [failed] = answers_of(leader)
    assert failed.status_code >= 400 or '"error"' in failed.text
    assert sorted(map(result, answers_of(others))) == ["COALESCED"] * 4 + ["MISS"]
    assert upstream(stack) == 2


def test_over_workers_one_takes_over(cached, pool):
    cached.sim.queue(*["status=429;delay=400;should-retry=false"], SLOW)
    request = fixed(max_tokens=5)
    futures = in_background(pool, cached, request, 12)
    answers = answers_of(futures)
    assert len([answer for answer in answers if answer.status_code == 429]) <= 1
    assert {result(answer) for answer in answers if answer.status_code == 200} <= {"MISS", "COALESCED", "HIT"}
    assert upstream(cached) == 2


def test_a_stream_that_is_cut_fails_for_all_who_heard_it(together, pool):
    stack = together()
    request = fixed(sim="events=20;pace=30;cut-event=8", **LIVE)
    answers = answers_of(in_background(pool, stack, request, 3))
    for answer in answers:
        assert "upstream_cut" in answer.text, answer.text
    assert upstream(stack) == 1
    assert result(ask(stack, {**request, "metadata": {"sim": "events=1"}})) == "MISS"


def test_a_refusal_that_all_would_get_is_shared(together, pool):
    stack = together()
    request = fixed(sim="status=400;delay=500")
    answers = answers_of(in_background(pool, stack, request, 4))
    assert [answer.status_code for answer in answers] == [400] * 4
    assert len({answer.text for answer in answers}) == 1
    assert upstream(stack) == 1


def test_a_killed_workers_requests_are_taken_over(make_cached, pool):
    cached = make_cached()
    cached.sim.queue("hang=head")
    request = fixed(max_tokens=5)
    workers = cached.sluice.workers()
    futures = in_background(pool, cached, request, 16)
    is_upstream(cached)
    time.sleep(0.3)
    [leader] = [pid for pid in workers if has_upstream_connection(pid, cached.sim.origin)]
    began = time.monotonic()
    os.kill(leader, signal.SIGKILL)
    answers = answers_of(futures)
    print(f"\n{time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 15
    assert {answer.status_code for answer in answers} <= {200, 500, 502, 503}
    assert any(answer.status_code == 200 for answer in answers)
    assert upstream(cached) == 2


def has_upstream_connection(pid, origin):
    """Whether a process holds an established TCP connection to the simulator's port."""
    port = f"{int(origin.rpartition(':')[2]):04X}"
    inodes = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{entry}")
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    with open(f"/proc/{pid}/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return any(row[9] in inodes and row[2].endswith(":" + port) and row[3] == "01" for row in rows)


# ---- the limit of the waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_waiting_has_a_limit(together, pool, workers):
    stack = together(CACHE__COALESCE_SECONDS=0.5, WORKERS=workers)
    request = fixed(sim="delay=2500")
    first = in_background(pool, stack, request)
    is_upstream(stack)
    others = in_background(pool, stack, {**request, "metadata": {}}, 3)
    began = time.monotonic()
    answers = answers_of(others)
    assert 0.2 < time.monotonic() - began < 1.5
    assert [result(answer) for answer in answers] == ["MISS"] * 3
    assert result(first[0].result()) == "MISS"
    assert upstream(stack) == 4


# ---- nothing is left -------------------------------------------------------------------------------------------------------


GROWTH_MAX = 1024 * 1024


def test_nothing_is_left(together, pool):
    stack = together()
    (worker,) = stack.sluice.workers()

    def one_round():
        stays, leaves = fixed(sim="events=5;pace=10", stream=True), fixed(sim="delay=10000")
        embedding = embeddings([unique(), unique()], sim="delay=40")
        clients = [Stream(stack, request) for request in (stays, leaves) for _ in range(3)]
        futures = in_background(pool, stack, stays, 3) + in_background(pool, stack, embedding, 4)
        time.sleep(0.1)
        for client in clients:
            client.leave()
        assert all(answer.status_code == 200 for answer in answers_of(futures))
        wait_until(lambda: stack.sim.stats()["active"] == 0, "the end of all requests upstream")

    for _ in range(3):
        one_round()
    descriptors = descriptors_of(worker)
    rounds, batches = (3, 1) if SANITIZED else (8, 4)
    grown = growth_of(worker, lambda: [one_round() for _ in range(rounds)], GROWTH_MAX, batches)
    wait_until(lambda: descriptors_of(worker) <= descriptors + 2, "the end of all descriptors")
    print(f"\ngrown by {grown // 1024} KiB")
    assert SANITIZED or grown <= GROWTH_MAX
