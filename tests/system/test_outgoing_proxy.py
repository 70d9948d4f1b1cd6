"""Requests to OpenAI through a proxy that the environment names, as libcurl reads it."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from harness.bodies import chat
from harness.stack import Stack


class Forwarder(BaseHTTPRequestHandler):
    """Makes the request that it is asked for, once, and closes."""

    def do_POST(self):
        self.server.seen.append(self.path)
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        upstream = http.client.HTTPConnection(target.netloc, timeout=10)
        upstream.request("POST", target.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        upstream.close()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def proxy():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forwarder)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("variables, goes_through", [
    ({}, False),
    ({"http_proxy": "URL"}, True),
    ({"ALL_PROXY": "URL"}, True),
    ({"http_proxy": "URL", "NO_PROXY": "127.0.0.1"}, False),
    ({"https_proxy": "URL"}, False),  # of another scheme than the upstream's
])
def test_the_environment_names_a_proxy(front, proxy, variables, goes_through):
    proxy.seen.clear()
    stack = Stack(front, **{name: value.replace("URL", proxy.url) for name, value in variables.items()})
    try:
        answers = [stack.post(json=chat()) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert stack.sim.stats()["requests"] == 2
        assert len(proxy.seen) == (2 if goes_through else 0)
        assert all(path.endswith("/v1/chat/completions") and path.startswith("http://") for path in proxy.seen)
    finally:
        stack.stop()
