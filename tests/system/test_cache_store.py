"""The embedded store at its bound, and when processes die in the middle of their work."""

import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from harness.caching import CachingStack, ask, at_once, embeddings, fixed, result, results, unique, upstream
from harness.lmdb import WriteLock
from harness.process import wait_until
from harness.sluice import SANITIZED

BOUND = 4 * 1024 * 1024
SECONDS = float(os.environ.get("SLUICE_CACHE_SECONDS", 4))
"""How long new entries come; by hand, five minutes."""


@pytest.fixture
def make(tmp_path):
    stacks = []

    def made(**settings):
        values = {"CACHE__MAX_BYTES": BOUND, "STATE_DIR": tmp_path / "state", **settings}
        stacks.append(CachingStack("lmdb", tmp_path, **values))
        stacks[-1].sluice.killed = False
        return stacks[-1]

    yield made
    for stack in stacks:
        stack.stop(check=not stack.sluice.killed)


def size_of(state):
    sizes = [path.stat().st_size for path in Path(state).rglob("*") if "cache-v1" in str(path) and path.is_file()]
    assert sizes, list(Path(state).rglob("*"))
    return sum(sizes)


class Writers:
    """Threads that fill the store with entries of all sizes, and look whether the newest is found."""

    def __init__(self, stack, count=4):
        self.stack, self.stopped = stack, False
        self.stored, self.missed, self.failures, self.slowest, self.latest = 0, 0, [], 0.0, 0.0
        self.threads = [threading.Thread(target=self._write) for _ in range(count)]

    def _write(self):
        while not self.stopped:
            if random.random() < 0.5:
                size = random.choice([1, 50, 400, 4000])
                request = fixed(sim=f"events={size}", max_tokens=size)
            else:
                request = embeddings([unique() for _ in range(random.choice([1, 16]))], dimensions=1000)
            try:
                assert result(ask(self.stack, request)) == "MISS"
                stored, began = time.monotonic(), time.monotonic()
                while ask(self.stack, request, "only-if-cached").status_code != 200:
                    # Another process may be writing, and large ones need room: they wait for a moment.
                    if time.monotonic() - stored > 1:
                        self.missed += 1
                        break
                    time.sleep(0.005)
                    began = time.monotonic()
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.latest = max(self.latest, began - stored)
                self.stored += 1
            except Exception as failure:  # noqa: BLE001  (whatever it is, the test fails by it)
                self.failures.append(repr(failure))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        for thread in self.threads:
            thread.join(30)


def test_at_its_bound(make, tmp_path):
    stack = make()
    began, sizes = time.monotonic(), []
    with Writers(stack) as writers:
        while time.monotonic() - began < SECONDS:
            time.sleep(0.5)
            sizes.append(size_of(tmp_path / "state"))
    print(f"\n{writers.stored} requests stored, {writers.missed} not found, the last after "
          f"{writers.latest * 1000:.0f} ms, the slowest answer "
          f"{writers.slowest * 1000:.0f} ms, at most {max(sizes)} bytes")
    assert not writers.failures, writers.failures[:3]
    assert max(sizes) <= BOUND + 64 * 1024, "the lock file lies beside the data"
    assert writers.missed == 0
    assert SANITIZED or writers.slowest < 1
    request = fixed()
    assert results(stack, request, request) == ["MISS", "HIT"]


def test_killed_in_the_middle(make, tmp_path):
    stack = make(WORKERS=3)
    kept = fixed(max_tokens=3)
    with Writers(stack) as writers:
        for _ in range(3 if SANITIZED else 8):
            time.sleep(random.uniform(0.1, 0.3))
            os.kill(random.choice(stack.sluice.workers()), signal.SIGKILL)
            wait_until(lambda: len(stack.sluice.workers()) == 3, "a new worker")
    assert writers.stored > 10
    assert results(stack, kept, kept)[1] == "HIT"
    stack.sluice.killed = True
    for pid in stack.sluice.processes():
        os.kill(pid, signal.SIGKILL)
    stack.front.process.stop()
    second = make()
    assert result(ask(second, kept)) in ("HIT", "MISS")
    told = [line for part in (stack, second) for line in part.sluice.log_lines() if line["event"].startswith("cache")]
    assert not list((tmp_path / "state").glob("cache-v1.bad*")), f"the store opens clean: {told}"
    assert not told


def is_stored(stack, request):
    return ask(stack, request, "only-if-cached").status_code == 200


def writes(stack, outcome):
    page = stack.http.get("/metrics").text
    return int(re.search(rf'^sluice_cache_writes_total{{result="{outcome}"}} (\d+)$', page, re.MULTILINE).group(1))


def test_who_holds_the_store_holds_no_request_up(make, tmp_path):
    """All that is asked while the lock is held is answered while it is held."""
    stack = make()
    before = [fixed(), embeddings()]
    assert results(stack, *before, *before) == ["MISS", "MISS", "HIT", "HIT"]
    new = [fixed() for _ in range(20)] + [embeddings([unique() for _ in range(50)]) for _ in range(5)]
    with WriteLock(tmp_path / "state" / "cache-v1"):
        assert results(stack, *before) == ["HIT", "HIT"]
        assert results(stack, *new) == ["MISS"] * len(new)
        again = at_once([lambda request=request: ask(stack, request) for request in new])
        assert all(answer.status_code == 200 for answer in again)
    wait_until(lambda: all(is_stored(stack, request) for request in new), "all in the store")
    assert results(stack, *before, *new) == ["HIT"] * (len(before) + len(new))
    assert writes(stack, "dropped") == writes(stack, "failed") == 0
    assert writes(stack, "stored") >= 2 + 20 + 5 * 50
    assert len(before) + len(new) <= upstream(stack) <= len(before) + 2 * len(new)


def test_who_holds_the_store_does_not_hold_up_the_end(make, tmp_path):
    stack = make()
    request = fixed()
    ask(stack, request)
    with WriteLock(tmp_path / "state" / "cache-v1"):
        assert results(stack, fixed(), fixed(), fixed()) == ["MISS"] * 3
        assert stack.sluice.process.stop() == 0
    second = make(OPENAI_BASE_URL=stack.sim.base_url)
    assert result(ask(second, request)) == "HIT"


def test_the_store_outlives_a_restart(make, tmp_path):
    first = make()
    upstream_url = first.sim.base_url
    request = fixed()
    ask(first, request)
    first.sluice.process.stop()
    second = make(OPENAI_BASE_URL=upstream_url)
    assert result(ask(second, request)) == "HIT"


def test_a_damaged_store_is_replaced(make, tmp_path):
    store = tmp_path / "state" / "cache-v1"
    store.parent.mkdir(mode=0o700)
    store.write_bytes(b"no store " * 1000)
    stack = make()
    request = fixed()
    assert results(stack, request, request) == ["MISS", "HIT"]
    assert any(line["event"] == "cache" for line in stack.sluice.log_lines())
