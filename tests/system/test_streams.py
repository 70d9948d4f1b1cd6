"""Streams: each event at once, in order, to the end; and what happens when either side stops."""

import asyncio
import json
import time

import httpx
import openai
import pytest

from harness import clients
from harness.process import memory_of, wait_until
from harness.bodies import chat
from harness.sluice import SANITIZED
from harness.sse import contents_of, data_of, words

MIB = 1 << 20


def now_us():
    """The clock that the simulator writes into events with ts=1."""
    return time.monotonic_ns() // 1000


def test_each_event_arrives_before_the_next_is_sent(stack):
    """The exact delay is the bench's business; here the machine may be busy, so one event may be late."""
    sent, arrived = [], []
    for chunk in stack.client().chat.completions.create(stream=True, **chat("ts=1;events=12;pace=100")):
        if chunk.choices and chunk.choices[0].delta.content:
            arrived.append(now_us())
            sent.append(int(chunk.choices[0].delta.content))
    assert len(sent) == 12 and sent == sorted(sent)
    late = [i for i in range(11) if arrived[i] >= sent[i + 1]]
    assert len(late) <= 1, [(a - s) / 1000 for a, s in zip(arrived, sent, strict=True)]


def test_the_first_event_does_not_wait_for_the_second(stack):
    stream = stack.client().chat.completions.create(stream=True, **chat("ts=1;events=3;pace=700"))
    contents = (chunk.choices[0].delta.content for chunk in stream if chunk.choices)
    first = next(content for content in contents if content)
    assert now_us() - int(first) < 600_000
    stream.close()


def test_many_streams_at_once_are_complete_and_in_order(stack):
    streams, events = (50, 10) if SANITIZED else (200, 20)

    async def one(client, number):
        request = chat(f"events={events + number % 3};pace=20")
        stream = await client.chat.completions.create(stream=True, **request)
        return [chunk.choices[0].delta.content async for chunk in stream if chunk.choices[0].delta.content]

    async def all_of_them():
        async with stack.async_client(timeout=60) as client:
            return await asyncio.gather(*(one(client, number) for number in range(streams)))

    for number, texts in enumerate(asyncio.run(all_of_them())):
        assert texts == words(events + number % 3)
    assert stack.sim.stats()["completed"] == streams


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_a_large_event_passes(stack, size):
    request = {**chat(f"bigevent={size};events=2"), "stream": True}
    through, direct = (clients.curl(url, request) for url in (stack.base_url, stack.sim.base_url))
    assert data_of(through) == data_of(direct)


# The upstream stops


def cut_request(how):
    return {**chat(f"events=10;pace=5;{how}"), "stream": True}


@pytest.mark.parametrize("how", ["cut-event=4", "cut-event=4;rst=1"])
def test_a_cut_stream_ends_with_an_error(stack, how):
    events = data_of(clients.curl(stack.base_url, cut_request(how)))
    last = json.loads(events[-1])
    assert set(last["error"]) == {"message", "type", "param", "code"}, last
    assert all("error" not in json.loads(event) for event in events[:-1])
    assert len(events) >= 3


def test_python_raises_for_a_cut_stream(stack):
    texts = []
    with pytest.raises(openai.APIError):
        for chunk in stack.client().chat.completions.create(**cut_request("cut-event=4")):
            texts.append(chunk.choices[0].delta.content)
    assert len(texts) >= 3


@pytest.mark.parametrize("ask", [clients.python_028, clients.node], ids=["python 0.28", "node"])
def test_other_clients_raise_for_a_cut_stream(stack, ask):
    items = ask(stack.base_url, cut_request("cut-event=4"))
    assert "raised" in items[-1] and len(items) >= 3


def test_a_stream_cut_within_an_event_ends_with_an_error(stack):
    whole = clients.curl(stack.sim.base_url, {**chat("events=10"), "stream": True})
    events = data_of(clients.curl(stack.base_url, {**chat(f"events=10;cut={len(whole) // 2 + 30}"), "stream": True}))
    assert "error" in json.loads(events[-1])
    for event in events[:-1]:
        assert json.loads(event)["object"] == "chat.completion.chunk"


def test_an_error_event_of_the_upstream_arrives_as_it_is(stack):
    request = {**chat("events=10;error-event=3"), "stream": True}
    assert data_of(clients.curl(stack.base_url, request)) == data_of(clients.curl(stack.sim.base_url, request))


def test_a_stream_without_done_gets_there(stack):
    request = chat("events=5;nodone=1")
    texts = [chunk.choices[0].delta.content for chunk in stack.client().chat.completions.create(stream=True, **request)]
    assert [text for text in texts if text] == words(5)


def test_a_silent_upstream_ends_the_stream_with_an_error(make_stack):
    stack = make_stack(UPSTREAM__IDLE_SECONDS="0.5")
    began = time.monotonic()
    events = data_of(clients.curl(stack.base_url, {**chat("events=10;pace=9000"), "stream": True}))
    assert "error" in json.loads(events[-1]) and len(events) >= 2
    assert time.monotonic() - began < 4


# The client stops


def open_stream(stack, directives):
    """A connection of its own on which a stream has begun; closing the client closes it at once."""
    client = httpx.Client(trust_env=False, timeout=30)
    request = client.build_request("POST", f"{stack.base_url}/chat/completions",
                                   json={**chat(directives), "stream": True},
                                   headers={"Authorization": f"Bearer {stack.client().api_key}"})
    answer = client.send(request, stream=True)
    assert answer.status_code == 200
    return client, answer


@pytest.mark.parametrize("directives", ["events=1000;pace=50", "events=1000;pace=10000"],
                         ids=["while events come", "in a pause"])
def test_a_client_that_leaves_cancels_the_upstream(stack, directives):
    client, answer = open_stream(stack, directives)
    time.sleep(0.2)
    left = now_us()
    answer.close()
    client.close()
    request = wait_until(lambda: (seen := stack.sim.last_request())["state"] != "active" and seen, "the abort")
    assert request["state"] == "aborted"
    assert request["ended_us"] - left < 1_000_000


@pytest.mark.parametrize("directives, stream", [("delay=20000", False), ("delay=20000", True), ("first=20000", True)],
                         ids=["whole answer", "before the head", "before the first event"])
def test_a_client_that_leaves_before_the_answer_cancels_the_upstream(stack, directives, stream):
    headers = {"Authorization": f"Bearer {stack.client().api_key}"}
    with httpx.Client(base_url=stack.origin, trust_env=False, timeout=20) as client:
        # lighttpd does not watch a connection whose first request came together with it until an answer begins.
        client.get("/health")
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=chat(directives, stream=stream), headers=headers, timeout=0.5)
    left = now_us()
    request = wait_until(lambda: (seen := stack.sim.last_request())["state"] != "active" and seen, "the abort")
    assert request["state"] == "aborted"
    assert request["ended_us"] - left < 1_000_000


def test_a_slow_reader_holds_back_the_upstream(make_stack):
    events = 300_000  # about 80 MB
    stack = make_stack()
    (worker,) = stack.sluice.workers() or [stack.sluice.process.pid]
    stack.post(json={**chat("events=1000"), "stream": True})
    before = memory_of(worker)
    client, answer = open_stream(stack, f"events={events}")
    time.sleep(2)
    grown = memory_of(worker) - before
    sent = stack.sim.stats()["bytes_out"]
    assert grown < (64 if SANITIZED else 16) * MIB, f"{grown / MIB:.1f} MiB for one unread stream"
    assert sent < 40 * MIB, f"{sent / MIB:.1f} MiB were taken from the upstream for a client that reads nothing"
    if not SANITIZED:
        assert len(contents_of(data_of(answer.read()))) == events
    client.close()


def test_a_slow_reader_does_not_hold_back_others(stack):
    client, answer = open_stream(stack, "events=300000")
    began = time.monotonic()
    for _ in range(20):
        assert stack.post(json=chat()).status_code == 200
    assert time.monotonic() - began < 5
    answer.close()
    client.close()
