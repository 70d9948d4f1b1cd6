"""The official clients that do not run in this interpreter: each is a small program that prints JSON lines."""

import json
import subprocess
from pathlib import Path

from . import keys
from .process import ROOT, clean_environment
from .tls import trusted_environment

PROGRAMS = Path(__file__).resolve().parents[1] / "clients"
DEPS = ROOT / "tests" / ".deps"


def _run(command, base_url, arguments, key):
    environment = clean_environment(
        TEST_BASE_URL=base_url, TEST_KEY=key, TEST_PACKAGES=DEPS / "node" / "node_modules",
        **trusted_environment(),
    )
    result = subprocess.run(
        [str(part) for part in command], env=environment, input=json.dumps(arguments), capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def python_028(base_url, arguments, key=keys.CLIENT):
    """openai 0.28: the answer, or each event; a raised error is an object with "raised"."""
    return _run([DEPS / "venv028/bin/python", PROGRAMS / "python_028.py"], base_url, arguments, key)


def node(base_url, arguments, key=keys.CLIENT):
    """The Node client, likewise."""
    return _run([DEPS / "venv/bin/node", PROGRAMS / "node_client.cjs"], base_url, arguments, key)


def curl(base_url, arguments, key=keys.CLIENT, options=()):
    """What curl prints for a chat completion."""
    command = ["curl", *options, "--silent", "--show-error", "--no-buffer", "--noproxy", "*", f"{base_url}/chat/completions",
               "--header", f"Authorization: Bearer {key}", "--header", "Content-Type: application/json",
               "--data-binary", json.dumps(arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, check=True, env=clean_environment()).stdout
