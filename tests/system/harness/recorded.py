"""A web server in front of the recorder instead of Sluice."""

import json
import shutil
from pathlib import Path

import httpx

from . import keys
from .front import FRONTS
from .process import Process, free_port, short_directory, wait_until
from .tls import certificate

PROGRAM = Path(__file__).with_name("recorder.py")
PYTHON = "/usr/bin/python3"


class _Recorder:
    """What a front wants to know of Sluice, for the recorder."""

    def __init__(self, directory, front):
        self.directory, self.log = directory, directory / "records"
        self.log.touch()
        self.state = self.runtime = directory / "run"
        self.runtime.mkdir()
        self.socket, self.port = directory / "recorder.sock", free_port()
        program = shutil.copy(PROGRAM, directory / "recorder.py")
        directory.chmod(0o711)
        if front.user:
            for path in (self.runtime, self.log):
                shutil.chown(path, front.user, front.user)
        self.command = f"{PYTHON} {program} {self.log}"
        self.process = None
        if front.listen:
            address = f"unix:{self.socket}" if front.listen == "unix" else f"127.0.0.1:{self.port}"
            self.process = Process("recorder", [PYTHON, program, self.log, "--listen", address], directory / "recorder.log")
            wait_until(lambda: self.process.must_live() and (front.listen == "tcp" or self.socket.exists()), "the recorder")
            if front.listen == "unix":
                self.socket.chmod(0o666)


class RecordedFront:
    def __init__(self, name):
        self.directory = short_directory()
        self.recorder = self.front = self.http = None
        try:
            self.recorder = _Recorder(self.directory, FRONTS[name])
            self.front = FRONTS[name](self.directory, self.recorder)
            self.http = httpx.Client(base_url=self.front.tls_origin, verify=certificate().context(), trust_env=False,
                                     timeout=20, headers={"Authorization": f"Bearer {keys.CLIENT}"})
            wait_until(self.answers, "an answer of the recorder", 20)
        except BaseException:
            self.stop()
            raise

    def answers(self):
        self.front.process.must_live()
        try:
            return self.http.get("/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def records(self, after=0):
        """The records with a later time."""
        records = [json.loads(line) for line in self.recorder.log.read_text().splitlines()]
        return [record for record in records if record["t"] > after]

    def stop(self):
        try:
            if self.http:
                self.http.close()
            if self.front:
                self.front.stop()
        finally:
            if self.recorder and self.recorder.process:
                self.recorder.process.stop()
            shutil.rmtree(self.directory, ignore_errors=True)
