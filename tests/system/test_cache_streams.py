"""Streams and whole answers from one entry: the official clients' own helpers make the same objects of both."""

import json

import httpx
import pytest

from harness import clients, keys
from harness.bodies import TOOLS
from harness.caching import ask, fixed, result, results, unique, upstream
from harness.sse import contents_of, data_of, words

FORMS = {
    "plain": {"max_tokens": 12},
    "one token": {"max_tokens": 1},
    "long": {"max_tokens": 2000},
    "two choices": {"n": 2},
    "tools": {"tools": TOOLS, "tool_choice": "required"},
    "with usage": {"stream_options": {"include_usage": True}},
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
FEW = ["plain", "two choices", "tools", "with usage"]
few_forms = pytest.mark.parametrize("form", [FORMS[name] for name in FEW], ids=FEW)
"""For the clients that take a second to start."""


def whole_of(request):
    """The same request without what only a stream may say."""
    return {name: value for name, value in request.items() if name not in ("stream", "stream_options")}


def final(stack, request, expected):
    """What the official client's helper makes of a stream."""
    with stack.client().chat.completions.stream(**request) as stream:
        assert stream._raw_stream.response.headers["x-cache"] == expected
        for _ in stream:
            pass
        return stream.get_final_completion()


def compare(streamed, whole, request):
    """Object for object. A stream tells its usage only where it was asked for."""
    streamed, whole = streamed.model_dump(exclude_none=True), whole.model_dump(exclude_none=True)
    if "stream_options" not in request:
        whole.pop("usage", None)
        streamed.pop("usage", None)
    for choice in streamed["choices"] + whole["choices"]:
        choice["message"].pop("parsed", None)
        assert choice["message"].pop("annotations", []) == [], "the API leaves it out of streams"
        for call in choice["message"].get("tool_calls", []):
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
    assert streamed == whole


@forms
def test_a_whole_answer_is_streamed(cached, form):
    request = fixed(**form)
    whole = cached.client().chat.completions.create(**whole_of(request))
    compare(final(cached, request, "HIT"), whole, request)
    compare(final(cached, request, "HIT"), cached.direct().chat.completions.create(**whole_of(request)), request)
    assert upstream(cached) == 2


@forms
def test_a_finished_stream_is_given_whole(cached, form):
    request = fixed(**form)
    streamed = final(cached, request, "MISS")
    raw = cached.client().chat.completions.with_raw_response.create(**whole_of(request))
    assert raw.headers["x-cache"] == "HIT"
    compare(streamed, raw.parse(), request)
    assert raw.parse().usage.total_tokens > 0, "usage is kept, whether or not the client had asked for it"
    compare(final(cached, request, "HIT"), raw.parse(), request)
    assert upstream(cached) == 1


@few_forms
def test_node_gets_the_same(cached, form):
    """The Node client's streaming helper; the events, of which it gives each; and the whole answer."""
    request = fixed(**form)
    first, helper, events, whole = clients.node(cached.base_url, [
        {"call": "chat.completions.stream", "arguments": [request]},
        {"call": "chat.completions.stream", "arguments": [request]},
        {"call": "chat.completions.create", "arguments": [{**request, "stream": True}]},
        {"call": "chat.completions.create", "arguments": [whole_of(request)]},
    ])
    assert first[-1] == helper[-1]
    assert [choice["message"].get("content") for choice in helper[-1]["choices"]] == [
        choice["message"].get("content") for choice in whole[0]["choices"]]
    assert [choice["finish_reason"] for choice in helper[-1]["choices"]] == [
        choice["finish_reason"] for choice in whole[0]["choices"]]
    assert [call["function"] for call in helper[-1]["choices"][0]["message"].get("tool_calls") or []] == [
        call["function"] for call in whole[0]["choices"][0]["message"].get("tool_calls") or []]
    assert all(event["object"] == "chat.completion.chunk" for event in events)
    assert ("usage" in events[-1] and bool(events[-1]["usage"])) == ("stream_options" in request)
    assert upstream(cached) == 1


@few_forms
def test_python_028_gets_the_same(cached, form):
    request = fixed(**form)
    [whole] = clients.python_028(cached.base_url, whole_of(request))
    events = clients.python_028(cached.base_url, {**request, "stream": True})
    assert all(event["id"] == whole["id"] and event["model"] == whole["model"] for event in events)
    for choice in whole["choices"]:
        mine = [part for event in events for part in event["choices"] if part["index"] == choice["index"]]
        assert mine[0]["delta"]["role"] == "assistant"
        text = "".join(part["delta"].get("content") or "" for part in mine)
        assert text == (choice["message"]["content"] or "")
        assert [part["finish_reason"] for part in mine if part["finish_reason"]] == [choice["finish_reason"]]
    if "stream_options" in request:
        assert events[-1]["choices"] == [] and events[-1]["usage"] == whole["usage"]
    assert upstream(cached) == 1


def test_a_stream_from_the_cache_looks_like_the_apis(cached):
    request = fixed(max_tokens=5)
    whole = ask(cached, request).json()
    answer = ask(cached, {**request, "stream": True})
    assert result(answer) == "HIT" and int(answer.headers["age"]) >= 0
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = data_of(answer.content)
    assert "".join(contents_of(events)) == "".join(words(5))
    chunks = [json.loads(event) for event in events[:-1]]
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {
        (whole["id"], whole["created"], whole["model"])}
    assert not any(chunk.get("usage") for chunk in chunks)


def test_completions_too(cached):
    request = {"model": "gpt-3.5-turbo-instruct", "prompt": unique(), "temperature": 0, "seed": 1, "max_tokens": 6}
    streamed = [chunk.choices[0].text for chunk in cached.client().completions.create(**request, stream=True) if chunk.choices]
    raw = cached.client().completions.with_raw_response.create(**request)
    assert raw.headers["x-cache"] == "HIT"
    assert raw.parse().choices[0].text == "".join(streamed)
    again = [chunk.choices[0].text for chunk in cached.client().completions.create(**request, stream=True) if chunk.choices]
    assert "".join(again) == "".join(streamed)


UNFINISHED = {
    "cut": "cut-event=3",
    "reset": "cut-event=3;rst=1",
    "an error event": "error-event=3",
    "no end": "nodone=1",
}


@pytest.mark.parametrize("sim", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_an_unfinished_stream_is_not_kept(cached, sim):
    text = unique()
    answer = ask(cached, fixed(text, sim + ";events=6", stream=True, max_tokens=6))
    assert '"error"' in answer.text or sim.startswith("nodone")
    assert results(cached, fixed(text, max_tokens=6), fixed(text, max_tokens=6)) == ["MISS", "HIT"]


def test_a_stream_that_its_client_left_is_not_kept(cached):
    text = unique()
    headers = {"Authorization": f"Bearer {keys.CLIENT}"}
    with httpx.Client(base_url=cached.origin, trust_env=False, headers=headers) as client:
        request = fixed(text, "events=50;pace=20", stream=True)
        with client.stream("POST", "/v1/chat/completions", json=request) as answer:
            next(answer.iter_bytes())
    cached.sluice.wait_for_line(end="client_left", cache="miss")
    assert results(cached, fixed(text)) == ["MISS"]


def test_an_answer_with_comments_and_other_line_ends_is_kept(cached):
    for sim in ("comment=1", "crlf=1", "split=3"):
        text = unique()
        first = ask(cached, fixed(text, f"events=9;{sim}", stream=True, max_tokens=9))
        second = ask(cached, fixed(text, stream=True, max_tokens=9))
        assert [result(first), result(second)] == ["MISS", "HIT"], sim
        assert "".join(contents_of(data_of(first.text))) == "".join(contents_of(data_of(second.text)))
