"""Fixtures: `stack` is one running stack for all tests of a worker; `make_stack` starts another one for a test. `cached` and
`make_cached` are the same with a cache, once for each store."""

import os
import signal
import sys
from pathlib import Path

import pytest

# A run under nohup would hand "ignore SIGHUP" on to all that it starts.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

sys.path.insert(0, str(Path(__file__).parent))

from harness import secrets  # noqa: E402  (after the path)
from harness.caching import STORES, CachingStack  # noqa: E402
from harness.redis import AVAILABLE as REDIS_AVAILABLE  # noqa: E402
from harness.sluice import SANITIZED  # noqa: E402
from harness.stack import Stack  # noqa: E402
from harness.tls import forget_certificate  # noqa: E402

# What starts Sluice, and what web servers send, are the matter of these: the release build shows it.
collect_ignore = ["test_spawners.py", "test_front_records.py"] if SANITIZED else []


secrets.start()


@pytest.fixture(autouse=True)
def no_secret_is_left(request):
    """Behind all other fixtures: what the test's processes left in its directory, and what Sluice answered."""
    yield
    directory = request.node.funcargs.get("tmp_path")
    secrets.check(*([directory] if directory else []))


def pytest_unconfigure():
    forget_certificate()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Only root sees the descriptors and the memory of a Sluice: for others, tests that count them are skipped."""
    report = (yield).get_result()
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, PermissionError) and str(error.filename).startswith("/proc/") and os.geteuid() != 0:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], f"only root may see {error.filename}")


CHOSEN_FRONTS = os.environ.get("SLUICE_FRONTS", "lighttpd").split(",")


@pytest.fixture(scope="session", params=CHOSEN_FRONTS)
def front(request):
    return request.param


@pytest.fixture(scope="session")
def running_stack(front):
    stack = Stack(front, WORKERS=2)
    yield stack
    stack.stop()


@pytest.fixture
def stack(running_stack):
    """The running stack, with a simulator that has forgotten the test before."""
    running_stack.sim.reset()
    return running_stack


@pytest.fixture
def make_stack(front):
    """Starts a stack with settings of its own."""
    stacks = []

    def make(**settings):
        stacks.append(Stack(front, **settings))
        return stacks[-1]

    yield make
    for made in stacks:
        made.stop()


@pytest.fixture(scope="session", params=STORES)
def running_cache(request, tmp_path_factory):
    if request.param == "redis" and not REDIS_AVAILABLE:
        pytest.skip("no redis-server")
    stack = CachingStack(request.param, tmp_path_factory.mktemp("redis"))
    yield stack
    stack.stop()


@pytest.fixture
def cached(running_cache):
    """The running stack, whose simulator has forgotten the test before. (The cache has not: each test asks anew.)"""
    running_cache.sim.reset()
    return running_cache


@pytest.fixture(params=STORES)
def make_cached(request, tmp_path):
    """Starts a stack with settings of its own, and a cache."""
    if request.param == "redis" and not REDIS_AVAILABLE:
        pytest.skip("no redis-server")
    stacks = []

    def make(**settings):
        stacks.append(CachingStack(request.param, tmp_path, **settings))
        return stacks[-1]

    yield make
    for made in stacks:
        made.stop()
