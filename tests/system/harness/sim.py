"""The upstream simulator: a stand-in for OpenAI that does what a test tells it and counts what it saw."""

import os
from pathlib import Path

import httpx

from . import secrets
from .process import ROOT, Process, wait_until

BINARY = Path(os.environ.get("SLUICE_SIM_BIN", ROOT / "build" / "release" / "openai-sim"))


class Simulator:
    def __init__(self, directory, *arguments, scheme="http"):
        port_file = directory / "sim.port"
        self.process = Process(
            "simulator", [BINARY, "--port", "0", "--port-file", port_file, *arguments], directory / "sim.log"
        )
        secrets.is_foreign(self.process.log)
        wait_until(lambda: self.process.must_live() and port_file.exists() and port_file.read_text().strip(),
                   "the simulator's port")
        self.origin = f"{scheme}://127.0.0.1:{port_file.read_text().strip()}"
        self.base_url = self.origin + "/v1"
        secrets.is_foreign_port(int(self.origin.rpartition(":")[2]))
        self._http = httpx.Client(base_url=self.origin, trust_env=False, verify=False, timeout=30)

    def _post(self, name, text=""):
        answer = self._http.post(f"/_sim/{name}", content=text)
        assert answer.json() == {"ok": True}, answer.text

    def default(self, directives):
        """What every request gets that says nothing itself."""
        self._post("default", directives)

    def queue(self, *directives):
        """What the next requests get, one each."""
        self._post("queue", "\n".join(directives))

    def reset(self):
        self._post("reset")

    def stats(self):
        return self._http.get("/_sim/stats").json()

    def requests(self, last=64):
        return self._http.get(f"/_sim/requests?last={last}").json()

    def last_request(self):
        requests = self.requests(1)
        assert requests, "nothing arrived at the simulator"
        return requests[-1]

    def stop(self):
        self._http.close()
        return self.process.stop()
