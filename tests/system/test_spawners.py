"""Sluice as others start it: a shared host's Apache, spawn-fcgi, multiwatch, systemd; from the files in deploy/."""

import asyncio
import grp
import os
import re
import shutil
import signal
import socket as sockets
import stat
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from harness import clients, facts, keys, secrets
from harness.bodies import chat
from harness.front import AS_ROOT, DEPLOY, Apache, Nginx
from harness.process import Process, children_of, clean_environment, free_port, short_directory, state_of, wait_until
from harness.sim import Simulator
from harness.sluice import BINARY, OPEN, SpawnedSluice, run
from harness.sse import data_of
from harness.tls import certificate
from test_fronts import delays_of, describe

KEY = {"Authorization": f"Bearer {keys.CLIENT}"}
UNPRIVILEGED = 23456
"""A user that is nobody: without a name, a home, or any right."""


@pytest.fixture
def place():
    directory = short_directory()
    directory.chmod(0o711)
    simulator = Simulator(directory)
    yield directory, simulator
    simulator.stop()
    secrets.remove_directory(directory)


def settings_text(simulator, **more):
    values = {"OPENAI_BASE_URL": simulator.base_url, "OPENAI_API_KEY": keys.UPSTREAM, "CLIENT_API_KEYS": keys.CLIENT,
              "DRAIN_SECONDS": 2, **OPEN, **more}
    return "".join(f"{name}={value}\n" for name, value in values.items())


def post(origin, **options):
    return httpx.post(f"{origin}/v1/chat/completions", json=chat(), headers=KEY, trust_env=False, timeout=20, **options)


# ---- shared hosting ---------------------------------------------------------------------------------------------------


class SharedHost(Apache):
    """A hoster's Apache with mod_fcgid as it is by default; all of it as one user without any right, in one tree."""

    name = "shared-hosting"
    user = None

    def start(self):
        home, run_directory = self.directory / "home", self.directory / "run"
        modules = (*self.modules, "fcgid")
        configuration = self.write(
            "apache.conf", f'ServerRoot "{self.directory}"', f"DefaultRuntimeDir {run_directory}", "ServerName localhost",
            f"PidFile {run_directory}/apache.pid", f"ErrorLog {run_directory}/apache.log", "LogLevel warn",
            *(f"LoadModule {name}_module {self.module_folder}/mod_{name}.so" for name in modules),
            f"FcgidIPCDir {run_directory}", f"FcgidProcessTableFile {run_directory}/table",
            *self.sluice.host_settings,
            "AddOutputFilterByType DEFLATE application/json text/event-stream",
            f"Listen 127.0.0.1:{self.port}", f"Listen 127.0.0.1:{self.tls_port}", f'DocumentRoot "{home}/public_html"',
            f'<Directory "{home}/public_html">', "AllowOverride FileInfo Options", "Require all granted", "</Directory>",
            f"<VirtualHost *:{self.tls_port}>", f'DocumentRoot "{home}/public_html"', "SSLEngine on",
            f"SSLCertificateFile {certificate().both}", "</VirtualHost>",
        )
        command = ["apache2", "-D", "FOREGROUND", "-f", configuration]
        if AS_ROOT:
            for path in [self.directory, *self.directory.rglob("*")]:
                if path.name not in ("sim.port", "sim.log"):
                    os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
            os.chown(certificate().both, UNPRIVILEGED, UNPRIVILEGED)
            certificate().both.parent.chmod(0o711)
            user = f"{UNPRIVILEGED}"
            command = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs",
                       "--bounding-set=-all", "--inh-caps=-all", *command]
        return Process("apache", command, run_directory / "apache.out.log", clean_environment(HOME="/nonexistent"),
                       cwd=self.directory)


class HostedSluice:
    """An account: ~/sluice is private, ~/public_html is served."""

    def __init__(self, directory, simulator, folder="", host_settings=(), **settings):
        self.home, self.host_settings = directory / "home", host_settings
        self.private, public = self.home / "sluice", self.home / "public_html" / folder
        for path in (self.private, public, directory / "run"):
            path.mkdir(parents=True)
        for name in (".htaccess", "sluice.fcgi"):
            shutil.copy(DEPLOY / "shared-hosting" / name, public)
        self.binary = Path(shutil.copy(BINARY, self.private / "sluice"))
        self.env_file = self.private / "sluice.env"
        self.env_file.write_text(settings_text(simulator, **settings))
        self.env_file.chmod(0o600)

    processes = SpawnedSluice.processes


@pytest.fixture
def hosted(place):
    directory, simulator = place
    started = []

    def make(**options):
        sluice = HostedSluice(directory, simulator, **options)
        host = SharedHost(directory, sluice)
        started.append(host)
        wait_until(lambda: host.process.must_live() and is_healthy(host.origin + "/" + options.get("folder", "")),
                   "the host", 20)
        return host, sluice, simulator

    yield make
    for host in started:
        host.stop()
        wait_until(lambda: not host.sluice.processes(), "the end of the account's processes", 15)


def is_healthy(origin):
    try:
        return httpx.get(origin.rstrip("/") + "/health", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_shared_hosting_without_any_right(hosted):
    host, sluice, simulator = hosted()
    assert post(host.origin).status_code == 200
    assert post(host.tls_origin, verify=certificate().context()).status_code == 200
    events = data_of(clients.curl(host.origin + "/v1", {**chat("events=20"), "stream": True}))
    assert events == data_of(clients.curl(simulator.base_url, {**chat("events=20"), "stream": True}))
    state = (sluice.private / "state").stat()
    assert stat.S_IMODE(state.st_mode) == 0o700
    (pid, *_) = sluice.processes()
    status = Path(f"/proc/{pid}/status").read_text()
    assert state.st_uid == int(re.search(r"^Uid:\s+(\d+)", status, re.M).group(1))
    if AS_ROOT:
        assert state.st_uid == UNPRIVILEGED
        assert re.search(r"^CapBnd:\s+0+$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)


def test_shared_hosting_in_a_folder(hosted):
    host, _, simulator = hosted(folder="ai", BASE_PATH="/ai")
    assert post(host.origin + "/ai").status_code == 200
    httpx.get(host.origin + "/ai/v1/x%20y", headers=KEY, trust_env=False)
    assert simulator.last_request()["target"] == "/v1/x%20y"
    for name in (".htaccess", "sluice.fcgi"):
        assert httpx.get(f"{host.origin}/ai/{name}", trust_env=False, headers=KEY).status_code in (403, 404)


@pytest.mark.parametrize("host_settings", [(), ("FcgidOutputBufferSize 0",)], ids=["default", "output buffer 0"])
def test_the_delay_of_events_on_a_shared_host(hosted, host_settings):
    """By default the module gathers 64 KiB; only the host can change that. It is written down, not judged."""
    host, _, _ = hosted(host_settings=host_settings)
    with httpx.Client(trust_env=False, timeout=30, headers=KEY) as client, client.stream(
            "POST", host.origin + "/v1/chat/completions", json={**chat("ts=1;events=20;pace=25"), "stream": True}) as answer:
        delays = describe(delays_of(answer.iter_lines()))
    facts.note("shared-hosting", f"delay {host_settings}", delays)
    assert delays["events"] == 20
    if host_settings:
        assert delays["median"] < 25, delays


def test_twenty_streams_on_a_shared_host(hosted):
    host, sluice, _ = hosted(host_settings=("FcgidOutputBufferSize 0",))

    async def one(client):
        async with client.stream("POST", host.origin + "/v1/chat/completions",
                                 json={**chat("events=30;pace=50"), "stream": True}) as answer:
            return data_of(await answer.aread())[-1]

    async def all_of_them():
        async with httpx.AsyncClient(trust_env=False, timeout=60, headers=KEY) as client:
            return await asyncio.gather(*(one(client) for _ in range(20)))

    assert asyncio.run(all_of_them()) == ["[DONE]"] * 20
    assert len(sluice.processes()) > 1


def test_the_wrapper_without_a_private_folder(tmp_path):
    script = shutil.copy(DEPLOY / "shared-hosting" / "sluice.fcgi", tmp_path)
    result = subprocess.run([script], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == 1 and 'no folder "sluice"' in result.stderr


# ---- spawn-fcgi and multiwatch ------------------------------------------------------------------------------------------


class Given:
    """What a front needs to know of a Sluice that somebody else started."""

    def __init__(self, socket=None, port=None):
        self.socket, self.port = socket, port


def spawner_environment(directory, simulator, **more):
    settings = directory / "sluice.env"
    settings.write_text(settings_text(simulator, STATE_DIR=directory / "state", LOG_FILE=directory / "sluice.log"))
    settings.chmod(0o600)
    return clean_environment(SLUICE=BINARY, SLUICE_ENV=settings, SLUICE_PID=directory / "sluice.pid",
                             SLUICE_SOCKET=directory / "sluice.sock", SLUICE_MODE="0666", **more)


def ask_through_nginx(directory, given):
    front = Nginx(directory, given)
    try:
        wait_until(lambda: is_healthy(front.origin), "nginx", 10)
        assert post(front.origin).status_code == 200
    finally:
        front.stop()


def wait_gone(pid):
    wait_until(lambda: state_of(pid) in (None, "Z"), f"the end of process {pid}", 15)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_spawn_fcgi(place, kind):
    directory, simulator = place
    port = free_port() if kind == "tcp" else None
    environment = spawner_environment(directory, simulator, SLUICE_PORT=port)
    subprocess.run([DEPLOY / "spawn-fcgi" / "sluice-spawn"], env=environment, check=True, capture_output=True, timeout=20,
                   cwd=directory)
    pid = int((directory / "sluice.pid").read_text())
    try:
        if port:
            front = type("NginxTo", (Nginx,), {"where": lambda self: f"127.0.0.1:{port}"})
            nginx = front(directory, Given(port=port))
            wait_until(lambda: is_healthy(nginx.origin), "nginx", 10)
            assert post(nginx.origin).status_code == 200
            nginx.stop()
        else:
            ask_through_nginx(directory, Given(directory / "sluice.sock"))
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_gone(pid)
    assert '"event":"stopped"' in (directory / "sluice.log").read_text()


def test_multiwatch(place):
    directory, simulator = place
    environment = spawner_environment(directory, simulator, SLUICE_PROCESSES=3)
    process = Process("multiwatch", [DEPLOY / "spawn-fcgi" / "sluice-multiwatch"], directory / "multiwatch.log",
                      environment, cwd=directory)
    processes = wait_until(lambda: process.must_live() and len(found := children_of(process.pid)) == 3 and found, "three")
    ask_through_nginx(directory, Given(directory / "sluice.sock"))
    os.kill(processes[0], signal.SIGKILL)
    wait_until(lambda: len(children_of(process.pid)) == 3 and processes[0] not in children_of(process.pid), "another one")
    assert process.stop() == 0
    for pid in processes:
        wait_gone(pid)


# ---- systemd ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path):
    """The units as they are shipped, but for the program's path, which verify wants to exist."""
    for name in ("sluice.service", "socket-activation/sluice.socket", "socket-activation/sluice.service.d/socket.conf"):
        text = (DEPLOY / "systemd" / name).read_text()
        target = tmp_path / Path(name).relative_to("socket-activation") if "/" in name else tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text.replace("/usr/local/bin/sluice", str(BINARY)))
    return tmp_path


@pytest.mark.parametrize("activated", [False, True], ids=["service", "socket activation"])
def test_units_are_right(units, activated):
    if not activated:
        shutil.rmtree(units / "sluice.service.d")
        (units / "sluice.socket").unlink()
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", *units.glob("sluice.*t*"), units / "sluice.service"],
                            capture_output=True, text=True, check=False, timeout=60)
    complaints = [line for line in result.stderr.splitlines() if "sluice" in line]
    assert (result.returncode, complaints) == (0, []), result.stderr


def test_units_are_hardened(units):
    result = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20",
                             units / "sluice.service"], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr


def test_socket_activation(place):
    """systemd's own socket-activate does what the unit sluice.socket asks of systemd."""
    directory, simulator = place
    environment = spawner_environment(directory, simulator)
    socket = directory / "sluice.sock"
    passed = [f"--setenv={name}" for name in ("PATH", "HOME")]
    process = Process("systemd-socket-activate",
                      ["systemd-socket-activate", f"--listen={socket}", *passed, BINARY, "--env-file", directory / "sluice.env"],
                      directory / "activate.log", environment, cwd=directory)
    wait_until(lambda: process.must_live() and socket.exists(), "the socket")
    socket.chmod(0o666)
    assert "started" not in process.text()
    ask_through_nginx(directory, Given(socket))  # the first request starts Sluice
    assert process.stop() == 0
    assert '"event":"stopped"' in (directory / "sluice.log").read_text()
    assert socket.exists(), "the socket is systemd's"


def test_a_restart_under_socket_activation_loses_no_request(place):
    """What comes while there is no Sluice waits in the socket, and the next one answers it."""
    directory, simulator = place
    spawner_environment(directory, simulator)
    listening = sockets.socket(sockets.AF_UNIX)
    listening.bind(str(directory / "sluice.sock"))
    listening.listen(1024)
    os.chmod(directory / "sluice.sock", 0o666)

    def start():
        environment = clean_environment(LISTEN_FDS="1")
        # As systemd does it: the socket is descriptor 3, and LISTEN_PID the process that the program becomes.
        script = 'exec 3<&0 </dev/null; export LISTEN_PID=$$; exec "$@"'
        return subprocess.Popen(["sh", "-c", script, "sh", str(BINARY), "--env-file", str(directory / "sluice.env")],
                                stdin=listening.fileno(), env=environment, cwd=directory, start_new_session=True)

    sluice = start()
    front = Nginx(directory, Given(directory / "sluice.sock"))
    try:
        wait_until(lambda: is_healthy(front.origin), "nginx", 10)
        outcomes = []

        async def load():
            async with httpx.AsyncClient(trust_env=False, timeout=30, headers=KEY) as client:
                async def ask():
                    end = time.monotonic() + 4
                    while time.monotonic() < end:
                        answer = await client.post(front.origin + "/v1/chat/completions",
                                                   json={**chat("events=5;pace=20"), "stream": True})
                        outcomes.append(answer.status_code == 200 and data_of(answer.content)[-1] == "[DONE]")

                await asyncio.gather(*(ask() for _ in range(8)), restarts())

        async def restarts():
            nonlocal sluice
            for _ in range(3):
                await asyncio.sleep(0.8)
                sluice.terminate()
                assert await asyncio.to_thread(sluice.wait, 15) == 0
                sluice = start()

        asyncio.run(load())
        assert len(outcomes) > 50 and all(outcomes), (len(outcomes), outcomes.count(False))
    finally:
        front.stop()
        sluice.terminate()
        sluice.wait(15)
        listening.close()


# ---- the socket and the state directory -----------------------------------------------------------------------------------


def start_listening(directory, simulator, **settings):
    values = dict(OPENAI_BASE_URL=simulator.base_url, OPENAI_API_KEY=keys.UPSTREAM, CLIENT_API_KEYS=keys.CLIENT,
                  STATE_DIR=directory / "state", WORKERS=1, LISTEN=f"unix:{directory}/sluice.sock", **OPEN, **settings)
    return Process("sluice", [BINARY], directory / "sluice.log", clean_environment(**values), cwd=directory)


def takes_connections(path):
    with sockets.socket(sockets.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_a_stale_socket_is_replaced(place):
    directory, simulator = place
    socket = directory / "sluice.sock"
    first = start_listening(directory, simulator)
    wait_until(lambda: first.must_live() and socket.exists(), "the socket")
    first.send(signal.SIGKILL)
    wait_until(lambda: first.status is not None, "its end")
    wait_until(lambda: not takes_connections(socket), "the end of its worker")
    assert socket.exists()
    second = start_listening(directory, simulator)
    wait_until(lambda: second.must_live() and takes_connections(socket), "a new socket")
    # One in use is reported, and stays.
    third = run("--listen", f"unix:{socket}", cwd=directory, OPENAI_API_KEY="sk-x", CLIENT_API_KEYS="a",
                STATE_DIR=directory / "state3")
    assert third.returncode == 1 and f"{socket} is in use by another process" in third.stderr
    assert second.stop() == 0
    assert not socket.exists()


def test_a_tcp_port_in_use_is_reported(place):
    directory, simulator = place
    port = simulator.origin.rpartition(":")[2]
    result = run("--listen", f"127.0.0.1:{port}", cwd=directory, OPENAI_API_KEY="sk-x", CLIENT_API_KEYS="a")
    assert result.returncode == 1 and f"127.0.0.1 port {port}" in result.stderr


@pytest.mark.parametrize("mode", ["0660", "0600", "0666"])
def test_the_sockets_mode_and_group(place, mode):
    directory, simulator = place
    group = "www-data" if AS_ROOT else grp.getgrgid(os.getgid()).gr_name
    process = start_listening(directory, simulator, LISTEN_MODE=mode, LISTEN_GROUP=group)
    socket = directory / "sluice.sock"
    wait_until(lambda: process.must_live() and socket.exists(), "the socket")
    wait_until(lambda: grp.getgrgid(socket.stat().st_gid).gr_name == group, "its group", 2)
    assert stat.S_IMODE(socket.stat().st_mode) == int(mode, 8)
    process.stop()


def test_a_group_that_is_not_there(place):
    directory, simulator = place
    process = start_listening(directory, simulator, LISTEN_GROUP="no-such-group")
    wait_until(lambda: process.status is not None, "its end")
    assert process.status == 1 and 'there is no group "no-such-group"' in process.text()
    assert not (directory / "sluice.sock").exists()


def run_with_state(directory, state, *prefix):
    binary = shutil.copy(BINARY, directory / "sluice")
    result = subprocess.run([*prefix, binary, "--listen", f"127.0.0.1:{free_port()}"], capture_output=True, text=True,
                            timeout=20, check=False, cwd=directory, stdin=subprocess.DEVNULL,
                            env=clean_environment(OPENAI_API_KEY="sk-x", CLIENT_API_KEYS="a", STATE_DIR=state))
    assert result.returncode == 1, result.stderr
    lines = [line for line in result.stderr.splitlines() if "STATE_DIR" in line]
    assert len(lines) == 1, result.stderr
    return lines[0]


AS_NOBODY = ["setpriv", "--reuid", str(UNPRIVILEGED), "--regid", str(UNPRIVILEGED), "--clear-groups"] if AS_ROOT else []


def test_a_state_directory_that_is_a_link_or_a_file(place):
    directory, _ = place
    (directory / "real").mkdir()
    (directory / "link").symlink_to(directory / "real")
    (directory / "file").touch()
    assert "is a symbolic link" in run_with_state(directory, directory / "link")
    assert "is not a directory" in run_with_state(directory, directory / "file")


@pytest.mark.skipif(not AS_ROOT, reason="only root can give a directory away")
def test_a_state_directory_of_somebody_else(place):
    directory, _ = place
    (directory / "other").mkdir(mode=0o700)
    os.chown(directory / "other", 1, 1)
    assert "belongs to user 1" in run_with_state(directory, directory / "other")


def test_a_state_directory_that_cannot_be_written(place):
    directory, _ = place
    mine = directory / "mine"
    mine.mkdir(mode=0o500)
    if AS_ROOT:
        os.chown(mine, UNPRIVILEGED, UNPRIVILEGED)
    assert "is not writable" in run_with_state(directory, mine, *AS_NOBODY)
    closed = directory / "closed"
    closed.mkdir(mode=0o555)
    assert "cannot be made" in run_with_state(directory, closed / "state", *AS_NOBODY)
