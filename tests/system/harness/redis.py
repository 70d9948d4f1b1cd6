"""Redis: a real server on a port of its own, and one that answers what no Redis would."""

import contextlib
import shutil
import signal
import socket
import subprocess
import threading

from . import secrets
from .process import Process, free_port, wait_until

AVAILABLE = bool(shutil.which("redis-server"))


class Redis:
    """A redis-server that can be stopped and started again on the same port."""

    def __init__(self, directory, *options):
        self.directory, self.options = directory, options
        self.port = free_port()
        self.url = f"redis://localhost:{self.port}"
        self.process = None
        self.start()

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory, "--save", "",
                   "--appendonly", "no", "--rdbcompression", "no", *self.options]
        self.process = Process("redis", command, self.directory / "redis.log")
        wait_until(lambda: self.process.must_live() and self.command("PING") == "PONG", "an answer of Redis")

    def stop(self, number=signal.SIGTERM):
        if self.process:
            self.process.stop(number)
        self.process = None

    def check_what_it_holds(self):
        """Fails where a secret is in it."""
        dump = self.directory / "dump.rdb"
        if self.process and self.command("SAVE") == "OK":
            try:
                secrets.check(dump)
            finally:
                dump.unlink()

    def command(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True,
                              check=False).stdout.strip()


class Nonsense:
    """Takes connections like Redis, and answers everything with the same bytes."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            while connection.recv(65536):
                self.asked += 1
                connection.sendall(self.answer)

    def stop(self):
        self.listener.close()
