"""The program under test. SLUICE_BIN picks the binary; one built with sanitizers must end without a report."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from . import secrets
from .process import ROOT, Process, children_of, clean_environment, free_port, wait_until

BINARY = Path(os.environ.get("SLUICE_BIN", ROOT / "build" / "release" / "sluice"))
SANITIZED = bool(os.environ.get("SLUICE_ASAN"))
"""Whether the binary is slow and large because it watches itself."""


OPEN = {"RATE_LIMIT__REQUESTS_PER_MINUTE": 0, "RATE_LIMIT__TOKENS_PER_MINUTE": 0, "CACHE__ENABLED": "false"}
"""No limits and no cache, for the tests that ask often and want each request to go upstream."""


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
    secrets.note_settings(environment)
    result = subprocess.run(
        [str(BINARY), *arguments], env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30, check=False,
    )
    reports = sanitizer_reports(cwd)
    assert not reports, reports
    leaks = secrets.leaks_in_text("what it printed", result.stdout, result.stderr)
    assert not leaks, leaks
    return result


class Sluice:
    """A running sluice with a socket, a state directory and a log in `directory`."""

    def __init__(self, directory, env_file="", listen="unix", binary=None, **settings):
        self.directory = directory
        self.socket = directory / "sluice.sock"
        self.port = free_port() if listen == "tcp" else None
        self.address = f"127.0.0.1:{self.port}" if self.port else f"unix:{self.socket}"
        self.env_file = directory / "settings.env"
        self.env_file.write_text(env_file)
        secrets.note_settings_text(env_file)
        self.env_file.chmod(0o600)
        # No limits and no cache but for the tests about them: the others ask often, and want each request to go upstream.
        values = {"STATE_DIR": directory / "state", "DRAIN_SECONDS": 2, "WORKERS": 1, "LOG_LEVEL": "debug", **OPEN}
        values.update(settings)
        self.process = Process(
            "sluice",
            [binary or BINARY, "--env-file", self.env_file, "--listen", self.address],
            directory / "sluice.log",
            clean_environment(**sanitizer_environment(directory), **values),
            cwd=directory,
        )
        wait_until(lambda: self.process.must_live() and (self.port or self.socket.exists()), "sluice's socket")

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


class _Elsewhere:
    """Stands in for a process that somebody else starts."""

    status = None

    def must_live(self):
        return True


class SpawnedSluice(Sluice):
    """What a web server needs in order to start sluice by itself: a command, settings in a file, a state directory.

    owner: the user that the web server works as, where that is not ours."""

    def __init__(self, directory, env_file="", owner=None, **settings):
        self.directory = directory
        self.process = _Elsewhere()
        self.log = directory / "sluice.log"
        self.state = directory / "state"
        self.runtime = directory / "run"
        self.env_file = directory / "settings.env"
        values = {"DRAIN_SECONDS": 2, "WORKERS": 1, "LOG_LEVEL": "debug", "LOG_FILE": self.log, **OPEN, **settings}
        if os.geteuid() == 0 and not owner:
            values.setdefault("RUN_AS", "root")  # a web server hands no environment on
        lines = [f"{name}='{value}'" for name, value in values.items()]
        self.env_file.write_text("\n".join(lines) + "\n" + env_file)
        secrets.note_settings_text(self.env_file.read_text())
        self.log.touch()
        for path in (self.state, self.runtime):
            path.mkdir(mode=0o700)
        # The build folder may be closed to the web server's user.
        self.binary = Path(shutil.copy(BINARY, directory / "sluice"))
        self.command = f"{self.binary} --env-file {self.env_file}"
        for path in (self.env_file, self.log, self.state, self.runtime):
            if owner:
                shutil.chown(path, owner, owner)
        self.env_file.chmod(0o600)

    def processes(self):
        """Those that run with this directory's settings. (Their files only root may see.)"""
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline")
                if _arguments_of(path)[1:] == ["--env-file", str(self.env_file)]]

    def log_lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self):
        """The web server, which has ended, must have taken its processes with it."""
        wait_until(lambda: not self.processes(), "the end of the processes that the web server started", 15)
        reports = sanitizer_reports(self.directory)
        assert not reports, reports


def _arguments_of(command_line):
    try:
        return command_line.read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []
