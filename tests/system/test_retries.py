"""Failures that another attempt mends, and those that it must not make worse: retries, the breaker, the pool of keys."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from harness import keys
from harness.bodies import chat
from harness.errors import error_of
from harness.process import wait_until
from harness.sim import Simulator
from harness.stack import Stack

FAST = {"UPSTREAM__RETRY_BASE_SECONDS": "0.002"}
FILE = {"files": {"file": ("a.jsonl", b"x" * 100)}, "data": {"purpose": "batch"}}
LARGE_FILE = {"files": {"file": ("a.jsonl", b"x" * 200_000)}, "data": {"purpose": "batch"}}


@pytest.fixture(scope="module")
def quick_stack(front):
    stack = Stack(front, **FAST)
    yield stack
    stack.stop()


@pytest.fixture
def quick(quick_stack):
    """Retries almost without pauses."""
    quick_stack.sim.reset()
    yield quick_stack
    # A success closes what a breaker has counted.
    quick_stack.sim.reset()
    assert quick_stack.post(json=chat()).status_code == 200


def many(ask, requests, at_once=8):
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(ask, range(requests)))


# What is tried again


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_passing_failure_is_not_seen(quick, status):
    quick.sim.queue(f"status={status}", f"status={status}", f"status={status}", "events=3")
    answer = quick.post(json=chat())
    assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 3)
    assert quick.sim.stats()["requests"] == 4
    assert {request["body_sha256"] for request in quick.sim.requests()} == {quick.sim.last_request()["body_sha256"]}


@pytest.mark.parametrize("how", ["cut=0", "cut=0;rst=1", "cut=40", "cut=40;rst=1"])
def test_a_broken_connection_is_tried_again(quick, how):
    quick.sim.queue(how, how)
    assert quick.post(json=chat()).status_code == 200
    assert quick.sim.stats()["requests"] == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 501])
def test_a_lasting_failure_is_not_tried_again(quick, status):
    quick.sim.queue(f"status={status}")
    assert quick.post(json=chat()).status_code == status
    assert quick.sim.stats()["requests"] == 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_client_is_told_when_all_attempts_failed(quick, stream):
    quick.sim.default("status=503")
    answer = quick.post(json=chat(stream=stream))
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "false")
    assert quick.sim.stats()["requests"] == 4


def test_attempts_do_not_multiply_with_those_of_the_client(quick):
    quick.sim.default("status=503")
    with pytest.raises(openai.InternalServerError):
        quick.client(max_retries=2).chat.completions.create(**chat())
    assert quick.sim.stats()["requests"] == 4


def test_one_more_retry_is_the_clients_when_the_proxy_makes_none(make_stack):
    stack = make_stack(UPSTREAM__MAX_RETRIES=0)
    stack.sim.queue("status=503;retry-after-ms=1")
    assert stack.client(max_retries=1).chat.completions.create(**chat()).object == "chat.completion"
    assert stack.sim.stats()["requests"] == 2


# What the upstream says about it


@pytest.mark.parametrize("said, seconds", [("retry-after-ms=300", 0.3), ("retry-after=1", 1), ("retry-after=0", 0)])
def test_retry_after_is_obeyed(quick, said, seconds):
    quick.sim.queue(f"status=429;{said}")
    began = time.monotonic()
    assert quick.post(json=chat()).status_code == 200
    assert seconds <= time.monotonic() - began < seconds + 0.9


@pytest.mark.parametrize("said, name", [("retry-after=11", "retry-after"), ("retry-after-ms=10500", "retry-after-ms")])
def test_a_long_retry_after_goes_to_the_client(quick, said, name):
    quick.sim.queue(f"status=429;{said}")
    began = time.monotonic()
    answer = quick.post(json=chat())
    assert (answer.status_code, answer.headers[name]) == (429, said.partition("=")[2])
    assert time.monotonic() - began < 1
    assert quick.sim.stats()["requests"] == 1


@pytest.mark.parametrize("how", ["status=503;should-retry=false", "status=429;type=insufficient_quota;code=insufficient_quota"])
def test_what_the_upstream_forbids_is_not_tried_again(quick, how):
    quick.sim.queue(how)
    answer = quick.post(json=chat())
    assert answer.status_code == int(how[7:10])
    assert quick.sim.stats()["requests"] == 1
    assert answer.headers.get("x-should-retry") in (None, "false")


def test_what_the_upstream_asks_for_is_tried_again(quick):
    quick.sim.queue("status=400;should-retry=true")
    assert quick.post(json=chat()).status_code == 200


def test_no_retry_begins_too_late(make_stack):
    stack = make_stack(UPSTREAM__RETRY_SECONDS="0.5")
    stack.sim.default("status=503;retry-after-ms=300")
    began = time.monotonic()
    answer = stack.post(json=chat())
    assert (answer.status_code, stack.sim.stats()["requests"]) == (503, 2)
    assert answer.headers["x-should-retry"] == "false"
    assert time.monotonic() - began < 1


# Bodies that cannot be sent again


def test_a_small_form_is_tried_again(quick):
    quick.sim.queue("status=503")
    assert quick.post("/v1/files", **FILE).status_code == 200
    first, second = quick.sim.requests()
    assert first["body_sha256"] == second["body_sha256"]


def test_a_streamed_body_is_never_sent_twice(quick):
    quick.sim.queue("status=503")
    answer = quick.post("/v1/files", **LARGE_FILE)
    assert (answer.status_code, quick.sim.stats()["requests"]) == (503, 1)
    assert answer.headers.get("x-should-retry") != "false"  # the client still has the body


def test_the_client_sends_its_large_file_again(quick):
    quick.sim.queue("status=503;retry-after-ms=1")
    made = quick.client(max_retries=1).files.create(file=("a", b"x" * 200_000), purpose="batch")
    assert made.bytes == 200_000 and quick.sim.stats()["requests"] == 2


# Once something has gone to the client


@pytest.mark.parametrize("how", ["cut-event=2", "cut-event=2;rst=1", "error-event=2;status=503"])
def test_a_stream_that_has_begun_is_not_tried_again(quick, how):
    with pytest.raises(openai.APIError):
        list(quick.client().chat.completions.create(**chat(f"events=9;pace=1;{how}", stream=True)))
    assert quick.sim.stats()["requests"] == 1


def test_a_large_answer_that_has_begun_is_not_tried_again(quick):
    with pytest.raises(openai.APIConnectionError):
        quick.client().files.content("file-1", extra_query={"sim": "size=300000;cut=250000"}).read()
    assert quick.sim.stats()["requests"] == 1


def test_nothing_is_tried_again_behind_a_comment(make_stack):
    stack = make_stack(STREAM__KEEPALIVE_SECONDS="0.1", **FAST)
    stack.sim.default("delay=300;status=503")
    with pytest.raises(openai.APIError):
        list(stack.client().chat.completions.create(**chat(stream=True)))
    assert stack.sim.stats()["requests"] == 1


# A bad day of the upstream


def test_three_failures_of_ten_are_hardly_seen(make_stack):
    stack = make_stack(WORKERS=2, **FAST)
    stack.sim.default("prob=0.3;status=503;seed=11")

    def ask(number):
        return stack.post(json={**chat(), "metadata": {}, "stream": number % 2 == 0}).status_code

    statuses = many(ask, 400)
    assert statuses.count(200) >= 0.97 * len(statuses)
    asked = stack.sim.stats()["requests"]
    assert 1.3 * len(statuses) < asked < 1.6 * len(statuses)  # 1 + 0.3 + 0.3² + 0.3³ = 1.417
    lines = wait_until(lambda: len(found := stack.sluice.request_lines(method="POST")) == 400 and found, "all log lines")
    assert max(line["attempts"] for line in lines) <= 4
    assert sum(line["attempts"] for line in lines) == asked


def unavailable(answer):
    return answer.status_code == 503 and error_of(answer)["code"] == "upstream_unavailable"


@pytest.mark.parametrize("failure", ["status=503", "cut=0;rst=1"])
def test_a_dead_upstream_is_left_alone(make_stack, failure):
    """The breaker opens within 20 failures; from then on there is one probe each time, and no retry."""
    stack = make_stack(WORKERS=2, UPSTREAM__BREAKER_SECONDS="0.4", **FAST)
    stack.sim.default(failure)
    many(lambda _: wait_until(lambda: unavailable(stack.post(json=chat())), "an open breaker", pause=0), 2, at_once=2)
    assert stack.sim.stats()["requests"] <= 20

    before, began = stack.sim.stats()["requests"], time.monotonic()
    answers = []
    while time.monotonic() - began < 2:
        answers += many(lambda _: stack.post(json=chat()), 8)
    probes = stack.sim.stats()["requests"] - before
    assert 3 <= probes <= 6, "one each 0.4 s"
    refused = [answer for answer in answers if unavailable(answer)]
    assert len(answers) - len(refused) <= probes
    assert max(answer.elapsed.total_seconds() for answer in refused) < 0.5
    for answer in refused:
        assert answer.headers["x-should-retry"] == "true"
        assert int(answer.headers["retry-after"]) >= 1 and int(answer.headers["retry-after-ms"]) >= 1

    stack.sim.default("")
    wait_until(lambda: stack.post(json=chat()).status_code == 200, "recovery", seconds=2, pause=0.05)
    assert many(lambda _: stack.post(json=chat()).status_code, 20) == [200] * 20


def test_failures_of_single_requests_do_not_open_it(quick):
    """What is the request's own fault says nothing about the upstream."""
    quick.sim.default("status=400")
    assert {quick.post(json=chat()).status_code for _ in range(30)} == {400}
    quick.sim.default("status=429;should-retry=false")
    assert {quick.post(json=chat()).status_code for _ in range(30)} == {429}
    assert quick.sim.stats()["requests"] == 60


# Several keys

KEY_A, KEY_B, KEY_C = (f"sk-pool-{letter * 20}" for letter in "abc")


@pytest.fixture
def pool(make_stack, tmp_path):
    """Starts a stack whose upstream takes these keys only, and which has three."""
    started = []

    def make(accepted, **settings):
        sim = Simulator(tmp_path, "--keys", ",".join(accepted))
        started.append(sim)
        stack = make_stack(OPENAI_BASE_URL=sim.base_url, OPENAI_API_KEY=f"{KEY_A},{KEY_B},{KEY_C}", **FAST, **settings)
        return stack, sim

    yield make
    for sim in started:
        sim.stop()


def used_keys(sim):
    return [request["headers"]["authorization"].removeprefix("Bearer ") for request in sim.requests(1000)]


def test_the_least_loaded_key_is_taken(pool):
    stack, sim = pool([KEY_A, KEY_B, KEY_C])
    assert many(lambda _: stack.post(json=chat("delay=400")).status_code, 9, at_once=9) == [200] * 9
    used = used_keys(sim)
    assert [used.count(key) for key in (KEY_A, KEY_B, KEY_C)] == [3, 3, 3]


def test_a_rejected_key_is_out(pool):
    stack, sim = pool([KEY_B, KEY_C], WORKERS=2)
    assert many(lambda _: stack.post(json=chat()).status_code, 40, at_once=4) == [200] * 40
    used = used_keys(sim)
    assert 1 <= used.count(KEY_A) <= 4 and len(used) == 40 + used.count(KEY_A)  # those that were under way at once
    sim.reset()
    assert stack.post(json=chat("delay=1")).status_code == 200
    assert KEY_A not in used_keys(sim)


def test_a_reload_brings_a_rejected_key_back(pool):
    stack, sim = pool([KEY_B, KEY_C])
    assert stack.post(json=chat()).status_code == 200
    assert used_keys(sim) == [KEY_A, KEY_B]
    stack.sluice.process.send(1)
    wait_until(lambda: stack.post(json=chat()).status_code == 200 and used_keys(sim).count(KEY_A) == 2, "the key")


def test_the_failure_of_the_last_key_is_told(pool):
    stack, sim = pool(["sk-none-of-these"])
    answer = stack.post(json=chat())
    assert (answer.status_code, error_of(answer)["code"]) == (401, "upstream_key_rejected")
    assert sorted(used_keys(sim)) == [KEY_A, KEY_B, KEY_C]
    assert stack.post(json=chat()).status_code == 401
    assert len(used_keys(sim)) == 3, "no key is left to ask with"


def test_a_limited_key_rests(pool):
    stack, sim = pool([KEY_A, KEY_B, KEY_C])
    sim.queue("status=429;retry-after=1")
    began = time.monotonic()
    assert stack.post(json=chat()).status_code == 200
    assert time.monotonic() - began < 0.5, "another key was at hand"
    assert used_keys(sim) == [KEY_A, KEY_B]
    for _ in range(10):
        assert stack.post(json=chat()).status_code == 200
    assert used_keys(sim).count(KEY_A) == 1
    time.sleep(max(0, began + 1.2 - time.monotonic()))
    many(lambda _: stack.post(json=chat("delay=100")), 3, at_once=3)
    assert used_keys(sim).count(KEY_A) == 2


def test_a_key_without_credit_gives_way_to_another(pool):
    stack, sim = pool([KEY_A, KEY_B, KEY_C])
    sim.queue("status=429;type=insufficient_quota;code=insufficient_quota")
    assert stack.post(json=chat()).status_code == 200
    assert used_keys(sim) == [KEY_A, KEY_B]


def test_when_all_keys_are_limited_their_wish_is_obeyed(pool):
    stack, sim = pool([KEY_A, KEY_B, KEY_C])
    sim.default("status=429;retry-after=30")
    answer = stack.post(json=chat())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert sorted(used_keys(sim)) == [KEY_A, KEY_B, KEY_C]


def test_a_mapped_client_has_a_key_of_its_own(pool):
    mapping = json.dumps({keys.MAPPED_CLIENT: keys.MAPPED_UPSTREAM})
    stack, sim = pool([KEY_A, keys.MAPPED_UPSTREAM], API_KEY_MAPPING=mapping)
    assert stack.post(json=chat(), key=keys.MAPPED_CLIENT).status_code == 200
    assert used_keys(sim) == [keys.MAPPED_UPSTREAM]
    sim.default("status=429")
    assert stack.post(json=chat(), key=keys.MAPPED_CLIENT).status_code == 429
    assert set(used_keys(sim)) == {keys.MAPPED_UPSTREAM}, "no other client's key is taken"
