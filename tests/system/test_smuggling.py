"""Hostile bytes through every web server: from one request of a client never come two at the upstream, no header of the
client's choosing, no other client's key, and the next request is answered as if nothing had been."""

import json
import re
import socket

import pytest

from harness import keys
from harness.bodies import chat
from harness.cells import CELLS
from harness.fastcgi import PARAMS, STDIN, Connection, begin, pair, pieces
from harness.sluice import SANITIZED
from harness.stack import Stack

OTHER_UPSTREAM = keys.MAPPED_UPSTREAM
FRONTS = CELLS if SANITIZED else ["lighttpd", "nginx-kept", "apache-proxy", "apache-fcgid"]
if "all" in CELLS:
    FRONTS = CELLS

PASSED_ON = {"host", "accept", "accept-encoding", "authorization", "content-type", "content-length", "transfer-encoding",
             "user-agent", "x-request-id", "x-client-request-id", "openai-beta", "traceparent", "expect", "connection"}
"""All that may be in a request at the upstream. What is of the client's choosing has an innocent value there."""


@pytest.fixture(scope="module", params=FRONTS)
def hostile_stack(request):
    mapping = {keys.OTHER_CLIENT: OTHER_UPSTREAM}
    stack = Stack(request.param, WORKERS=1, CLIENT_API_KEYS=keys.CLIENT, API_KEY_MAPPING=json.dumps(mapping))
    yield stack
    stack.stop()


@pytest.fixture
def hostile(hostile_stack):
    hostile_stack.sim.reset()
    return hostile_stack


BODY = json.dumps(chat())
SMUGGLED = f"GET /v1/smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys.OTHER_CLIENT}\r\n\r\n"
AUTHORIZATION = f"Authorization: Bearer {keys.CLIENT}"
LENGTH = f"Content-Length: {len(BODY)}"


def post(*lines, body=BODY, authorization=AUTHORIZATION, target="/v1/chat/completions"):
    head = [f"POST {target} HTTP/1.1", "Host: x", "Content-Type: application/json", *([authorization] if authorization else []),
            *lines]
    return "\r\n".join([*head, "", ""]) + body


def get(target, *lines, version="HTTP/1.1"):
    return "\r\n".join([f"GET {target} {version}", "Host: x", AUTHORIZATION, *lines, "", ""])


def chunked(*chunks):
    return "".join(f"{size}\r\n{data}\r\n" for size, data in chunks)


WHOLE_CHUNK = (f"{len(BODY):x}", BODY)
LAST = "0\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"
OTHERS = f"Bearer {keys.OTHER_CLIENT}"

# What a client sends. Those that are not whole end with the client's half of the connection.
HEADERS = {
    "a lone CR": post(LENGTH, "Openai-Beta: a\rX-Evil: 1"),
    "a lone LF": post(LENGTH, "Openai-Beta: a\nX-Evil: 1"),
    "a folded line": post(LENGTH, "Openai-Beta: a\r\n X-Evil: 1"),
    "a folded line with a tab": post(LENGTH, "Openai-Beta: a\r\n\tX-Evil: 1"),
    "NUL": post(LENGTH, "Openai-Beta: a\0X-Evil: 1"),
    "an escape": post(LENGTH, "Openai-Beta: \x1b[31m"),
    "a vertical tab": post(LENGTH, "Openai-Beta: a\x0bX-Evil: 1"),
    "delete": post(LENGTH, "Openai-Beta: a\x7f"),
    "no colon": post(LENGTH, "X-Evil"),
    "a blank before the colon": post(LENGTH, "X-Evil : 1"),
    "an empty name": post(LENGTH, ": X-Evil"),
    "CR in a name": post(LENGTH, "Openai\r-Evil: 1"),
    "a colon in a name": post(LENGTH, "Openai-Beta:X-Evil: 1"),
    "a quote in a name": post(LENGTH, 'Openai-"Evil": 1'),
    "Proxy": post(LENGTH, "Proxy: http://127.0.0.1:1/"),
    "Proxy, twice": post(LENGTH, "Proxy: http://127.0.0.1:1/", "PROXY: http://127.0.0.1:1/"),
    "Https-Proxy": post(LENGTH, "Https_Proxy: http://127.0.0.1:1/", "Http-Proxy: http://127.0.0.1:1/"),
    "another authorization behind": post(LENGTH, f"Authorization: {OTHERS}"),
    "another authorization before": post(LENGTH, AUTHORIZATION, authorization=f"Authorization: {OTHERS}"),
    "the same authorization twice": post(LENGTH, AUTHORIZATION),
    "two keys in one line": post(LENGTH, authorization=f"{AUTHORIZATION}, {OTHERS}"),
    "two keys, folded": post(LENGTH, authorization=f"{AUTHORIZATION}\r\n {OTHERS}"),
    "an underscore": post(LENGTH, f"Author_ization: {OTHERS}", f"Authorization_: {OTHERS}"),
    "a CGI name": post(LENGTH, f"HTTP_AUTHORIZATION: {OTHERS}", f"X-HTTP-AUTHORIZATION: {OTHERS}"),
    "underscores for dashes": post(LENGTH, "X_Request_ID: evil", "Openai_Beta: evil", "X_Sluice: 1"),
    "Proxy-Authorization": post(LENGTH, f"Proxy-Authorization: {OTHERS}"),
    "a key in a cookie": post(LENGTH, f"Cookie: Authorization={keys.OTHER_CLIENT}"),
    "a key of the upstream": post(LENGTH, f"Authorization: Bearer {keys.UPSTREAM}"),
    "connection names authorization": post(LENGTH, "Connection: authorization, keep-alive"),
    "hop by hop": post(LENGTH, "TE: trailers", "Trailer: Authorization", "Keep-Alive: x", "Upgrade: h2c"),
    "junk as an id": post(LENGTH, 'X-Request-ID: {"event":"evil"}', 'X-Forwarded-For: 1.2.3.4"} \x80', "X-Real-IP: \xff"),
    "another host": post(LENGTH, "X-Forwarded-Host: evil.example", "X-Original-URL: /v1/smuggled", "X-Rewrite-URL: /v1/smuggled"),
    "another method": post(LENGTH, "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE"),
}
LENGTHS = {
    "a longer body": post(LENGTH, body=BODY + SMUGGLED[:20]),
    "a length of nothing": post("Content-Length: 0"),
    "no length": post(body=BODY[:20]),
    "two lengths": post(LENGTH, "Content-Length: 5"),
    "two lengths, the shorter first": post("Content-Length: 5", LENGTH),
    "two equal lengths": post(LENGTH, LENGTH),
    "a list of lengths": post(f"{LENGTH}, {len(BODY)}"),
    "a list of other lengths": post(f"{LENGTH}, 5"),
    "a signed length": post(f"Content-Length: +{len(BODY)}"),
    "a negative length": post("Content-Length: -1"),
    "a hexadecimal length": post(f"Content-Length: 0x{len(BODY):x}"),
    "a length beyond 64 bits": post("Content-Length: 18446744073709551617"),
    "an underscored length": post("Content_Length: 5", LENGTH),
    "length and chunked": post("Content-Length: 5", CHUNKED, body=chunked(WHOLE_CHUNK) + LAST),
    "chunked and length": post(CHUNKED, "Content-Length: 5", body=chunked(WHOLE_CHUNK) + LAST),
    "a length that hides a request": post(f"Content-Length: {len(LAST + SMUGGLED)}", CHUNKED, body=LAST + SMUGGLED),
    "chunks that hide a request": post("Content-Length: 4", CHUNKED, body=chunked((f"{len(SMUGGLED):x}", SMUGGLED)) + LAST),
    "xchunked": post(LENGTH, "Transfer-Encoding: xchunked"),
    "chunked, identity": post(LENGTH, "Transfer-Encoding: chunked, identity"),
    "chunked twice": post("Transfer-Encoding: chunked", CHUNKED, body=chunked(WHOLE_CHUNK) + LAST),
    "a vertical tab before chunked": post(LENGTH, "Transfer-Encoding: \x0bchunked"),
    "a blank before the colon of chunked": post(LENGTH, "Transfer-Encoding : chunked"),
    "an underscored encoding": post(LENGTH, "Transfer_Encoding: chunked"),
    "chunked in a folded line": post(LENGTH, "Transfer-Encoding:\r\n chunked"),
    "a chunk of no size": post(CHUNKED, body=chunked(("", BODY)) + LAST),
    "a chunk of a negative size": post(CHUNKED, body=chunked(("-5", BODY)) + LAST),
    "a chunk beyond 64 bits": post(CHUNKED, body=chunked((f"1{'0' * 15}{len(BODY):x}", BODY)) + LAST),
    "a chunk of 0x": post(CHUNKED, body=chunked((f"0x{len(BODY):x}", BODY)) + LAST),
    "a chunk with an extension": post(CHUNKED, body=chunked((f"{len(BODY):x};a=\"\r\", b", BODY)) + LAST),
    "a chunk that ends with LF": post(CHUNKED, body=f"{len(BODY):x}\n{BODY}\n0\n\n"),
    "a chunk that is longer": post(CHUNKED, body=f"{len(BODY) - 5:x}\r\n{BODY}\r\n{LAST}"),
    "a trailer with a key": post(CHUNKED, body=chunked(WHOLE_CHUNK) + f"0\r\nAuthorization: {OTHERS}\r\nX-Evil: 1\r\n\r\n"),
    "a GET with a request in its body": get("/v1/models", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
}
SHORT = {
    "a shorter body": post(f"Content-Length: {len(BODY) + 50}"),
    "half of a chunk": post(CHUNKED, body=f"{len(BODY) + 50:x}\r\n{BODY}"),
    "no last chunk": post(CHUNKED, body=chunked(WHOLE_CHUNK)),
    "half of a head": post(LENGTH)[:60],
    "a head without its end": post(LENGTH).partition("\r\n\r\n")[0] + "\r\n",
}
TARGETS = {
    "absolute form": get("http://evil.example/v1/models"),
    "absolute form without a path": get("http://evil.example"),
    "absolute form with another scheme": get("file:///etc/passwd"),
    "authority form": get("evil.example:443"),
    "an asterisk": get("*"),
    "two slashes": get("//v1/models"),
    "two slashes and a host": get("//evil.example/v1/models"),
    "dots": get("/v1/../v1/models"),
    "encoded dots": get("/v1/%2e%2e/v1/models"),
    "half encoded dots": get("/v1/.%2E/v1/models"),
    "dots between encoded slashes": get("/v1/models/..%2f..%2forganization%2fusers"),
    "dots between encoded backslashes": get("/v1/models/..%5c..%5corganization"),
    "dots between backslashes": get("/v1/models/..\\..\\organization"),
    "dots with a parameter": get("/v1/models/..;/organization"),
    "dots with a parameter, encoded": get("/v1/models/%2e%2e;x=y/organization"),
    "NUL": get("/v1/models\0"),
    "an encoded NUL": get("/v1/models%00/x"),
    "encoded line ends": get("/v1/models%0d%0aX-Evil:%201"),
    "a lone CR": get("/v1/models\rX-Evil:1"),
    "a blank": get("/v1/models HTTP/1.1 X-Evil:1"),
    "a tab": get("/v1/models\tX-Evil:1"),
    "a fragment": get("/v1/models#/../organization"),
    "an at sign": get("/v1@evil.example/models"),
    "an at sign behind": get("/v1/@evil.example/models"),
    "a high byte": get("/v1/models/\xff\xfe"),
    "a bad escape": get("/v1/models/%zz%"),
    "a very long one": get("/v1/models/" + "a" * 100_000),
    "a very long query": get("/v1/models?" + "a" * 30_000),
    "organization by a fold": get("/v1/%6frganization/users"),
    "a script name": get("/sluice.fcgi/v1/models"),
    "another version": get("/v1/models", version="HTTP/3.7"),
    "no version": "GET /v1/models\r\n",
    "another protocol": get("/v1/models", version="ICY/1.1"),
    "a method with a line end": "GET\r\nX-Evil: 1 /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "an odd method": get("/v1/models").replace("GET", "G{ET", 1),
    "TRACE": get("/v1/models").replace("GET", "TRACE", 1),
    "CONNECT": get("127.0.0.1:1").replace("GET", "CONNECT", 1),
    "PRI": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS on the plain port": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 64,
}
PROBE = get("/v1/probe", "Connection: close")


def exchange(stack, text, whole=True):
    """Sends the attack and, where it is whole, an honest request behind it. All that came back."""
    received = b""
    with socket.create_connection(("127.0.0.1", stack.front.port), timeout=20) as connection:
        try:
            connection.sendall(text.encode("latin-1") + (PROBE.encode() if whole else b""))
            if not whole:
                connection.shutdown(socket.SHUT_WR)
            while block := connection.recv(65536):
                received += block
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


def assert_sound_answer(received):
    """Each answer is a proper one: a known status, and no header that the attack wanted."""
    for head in re.split(rb"(?m)^HTTP/1\.(?=\d \d{3})", received)[1:]:
        status = int(head.split(b" ")[1])
        lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:]
        assert status in (200, 500, 501, 505) or 400 <= status < 500, head
        assert not any(line.startswith((b"x-evil", b"x-injected")) or b"\r" in line or b"\n" in line for line in lines), head
        assert keys.UPSTREAM.encode() not in head and OTHER_UPSTREAM.encode() not in head


def assert_sound_upstream(stack, most=1):
    """What the upstream got of it: the attack at most once, with the attacker's own key, and nothing of his choosing."""
    seen = [request for request in stack.sim.requests() if request["target"] != "/v1/probe"]
    assert len(seen) <= most, seen
    for request in seen:
        assert request["target"].startswith("/v1/") and "smuggled" not in request["target"], request
        assert request["method"] in ("GET", "POST"), request
        headers = request["headers"]
        assert headers["authorization"] == f"Bearer {keys.UPSTREAM}", request
        assert set(headers) <= PASSED_ON, set(headers) - PASSED_ON
        assert not any(ord(c) < 0x20 or ord(c) == 0x7F for value in headers.values() for c in value if c != "\t"), headers
        assert headers["host"] == stack.sim.origin.removeprefix("http://"), headers
    return seen


def assert_unharmed(stack):
    """Both clients are served, each with its own key; and the log is whole."""
    for key, upstream in ((keys.CLIENT, keys.UPSTREAM), (keys.OTHER_CLIENT, OTHER_UPSTREAM)):
        stack.sim.reset()
        for _ in range(2):  # a kept connection of the web server to Sluice is used again
            answer = stack.post(json=chat(), key=key)
            assert answer.status_code == 200 and answer.json()["object"] == "chat.completion", answer.text
        assert [request["headers"]["authorization"] for request in stack.sim.requests()] == [f"Bearer {upstream}"] * 2
    assert not [line for line in stack.sluice.log_lines() if line["event"] == "evil"]


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS.keys())
def test_headers(hostile, text):
    assert_sound_answer(exchange(hostile, text))
    assert_sound_upstream(hostile)
    assert_unharmed(hostile)


@pytest.mark.parametrize("text", LENGTHS.values(), ids=LENGTHS.keys())
def test_lengths(hostile, text):
    assert_sound_answer(exchange(hostile, text))
    for request in assert_sound_upstream(hostile):
        # mod_fcgid takes the line end behind a chunk of the wrong size for a part of the body.
        assert request["method"] == "GET" or request["body"].rstrip("\r\n") == BODY, request
    assert_unharmed(hostile)


@pytest.mark.parametrize("text", SHORT.values(), ids=SHORT.keys())
def test_a_request_that_is_not_whole_goes_nowhere(hostile, text):
    assert_sound_answer(exchange(hostile, text, whole=False))
    assert hostile.sim.requests() == []
    assert_unharmed(hostile)


@pytest.mark.parametrize("text", TARGETS.values(), ids=TARGETS.keys())
def test_targets(hostile, text):
    assert_sound_answer(exchange(hostile, text))
    for request in assert_sound_upstream(hostile):
        assert "organization" not in request["target"] and ".." not in request["target"], request
    assert_unharmed(hostile)


def test_two_keys_never_make_one(hostile):
    """Neither of two keys is used where a client sends both: the web server or Sluice refuses, in whatever order."""
    for name in ("another authorization behind", "another authorization before", "two keys in one line", "two keys, folded"):
        hostile.sim.reset()
        exchange(hostile, HEADERS[name])
        used = {request["headers"]["authorization"] for request in hostile.sim.requests() if request["target"] != "/v1/probe"}
        assert not used, name


def test_an_answer_is_not_split(hostile):
    """What an upstream puts into its headers does not become a header of another name, a status, or a file of the web
    server's. libcurl takes none of those that are not HTTP at all: then the answer is a 502."""
    statuses = []
    for number in range(1, 18):
        answer = hostile.post(json=chat(f"odd-header={number}"))
        statuses.append(answer.status_code)
        assert {"x-evil", "x-sendfile", "x-accel-redirect", "x-lighttpd-send-file"}.isdisjoint(answer.headers), number
        assert not any(ord(c) < 0x20 for value in answer.headers.values() for c in value if c != "\t"), number
        assert answer.status_code == 502 or answer.json()["object"] == "chat.completion", number
    assert set(statuses) == {200, 502} and statuses.count(200) >= 12, statuses
    assert_unharmed(hostile)


def test_a_redirect_is_not_followed(hostile):
    for status in (301, 302, 307, 308):
        hostile.sim.reset()
        assert hostile.post(json=chat(f"status={status}")).status_code == status
        assert hostile.sim.stats()["requests"] == 1


# ---- a web server that is odd, or somebody else on its socket -----------------------------------------------------------


def head(**changes):
    values = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/chat/completions", "SERVER_PROTOCOL": "HTTP/1.1",
              "REMOTE_ADDR": "192.0.2.1", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(BODY)),
              "HTTP_AUTHORIZATION": f"Bearer {keys.CLIENT}"}
    values.update(changes)
    return [(name, value) for name, value in values.items() if value is not None]


VARIABLES = {
    "CR LF in a value": head(HTTP_OPENAI_BETA="a\r\nX-Evil: 1"),
    "LF in a value": head(HTTP_USER_AGENT="a\nX-Evil: 1"),
    "CR in a value": head(HTTP_ACCEPT="a\rX-Evil: 1"),
    "NUL in a value": head(HTTP_OPENAI_BETA="a\0X-Evil: 1"),
    "CR LF in a name": [*head(), ("HTTP_OPENAI_A\r\nX-EVIL: 1\r\nB", "1")],
    "a colon in a name": [*head(), ("HTTP_OPENAI_A: X-EVIL", "1")],
    "a semicolon in a name": [*head(), ("HTTP_OPENAI_EVIL;", "1")],
    "an equals sign in a name": [*head(), (f"HTTP_AUTHORIZATION=Bearer {keys.OTHER_CLIENT}", "")],
    "an empty name": [*head(), ("", "evil")],
    "CR LF in the type": head(CONTENT_TYPE="application/json\r\nX-Evil: 1"),
    "CR LF in the target": head(REQUEST_URI="/v1/models HTTP/1.1\r\nX-Evil: 1\r\n\r\nGET /v1/smuggled"),
    "a blank in the target": head(REQUEST_URI="/v1/models HTTP/1.1"),
    "a fragment in the target": head(REQUEST_URI="/v1/models#/chat/completions"),
    "a high byte in the target": head(REQUEST_URI="/v1/models/\xff"),
    "CR LF in the method": head(REQUEST_METHOD="GET /v1/smuggled HTTP/1.1\r\nX-Evil: 1\r\n\r\nPOST"),
    "a blank in the method": head(REQUEST_METHOD="GET /v1/smuggled HTTP/1.1"),
    "no method": head(REQUEST_METHOD=None),
    "no target": head(REQUEST_URI=None),
    "an empty target": head(REQUEST_URI=""),
    "a relative target": head(REQUEST_URI="v1/models"),
    "two authorizations": [*head(), ("HTTP_AUTHORIZATION", f"Bearer {keys.OTHER_CLIENT}")],
    "two authorizations, the other first": [("HTTP_AUTHORIZATION", f"Bearer {keys.OTHER_CLIENT}"), *head()],
    "two targets, the last of which counts": [("REQUEST_URI", "/v1/smuggled"), *head()],
    "two methods": [*head(), ("REQUEST_METHOD", "DELETE")],
    "two lengths": [*head(), ("CONTENT_LENGTH", "5")],
    "two types": [*head(), ("CONTENT_TYPE", "text/evil")],
    "two addresses": [*head(), ("REMOTE_ADDR", "127.0.0.1")],
    "a short length": head(CONTENT_LENGTH="5"),
    "a long length": head(CONTENT_LENGTH=str(len(BODY) + 1)),
    "a length of another kind": head(CONTENT_LENGTH="12abc"),
    "a blank before the length": head(CONTENT_LENGTH=f" {len(BODY)}"),
    "a header's length": [*head(), ("HTTP_CONTENT_LENGTH", "5"), ("HTTP_TRANSFER_ENCODING", "chunked")],
    "a proxy": [*head(), ("HTTP_PROXY", "http://127.0.0.1:1"), ("HTTPS_PROXY", "http://127.0.0.1:1"),
                ("http_proxy", "http://127.0.0.1:1"), ("ALL_PROXY", "http://127.0.0.1:1")],
    "options of Sluice": [*head(), ("OPENAI_BASE_URL", "http://127.0.0.1:1"), ("OPENAI_API_KEY", "evil"), ("LD_PRELOAD", "evil")],
    "a script name": [*head(), ("SCRIPT_NAME", "/v1/smuggled"), ("PATH_INFO", "/v1/smuggled"),
                      ("SCRIPT_FILENAME", "/etc/passwd"), ("DOCUMENT_ROOT", "/")],
    "a user of the web server": [*head(HTTP_AUTHORIZATION=None), ("REMOTE_USER", keys.CLIENT), ("AUTH_TYPE", "Bearer"),
                                 ("REDIRECT_HTTP_AUTHORIZATION", f"Bearer {keys.OTHER_CLIENT}")],
    "another host": [*head(), ("HTTP_HOST", "evil.example"), ("SERVER_NAME", "evil.example")],
}
ANSWERED = {"no method": 400, "no target": 400, "an empty target": 400, "relative target": 404, "two authorizations": 400,
            "two authorizations, the other first": 400, "two targets, the last of which counts": 200, "two methods": 400, "two lengths": 400,
            "two types": 400, "two addresses": 400, "a short length": 400, "a long length": 400, "a length of another kind": 400,
            "a blank before the length": 400, "CR LF in a value": 400, "LF in a value": 400, "CR in a value": 400,
            "CR LF in a name": 400, "CR LF in the type": 400, "CR LF in the target": 400, "CR LF in the method": 400,
            "a user of the web server": 401, "a proxy": 200, "options of Sluice": 200, "a script name": 200,
            "another host": 200, "a header's length": 200, "a blank in the target": 400, "a fragment in the target": 400, "a blank in the method": 400}


@pytest.fixture(scope="module")
def peer_stack():
    stack = Stack("lighttpd", WORKERS=1, CLIENT_API_KEYS=keys.CLIENT,
                  API_KEY_MAPPING=json.dumps({keys.OTHER_CLIENT: OTHER_UPSTREAM}))
    yield stack
    stack.stop()


@pytest.mark.parametrize("name", VARIABLES)
def test_variables(peer_stack, name):
    """Straight on the socket."""
    peer_stack.sim.reset()
    params = b"".join(pair(key.encode("latin-1"), value.encode("latin-1")) for key, value in VARIABLES[name])
    with Connection(peer_stack.sluice.socket) as connection:
        connection.send(begin(flags=1) + pieces(PARAMS, params) + pieces(STDIN, BODY.encode()))
        answer = connection.answer()
        if name == "NUL in a value":  # no web server sends one: not a request, but nonsense
            assert not answer.complete and answer.status == 0 and peer_stack.sim.requests() == []
            return
        assert answer.complete and "x-evil" not in answer.headers, answer
        assert answer.status == ANSWERED.get(name, answer.status) and answer.status < 500, answer
        assert_sound_upstream(peer_stack)
        # The same connection serves on.
        peer_stack.sim.reset()
        params = b"".join(pair(key.encode(), value.encode()) for key, value in head())
        connection.send(begin(2, flags=1) + pieces(PARAMS, params, 2) + pieces(STDIN, BODY.encode(), 2))
        assert connection.answer().status == 200
        assert_sound_upstream(peer_stack)
    assert_unharmed(peer_stack)


@pytest.mark.parametrize("first", ["", "127.0.0.1"])
def test_a_proxy_cannot_be_hidden(peer_stack, first):
    """Of two headers about a proxy the client's own stands in front of the proxy's: the numbers stay closed."""
    values = head(REQUEST_METHOD="GET", REQUEST_URI="/metrics", REMOTE_ADDR="127.0.0.1", CONTENT_TYPE=None, CONTENT_LENGTH=None)
    for more, status in ([], 200), ([("HTTP_X_FORWARDED_FOR", first), ("HTTP_X_FORWARDED_FOR", "192.0.2.1")], 403):
        params = b"".join(pair(key.encode(), value.encode()) for key, value in values + more)
        with Connection(peer_stack.sluice.socket) as connection:
            connection.send(begin() + pieces(PARAMS, params) + pieces(STDIN, b""))
            assert connection.answer().status == status
