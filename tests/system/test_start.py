"""start.sh as a user runs it: without a terminal, with settings in the environment, several at once, and its end."""

import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess

import httpx
import pytest

from harness import keys, secrets
from harness.process import ROOT, Process, children_of, clean_environment, free_port, has_ipv6, short_directory, state_of, wait_until
from harness.bodies import chat
from harness.sim import Simulator
from harness.sluice import SANITIZED

pytestmark = pytest.mark.skipif(SANITIZED, reason="start.sh runs the release build")


class Start:
    """A running start.sh with a settings file of its own."""

    def __init__(self, directory, *arguments, wait=True, **settings):
        directory.mkdir(exist_ok=True)
        self.port = free_port()
        self.env_file = directory / "settings.env"
        settings.setdefault("STATE_DIR", directory / "state")
        self.process = Process(
            "start.sh", [ROOT / "start.sh", "--port", self.port, "--env-file", self.env_file, *arguments],
            directory / "start.log", clean_environment(**settings), cwd=directory,
        )
        if wait:
            wait_until(lambda: self.process.must_live() and "Sluice is ready" in self.process.text(), "start.sh", 240)
            wait_until(lambda: "print(answer" in self.process.text(), "the last line")
            self.children = self.launched()

    def tree(self, pid):
        return [pid] + [below for child in children_of(pid) for below in self.tree(child)]

    def launched(self):
        """The servers, and what they have started: each is in a process group of its own. What the script runs beside them, such
        as the cat that prints its last lines, is in the script's, and may end at any moment."""
        groups = {}
        for pid in self.tree(self.process.pid):
            try:
                groups[pid] = os.getpgid(pid)
            except ProcessLookupError:
                pass
        return [pid for pid, group in groups.items() if group != self.process.pid]

    def ask(self, key, host="localhost"):
        return httpx.post(f"http://{host}:{self.port}/v1/chat/completions", json=chat(), trust_env=False,
                          headers={"Authorization": f"Bearer {key}"}, timeout=20)

    def run_directory(self):
        return re.search(r"/tmp/sluice\.\w+", " ".join(
            open(f"/proc/{pid}/cmdline").read() for pid in self.children)).group()

    def stop(self, number=signal.SIGTERM):
        return self.process.stop(number)

    def check_what_it_printed(self):
        """The lines to be copied have a client key in them, and no other line has one."""
        secrets.is_foreign(self.process.log)
        lines = [line for line in self.process.text().splitlines() if not line.startswith(("curl ", "client = OpenAI("))]
        leaks = secrets.leaks_in_text("what it printed", *lines)
        assert not leaks, leaks


@pytest.fixture
def start(tmp_path):
    started = []

    def make(*arguments, **settings):
        started.append(Start(tmp_path / str(len(started)), *arguments, **settings))
        return started[-1]

    yield make
    for one in started:
        if one.process.status is None:
            one.stop()
        one.check_what_it_printed()


@pytest.fixture
def sim(tmp_path):
    simulator = Simulator(tmp_path)
    yield simulator
    simulator.stop()


def test_the_first_start_makes_settings_and_the_printed_lines_work(start):
    one = start()
    text = one.process.text()
    assert "SIMULATOR" in text
    assert stat.S_IMODE(one.env_file.stat().st_mode) == 0o600
    key = re.search(r"^CLIENT_API_KEYS=(\S{20,})$", one.env_file.read_text(), re.M).group(1)

    curl = next(line for line in text.splitlines() if line.startswith("curl "))
    answer = subprocess.run(shlex.split(curl) + ["--silent", "--noproxy", "*"], capture_output=True, text=True,
                            timeout=20, check=True)
    assert '"object":"chat.completion"' in answer.stdout
    assert key in curl

    snippet = text[text.index("from openai import"):text.index("print(answer")] + "print(answer.choices[0].message.content)"
    python = ROOT / "tests/.deps/venv/bin/python"
    answer = subprocess.run([python, "-c", snippet], capture_output=True, text=True, timeout=60, check=True,
                            env=clean_environment(NO_PROXY="localhost"))
    assert answer.stdout.startswith("The quick brown fox")


@pytest.mark.parametrize("front, program", [("nginx", "nginx"), ("apache", "apache2")])
def test_another_front(start, sim, front, program):
    one = start("--front", front, OPENAI_BASE_URL=sim.base_url, CLIENT_API_KEYS=keys.CLIENT)
    assert any(program in open(f"/proc/{pid}/cmdline").read() for pid in one.children)
    for host in ("127.0.0.1", *(["[::1]"] if has_ipv6() else [])):
        assert one.ask(keys.CLIENT, host).status_code == 200
    run_directory = one.run_directory()
    one.stop()
    assert [pid for pid in one.children if state_of(pid) not in (None, "Z")] == []
    assert not os.path.exists(run_directory)


def test_settings_are_never_overwritten(start, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "settings.env").write_text(f"CLIENT_API_KEYS='{keys.CLIENT}' # mine\n")
    one = start()
    assert one.env_file.read_text() == f"CLIENT_API_KEYS='{keys.CLIENT}' # mine\n"
    assert one.ask(keys.CLIENT).status_code == 200


def test_the_environment_beats_the_file(start, sim, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "settings.env").write_text(
        f"CLIENT_API_KEYS={keys.OTHER_CLIENT}\nOPENAI_BASE_URL=http://127.0.0.1:1/v1\nOPENAI_API_KEY=sk-file\nWORKERS=1\n"
    )
    one = start(OPENAI_BASE_URL=sim.base_url, OPENAI_API_KEY=keys.UPSTREAM, CLIENT_API_KEYS=keys.CLIENT, WORKERS=2,
                STATE_DIR="relative-state")
    assert "SIMULATOR" not in one.process.text()
    assert one.ask(keys.CLIENT).status_code == 200
    assert one.ask(keys.OTHER_CLIENT).status_code == 401
    assert sim.last_request()["headers"]["authorization"] == f"Bearer {keys.UPSTREAM}"
    (sluice,) = [pid for pid in children_of(one.process.pid) if len(children_of(pid)) > 0]
    assert len(children_of(sluice)) == 2
    assert (tmp_path / "0" / "relative-state").is_dir()


def test_a_local_upstream_needs_no_openai_key(start, sim):
    one = start(OPENAI_BASE_URL=sim.base_url, CLIENT_API_KEYS=keys.CLIENT, WORKERS=2)
    assert one.ask(keys.CLIENT).status_code == 200
    assert "SIMULATOR" not in one.process.text()


def test_mapped_keys_need_no_openai_key(start, sim):
    one = start(OPENAI_BASE_URL=sim.base_url, CLIENT_API_KEYS="", API_KEY_MAPPING=f'{{"{keys.MAPPED_CLIENT}": "sk-x"}}')
    assert f"Bearer {keys.MAPPED_CLIENT}" in one.process.text()
    assert one.ask(keys.MAPPED_CLIENT).status_code == 200


def test_no_secret_is_on_a_command_line(start, sim):
    one = start(OPENAI_BASE_URL=sim.base_url, OPENAI_API_KEY=keys.UPSTREAM, CLIENT_API_KEYS=keys.CLIENT)
    for pid in [one.process.pid, *one.children]:
        command = open(f"/proc/{pid}/cmdline").read()
        assert not any(secret in command for secret in keys.ALL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("front", ["lighttpd", "nginx", "apache"])
def test_root_serves_as_another_user(start, front):
    place = short_directory()
    place.chmod(0o711)
    try:
        started = start("--front", front, RUN_AS="", STATE_DIR=place / "state", CLIENT_API_KEYS=keys.CLIENT)
        assert started.ask(keys.CLIENT).status_code == 200
        servers = [pid for pid in started.children if os.readlink(f"/proc/{pid}/exe").endswith("/sluice")]
        assert len(servers) >= 2
        for pid in servers:
            status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
            assert set(status["Uid"].split()) == {str(pwd.getpwnam("www-data").pw_uid)}
        assert started.stop() == 143
    finally:
        shutil.rmtree(place)


def test_both_addresses_of_localhost(start):
    one = start(CLIENT_API_KEYS=keys.CLIENT)
    for host in ("localhost", "127.0.0.1", *(["[::1]"] if has_ipv6() else [])):
        assert one.ask(keys.CLIENT, host).status_code == 200


def test_two_side_by_side_with_one_state_directory(start, tmp_path):
    shared = tmp_path / "state"
    one = start(CLIENT_API_KEYS=keys.CLIENT, STATE_DIR=shared)
    two = start(CLIENT_API_KEYS=keys.OTHER_CLIENT, STATE_DIR=shared)
    assert one.ask(keys.CLIENT).status_code == 200
    assert two.ask(keys.OTHER_CLIENT).status_code == 200
    one.stop()
    assert two.ask(keys.OTHER_CLIENT).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["INT", "TERM", "HUP"])
def test_the_end_leaves_nothing_behind(start, number):
    one = start()
    run_directory = one.run_directory()
    assert len(one.children) >= 4 and os.path.isdir(run_directory)
    one.stop(number)
    assert [pid for pid in one.children if state_of(pid) not in (None, "Z")] == []
    assert not os.path.exists(run_directory)


@pytest.mark.parametrize("when", ["while it waits", "while it prints"])
def test_it_ends_when_a_part_ends(start, tmp_path, when):
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "cat").write_text('#!/bin/sh\n/bin/cat "$@"\nexec sleep 1\n')
    (slow / "cat").chmod(0o755)
    one = start(**({"PATH": f"{slow}:{os.environ['PATH']}"} if when == "while it prints" else {}))
    (lighttpd,) = [pid for pid in one.children if "lighttpd" in open(f"/proc/{pid}/cmdline").read()]
    os.kill(lighttpd, signal.SIGKILL)
    wait_until(lambda: one.process.status is not None, "the end", 15)
    assert one.process.status == 1
    assert "lighttpd ended unexpectedly" in one.process.text()
    assert [pid for pid in one.children if state_of(pid) not in (None, "Z")] == []


def test_a_port_in_use(start, sim):
    port = sim.origin.rpartition(":")[2]
    result = subprocess.run([ROOT / "start.sh", "--port", port], capture_output=True, text=True, timeout=60,
                            stdin=subprocess.DEVNULL, env=clean_environment(), check=False)
    assert result.returncode == 1
    assert f"port {port} is in use" in result.stderr


def test_bad_settings_are_shown(tmp_path):
    one = Start(tmp_path / "0", wait=False, WORKERS="many", CLIENT_API_KEYS=keys.CLIENT)
    wait_until(lambda: one.process.status is not None, "the end", 240)
    assert one.process.status == 1
    assert "WORKERS" in one.process.text() and "sluice did not start" in one.process.text()


@pytest.mark.parametrize("arguments, status", [(["--help"], 0), (["--port"], 1), (["--port", "x"], 1), (["--port=0"], 1),
                                               (["--front", "iis"], 1), (["surplus"], 1)], ids=str)
def test_arguments(arguments, status):
    result = subprocess.run([ROOT / "start.sh", *arguments], capture_output=True, text=True, timeout=60,
                            stdin=subprocess.DEVNULL, env=clean_environment(), check=False)
    assert result.returncode == status, result.stderr
    assert "--port" in result.stdout + result.stderr or "front" in result.stderr
