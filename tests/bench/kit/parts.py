"""The processes that are measured: the simulator, Sluice, and a web server for each target."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

from .machine import BUILD, favour
from harness.front import ApacheProxy
from harness.process import ROOT, Process, children_of, clean_environment, free_port, short_directory, wait_until
from harness.redis import Redis
from harness.sluice import Sluice

KEY = "sk-bench-5qJm2Rw8"

# All that production has on: limits that count every request and refuse none; cache, usage, metrics and log.
SETTINGS = {
    "CLIENT_API_KEYS": KEY,
    "OPENAI_API_KEY": "sk-upstream",
    "RATE_LIMIT__REQUESTS_PER_MINUTE": 1000000000,
    "RATE_LIMIT__TOKENS_PER_MINUTE": 1000000000,
    "RATE_LIMIT__CONCURRENT_REQUESTS": 20000,
    "CACHE__ENABLED": "true",
    "LOG_LEVEL": "info",
    "LISTEN_MODE": "0666",  # Apache's processes are another user's
}

NGINX_CONF = """\
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    default_type application/json;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 0;
    keepalive_requests 10000000;
    tcp_nodelay on;
    upstream sluice {{
        server {server};
        keepalive 128;
        keepalive_requests 10000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
{location}
        }}
    }}
}}
"""

NGINX_PROXY = """\
            proxy_pass http://sluice;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300s;"""

# As it is shipped, over kept connections.
NGINX_FASTCGI = f"""\
            include {ROOT}/deploy/nginx/sluice/location.conf;
            fastcgi_keep_conn on;"""

HAPROXY_CONF = """\
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    http-reuse always
    option http-no-delay
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    server simulator 127.0.0.1:{sim}
"""


class Target:
    """Something that answers chat completions on a port. `through` tells whether Sluice is part of it."""

    def __init__(self, name, port, front=None, through=False):
        self.name = name
        self.port = port
        self.front = front
        self.through = through

    def front_pids(self):
        if not self.front:
            return []
        return children_of(self.front.pid) or [self.front.pid]


class Lab:
    """All parts, in a directory of their own; stop() ends them."""

    def __init__(self, names, workers, with_sluice=True):
        self.directory = short_directory()
        self.directory.chmod(0o711)
        self.workers = workers
        self.commands = []
        self._processes = []
        self.sluice = None
        self._no_redis = f"redis://127.0.0.1:{free_port()}"
        try:
            self.sim_port = self._start_simulator()
            if with_sluice:
                self.start_sluice()
            self.targets = [TARGETS[name](self) for name in names]
            for target in self.targets:
                wait_until(lambda port=target.port: _answers(port), f"{target.name} on its port", 15)
        except BaseException:
            self.stop()
            raise

    def _start_simulator(self):
        port_file = self.directory / "sim.port"
        self.simulator = self.launch("simulator", [BUILD / "openai-sim", "--port", "0", "--port-file", port_file])
        wait_until(lambda: self.simulator.must_live() and port_file.exists() and port_file.read_text().strip(),
                   "the simulator's port")
        return int(port_file.read_text())

    def launch(self, name, command, cwd=None):
        self.note(command)
        return self.adopt(Process(name, command, self.directory / f"{name}.log", cwd=cwd))

    def adopt(self, process):
        favour(process.pid)
        self._processes.append(process)
        return process

    def start_redis(self):
        folder = self.folder("redis")
        redis = Redis(folder)
        self.note(["redis-server", "--port", redis.port, "--save", '""'])
        self.adopt(redis.process)
        return redis

    def note(self, command):
        text = " ".join(str(part) for part in command)
        for path, short in ((self.directory, "$DIR"), (BUILD, "build/release"), (ROOT, ".")):
            text = text.replace(str(path), short)
        if text not in self.commands:
            self.commands.append(text)

    def folder(self, name):
        path = self.directory / name
        path.mkdir()
        return path

    @property
    def socket(self):
        return self.directory / "sluice" / "sluice.sock"

    def settings(self, **settings):
        """As the environment of a Sluice."""
        return {"OPENAI_BASE_URL": f"http://127.0.0.1:{self.sim_port}/v1", "CACHE__REDIS_URL": self._no_redis,
                "WORKERS": self.workers, **SETTINGS, **settings}

    def start_sluice(self, env_file="", **settings):
        """A fresh Sluice at the same socket, in place of the one before."""
        self.stop_sluice()
        folder = self.directory / "sluice"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        values = self.settings(**settings)
        shown = {name: value for name, value in values.items() if "KEY" not in name and value != self._no_redis}
        self.note([*(f"{name}={value}" for name, value in shown.items()), BUILD / "sluice", "--listen", f"unix:{self.socket}"])
        self.sluice = Sluice(folder, env_file, **values)
        favour(self.sluice.process.pid)
        wait_until(self.sluice_pids, "sluice's workers")

    def stop_sluice(self):
        if self.sluice:
            self.sluice.process.stop()
        self.sluice = None

    def sluice_pids(self):
        return self.sluice.workers() or ([self.sluice.process.pid] if self.workers == 0 else [])

    def pids(self, target):
        """The processes that a request to this target passes, by part."""
        parts = {"simulator": [self.simulator.pid], "front": target.front_pids()}
        parts["sluice"] = self.sluice_pids() if target.through else []
        return {name: pids for name, pids in parts.items() if pids}

    def stop(self):
        for process in reversed(self._processes):
            _stop_quietly(process)
        if self.sluice:
            _stop_quietly(self.sluice.process)
        shutil.rmtree(self.directory, ignore_errors=True)


def _stop_quietly(process):
    try:
        process.stop()
    except AssertionError as failure:
        print(failure, file=sys.stderr)


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---- targets: each is a function that starts what it needs ------------------------------------------------------


def direct(lab):
    return Target("direct", lab.sim_port)


def _nginx(lab, name, server, location, through):
    folder, port = lab.folder(name), free_port()
    user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
    text = NGINX_CONF.format(user=user, files=20000, server=server, port=port, location=location)
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
    return Target(name, port, lab.launch(name, command), through)


def nginx_proxy(lab):
    return _nginx(lab, "nginx", f"127.0.0.1:{lab.sim_port}", NGINX_PROXY, through=False)


def nginx_sluice(lab):
    return _nginx(lab, "nginx+sluice", f"unix:{lab.socket}", NGINX_FASTCGI, through=True)


def haproxy(lab):
    folder, port = lab.folder("haproxy"), free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY_CONF.format(port=port, sim=lab.sim_port))
    command = ["haproxy", "-db", "-f", folder / "haproxy.cfg"]
    return Target("haproxy", port, lab.launch("haproxy", command))


def lighttpd_sluice(lab):
    folder, port, deploy = lab.folder("lighttpd"), free_port(), ROOT / "deploy" / "lighttpd"
    lines = [
        'server.compat-module-load = "disable"',
        f'server.document-root = "{folder}"',
        f'server.upload-dirs = ( "{folder}" )',
        'server.bind = "127.0.0.1"',
        f"server.port = {port}",
        "server.max-fds = 20000",
        "server.max-connections = 9000",  # by itself a third of max-fds
        f'var.sluice_socket = "{lab.socket}"',
        f'var.sluice_errors = "{deploy}/errors"',
        f'include "{deploy}/sluice.conf"',
    ]
    (folder / "lighttpd.conf").write_text("\n".join(lines) + "\n")
    command = ["lighttpd", "-D", "-f", folder / "lighttpd.conf"]
    return Target("lighttpd+sluice", port, lab.launch("lighttpd+sluice", command), through=True)


class Apache(ApacheProxy):
    """As it is shipped; its processes do not come and go while they are measured."""

    def module_settings(self):
        return ["StartServers 20", "MinSpareThreads 64", "MaxSpareThreads 2048"]


def apache_sluice(lab):
    folder = lab.folder("apache")
    front = Apache(folder, SimpleNamespace(socket=lab.socket))
    lab.note(["apache2", "-D", "FOREGROUND", "-f", folder / "apache.conf"])
    return Target("apache+sluice", front.port, lab.adopt(front.process), through=True)


TARGETS = {
    "direct": direct,
    "nginx": nginx_proxy,
    "haproxy": haproxy,
    "lighttpd+sluice": lighttpd_sluice,
    "nginx+sluice": nginx_sluice,
    "apache+sluice": apache_sluice,
}


# ---- start time -------------------------------------------------------------------------------------------------


def _record(kind, content):
    return bytes([1, kind, 0, 1]) + len(content).to_bytes(2, "big") + b"\0\0" + content


def _health_request():
    pairs = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/health", "SERVER_PROTOCOL": "HTTP/1.1"}
    params = b"".join(bytes([len(k), len(v)]) + k.encode() + v.encode() for k, v in pairs.items())
    return _record(1, b"\0\1\0\0\0\0\0\0") + _record(4, params) + _record(4, b"") + _record(5, b"")


def _connect(path):
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(5)
    try:
        link.connect(str(path))
    except OSError:
        link.close()
        raise
    return link


def _ask(path):
    with _connect(path) as link:
        link.sendall(_health_request())
        return b"Status: 200" in link.recv(65536)


def start_times_ms(lab):
    """From the start of the program until its socket takes connections, and to the first answer to a FastCGI request."""
    folder = short_directory()
    path = folder / "s"
    environment = clean_environment(**lab.settings(LOG_LEVEL="error", STATE_DIR=folder / "state"))
    begin, ready = time.monotonic(), None
    child = subprocess.Popen([str(BUILD / "sluice"), "--listen", f"unix:{path}"], env=environment, cwd=folder,
                             stdin=subprocess.DEVNULL)
    try:
        while time.monotonic() - begin < 10:
            try:
                if ready is None:
                    _connect(path).close()
                    ready = time.monotonic()
                if _ask(path):
                    return (ready - begin) * 1000, (time.monotonic() - begin) * 1000
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.0002)
        raise AssertionError("sluice did not answer within 10 s of its start")
    finally:
        child.terminate()
        child.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
