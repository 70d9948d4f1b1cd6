"""`sluice doctor` as an operator runs it."""

import json
import subprocess

from . import keys, secrets
from .process import clean_environment
from .sluice import BINARY, sanitizer_environment, sanitizer_reports


def run_doctor(*arguments, cwd, key=keys.CLIENT, text=None):
    """Its whole result; `text` is what it reads from standard input."""
    environment = clean_environment(**sanitizer_environment(cwd), SLUICE_DOCTOR_KEY=key)
    result = subprocess.run([str(BINARY), "doctor", *arguments], env=environment, cwd=cwd, input=text or "",
                            capture_output=True, text=True, timeout=150, check=False)
    reports = sanitizer_reports(cwd)
    assert not reports, reports
    leaks = secrets.leaks_in_text("what it printed", result.stdout, result.stderr)
    assert not leaks, leaks
    return result


class Findings:
    """What it found, by the names of its checks."""

    def __init__(self, result):
        assert result.returncode in (0, 1), result.stdout + result.stderr
        self.status = result.returncode
        self.report = json.loads(result.stdout)
        self.checks = {check["name"]: check for check in self.report["checks"]}
        faults = [name for name, check in self.checks.items() if check["status"] == "FAIL"]
        assert len(faults) == self.report["faults"] and self.status == (1 if faults else 0), result.stdout

    def __getitem__(self, name):
        return self.checks[name]

    def wrong(self):
        """The names of all that is not as it should be."""
        return {name: check["status"] for name, check in self.checks.items() if check["status"] in ("FAIL", "warn")}


def findings(url, *arguments, cwd, **options):
    arguments = arguments or ("--quick",)
    return Findings(run_doctor(url, "--json", *arguments, cwd=cwd, **options))
