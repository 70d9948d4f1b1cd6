"""The program under test. SLUICE_BIN picks the binary; one built with sanitizers must end without a report."""

import json
import os
import subprocess
from pathlib import Path

from .process import ROOT, Process, children_of, clean_environment, wait_until

BINARY = Path(os.environ.get("SLUICE_BIN", ROOT / "build" / "release" / "sluice"))
SANITIZED = bool(os.environ.get("SLUICE_ASAN"))
"""Whether the binary is slow and large because it watches itself."""


def sanitizer_environment(directory):
    return {
        "ASAN_OPTIONS": f"log_path={directory}/report-asan:detect_leaks=1:abort_on_error=0",
        "UBSAN_OPTIONS": f"log_path={directory}/report-ubsan:print_stacktrace=1:halt_on_error=1",
    }


def sanitizer_reports(directory):
    return "\n".join(path.read_text(errors="replace") for path in sorted(Path(directory).glob("report-*")))


def run(*arguments, cwd, **settings):
    """Runs sluice to its end, as for --check-config, with these settings only."""
    environment = clean_environment(**sanitizer_environment(cwd), **settings)
    result = subprocess.run(
        [str(BINARY), *arguments], env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30, check=False,
    )
    reports = sanitizer_reports(cwd)
    assert not reports, reports
    return result


class Sluice:
    """A running sluice with a socket, a state directory and a log in `directory`."""

    def __init__(self, directory, env_file="", **settings):
        self.directory = directory
        self.socket = directory / "sluice.sock"
        self.env_file = directory / "settings.env"
        self.env_file.write_text(env_file)
        self.env_file.chmod(0o600)
        values = {"STATE_DIR": directory / "state", "DRAIN_SECONDS": 2, "WORKERS": 1, "LOG_LEVEL": "debug"}
        values.update(settings)
        self.process = Process(
            "sluice",
            [BINARY, "--env-file", self.env_file, "--listen", f"unix:{self.socket}"],
            directory / "sluice.log",
            clean_environment(**sanitizer_environment(directory), **values),
            cwd=directory,
        )
        wait_until(lambda: self.process.must_live() and self.socket.exists(), "sluice's socket")

    def workers(self):
        return children_of(self.process.pid)

    def processes(self):
        return [self.process.pid, *self.workers()]

    def log_lines(self):
        """The log as objects. A line that is not one fails here; only warnings about settings come before the log."""
        lines = self.process.text().split("\n")
        return [json.loads(line) for line in lines if line and not line.startswith("warning: ")]

    def request_lines(self, **fields):
        """The lines about finished requests that have these values."""
        return [
            line
            for line in self.log_lines()
            if line.get("event") == "request" and all(line.get(name) == value for name, value in fields.items())
        ]

    def wait_for_line(self, **fields):
        return wait_until(lambda: self.request_lines(**fields), f"a log line with {fields}")[-1]

    def stop(self):
        status = self.process.stop()
        reports = sanitizer_reports(self.directory)
        assert not reports, reports
        assert status == 0, f"sluice ended with {status}:\n{self.process.text()[-4000:]}"
