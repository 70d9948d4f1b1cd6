"""The same expectations of each web server, with the configuration that deploy/ ships."""

import asyncio
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time

import httpx
import openai
import pytest

from harness import clients, facts, keys
from harness.bodies import chat
from harness.cells import CELLS
from harness.errors import error_of
from harness.front import FRONTS
from harness.process import clean_environment, wait_until
from harness.sluice import SANITIZED
from harness.sse import data_of, words
from harness.stack import Stack
from harness.tls import certificate

JSON = {"Content-Type": "application/json"}
KEY = {"Authorization": f"Bearer {keys.CLIENT}"}
MIB = 1 << 20


@pytest.fixture(scope="module", params=CELLS)
def running_cell(request):
    stack = Stack(request.param, WORKERS=2, STREAM__KEEPALIVE_SECONDS=1, MAX_BODY_BYTES=40 * MIB)
    stack.name = request.param
    yield stack
    stack.stop()


@pytest.fixture
def cell(running_cell):
    running_cell.sim.reset()
    return running_cell


def now_us():
    """The clock that the simulator writes into events with ts=1."""
    return time.monotonic_ns() // 1000


def over_tls(cell, **options):
    return httpx.Client(base_url=cell.front.tls_origin, verify=certificate().context(), trust_env=False,
                        timeout=60, headers=KEY, **options)


def curl_command(cell, path, *options):
    return ["curl", "--silent", "--show-error", "--no-buffer", "--noproxy", "*", "--cacert", str(certificate().certificate),
            "--header", f"Authorization: Bearer {keys.CLIENT}", "--header", "Content-Type: application/json", *options,
            cell.front.tls_origin + path]


def curl(cell, path, *options, **arguments):
    return subprocess.run(curl_command(cell, path, *options), capture_output=True, timeout=120, check=True,
                          env=clean_environment(), **arguments).stdout


# ---- the official clients ---------------------------------------------------------------------------------------------


def test_python_gets_the_same(cell):
    context = certificate().context()
    through = cell.client(base_url=cell.front.tls_origin + "/v1",
                          http_client=openai.DefaultHttpxClient(trust_env=False, verify=context))
    for request in (chat(), chat(n=2)):
        assert through.chat.completions.create(**request) == cell.direct().chat.completions.create(**request)
    request = chat("events=30", stream_options={"include_usage": True})
    assert list(through.chat.completions.create(stream=True, **request)) == \
        list(cell.direct().chat.completions.create(stream=True, **request))


@pytest.mark.parametrize("ask", [clients.python_028, clients.node], ids=["python 0.28", "node"])
def test_other_clients_get_the_same(cell, ask):
    for request in (chat(), {**chat("events=20;pace=5"), "stream": True}):
        assert ask(cell.front.tls_origin + "/v1", request) == ask(cell.sim.base_url, request)


@pytest.mark.parametrize("ask", [clients.python_028, clients.node], ids=["python 0.28", "node"])
def test_other_clients_raise(cell, ask):
    assert "raised" in ask(cell.front.tls_origin + "/v1", {**chat("events=9;cut-event=4"), "stream": True})[-1]
    assert ask(cell.front.tls_origin + "/v1", chat(), key=keys.WRONG_CLIENT)[0]["status"] == 401


# ---- events -----------------------------------------------------------------------------------------------------------


def delays_of(lines):
    """Milliseconds from the simulator's clock in each event to its arrival."""
    delays = []
    for line in lines:
        arrived = now_us()
        found = re.search(r'"content":\s*"(\d{6,})', line)
        if found:
            delays.append((arrived - int(found.group(1))) / 1000)
    return delays


def describe(delays):
    delays = sorted(delays)
    return {"median": delays[len(delays) // 2], "max": delays[-1], "events": len(delays)}


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_each_event_arrives_at_once(cell, version):
    request = json.dumps({**chat("ts=1;events=40;pace=25"), "stream": True})
    option = "--http2" if version == "2" else "--http1.1"
    with subprocess.Popen(curl_command(cell, "/v1/chat/completions", option, "--compressed", "--data", request),
                          stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        delays = delays_of(process.stdout)
    assert len(delays) == 40
    facts.note(cell.name, f"delay {version}", describe(delays))
    # The machine may be busy with other tests: a server that gathers events is late with nearly all of them.
    assert sorted(delays)[20] < 25, delays


def test_twenty_streams_at_once(cell):
    """With mod_fcgid each one has a process of its own."""
    async def one(client):
        stream = await client.chat.completions.create(stream=True, **chat("events=30;pace=50"))
        return [chunk.choices[0].delta.content async for chunk in stream if chunk.choices[0].delta.content]

    async def all_of_them():
        async with cell.async_client(timeout=60) as client:
            return await asyncio.gather(*(one(client) for _ in range(20)))

    began = time.monotonic()
    texts = asyncio.run(all_of_them())
    facts.note(cell.name, "20 streams of 1.5 s", time.monotonic() - began)
    assert texts == [words(30)] * 20
    if cell.name == "apache-fcgid":
        assert len(cell.sluice.processes()) >= 18  # a stream that is late takes the process of one that is done


# ---- a client's departure ---------------------------------------------------------------------------------------------


def leave(cell, directives, stream, after):
    """Leaves a request over TLS; gives the milliseconds until the upstream was cancelled, or None."""
    with over_tls(cell) as client:
        client.get("/health")
        request = client.build_request("POST", "/v1/chat/completions", json={**chat(directives), "stream": stream})
        if stream:
            answer = client.send(request, stream=True)
            lines = answer.iter_lines()
            next(lines)
            time.sleep(after)
        else:
            with pytest.raises(httpx.ReadTimeout):
                request.extensions["timeout"] = dict(client.timeout.as_dict(), read=0.5)
                client.send(request)
        wait_until(lambda: cell.sim.requests(1), "the request at the upstream")
        left = now_us()
    try:
        seen = wait_until(lambda: (last := cell.sim.last_request())["state"] != "active" and last, "the abort", 5)
    except AssertionError:
        return None
    assert seen["state"] == "aborted", seen
    return max(0, seen["ended_us"] - left) / 1000


DEPARTURES = {
    "while events come": ("events=2000;pace=20", True),
    "in a pause": ("events=2;pace=30000;first=0", True),
    "before the answer": ("delay=30000", False),
}


@pytest.mark.parametrize("when", DEPARTURES)
def test_a_departure_is_seen(cell, when):
    directives, stream = DEPARTURES[when]
    delay = leave(cell, directives, stream, 0.3)
    facts.note(cell.name, f"departure {when}", delay)
    if cell.front.sees_departure:
        assert delay is not None and delay < 1500, delay
    elif when == "while events come":
        assert delay is not None and delay < 5000, delay


# ---- bodies -----------------------------------------------------------------------------------------------------------


def body_of(size):
    start = json.dumps(chat(padding=""))[:-2]
    return (start + "x" * (size - len(start) - 2) + '"}').encode()


def assert_arrived(cell, body):
    seen = cell.sim.last_request()
    assert (seen["body_bytes"], seen["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_large_body_arrives_unchanged(cell, version):
    body = body_of(30 * MIB)
    option = "--http2" if version == "2" else "--http1.1"
    answer = curl(cell, "/v1/chat/completions", option, "--data-binary", "@-", input=body)
    assert json.loads(answer)["object"] == "chat.completion"
    assert_arrived(cell, body)


def test_a_body_above_the_limit(cell):
    with over_tls(cell) as client:
        answer = client.post("/v1/chat/completions", content=body_of(45 * MIB), headers=JSON)
    assert (answer.status_code, error_of(answer)["code"]) == (413, None)
    assert "Maximum content size limit" in answer.text
    over_http2 = subprocess.run(curl_command(cell, "/v1/chat/completions", "--http2", "--data-binary", "@-"), timeout=60,
                                input=body_of(45 * MIB), capture_output=True, check=False, env=clean_environment())
    assert b"Maximum content size limit" in over_http2.stdout
    assert cell.sim.stats()["requests"] == 0
    for _ in range(10):  # the connection to Sluice on which the body broke off may be kept
        assert cell.post(json=chat()).status_code == 200


def test_requests_after_a_refused_body(cell):
    """An answer that comes before the body's end must not cost the client's next request."""
    for origin in (cell.front.origin, cell.front.tls_origin):
        with httpx.Client(base_url=origin, verify=certificate().context(), trust_env=False, timeout=30) as client:
            for _ in range(5):
                wrong = client.post("/v1/chat/completions", content=body_of(1_500_000),
                                    headers={**JSON, "Authorization": "Bearer sk-wrong"})
                assert wrong.status_code == 401
                assert client.post("/v1/chat/completions", json=chat(), headers=KEY).status_code == 200


def test_a_chunked_body(cell):
    body = body_of(200_000)

    def pieces():
        for start in range(0, len(body), 20_000):
            yield body[start : start + 20_000]
            time.sleep(0.02)

    with over_tls(cell) as client:
        answer = client.post("/v1/chat/completions", content=pieces(), headers=JSON)
    facts.note(cell.name, "chunked body", answer.status_code)
    assert answer.status_code == 200, answer.text
    assert_arrived(cell, body)


def test_a_body_of_unknown_length_over_http2(cell):
    body = body_of(300_000)
    command = curl_command(cell, "/v1/chat/completions", "--http2", "--request", "POST", "--upload-file", "-")
    result = subprocess.run(command, input=body, capture_output=True, timeout=60, check=False, env=clean_environment())
    arrived = b"chat.completion" in result.stdout
    facts.note(cell.name, "body of unknown length over HTTP/2", arrived)
    assert arrived == cell.front.takes_unknown_length_over_http2, (result.returncode, result.stdout)
    if arrived:
        assert_arrived(cell, body)
    else:
        assert cell.sim.stats()["requests"] == 0
        assert result.returncode != 0 or "error" in json.loads(result.stdout)


# ---- methods, paths, headers ------------------------------------------------------------------------------------------


def raw(cell, text):
    """Sends bytes as they are over plain HTTP and returns the whole answer."""
    with socket.create_connection(("127.0.0.1", cell.front.port), timeout=20) as connection:
        connection.sendall(text)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, str(answer.headers), answer.read()


def test_head(cell):
    with over_tls(cell) as client:
        answer = client.head("/health")
        assert (answer.status_code, answer.content) == (200, b"")
        assert client.get("/health").json()["status"] == "healthy"


def test_options_reach_sluice(cell):
    with over_tls(cell) as client:
        answer = client.options("/v1/chat/completions", headers={
            "Origin": "https://example.org", "Access-Control-Request-Method": "POST"})
    assert answer.headers["x-request-id"], answer.headers


PATHS = ["/v1/x%2Fy%20z/%C3%A9", "/v1/a%252Fb", "/v1//double", "/v1/plus+and;semicolon=1", "/v1/%7Etilde"]


def ask_plainly(cell, target):
    return raw(cell, f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys.CLIENT}\r\n"
                     "Connection: close\r\n\r\n".encode())


@pytest.mark.parametrize("path", PATHS)
def test_a_path_arrives_as_it_was_sent(cell, path):
    target = f"{path}?a=%2Fb&c=%20+"
    ask_plainly(cell, target)
    arrived = [request["target"] for request in cell.sim.requests(1)]
    facts.note(cell.name, f"path {path}", arrived == [target])
    assert arrived == [target]


def test_a_path_with_dots_is_refused(cell):
    status, _, body = ask_plainly(cell, "/v1/x/../y")
    assert status in (400, 404) and json.loads(body)["error"]["type"] == "invalid_request_error"
    assert cell.sim.stats()["requests"] == 0


def test_a_base_path(cell):
    stack = Stack(cell.name, BASE_PATH="/ai")
    try:
        assert stack.post("/ai/v1/chat/completions", json=chat()).status_code == 200
        assert stack.http.get("/ai/health").status_code == 200
        assert error_of(stack.post("/v1/chat/completions", json=chat()))["message"] == "Invalid URL (POST /v1/chat/completions)"
        stack.post("/ai/v1/x%2Fy", json=chat())
        assert stack.sim.last_request()["target"] == "/v1/x%2Fy"
    finally:
        stack.stop()


@pytest.mark.parametrize("size", [7_000, 60_000])
def test_a_large_header(cell, size):
    body = json.dumps(chat())
    status, head, text = raw(cell, f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Large: {'a' * size}\r\n"
                                   f"Authorization: Bearer {keys.CLIENT}\r\nContent-Type: application/json\r\n"
                                   f"Connection: close\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode())
    facts.note(cell.name, f"header of {size} bytes", status)
    assert status == 200, (head, text)


def test_a_header_beyond_measure_is_an_error_in_openais_form(cell):
    status, head, text = raw(cell, f"GET /health HTTP/1.1\r\nHost: x\r\nX-Large: {'a' * 200_000}\r\n\r\n".encode())
    assert status in (400, 431), head
    assert json.loads(text)["error"]["type"] == "invalid_request_error"
    assert "application/json" in head


def test_errors_are_those_of_sluice(cell):
    with over_tls(cell) as client:
        wrong = client.post("/v1/chat/completions", json=chat(), headers={"Authorization": "Bearer sk-wrong"})
        assert (wrong.status_code, error_of(wrong)["code"]) == (401, "invalid_api_key")
        assert client.post("/v1/chat/completions", content=b"{", headers=JSON).status_code == 400
        assert client.put("/v1/chat/completions", json={}).status_code == 405
        for status in (429, 500, 503):
            answer = client.post("/v1/chat/completions", json=chat(f"status={status}"))
            assert answer.status_code == status
            error_of(answer)


def test_nothing_is_compressed(cell):
    with over_tls(cell) as client:
        answer = client.post("/v1/chat/completions", json=chat(max_tokens=2000))
    assert "content-encoding" not in answer.headers


# ---- connections ------------------------------------------------------------------------------------------------------


def test_a_clients_connection_is_kept(cell):
    context = certificate().context()
    body = json.dumps(chat())
    request = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys.CLIENT}\r\n"
               f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}").encode()
    with socket.create_connection(("127.0.0.1", cell.front.tls_port), timeout=20) as plain, \
            context.wrap_socket(plain, server_hostname="localhost") as connection:
        reader = connection.makefile("rb")
        for _ in range(50):
            connection.sendall(request)
            assert reader.readline().split()[1] == b"200"
            headers = dict(line.decode().lower().strip().split(": ", 1) for line in iter(reader.readline, b"\r\n"))
            if "content-length" in headers:
                reader.read(int(headers["content-length"]))
            else:
                while size := int(reader.readline(), 16):
                    reader.read(size + 2)
                reader.readline()


def test_http2(cell):
    print_version = ["--http2", "--output", "/dev/null", "--write-out", "%{http_version}"]
    assert curl(cell, "/v1/chat/completions", *print_version, "--data", json.dumps(chat())) == b"2"
    events = data_of(curl(cell, "/v1/chat/completions", "--http2", "--data", json.dumps({**chat("events=20"), "stream": True})))
    assert events == data_of(clients.curl(cell.sim.base_url, {**chat("events=20"), "stream": True}))


def test_many_streams_on_one_http2_connection(cell):
    request = json.dumps({**chat("events=10;pace=50"), "stream": True})
    url = cell.front.tls_origin + "/v1/chat/completions"
    rest = [part for _ in range(14) for part in ("--output", "/dev/null", url)]
    before = cell.sim.stats()["completed"]
    text = curl(cell, "/v1/chat/completions", "--http2", "--parallel", "--parallel-max", "15",
                "--write-out", "%{http_version} %{http_code}\n", "--data", request, *rest, "--output", "/dev/null")
    assert text.decode().splitlines() == ["2 200"] * 15
    # One that a former test has left may end now, too, where the server has not told Sluice of it.
    assert cell.sim.stats()["completed"] - before >= 15


# ---- what is closed ---------------------------------------------------------------------------------------------------


def outside_address():
    """An address of this machine that is not a loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.77", 9))
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


@pytest.mark.skipif(outside_address() is None, reason="this machine has loopback addresses only")
def test_numbers_are_closed_to_the_outside(cell):
    stack = Stack(cell.name, host="0.0.0.0")
    try:
        outside = f"http://{outside_address()}:{stack.front.port}"
        for path in ("/metrics", "/status", "/ai/metrics", "/%6detrics"):
            answer = httpx.get(outside + path, trust_env=False)
            assert (answer.status_code, error_of(answer)["type"]) == (403, "invalid_request_error"), path
            assert stack.http.get(path).status_code != 403
        assert httpx.get(outside + "/health", trust_env=False).status_code == 200
    finally:
        stack.stop()


@pytest.mark.parametrize("name", [name for name in CELLS if FRONTS[name].listen and not SANITIZED])
def test_sluice_not_running_is_an_error_in_openais_form(name):
    stack = Stack(name)
    try:
        stack.sluice.stop()
        answer = stack.post(json=chat())
        assert answer.status_code in (502, 503)
        assert error_of(answer)["type"] == "server_error"
        stack.sluice.stop = lambda: None
    finally:
        stack.stop()


# ---- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="the release build tells")
def test_a_silence_longer_than_the_servers_own_limits():
    """All at the same time: the servers' own limits are 40 and 60 s. SLUICE_FRONT_SILENCE asks for a longer one."""
    seconds = int(os.environ.get("SLUICE_FRONT_SILENCE", 63))
    outcomes = {}

    def wait_through(name):
        stack = Stack(name, STREAM__KEEPALIVE_SECONDS=0, UPSTREAM__FIRST_BYTE_SECONDS=3600, UPSTREAM__IDLE_SECONDS=3600)
        try:
            with httpx.Client(base_url=stack.origin, trust_env=False, headers=KEY, timeout=seconds + 60) as client:
                answer = client.post("/v1/chat/completions", json={**chat(f"events=1;pace={seconds * 1000}"), "stream": True})
                outcomes[name] = answer.status_code == 200 and data_of(answer.content)[-1] == "[DONE]"
        except httpx.HTTPError as error:
            outcomes[name] = repr(error)
        finally:
            stack.stop()

    threads = [threading.Thread(target=wait_through, args=(name,)) for name in CELLS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in CELLS:
        facts.note(name, f"silence of {seconds} s", outcomes.get(name))
    assert outcomes == dict.fromkeys(CELLS, True)


if os.environ.get("SLUICE_FRONT_FULL"):

    @pytest.mark.parametrize("name", CELLS)
    def test_half_a_gigabyte(name, tmp_path):
        """Takes disk and time: only where the table is made."""
        size = 540 * MIB
        with open(tmp_path / "large", "wb") as file:
            file.truncate(size)
        stack = Stack(name, MAX_BODY_BYTES="1GiB")
        try:
            command = curl_command(stack, "/v1/files", "--form", "purpose=batch", "--form", f"file=@{tmp_path}/large")
            at = command.index("Content-Type: application/json")
            del command[at - 1 : at + 1]  # curl says the type of a form
            began = time.monotonic()
            result = subprocess.run(command, capture_output=True, timeout=300, check=False, env=clean_environment())
            arrived = stack.sim.last_request()["body_bytes"] if stack.sim.requests(1) else 0
            facts.note(name, "540 MiB", time.monotonic() - began if arrived > size else None)
            assert arrived > size and json.loads(result.stdout)["object"] == "file", (arrived, result.stdout[:300])
        finally:
            stack.stop()


@pytest.mark.skipif("apache-fcgid" not in CELLS, reason="one of the servers that are not tested now")
def test_limits_are_exact_over_the_processes_of_mod_fcgid():
    stack = Stack("apache-fcgid", RATE_LIMIT__REQUESTS_PER_MINUTE=30)

    async def all_of_them():
        async with httpx.AsyncClient(base_url=stack.origin, headers=KEY, trust_env=False, timeout=60) as client:
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=chat("delay=300")) for _ in range(60)))

    try:
        began = time.monotonic()
        statuses = [answer.status_code for answer in asyncio.run(all_of_them())]
        refilled = int((time.monotonic() - began) / 2)  # one each two seconds
        assert 30 <= statuses.count(200) <= 30 + refilled + 1, statuses
        assert statuses.count(200) + statuses.count(429) == 60
        assert len(stack.sluice.processes()) > 10
        facts.note("apache-fcgid", "limit of 30, 60 requests", statuses.count(200))
    finally:
        stack.stop()
