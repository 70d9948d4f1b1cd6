"""Whom Sluice works as when root starts it, and what another process of the same user may see of it."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from harness import keys
from harness.bodies import chat
from harness.front import AS_ROOT, Nginx
from harness.process import Process, children_of, clean_environment, free_port, short_directory, wait_until
from harness.sim import Simulator
from harness.sluice import BINARY, OPEN, SANITIZED, sanitizer_environment, sanitizer_reports

pytestmark = pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
WEB = pwd.getpwnam("www-data")
NUMBER = 23456
"""A user without a name, a home, or any right."""


class Place:
    """A folder that every user may enter, as /run and /var/lib are, with a simulator, and Sluices that root starts."""

    def __init__(self):
        self.directory = short_directory()
        self.directory.chmod(0o711)
        self.sim = Simulator(self.directory)
        self.socket, self.state, self.log = (self.directory / name for name in ("sluice.sock", "state", "sluice.jsonl"))
        (self.directory / "bin").mkdir(mode=0o755)
        self.binary = Path(shutil.copy(BINARY, self.directory / "bin" / "sluice"))
        self.env_file = self.directory / "settings.env"
        self.started, self.front = [], None

    def settings(self, **more):
        values = {"OPENAI_BASE_URL": self.sim.base_url, "OPENAI_API_KEY": keys.UPSTREAM, "CLIENT_API_KEYS": keys.CLIENT,
                  "STATE_DIR": self.state, "WORKERS": 2, "DRAIN_SECONDS": 2, "RUN_AS": "",
                  "LISTEN_GROUP": "www-data", **OPEN, **more}
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        self.env_file.chmod(0o640)
        shutil.chown(self.env_file, "root", "www-data")

    def launch(self, *prefix, **settings):
        self.settings(**settings)
        environment = clean_environment(**sanitizer_environment(self.directory))
        environment.pop("RUN_AS")
        process = Process("sluice", [*prefix, self.binary, "--env-file", self.env_file, "--listen", f"unix:{self.socket}"],
                          self.directory / "sluice.log", environment, cwd=self.directory)
        self.started.append(process)
        return process

    def start(self, *prefix, **settings):
        process = self.launch(*prefix, **settings)
        wait_until(lambda: process.must_live() and len(children_of(process.pid)) == 2, "two workers")
        return process

    def stop(self):
        if self.front:
            self.front.stop()
        for process in reversed(self.started):
            serves = process.status is None
            status = process.stop()
            assert not serves or status == 0, process.text()[-2000:]
        self.sim.stop()
        reports = sanitizer_reports(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not reports, reports


@pytest.fixture
def place():
    made = Place()
    if SANITIZED:
        made.directory.chmod(0o733)  # for reports
    yield made
    made.stop()


def identity(pid):
    """User ids, group ids, groups, and whether further rights can be had, of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return ({int(n) for n in fields["Uid"].split()}, {int(n) for n in fields["Gid"].split()},
            {int(n) for n in fields["Groups"].split()},
            {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")}, fields["NoNewPrivs"].strip())


def all_of(process):
    return [process.pid, *children_of(process.pid)]


def status_of_a_request(place):
    place.front = place.front or Nginx(place.directory, place)

    def ask():
        try:
            return httpx.post(place.front.origin + "/v1/chat/completions", json=chat(), trust_env=False,
                              headers={"Authorization": f"Bearer {keys.CLIENT}"})
        except httpx.HTTPError:
            return None

    return wait_until(ask, "an answer").status_code


# ---- the change -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_as, user, group", [("", WEB.pw_uid, WEB.pw_gid), ("www-data", WEB.pw_uid, WEB.pw_gid),
                                                 (str(WEB.pw_uid), WEB.pw_uid, WEB.pw_gid), (str(NUMBER), NUMBER, NUMBER)])
def test_root_becomes_the_user(place, run_as, user, group):
    process = place.start(RUN_AS=run_as)
    groups = set(os.getgrouplist("www-data", WEB.pw_gid)) if user == WEB.pw_uid else {group}
    for pid in all_of(process):
        assert identity(pid) == ({user}, {group}, groups, {0}, "1"), pid
    socket, state = place.socket.stat(), place.state.stat()
    assert (socket.st_uid, socket.st_gid, stat.S_IMODE(socket.st_mode)) == (user, WEB.pw_gid, 0o660)
    assert (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (user, group, 0o700)
    assert status_of_a_request(place) == 200
    made = [path.lstat() for path in place.state.rglob("*")]
    assert made and all(info.st_uid == user and stat.S_IMODE(info.st_mode) & 0o077 == 0 for info in made)


def test_root_stays_root_where_it_is_told_to(place):
    process = place.start(RUN_AS="root")
    assert all(identity(pid)[0] == {0} for pid in all_of(process))
    wait_until(lambda: '"event":"runs_as_root"' in process.text(), "the warning")


def test_a_user_that_is_not_there(place):
    process = place.launch(RUN_AS="no-such-user")
    wait_until(lambda: process.status is not None, "its end")
    assert process.status == 1 and 'RUN_AS: there is no user "no-such-user" on this machine' in process.text()
    assert not place.socket.exists() and not place.state.exists()


def test_another_user_than_root_cannot_choose(place):
    place.state.mkdir(mode=0o700)
    os.chown(place.state, NUMBER, NUMBER)
    run = ("setpriv", "--reuid", str(NUMBER), "--regid", str(WEB.pw_gid), "--clear-groups")
    process = place.launch(*run, RUN_AS="www-data")
    wait_until(lambda: process.status is not None, "its end")
    assert process.status == 1 and f'user {NUMBER} has started this and cannot become "www-data"' in process.text()


def test_a_root_without_the_right_to_change_does_not_serve(place):
    process = place.launch("setpriv", "--bounding-set", "-setuid", "--inh-caps", "-setuid")
    wait_until(lambda: process.status is not None, "its end")
    assert process.status == 1 and "RUN_AS: cannot become user www-data" in process.text()
    assert not place.socket.exists()


def test_a_way_back_is_found(place):
    """Securebits that keep root's rights over the change of user."""
    process = place.launch("setpriv", "--securebits", "+no_setuid_fixup")
    wait_until(lambda: process.status is not None, "its end")
    assert process.status == 1 and "the way back from user www-data to root is open" in process.text()
    assert not place.socket.exists()


# ---- what the supervisor does later, as the user --------------------------------------------------------------------------


def test_reload_upgrade_and_log_files_work_without_root(place):
    place.directory.chmod(0o777)  # where a log may be rotated
    process = place.start(LOG_FILE=place.log)
    assert place.log.stat().st_uid == WEB.pw_uid and stat.S_IMODE(place.log.stat().st_mode) == 0o600
    before = children_of(process.pid)
    process.send(signal.SIGHUP)
    wait_until(lambda: '"event":"reloaded"' in place.log.read_text(), "the reload")
    wait_until(lambda: not set(before) & set(children_of(process.pid)), "new workers")
    place.log.rename(place.log.with_suffix(".1"))
    process.send(signal.SIGUSR1)
    wait_until(place.log.exists, "a new log")
    before = children_of(process.pid)
    process.send(signal.SIGUSR2)
    wait_until(lambda: '"event":"upgraded"' in place.log.read_text(), "the upgrade")
    wait_until(lambda: not set(before) & set(children_of(process.pid)) and len(children_of(process.pid)) == 2, "new workers")
    for pid in all_of(process):
        assert identity(pid)[0] == {WEB.pw_uid} and identity(pid)[3:] == ({0}, "1")
        assert_closed(pid, WEB.pw_uid)
    assert status_of_a_request(place) == 200


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/stderr"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_standard_output_is_a_log_that_need_not_be_opened(place, name, kind):
    """What stands behind it is root's, and nobody else may open it."""
    prefix = ["/bin/sh", "-c", 'exec "$@" 2>&1 | cat', "sh"] if kind == "pipe" else []
    process = place.launch(*prefix, LOG_FILE=name)
    wait_until(lambda: process.must_live() and '"event":"started"' in process.text(), "the start")
    first = next(json.loads(line)["pid"] for line in process.text().splitlines() if '"event":"started"' in line)
    for signal_, event in [(signal.SIGUSR1, None), (signal.SIGHUP, "reloaded"), (signal.SIGUSR2, "upgraded")]:
        os.kill(first, signal_)
        wait_until(lambda: not event or f'"event":"{event}"' in process.text(), event)
    assert status_of_a_request(place) == 200
    wait_until(lambda: '"event":"request"' in process.text(), "the line of a worker")
    if kind == "pipe":
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: process.status is not None, "the end of the shell")


def test_settings_that_the_user_cannot_read_are_told_of(place):
    place.settings()
    process = place.launch(RUN_AS="www-data")
    place.env_file.chmod(0o600)
    wait_until(lambda: "user www-data cannot read it" in process.text() or len(children_of(process.pid)) == 2, "its start")
    process.send(signal.SIGHUP)
    wait_until(lambda: '"event":"reload_refused"' in process.text(), "the refusal")
    assert status_of_a_request(place) == 200


def test_a_state_directory_of_root_is_given_with_what_is_in_it(place):
    process = place.start(RUN_AS="root")
    assert status_of_a_request(place) == 200
    process.stop()
    (place.state / "outside").symlink_to("/etc/passwd")
    process = place.start(RUN_AS="www-data")
    assert {path.lstat().st_uid for path in (place.state, *place.state.rglob("*"))} == {WEB.pw_uid}
    assert Path("/etc/passwd").stat().st_uid == 0
    assert status_of_a_request(place) == 200


def test_commands_of_root_work_as_the_owner(place):
    process = place.start(CACHE__ENABLED="true", RATE_LIMIT__REQUESTS_PER_MINUTE=100)
    assert status_of_a_request(place) == 200
    for command in (["cache", "stats"], ["cache", "clear"], ["limits"]):
        result = subprocess.run([place.binary, *command, "--env-file", place.env_file], capture_output=True, text=True,
                                env=clean_environment(), timeout=20, check=False)
        assert result.returncode == 0, result.stderr
    assert {path.lstat().st_uid for path in place.state.rglob("*")} == {WEB.pw_uid}
    process.must_live()


# ---- what others of the same user see ---------------------------------------------------------------------------------


def as_user(uid, *command):
    return subprocess.run(["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *command],
                          capture_output=True, text=True, timeout=20, check=False)


def assert_closed(pid, uid):
    for name in ("environ", "mem", "maps", "auxv"):
        found = as_user(uid, "head", "-c", "1", f"/proc/{pid}/{name}")
        assert found.returncode != 0 and "Permission denied" in found.stderr, (name, found.stderr)
    assert as_user(uid, "ls", f"/proc/{pid}/fd").returncode != 0


@pytest.mark.parametrize("by", ["root", "himself"])
def test_the_same_user_cannot_look_into_a_process(place, by):
    """Started by root, and without him."""
    settings = {"RUN_AS": str(NUMBER)} if by == "root" else {"LISTEN_GROUP": ""}
    place.directory.chmod(0o777)
    place.settings(**settings)
    run = () if by == "root" else ("setpriv", "--reuid", str(NUMBER), "--regid", str(WEB.pw_gid), "--clear-groups")
    process = place.start(*run, **settings)
    mine = subprocess.Popen(["setpriv", "--reuid", str(NUMBER), "--regid", str(NUMBER), "--clear-groups", "sleep", "60"])
    try:
        # Of a process that does not forbid it he can see all this: the test tells the two apart.
        wait_until(lambda: as_user(NUMBER, "head", "-c", "1", f"/proc/{mine.pid}/environ").returncode == 0, "another process")
    finally:
        mine.kill()
        mine.wait()
    for pid in all_of(process):
        assert_closed(pid, NUMBER)
        assert "0" in Path(f"/proc/{pid}/limits").read_text().split("Max core file size")[1].split()[0]


def test_no_key_is_on_a_command_line(place):
    process = place.start()
    process.send(signal.SIGUSR2)
    wait_until(lambda: '"event":"upgraded"' in process.text(), "the upgrade")
    wait_until(lambda: len(children_of(process.pid)) == 2, "the new workers")
    for pid in all_of(process):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        assert str(place.binary) in line and not any(key in line for key in keys.ALL)
        assert Path(f"/proc/{pid}/comm").read_text().strip() == "sluice"


# ---- traps in directories that others can write ---------------------------------------------------------------------------


def test_a_link_of_another_user_does_not_choose_the_log(place):
    trap, victim = place.directory / "trap", place.directory / "victim"
    victim.touch()
    trap.symlink_to(victim)
    os.chown(trap, NUMBER, NUMBER, follow_symlinks=False)
    process = place.launch(LOG_FILE=trap, RUN_AS="root")
    wait_until(lambda: process.status is not None, "its end")
    assert process.status == 1 and "LOG_FILE" in process.text() and victim.read_text() == ""
    assert not place.socket.exists()


def test_what_others_left_in_an_open_state_directory(place):
    place.state.mkdir()
    place.state.chmod(0o777)
    (place.state / "cache-v1").mkdir()
    os.chown(place.state / "cache-v1", NUMBER, NUMBER)
    for _ in range(2):
        process = place.launch()
        wait_until(lambda: process.status is not None, "its end")
        assert process.status == 1 and f'"cache-v1" in it is of user {NUMBER}' in process.text()
    (place.state / "cache-v1").rmdir()
    place.start()
    assert stat.S_IMODE(place.state.stat().st_mode) == 0o700


def test_a_state_directory_of_a_third_user(place):
    place.state.mkdir(mode=0o700)
    os.chown(place.state, NUMBER, NUMBER)
    process = place.launch()
    wait_until(lambda: process.status is not None, "its end")
    assert process.status == 1 and f"belongs to user {NUMBER}, and this process runs as user {WEB.pw_uid}" in process.text()
