"""Which web servers the tests of test_fronts.py run through: SLUICE_FRONT_CELLS, or a choice that covers each server."""

import os

from .front import FRONTS
from .sluice import SANITIZED

if os.environ.get("SLUICE_FRONT_CELLS") == "all":
    CELLS = list(FRONTS)
elif os.environ.get("SLUICE_FRONT_CELLS"):
    CELLS = os.environ["SLUICE_FRONT_CELLS"].split(",")
elif SANITIZED:
    CELLS = ["nginx-kept"]  # the one that works Sluice hardest: kept connections, bodies in pieces
else:
    CELLS = ["lighttpd-tcp", "lighttpd-spawn", "nginx-kept", "nginx-tcp", "apache-proxy", "apache-fcgid"]
