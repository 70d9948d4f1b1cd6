#!/usr/bin/env python3
"""By hand: what pausing a transfer means over HTTP/1.1 and over HTTP/2, the reason why streams go over HTTP/1.1.

    tests/.deps/venv/bin/python tests/system/measure_paused.py

Needs a built simulator, nginx, a C compiler and libcurl's headers.
"""

import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness.process import short_directory  # noqa: E402  (after the path)
from harness.secure_upstream import SecureUpstream  # noqa: E402
from harness.sim import Simulator  # noqa: E402
from harness.tls import certificate  # noqa: E402

MIB = 1 << 20


def main():
    directory = short_directory()
    program = directory / "measure_paused"
    subprocess.run(["cc", "-O2", Path(__file__).with_suffix(".c"), "-o", program, "-lcurl"], check=True)
    sim = Simulator(directory)
    upstream = SecureUpstream(sim)
    time.sleep(0.5)
    try:
        for version, name in (("1", "HTTP/1.1"), ("2", "HTTP/2")):
            sim.reset()
            command = [program, version, certificate().certificate, f"{upstream.base_url}/files/a/content?sim=size%3D400000000",
                       f"{upstream.base_url}/models"]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"{name}: taken from the upstream {sim.stats()['bytes_out'] / MIB:.1f} MiB; {said}")
    finally:
        upstream.stop()
        sim.stop()


if __name__ == "__main__":
    main()
