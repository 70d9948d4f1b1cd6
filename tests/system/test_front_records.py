"""What each web server really sends: the recorder in Sluice's place, with the configuration that deploy/ ships."""

import subprocess
import time

import httpx
import pytest

from harness import facts
from harness.cells import CELLS
from harness.front import FRONTS
from harness.process import clean_environment, wait_until
from harness.recorded import RecordedFront
from harness.tls import certificate


@pytest.fixture(scope="module", params=CELLS)
def recorded(request):
    front = RecordedFront(request.param)
    front.name = request.param
    yield front
    front.stop()


def now_us():
    return time.monotonic_ns() // 1000


def named(records, what):
    return [record for record in records if record["what"] == what]


def settled(recorded, since):
    """The records of a request that has been answered."""
    return wait_until(lambda: named(records := recorded.records(since), "answered") and records, "the answer")


def test_what_a_request_looks_like(recorded):
    since = now_us()
    recorded.http.post("/ai/v1/a%2Fb%20c?x=%2F", content=b"{}")
    records = settled(recorded, since)
    (params,) = named(records, "params")
    variables = params["variables"]
    facts.note(recorded.name, "variables", {name: variables.get(name) for name in ("SCRIPT_NAME", "PATH_INFO")})
    assert variables["REQUEST_URI"] == "/ai/v1/a%2Fb%20c?x=%2F"
    assert variables["REQUEST_METHOD"] == "POST"
    assert variables["CONTENT_LENGTH"] == "2"
    assert variables["HTTP_AUTHORIZATION"].startswith("Bearer ")
    assert variables["REMOTE_ADDR"] == "127.0.0.1"
    assert variables["HTTPS"] == "on"
    assert "HTTP_PROXY" not in variables or not variables["HTTP_PROXY"]


def test_connections(recorded):
    since = now_us()
    for _ in range(5):
        recorded.http.get("/v1/models")
    records = wait_until(lambda: len(named(found := recorded.records(since), "answered")) == 5 and found, "five answers")
    asked = {record["keep"] for record in named(records, "begin")}
    connections = len({record["connection"] for record in named(records, "begin")})
    facts.note(recorded.name, "connections", {"keep": sorted(asked), "for 5 requests": connections})
    if recorded.front.kept_connections:
        assert asked == {True} and connections < 5


def send_chunked(recorded):
    def pieces():
        for _ in range(4):
            yield b"x" * 1000
            time.sleep(0.15)

    since = now_us()
    recorded.http.post("/v1/files", content=pieces())
    return settled(recorded, since)


def test_a_chunked_body(recorded):
    records = send_chunked(recorded)
    (params,) = named(records, "params")
    body = named(records, "stdin")
    assert sum(record["length"] for record in body) == 4000
    assert [record["length"] for record in body].count(0) == 1
    facts.note(recorded.name, "chunked", {"CONTENT_LENGTH": params["variables"].get("CONTENT_LENGTH"),
                                          "while it comes": body[-1]["t"] - params["t"] > 300_000})


def test_a_body_of_unknown_length_over_http2(recorded):
    since = now_us()
    subprocess.run(["curl", "--silent", "--noproxy", "*", "--cacert", certificate().certificate, "--http2", "--request", "POST",
                    "--upload-file", "-", recorded.front.tls_origin + "/v1/files"], input=b"x" * 300_000,
                   capture_output=True, check=False, timeout=30, env=clean_environment())
    time.sleep(0.3)
    lengths = [record["length"] for record in named(recorded.records(since), "stdin")]
    facts.note(recorded.name, "unknown length over HTTP/2", {
        "bytes": sum(lengths), "ends within it": 0 in lengths[:-1], "arrives": bool(lengths)})
    if recorded.front.takes_unknown_length_over_http2:
        assert sum(lengths) == 300_000 and lengths.count(0) == 1


def test_how_a_departure_arrives(recorded):
    """The answer has begun and is silent; what comes on the connection after the client has gone?"""
    with httpx.Client(base_url=recorded.front.tls_origin, verify=certificate().context(), trust_env=False,
                      timeout=1) as client:
        client.get("/ready")
        try:
            with client.stream("GET", "/v1/x?early&events=1&pace=60000"):
                head_came = True
        except httpx.ReadTimeout:  # the server waits for the first byte of the body
            head_came = False
    left = now_us()
    time.sleep(2)
    after = [record["what"] for record in recorded.records(left - 200_000) if record["what"] in ("abort", "eof", "reset")]
    facts.note(recorded.name, "head without a body", head_came)
    facts.note(recorded.name, "departure as records", after)
    if recorded.front.sees_departure:
        assert head_came and after


def test_the_names_of_all_fronts_are_tested():
    assert set(CELLS) <= set(FRONTS)
