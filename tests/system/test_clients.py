"""The official clients get the same objects through Sluice as from the upstream itself, streaming and not."""

import asyncio

import pytest

from harness import clients, keys
from harness.bodies import TOOLS, chat
from harness.sse import contents_of, data_of, words
from harness.tls import certificate

CASES = {
    "plain": chat(),
    "long": chat(max_tokens=3000),
    "two choices": chat(n=2),
    "tools": chat(tools=TOOLS, tool_choice="required"),
    "one token": chat("events=1"),
    "numbers": chat(temperature=1e-3, seed=9007199254740993, top_p=1.0),
}

STREAMS = {
    "plain": chat(),
    "long": chat(max_tokens=3000),
    "two choices": chat(n=2),
    "tools": chat(tools=TOOLS, tool_choice="required"),
    "with usage": chat(stream_options={"include_usage": True}),
    "split in pieces": chat("split=7"),
    "no tokens": chat("events=0"),
    "crlf": chat("crlf=1"),
    "comments": chat("comment=1"),
    "paced": chat("events=5;pace=20"),
}

OTHER_CLIENTS = {"python 0.28": clients.python_028, "node": clients.node}

parametrize_cases = pytest.mark.parametrize("request_", CASES.values(), ids=CASES.keys())
parametrize_streams = pytest.mark.parametrize("request_", STREAMS.values(), ids=STREAMS.keys())


@parametrize_cases
def test_python_gets_the_same_answer(stack, request_):
    answer = stack.client().chat.completions.create(**request_)
    assert answer.model_dump() == stack.direct().chat.completions.create(**request_).model_dump()
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls


@parametrize_streams
def test_python_gets_the_same_stream(stack, request_):
    through = [chunk.model_dump() for chunk in stack.client().chat.completions.create(stream=True, **request_)]
    direct = [chunk.model_dump() for chunk in stack.direct().chat.completions.create(stream=True, **request_)]
    assert through == direct
    assert len(through) >= 2


@parametrize_cases
def test_async_python_gets_the_same_answer(stack, request_):
    async def ask():
        async with stack.async_client() as client:
            return await client.chat.completions.create(**request_)

    direct = stack.direct().chat.completions.create(**request_)
    assert asyncio.run(ask()).model_dump() == direct.model_dump()


@parametrize_streams
def test_async_python_gets_the_same_stream(stack, request_):
    async def ask():
        async with stack.async_client() as client:
            stream = await client.chat.completions.create(stream=True, **request_)
            return [chunk.model_dump() async for chunk in stream]

    direct = [chunk.model_dump() for chunk in stack.direct().chat.completions.create(stream=True, **request_)]
    assert asyncio.run(ask()) == direct


@pytest.mark.parametrize("ask", OTHER_CLIENTS.values(), ids=OTHER_CLIENTS.keys())
@pytest.mark.parametrize("case", ["plain", "tools", "two choices"])
def test_other_clients_get_the_same_answer(stack, ask, case):
    through = ask(stack.base_url, CASES[case])
    assert through == ask(stack.sim.base_url, CASES[case])
    assert len(through) == 1 and through[0]["object"] == "chat.completion"


@pytest.mark.parametrize("ask", OTHER_CLIENTS.values(), ids=OTHER_CLIENTS.keys())
@pytest.mark.parametrize("case", ["plain", "tools", "with usage", "split in pieces", "paced"])
def test_other_clients_get_the_same_stream(stack, ask, case):
    request = {**STREAMS[case], "stream": True}
    through = ask(stack.base_url, request)
    assert through == ask(stack.sim.base_url, request)
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in through)


@parametrize_cases
def test_curl_gets_the_same_bytes(stack, request_):
    assert clients.curl(stack.base_url, request_) == clients.curl(stack.sim.base_url, request_)


@parametrize_streams
def test_curl_gets_the_same_events(stack, request_):
    request = {**request_, "stream": True}
    through = data_of(clients.curl(stack.base_url, request))
    assert through == data_of(clients.curl(stack.sim.base_url, request))
    assert through[-1] == "[DONE]"


def test_the_events_are_those_of_the_request(stack):
    body = clients.curl(stack.base_url, {**chat("events=20"), "stream": True})
    assert contents_of(data_of(body)) == words(20)


def test_every_client_key_works(stack):
    for key in (keys.CLIENT, keys.OTHER_CLIENT):
        assert stack.client(key=key).chat.completions.create(**chat()).object == "chat.completion"


def test_a_connection_serves_request_after_request(stack):
    client = stack.client()
    answers = [client.chat.completions.create(**chat(max_tokens=i)) for i in range(1, 30)]
    assert [answer.usage.completion_tokens for answer in answers] == list(range(1, 30))


def test_upstream_connections_are_reused(stack):
    client = stack.client()
    for _ in range(5):
        client.chat.completions.create(**chat())
    before = stack.sim.stats()["connections_accepted"]
    for _ in range(20):
        client.chat.completions.create(**chat())
    assert stack.sim.stats()["connections_accepted"] - before <= 3


def test_http2_gives_the_same_events(stack):
    request = {**chat("events=5"), "stream": True}
    options = ["--http2", "--cacert", certificate().certificate]
    body = clients.curl(stack.front.tls_origin + "/v1", request, options=options)
    assert data_of(body) == data_of(clients.curl(stack.base_url, request))
