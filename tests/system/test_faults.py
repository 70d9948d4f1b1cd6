"""An upstream that fails in every way there is: each ends as docs/errors.md says, and nothing is left of it."""

import json
import re
import subprocess
import time

import openai
import pytest

from harness import keys
from harness.bodies import MESSAGES, chat
from harness.errors import error_of
from harness.process import descriptors_of, free_port, growth_of, wait_until
from harness.sim import Simulator
from harness.sluice import SANITIZED
from harness.sse import data_of
from harness.stack import Stack

IMPATIENT = {"UPSTREAM__FIRST_BYTE_SECONDS": "0.4", "UPSTREAM__IDLE_SECONDS": "0.4", "UPSTREAM__TOTAL_SECONDS": "1.5",
             "UPSTREAM__MAX_RETRIES": 0, "WORKERS": 1}


@pytest.fixture(scope="module")
def impatient_stack(front):
    stack = Stack(front, **IMPATIENT)
    yield stack
    stack.stop()


@pytest.fixture
def impatient(impatient_stack):
    """Short time limits, no retries. A good request at the end closes what the breaker has counted."""
    impatient_stack.sim.reset()
    yield impatient_stack
    impatient_stack.sim.reset()
    assert impatient_stack.post(json=chat()).status_code == 200


# name: (directives, status, code, the log's name of it)
UNREACHABLE = (502, "upstream_unreachable", "upstream_unreachable")
CUT = (502, "upstream_cut", "upstream_cut")
GARBAGE = (502, "upstream_invalid_response", "upstream_garbage")
LATE = (504, "upstream_timeout", "upstream_first_byte_timeout")
SILENT = (504, "upstream_idle_timeout", "upstream_idle_timeout")
LONG = (504, "upstream_total_timeout", "upstream_total_timeout")

FAULTS = {
    "closed without a head": ("drop=1", *UNREACHABLE),
    "reset without a head": ("drop=1;rst=1", *UNREACHABLE),
    "closed after the head": ("cut=0", *CUT),
    "reset after the head": ("cut=0;rst=1", *CUT),
    "closed in the body": ("cut=100", *CUT),
    "reset in the body": ("cut=100;rst=1", *CUT),
    "silent before the head": ("hang=head", *LATE),
    "silent in the head": ("slow-head=100000", *LATE),
    "silent after the head": ("hang=body", *SILENT),
    "silent in the body": ("drip=60000;split=100", *SILENT),
    "a slow drip": ("drip=100;split=10", *LONG),
    "garbage": ("garbage=1", *GARBAGE),
    "100,000 headers": ("headers=100000", *GARBAGE),
    "an endless head": ("endless-header=1", *GARBAGE),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("how, status, code, reason", FAULTS.values(), ids=FAULTS.keys())
def test_an_answer_that_does_not_come(impatient, how, status, code, reason, stream):
    name = f"fault-{how}-{stream}".translate(str.maketrans("=;", "--"))
    answer = impatient.post(json=chat(how, stream=stream), headers={"X-Request-ID": name})
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["code"], error["param"]) == (status, "server_error", code, None)
    line = impatient.sluice.wait_for_line(request_id=name)
    assert (line["end"], line["error"], line["attempts"], line["level"]) == ("upstream_failed", reason, 1, "warning")


STREAM_FAULTS = {
    "closed": ("cut-event=3", *CUT),
    "reset": ("cut-event=3;rst=1", *CUT),
    "silent": ("pace=60000;events=9", *SILENT),
    "a slow drip": ("pace=100;events=1000", *LONG),
    "an event beyond measure": ("bigevent=5000000", *GARBAGE),
}


@pytest.mark.parametrize("how, status, code, reason", STREAM_FAULTS.values(), ids=STREAM_FAULTS.keys())
def test_a_stream_that_fails_in_its_middle(impatient, how, status, code, reason):
    name = f"middle-{how}".translate(str.maketrans("=;", "--"))
    answer = impatient.post(json=chat(how, stream=True), headers={"X-Request-ID": name})
    events = [json.loads(event) for event in data_of(answer.content)]
    assert answer.status_code == 200 and events[-1]["error"]["code"] == code
    assert all("error" not in event for event in events[:-1])
    line = impatient.sluice.wait_for_line(request_id=name)
    assert (line["end"], line["error"], line["events"]) == ("cut", reason, len(events) - 1)


@pytest.mark.parametrize("how, code", [("cut-event=6", "upstream_cut"), ("cut-event=6;rst=1", "upstream_cut"),
                                       ("pace=60000", "upstream_idle_timeout")])
def test_a_typed_stream_that_fails_in_its_middle(impatient, how, code):
    """The Responses API's own form of an error event, as its clients know it."""
    request = {"model": "gpt-4o", "input": "Hi", "metadata": {"sim": how}}
    events = []
    try:
        for event in impatient.client().responses.create(stream=True, **request):
            events.append(event)
    except openai.APIError as error:
        assert error.code == code
    else:
        assert (events[-1].type, events[-1].code) == ("error", code)
        numbers = [event.sequence_number for event in events]
        assert numbers == list(range(len(numbers)))
    assert len(events) >= 4 and events[0].type == "response.created"


def test_a_large_answer_that_is_cut_is_seen_to_be_cut(impatient):
    with pytest.raises(openai.APIConnectionError):
        impatient.client().files.content("file-1", extra_query={"sim": "size=500000;cut=300000"}).read()
    impatient.sluice.wait_for_line(path="/v1/files/file-1/content", end="cut", error="upstream_cut")


# What passes as it is

AS_IT_IS = ["wrong-length=-5", "badjson=1", "nodone=1", "status=301", "headers=1000", "drip=1;split=100", "status=503;retry-after=30", "comment=1;crlf=1",
            "gzip=1", "error-event=2"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("how", AS_IT_IS)
def test_an_odd_answer_passes_as_it_is(impatient, how, stream):
    request = chat(how, stream=stream, stream_options={"include_usage": True}) if stream else chat(how)
    through = impatient.post(json=request)
    direct = impatient.http.post(f"{impatient.sim.base_url}/chat/completions", json=request)
    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    assert through.headers.get("content-encoding") == direct.headers.get("content-encoding")


def test_an_answer_that_is_longer_than_it_said_is_cut_off(impatient):
    answer = impatient.post(json=chat("wrong-length=5"))
    assert (answer.status_code, error_of(answer)["code"]) == (502, "upstream_cut")


# Faults of the connection


@pytest.mark.parametrize("stream", [False, True])
def test_refused(make_stack, stream):
    stack = make_stack(OPENAI_BASE_URL=f"http://127.0.0.1:{free_port()}/v1", **IMPATIENT)
    answer = stack.post(json=chat(stream=stream))
    assert (answer.status_code, error_of(answer)["code"]) == (502, "upstream_unreachable")
    assert stack.sluice.wait_for_line(error="upstream_unreachable")["detail"]


def test_no_answer_to_a_connection(make_stack):
    """An address of TEST-NET-1, where nobody is: either it is refused at once, or nothing ever comes back."""
    stack = make_stack(OPENAI_BASE_URL="http://192.0.2.1:9/v1", UPSTREAM__CONNECT_SECONDS="0.3", UPSTREAM__MAX_RETRIES=0)
    began = time.monotonic()
    answer = stack.post(json=chat())
    assert (answer.status_code, error_of(answer)["code"]) in [(504, "upstream_connect_timeout"), (502, "upstream_unreachable")]
    assert time.monotonic() - began < 3


@pytest.fixture
def self_signed(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )
    sim = Simulator(tmp_path, "--tls-cert", certificate, "--tls-key", key, scheme="https")
    yield sim
    sim.stop()


def test_a_certificate_that_nobody_vouches_for(make_stack, self_signed):
    stack = make_stack(OPENAI_BASE_URL=self_signed.base_url, **IMPATIENT)
    answer = stack.post(json=chat())
    assert (answer.status_code, error_of(answer)["code"]) == (502, "upstream_tls_failed")
    stack.sluice.wait_for_line(error="upstream_tls")
    assert self_signed.stats()["requests"] == 0


def test_no_tls_where_it_should_be(make_stack, impatient):
    """The simulator waits for HTTP, and says nothing: the handshake belongs to the time for connecting."""
    stack = make_stack(OPENAI_BASE_URL=impatient.sim.base_url.replace("http:", "https:"), UPSTREAM__MAX_RETRIES=0,
                       UPSTREAM__CONNECT_SECONDS="0.3")
    answer = stack.post(json=chat())
    assert (answer.status_code, error_of(answer)["code"]) == (504, "upstream_connect_timeout")
    stack.sluice.wait_for_line(error="upstream_connect_timeout")


# Cut and split at every byte


def short_stream(how, **fields):
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True,
            "metadata": {"sim": f"events=1;{how}"}, **fields}


def short_response(how):
    return {"model": "m", "input": "Hi", "stream": True, "metadata": {"sim": f"events=1;{how}"}}


STREAMS = {"chat": ("/v1/chat/completions", short_stream, 1), "responses": ("/v1/responses", short_response, 7)}


def blocks_of(body):
    assert body.endswith(b"\n\n"), body[-80:]
    return body.split(b"\n\n")[:-1]


def whole_stream(stack, path, make):
    """The stream as it is upstream, with the generated id of a response left out of the comparison."""
    body = stack.post(path, json=make("")).content
    assert len(blocks_of(body)) >= 4
    return body


def without_id(body):
    return re.sub(rb"resp_sim[0-9a-f]+", b"resp_", body)


@pytest.mark.parametrize("how", ["", ";rst=1"], ids=["closed", "reset"])
@pytest.mark.parametrize("path, make, step", STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_cut_at_each_byte(impatient, path, make, step, how):
    """Whole events, each once, and then an error: never silence, never a second beginning."""
    whole = without_id(whole_stream(impatient, path, make))
    expected = blocks_of(whole)
    last = len(impatient.http.post(f"{impatient.sim.origin}{path}", json=make("")).content)
    for cut in range(0, last + 1, step * (5 if SANITIZED or how else 1)):
        answer = impatient.post(path, json=make(f"cut={cut}{how}"))
        if answer.status_code == 502:
            assert error_of(answer)["code"] == "upstream_cut"
            assert cut < 1000, "no event was whole"
        else:
            got = blocks_of(without_id(answer.content))
            if got != expected:
                assert got[:-1] == expected[:len(got) - 1], cut
                assert b'"code":"upstream_cut"' in got[-1], cut
        if cut % 10 == 0:
            impatient.post(json=chat())  # the breaker counts failures in a row


def objects_of(client, make):
    request = make("")
    if "input" in request:
        return [event.model_dump(exclude={"response"}) for event in client.responses.create(**request)]
    return [chunk.model_dump() for chunk in client.chat.completions.create(**request)]


@pytest.mark.parametrize("ends", ["", "crlf=1;", "comment=1;"], ids=["lf", "crlf", "comments"])
@pytest.mark.parametrize("path, make, step", STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_split_at_each_byte(impatient, path, make, step, ends):
    """The same events, and for the official client the same objects, wherever its pieces end."""
    client = impatient.client()
    expected = objects_of(client, lambda _: make(ends))
    length = len(impatient.post(path, json=make(ends)).content)
    step = step * (20 if SANITIZED else 4 if ends else 1)
    for size in range(1, length + 1, step):
        assert objects_of(client, lambda _, size=size: make(f"{ends}split={size}")) == expected, size


# Nothing is left

GROWTH_MAX = 256 * 1024
"""Of a worker, in some rounds: less than half a KiB a request."""
ROUND = ["", "drop=1", "drop=1;rst=1", "cut=0", "cut=150", "cut=400;rst=1", "garbage=1", "headers=100000",
         "endless-header=1", "wrong-length=5", "badjson=1", "gzip=1", "status=500", "status=401", "status=429", "split=3",
         "cut-event=2", "error-event=1", "bigevent=300000", ""]


def one_round(stack):
    for how in ROUND:
        for stream in (False, True):
            stack.post(json=chat(how, stream=stream))
    stack.post("/v1/files", files={"file": ("a", b"x" * 200_000)}, params={"sim": "status=500"})
    stack.post("/v1/files/file-1/content", method="GET", params={"sim": "size=300000"})


def test_nothing_is_left_of_many_faults(make_stack):
    stack = make_stack(**{**IMPATIENT, "UPSTREAM__MAX_RETRIES": 1, "UPSTREAM__RETRY_BASE_SECONDS": "0.001"})
    (worker,) = stack.sluice.workers()
    for _ in range(3):
        one_round(stack)
    descriptors = descriptors_of(worker)
    rounds = 3 if SANITIZED else 13
    grown = growth_of(worker, lambda: [one_round(stack) for _ in range(rounds)], GROWTH_MAX, batches=1 if SANITIZED else 6)
    print(f"\n{rounds * (2 * len(ROUND) + 2)} requests: grown by {grown // 1024} KiB, "
          f"{descriptors_of(worker) - descriptors} descriptors")
    assert descriptors_of(worker) <= descriptors + 1  # an idle connection to the upstream more or less
    assert SANITIZED or grown <= GROWTH_MAX
    wait_until(lambda: stack.sim.stats()["active"] == 0, "the end of all requests upstream")
    assert stack.sim.stats()["connections_open"] <= 2


def test_the_messages_reach_the_upstream_whole_after_all_that(impatient):
    impatient.client().chat.completions.create(model="m", messages=MESSAGES)
    assert json.loads(impatient.sim.last_request()["body"])["messages"] == MESSAGES
    assert impatient.sim.last_request()["headers"]["authorization"] == f"Bearer {keys.UPSTREAM}"
