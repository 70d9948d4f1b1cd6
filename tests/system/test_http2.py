"""HTTP/2 to the upstream, where it offers it: for what is held, multiplexed; streams and large bodies go over HTTP/1.1."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from harness import keys
from harness.bodies import chat
from harness.errors import error_of
from harness.process import wait_until
from harness.secure_upstream import SecureUpstream
from harness.sim import Simulator
from harness.tls import certificate

SETTINGS = {"WORKERS": 1, "UPSTREAM__RETRY_BASE_SECONDS": "0.002"}


@pytest.fixture
def secure(make_stack, tmp_path):
    """Starts a stack with such an upstream; gives stack, simulator and upstream."""
    started = []

    def make(http2=True, ready=True, **settings):
        sim = Simulator(tmp_path)
        upstream = SecureUpstream(sim, http2)
        started.extend([upstream, sim])
        values = {"OPENAI_BASE_URL": upstream.base_url, "UPSTREAM__CA_FILE": certificate().certificate, **SETTINGS}
        stack = make_stack(**{**values, **settings})
        # A stream, so that the worker has no HTTP/2 connection yet.
        wait_until(lambda: not ready or stack.post("/v1/models", method="GET").status_code == 200, "the upstream")
        return stack, sim, upstream

    yield make
    for part in started:
        part.stop()


def many_at_once(stack, requests):
    async def ask(client):
        return (await client.chat.completions.create(**chat("delay=300"))).object

    async def all_of_them():
        async with stack.async_client() as client:
            return await asyncio.gather(*(ask(client) for _ in range(requests)))

    assert asyncio.run(all_of_them()) == ["chat.completion"] * requests


def ways_of(upstream, path):
    return [(protocol, connection) for protocol, connection, _, target, _ in upstream.ways() if target.startswith(path)]


def test_which_request_goes_which_way(secure):
    stack, _, upstream = secure()
    client = stack.client()
    client.chat.completions.create(**chat())
    list(client.completions.create(model="m", prompt="a", stream=True))
    client.embeddings.create(model="m", input="a")
    client.files.create(file=("a", b"x" * 200_000), purpose="batch")
    client.files.content("file-1").read()
    client.chat.completions.create(**chat())
    protocols = {path: {protocol for protocol, _ in ways_of(upstream, path)} for path in (
        "/v1/chat", "/v1/completions", "/v1/embeddings", "/v1/files")}
    assert protocols == {"/v1/chat": {"HTTP/2.0"}, "/v1/completions": {"HTTP/1.1"}, "/v1/embeddings": {"HTTP/1.1"},
                         "/v1/files": {"HTTP/1.1"}}


def test_requests_share_a_connection(secure):
    stack, sim, upstream = secure()
    stack.post(json=chat())
    began = time.monotonic()
    many_at_once(stack, 40)
    assert time.monotonic() - began < 3, "they ran at once"
    assert {protocol for protocol, _ in ways_of(upstream, "/v1/chat")} == {"HTTP/2.0"}
    assert len({connection for _, connection in ways_of(upstream, "/v1/chat")}) == 1
    assert sim.stats()["completed"] >= 41


def test_so_do_the_first_ones(secure):
    """Forty at once on a fresh worker wait for one handshake instead of making forty."""
    stack, _, upstream = secure()
    many_at_once(stack, 40)
    assert len({connection for _, connection in ways_of(upstream, "/v1/chat")}) <= 2


def test_http2_can_be_switched_off(secure):
    stack, _, upstream = secure(UPSTREAM__HTTP2="off")
    many_at_once(stack, 4)
    assert {protocol for protocol, _ in ways_of(upstream, "/v1/chat")} == {"HTTP/1.1"}


def test_an_upstream_without_http2(secure):
    stack, _, upstream = secure(http2=False)
    many_at_once(stack, 20)
    assert {protocol for protocol, _ in ways_of(upstream, "/v1/chat")} == {"HTTP/1.1"}


def test_answers_are_the_same_either_way(secure):
    stack, sim, _ = secure()
    for how in ("events=3", "events=20000", "size=1", "status=404", "headers=50", "split=100"):
        direct = httpx.post(f"{sim.base_url}/chat/completions", json=chat(how), trust_env=False)
        through = stack.post(json=chat(how))
        assert (through.status_code, through.content) == (direct.status_code, direct.content)


@pytest.mark.parametrize("how", ["cut=100", "cut=100;rst=1"])
def test_a_failure_of_one_is_not_one_of_the_others(secure, how):
    stack, _, upstream = secure(UPSTREAM__MAX_RETRIES=0)

    async def ask(client, number):
        try:
            return (await client.chat.completions.create(**chat(f"delay=200;{how}" if number % 2 else "delay=300"))).object
        except openai.APIStatusError as error:
            return error.code in ("upstream_cut", "upstream_unreachable")  # nginx may not have passed the head on

    async def all_of_them():
        async with stack.async_client() as client:
            return await asyncio.gather(*(ask(client, number) for number in range(8)))

    assert asyncio.run(all_of_them()) == ["chat.completion", True] * 4
    assert {protocol for protocol, _ in ways_of(upstream, "/v1/chat")} == {"HTTP/2.0"}


def test_time_limits_hold(secure):
    stack, sim, _ = secure(UPSTREAM__FIRST_BYTE_SECONDS="0.4", UPSTREAM__MAX_RETRIES=0)
    answer = stack.post(json=chat("hang=head"))
    assert (answer.status_code, error_of(answer)["code"]) == (504, "upstream_timeout")
    wait_until(lambda: sim.stats()["active"] == 0, "the end of what nobody waits for")
    assert stack.post(json=chat()).status_code == 200


def leave_one(stack, sim, name):
    with httpx.Client(base_url=stack.origin, trust_env=False) as client:
        client.get("/health")  # lighttpd does not watch a connection whose first request came together with it
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=chat("delay=20000", user=name), timeout=0.4,
                        headers={"Authorization": f"Bearer {keys.CLIENT}"})
    left = time.monotonic_ns() // 1000

    def aborted():
        return [seen for seen in sim.requests(8) if name in seen["body"] and seen["state"] == "aborted"]

    request, = wait_until(aborted, "the abort")
    print(f"\n{name}: {(request['ended_us'] - left) / 1000:.1f} ms")
    assert request["ended_us"] - left < 1_000_000


def test_a_client_that_leaves_alone_cancels_its_request(secure):
    """libcurl would tell the upstream with the next request only: the connection goes with it."""
    stack, sim, _ = secure()
    stack.post(json=chat())
    leave_one(stack, sim, "alone")
    assert stack.post(json=chat()).status_code == 200


def test_a_client_that_leaves_others_cancels_its_own_request_only(secure):
    stack, sim, upstream = secure()
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(stack.post, json=chat("delay=1500")) for _ in range(3)]
        wait_until(lambda: sim.stats()["active"] == 3, "the others")
        leave_one(stack, sim, "one-of-four")
        assert [other.result().status_code for other in others] == [200] * 3
    assert len({connection for _, connection in ways_of(upstream, "/v1/chat")}) == 1


def test_a_slow_reader_does_not_hold_back_the_others(secure):
    stack, sim, upstream = secure()
    body = httpx.Request("POST", "http://x", json=chat("events=900000")).content
    with socket.create_connection(("127.0.0.1", stack.front.port), timeout=10) as slow:
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     + f"Authorization: Bearer {keys.CLIENT}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: sim.stats()["bytes_out"] > 500_000, "the large answer")
        for _ in range(20):
            assert stack.post(json=chat(), timeout=2).status_code == 200
        assert len(ways_of(upstream, "/v1/chat")) >= 20


def test_without_the_file_the_certificate_is_refused(secure):
    stack, _, _ = secure(ready=False, UPSTREAM__CA_FILE="", UPSTREAM__MAX_RETRIES=0)
    answer = stack.post(json=chat())
    assert (answer.status_code, error_of(answer)["code"]) == (502, "upstream_tls_failed")
