"""What a request costs in instructions, allocations and system calls stays within what tests/bench/instructions.json keeps."""

import os
import shutil
import subprocess
import sys

import pytest
from harness.process import ROOT
from harness.sluice import SANITIZED

if SANITIZED:
    pytest.skip("the sanitizer's own work would be counted", allow_module_level=True)


@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind: scripts/install-deps test")
def test_a_request_costs_no_more_than_is_kept():
    done = subprocess.run([sys.executable, ROOT / "tests" / "bench" / "instructions"], env=dict(os.environ),
                          capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
