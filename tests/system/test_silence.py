"""A stream that is silent gets comment lines, and what may still be said behind them; the time limits, each with its own error."""

import json
import time

import openai
import pytest

from harness import clients, keys
from harness.bodies import chat
from harness.errors import error_of
from harness.sse import data_of, words
from harness.stack import Stack

COMMENT = b": keep-alive\n"
PERIOD = {"STREAM__KEEPALIVE_SECONDS": "0.2", "UPSTREAM__RETRY_BASE_SECONDS": "0.002"}


@pytest.fixture(scope="module")
def talking_stack(front):
    stack = Stack(front, WORKERS=1, **PERIOD)
    yield stack
    stack.stop()


@pytest.fixture
def talking(talking_stack):
    talking_stack.sim.reset()
    return talking_stack


SILENT = {
    "before the head": "delay=700;events=3",
    "before the first event": "first=700;events=3",
    "between events": "pace=500;events=3",
    "everywhere": "delay=300;first=300;pace=300;events=3",
    "within an event": "split=100;drip=60;events=3",
}


@pytest.mark.parametrize("how", SILENT.values(), ids=SILENT.keys())
def test_python_survives_comments(talking, how):
    chunks = [chunk.model_dump() for chunk in talking.client().chat.completions.create(stream=True, **chat(how))]
    assert chunks == [chunk.model_dump() for chunk in talking.direct().chat.completions.create(stream=True, **chat(how))]
    assert [c["choices"][0]["delta"]["content"] for c in chunks if c["choices"][0]["delta"].get("content")] == words(3)


@pytest.mark.parametrize("ask", [clients.python_028, clients.node], ids=["python 0.28", "node"])
def test_other_clients_survive_comments(talking, ask):
    request = {**chat(SILENT["everywhere"]), "stream": True}
    assert ask(talking.base_url, request) == ask(talking.sim.base_url, request)


def test_the_responses_client_survives_comments(talking):
    request = {"model": "m", "input": "Hi", "metadata": {"sim": SILENT["everywhere"]}}
    events = [event.type for event in talking.client().responses.create(stream=True, **request)]
    assert events == [event.type for event in talking.direct().responses.create(stream=True, **request)]


@pytest.mark.parametrize("how", SILENT.values(), ids=SILENT.keys())
def test_comments_stand_between_events_only(talking, how):
    """One newline each, never an empty event; without them the bytes are those of the upstream."""
    request = chat(how, stream=True)
    got = talking.post(json=request).content
    assert got.count(COMMENT) >= (1 if "drip" not in how else 0)
    for before in got.split(COMMENT)[:-1]:
        assert before == b"" or before.endswith(b"\n\n"), before[-40:]
    assert COMMENT + b"\n" not in got
    assert data_of(got.replace(COMMENT, b"")) == data_of(got)
    assert got.replace(COMMENT, b"") == talking.post(json=chat("events=3", stream=True)).content


def test_the_first_comment_waits_a_whole_period(talking):
    """A failure that comes quickly keeps its status."""
    answer = talking.post(json=chat("delay=120;status=400", stream=True))
    assert answer.status_code == 400


def test_an_answer_that_is_no_stream_gets_no_comments(talking):
    answer = talking.post(json=chat("delay=700"))
    assert answer.json()["object"] == "chat.completion" and COMMENT not in answer.content


def test_comments_can_be_switched_off(make_stack):
    stack = make_stack(STREAM__KEEPALIVE_SECONDS=0)
    answer = stack.post(json=chat("delay=500;events=2", stream=True))
    assert answer.headers["openai-version"] and COMMENT not in answer.content


# Failures behind a comment


BEHIND = {
    "an error of the upstream": ("status=400", None),
    "an error that would be retried": ("status=503", None),
    "half an error": ("status=503;badjson=1", "upstream_invalid_response"),
    "no error at all": ("status=201;gzip=1", "upstream_invalid_response"),
    "a rejected key": ("status=401", "upstream_key_rejected"),
    "closed": ("drop=1", "upstream_unreachable"),
    "cut": ("cut=0", "upstream_cut"),
    "garbage": ("garbage=1", "upstream_invalid_response"),
}


@pytest.mark.parametrize("how, code", BEHIND.values(), ids=BEHIND.keys())
def test_a_failure_behind_a_comment_is_an_event(talking, how, code):
    request = chat(f"delay=350;{how}", stream=True)
    answer = talking.post(json=request)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content.startswith(COMMENT)
    (event,) = data_of(answer.content)
    error = json.loads(event)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code is None or error["code"] == code
    with pytest.raises(openai.APIError) as raised:
        list(talking.client().chat.completions.create(**request))
    assert raised.value.message == error["message"]


@pytest.mark.parametrize("how", ["status=400", "drop=1"])
def test_the_responses_client_is_told_too(talking, how):
    request = {"model": "m", "input": "Hi", "metadata": {"sim": f"delay=350;{how}"}}
    try:
        events = list(talking.client().responses.create(stream=True, **request))
    except openai.APIError as error:
        assert error.message
    else:
        assert events[-1].type == "error" and events[-1].message


@pytest.mark.parametrize("ask", [clients.python_028, clients.node], ids=["python 0.28", "node"])
def test_other_clients_raise_behind_a_comment(talking, ask):
    (item,) = ask(talking.base_url, {**chat("delay=350;status=400"), "stream": True})
    assert "raised" in item


def test_a_browser_elsewhere_may_read_comments_too(make_stack):
    stack = make_stack(CORS__ALLOW_ORIGINS="*", **PERIOD)
    answer = stack.post(json=chat("delay=350", stream=True), headers={"Origin": "https://a.example"})
    assert answer.content.startswith(COMMENT)
    assert answer.headers["access-control-allow-origin"] == "https://a.example"


# Time limits: (option, value, what the upstream does, status or 200 for an event, code, the log's name)

LIMITS = [
    ("UPSTREAM__FIRST_BYTE_SECONDS", "0.5", "hang=head", 504, "upstream_timeout", "upstream_first_byte_timeout"),
    ("UPSTREAM__IDLE_SECONDS", "0.5", "hang=body", 504, "upstream_idle_timeout", "upstream_idle_timeout"),
    ("UPSTREAM__IDLE_SECONDS", "0.5", "events=5;pace=60000", 200, "upstream_idle_timeout", "upstream_idle_timeout"),
    ("UPSTREAM__TOTAL_SECONDS", "0.7", "hang=head", 504, "upstream_total_timeout", "upstream_total_timeout"),
    ("UPSTREAM__TOTAL_SECONDS", "0.7", "events=100;pace=50", 200, "upstream_total_timeout", "upstream_total_timeout"),
]


@pytest.mark.parametrize("option, value, how, status, code, reason", LIMITS)
def test_a_time_limit(make_stack, option, value, how, status, code, reason):
    stack = make_stack(**{option: value, "UPSTREAM__MAX_RETRIES": 0})
    began = time.monotonic()
    answer = stack.post(json=chat(how, stream=True))
    took = time.monotonic() - began
    error = json.loads(data_of(answer.content)[-1])["error"] if status == 200 else error_of(answer)
    assert (answer.status_code, error["code"]) == (status, code)
    assert float(value) <= took < float(value) + 0.6
    assert stack.sluice.wait_for_line(error=reason)["error"] == reason
    assert stack.sim.stats()["active"] == 0, "the upstream is left alone"


def test_a_limit_of_idle_time_does_not_end_what_goes_on(make_stack):
    stack = make_stack(UPSTREAM__IDLE_SECONDS="0.4", UPSTREAM__FIRST_BYTE_SECONDS="0.4")
    answer = stack.post(json=chat("events=8;pace=150", stream=True))
    assert data_of(answer.content)[-1] == "[DONE]"


def test_a_client_that_reads_slowly_is_not_the_upstreams_fault(make_stack):
    stack = make_stack(UPSTREAM__IDLE_SECONDS="0.4")
    with stack.http.stream("GET", "/v1/files/file-1/content?sim=size%3D20000000",
                           headers={"Authorization": f"Bearer {keys.CLIENT}"}) as answer:
        pieces = answer.iter_raw(100_000)
        got = len(next(pieces))
        time.sleep(1.2)
        assert got + sum(map(len, pieces)) == 20_000_000


def test_the_limits_count_from_each_attempt(make_stack):
    stack = make_stack(UPSTREAM__FIRST_BYTE_SECONDS="0.6", UPSTREAM__RETRY_BASE_SECONDS="0.001")
    stack.sim.queue("delay=400;status=503", "delay=400;status=503", "events=1")
    assert stack.post(json=chat()).status_code == 200
