"""Fixtures: `stack` is one running stack for all tests of a worker; `make_stack` starts another one for a test."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.stack import Stack  # noqa: E402  (after the path)

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
