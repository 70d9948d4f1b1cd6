"""Two minutes of tests/soak/run."""

import os

import pytest

from harness.mixed_soak import MixedSoak
from harness.redis import AVAILABLE
from harness.sluice import SANITIZED

MINUTES = float(os.environ.get("SLUICE_SOAK_MINUTES", "1" if SANITIZED else "2"))


@pytest.mark.skipif(not AVAILABLE, reason="no redis-server")
def test_mixed_load_with_faults():
    soak = MixedSoak()
    try:
        soak.check(soak.run(MINUTES))
    finally:
        soak.stop()
