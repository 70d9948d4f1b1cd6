"""Each call on a request's path fails in turn, for memory and of the system: the answer is right or an error in OpenAI's form,
the worker lives, the next request works, and nothing is kept.

A run of the tests takes every seventh call; SLUICE_FAULTS_EVERY=1 takes each.
"""

import concurrent.futures
import resource
from pathlib import Path

import httpx
import pytest

from harness import fastcgi, keys, secrets
from harness.bodies import chat
from harness.fastcgi import Answer
from harness.faults import ERRORS, Faults
from harness.process import free_port, short_directory, wait_until
from harness.redis import AVAILABLE, Redis
from harness.secure_upstream import SecureUpstream
from harness.sim import Simulator
from harness.sluice import SANITIZED, Sluice
from harness.sweep import (BATCH, CHAT, CHATS, COALESCED, EVERY, HIT, MISS, MISSED_STREAM, STREAM, UPLOAD, Sweep,
                           is_openai_error, right_chat)
from harness.tls import certificate

if SANITIZED:
    pytest.skip("the sanitizer has a malloc of its own", allow_module_level=True)

LIMITED = {"RATE_LIMIT__REQUESTS_PER_MINUTE": 10**8, "RATE_LIMIT__TOKENS_PER_MINUTE": 10**9,
           "RATE_LIMIT__CONCURRENT_REQUESTS": 100}
IDLE_CONNECTIONS = 32
"""How many a worker keeps to the upstream (TRANSFER_LANE_IDLE), each with its memory. An upload makes a new one."""


@pytest.fixture
def make_sweep():
    """A Sluice with the interposer, spoken to directly."""
    directory = short_directory()
    sim, made = Simulator(directory), []

    def make(**settings):
        faults = Faults(directory)
        values = {"OPENAI_BASE_URL": sim.base_url, "OPENAI_API_KEY": keys.UPSTREAM, "CLIENT_API_KEYS": keys.CLIENT,
                  "UPSTREAM__RETRY_BASE_SECONDS": "0.001", "LOG_LEVEL": "info", **faults.environment, **settings}
        sluice = Sluice(directory, **values)
        made.append((sluice, faults))
        return Sweep(sluice, faults)

    make.sim = sim
    yield make
    for sluice, faults in made:
        sluice.stop()
        faults.close()
    sim.stop()
    secrets.remove_directory(directory)


def sweep_all(sweep, asks, kinds):
    for ask in asks:
        sweep.run(ask, kinds)
    assert not sweep.findings, "\n".join(sweep.findings)


def keeps_nothing(sweep, *asks, kinds=tuple(ERRORS)):
    """A second time brings no more memory and no more descriptors than the first did."""
    sweep.settle(asks)
    sweep_all(sweep, asks, kinds)
    before, failed = sweep.settle(asks), sweep.failed
    sweep_all(sweep, asks, kinds)
    after = sweep.settle(asks)
    assert sweep.failed - failed > 20, "too few calls failed to tell"
    slack = 12 + (sweep.failed - failed) // 50
    assert after[0] - before[0] <= slack, f"{before} before, {after} after {sweep.failed - failed} calls that failed"
    assert after[2] <= before[2] + 3
    assert sweep.answers["right"] and sweep.answers["500"], sweep.answers


def test_requests(make_sweep):
    keeps_nothing(make_sweep(), CHAT, STREAM)


def test_uploads(make_sweep):
    sweep = make_sweep()
    sweep.settle([UPLOAD] * (IDLE_CONNECTIONS // 3 + 10))
    keeps_nothing(sweep, UPLOAD)


def test_http2_and_tls(make_sweep):
    """Where libcurl 7.88 has no memory in the middle of a connection that several share, it tells only one of them: the
    others wait as long as the first byte may take, which is short here. Writes are left out: when the very last frame of a
    request cannot be written at once, it tries again only in vain, until UPSTREAM__IDLE_SECONDS have passed."""
    upstream = SecureUpstream(make_sweep.sim)
    try:
        sweep = make_sweep(OPENAI_BASE_URL=upstream.base_url, UPSTREAM__CA_FILE=certificate().certificate,
                           UPSTREAM__FIRST_BYTE_SECONDS=2)
        wait_until(lambda: fastcgi.ask(sweep.sluice.socket, chat()).status == 200, "the upstream", 20, 0.2)
        keeps_nothing(sweep, CHAT, STREAM, *([CHATS] if EVERY == 1 else []),
                      kinds=[kind for kind in ERRORS if kind != "write"])
    finally:
        upstream.stop()


def test_a_cache_in_the_state_directory(make_sweep):
    sweep = make_sweep(CACHE__ENABLED="true", CACHE__REDIS_URL=f"redis://127.0.0.1:{free_port()}", **LIMITED)
    keeps_nothing(sweep, MISS, HIT, MISSED_STREAM, BATCH, COALESCED)


@pytest.mark.skipif(not AVAILABLE, reason="no redis-server")
def test_a_cache_and_limits_in_redis(make_sweep, tmp_path):
    redis = Redis(tmp_path)
    try:
        sweep = make_sweep(CACHE__ENABLED="true", CACHE__REDIS_URL=redis.url, RATE_LIMIT__BACKEND="redis", **LIMITED)
        keeps_nothing(sweep, MISS, HIT, MISSED_STREAM, BATCH, COALESCED)
    finally:
        redis.stop()


def address_space(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmSize")


@pytest.mark.parametrize("spare", [0, 64 << 10, 1 << 20, 8 << 20])
def test_no_memory_at_all(make_sweep, spare):
    """The worker may take `spare` bytes more, and is asked for much more by many at once. No interposer: as it really is."""
    sweep = make_sweep(LD_PRELOAD=None)
    sweep.settle([CHAT])
    resource.prlimit(sweep.worker, resource.RLIMIT_AS, (address_space(sweep.worker) + spare, resource.RLIM_INFINITY))
    bodies = [chat("delay=200", padding="x" * (1 << shift)) for shift in range(10, 22) for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: fastcgi.ask(sweep.sluice.socket, body), bodies))
    for answer in answers:
        assert not answer.complete or answer.status == 200 or (answer.status >= 500 and is_openai_error(answer)), answer
    assert any(answer.status != 200 for answer in answers)
    assert sweep.sluice.workers() == [sweep.worker]
    resource.prlimit(sweep.worker, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in range(20):
        right_chat(fastcgi.ask(sweep.sluice.socket, chat()))


class Seen(Answer):
    """An answer as an HTTP client has it."""

    def __init__(self, status, headers, body, complete=True):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete


class ThroughAFront(Sweep):
    """The same requests through a web server, which may say by itself that there was no answer."""

    def __init__(self, stack, faults):
        super().__init__(stack.sluice, faults)
        self.stack = stack

    def _send(self, ask):
        try:
            answer = self.stack.post(json=ask.body())
            return [Seen(answer.status_code, answer.headers, answer.content)]
        except httpx.RemoteProtocolError:
            return [Seen(0, {}, b"", complete=False)]


def test_through_a_web_server(make_stack, tmp_path):
    tmp_path.chmod(0o755)
    faults = Faults(tmp_path)
    stack = make_stack(UPSTREAM__RETRY_BASE_SECONDS="0.001", LOG_LEVEL="info", **faults.environment)
    sweep = ThroughAFront(stack, faults)
    sweep.settle([CHAT, STREAM])
    for ask in (CHAT, STREAM):
        sweep.run(ask, ["alloc", "read", "write", "accept"])
    faults.close()
    assert not sweep.findings, "\n".join(sweep.findings)
    assert sweep.failed > 20 and sweep.answers["right"]
